//! The form in which folded labels outlive the process: a line with version and checksum, then JSON. Opens no file.

use super::cardinality::Kept;

/// What the file begins with.
const HEAD: &str = "tidewatch-folded-labels 1 crc32=";

/// Bytes that no admission saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a file that begins with `{HEAD}` and has that checksum, found {0}")]
pub struct Unreadable(String);

fn checksum(text: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(text);
    format!("{:08x}", crc.sum())
}

pub(super) fn write(kept: &[Kept]) -> Vec<u8> {
    // Strings, numbers and lists can't fail to be written.
    let text = serde_json::to_vec(kept).unwrap_or_default();
    let mut file = format!("{HEAD}{}\n", checksum(&text)).into_bytes();
    file.extend_from_slice(&text);
    file.push(b'\n');
    file
}

pub(super) fn read(file: &[u8]) -> Result<Vec<Kept>, Unreadable> {
    let wrong = |found: String| Unreadable(found);
    let (head, text) = file
        .iter()
        .position(|byte| *byte == b'\n')
        .map(|end| (&file[..end], file[end + 1..].trim_ascii_end()))
        .ok_or_else(|| wrong(format!("{} bytes without a line", file.len())))?;
    let head = String::from_utf8_lossy(head);
    let told = head
        .strip_prefix(HEAD)
        .ok_or_else(|| wrong(format!("`{:.60}`", head)))?;
    let found = checksum(text);
    if told != found {
        return Err(wrong(format!("checksum {found} instead of {told}")));
    }
    serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))
}

/// Numbers as one text: base64 of their little-endian bytes.
pub(super) mod packed {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(
        numbers: &[u32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u32>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(D::Error::custom("a number is cut off"));
        }
        Ok(numbers.iter().map(|n| u32::from_le_bytes(*n)).collect())
    }
}
