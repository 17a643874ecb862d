//! Line protocol, read by us and by InfluxDB 3: what its reader made of a thousand lines is kept beside this test. Some of them it reads otherwise; why, it
//! says there. `fuzz/tests/line_protocol_oracle.rs` asks the reader itself, of as many lines as one likes, and writes them down.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[allow(
    dead_code,
    reason = "the lines are made where the other reader is asked"
)]
mod line_protocol;
#[allow(dead_code, reason = "so is the comparison")]
mod oracle;

use line_protocol::{LINES_OF_A_BODY, ours, written};

/// A line, what InfluxDB 3 read, and why we do not, each behind a tab.
const KEPT: &str = include_str!("line_protocol/influxdb_3.tsv");

#[test]
fn we_read_what_influxdb_read() {
    let lines: Vec<Vec<&str>> = KEPT
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert!(lines.len() >= 1_000);
    let mut taken = 0;
    for body in lines.chunks(LINES_OF_A_BODY) {
        let texts: Vec<&str> = body.iter().map(|line| line[0]).collect();
        for (line, ours) in body.iter().zip(ours(&texts.join("\n"))) {
            let [text, theirs, why] = line[..] else {
                panic!("{line:?}")
            };
            let ours = written(&ours);
            assert_eq!(
                ours == theirs,
                why.is_empty(),
                "`{text}`: {ours}, not {theirs}; {why}"
            );
            taken += usize::from(ours != "refused");
        }
    }
    assert!(
        taken * 3 > lines.len(),
        "{taken} of {} are taken",
        lines.len()
    );
}
