//! From Vector's metric events to samples.

use std::borrow::Cow;

use schemas::{Kind, LABELS_MAX, Labels, LabelsError, Micros};

use crate::door::{Batcher, Place, Reason, TimeUnit, TooManySamples};
use crate::http::{TEMPORALITY_LABEL, Undecodable, bound_text};
use crate::json_text::{JsonError, JsonText, Token};

/// Decodes one or more events, one after the other, or arrays of them, into a batcher; `now` is the time of those that have none. An event that can't be taken
/// is a rejection; the rest goes on.
///
/// # Errors
/// `Undecodable` if the bytes are no JSON objects, or hold too many samples: discard the batcher.
pub(in crate::foreign) fn decode(
    body: &[u8],
    now: Micros,
    door: &mut Batcher,
) -> Result<(), Undecodable> {
    let mut index = 0;
    let mut take = |json: &mut JsonText<'_>| {
        let place = Place::Object { index };
        index += 1;
        take_event(json, now, place, door)
    };
    let mut json = JsonText::new(body);
    while !json.is_at_end() {
        match json.token()? {
            Token::Array => json.array(&mut take)?,
            _ => take(&mut json)?,
        }
    }
    Ok(())
}

/// An event as far as it was read.
#[derive(Default)]
struct Event<'a> {
    name: Cow<'a, str>,
    namespace: Cow<'a, str>,
    /// A label of several values has each of them here.
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    time: Option<Micros>,
    is_incremental: bool,
    /// By what stands behind the name, and a bound of its own.
    parts: Vec<Part>,
    refused: Option<Reason>,
}

/// One sample of an event.
struct Part {
    suffix: &'static str,
    /// A label of its own: `le` or `quantile`.
    bound: Option<(&'static str, f64)>,
    kind: Kind,
    value: f64,
}

impl Part {
    fn new(suffix: &'static str, kind: Kind, value: f64) -> Self {
        Part {
            suffix,
            bound: None,
            kind,
            value,
        }
    }
}

fn take_event(
    json: &mut JsonText<'_>,
    now: Micros,
    place: Place,
    door: &mut Batcher,
) -> Result<(), Undecodable> {
    let mut event = Event::default();
    json.object(|json, key| read_entry(json, &key, &mut event))?;
    let refused = match event.refused.take() {
        Some(reason) => Some(reason),
        None if event.parts.is_empty() => Some(Reason::Syntax(
            "an event without a value; expected {\"metric\":{\"name\":…,\"gauge\":{\"value\":…}}}, or `counter`, `set`, `distribution`, `aggregated_histogram`, `aggregated_summary`".into(),
        )),
        None => None,
    };
    match refused {
        Some(reason) => door.reject(event.parts.len().max(1) as u64, place, reason),
        None => push(&event, now, place, door)?,
    }
    Ok(())
}

/// Reads one entry of an event, or of the object that an event of the codec `native_json` stands in.
fn read_entry<'a>(
    json: &mut JsonText<'a>,
    key: &str,
    event: &mut Event<'a>,
) -> Result<(), JsonError> {
    match (key, json.token()?) {
        ("metric", Token::Object) => json.object(|json, key| match key.as_ref() {
            "metric" => json.skip(),
            _ => read_entry(json, &key, event),
        }),
        ("log" | "trace", Token::Object) => {
            let problem = format!("a {key} event; only metrics are taken");
            event.refused = Some(Reason::Syntax(problem));
            json.skip()
        }
        ("name", Token::Text) => {
            event.name = json.text()?;
            Ok(())
        }
        ("namespace", Token::Text) => {
            event.namespace = json.text()?;
            Ok(())
        }
        ("timestamp", Token::Text) => {
            match json.text()?.parse::<jiff::Timestamp>() {
                Ok(time) => event.time = Some(time.as_microsecond()),
                Err(_) => {
                    event.refused =
                        Some(Reason::Syntax("`timestamp` is no time of RFC 3339".into()));
                }
            }
            Ok(())
        }
        ("kind", Token::Text) => {
            event.is_incremental = json.text()? == "incremental";
            Ok(())
        }
        ("tags", Token::Object) => json.object(|json, key| read_tag(json, key, &mut event.tags)),
        ("counter", Token::Object) => read_value(json, Kind::Counter, event),
        ("gauge", Token::Object) => read_value(json, Kind::Gauge, event),
        ("set", Token::Object) => json.object(|json, key| match key.as_ref() {
            "values" => {
                let mut count = 0.0;
                json.array(|json| {
                    count += 1.0;
                    json.skip()
                })?;
                event.parts.push(Part::new("", Kind::Gauge, count));
                Ok(())
            }
            _ => json.skip(),
        }),
        ("distribution", Token::Object) => read_distribution(json, event),
        ("aggregated_histogram", Token::Object) => {
            read_aggregate(json, "buckets", "upper_limit", event)
        }
        ("aggregated_summary", Token::Object) => {
            read_aggregate(json, "quantiles", "quantile", event)
        }
        ("sketch", Token::Object) => {
            let problem = "a sketch, which is not stored; let Vector send a distribution or an aggregated histogram";
            event.refused = Some(Reason::Syntax(problem.into()));
            json.skip()
        }
        _ => json.skip(),
    }
}

/// A tag has a value, several, or none.
fn read_tag<'a>(
    json: &mut JsonText<'a>,
    key: Cow<'a, str>,
    tags: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>,
) -> Result<(), JsonError> {
    // Bounded before anything is collected.
    if tags.len() > LABELS_MAX {
        return json.skip();
    }
    match json.token()? {
        Token::Text => tags.push((key, json.text()?)),
        // A label has one value: the last of them, as Vector itself shows it where only one can be.
        Token::Array => {
            let mut last = None;
            json.array(|json| match json.token()? {
                Token::Text => {
                    last = Some(json.text()?);
                    Ok(())
                }
                _ => json.skip(),
            })?;
            tags.extend(last.map(|value| (key, value)));
        }
        _ => json.skip()?,
    }
    Ok(())
}

fn read_value(json: &mut JsonText<'_>, kind: Kind, event: &mut Event<'_>) -> Result<(), JsonError> {
    json.object(|json, key| match key.as_ref() {
        "value" => {
            event.parts.push(Part::new("", kind, number(json)?));
            Ok(())
        }
        _ => json.skip(),
    })
}

/// A number, or an infinity, for which JSON has no word.
fn number(json: &mut JsonText<'_>) -> Result<f64, JsonError> {
    if json.token()? != Token::Text {
        return json.number();
    }
    let before = json.clone();
    match json.text()?.as_ref() {
        "inf" | "+inf" | "+Inf" | "Infinity" => Ok(f64::INFINITY),
        "-inf" | "-Inf" | "-Infinity" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ => Err(before.wrong("a number")),
    }
}

/// Samples with how often each occurred: `_count`, `_sum`, `_min`, `_max`.
fn read_distribution(json: &mut JsonText<'_>, event: &mut Event<'_>) -> Result<(), JsonError> {
    let (mut count, mut sum) = (0.0, 0.0);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    json.object(|json, key| {
        if key != "samples" {
            return json.skip();
        }
        json.array(|json| {
            let (mut value, mut rate) = (0.0, 1.0);
            json.object(|json, key| {
                match key.as_ref() {
                    "value" => value = number(json)?,
                    "rate" => rate = number(json)?,
                    _ => json.skip()?,
                }
                Ok::<_, JsonError>(())
            })?;
            count += rate;
            sum += value * rate;
            (least, most) = (least.min(value), most.max(value));
            Ok(())
        })
    })?;
    event.parts.push(Part::new("_count", Kind::Counter, count));
    event.parts.push(Part::new("_sum", Kind::Counter, sum));
    if count > 0.0 {
        event.parts.push(Part::new("_min", Kind::Gauge, least));
        event.parts.push(Part::new("_max", Kind::Gauge, most));
    }
    Ok(())
}

/// Buckets with their own counts, which become running totals up to each bound, or quantiles; then count and sum.
fn read_aggregate(
    json: &mut JsonText<'_>,
    list: &str,
    bound_key: &str,
    event: &mut Event<'_>,
) -> Result<(), JsonError> {
    let is_histogram = list == "buckets";
    let mut bounds: Vec<(f64, f64)> = Vec::new();
    json.object(|json, key| {
        match key.as_ref() {
            key if key == list => json.array(|json| {
                let (mut bound, mut value) = (0.0, 0.0);
                json.object(|json, key| {
                    match key.as_ref() {
                        key if key == bound_key => bound = number(json)?,
                        "count" | "value" => value = number(json)?,
                        _ => json.skip()?,
                    }
                    Ok::<_, JsonError>(())
                })?;
                bounds.push((bound, value));
                Ok::<_, JsonError>(())
            })?,
            "count" => {
                let count = number(json)?;
                event.parts.push(Part::new("_count", Kind::Counter, count));
            }
            "sum" => {
                let sum = number(json)?;
                event.parts.push(Part::new("_sum", Kind::Counter, sum));
            }
            _ => json.skip()?,
        }
        Ok::<_, JsonError>(())
    })?;
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut total = 0.0;
    for (bound, value) in bounds {
        total += value;
        event.parts.push(if is_histogram {
            // Vector writes the greatest double for the last bucket where a format has no infinity.
            let bound = if bound == f64::MAX {
                f64::INFINITY
            } else {
                bound
            };
            Part {
                bound: Some(("le", bound)),
                ..Part::new("_bucket", Kind::Counter, total)
            }
        } else {
            Part {
                bound: Some(("quantile", bound)),
                ..Part::new("", Kind::Gauge, value)
            }
        });
    }
    Ok(())
}

fn push(
    event: &Event<'_>,
    now: Micros,
    place: Place,
    door: &mut Batcher,
) -> Result<(), TooManySamples> {
    for part in &event.parts {
        // The last value of a gauge is a change when it is incremental, too.
        let kind = if event.is_incremental {
            Kind::Gauge
        } else {
            part.kind
        };
        let separator = if event.namespace.is_empty() { "" } else { "_" };
        let name = format!(
            "{}{separator}{}{}",
            event.namespace, event.name, part.suffix
        );
        let series = labels(event, part).and_then(|labels| {
            let metric = door.metric(if event.name.is_empty() { "" } else { &name })?;
            Ok((metric, door.label_set(labels)?))
        });
        match series {
            Ok((metric, labels)) => {
                let time = event.time.unwrap_or(now);
                let unit = TimeUnit::Microseconds;
                door.push(metric, labels, Some(kind), time, unit, part.value, place)?;
            }
            Err(reason) => door.reject(1, place, reason),
        }
    }
    Ok(())
}

fn labels(event: &Event<'_>, part: &Part) -> Result<Labels, Reason> {
    if event.tags.len() > LABELS_MAX {
        return Err(LabelsError::TooMany(event.tags.len()).into());
    }
    let own = event
        .tags
        .iter()
        .map(|(key, value)| (key.as_ref(), Cow::Borrowed(value.as_ref())));
    let delta = event
        .is_incremental
        .then_some((TEMPORALITY_LABEL, Cow::Borrowed("delta")));
    let bound = part
        .bound
        .map(|(label, value)| (label, Cow::Owned(bound_text(value))));
    Ok(Labels::try_new(own.chain(delta).chain(bound))?)
}
