//! The forms in which folded labels and known series outlive the process: a line with version and checksum, then JSON or numbers. Opens no file.

use schemas::{ErrorCode, Fault, HasCode, HasFault};

use super::cardinality::Kept;
use crate::error_codes;

/// A file that outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    FoldedLabels,
    KnownSeries,
}

impl File {
    /// What it begins with.
    fn head(self) -> &'static str {
        match self {
            File::FoldedLabels => "tidewatch-folded-labels 1 crc32=",
            File::KnownSeries => "tidewatch-known-series 1 crc32=",
        }
    }
}

/// Bytes that no admission saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a file that begins with `{}` and has that checksum, found {found}", file.head())]
pub struct Unreadable {
    file: File,
    found: String,
}

impl HasFault for Unreadable {
    fn fault(&self) -> Fault {
        Fault::Corruption
    }
}

impl HasCode for Unreadable {
    fn code(&self) -> &'static ErrorCode {
        match self.file {
            File::FoldedLabels => &error_codes::FOLDED_LABELS,
            File::KnownSeries => &error_codes::KNOWN_SERIES,
        }
    }
}

fn checksum(bytes: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    format!("{:08x}", crc.sum())
}

fn sealed(file: File, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{}{}\n", file.head(), checksum(body)).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a file, verified.
fn opened(file: File, bytes: &[u8]) -> Result<&[u8], Unreadable> {
    let wrong = |found: String| Unreadable { file, found };
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| wrong(format!("{} bytes without a line", bytes.len())))?;
    let (line, body) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end + 1..]);
    let told = line
        .strip_prefix(file.head())
        .ok_or_else(|| wrong(format!("`{line:.60}`")))?;
    let found = checksum(body);
    if told != found {
        return Err(wrong(format!("checksum {found} instead of {told}")));
    }
    Ok(body)
}

pub(super) fn write(kept: &[Kept]) -> Vec<u8> {
    // Strings, numbers and lists can't fail to be written.
    let text = serde_json::to_vec(kept).unwrap_or_default();
    let mut bytes = sealed(File::FoldedLabels, &text);
    bytes.push(b'\n');
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Kept>, Unreadable> {
    let file = File::FoldedLabels;
    let text = opened(file, bytes.trim_ascii_end())?;
    serde_json::from_slice(text).map_err(|error| Unreadable {
        file,
        found: error.to_string(),
    })
}

/// The file of known series: their numbers, ascending, eight bytes each. What is given twice stands there once.
pub(super) fn write_known(mut series: Vec<u64>) -> Vec<u8> {
    series.sort_unstable();
    series.dedup();
    let body: Vec<u8> = series.iter().flat_map(|id| id.to_le_bytes()).collect();
    sealed(File::KnownSeries, &body)
}

/// What [`write_known`] was given, ascending.
pub(super) fn read_known(bytes: &[u8]) -> Result<Vec<u64>, Unreadable> {
    let file = File::KnownSeries;
    let (numbers, rest) = opened(file, bytes)?.as_chunks::<8>();
    let mut series: Vec<u64> = numbers.iter().map(|id| u64::from_le_bytes(*id)).collect();
    if !rest.is_empty() {
        let found = format!("{} bytes behind the last number", rest.len());
        return Err(Unreadable { file, found });
    }
    // As written; one made by hand does no harm.
    series.sort_unstable();
    Ok(series)
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
