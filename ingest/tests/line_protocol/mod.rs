//! Lines of line protocol as the oracle makes them, what we read of them, and how a reading is written down.

use std::collections::BTreeMap;

use ingest::door::{Batcher, Place, TimeUnit};
use ingest::http::{LineOptions, LineUnit, decode_line_protocol};
use schemas::SampleBatch;

use crate::oracle::{Explained, Maker};

/// One part of a line of so many is unusual.
pub(crate) const USUAL: usize = 16;
/// Lines of one body. Each has its number as its time, and all that are refused are told (up to 20).
pub(crate) const LINES_OF_A_BODY: usize = 20;

/// What a line brings: by metric and labels, the bits of the values in order.
pub(crate) type Samples = BTreeMap<(String, BTreeMap<String, String>), Vec<u64>>;

/// A line before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    measurement: &'static str,
    tags: Vec<(&'static str, &'static str)>,
    fields: Vec<(&'static str, &'static str)>,
    blank: &'static str,
    end: &'static str,
}

impl Line {
    pub(crate) fn text(&self, time: usize) -> String {
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
pub(crate) const EXPLAINED: [Explained<Line>; 3] = [
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

/// What we make of each line of a body of [`LINES_OF_A_BODY`], each with its number as its time.
pub(crate) fn ours(body: &str) -> Vec<Option<Samples>> {
    let mut door = Batcher::new(1, 1 << 20, 100_000);
    let options = LineOptions {
        unit: LineUnit::Fixed(TimeUnit::Microseconds),
        now: 0,
    };
    decode_line_protocol(body.as_bytes(), options, &mut door).unwrap();
    let (records, rejections) = door.finish().unwrap();
    let mut lines: Vec<Option<Samples>> = vec![Some(BTreeMap::new()); LINES_OF_A_BODY];
    for rejection in rejections.first() {
        let Place::Line { line, .. } = rejection.place else {
            panic!("{rejection}")
        };
        lines[line - 1] = None;
    }
    for record in records {
        let batch = SampleBatch::decode(&record.record.value).unwrap();
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

/// Makes a line.
pub(crate) fn line(maker: &mut Maker) -> Line {
    let tag = |maker: &mut Maker| {
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
    let field = |maker: &mut Maker| {
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
        measurement: maker.pick(
            &["cpu", "mem", "m\\ 1", "n\\,2", "o=3", "µ"],
            &["", "x\\y", "\"q\"", "a\\\\"],
        ),
        tags: (0..maker.below(4)).map(|_| tag(maker)).collect(),
        fields: (0..=maker.below(3)).map(|_| field(maker)).collect(),
        blank: maker.pick(&[" "], &["  ", ""]),
        end: maker.pick(&["", " "], &["x", " 5", ".5"]),
    }
}

/// A reading as text: `metric{label="value"} value,value; …`, or that the line is refused.
pub(crate) fn written(samples: &Option<Samples>) -> String {
    let Some(samples) = samples else {
        return "refused".to_owned();
    };
    let series = samples.iter().map(|((metric, labels), values)| {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        let values: Vec<String> = values
            .iter()
            .map(|bits| format!("{:?}", f64::from_bits(*bits)))
            .collect();
        format!("{metric}{{{}}} {}", labels.join(","), values.join(","))
    });
    series.collect::<Vec<_>>().join("; ")
}
