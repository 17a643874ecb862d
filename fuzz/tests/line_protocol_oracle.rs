//! Line protocol, read by us and by the crate `influxdb-line-protocol`, InfluxDB 3's own reader: the same samples, except where [`EXPLAINED`] says why not.
//! Here and not in `ingest/tests`: that crate changes features of crates that everything else is built on.

use std::collections::BTreeMap;

use bytes::Bytes;
use influxdb_line_protocol::{FieldValue, parse_lines};
use ingest::door::{Batcher, Place, TimeUnit};
use ingest::http::{LineOptions, LineUnit, decode_line_protocol};
use schemas::SampleBatch;

#[allow(
    unreachable_pub,
    dead_code,
    reason = "public in the room that it stands in"
)]
#[path = "../../tests/src/random.rs"]
mod random;

use random::Random;

/// Lines compared, unless `TIDEWATCH_TEST_INPUTS` says how many.
const LINES: usize = 100_000;
/// Lines of one body. Each has its number as its time, and all that are refused are told (up to 20).
const LINES_OF_A_BODY: usize = 20;

/// What a line brings: by metric and labels, the bits of the values in order. `None` if it is refused.
type Samples = Option<BTreeMap<(String, BTreeMap<String, String>), Vec<u64>>>;

/// A line before it is written.
#[derive(Debug, Clone)]
struct Line {
    measurement: &'static str,
    tags: Vec<(&'static str, &'static str)>,
    fields: Vec<(&'static str, &'static str)>,
    blank: &'static str,
    end: &'static str,
}

impl Line {
    fn text(&self, time: usize) -> String {
        let tags: String = self.tags.iter().map(|(k, v)| format!(",{k}={v}")).collect();
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let (measurement, blank, end) = (self.measurement, self.blank, self.end);
        format!(
            "{measurement}{tags}{blank}{}{blank}{time}{end}",
            fields.join(",")
        )
    }
}

/// Where the two differ, and why.
type Explained = (&'static str, fn(&Line) -> bool);
const EXPLAINED: [Explained; 3] = [
    (
        "of two backslashes none escapes the other, as in InfluxDB 1 and 2; the other makes them one in measurements and tags",
        |line| {
            let mut tags = line.tags.iter();
            line.measurement.contains("\\\\") || tags.any(|(_, value)| value.contains("\\\\"))
        },
    ),
    (
        "numbers may have a sign `+`, a point first or last; the other refuses them",
        |line| {
            line.fields.iter().any(|(_, value)| {
                value.starts_with(['+', '.']) || value.starts_with("-.") || value.ends_with('.')
            })
        },
    ),
    (
        "a number beyond a float is refused; the other takes it for infinite",
        |line| line.fields.iter().any(|(_, value)| value.contains("e999")),
    ),
];

fn ours(body: &str) -> Vec<Samples> {
    let mut door = Batcher::new(1, 1 << 20, 100_000);
    let options = LineOptions {
        unit: LineUnit::Fixed(TimeUnit::Microseconds),
        now: 0,
    };
    decode_line_protocol(body.as_bytes(), options, &mut door).unwrap();
    let (records, rejections) = door.finish().unwrap();
    let mut lines: Vec<Samples> = vec![Some(BTreeMap::new()); LINES_OF_A_BODY];
    for rejection in rejections.first() {
        let Place::Line { line, .. } = rejection.place else {
            panic!("{rejection}")
        };
        lines[line - 1] = None;
    }
    for record in records {
        let batch = SampleBatch::decode(&Bytes::from(record.record.value)).unwrap();
        for row in 0..batch.rows() {
            let labels = &batch.label_sets()[batch.label_keys()[row] as usize];
            let labels = labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
            let metric = batch.metrics()[batch.metric_keys()[row] as usize].to_string();
            let line = &mut lines[batch.times()[row] as usize];
            let series = (metric, labels.collect());
            let samples = line.get_or_insert_default().entry(series);
            samples.or_default().push(batch.values()[row].to_bits());
        }
    }
    lines
}

fn theirs(text: &str) -> Samples {
    let line = parse_lines(text).next()?.ok()?;
    let mut labels = BTreeMap::new();
    for (key, value) in line.series.tag_set.iter().flatten() {
        if labels.insert(key.to_string(), value.to_string()).is_some() {
            return None;
        }
    }
    line.timestamp?;
    let mut samples = BTreeMap::new();
    for (key, value) in &line.field_set {
        let value = match value {
            FieldValue::I64(value) => *value as f64,
            FieldValue::U64(value) => *value as f64,
            FieldValue::F64(value) => *value,
            FieldValue::Boolean(value) => f64::from(u8::from(*value)),
            FieldValue::String(_) => continue,
        };
        let metric = format!("{}_{key}", line.series.measurement);
        let of = samples
            .entry((metric, labels.clone()))
            .or_insert_with(Vec::new);
        of.push(value.to_bits());
    }
    Some(samples)
}

/// Makes lines.
struct Maker(Random);

impl Maker {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    /// One of the usual, and now and then one of the unusual.
    fn pick(&mut self, usual: &[&'static str], unusual: &[&'static str]) -> &'static str {
        match self.below(16) {
            0 => unusual[self.below(unusual.len())],
            _ => usual[self.below(usual.len())],
        }
    }

    fn line(&mut self) -> Line {
        let tag = |maker: &mut Self| {
            let key = maker.pick(
                &["host", "dc", "a-b", "k\\ ey", "k\\,1", "k\\=2"],
                &["", "x\\y", "\"q\"", "host"],
            );
            let value = maker.pick(
                &["a", "web1", "büro", "v\\ al", "1", "a\\=b", "c\\,d", "[x]"],
                &["", "a\\b", "\"q\"", "e\\\\"],
            );
            (key, value)
        };
        let field = |maker: &mut Self| {
            let key = maker.pick(
                &["usage", "v", "a.b", "f\\ 1", "g\\=2", "h\\,3"],
                &["", "x\\y", "\"q\""],
            );
            let value = maker.pick(
                &[
                    "1",
                    "0",
                    "-1",
                    "1.5",
                    "-2.25e3",
                    "1E-7",
                    "98.7654321",
                    "1i",
                    "-5i",
                    "9223372036854775807i",
                    "1u",
                    "18446744073709551615u",
                    "t",
                    "false",
                    "TRUE",
                    "\"text, with = \\\" all\"",
                    "\"\"",
                ],
                &[
                    "",
                    "x",
                    "9223372036854775808i",
                    "-1u",
                    "1e999",
                    "NaN",
                    "inf",
                    "+1",
                    ".5",
                    "5.",
                    "-.5",
                    "tru",
                    "truee",
                    "1ii",
                    "0x1",
                    "1_0",
                    "--1",
                ],
            );
            (key, value)
        };
        Line {
            measurement: self.pick(
                &["cpu", "mem", "m\\ 1", "n\\,2", "o=3", "µ"],
                &["", "x\\y", "\"q\"", "a\\\\"],
            ),
            tags: (0..self.below(4)).map(|_| tag(self)).collect(),
            fields: (0..=self.below(3)).map(|_| field(self)).collect(),
            blank: self.pick(&[" "], &["  ", ""]),
            end: self.pick(&["", " "], &["x", " 5", ".5"]),
        }
    }
}

#[test]
fn both_read_the_same_samples() {
    let lines = std::env::var("TIDEWATCH_TEST_INPUTS");
    let lines = lines.map_or(LINES, |text| text.parse().unwrap());
    let mut maker = Maker(Random::from_environment(1));
    let seed = maker.0.seed;
    let (mut equal, mut taken, mut differ) = (0, 0, BTreeMap::new());
    for _ in 0..lines / LINES_OF_A_BODY {
        let made: Vec<Line> = (0..LINES_OF_A_BODY).map(|_| maker.line()).collect();
        let texts: Vec<String> = made
            .iter()
            .enumerate()
            .map(|(time, line)| line.text(time))
            .collect();
        let ours = ours(&texts.join("\n"));
        for ((line, text), ours) in made.iter().zip(&texts).zip(ours) {
            let theirs = theirs(text);
            if ours == theirs {
                equal += 1;
                taken += usize::from(ours.is_some());
                continue;
            }
            let why = EXPLAINED.iter().find(|(_, holds)| holds(line));
            let Some((why, _)) = why else {
                panic!("TIDEWATCH_TEST_SEED={seed}: `{text}`\nours   {ours:?}\ntheirs {theirs:?}")
            };
            *differ.entry(*why).or_insert(0) += 1;
        }
    }
    println!("{equal} of {lines} lines are read alike, {taken} are taken; the others: {differ:#?}");
    assert!(
        equal * 2 > lines && taken * 3 > lines,
        "{equal} {taken} of {lines}"
    );
    assert_eq!(
        differ.len(),
        EXPLAINED.len(),
        "an explanation that explains nothing: {differ:#?}"
    );
}
