//! From the bytes of a `WriteRequest` to samples, in place: a series seen before costs one walk and one hash of its label bytes.
//!
//! ```text
//! WriteRequest { 1: repeated TimeSeries, 3: metadata (left out) }
//! TimeSeries   { 1: repeated Label, 2: repeated Sample, 3: exemplars (left out), 4: native histograms (refused) }
//! Label        { 1: name, 2: value }        Sample { 1: double value, 2: int64 timestamp, ms }
//! ```

use schemas::{LABELS_MAX, Labels, LabelsError};

use super::super::refusal::{Malformed, Undecodable};
use super::super::wire::{Value, Wire};
use crate::door::{Batcher, Place, Reason, SeriesRef, TimeUnit};

/// The label that names the metric.
pub(super) const NAME_LABEL: &[u8] = b"__name__";

/// Why a native histogram is refused.
pub(super) fn native_histogram() -> Reason {
    Reason::Syntax(
        "a native histogram, which is not stored; let the sender keep classic buckets too (Prometheus: `always_scrape_classic_histograms: true`)".into(),
    )
}

/// Decodes a decompressed `WriteRequest` into a batcher; answers how many exemplars were left out. Series that cannot be taken are rejections; the rest goes on.
///
/// # Errors
/// `Undecodable` if the bytes are no `WriteRequest` (it says where) or hold too many samples: discard the batcher.
pub fn decode(body: &[u8], door: &mut Batcher) -> Result<usize, Undecodable> {
    let mut request = Wire::new(body, "WriteRequest");
    let (mut index, mut skipped) = (0, 0);
    while let Some((field, value)) = request.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes, at)) => {
                skipped += series(
                    request.inner(bytes, at, "TimeSeries"),
                    Place::Series { index, byte: at },
                    body,
                    door,
                )?;
                index += 1;
            }
            (1, _) => {
                return Err(request
                    .malformed(request.at, 1, "expected a TimeSeries message")
                    .into());
            }
            _ => {}
        }
    }
    Ok(skipped)
}

/// Takes one series; answers how many exemplars were left out.
fn series(
    message: Wire<'_>,
    place: Place,
    body: &[u8],
    door: &mut Batcher,
) -> Result<usize, Undecodable> {
    let mut walk = message;
    let (mut labels, mut samples, mut first_sample) = (0usize, 0u64, None);
    let (mut exemplars, mut histograms) = (0, 0);
    // Labels stand together and first in what every known sender writes; then their bytes are the key.
    let (mut labels_start, mut labels_end, mut together) = (walk.at, walk.at, true);
    loop {
        let start = walk.at;
        let Some((field, value)) = walk.next()? else {
            break;
        };
        match (field, value) {
            (1, Value::Bytes(..)) => {
                if labels == 0 {
                    labels_start = start;
                } else {
                    together &= start == labels_end;
                }
                labels_end = walk.at;
                labels += 1;
            }
            (2, Value::Bytes(..)) => {
                first_sample.get_or_insert(start);
                samples += 1;
            }
            (3, Value::Bytes(..)) => exemplars += 1,
            (4, Value::Bytes(..)) => histograms += 1,
            (1..=4, _) => return Err(walk.malformed(start, field, "expected a message").into()),
            _ => {}
        }
    }
    if histograms > 0 {
        door.reject(histograms, place, native_histogram());
    }
    let Some(first_sample) = first_sample else {
        check_labels(message)?;
        return Ok(exemplars);
    };
    let mut malformed = None;
    let series = if together {
        door.series_by_raw(&body[labels_start..labels_end], || {
            name_and_labels(message, labels, &mut malformed)
        })
    } else {
        name_and_labels(message, labels, &mut malformed).and_then(|(name, labels)| {
            Ok(SeriesRef {
                metric: door.metric(name)?,
                labels: door.label_set(labels)?,
            })
        })
    };
    if let Some(malformed) = malformed {
        return Err(malformed.into());
    }
    let mut walk = message;
    walk.at = first_sample;
    let taken = match series {
        Ok(series) => Some(series),
        Err(reason) => {
            door.reject(samples, place, reason);
            None
        }
    };
    while let Some((field, value)) = walk.next()? {
        if let (2, Value::Bytes(bytes, at)) = (field, value) {
            let (value, time) = sample(walk.inner(bytes, at, "Sample"))?;
            if let Some(series) = taken {
                door.push(
                    series.metric,
                    series.labels,
                    None,
                    time,
                    TimeUnit::Milliseconds,
                    value,
                    place,
                )?;
            }
        }
    }
    Ok(exemplars)
}

/// A series without samples brings nothing, but must be well formed all the same.
fn check_labels(mut message: Wire<'_>) -> Result<(), Malformed> {
    while let Some((field, value)) = message.next()? {
        if let (1, Value::Bytes(bytes, at)) = (field, value) {
            label(message.inner(bytes, at, "Label"))?;
        }
    }
    Ok(())
}

#[inline]
pub(super) fn sample(mut message: Wire<'_>) -> Result<(f64, i64), Malformed> {
    let (mut sample_value, mut time) = (0.0, 0);
    while let Some((field, value)) = message.next()? {
        match (field, value) {
            (1, Value::Fixed64(bits)) => sample_value = f64::from_bits(bits),
            (2, Value::Varint(bits)) => time = bits as i64,
            (1, _) => return Err(message.malformed(message.at, 1, "expected a double")),
            (2, _) => return Err(message.malformed(message.at, 2, "expected an int64")),
            _ => {}
        }
    }
    Ok((sample_value, time))
}

fn label(mut message: Wire<'_>) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut text): (&[u8], &[u8]) = (&[], &[]);
    while let Some((field, value)) = message.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes, _)) => name = bytes,
            (2, Value::Bytes(bytes, _)) => text = bytes,
            (1 | 2, _) => return Err(message.malformed(message.at, field, "expected a string")),
            _ => {}
        }
    }
    Ok((name, text))
}

/// Reads the labels of a series that is not remembered. A malformed label goes to `malformed`: it ends the request, not the series.
fn name_and_labels<'a>(
    mut message: Wire<'a>,
    count: usize,
    malformed: &mut Option<Malformed>,
) -> Result<(&'a str, Labels), Reason> {
    let mut name = None;
    // Bounded before anything is collected: a body of tiny labels must not grow in memory.
    let mut pairs = Vec::with_capacity(count.min(LABELS_MAX + 1));
    let mut problem = None;
    loop {
        let (bytes, at) = match message.next() {
            Ok(Some((1, Value::Bytes(bytes, at)))) => (bytes, at),
            Ok(Some(_)) => continue,
            Ok(None) => break,
            Err(error) => {
                *malformed = Some(error);
                return Err(Reason::NoMetric);
            }
        };
        match label(message.inner(bytes, at, "Label")) {
            Ok((key, value)) => {
                let (Ok(key), Ok(value)) = (std::str::from_utf8(key), std::str::from_utf8(value))
                else {
                    problem.get_or_insert(Reason::NotUtf8("a label"));
                    continue;
                };
                if key.as_bytes() != NAME_LABEL {
                    if pairs.len() <= LABELS_MAX {
                        pairs.push((key, value));
                    }
                } else if name.replace(value).is_some() {
                    problem.get_or_insert(Reason::Labels(LabelsError::Duplicate(key.to_owned())));
                }
            }
            Err(error) => {
                *malformed = Some(error);
                return Err(Reason::NoMetric);
            }
        }
    }
    if let Some(problem) = problem {
        return Err(problem);
    }
    if pairs.len() > LABELS_MAX {
        return Err(LabelsError::TooMany(count).into());
    }
    match name {
        None | Some("") => Err(Reason::NoMetric),
        Some(name) => Ok((name, Labels::try_new(pairs)?)),
    }
}
