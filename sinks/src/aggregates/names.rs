//! The names of series: stored once per series, read once per question.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use schemas::time::{DAY, Micros};
use schemas::{Kind, Labels, Series, SeriesId};

use super::StoreError;

/// The number of the UTC day of a time, 0 = 1970-01-01; earlier ones are day 0.
pub(super) fn day(time: Micros) -> u32 {
    u32::try_from(time.div_euclid(DAY)).unwrap_or(0)
}

/// The bytes of a name: day of the newest row (4, little-endian), kind (1), length of the metric (2), metric, canonical labels.
pub(super) fn encode(series: &Series, day: u32) -> Vec<u8> {
    let labels = series.labels.canonical();
    let mut bytes = Vec::with_capacity(7 + series.metric.len() + labels.len());
    bytes.extend_from_slice(&day.to_le_bytes());
    bytes.push(series.kind as u8);
    // A metric has at most 1,024 bytes.
    bytes.extend_from_slice(&(series.metric.len() as u16).to_le_bytes());
    bytes.extend_from_slice(series.metric.as_bytes());
    bytes.extend_from_slice(labels);
    bytes
}

/// The day in a name.
pub(super) fn confirmed_day(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|day| u32::from_le_bytes(*day))
}

/// The id and the day of a stored name; `None` where the entry is none.
pub(super) fn read(key: &[u8], name: &[u8]) -> Option<(u128, u32)> {
    let id = <[u8; 16]>::try_from(key).ok()?;
    Some((u128::from_be_bytes(id), confirmed_day(name)?))
}

/// Reads a name and checks that it is that of the series.
fn decode(id: u128, bytes: &[u8]) -> Option<Series> {
    let kind = Kind::from_byte(*bytes.get(4)?)?;
    let length = usize::from(u16::from_le_bytes([*bytes.get(5)?, *bytes.get(6)?]));
    let metric = std::str::from_utf8(bytes.get(7..7 + length)?).ok()?;
    let mut parts = bytes
        .get(7 + length..)?
        .split(|byte| *byte == 0xFF)
        .map(std::str::from_utf8);
    let mut pairs = Vec::new();
    while let (Some(Ok(key)), Some(Ok(value))) = (parts.next(), parts.next()) {
        pairs.push((key, value));
    }
    let series = Series::new(metric, Labels::try_new(pairs).ok()?, kind);
    (series.id == SeriesId(id)).then_some(series)
}

/// The names met by one question.
#[derive(Default)]
pub(super) struct Names {
    found: HashMap<u128, Arc<Series>, FixedState>,
}

impl Names {
    /// The series of an id. The inner error says why it can't be named.
    pub(super) fn of(
        &mut self,
        id: u128,
        read: impl FnOnce() -> Result<Option<fjall::UserValue>, StoreError>,
    ) -> Result<Result<Arc<Series>, String>, StoreError> {
        if let Some(series) = self.found.get(&id) {
            return Ok(Ok(Arc::clone(series)));
        }
        let Some(bytes) = read()? else {
            return Ok(Err("it is missing".into()));
        };
        let Some(series) = decode(id, &bytes) else {
            return Ok(Err("it is not what the id was made of".into()));
        };
        let series = Arc::new(series);
        self.found.insert(id, Arc::clone(&series));
        Ok(Ok(series))
    }
}
