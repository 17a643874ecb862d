//! Tests of Vector's metric events.

use rstest::rstest;

use super::decode;
use crate::door::Batcher;
use crate::foreign::tests::shown;

const NOW: i64 = 1_800_000_000_000_000;

fn decoded(body: &str) -> Vec<String> {
    let mut door = Batcher::new(1, 1 << 20, 1000);
    decode(body.as_bytes(), NOW, &mut door).unwrap();
    shown(&mut door)
}

#[rstest]
#[case(
    r#"{"metric":{"name":"load1","namespace":"host","tags":{"host":"a"},"timestamp":"2026-11-21T10:00:00Z","kind":"absolute","gauge":{"value":0.5}}}"#,
    &["host_load1{host=\"a\"} 0.5 @1795255200000000 0"])]
#[case(
    r#"{"name":"bytes","tags":{},"kind":"absolute","counter":{"value":12.0}}"#,
    &["bytes{} 12 @1800000000000000 1"])]
#[case(
    r#"{"metric":{"name":"hits","kind":"incremental","interval_ms":1000,"counter":{"value":3}}}"#,
    &["hits{temporality=\"delta\"} 3 @1800000000000000 0"])]
#[case(
    r#"{"metric":{"name":"users","kind":"absolute","set":{"values":["a","b","c"]}}}"#,
    &["users{} 3 @1800000000000000 0"])]
#[case(
    r#"{"metric":{"name":"t","kind":"absolute","distribution":{"samples":[{"value":2.0,"rate":3},{"value":5.0,"rate":1}],"statistic":"histogram"}}}"#,
    &["t_count{} 4 @1800000000000000 1", "t_sum{} 11 @1800000000000000 1", "t_min{} 2 @1800000000000000 0", "t_max{} 5 @1800000000000000 0"])]
#[case(
    r#"{"metric":{"name":"d","kind":"absolute","aggregated_histogram":{"buckets":[{"upper_limit":2.0,"count":1},{"upper_limit":1.0,"count":3},{"upper_limit":1.7976931348623157e308,"count":1}],"count":5,"sum":7.5}}}"#,
    &["d_count{} 5 @1800000000000000 1", "d_sum{} 7.5 @1800000000000000 1", "d_bucket{le=\"1\"} 3 @1800000000000000 1",
      "d_bucket{le=\"2\"} 4 @1800000000000000 1", "d_bucket{le=\"+Inf\"} 5 @1800000000000000 1"])]
#[case(
    r#"{"metric":{"name":"s","kind":"absolute","aggregated_summary":{"quantiles":[{"quantile":0.5,"value":1.0},{"quantile":0.99,"value":9.0}],"count":2,"sum":10}}}"#,
    &["s_count{} 2 @1800000000000000 1", "s_sum{} 10 @1800000000000000 1", "s{quantile=\"0.5\"} 1 @1800000000000000 0", "s{quantile=\"0.99\"} 9 @1800000000000000 0"])]
#[case(
    r#"[{"name":"a","tags":{"k":["x","y"],"gone":null},"gauge":{"value":1}},{"name":"b","gauge":{"value":2}}]"#,
    &["a{k=\"y\"} 1 @1800000000000000 0", "b{} 2 @1800000000000000 0"])]
#[case(
    "{\"name\":\"a\",\"gauge\":{\"value\":1}}\n{\"name\":\"b\",\"gauge\":{\"value\":2}}\n",
    &["a{} 1 @1800000000000000 0", "b{} 2 @1800000000000000 0"])]
#[case(r#"{"log":{"message":"hello"}}"#, &["! object 0: a log event; only metrics are taken"])]
#[case(
    r#"{"metric":{"name":"a","sketch":{"sketch":{"AgentDDSketch":{}}}}}"#,
    &["! object 0: a sketch, which is not stored; let Vector send a distribution or an aggregated histogram"])]
#[case(r#"{"name":"","gauge":{"value":1}}"#, &["! object 0: the metric name is empty or missing"])]
#[case(
    r#"{"name":"a","timestamp":"noon","gauge":{"value":1}}"#,
    &["! object 0: `timestamp` is no time of RFC 3339"])]
fn an_event_is_samples_or_a_reason(#[case] body: &str, #[case] expected: &[&str]) {
    assert_eq!(decoded(body), expected, "{body}");
}

#[test]
fn what_has_no_value_says_what_was_expected() {
    let found = decoded(r#"{"fields":{"v":1},"name":"cpu","tags":{}}"#);
    assert!(
        found[0].starts_with("! object 0: an event without a value; expected {\"metric\":"),
        "{found:?}"
    );
    let mut door = Batcher::new(1, 1 << 20, 1000);
    for body in ["", " \n"] {
        decode(body.as_bytes(), NOW, &mut door).unwrap();
    }
    for body in ["x", "{", r#"{"name":"a","gauge":{"value":"high"}}"#] {
        assert!(decode(body.as_bytes(), NOW, &mut door).is_err(), "{body}");
    }
}
