//! From the bytes of a `Request` of remote write 2.0, whose labels are numbers of symbols, to samples.
//!
//! ```text
//! Request    { 4: repeated string symbols (the first is empty), 5: repeated TimeSeries }
//! TimeSeries { 1: repeated uint32 labels_refs, 2: repeated Sample, 3: repeated Histogram, 4: repeated Exemplar (left out), 5: Metadata }
//! Sample     { 1: double value, 2: int64 timestamp, ms, 3: start timestamp (left out) }
//! Metadata   { 1: type, 3: help, 4: unit (left out) }
//! ```

use schemas::{Kind, LABELS_MAX, Labels, LabelsError};

use super::super::refusal::{Malformed, Undecodable};
use super::super::wire::{Value, Wire};
use super::decode::{NAME_LABEL, native_histogram, sample};
use crate::door::{Batcher, Place, Reason, SeriesRef, TimeUnit};

/// Symbols of one request. A million: more than the labels of all series of the largest request; 8 MB of places.
const SYMBOLS_MAX: usize = 1 << 20;
/// Begins every key of a series, so that none equals the bytes that another protocol names one by.
const KEY_MARK: u8 = 0x01;

/// Decodes a decompressed `Request` into a batcher; answers how many exemplars were left out. Series that cannot be taken are rejections; the rest goes on.
///
/// # Errors
/// `Undecodable` if the bytes are no `Request` (it says where) or hold too many samples: discard the batcher.
pub fn decode(body: &[u8], door: &mut Batcher) -> Result<usize, Undecodable> {
    let request = Wire::new(body, "Request");
    let symbols = Symbols::read(request)?;
    let (mut walk, mut index, mut skipped, mut key) = (request, 0, 0, Vec::new());
    while let Some((field, value)) = walk.next()? {
        match (field, value) {
            (5, Value::Bytes(bytes, at)) => {
                let place = Place::Series { index, byte: at };
                let message = walk.inner(bytes, at, "TimeSeries");
                skipped += take_series(message, &symbols, place, &mut key, door)?;
                index += 1;
            }
            (5, _) => {
                return Err(walk
                    .malformed(walk.at, 5, "expected a TimeSeries message")
                    .into());
            }
            _ => {}
        }
    }
    Ok(skipped)
}

/// Where the symbols of a request stand.
struct Symbols<'a> {
    body: &'a [u8],
    /// Start and length of each.
    places: Vec<(u32, u32)>,
}

impl<'a> Symbols<'a> {
    fn read(mut request: Wire<'a>) -> Result<Self, Malformed> {
        let (body, mut places) = (request.rest(), Vec::new());
        while let Some((field, value)) = request.next()? {
            match (field, value) {
                (4, Value::Bytes(bytes, at)) => {
                    if places.len() == SYMBOLS_MAX {
                        return Err(request.malformed(
                            at,
                            4,
                            format!("more than {SYMBOLS_MAX} symbols"),
                        ));
                    }
                    // A body has at most 4 GiB.
                    places.push((at as u32, bytes.len() as u32));
                }
                (4, _) => return Err(request.malformed(request.at, 4, "expected a string")),
                _ => {}
            }
        }
        if let Some((at, 1..)) = places.first() {
            return Err(request.malformed(
                *at as usize,
                4,
                "the first symbol must be the empty string",
            ));
        }
        Ok(Symbols { body, places })
    }

    fn get(&self, number: u64) -> Option<&'a [u8]> {
        let (at, length) = *self.places.get(usize::try_from(number).ok()?)?;
        self.body.get(at as usize..at as usize + length as usize)
    }
}

/// What a walk over a series finds before its samples are taken.
#[derive(Default)]
struct Found {
    samples: u64,
    histograms: u64,
    exemplars: usize,
    references: u64,
    kind: Option<Kind>,
    problem: Option<Reason>,
}

/// Takes one series; answers how many exemplars were left out.
fn take_series(
    message: Wire<'_>,
    symbols: &Symbols<'_>,
    place: Place,
    key: &mut Vec<u8>,
    door: &mut Batcher,
) -> Result<usize, Undecodable> {
    let found = read_series(message, symbols, key)?;
    if found.histograms > 0 {
        door.reject(found.histograms, place, native_histogram());
    }
    if found.samples == 0 {
        return Ok(found.exemplars);
    }
    let series = match found.problem {
        Some(problem) => Err(problem),
        None => door.series_by_raw(key, || name_and_labels(key)),
    };
    let mut walk = message;
    let SeriesRef { metric, labels } = match series {
        Ok(series) => series,
        Err(reason) => {
            door.reject(found.samples, place, reason);
            // Broken bytes end the request, also where they would not be taken.
            while let Some((field, value)) = walk.next()? {
                if let (2, Value::Bytes(bytes, at)) = (field, value) {
                    sample(walk.inner(bytes, at, "Sample"))?;
                }
            }
            return Ok(found.exemplars);
        }
    };
    while let Some((field, value)) = walk.next()? {
        if let (2, Value::Bytes(bytes, at)) = (field, value) {
            let (value, time) = sample(walk.inner(bytes, at, "Sample"))?;
            door.push(
                metric,
                labels,
                found.kind,
                time,
                TimeUnit::Milliseconds,
                value,
                place,
            )?;
        }
    }
    Ok(found.exemplars)
}

/// Reads all but the samples; `key` then holds the symbols of the labels, each with its length before it.
fn read_series(
    message: Wire<'_>,
    symbols: &Symbols<'_>,
    key: &mut Vec<u8>,
) -> Result<Found, Malformed> {
    let (mut walk, mut found) = (message, Found::default());
    key.clear();
    key.push(KEY_MARK);
    while let Some((field, value)) = walk.next()? {
        match (field, value) {
            (1, Value::Varint(number)) => add_symbol(number, symbols, key, &mut found),
            (1, Value::Bytes(bytes, at)) => {
                let mut packed = walk.inner(bytes, at, "TimeSeries");
                while let Some(number) = packed.packed_varint(1)? {
                    add_symbol(number, symbols, key, &mut found);
                }
            }
            (2, Value::Bytes(..)) => found.samples += 1,
            (3, Value::Bytes(..)) => found.histograms += 1,
            (4, Value::Bytes(..)) => found.exemplars += 1,
            (5, Value::Bytes(bytes, at)) => {
                found.kind = kind(walk.inner(bytes, at, "Metadata"))?;
            }
            (1..=5, _) => return Err(walk.malformed(walk.at, field, "expected a message")),
            _ => {}
        }
    }
    if found.references % 2 == 1 {
        found.problem.get_or_insert(Reason::Syntax(format!(
            "{} symbols for names and values of labels; expected an even number",
            found.references
        )));
    }
    Ok(found)
}

fn add_symbol(number: u64, symbols: &Symbols<'_>, key: &mut Vec<u8>, found: &mut Found) {
    found.references += 1;
    // Bounded before anything is collected: a reference of one byte may stand for a symbol of megabytes.
    if found.references > 2 * (LABELS_MAX as u64 + 1) {
        found.problem.get_or_insert(
            LabelsError::TooMany((found.references / 2).try_into().unwrap_or(usize::MAX)).into(),
        );
        return;
    }
    let Some(symbol) = symbols.get(number) else {
        found.problem.get_or_insert(Reason::Syntax(format!(
            "a label refers to symbol {number} of {}",
            symbols.places.len()
        )));
        return;
    };
    if symbol.len() > schemas::LABEL_BYTES_MAX {
        found
            .problem
            .get_or_insert(Reason::Labels(LabelsError::TooLong {
                key: String::from_utf8_lossy(&symbol[..symbol.len().min(32)]).into_owned(),
                bytes: symbol.len(),
            }));
        return;
    }
    key.extend_from_slice(&(symbol.len() as u32).to_le_bytes());
    key.extend_from_slice(symbol);
}

/// What the metadata say of a series; `None` where its name says more: a histogram has counters and bounds.
fn kind(mut metadata: Wire<'_>) -> Result<Option<Kind>, Malformed> {
    let mut kind = None;
    while let Some((field, value)) = metadata.next()? {
        match (field, value) {
            (1, Value::Varint(1)) => kind = Some(Kind::Counter),
            (1, Value::Varint(2)) => kind = Some(Kind::Gauge),
            (1, Value::Varint(_)) => kind = None,
            (1, _) => return Err(metadata.malformed(metadata.at, 1, "expected a number")),
            _ => {}
        }
    }
    Ok(kind)
}

/// The name and the labels in a key.
fn name_and_labels(key: &[u8]) -> Result<(&str, Labels), Reason> {
    let (mut rest, mut name, mut pairs) = (&key[1..], None, Vec::new());
    let mut next = || -> Option<&[u8]> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (symbol, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(symbol)
    };
    while let (Some(label), Some(value)) = (next(), next()) {
        let (Ok(label), Ok(value)) = (std::str::from_utf8(label), std::str::from_utf8(value))
        else {
            return Err(Reason::NotUtf8("a label"));
        };
        if label.as_bytes() != NAME_LABEL {
            pairs.push((label, value));
        } else if name.replace(value).is_some() {
            return Err(Reason::Labels(LabelsError::Duplicate(label.to_owned())));
        }
    }
    match name {
        None | Some("") => Err(Reason::NoMetric),
        Some(name) => Ok((name, Labels::try_new(pairs)?)),
    }
}
