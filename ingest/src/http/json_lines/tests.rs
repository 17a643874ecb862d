//! Tests of the JSON lines decoder.

use proptest::prelude::*;
use rstest::rstest;

use super::decode;
use crate::door::{Batcher, Rejections};
use crate::memory_bus::{Row, rows_of_all};

const NOW: i64 = 1_800_000_000_000_000;

fn decoded(body: &[u8]) -> (Vec<Row>, Rejections) {
    let mut door = Batcher::new(1, 1 << 20, 1000);
    decode(body, NOW, &mut door).unwrap();
    let (records, rejections) = door.finish().unwrap();
    (rows_of_all(&records), rejections)
}

fn check(body: &str, expected: &[&str]) {
    let (rows, rejections) = decoded(body.as_bytes());
    let rows = rows.iter().map(|(metric, labels, kind, time, value)| {
        format!("{metric}{labels} {} @{time} {kind}", f64::from_bits(*value))
    });
    let found: Vec<String> = rows
        .chain(
            rejections
                .first()
                .iter()
                .map(|rejection| format!("! {rejection}")),
        )
        .collect();
    assert_eq!(found, expected, "{body}");
}

#[rstest]
#[case(r#"{"metric":"cpu","labels":{"host":"a"},"time":"2026-11-21T10:00:00Z","value":1.5,"kind":"counter"}"#, r#"cpu{host="a"} 1.5 @1795255200000000 1"#)]
#[case(
    r#"{"metric":"cpu","time":"2026-11-21T10:00:00.25+02:00","value":1}"#,
    "cpu{} 1 @1795248000250000 0"
)]
#[case(
    r#"{"value":-2e3,"time":1700000000123,"metric":"x_total"}"#,
    "x_total{} -2000 @1700000000123000 1"
)]
#[case(
    r#"{"metric":"x_total","time":1.5,"value":0,"kind":"gauge"}"#,
    "x_total{} 0 @1500 0"
)]
#[case(r#"{"metric":"cpu","value":1}"#, "cpu{} 1 @1800000000000000 0")]
#[case(r#"{"metric":"cpu","value":"NaN"}"#, "cpu{} NaN @1800000000000000 0")]
#[case(
    r#"{"metric":"cpu","value":"-Infinity"}"#,
    "cpu{} -inf @1800000000000000 0"
)]
#[case(
    r#"{"metric":"c\u0070u","labels":{"a\n":"\"","empty":""},"value":-0.0}"#,
    "cpu{a\n=\"\\\"\"} -0 @1800000000000000 0"
)]
#[case(r#"! "#, "! line 1, column 1: expected value")]
#[case(
    r#"{"metric":"","value":1}"#,
    "! line 1, column 1: the metric name is empty or missing"
)]
#[case(r#"{"metric":"cpu"}"#, "! line 1, column 16: missing field `value`")]
#[case(
    r#"{"metric":"cpu","value":"1"}"#,
    "! line 1, column 27: invalid value: string \"1\", expected a number, \"NaN\", \"Infinity\" or \"-Infinity\""
)]
#[case(
    r#"{"metric":"cpu","value":1,"tme":1}"#,
    "! line 1, column 31: unknown field `tme`, expected one of `metric`, `labels`, `time`, `value`, `kind`"
)]
#[case(
    r#"{"metric":"cpu","value":1,"time":"yesterday"}"#,
    "! line 1, column 44: `yesterday` is no RFC 3339 time such as 2026-11-21T10:00:00Z"
)]
#[case(
    r#"{"metric":"cpu","value":1,"time":-1}"#,
    "! line 1, column 1: time -1 ms is outside of 1970-01-01 to 2262-01-01; check the clock and the precision of the sender"
)]
#[case(
    r#"{"metric":"cpu","value":1,"kind":"histogram"}"#,
    "! line 1, column 44: unknown variant `histogram`, expected `gauge` or `counter`"
)]
#[case(
    r#"{"metric":"cpu","labels":{"a":1},"value":1}"#,
    "! line 1, column 31: invalid type: integer `1`, expected a string"
)]
#[case(
    r#"{"metric":"cpu","labels":{"a":"1","a":"2"},"value":1}"#,
    "! line 1, column 1: label `a` occurs twice; a label key must be unique within a series"
)]
#[case(
    r#"{"metric":"cpu","value":1} x"#,
    "! line 1, column 28: trailing characters"
)]
#[case(
    r#"{"metric":"cpu","value":1"#,
    "! line 1, column 25: EOF while parsing an object"
)]
fn a_line_is_a_sample_or_a_reason(#[case] line: &str, #[case] expected: &str) {
    check(line, &[expected]);
    let later = expected.replacen("line 1", "line 3", 1);
    let ok = r#"{"metric":"ok","value":1,"time":1}"#;
    match expected.starts_with('!') {
        true => check(
            &format!("{ok}\n\n{line}\r\n{ok}\n"),
            &["ok{} 1 @1000 0", "ok{} 1 @1000 0", &later],
        ),
        false => check(
            &format!("{ok}\n\r\n{line}\r\n"),
            &["ok{} 1 @1000 0", expected],
        ),
    }
}

#[test]
fn values_are_exact_wherever_they_stand() {
    // The text 8.99057865802236e-309 is one that serde_json reads wrongly in the last bit.
    for line in [
        r#"{"metric":"value","value":8.99057865802236e-309}"#,
        r#"{"value" : 8.99057865802236e-309 ,"labels":{"value":"1","a":"\\","b":"\","},"metric":"m"}"#,
        r#"{"labels":{"b":"\"value\":2,"},"value":8.99057865802236e-309,"metric":"m"}"#,
    ] {
        assert_eq!(
            decoded(line.as_bytes()).0[0].4,
            8.99057865802236e-309f64.to_bits(),
            "{line}"
        );
    }
}

#[test]
fn times_at_both_ends_of_64_bits_are_refused() {
    for time in [
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1e300",
        "-1e300",
    ] {
        let (rows, rejections) =
            decoded(format!(r#"{{"metric":"cpu","value":1,"time":{time}}}"#).as_bytes());
        assert_eq!((rows.len(), rejections.samples()), (0, 1), "{time}");
    }
}

#[test]
fn depth_size_and_encoding_are_limited() {
    let deep = format!(
        r#"{{"metric":"cpu","labels":{}"a"{},"value":1}}"#,
        r#"{"a":"#.repeat(100_000),
        "}".repeat(100_000)
    );
    let labels: Vec<String> = (0..10_000).map(|i| format!(r#""k{i}":"v""#)).collect();
    let wide = format!(
        r#"{{"metric":"cpu","labels":{{{}}},"value":1}}"#,
        labels.join(",")
    );
    let long = format!(
        r#"{{"metric":"cpu","labels":{{"a":"{}"}},"value":1}}"#,
        "x".repeat(1024 * 1024)
    );
    for (line, expected) in [
        (deep.as_bytes(), "invalid type: map, expected a string"),
        (wide.as_bytes(), "more than 256 labels"),
        (long.as_bytes(), "a line of 1048"),
        (
            b"{\"metric\":\"\xff\",\"value\":1}",
            "invalid unicode code point",
        ),
    ] {
        let (rows, rejections) = decoded(line);
        assert!(rows.is_empty());
        assert!(
            rejections.first()[0].to_string().contains(expected),
            "{}",
            rejections.first()[0]
        );
    }
}

proptest! {
    #[test]
    fn what_serde_writes_is_read(metric in "\\PC{1,20}", labels in prop::collection::btree_map("\\PC{1,8}", "\\PC{1,8}", 0..4), value in any::<f64>().prop_filter("JSON", |v| v.is_finite()), time in 0..9_000_000_000_000i64) {
        let line = serde_json::json!({"metric": metric, "labels": labels, "value": value, "time": time}).to_string();
        let (rows, rejections) = decoded(line.as_bytes());
        prop_assert!(rejections.is_empty(), "{:?}", rejections);
        prop_assert_eq!((&rows[0].0, rows[0].3), (&metric, time * 1000));
        prop_assert_eq!(&rows[0].1, &schemas::Labels::try_new(&labels).unwrap().to_string());
        prop_assert_eq!(rows[0].4, value.to_bits());
    }

    #[test]
    fn cut_or_flipped_lines_never_panic(cut in 0..110usize, flip in any::<(prop::sample::Index, u8)>()) {
        let mut line = br#"{"metric":"cpu","labels":{"host":"a"},"time":"2026-11-21T10:00:00Z","value":1.5,"kind":"counter"}"#.to_vec();
        let at = flip.0.index(line.len());
        line[at] ^= 1 << (flip.1 % 8);
        line.truncate(cut);
        let (rows, rejections) = decoded(&line);
        prop_assert!(rows.len() <= 1 && rejections.samples() <= 2);
    }
}
