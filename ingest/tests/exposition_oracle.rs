//! The exposition format, read by us and by the crate `prometheus-parse`: the same samples, except where [`EXPLAINED`] says why not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use ingest::collectors::scrape::{Exposition, Format, read_series};
use prometheus_parse::{Scrape, Value};

mod oracle;

use oracle::{Comparison, Explained, Maker, lines_asked_for};

/// Lines compared, unless `TIDEWATCH_TEST_INPUTS` says how many.
const LINES: usize = 30_000;
/// One part of a line of so many is unusual.
const USUAL: usize = 12;

/// A sample of either: metric, labels, bits of the value, time in milliseconds.
type Sample = (String, BTreeMap<String, String>, u64, Option<i64>);

/// A line before it is written.
#[derive(Debug)]
struct Line {
    name: &'static str,
    /// `None`: no braces.
    labels: Option<Vec<(&'static str, &'static str)>>,
    /// Between the parts inside of the braces.
    blank: &'static str,
    before_value: &'static str,
    value: &'static str,
    time: &'static str,
    tail: &'static str,
}

impl Line {
    fn text(&self) -> String {
        let mut text = self.name.to_owned();
        if let Some(labels) = &self.labels {
            let blank = self.blank;
            let pairs: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{blank}{name}={blank}\"{value}\"{blank}"))
                .collect();
            text += &format!("{{{}}}", pairs.join(","));
        }
        for part in [self.before_value, self.value, self.time, self.tail] {
            text += part;
        }
        text
    }
}

/// Where the two differ, and why. The other is a sketch of the format by regular expressions; we follow Prometheus' own reader.
const EXPLAINED: [Explained<Line>; 9] = [
    ("names may hold colons; the other finds no sample", |line| {
        line.name.contains(':')
    }),
    (
        "names begin with an ASCII letter; the other takes any letter or digit",
        |line| {
            !line
                .name
                .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        },
    ),
    (
        "empty braces are no labels; the other finds no sample",
        |line| line.labels.as_ref().is_some_and(Vec::is_empty),
    ),
    (
        "values of labels hold any characters, `\\` escapes; the other splits at each `,`, `=`, `}` and keeps escapes",
        |line| {
            let mut labels = line.labels.iter().flatten();
            labels.any(|(_, value)| value.contains([',', '=', '}', '\\']))
        },
    ),
    (
        "blanks may stand within braces; the other makes them part of names and values",
        |line| !line.blank.is_empty() && line.labels.is_some(),
    ),
    (
        "no blank is needed after braces; the other finds no sample",
        |line| line.before_value.is_empty(),
    ),
    (
        "a number beyond a float is refused; the other takes it for infinite",
        |line| line.value.ends_with("e999"),
    ),
    (
        "a time that is no number of milliseconds is refused; the other leaves it out",
        |line| {
            // Beyond 2^52 ms it can't be one of microseconds in 64 bits.
            let is_time = |text: &str| text.parse::<i64>().is_ok_and(|ms| ms.abs() < 1 << 52);
            !line.time.is_empty() && !is_time(line.time.trim())
        },
    ),
    (
        "what follows a time is refused; the other leaves it out",
        |line| !line.tail.is_empty(),
    ),
];

/// The sample of a line, or that it is refused.
fn ours(text: &str) -> Option<Sample> {
    let mut lines = Exposition::new(text.as_bytes(), Format::Text);
    let line = lines.next_line().ok()??;
    let (metric, labels) = read_series(line.series).ok()?;
    Some((
        metric.into_owned(),
        labels
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
        line.value.to_bits(),
        line.time.map(|time| time / 1000),
    ))
}

fn theirs(text: &str) -> Option<Sample> {
    // Its default for samples without a time is the time now, which no line here has.
    let now = now_ms();
    let scrape = Scrape::parse(std::iter::once(Ok(text.to_owned()))).unwrap();
    let sample = scrape.samples.into_iter().next()?;
    let value = match sample.value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
        other => panic!("{text}: {other:?}"),
    };
    let value = if value.is_nan() { f64::NAN } else { value };
    let labels = sample.labels.iter();
    let time_ms = sample.timestamp.timestamp_millis();
    Some((
        sample.metric,
        labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
        value.to_bits(),
        (time_ms < now).then_some(time_ms),
    ))
}

fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Makes a line.
fn line(maker: &mut Maker) -> Line {
    let labels = match maker.below(4) {
        0 => None,
        _ => Some(
            (0..maker.below(5))
                .map(|_| {
                    let name = ["a", "b_c", "le", "__d", "e9"][maker.below(5)];
                    let value = maker.pick(
                        &[
                            "",
                            "x",
                            "büro",
                            "two words",
                            "/var/lib",
                            "+Inf",
                            "0.5",
                            "{",
                            "#",
                        ],
                        &["a,b", "k=v", "}", "\\\\", "\\\"", "\\n", "\\x"],
                    );
                    (name, value)
                })
                .collect(),
        ),
    };
    Line {
        name: maker.pick(
            &["up", "http_requests_total", "_x", "A9"],
            &["job:rate5m", "9a", "ü"],
        ),
        blank: maker.pick(&[""], &[" ", "\t"]),
        before_value: match labels {
            Some(_) => maker.pick(&[" ", "\t", "   "], &[""]),
            None => " ",
        },
        value: maker.pick(
            &[
                "0",
                "1",
                "-1.5",
                "1e-9",
                "NaN",
                "+Inf",
                "-Inf",
                "inf",
                "nan",
                "18446744073709551616",
                "4.9e-324",
                ".5",
                "5.",
                "+3",
                "-0",
                "0.1000000000000000055511151231257827",
            ],
            &["x", "0x10", "1_000", "1e999", "-", "--1", "1,5", "∞"],
        ),
        time: maker.pick(
            &["", "", " 0", " 1395066363000", "\t1", " -5"],
            &[
                " x",
                " 1.5",
                " 9223372036854775807",
                " 99999999999999999999",
            ],
        ),
        tail: maker.pick(&["", " "], &[" 5 6", " # {} 1"]),
        labels,
    }
}

#[test]
fn both_read_the_same_samples() {
    let mut maker = Maker::new(USUAL);
    let mut comparison = Comparison::new(&EXPLAINED, maker.seed());
    for _ in 0..lines_asked_for(LINES) {
        let line = line(&mut maker);
        let text = line.text();
        comparison.add(&line, &text, &ours(&text), &theirs(&text));
    }
    comparison.finish();
}
