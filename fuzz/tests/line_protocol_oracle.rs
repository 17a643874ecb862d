//! Line protocol, read by us and by the crate `influxdb-line-protocol`, InfluxDB 3's own reader: the same samples, except where `EXPLAINED` says why not.
//! Here and not in `ingest/tests`: that crate changes features of crates that everything else is built on. What it read of some lines is kept there.

use std::collections::BTreeMap;

use influxdb_line_protocol::{FieldValue, parse_lines};

#[path = "../../ingest/tests/line_protocol/mod.rs"]
mod line_protocol;
#[path = "../../ingest/tests/oracle/mod.rs"]
mod oracle;

use line_protocol::{EXPLAINED, LINES_OF_A_BODY, Line, Samples, USUAL, line, ours, written};
use oracle::{Comparison, Maker, lines_asked_for};

/// Lines compared, unless `TIDEWATCH_TEST_INPUTS` says how many.
const LINES: usize = 100_000;
/// Lines of which is kept what they were read as, where `TIDEWATCH_TEST_CAPTURE=1`.
const LINES_KEPT: usize = 1_000;
/// Where.
const KEPT: &str = "../ingest/tests/line_protocol/influxdb_3.tsv";

fn theirs(text: &str) -> Option<Samples> {
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

#[test]
fn both_read_the_same_samples() {
    let mut maker = Maker::new(USUAL);
    let mut comparison = Comparison::new(&EXPLAINED, maker.seed());
    let mut kept = String::new();
    for body in 0..lines_asked_for(LINES) / LINES_OF_A_BODY {
        let lines: Vec<Line> = (0..LINES_OF_A_BODY).map(|_| line(&mut maker)).collect();
        let texts = lines.iter().enumerate().map(|(time, line)| line.text(time));
        let texts: Vec<String> = texts.collect();
        let ours = ours(&texts.join("\n"));
        for ((line, text), ours) in lines.iter().zip(&texts).zip(&ours) {
            let theirs = theirs(text);
            let why = comparison.add(line, text, ours, &theirs);
            if body < LINES_KEPT / LINES_OF_A_BODY {
                kept += &format!(
                    "{text}\t{}\t{}\n",
                    written(&theirs),
                    why.unwrap_or_default()
                );
            }
        }
    }
    comparison.finish();
    if std::env::var("TIDEWATCH_TEST_CAPTURE").as_deref() == Ok("1") {
        std::fs::write(KEPT, kept).unwrap();
    }
}
