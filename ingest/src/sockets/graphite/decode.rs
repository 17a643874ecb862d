//! From lines of Graphite to samples, and how a path becomes a metric and labels.

use std::fmt;
use std::str::FromStr;

use schemas::time::SECOND;
use schemas::{Labels, Micros};

use crate::door::{Batcher, Place, Reason, TimeUnit};

/// What the parts of a path between its dots mean: `metric*` (the default), `host.metric*`, `_.host.metric.metric.disk`.
///
/// Each word takes one part: `metric` goes into the metric's name (joined by dots), `_` is left out, any other word is a label with the part as its
/// value. A word with `*`, which must be the last, takes all that is left. A path with more parts than words leaves the rest to the metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    words: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Metric,
    Nothing,
    Label(String),
    /// The rest of the path.
    Rest,
}

/// A text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no template; expected words with dots between them, of which one is `metric`, such as \"host.metric*\""
)]
pub struct NoTemplate(String);

impl Default for Template {
    fn default() -> Self {
        Template {
            words: vec![Word::Rest],
        }
    }
}

impl FromStr for Template {
    type Err = NoTemplate;

    fn from_str(text: &str) -> Result<Self, NoTemplate> {
        let last = text.split('.').count() - 1;
        let words: Option<Vec<Word>> = text
            .split('.')
            .enumerate()
            .map(|(index, word)| match word {
                "metric" => Some(Word::Metric),
                "metric*" if index == last => Some(Word::Rest),
                "_" => Some(Word::Nothing),
                "" => None,
                label if label.contains(['*', ' ', ';', '=']) => None,
                label => Some(Word::Label(label.to_owned())),
            })
            .collect();
        words
            .filter(|words| {
                words
                    .iter()
                    .any(|word| matches!(word, Word::Metric | Word::Rest))
            })
            .map(|words| Template { words })
            .ok_or_else(|| NoTemplate(text.to_owned()))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            let text = match word {
                Word::Metric => "metric",
                Word::Nothing => "_",
                Word::Label(label) => label,
                Word::Rest => "metric*",
            };
            write!(f, "{dot}{text}")?;
        }
        Ok(())
    }
}

impl Template {
    /// The metric of a path, and its labels.
    fn apply<'a>(&'a self, path: &'a str, labels: &mut Vec<(&'a str, &'a str)>) -> String {
        if self.words == [Word::Rest] {
            return path.to_owned();
        }
        let mut parts = path.split('.');
        let mut metric: Vec<&str> = Vec::new();
        for word in &self.words {
            match (word, word == &Word::Rest) {
                (_, true) => break,
                _ => match (word, parts.next()) {
                    (Word::Metric, Some(part)) => metric.push(part),
                    (Word::Label(label), Some(part)) => labels.push((label, part)),
                    _ => {}
                },
            }
        }
        metric.extend(parts);
        metric.join(".")
    }
}

/// Decodes lines into a batcher; `now` is the time of lines that have none, or −1. A line that can't be read is a rejection.
pub fn decode(lines: &[u8], now: Micros, template: &Template, door: &mut Batcher) {
    for (index, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let place = Place::Line {
            line: index + 1,
            column: 1,
        };
        if let Err(reason) = take(line, now, template, place, door) {
            door.reject(1, place, reason);
        }
    }
}

fn take(
    line: &[u8],
    now: Micros,
    template: &Template,
    place: Place,
    door: &mut Batcher,
) -> Result<(), Reason> {
    let line = std::str::from_utf8(line).map_err(|_| Reason::NotUtf8("a line"))?;
    let mut words = line.split_ascii_whitespace();
    let (Some(path), Some(value), time, None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Reason::Syntax(format!(
            "expected `path value time`, found `{line:.80}`"
        )));
    };
    let value: f64 = value
        .parse()
        .map_err(|_| Reason::Syntax(format!("value `{value:.40}` of `{path:.80}` is no number")))?;
    let time = match time {
        None | Some("N" | "-1") => now,
        Some(text) => micros(text)
            .ok_or_else(|| Reason::Syntax(format!("time `{text:.40}` is no number of seconds")))?,
    };
    let (path, tags) = path.split_once(';').unwrap_or((path, ""));
    let mut labels = Vec::new();
    let metric = template.apply(path, &mut labels);
    for tag in tags.split(';').filter(|tag| !tag.is_empty()) {
        let (key, value) = tag
            .split_once('=')
            .ok_or_else(|| Reason::Syntax(format!("tag `{tag:.40}` of `{path:.80}` has no `=`")))?;
        labels.push((key, value));
    }
    let labels = door.label_set(Labels::try_new(labels)?)?;
    let metric = door.metric(&metric)?;
    door.push(
        metric,
        labels,
        None,
        time,
        TimeUnit::Microseconds,
        value,
        place,
    )
    .map_err(|error| Reason::Syntax(error.to_string()))
}

/// Seconds since 1970, with or without a fraction, in microseconds.
fn micros(text: &str) -> Option<Micros> {
    if let Ok(seconds) = text.parse::<i64>() {
        // Beyond 64 bits it is out of range all the same.
        return Some(seconds.saturating_mul(SECOND));
    }
    let seconds: f64 = text
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())?;
    // A cast of a float saturates, and both ends are refused as times.
    Some((seconds * SECOND as f64).round() as i64)
}
