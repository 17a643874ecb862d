//! The way of every request: budget, body, decompression, decoding, log, counts. Knows no protocol.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use schemas::Micros;
use tokio::sync::Semaphore;

use super::body::{Encoding, Share, decompress, read};
use super::refusal::{Refusal, Undecodable};
use crate::admission::{Admission, Hit, Limit, Load, Sender, SeriesLimits, take_up_to};
use crate::counters::{IngestCounters, Intake, add, subtract};
use crate::door::{Batcher, PartitionRecord, Publisher, Rejections};

/// What is taken at most. Beyond: 413 for one request, 429 for all together, and a rejection for a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one body as sent. 16 MiB.
    pub body_bytes_max: usize,
    /// Bytes of one body decompressed. 32 MiB.
    pub decompressed_bytes_max: usize,
    /// Times that one body may grow when decompressed; asked of what decompresses to more than 1 MiB. 500: the dullest samples that were tried reach
    /// 230, a bomb of zeros 1,000 (gzip) and more (zstd).
    pub ratio_max: usize,
    /// Samples of one request. 1,000,000: 25 MB of columns.
    pub samples_max: usize,
    /// Bytes of all bodies being worked on, as sent and decompressed. 256 MiB; at most 4 GiB.
    pub in_flight_bytes_max: usize,
    /// The same of one sender. 128 MiB: half, so that one can't keep all others waiting.
    pub sender_in_flight_bytes_max: usize,
    /// Requests being worked on. 1,024.
    pub requests_max: usize,
    /// The same of one sender. 256.
    pub sender_requests_max: usize,
    /// Requests decoded at once. The number of processors: more would only take turns.
    pub decoders_max: usize,
    /// Bytes for remembered label sets, all decoders together. 256 MiB: about 400,000 series with ten labels.
    pub memo_bytes_max: usize,
    /// What labels and series may be.
    pub series: SeriesLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes_max: 16 * 1024 * 1024,
            decompressed_bytes_max: 32 * 1024 * 1024,
            ratio_max: 500,
            samples_max: 1_000_000,
            in_flight_bytes_max: 256 * 1024 * 1024,
            sender_in_flight_bytes_max: 128 * 1024 * 1024,
            requests_max: 1024,
            sender_requests_max: 256,
            decoders_max: std::thread::available_parallelism().map_or(2, usize::from),
            memo_bytes_max: 256 * 1024 * 1024,
            series: SeriesLimits::default(),
        }
    }
}

/// What all receivers share: the way to the log, the limits, the counters and the decoders' memories.
pub struct Receivers {
    publisher: Publisher,
    limits: Limits,
    counters: Arc<IngestCounters>,
    admission: Arc<Admission>,
    in_flight_bytes: Arc<AtomicUsize>,
    in_flight_requests: AtomicUsize,
    decoding: Arc<Semaphore>,
    /// At rest; at most `decoders_max` exist, since each needs a permit of `decoding` to be taken.
    batchers: Mutex<Vec<Batcher>>,
}

impl fmt::Debug for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receivers({:?}, {:?})", self.publisher, self.limits)
    }
}

impl Receivers {
    /// Receivers that write through a publisher, and ask its admission; where it has none, one of their own.
    pub fn new(publisher: Publisher, limits: Limits, counters: Arc<IngestCounters>) -> Self {
        let admission = publisher.admission().cloned().unwrap_or_else(|| {
            let now = jiff::Timestamp::now().as_microsecond();
            Arc::new(Admission::new(limits.series, now))
        });
        let decoding = Arc::new(Semaphore::new(limits.decoders_max.max(1)));
        Receivers {
            publisher: publisher.with_admission(Arc::clone(&admission)),
            limits,
            counters,
            admission,
            in_flight_bytes: Arc::default(),
            in_flight_requests: AtomicUsize::new(0),
            decoding,
            batchers: Mutex::new(Vec::new()),
        }
    }

    /// What is counted.
    pub fn counters(&self) -> &Arc<IngestCounters> {
        &self.counters
    }

    /// Who decides which series are let in.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// A batcher at rest (the one used last, whose memory is warm) or a new one.
    fn batcher(&self) -> Batcher {
        let rested = self
            .batchers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .pop();
        rested.unwrap_or_else(|| {
            let memo_bytes_max = self.limits.memo_bytes_max / self.limits.decoders_max.max(1);
            self.publisher
                .batcher(memo_bytes_max, self.limits.samples_max)
        })
    }

    fn rest(&self, batcher: Batcher) {
        self.batchers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(batcher);
    }
}

/// What stands around a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    None,
    /// One message of gRPC.
    Grpc,
}

impl Framing {
    /// What is framed, and its encoding: of a message of gRPC, its first byte tells whether that of the call was used.
    fn open(self, body: Bytes, encoding: Encoding) -> Result<(Bytes, Encoding), Refusal> {
        if self == Framing::None {
            return Ok((body, encoding));
        }
        let Some(([flag, length @ ..], rest)) = body.split_first_chunk::<5>() else {
            return Err(Refusal::malformed(format!(
                "a gRPC message begins with 5 bytes; the body has {}",
                body.len()
            )));
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length != rest.len() {
            return Err(Refusal::malformed(format!(
                "a gRPC message of {length} bytes is announced, {} follow; one call takes one message",
                rest.len()
            )));
        }
        let encoding = match flag {
            0 => Encoding::Identity,
            1 if encoding != Encoding::Identity => encoding,
            flag => {
                return Err(Refusal::malformed(format!(
                    "a gRPC message with flag {flag} in a call without compression"
                )));
            }
        };
        Ok((body.slice(5..), encoding))
    }
}

/// What a protocol's handler asks for.
pub(super) struct Ask<D> {
    pub(super) intake: Intake,
    pub(super) encoding: Encoding,
    pub(super) framing: Framing,
    /// Whether the valid part of a partly valid request is stored.
    pub(super) partial: bool,
    /// From decompressed bytes, with the time of arrival for samples that have none, to samples; answers how many values were skipped.
    pub(super) decode: D,
}

/// What became of a request that could be read.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Samples that are durable.
    pub(super) accepted: usize,
    /// Samples refused.
    pub(super) rejections: Rejections,
    /// Values left out because they are no numbers.
    pub(super) skipped: usize,
    /// The decompressed body, for answers that quote it; only where something was refused.
    pub(super) body: Bytes,
}

/// Takes a request all the way: when this answers, every accepted sample is durable.
pub(super) async fn take<D>(
    receivers: &Arc<Receivers>,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
    ask: Ask<D>,
) -> Result<Taken, Refusal>
where
    D: FnOnce(&[u8], Micros, &mut Batcher) -> Result<usize, Undecodable> + Send + 'static,
{
    let intake = ask.intake;
    let counters = receivers.counters.of(intake);
    add(&counters.requests, 1);
    let taken = take_counted(receivers, sender, headers, body, ask).await;
    match &taken {
        Ok(taken) => {
            add(&counters.accepted_samples, taken.accepted);
            counters
                .rejected_samples
                .fetch_add(taken.rejections.samples(), Ordering::Relaxed);
            add(&counters.skipped_fields, taken.skipped);
            add(
                &counters.failures,
                usize::from(!taken.rejections.is_empty()),
            );
            if let Some(first) = taken.rejections.first().first() {
                tracing::debug!(intake = intake.name(), rejected = taken.rejections.samples(), %first, "samples rejected");
            }
        }
        Err(refusal) => {
            add(&counters.failures, 1);
            if let Some(limit) = refusal.limit {
                receivers.admission.count(limit);
            }
            tracing::debug!(
                intake = intake.name(),
                status = refusal.status.as_u16(),
                reason = refusal.message,
                "request refused"
            );
        }
    }
    taken
}

async fn take_counted<D>(
    receivers: &Arc<Receivers>,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
    ask: Ask<D>,
) -> Result<Taken, Refusal>
where
    D: FnOnce(&[u8], Micros, &mut Batcher) -> Result<usize, Undecodable> + Send + 'static,
{
    let limits = receivers.limits;
    let mut in_flight = InFlight::begin(Arc::clone(receivers), &sender)?;
    let load = Arc::clone(&in_flight.load);
    let now = jiff::Timestamp::now().as_microsecond();
    let bytes_max = load.max(Limit::Body, limits.body_bytes_max);
    let body = read(headers, body, bytes_max, &mut in_flight.share).await?;
    in_flight.count();
    add(&receivers.counters.of(ask.intake).body_bytes, body.len());

    let (body, encoding) = ask.framing.open(body, ask.encoding)?;
    let permit = Arc::clone(&receivers.decoding)
        .acquire_owned()
        .await
        .map_err(|_| Refusal::bug("the decoders are gone"))?;
    let at_work = Arc::clone(receivers);
    let decoded = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let body = decompress(
            encoding,
            body,
            (
                load.max(Limit::Decompressed, limits.decompressed_bytes_max),
                load.max(Limit::Ratio, limits.ratio_max),
            ),
            &mut in_flight.share,
        )?;
        in_flight.count();
        let mut batcher = at_work.batcher();
        batcher.begin(&sender, now);
        let decoded = decode(&body, now, &mut batcher, &load, ask.partial, ask.decode);
        at_work.rest(batcher);
        let (records, mut taken) = decoded?;
        if !taken.rejections.is_empty() {
            taken.body = body;
        }
        Ok::<_, Refusal>((records, taken, in_flight))
    });
    let (records, mut taken, _in_flight) = decoded
        .await
        .map_err(|error| Refusal::bug(format!("the decoder failed: {error}")))??;
    taken.accepted = receivers.publisher.publish(records).await?.samples;
    Ok(taken)
}

fn decode<D>(
    body: &[u8],
    now: Micros,
    batcher: &mut Batcher,
    load: &Load,
    partial: bool,
    decode: D,
) -> Result<(Vec<PartitionRecord>, Taken), Refusal>
where
    D: FnOnce(&[u8], Micros, &mut Batcher) -> Result<usize, Undecodable>,
{
    let skipped = match decode(body, now, batcher) {
        Ok(skipped) => skipped,
        Err(error) => {
            batcher.discard();
            return Err(Refusal::undecodable(error, &load.own));
        }
    };
    let (mut records, rejections) = batcher
        .finish()
        .map_err(|error| Refusal::bug(error.to_string()))?;
    if !partial && !rejections.is_empty() {
        records.clear();
    }
    Ok((
        records,
        Taken {
            rejections,
            skipped,
            ..Taken::default()
        },
    ))
}

/// Counts a request and its bytes as in flight until dropped.
struct InFlight {
    receivers: Arc<Receivers>,
    load: Arc<Load>,
    share: Share,
    counted: usize,
}

impl InFlight {
    fn begin(receivers: Arc<Receivers>, sender: &Sender) -> Result<Self, Refusal> {
        let limits = &receivers.limits;
        let load = receivers.admission.sender(sender);
        let max = limits.requests_max;
        if !take_up_to(&receivers.in_flight_requests, 1, max) {
            return Err(Refusal::busy(Hit::new(Limit::Requests, max, max + 1)));
        }
        let max = load.max(Limit::SenderRequests, limits.sender_requests_max);
        if !take_up_to(&load.in_hand.requests, 1, max) {
            receivers.in_flight_requests.fetch_sub(1, Ordering::Relaxed);
            let hit = Hit::of(Limit::SenderRequests, max, max + 1, Arc::clone(&load.name));
            return Err(Refusal::busy(hit.by(&load.own)));
        }
        add(&receivers.counters.in_flight_requests, 1);
        let share = Share::new(
            Arc::clone(&receivers.in_flight_bytes),
            limits.in_flight_bytes_max,
            Arc::clone(&load),
            load.max(Limit::SenderInFlight, limits.sender_in_flight_bytes_max),
        );
        Ok(InFlight {
            receivers,
            load,
            share,
            counted: 0,
        })
    }

    fn count(&mut self) {
        add(
            &self.receivers.counters.in_flight_bytes,
            self.share.bytes() - self.counted,
        );
        self.counted = self.share.bytes();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        subtract(&self.receivers.counters.in_flight_bytes, self.counted);
        subtract(&self.receivers.counters.in_flight_requests, 1);
        self.load.in_hand.requests.fetch_sub(1, Ordering::Relaxed);
        self.receivers
            .in_flight_requests
            .fetch_sub(1, Ordering::Relaxed);
    }
}
