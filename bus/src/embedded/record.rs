//! How a record lies in the store: a key that sorts by partition and offset, a value with codec, time and checksum.
//!
//! ```text
//! key    partition u32 BE · offset u64 BE
//! value  version u8 · codec u8 · append_time_ms i64 LE · plain_bytes u32 LE · crc32 u32 LE · body
//! body   key_bytes u32 LE · key · headers u16 LE · (name_bytes u16 LE · name · value_bytes u32 LE · value)* · value
//! ```
//! The checksum covers the key, the fields before it and the body as stored, so a record that was moved or mixed up is found too.

use bytes::{Buf, BufMut, Bytes};
use schemas::Offset;

use crate::{LogRecord, Record};

/// Bytes of a store key.
pub(super) const KEY_BYTES: usize = 12;
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 1 + 8 + 4 + 4;
const CODEC_PLAIN: u8 = 0;
const CODEC_ZSTD: u8 = 1;
/// Smaller bodies (ticks, events) rarely shrink; compressing them costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 512;
/// Of smaller ones (dead letters, a few samples) only repetitions are removed: tables of how frequent each byte is cost more than all else, 7 of 10 µs.
const COMPRESS_WELL_BYTES_MIN: usize = 1024;

/// A record that is ready to be written, but for its offset and time.
pub(super) struct EncodedRecord {
    codec: u8,
    plain_bytes: u32,
    body: Vec<u8>,
    body_crc: crc32fast::Hasher,
    /// Append time asked for.
    pub(super) append_time_ms: Option<i64>,
}

impl EncodedRecord {
    /// Encodes and compresses; what is costly is done here, by the appender, not by the one writer.
    pub(super) fn new(record: &Record) -> Result<Self, String> {
        let headers = record.headers.iter();
        let headers_bytes: usize = headers
            .map(|(name, value)| 2 + name.len() + 4 + value.len())
            .sum();
        let plain_bytes = 4 + record.key.len() + 2 + headers_bytes + record.value.len();
        let mut plain = Vec::with_capacity(plain_bytes);
        put_long(&mut plain, &record.key)?;
        plain.put_u16_le(
            u16::try_from(record.headers.len())
                .map_err(|_| "more than 65,535 headers".to_owned())?,
        );
        for (name, value) in &record.headers {
            plain.put_u16_le(
                u16::try_from(name.len())
                    .map_err(|_| "a header name longer than 65,535 bytes".to_owned())?,
            );
            plain.put_slice(name.as_bytes());
            put_long(&mut plain, value)?;
        }
        plain.put_slice(&record.value);
        let plain_bytes =
            u32::try_from(plain_bytes).map_err(|_| "a record longer than 4 GiB".to_owned())?;
        let (codec, body) = compress(plain);
        let mut body_crc = crc32fast::Hasher::new();
        body_crc.update(&body);
        Ok(EncodedRecord {
            codec,
            plain_bytes,
            body,
            body_crc,
            append_time_ms: record.append_time_ms,
        })
    }

    /// Bytes it will take in the store.
    pub(super) fn stored_bytes(&self) -> usize {
        KEY_BYTES + HEAD_BYTES + self.body.len()
    }

    /// Its store key and value at a place and time.
    pub(super) fn place(
        &self,
        partition: u32,
        offset: u64,
        append_time_ms: i64,
    ) -> ([u8; KEY_BYTES], Vec<u8>) {
        let key = store_key(partition, offset);
        let mut value = Vec::with_capacity(HEAD_BYTES + self.body.len());
        value.put_u8(VERSION);
        value.put_u8(self.codec);
        value.put_i64_le(append_time_ms);
        value.put_u32_le(self.plain_bytes);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&key);
        crc.update(&value);
        crc.combine(&self.body_crc);
        value.put_u32_le(crc.finalize());
        value.put_slice(&self.body);
        (key, value)
    }
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    out.put_u32_le(u32::try_from(bytes.len()).map_err(|_| "a field longer than 4 GiB".to_owned())?);
    out.put_slice(bytes);
    Ok(())
}

fn compress(plain: Vec<u8>) -> (u8, Vec<u8>) {
    if plain.len() < COMPRESS_BYTES_MIN {
        return (CODEC_PLAIN, plain);
    }
    let packed = match plain.len() < COMPRESS_WELL_BYTES_MIN {
        true => crate::packing::pack_quickly(&plain),
        false => crate::pack(&plain),
    };
    match packed {
        Ok(packed) if packed.len() < plain.len() => (CODEC_ZSTD, packed),
        _ => (CODEC_PLAIN, plain),
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
    if version != VERSION {
        return Err(format!("record format {version}, expected {VERSION}"));
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
            if plain.len() < 2 {
                return Err(SHORT.to_owned());
            }
            let name_bytes = usize::from(plain.get_u16_le());
            if plain.len() < name_bytes {
                return Err(SHORT.to_owned());
            }
            let name = String::from_utf8(plain.split_to(name_bytes).to_vec())
                .map_err(|_| "a header name is not UTF-8".to_owned())?;
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
            ],
            append_time_ms: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_compressed_only_where_it_helps() {
        let encoded = EncodedRecord::new(&record()).unwrap();
        assert!(encoded.stored_bytes() < 200);
        let (key, value) = encoded.place(7, 42, 1_000);
        let read = decode(&key, &value, 1 << 20).unwrap();
        assert_eq!((read.offset, read.append_time_ms), (Offset(42), 1_000));
        assert_eq!(
            (read.key, read.value, read.headers),
            (record().key, record().value, record().headers)
        );
        let (key, value) = EncodedRecord::new(&Record::default())
            .unwrap()
            .place(0, 0, -1);
        assert_eq!(decode(&key, &value, 1 << 20).unwrap().value, Bytes::new());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let (key, value) = EncodedRecord::new(&record()).unwrap().place(7, 42, 1_000);
        for at in 0..value.len() * 8 {
            let mut damaged = value.clone();
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
            decode(&store_key(7, 43), &value, 1 << 20).is_err(),
            "a record at another offset"
        );
        assert!(
            decode(&store_key(8, 42), &value, 1 << 20).is_err(),
            "a record of another partition"
        );
    }
}
