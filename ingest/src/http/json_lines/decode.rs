//! From JSON lines to samples.

use std::borrow::Cow;
use std::fmt;

use schemas::{Kind, LABELS_MAX, Labels, Micros};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::super::refusal::Undecodable;
use crate::door::{Batcher, Place, Reason, TimeUnit};

/// The longest line, bytes. 1 MiB: a sample with every label at a sensible length has 10 KB.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Decodes JSON lines into a batcher; `now` is the time of samples that have none. A line that cannot be taken is a rejection; the rest goes on.
///
/// # Errors
/// `Undecodable` only if there are too many samples: discard the batcher.
pub fn decode(body: &[u8], now: Micros, door: &mut Batcher) -> Result<(), Undecodable> {
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let at = |column: usize| Place::Line {
            line: index + 1,
            column,
        };
        if line.len() > LINE_BYTES_MAX {
            door.reject(
                1,
                at(1),
                Reason::Syntax(format!(
                    "a line of {} bytes; at most {LINE_BYTES_MAX} are taken",
                    line.len()
                )),
            );
            continue;
        }
        let sample: Sample<'_> = match serde_json::from_slice(line) {
            Ok(sample) => sample,
            Err(error) => {
                door.reject(
                    1,
                    at(error.column().max(1)),
                    Reason::Syntax(without_place(&error)),
                );
                continue;
            }
        };
        let labels = Labels::try_new(sample.labels.0)
            .map_err(Reason::from)
            .and_then(|labels| door.label_set(labels));
        match labels.and_then(|labels| Ok((door.metric(&sample.metric.0)?, labels))) {
            Ok((metric, labels)) => {
                let (time, unit) = sample
                    .time
                    .map_or((now, TimeUnit::Microseconds), |time| (time.0, time.1));
                let value = exact_value(line).unwrap_or(sample.value.0);
                door.push(metric, labels, sample.kind, time, unit, value, at(1))?;
            }
            Err(reason) => door.reject(1, at(1), reason),
        }
    }
    Ok(())
}

/// The number of a valid sample, read anew from its text: serde_json may miss the last bit (its feature that does not is one for the whole build).
/// `None` where the value is a string or its key is written with escapes.
fn exact_value(line: &[u8]) -> Option<f64> {
    let (mut at, mut depth) = (0, 0);
    while let Some(byte) = line.get(at) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'"' => {
                let start = at + 1;
                at = start;
                while *line.get(at)? != b'"' {
                    at += if line[at] == b'\\' { 2 } else { 1 };
                }
                let after = line[at + 1..].trim_ascii_start();
                // A value that spells `value` has no colon after it.
                if let (1, b"value", Some(text)) =
                    (depth, &line[start..at], after.strip_prefix(b":"))
                {
                    let text = text.trim_ascii_start();
                    let end = text.iter().position(|byte| {
                        matches!(byte, b',' | b'}') || byte.is_ascii_whitespace()
                    })?;
                    return std::str::from_utf8(&text[..end]).ok()?.parse().ok();
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The message of an error without `at line 1 column 7`: the place is told with the rejection, by the line of the body.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message
        .rsplit_once(" at line ")
        .map_or(message.clone(), |(message, _)| message.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample<'a> {
    #[serde(borrow)]
    metric: Text<'a>,
    #[serde(borrow, default)]
    labels: LabelPairs<'a>,
    time: Option<Time>,
    value: Number,
    kind: Option<Kind>,
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Labels as they stand, duplicates too: those are refused later, with a reason.
#[derive(Default)]
struct LabelPairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for LabelPairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = LabelPairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if pairs.len() == LABELS_MAX {
                        return Err(A::Error::custom(format_args!(
                            "more than {LABELS_MAX} labels"
                        )));
                    }
                    pairs.push((key.0, value.0));
                }
                Ok(LabelPairs(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A time and its unit.
struct Time(i64, TimeUnit);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Times;
        impl Visitor<'_> for Times {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time: RFC 3339 text or milliseconds since 1970")
            }

            fn visit_i64<E: Error>(self, time: i64) -> Result<Time, E> {
                Ok(Time(time, TimeUnit::Milliseconds))
            }

            fn visit_u64<E: Error>(self, time: u64) -> Result<Time, E> {
                // Beyond i64 it is out of range all the same.
                Ok(Time(
                    i64::try_from(time).unwrap_or(i64::MAX),
                    TimeUnit::Milliseconds,
                ))
            }

            fn visit_f64<E: Error>(self, time: f64) -> Result<Time, E> {
                // A cast of a float saturates, and both ends are refused as times.
                Ok(Time((time * 1000.0).round() as i64, TimeUnit::Microseconds))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                let time: jiff::Timestamp = text.parse().map_err(|_| {
                    E::custom(format_args!(
                        "`{text:.40}` is no RFC 3339 time such as 2026-11-21T10:00:00Z"
                    ))
                })?;
                Ok(Time(time.as_microsecond(), TimeUnit::Microseconds))
            }
        }
        deserializer.deserialize_any(Times)
    }
}

/// A value: JSON has no words for NaN and the infinities, so they come as strings.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                match text {
                    "NaN" => Ok(Number(f64::NAN)),
                    "Infinity" => Ok(Number(f64::INFINITY)),
                    "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}
