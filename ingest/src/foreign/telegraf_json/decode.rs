//! From Telegraf's JSON to samples. A tag section seen before costs one hash of its bytes.

use std::borrow::Cow;

use memchr::memchr;
use schemas::{LABELS_MAX, Labels, LabelsError, Micros};

use crate::door::{Batcher, LabelSetId, Place, Reason, TimeUnit, TooManySamples};
use crate::http::{LineUnit, Undecodable};
use crate::json_text::{JsonError, JsonText, Token};

/// Fields that there is room for at once: records mostly hold one metric each.
const FIELDS_USUAL: usize = 16;

/// Decodes one or more objects, one after the other, into a batcher; `now` is the time of those that have none. Answers how many fields were left out because
/// they are no numbers. A metric that can't be taken is a rejection; the rest goes on.
///
/// # Errors
/// `Undecodable` if the bytes are no JSON objects, or hold too many samples: discard the batcher.
pub(in crate::foreign) fn decode(
    body: &[u8],
    unit: LineUnit,
    now: Micros,
    door: &mut Batcher,
) -> Result<usize, Undecodable> {
    let mut metrics = Metrics {
        unit,
        now,
        index: 0,
        skipped: 0,
        fields: Vec::with_capacity(FIELDS_USUAL),
        door,
    };
    let mut json = JsonText::new(body);
    while !json.is_at_end() {
        metrics.take(&mut json, true)?;
    }
    Ok(metrics.skipped)
}

struct Metrics<'a, 'd> {
    unit: LineUnit,
    now: Micros,
    /// How many were begun.
    index: usize,
    skipped: usize,
    /// Of the metric being read.
    fields: Vec<(Cow<'a, str>, f64)>,
    door: &'d mut Batcher,
}

/// What stands around the fields of a metric.
#[derive(Default)]
struct Head<'a> {
    name: Option<Cow<'a, str>>,
    /// The object of its tags, as sent.
    tags: &'a [u8],
    time: Option<(i64, TimeUnit)>,
    refused: Option<Reason>,
}

impl<'a> Metrics<'a, '_> {
    /// Takes a metric, or (outermost only) an object that holds several.
    fn take(&mut self, json: &mut JsonText<'a>, is_outermost: bool) -> Result<(), Undecodable> {
        let (mut head, mut holds_others) = (Head::default(), false);
        self.fields.clear();
        json.object(|json, key| {
            match (key.as_ref(), json.token()?) {
                ("name", Token::Text) => head.name = Some(json.text()?),
                ("tags", Token::Object) => {
                    let start = json.position();
                    json.skip()?;
                    head.tags = json.since(start);
                }
                ("timestamp", Token::Number) => head.time = Some(self.time(json.number_text()?)),
                ("timestamp", Token::Text) => match json.text()?.parse::<jiff::Timestamp>() {
                    Ok(time) => head.time = Some((time.as_microsecond(), TimeUnit::Microseconds)),
                    Err(_) => {
                        let problem = "`timestamp` is neither a number nor a time of RFC 3339";
                        head.refused = Some(Reason::Syntax(problem.into()));
                    }
                },
                ("fields", Token::Object) => self.read_fields(json)?,
                ("metrics", Token::Array) if is_outermost => {
                    holds_others = true;
                    json.array(|json| self.take(json, false))?;
                }
                _ => json.skip()?,
            }
            Ok::<_, Undecodable>(())
        })?;
        if !holds_others {
            self.push(head)?;
        }
        Ok(())
    }

    fn read_fields(&mut self, json: &mut JsonText<'a>) -> Result<(), JsonError> {
        json.object(|json, field| {
            let value = match json.token()? {
                Token::Number => json.number()?,
                Token::Bool => f64::from(u8::from(json.boolean()?)),
                _ => {
                    self.skipped += 1;
                    return json.skip();
                }
            };
            self.fields.push((field, value));
            Ok(())
        })
    }

    /// A time as its number was written: whole in the unit of the source, or a fraction of seconds.
    fn time(&self, text: &str) -> (i64, TimeUnit) {
        match text.parse::<i64>() {
            Ok(time) => (time, self.unit.of(time)),
            // A cast of a float saturates, and both ends are refused as times.
            Err(_) => {
                let seconds: f64 = text.parse().unwrap_or(f64::INFINITY);
                ((seconds * 1e6).round() as i64, TimeUnit::Microseconds)
            }
        }
    }

    fn push(&mut self, head: Head<'a>) -> Result<(), TooManySamples> {
        let place = Place::Object { index: self.index };
        self.index += 1;
        let series = match (head.refused, head.name) {
            (Some(reason), _) => Err(reason),
            (None, None) => Err(Reason::Syntax(
                "an object without `name`; expected {\"fields\":{…},\"name\":…,\"tags\":{…},\"timestamp\":…}".into(),
            )),
            (None, Some(name)) => label_set(head.tags, self.door).map(|labels| (name, labels)),
        };
        let (name, labels) = match series {
            Ok(series) => series,
            Err(reason) => {
                let samples = self.fields.len().max(1) as u64;
                self.door.reject(samples, place, reason);
                return Ok(());
            }
        };
        let (time, unit) = head.time.unwrap_or((self.now, TimeUnit::Microseconds));
        for (field, value) in &self.fields {
            let whole = || format!("{name}_{field}");
            // With a backslash, line protocol means another name by the same bytes.
            let metric = if has_backslash(&name) || has_backslash(field) {
                self.door.metric(&whole())
            } else {
                let (name, field) = (name.as_bytes(), field.as_bytes());
                self.door.metric_by_parts(name, field, || Ok(whole()))
            };
            match metric {
                Ok(metric) => {
                    self.door
                        .push(metric, labels, None, time, unit, *value, place)?;
                }
                Err(reason) => self.door.reject(1, place, reason),
            }
        }
        Ok(())
    }
}

fn has_backslash(text: &str) -> bool {
    memchr(b'\\', text.as_bytes()).is_some()
}

/// The label set of an object of tags, as sent.
fn label_set(tags: &[u8], door: &mut Batcher) -> Result<LabelSetId, Reason> {
    door.label_set_by_raw(tags, || {
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        if !tags.is_empty() {
            let read = JsonText::new(tags).object(|json, key| {
                // Bounded before anything is collected.
                if pairs.len() > LABELS_MAX {
                    return json.skip();
                }
                pairs.push((key, json.text()?));
                Ok(())
            });
            read.map_err(|error| Reason::Syntax(format!("tags: {}", error.problem)))?;
        }
        if pairs.len() > LABELS_MAX {
            return Err(LabelsError::TooMany(pairs.len()).into());
        }
        Ok(Labels::try_new(pairs)?)
    })
}
