//! How a record lies in the store: a key that sorts by partition and offset, a value with codec, time and checksum.
//!
//! ```text
//! key    partition u32 BE · offset u64 BE
//! value  version u8 · codec u8 · append_time_ms i64 LE · plain_bytes u32 LE · crc32 u32 LE · body
//! body   key_bytes u32 LE · key · headers u16 LE · (name · value_bytes u32 LE · value)* · value
//! name   0 u8 · name_bytes u16 LE · name, or one u8: its place in [`NAMES`], from 1
//! ```
//! Version 1, which is still read, has all names as bytes, without the 0 before.
//!
//! The checksum covers the key, the fields before it and the body as stored, so a record that was moved or mixed up is found too.

use bytes::{Buf, BufMut, Bytes};
use schemas::{Offset, topics};

use crate::{HeaderName, LogRecord, Record};

/// Bytes of a store key.
pub(super) const KEY_BYTES: usize = 12;
const VERSION: u8 = 2;
/// The last version whose headers' names are all written out.
const VERSION_WITH_NAMES: u8 = 1;
/// Where the parts of a head begin, behind its version.
const CODEC_AT: usize = 1;
const TIME_AT: usize = CODEC_AT + 1;
const PLAIN_BYTES_AT: usize = TIME_AT + 8;
const CRC_AT: usize = PLAIN_BYTES_AT + 4;
const HEAD_BYTES: usize = CRC_AT + 4;
const CODEC_PLAIN: u8 = 0;
const CODEC_ZSTD: u8 = 1;
/// Smaller bodies (ticks, events) rarely shrink; compressing them costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 512;
/// Of smaller ones (a few samples) only repetitions are removed: tables of how frequent each byte is cost more than all else, 7 of 10 µs.
const COMPRESS_WELL_BYTES_MIN: usize = 1024;

/// Of longer bodies the checksum is made by the appender, and only joined to that of what comes before by the writer; joining two takes as long as
/// reading some KiB.
const JOINED_BYTES_MIN: usize = 4096;
/// Names of headers that are stored as a number, from 1: of a dead letter's nine they are two fifths of all bytes. More may come at the end; none may move.
const NAMES: [&str; 18] = [
    topics::HEADER_FORMAT,
    topics::HEADER_REASON,
    topics::HEADER_SOURCE_TOPIC,
    topics::HEADER_SOURCE_PARTITION,
    topics::HEADER_SOURCE_OFFSET,
    topics::HEADER_SOURCE_TIME,
    topics::HEADER_SOURCE,
    topics::HEADER_CONFIGURED_FORMAT,
    topics::HEADER_GUESSED_FORMAT,
    topics::HEADER_ERROR_CODE,
    topics::HEADER_VALUE_BYTES,
    topics::HEADER_REPLAYED_AS,
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_time",
    "content-type",
];

/// A record that is ready to be written, but for its offset and time.
pub(super) struct EncodedRecord {
    /// Its value in the store, in which time and checksum are still missing.
    stored: Vec<u8>,
    /// Of a long body.
    body_crc: Option<crc32fast::Hasher>,
    /// Append time asked for.
    pub(super) append_time_ms: Option<i64>,
}

impl EncodedRecord {
    /// Encodes and compresses; what is costly is done here, by the appender, not by the one writer.
    pub(super) fn new(record: &Record) -> Result<Self, String> {
        let headers = record.headers.iter();
        let headers_bytes: usize = headers
            .map(|(name, value)| 3 + name.len() + 4 + value.len())
            .sum();
        let most = HEAD_BYTES + 4 + record.key.len() + 2 + headers_bytes + record.value.len();
        let mut stored = Vec::with_capacity(most);
        stored.extend_from_slice(&[VERSION, CODEC_PLAIN]);
        stored.resize(HEAD_BYTES, 0);
        put_long(&mut stored, &record.key)?;
        stored.put_u16_le(
            u16::try_from(record.headers.len())
                .map_err(|_| "more than 65,535 headers".to_owned())?,
        );
        for (name, value) in &record.headers {
            match NAMES.iter().position(|known| known == name) {
                Some(place) => stored.put_u8(place as u8 + 1),
                None => {
                    stored.put_u8(0);
                    stored.put_u16_le(
                        u16::try_from(name.len())
                            .map_err(|_| "a header name longer than 65,535 bytes".to_owned())?,
                    );
                    stored.put_slice(name.as_bytes());
                }
            }
            put_long(&mut stored, value)?;
        }
        stored.put_slice(&record.value);
        let plain_bytes = u32::try_from(stored.len() - HEAD_BYTES)
            .map_err(|_| "a record longer than 4 GiB".to_owned())?;
        stored[PLAIN_BYTES_AT..CRC_AT].copy_from_slice(&plain_bytes.to_le_bytes());
        let stored = compressed(stored);
        let body = &stored[HEAD_BYTES..];
        let body_crc = (body.len() >= JOINED_BYTES_MIN).then(|| {
            let mut crc = crc32fast::Hasher::new();
            crc.update(body);
            crc
        });
        Ok(EncodedRecord {
            stored,
            body_crc,
            append_time_ms: record.append_time_ms,
        })
    }

    /// Bytes it will take in the store.
    pub(super) fn stored_bytes(&self) -> usize {
        KEY_BYTES + self.stored.len()
    }

    /// Its store key and value at a place and time.
    pub(super) fn place(
        &mut self,
        partition: u32,
        offset: u64,
        append_time_ms: i64,
    ) -> ([u8; KEY_BYTES], &[u8]) {
        let key = store_key(partition, offset);
        let (head, body) = self.stored.split_at_mut(HEAD_BYTES);
        head[TIME_AT..PLAIN_BYTES_AT].copy_from_slice(&append_time_ms.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&key);
        crc.update(&head[..CRC_AT]);
        match &self.body_crc {
            Some(of_body) => crc.combine(of_body),
            None => crc.update(body),
        }
        head[CRC_AT..].copy_from_slice(&crc.finalize().to_le_bytes());
        (key, &self.stored)
    }
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    out.put_u32_le(u32::try_from(bytes.len()).map_err(|_| "a field longer than 4 GiB".to_owned())?);
    out.put_slice(bytes);
    Ok(())
}

/// A stored value whose body is compressed, if that makes it shorter.
fn compressed(stored: Vec<u8>) -> Vec<u8> {
    let (head, plain) = stored.split_at(HEAD_BYTES);
    if plain.len() < COMPRESS_BYTES_MIN {
        return stored;
    }
    let packed = match plain.len() < COMPRESS_WELL_BYTES_MIN {
        true => crate::packing::pack_quickly(plain),
        false => crate::pack(plain),
    };
    match packed {
        Ok(packed) if packed.len() < plain.len() => {
            let mut shorter = Vec::with_capacity(HEAD_BYTES + packed.len());
            shorter.extend_from_slice(head);
            shorter[CODEC_AT] = CODEC_ZSTD;
            shorter.extend_from_slice(&packed);
            shorter
        }
        _ => stored,
    }
}

/// The store key of a record.
pub(super) fn store_key(partition: u32, offset: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset in a store key; `None` if it is no such key.
pub(super) fn offset_of(key: &[u8]) -> Option<u64> {
    (key.len() == KEY_BYTES).then(|| (&key[4..]).get_u64())
}

/// Verifies and decodes a record.
///
/// # Errors
/// What is wrong with its bytes, in words.
pub(super) fn decode(
    key: &[u8],
    value: &[u8],
    record_bytes_max: usize,
) -> Result<LogRecord, String> {
    let offset = offset_of(key).ok_or("the store key has a wrong length")?;
    if value.len() < HEAD_BYTES {
        return Err(format!(
            "{} bytes are stored, fewer than a record's head of {HEAD_BYTES}",
            value.len()
        ));
    }
    let (head, body) = value.split_at(HEAD_BYTES);
    let mut fields = head;
    let (version, codec) = (fields.get_u8(), fields.get_u8());
    let append_time_ms = fields.get_i64_le();
    let plain_bytes = fields.get_u32_le() as usize;
    let expected = fields.get_u32_le();
    if ![VERSION_WITH_NAMES, VERSION].contains(&version) {
        return Err(format!(
            "record format {version}, expected {VERSION_WITH_NAMES} or {VERSION}"
        ));
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(&head[..HEAD_BYTES - 4]);
    crc.update(body);
    let found = crc.finalize();
    if found != expected {
        return Err(format!("checksum {found:08x}, expected {expected:08x}"));
    }
    if plain_bytes > record_bytes_max {
        return Err(format!(
            "claims {plain_bytes} bytes, more than any record may have"
        ));
    }
    let mut plain = match codec {
        CODEC_PLAIN => Bytes::copy_from_slice(body),
        CODEC_ZSTD => Bytes::from(
            crate::unpack(body, plain_bytes)
                .map_err(|error| format!("does not decompress: {error}"))?,
        ),
        other => return Err(format!("unknown codec {other}")),
    };
    let key = take_long(&mut plain)?;
    let headers = if plain.len() < 2 {
        return Err(SHORT.to_owned());
    } else {
        plain.get_u16_le()
    };
    let headers = (0..headers)
        .map(|_| {
            let name = match version {
                VERSION_WITH_NAMES => take_written_name(&mut plain)?,
                _ => take_name(&mut plain)?,
            };
            Ok((name, take_long(&mut plain)?))
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(LogRecord {
        offset: Offset(offset),
        append_time_ms,
        key,
        value: plain,
        headers,
    })
}

const SHORT: &str = "ends before its last field";

fn take_name(plain: &mut Bytes) -> Result<HeaderName, String> {
    let place = plain.try_get_u8().map_err(|_| SHORT.to_owned())?;
    if place == 0 {
        return take_written_name(plain);
    }
    let name = NAMES.get(usize::from(place) - 1);
    let name = name.ok_or_else(|| format!("a header of the unknown name {place}"))?;
    Ok((*name).into())
}

fn take_written_name(plain: &mut Bytes) -> Result<HeaderName, String> {
    let bytes = usize::from(plain.try_get_u16_le().map_err(|_| SHORT.to_owned())?);
    if plain.len() < bytes {
        return Err(SHORT.to_owned());
    }
    let name = String::from_utf8(plain.split_to(bytes).to_vec());
    let name = name.map_err(|_| "a header name is not UTF-8".to_owned())?;
    Ok(name.into())
}

fn take_long(plain: &mut Bytes) -> Result<Bytes, String> {
    if plain.len() < 4 {
        return Err(SHORT.to_owned());
    }
    let bytes = plain.get_u32_le() as usize;
    if plain.len() < bytes {
        return Err(SHORT.to_owned());
    }
    Ok(plain.split_to(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            key: Bytes::from_static(b"key"),
            value: Bytes::from(b"value ".repeat(200)),
            headers: vec![
                ("h".into(), Bytes::from_static(b"1")),
                ("empty".into(), Bytes::new()),
                (topics::HEADER_REASON.into(), Bytes::from_static(b"2")),
                ("content-type".into(), Bytes::from_static(b"3")),
            ],
            append_time_ms: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_compressed_only_where_it_helps() {
        let mut encoded = EncodedRecord::new(&record()).unwrap();
        assert!(encoded.stored_bytes() < 200);
        let (key, value) = encoded.place(7, 42, 1_000);
        let read = decode(&key, value, 1 << 20).unwrap();
        assert_eq!((read.offset, read.append_time_ms), (Offset(42), 1_000));
        assert_eq!(
            (read.key, read.value, read.headers),
            (record().key, record().value, record().headers)
        );
        let mut empty = EncodedRecord::new(&Record::default()).unwrap();
        let (key, value) = empty.place(0, 0, -1);
        assert_eq!(decode(&key, value, 1 << 20).unwrap().value, Bytes::new());
    }

    /// What can't be compressed, below and above the length from which checksums are joined.
    #[test]
    fn a_body_of_any_length_has_its_checksum() {
        for bytes in [0, 500, JOINED_BYTES_MIN, 3 * JOINED_BYTES_MIN] {
            let noise = (0..bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
            let sent = Record {
                value: noise.collect(),
                ..Record::default()
            };
            let mut encoded = EncodedRecord::new(&sent).unwrap();
            let (key, value) = encoded.place(7, 42, 1_000);
            assert_eq!(decode(&key, value, 1 << 20).unwrap().value, sent.value);
        }
    }

    /// A record of a log that the version before wrote: key `k`, header `tidewatch-format: tick/1`, value `v`.
    #[test]
    fn a_record_of_version_1_is_read() {
        let mut body = vec![1, 0, 0, 0, b'k', 1, 0, 16, 0];
        body.extend_from_slice(b"tidewatch-format");
        body.extend_from_slice(&[6, 0, 0, 0]);
        body.extend_from_slice(b"tick/1v");
        let mut value = vec![VERSION_WITH_NAMES, CODEC_PLAIN];
        value.extend_from_slice(&5i64.to_le_bytes());
        value.extend_from_slice(&(body.len() as u32).to_le_bytes());
        let key = store_key(7, 42);
        let checksum = crc32fast::hash(&[&key[..], &value, &body].concat());
        value.extend_from_slice(&checksum.to_le_bytes());
        value.extend_from_slice(&body);
        let read = decode(&key, &value, 1 << 20).unwrap();
        assert_eq!((&read.key[..], &read.value[..]), (&b"k"[..], &b"v"[..]));
        assert_eq!(
            read.headers,
            [(
                topics::HEADER_FORMAT.into(),
                Bytes::from_static(topics::FORMAT_TICK)
            )]
        );
    }

    /// Names are found again by their places: a new one comes at the end.
    #[test]
    fn the_names_of_headers_keep_their_places() {
        assert_eq!(NAMES[0], "tidewatch-format");
        assert_eq!(NAMES[11], "tidewatch-replayed-as");
        assert_eq!(NAMES[17], "content-type");
        let headers = NAMES.map(|name| (name.into(), Bytes::from_static(b"x")));
        let sent = Record {
            headers: headers.into(),
            ..Record::default()
        };
        let mut encoded = EncodedRecord::new(&sent).unwrap();
        let (key, value) = encoded.place(0, 0, 0);
        assert_eq!(value.len(), HEAD_BYTES + 4 + 2 + NAMES.len() * 6);
        assert_eq!(decode(&key, value, 1 << 20).unwrap().headers, sent.headers);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let mut encoded = EncodedRecord::new(&record()).unwrap();
        let (key, value) = encoded.place(7, 42, 1_000);
        for at in 0..value.len() * 8 {
            let mut damaged = value.to_vec();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(decode(&key, &damaged, 1 << 20).is_err(), "bit {at}");
        }
        for length in 0..value.len() {
            assert!(
                decode(&key, &value[..length], 1 << 20).is_err(),
                "length {length}"
            );
        }
        assert!(
            decode(&store_key(7, 43), value, 1 << 20).is_err(),
            "a record at another offset"
        );
        assert!(
            decode(&store_key(8, 42), value, 1 << 20).is_err(),
            "a record of another partition"
        );
    }
}
