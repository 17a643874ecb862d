//! Reads the text format 0.0.4 and OpenMetrics 1.0 line by line, without copying. Knows no targets and no clock.
//!
//! ```text
//! # TYPE http_requests_total counter
//! http_requests_total{method="post",code="200"} 1027 1395066363000
//! ─────────────── series ────────────────────── value ─── time ──   (milliseconds; OpenMetrics: seconds)
//! ```
//!
//! `HELP` and `UNIT` say nothing that is kept. Exemplars are left out and counted. Names in quotes (`{"my.metric",label="x"}`) are names like others.
//! What is read beyond the letter of the formats: any blanks between the parts of a line, `\r\n`, blank lines in OpenMetrics.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use schemas::time::SECOND;
use schemas::{Kind, LABELS_MAX, Micros};

/// Which of the two formats a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4: times in milliseconds, ends anywhere.
    Text,
    /// OpenMetrics 1.0: times in seconds, exemplars, ends with `# EOF`.
    OpenMetrics,
}

/// One sample, as its line has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line<'a> {
    /// Name and labels as written; [`read_series`] takes them apart. Equal bytes are equal series.
    pub series: &'a [u8],
    /// What the `TYPE` before it says; `None` where it says nothing.
    pub kind: Option<Kind>,
    /// Its value; every NaN is the one of `f64::NAN`, so that no sender can pretend that a series went away.
    pub value: f64,
    /// Its time, if it has one.
    pub time: Option<Micros>,
    /// Number of the line, from 1.
    pub number: usize,
}

/// A body does not follow its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct Malformed {
    /// Number of the line, from 1.
    pub line: usize,
    /// Byte column, from 1.
    pub column: usize,
    /// What was expected and found.
    pub problem: String,
}

/// What is wrong with a line, and at which byte of it.
type Wrong = (usize, String);

/// The metric and the labels of a series, which may be copies where an escape was undone.
pub type NamedSeries<'a> = (Cow<'a, str>, Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Reads a body from its first line to its last.
#[derive(Debug)]
pub struct Exposition<'a> {
    body: &'a [u8],
    format: Format,
    at: usize,
    number: usize,
    family: Family<'a>,
    exemplars: usize,
    ended: bool,
}

/// What the last `TYPE` said. The samples of a family follow it.
#[derive(Debug, Clone, Copy)]
struct Family<'a> {
    name: &'a [u8],
    kind: FamilyKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FamilyKind {
    Counter,
    /// Gauges, and what consists of gauges: gauge histograms, infos, state sets.
    Gauge,
    Histogram,
    Summary,
    Unknown,
}

impl Family<'_> {
    /// The kind of a series of this name.
    fn kind_of(&self, name: &[u8]) -> Option<Kind> {
        let suffix = name.strip_prefix(self.name)?;
        match (self.kind, suffix) {
            (FamilyKind::Unknown, _) => None,
            (FamilyKind::Counter, b"" | b"_total") => Some(Kind::Counter),
            (FamilyKind::Histogram, b"_bucket" | b"_count" | b"_sum") => Some(Kind::Counter),
            (FamilyKind::Summary, b"_count" | b"_sum") => Some(Kind::Counter),
            (FamilyKind::Summary, b"") => Some(Kind::Gauge),
            (FamilyKind::Gauge, b"" | b"_info" | b"_bucket" | b"_gcount" | b"_gsum") => {
                Some(Kind::Gauge)
            }
            // When it was created: a time, which does not grow.
            (_, b"_created") => Some(Kind::Gauge),
            _ => None,
        }
    }
}

impl<'a> Exposition<'a> {
    /// Begins to read.
    pub fn new(body: &'a [u8], format: Format) -> Self {
        Exposition {
            body,
            format,
            at: 0,
            number: 0,
            family: Family {
                name: b"",
                kind: FamilyKind::Unknown,
            },
            exemplars: 0,
            ended: false,
        }
    }

    /// How many exemplars were left out so far.
    pub fn exemplars(&self) -> usize {
        self.exemplars
    }

    /// The next sample; `None` at the end. Its series is only found the end of, not checked: [`read_series`] does that.
    ///
    /// # Errors
    /// `Malformed` if a line does not follow the format, or the end is missing: nothing more can be read.
    pub fn next_line(&mut self) -> Result<Option<Line<'a>>, Malformed> {
        while self.at < self.body.len() {
            let rest = &self.body[self.at..];
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let text = rest[..end].trim_ascii_end();
            self.at += end + 1;
            self.number += 1;
            let blanks = blanks(text, 0);
            if blanks == text.len() {
                continue;
            }
            if self.ended {
                return Err(self.malformed((blanks, "expected nothing after `# EOF`".to_owned())));
            }
            if text[blanks] == b'#' {
                self.take_comment(&text[blanks..]);
                continue;
            }
            let line = self.sample(text, blanks);
            return line.map(Some).map_err(|wrong| self.malformed(wrong));
        }
        if self.format == Format::OpenMetrics && !self.ended {
            let cut = "expected `# EOF` as the last line; the body was cut off".to_owned();
            return Err(self.malformed((0, cut)));
        }
        Ok(None)
    }

    /// An error of a line's series, which [`read_series`] found.
    pub fn malformed(&self, (column, problem): (usize, String)) -> Malformed {
        Malformed {
            line: self.number.max(1),
            column: column + 1,
            problem,
        }
    }

    fn take_comment(&mut self, text: &'a [u8]) {
        if self.format == Format::OpenMetrics && text == b"# EOF" {
            self.ended = true;
            return;
        }
        let mut words = text[1..]
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        if words.next() != Some(b"TYPE") {
            return;
        }
        let (Some(name), Some(kind)) = (words.next(), words.next()) else {
            return;
        };
        let quoted = name
            .strip_prefix(b"\"")
            .and_then(|name| name.strip_suffix(b"\""));
        self.family = Family {
            name: quoted.unwrap_or(name),
            kind: match kind {
                b"counter" => FamilyKind::Counter,
                b"gauge" | b"gaugehistogram" | b"info" | b"stateset" => FamilyKind::Gauge,
                b"histogram" => FamilyKind::Histogram,
                b"summary" => FamilyKind::Summary,
                _ => FamilyKind::Unknown,
            },
        };
    }

    fn sample(&mut self, text: &'a [u8], start: usize) -> Result<Line<'a>, Wrong> {
        let (name, series_end) = end_of_series(text, start)?;
        let value_start = blanks(text, series_end);
        let value_end = word_end(text, value_start);
        let value = read_value(&text[value_start..value_end]).map_err(|p| (value_start, p))?;
        let time_start = blanks(text, value_end);
        let mut end = time_start;
        let mut time = None;
        if !matches!(text.get(time_start), None | Some(b'#')) {
            end = word_end(text, time_start);
            time = Some(
                self.time(&text[time_start..end])
                    .map_err(|p| (time_start, p))?,
            );
        }
        end = blanks(text, end);
        if self.format == Format::OpenMetrics && text[end..].starts_with(b"# {") {
            self.exemplars += 1;
        } else if end < text.len() {
            return Err((
                end,
                format!(
                    "expected the end of the line, found `{}`",
                    shown(&text[end..])
                ),
            ));
        }
        Ok(Line {
            series: &text[start..series_end],
            kind: self.family.kind_of(name),
            value,
            time,
            number: self.number,
        })
    }

    fn time(&self, word: &[u8]) -> Result<Micros, String> {
        let text = std::str::from_utf8(word).unwrap_or("?");
        let micros = match self.format {
            Format::Text => text
                .parse::<i64>()
                .ok()
                .and_then(|millis| millis.checked_mul(SECOND / 1000)),
            // A cast of a float saturates, and both ends are refused as times.
            Format::OpenMetrics => read_value(word)
                .ok()
                .filter(|seconds| seconds.is_finite())
                .map(|seconds| (seconds * SECOND as f64).round() as i64),
        };
        let unit = match self.format {
            Format::Text => "milliseconds",
            Format::OpenMetrics => "seconds",
        };
        micros.ok_or_else(|| format!("expected a time in {unit}, found `{}`", shown(word)))
    }
}

/// The name of a series that begins at `start`, as far as it can be told without undoing escapes, and where the series ends.
fn end_of_series(text: &[u8], start: usize) -> Result<(&[u8], usize), Wrong> {
    let name_end = start
        + text[start..]
            .iter()
            .position(|byte| matches!(byte, b'{' | b' ' | b'\t'))
            .unwrap_or(text.len() - start);
    let brace = blanks(text, name_end);
    if text.get(brace) != Some(&b'{') {
        return Ok((&text[start..name_end], name_end));
    }
    let mut at = brace + 1;
    let mut first_string = None;
    loop {
        let found = memchr2(b'"', b'}', &text[at..])
            .map(|offset| at + offset)
            .ok_or_else(|| (brace, "these labels have no end, `}`".to_owned()))?;
        if text[found] == b'}' {
            // A name in quotes stands first in the braces.
            let name = match first_string {
                Some((from, to)) if name_end == start => &text[from..to],
                _ => &text[start..name_end],
            };
            return Ok((name, found + 1));
        }
        let end = end_of_string(text, found)?;
        first_string.get_or_insert((found + 1, end));
        at = end + 1;
    }
}

/// Where the quote stands that ends the string whose first quote is at `quote`.
fn end_of_string(text: &[u8], quote: usize) -> Result<usize, Wrong> {
    let mut at = quote + 1;
    while let Some(offset) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        if text[at + offset] == b'"' {
            return Ok(at + offset);
        }
        at += offset + 2;
    }
    Err((quote, "this quoted text has no end, `\"`".to_owned()))
}

fn blanks(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    at + rest
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))
        .unwrap_or(rest.len())
}

fn word_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    at + rest
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(rest.len())
}

/// The first characters of what was found, for a message.
fn shown(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&text[..text.len().min(40)])
}

fn read_value(word: &[u8]) -> Result<f64, String> {
    let text = std::str::from_utf8(word).unwrap_or("?");
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Ok(f64::NAN),
        // Infinity has no digits: with some, a number is beyond what a float holds.
        Ok(value) if value.is_infinite() && text.contains(|c: char| c.is_ascii_digit()) => {
            Err(format!("`{}` is beyond a 64-bit float", shown(word)))
        }
        Ok(value) => Ok(value),
        Err(_) => Err(format!("expected a number, found `{}`", shown(word))),
    }
}

/// Takes the bytes of [`Line::series`] apart: the metric, and the labels in the order of their sender, repeated ones too. Of more labels than a
/// series may have only the first are given, one too many.
///
/// # Errors
/// What is wrong, and at which byte: for [`Exposition::malformed`].
pub fn read_series(series: &[u8]) -> Result<NamedSeries<'_>, (usize, String)> {
    let text = std::str::from_utf8(series).map_err(|error| {
        (
            error.valid_up_to(),
            "a name or label is not UTF-8".to_owned(),
        )
    })?;
    let brace = text.find('{').unwrap_or(text.len());
    let name = text[..brace].trim_end_matches([' ', '\t']);
    let mut metric = Cow::Borrowed(name);
    if !name.is_empty() && !is_name(name, true) {
        return Err((
            0,
            format!("`{name:.80}` is no metric name; it may stand in quotes"),
        ));
    }
    let mut labels = Vec::new();
    let mut at = blanks(series, (brace + 1).min(series.len()));
    let mut is_first = true;
    while at < series.len() && series[at] != b'}' {
        let key_start = at;
        let key = if series[at] == b'"' {
            let end = end_of_string(series, at)?;
            let key = unescape(&text[at + 1..end]);
            at = end + 1;
            key
        } else {
            let end = at
                + text[at..]
                    .find(['=', ',', '}', '"', ' ', '\t'])
                    .unwrap_or(text.len() - at);
            let key = &text[at..end];
            if !is_name(key, false) {
                return Err((
                    at,
                    format!("`{key:.80}` is no label name; it may stand in quotes"),
                ));
            }
            at = end;
            Cow::Borrowed(key)
        };
        at = blanks(series, at);
        if series.get(at) == Some(&b'=') {
            at = blanks(series, at + 1);
            if series.get(at) != Some(&b'"') {
                return Err((
                    at,
                    format!("expected the value of label `{key:.80}` in quotes"),
                ));
            }
            let end = end_of_string(series, at)?;
            if labels.len() <= LABELS_MAX {
                labels.push((key, unescape(&text[at + 1..end])));
            }
            at = blanks(series, end + 1);
        } else if is_first && metric.is_empty() && series[key_start] == b'"' {
            metric = key;
        } else {
            return Err((at, format!("expected `=` after label `{key:.80}`")));
        }
        is_first = false;
        match series.get(at) {
            Some(b',') => at = blanks(series, at + 1),
            Some(b'}') => {}
            _ => return Err((at, "expected `,` or `}` after a label".to_owned())),
        }
    }
    if metric.is_empty() {
        return Err((0, "a sample has no metric name".to_owned()));
    }
    Ok((metric, labels))
}

/// Whether a text is a name without quotes; metrics may hold colons.
fn is_name(text: &str, may_hold_colons: bool) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || byte == b'_' || (may_hold_colons && byte == b':')
        })
}

/// Undoes `\\`, `\"` and `\n`; before anything else a backslash stands for itself.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => plain.push('\n'),
            Some(escaped @ ('\\' | '"')) => plain.push(escaped),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    Cow::Owned(plain)
}
