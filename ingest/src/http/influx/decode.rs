//! From lines to samples, in place. A tag section seen before costs one hash of its bytes, a field name seen at the same place of the line
//! before costs one comparison.
//!
//! `measurement[,tag=value…] field=value[,field=value…] [timestamp]`; the sample of each field that is a number is named
//! `measurement_field`. A backslash escapes `,` and space in measurements, `,`, `=` and space in tags and field names, `"` and `\` in
//! quoted strings; before anything else it stands for itself. Newlines may stand in quoted strings only.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use memchr::{memchr, memchr2};
use schemas::time::{TIME_MAX, TIME_MIN};
use schemas::{LABELS_MAX, Labels, LabelsError, Micros};

use super::super::refusal::Undecodable;
use super::number;
use crate::door::{Batcher, LabelSetId, MetricId, Place, Reason, TimeUnit, TooManySamples};

/// How many measurements, and fields of one, are remembered within a request; then it begins anew.
const REMEMBERED_MAX: usize = 1024;

/// Fields that there is room for at once. 16: topics have a line per record, and each line would make room several times.
const FIELDS_USUAL: usize = 16;

/// The unit of the timestamps of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineUnit {
    /// As told.
    Fixed(TimeUnit),
    /// Guessed for each timestamp from its magnitude: below 5e9 seconds, below 5e12 milliseconds, below 5e15 microseconds, else nanoseconds.
    Auto,
}

impl LineUnit {
    pub(crate) fn of(self, time: i64) -> TimeUnit {
        match (self, time.unsigned_abs()) {
            (LineUnit::Fixed(unit), _) => unit,
            (LineUnit::Auto, 0..5_000_000_000) => TimeUnit::Seconds,
            (LineUnit::Auto, 5_000_000_000..5_000_000_000_000) => TimeUnit::Milliseconds,
            (LineUnit::Auto, 5_000_000_000_000..5_000_000_000_000_000) => TimeUnit::Microseconds,
            (LineUnit::Auto, _) => TimeUnit::Nanoseconds,
        }
    }
}

/// How to read the times of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineOptions {
    /// Unit of the timestamps.
    pub unit: LineUnit,
    /// The time of lines that have none, microseconds.
    pub now: Micros,
}

/// Decodes lines into a batcher; answers how many string fields were left out. A line that cannot be read is a rejection as a whole; the rest goes on.
///
/// # Errors
/// `Undecodable` only if there are too many samples: discard the batcher.
pub fn decode(body: &[u8], options: LineOptions, door: &mut Batcher) -> Result<usize, Undecodable> {
    let mut lines = Lines {
        body,
        options,
        at: 0,
        line_start: 0,
        line: 1,
        skipped: 0,
        measurements: Vec::new(),
        by_name: HashMap::default(),
        last: usize::MAX,
        values: Vec::with_capacity(FIELDS_USUAL),
    };
    while lines.skip_to_line() {
        lines.take_line(door)?;
    }
    Ok(lines.skipped)
}

/// A measurement and the field names of its last line.
struct Measurement<'a> {
    raw: &'a [u8],
    /// By place in the line: the field name with its `=`, as sent, and the metric it makes.
    fields: Vec<(&'a [u8], MetricId)>,
}

/// What is wrong with a line, and at which byte of the body.
type Wrong = (usize, Reason);

fn syntax(at: usize, problem: impl Into<String>) -> Wrong {
    (at, Reason::Syntax(problem.into()))
}

struct Lines<'a> {
    body: &'a [u8],
    options: LineOptions,
    at: usize,
    line_start: usize,
    line: usize,
    skipped: usize,
    measurements: Vec<Measurement<'a>>,
    /// All but the first of them.
    by_name: HashMap<&'a [u8], usize, RandomState>,
    last: usize,
    /// The numbers of the line being read: taken only when all of it was read.
    values: Vec<(MetricId, f64)>,
}

impl<'a> Lines<'a> {
    /// Moves to the next byte that begins a line with content; false at the end.
    fn skip_to_line(&mut self) -> bool {
        loop {
            match self.body.get(self.at) {
                None => return false,
                Some(b'\n') => {
                    self.at += 1;
                    self.line += 1;
                    self.line_start = self.at;
                }
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'#') => {
                    self.at +=
                        memchr(b'\n', &self.body[self.at..]).unwrap_or(self.body.len() - self.at)
                }
                Some(_) => return true,
            }
        }
    }

    fn take_line(&mut self, door: &mut Batcher) -> Result<(), TooManySamples> {
        let (start, skipped_before) = (self.at, self.skipped);
        self.values.clear();
        match self.read_line(door) {
            Ok((labels, time)) => {
                let unit = time.map_or(TimeUnit::Microseconds, |time| self.options.unit.of(time));
                let time = time.unwrap_or(self.options.now);
                let place = Place::Line {
                    line: self.line,
                    column: 1,
                };
                if unit
                    .micros(time)
                    .is_some_and(|micros| (TIME_MIN..TIME_MAX).contains(&micros))
                {
                    for (metric, value) in &self.values {
                        door.push(*metric, labels, None, time, unit, *value, place)?;
                    }
                } else {
                    door.reject(
                        (self.values.len() as u64).max(1),
                        place,
                        Reason::time(time, unit),
                    );
                }
            }
            Err((at, reason)) => {
                self.skipped = skipped_before;
                door.reject(
                    1,
                    Place::Line {
                        line: self.line,
                        column: at - self.line_start + 1,
                    },
                    reason,
                );
                self.at = at + memchr(b'\n', &self.body[at..]).unwrap_or(self.body.len() - at);
            }
        }
        // Newlines within quoted strings are lines too: senders and editors count them.
        self.line += memchr::memchr_iter(b'\n', &self.body[start..self.at]).count();
        Ok(())
    }

    /// Reads from a line's first byte to its end; the position is then at its newline or the end of the body.
    fn read_line(&mut self, door: &mut Batcher) -> Result<(LabelSetId, Option<i64>), Wrong> {
        let body = self.body;
        let measurement = self.read_measurement()?;
        let labels = if body.get(self.at) == Some(&b',') {
            let start = self.at + 1;
            let end = self.end_of_tags(start)?;
            self.at = end;
            let raw = &body[start..end];
            let mut trouble = start;
            let labels = door.label_set_by_raw(raw, || tags(raw, start, &mut trouble));
            labels.map_err(|reason| (trouble, reason))?
        } else {
            door.label_set(Labels::empty())
                .map_err(|reason| (self.at, reason))?
        };
        self.skip_spaces();
        let mut place = 0;
        loop {
            let metric = self.read_field_name(measurement, place, door)?;
            self.read_value(metric)?;
            place += 1;
            match body.get(self.at) {
                Some(b',') => self.at += 1,
                _ => break,
            }
        }
        self.skip_spaces();
        let time = match body.get(self.at) {
            None | Some(b'\n' | b'\r') => None,
            Some(_) => Some(self.read_time()?),
        };
        self.skip_spaces();
        if body.get(self.at) == Some(&b'\r') {
            self.at += 1;
        }
        match body.get(self.at) {
            None | Some(b'\n') => Ok((labels, time)),
            Some(_) => Err(syntax(
                self.at,
                "expected the end of the line; unquoted spaces must be escaped",
            )),
        }
    }

    fn skip_spaces(&mut self) {
        while self.body.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    /// The place of the measurement in `measurements`.
    fn read_measurement(&mut self) -> Result<usize, Wrong> {
        let (body, start) = (self.body, self.at);
        if let Some(last) = self.measurements.get(self.last) {
            let end = start + last.raw.len();
            if body[start..].starts_with(last.raw) && matches!(body.get(end), Some(b',' | b' ')) {
                self.at = end;
                return Ok(self.last);
            }
        }
        let end = loop {
            match body.get(self.at) {
                Some(b'\\') if matches!(body.get(self.at + 1), Some(b',' | b' ')) => self.at += 2,
                Some(b',' | b' ') => break self.at,
                None | Some(b'\n') => {
                    return Err(syntax(
                        self.at,
                        "no fields were given; expected `measurement,tag=value field=value time`",
                    ));
                }
                Some(_) => self.at += 1,
            }
        };
        let raw = &body[start..end];
        if raw.is_empty() {
            return Err(syntax(start, "the measurement is empty"));
        }
        if self.measurements.len() >= REMEMBERED_MAX {
            self.measurements.clear();
            self.by_name.clear();
        }
        let measurements = &mut self.measurements;
        let add = |measurements: &mut Vec<Measurement<'a>>| {
            measurements.push(Measurement {
                raw,
                fields: Vec::with_capacity(FIELDS_USUAL),
            });
            measurements.len() - 1
        };
        // A body of one measurement, as a record of a topic is, needs no map.
        self.last = match measurements.first() {
            None => add(measurements),
            Some(first) if first.raw == raw => 0,
            Some(_) => *self.by_name.entry(raw).or_insert_with(|| add(measurements)),
        };
        Ok(self.last)
    }

    /// The first unescaped space.
    fn end_of_tags(&self, start: usize) -> Result<usize, Wrong> {
        let mut from = start;
        while let Some(found) = memchr2(b' ', b'\n', &self.body[from..]) {
            let at = from + found;
            if self.body[at] == b'\n' {
                return Err(syntax(at, "no fields were given after the tags"));
            }
            if at == start || self.body[at - 1] != b'\\' {
                return Ok(at);
            }
            from = at + 1;
        }
        Err(syntax(
            self.body.len(),
            "no fields were given after the tags",
        ))
    }

    #[inline]
    fn read_field_name(
        &mut self,
        measurement: usize,
        place: usize,
        door: &mut Batcher,
    ) -> Result<MetricId, Wrong> {
        if let Some((raw, metric)) = self.measurements[measurement].fields.get(place)
            && self.body[self.at..].starts_with(raw)
        {
            self.at += raw.len();
            return Ok(*metric);
        }
        self.read_new_field_name(measurement, place, door)
    }

    fn read_new_field_name(
        &mut self,
        measurement: usize,
        place: usize,
        door: &mut Batcher,
    ) -> Result<MetricId, Wrong> {
        let (body, start) = (self.body, self.at);
        let end = loop {
            match body.get(self.at) {
                Some(b'\\') if matches!(body.get(self.at + 1), Some(b',' | b'=' | b' ')) => {
                    self.at += 2
                }
                Some(b'=') => break self.at,
                None | Some(b',' | b' ' | b'\n') => {
                    return Err(syntax(
                        self.at,
                        "expected `=` and a value after the field name",
                    ));
                }
                Some(_) => self.at += 1,
            }
        };
        if end == start {
            return Err(syntax(start, "a field name is empty"));
        }
        self.at = end + 1;
        let known = &mut self.measurements[measurement];
        let metric = door.metric_by_parts(known.raw, &body[start..end], || {
            metric_name(known.raw, &body[start..end])
        });
        let metric = metric.map_err(|reason| (start, reason))?;
        let entry = (&body[start..=end], metric);
        if place < known.fields.len() {
            known.fields[place] = entry;
        } else if place == known.fields.len() && place < REMEMBERED_MAX {
            known.fields.push(entry);
        }
        Ok(metric)
    }

    #[inline]
    fn read_value(&mut self, metric: MetricId) -> Result<(), Wrong> {
        let rest = &self.body[self.at..];
        let (value, length) = match rest.first() {
            Some(b'"') => {
                self.at += quoted_length(rest)
                    .ok_or_else(|| syntax(self.at, "a quoted string is not closed"))?;
                self.skipped += 1;
                return match self.body.get(self.at) {
                    Some(byte) if !number::ends_value(*byte) => Err(syntax(
                        self.at,
                        "expected `,`, a space or the end of the line after a quoted string",
                    )),
                    _ => Ok(()),
                };
            }
            Some(b't' | b'T' | b'f' | b'F') => number::read_boolean(rest).ok_or_else(|| {
                syntax(
                    self.at,
                    "expected a boolean: t, true, f or false; quote strings",
                )
            })?,
            _ => number::read(rest).map_err(|problem| syntax(self.at, problem))?,
        };
        self.values.push((metric, value));
        self.at += length;
        Ok(())
    }

    fn read_time(&mut self) -> Result<i64, Wrong> {
        let rest = &self.body[self.at..];
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\n' | b'\r'))
            .unwrap_or(rest.len());
        let digits = std::str::from_utf8(&rest[..length])
            .ok()
            .filter(|digits| !digits.starts_with('+'));
        let time = digits.and_then(|digits| digits.parse().ok());
        let time = time.ok_or_else(|| {
            let quoted = String::from_utf8_lossy(&rest[..length.min(40)]).into_owned();
            syntax(
                self.at,
                format!("the timestamp `{quoted}` is not a 64-bit integer"),
            )
        })?;
        self.at += length;
        Ok(time)
    }
}

/// The length of a quoted string with its quotes.
fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        // A backslash keeps the next byte from closing the string; before any other byte it stands for itself.
        at += if matches!(bytes.get(at + 1), Some(b'"' | b'\\')) {
            2
        } else {
            1
        };
    }
}

/// Reads a tag section that begins at byte `start` of the body; tells in `trouble` where it goes wrong.
fn tags(raw: &[u8], start: usize, trouble: &mut usize) -> Result<Labels, Reason> {
    let text = std::str::from_utf8(raw).map_err(|error| {
        *trouble = start + error.valid_up_to();
        Reason::NotUtf8("a tag")
    })?;
    let mut pairs = Vec::new();
    let mut at = 0;
    while at <= text.len() {
        let mut wrong = |problem: &str| {
            *trouble = start + at;
            Err(Reason::Syntax(problem.to_owned()))
        };
        let end = at + unescaped_position(&text[at..], b',').unwrap_or(text.len() - at);
        let tag = &text[at..end];
        let Some(equals) = unescaped_position(tag, b'=') else {
            return wrong("expected `tag=value`");
        };
        let (key, value) = (&tag[..equals], &tag[equals + 1..]);
        if key.is_empty() || value.is_empty() {
            return wrong("a tag needs a name and a value");
        }
        if unescaped_position(value, b'=').is_some() {
            return wrong("a second `=` in a tag; write `\\=` within a value");
        }
        if pairs.len() == LABELS_MAX {
            return Err(LabelsError::TooMany(
                pairs.len() + 1 + memchr::memchr_iter(b',', &raw[at..]).count(),
            )
            .into());
        }
        pairs.push((
            unescaped(key, &[',', '=', ' ']),
            unescaped(value, &[',', '=', ' ']),
        ));
        at = end + 1;
    }
    Ok(Labels::try_new(pairs)?)
}

/// The name of the metric that a field of a measurement makes, both as sent.
fn metric_name(measurement: &[u8], field: &[u8]) -> Result<String, Reason> {
    let not_utf8 = |_| Reason::NotUtf8("a measurement or field name");
    let measurement = std::str::from_utf8(measurement).map_err(not_utf8)?;
    let field = std::str::from_utf8(field).map_err(not_utf8)?;
    let (measurement, field) = (
        unescaped(measurement, &[',', ' ']),
        unescaped(field, &[',', '=', ' ']),
    );
    Ok(format!("{measurement}_{field}"))
}

/// The first place of a byte that has no backslash before it.
fn unescaped_position(text: &str, byte: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(byte, bytes).find(|at| *at == 0 || bytes[at - 1] != b'\\')
}

/// The text without the backslashes that escape one of `special`.
fn unescaped<'t>(text: &'t str, special: &[char]) -> Cow<'t, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match rest.peek() {
            Some(next) if char == '\\' && special.contains(next) => {
                plain.push(*next);
                rest.next();
            }
            _ => plain.push(char),
        }
    }
    Cow::Owned(plain)
}
