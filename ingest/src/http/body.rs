//! Reads a body within limits and undoes its content encoding. Every byte held is first taken from the budget of bytes in flight.

use std::io::Read;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures::StreamExt;

use super::refusal::{Malformed, Refusal, Undecodable};
use crate::admission::{Hit, Limit, Load, take_up_to};

/// How long a body may take to arrive. 60 s: 16 MiB at 2.2 Mbit/s; longer holds a share of the budget for a stalled client.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes decompressed, and taken from the budget, at a time: as many as there are already, within these. 4 KiB: a sender with a small budget must not be
/// refused a small body for what it does not need; 256 KiB: large ones ask for the budget a hundred times and no more.
const CHUNK_BYTES: RangeInclusive<usize> = 4 * 1024..=256 * 1024;
/// The largest zstd window, as a power of two: 8 MiB, what RFC 8878 asks every decoder to take and no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Bytes up to which nobody asks how far a body has grown: they hurt no one.
const RATIO_FREE_BYTES: usize = 1024 * 1024;
/// No valid snappy block grows more than this: its best element makes 64 bytes of 3.
const SNAPPY_RATIO_MAX: usize = 22;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// The block format, as remote write has it.
    Snappy,
}

impl Encoding {
    /// The encoding that the headers name, if it is one of `allowed`; `default` where they name none.
    pub(super) fn of(
        headers: &HeaderMap,
        default: Encoding,
        allowed: &[Encoding],
    ) -> Result<Encoding, Refusal> {
        let named = headers
            .get(header::CONTENT_ENCODING)
            .map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
        let encoding = match named.as_deref() {
            None | Some("") => Some(default),
            Some("identity") => Some(Encoding::Identity),
            Some("gzip" | "x-gzip") => Some(Encoding::Gzip),
            Some("zstd") => Some(Encoding::Zstd),
            Some("snappy") => Some(Encoding::Snappy),
            Some(_) => None,
        };
        encoding
            .filter(|encoding| allowed.contains(encoding))
            .ok_or_else(|| {
                let allowed = allowed
                    .iter()
                    .map(|encoding| encoding.name())
                    .collect::<Vec<_>>()
                    .join(", ");
                Refusal::unsupported(format!(
                    "content encoding `{}`; taken here: {allowed}",
                    named.unwrap_or_default()
                ))
            })
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
            Encoding::Snappy => "snappy",
        }
    }
}

/// A share of the bytes that may be in flight, of all and of one sender, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    total: Arc<AtomicUsize>,
    total_max: usize,
    load: Arc<Load>,
    load_max: usize,
    held: usize,
}

impl Share {
    pub(super) fn new(
        total: Arc<AtomicUsize>,
        total_max: usize,
        load: Arc<Load>,
        load_max: usize,
    ) -> Self {
        Share {
            total,
            total_max,
            load,
            load_max,
            held: 0,
        }
    }

    /// Takes more bytes, at once or not at all.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let of_sender = |bytes| {
            let of = Arc::clone(&self.load.name);
            Hit::of(Limit::SenderInFlight, self.load_max, bytes, of).by(&self.load.own)
        };
        let of_all = |bytes| Hit::new(Limit::InFlight, self.total_max, bytes);
        // What would not fit if nothing else were there must not be sent again and again.
        let needed = self.held.saturating_add(bytes);
        if needed > self.total_max {
            return Err(Refusal::never_fits(&of_all(needed)));
        }
        if needed > self.load_max {
            return Err(Refusal::never_fits(&of_sender(needed)));
        }
        if !take_up_to(&self.total, bytes, self.total_max) {
            return Err(Refusal::busy(of_all(bytes)));
        }
        if !take_up_to(&self.load.in_hand.bytes, bytes, self.load_max) {
            self.total.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refusal::busy(of_sender(bytes)));
        }
        self.held = needed;
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.held
    }

    /// The refusal of a request of this sender that is too large by a limit.
    fn refuse(&self, hit: Hit) -> Refusal {
        Refusal::limit(hit.by(&self.load.own))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.fetch_sub(self.held, Ordering::Relaxed);
        self.load
            .in_hand
            .bytes
            .fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// Reads a body of at most `bytes_max` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    let too_large = |found, share: &Share| share.refuse(Hit::new(Limit::Body, bytes_max, found));
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if let Some(bytes) = announced.filter(|bytes| *bytes > bytes_max) {
        return Err(too_large(bytes, share));
    }
    share.grow(announced.unwrap_or(0))?;
    let collect = async {
        let mut stream = body.into_data_stream();
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                Refusal::malformed(format!(
                    "the body broke off after {} bytes: {error}",
                    bytes.len()
                ))
            })?;
            if bytes.len() + chunk.len() > bytes_max {
                return Err(too_large(bytes.len() + chunk.len(), share));
            }
            let needed = bytes.len() + chunk.len();
            if needed > share.bytes() {
                share.grow(needed - share.bytes())?;
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(bytes))
    };
    match tokio::time::timeout(BODY_TIME_MAX, collect).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::timeout(format!(
            "the body did not arrive within {} s",
            BODY_TIME_MAX.as_secs()
        ))),
    }
}

/// Undoes the encoding; the result has at most so many bytes, and no more times as many as the body. Synchronous and slow: not for a task that others wait for.
pub(super) fn decompress(
    encoding: Encoding,
    body: Bytes,
    (bytes_max, ratio_max): (usize, usize),
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    let bounds = Bounds {
        encoding,
        sent: body.len(),
        bytes_max,
        ratio_max,
    };
    match encoding {
        Encoding::Identity => bounds.check(body.len(), share).map(|()| body),
        Encoding::Snappy => unsnap(&body, bounds, share),
        Encoding::Gzip => {
            let mut decoder = flate2::bufread::GzDecoder::new(&body[..]);
            let bytes = read_all(
                bounds,
                &mut decoder,
                |d| body.len() - d.get_ref().len(),
                share,
            )?;
            whole(encoding, bytes, decoder.into_inner().len())
        }
        Encoding::Zstd => {
            let unreadable = |error: std::io::Error| {
                Refusal::malformed(format!("zstd body at compressed byte 0: {error}"))
            };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..])
                .map_err(unreadable)?
                .single_frame();
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(unreadable)?;
            let bytes = read_all(
                bounds,
                &mut decoder,
                |d| body.len() - d.get_ref().len(),
                share,
            )?;
            whole(encoding, bytes, decoder.finish().len())
        }
    }
}

/// How far a body may grow.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    encoding: Encoding,
    /// Bytes of it as sent.
    sent: usize,
    bytes_max: usize,
    ratio_max: usize,
}

impl Bounds {
    /// Refuses a body that has, or says that it will have, so many bytes.
    fn check(&self, bytes: usize, share: &Share) -> Result<(), Refusal> {
        let hit = |limit, max, found| {
            let hit = Hit::of(limit, max, found, self.encoding.name());
            Err(share.refuse(hit))
        };
        let ratio = bytes / self.sent.max(1);
        if bytes > self.bytes_max {
            hit(Limit::Decompressed, self.bytes_max, bytes)
        } else if bytes > RATIO_FREE_BYTES && ratio > self.ratio_max {
            hit(Limit::Ratio, self.ratio_max, ratio)
        } else {
            Ok(())
        }
    }
}

/// One member, one frame: what follows it would be read by some and ignored by others.
fn whole(encoding: Encoding, bytes: Bytes, left: usize) -> Result<Bytes, Refusal> {
    match left {
        0 => Ok(bytes),
        left => Err(Refusal::malformed(format!(
            "{} body: {left} bytes follow the end of the compressed data",
            encoding.name()
        ))),
    }
}

fn read_all<D: Read>(
    bounds: Bounds,
    decoder: &mut D,
    position: impl Fn(&D) -> usize,
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let chunk = before.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end());
        share.grow(chunk)?;
        let read = decoder.by_ref().take(chunk as u64).read_to_end(&mut bytes);
        if let Err(error) = read {
            return Err(Refusal::malformed(format!(
                "{} body at compressed byte {}: {error}; {} bytes were decompressed before",
                bounds.encoding.name(),
                position(decoder),
                bytes.len()
            )));
        }
        bounds.check(bytes.len(), share)?;
        if bytes.len() == before {
            return Ok(Bytes::from(bytes));
        }
    }
}

fn unsnap(body: &[u8], bounds: Bounds, share: &mut Share) -> Result<Bytes, Refusal> {
    let malformed = |problem: String| {
        Refusal::malformed(format!("snappy body (block format expected): {problem}"))
    };
    let claimed = snap::raw::decompress_len(body).map_err(|error| malformed(error.to_string()))?;
    bounds.check(claimed, share)?;
    let length = snappy_length(body, bounds.bytes_max)
        .map_err(malformed)?
        .unwrap_or(claimed);
    share.grow(length)?;
    snap::raw::Decoder::new()
        .decompress_vec(body)
        .map(Bytes::from)
        .map_err(|error| malformed(error.to_string()))
}

/// The content of a snappy block that is no body of a request, of at most `bytes_max` bytes.
pub(crate) fn unsnap_block(block: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
    let malformed = |problem: String| Malformed {
        byte: 0,
        field: "snappy block".to_owned(),
        problem,
    };
    if snappy_length(block, bytes_max)
        .map_err(malformed)?
        .is_none()
    {
        return Err(Undecodable::TooLarge(bytes_max));
    }
    let decoded = snap::raw::Decoder::new().decompress_vec(block);
    Ok(decoded.map_err(|error| malformed(error.to_string()))?)
}

/// How long the content of a snappy block is; `None` if that is more than `bytes_max`. Looked at before any memory is taken: a few bytes can claim any length.
fn snappy_length(block: &[u8], bytes_max: usize) -> Result<Option<usize>, String> {
    let length = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    if length > bytes_max {
        return Ok(None);
    }
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(format!(
            "byte 0 claims {length} decompressed bytes, more than {} bytes can hold",
            block.len()
        ));
    }
    Ok(Some(length))
}
