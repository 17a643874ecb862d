//! Tests of the OpenTelemetry decoders: what each type of data point becomes, in JSON; that protobuf means the same is in `protobuf.rs`.

mod protobuf;

use rstest::rstest;
use schemas::Kind;
use serde_json::Value;

use super::super::refusal::Undecodable;
use super::{decode, json};
use crate::door::{Batcher, Rejections};
use crate::memory_bus::rows_of_all;

const NOW: i64 = 7_000_000;

fn door() -> Batcher {
    Batcher::new(1, 1 << 20, 1_000_000)
}

/// A sample as text: `name{labels} g|c time_us value`.
fn decoded(
    body: &[u8],
    door: &mut Batcher,
) -> Result<(Vec<String>, Rejections, usize), Undecodable> {
    let skipped = decode(body, NOW, door);
    if skipped.is_err() {
        door.discard();
    }
    let skipped = skipped?;
    let (records, rejections) = door.finish().unwrap();
    let rows = rows_of_all(&records)
        .into_iter()
        .map(|(metric, labels, kind, time, bits)| {
            let kind = if kind == Kind::Counter as u8 {
                'c'
            } else {
                'g'
            };
            format!("{metric}{labels} {kind} {time} {}", f64::from_bits(bits))
        })
        .collect();
    Ok((rows, rejections, skipped))
}

/// A request with one metric of a resource and a scope that have no names.
fn request(metric: &Value) -> Value {
    json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] })
}

fn rows_of_metric(metric: &Value) -> (Vec<String>, Rejections, usize) {
    let body = json::to_protobuf(request(metric).to_string().as_bytes()).unwrap();
    decoded(&body, &mut door()).unwrap()
}

#[rstest]
#[case::gauge(
    json!({"name": "temp", "gauge": {"dataPoints": [{"timeUnixNano": "5000000000", "asDouble": 1.5}]}}),
    &["temp{} g 5000000 1.5"]
)]
#[case::gauge_of_an_integer(
    json!({"name": "temp", "gauge": {"dataPoints": [{"timeUnixNano": 5000000999u64, "asInt": "-3"}]}}),
    &["temp{} g 5000000 -3"]
)]
#[case::no_time_is_the_time_of_arrival(
    json!({"name": "temp", "gauge": {"dataPoints": [{"asInt": 1}]}}),
    &["temp{} g 7000000 1"]
)]
#[case::running_total(
    json!({"name": "hits", "sum": {"isMonotonic": true, "aggregationTemporality": 2,
        "dataPoints": [{"timeUnixNano": "1000", "asInt": "9"}]}}),
    &["hits{} c 1 9"]
)]
#[case::up_and_down(
    json!({"name": "queue", "sum": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": "1000", "asInt": "9"}]}}),
    &["queue{} g 1 9"]
)]
#[case::increase(
    json!({"name": "hits", "sum": {"dataPoints": [{"timeUnixNano": "1000", "asInt": "9"}], "isMonotonic": true, "aggregationTemporality": 1}}),
    &["hits{temporality=\"delta\"} g 1 9"]
)]
#[case::histogram(
    json!({"name": "t", "histogram": {"aggregationTemporality": 2, "dataPoints": [{
        "timeUnixNano": "1000", "count": "6", "sum": 9.5, "min": 0.1, "max": 5,
        "explicitBounds": [0.5, 1, 1000000], "bucketCounts": ["1", "2", 0, "3"]}]}}),
    &["t_bucket{le=\"0.5\"} c 1 1", "t_bucket{le=\"1\"} c 1 3", "t_bucket{le=\"1000000\"} c 1 3", "t_bucket{le=\"+Inf\"} c 1 6",
      "t_count{} c 1 6", "t_sum{} c 1 9.5", "t_min{} g 1 0.1", "t_max{} g 1 5"]
)]
#[case::histogram_without_buckets(
    json!({"name": "t", "histogram": {"aggregationTemporality": 1, "dataPoints": [{"timeUnixNano": "1000", "count": "6", "sum": 9.5}]}}),
    &["t_count{temporality=\"delta\"} g 1 6", "t_sum{temporality=\"delta\"} g 1 9.5"]
)]
#[case::exponential_of_a_coarse_scale(
    json!({"name": "t", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{
        "timeUnixNano": "1000", "count": "10", "sum": 3, "scale": 0, "zeroCount": "1",
        "positive": {"offset": -1, "bucketCounts": ["2", "3"]}, "negative": {"offset": 1, "bucketCounts": ["4"]}}]}}),
    // Bucket -1 of scale 0 holds (0.5, 1], bucket 0 (1, 2]; of the negative ones, bucket 1 holds [-4, -2).
    &["t_bucket{le=\"-2\"} c 1 4", "t_bucket{le=\"0\"} c 1 5", "t_bucket{le=\"1\"} c 1 7", "t_bucket{le=\"2\"} c 1 10", "t_bucket{le=\"+Inf\"} c 1 10",
      "t_count{} c 1 10", "t_sum{} c 1 3"]
)]
#[case::exponential_of_a_fine_scale_is_merged(
    json!({"name": "t", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{
        "timeUnixNano": "1000", "count": "9", "scale": 4, "zeroThreshold": 0.25,
        "positive": {"offset": -3, "bucketCounts": [1, 1, 1, 1, 2, 1, 1, 1]}}]}}),
    // Four buckets of scale 4 make one of scale 2: -3..=-1 the one up to 1, 0..=3 the one up to 2^(1/4), 4 the next.
    &["t_bucket{le=\"0.25\"} c 1 0", "t_bucket{le=\"1\"} c 1 3", "t_bucket{le=\"1.189207115002721\"} c 1 8", "t_bucket{le=\"1.4142135623730951\"} c 1 9",
      "t_bucket{le=\"+Inf\"} c 1 9", "t_count{} c 1 9"]
)]
#[case::summary(
    json!({"name": "t", "summary": {"dataPoints": [{"timeUnixNano": "1000", "count": "6", "sum": 9.5,
        "quantileValues": [{"quantile": 0.5, "value": 2}, {"quantile": 1, "value": "NaN"}]}]}}),
    &["t{quantile=\"0.5\"} g 1 2", "t{quantile=\"1\"} g 1 NaN", "t_count{} c 1 6", "t_sum{} c 1 9.5"]
)]
#[case::no_data(json!({"name": "t", "unit": "s", "description": null}), &[])]
fn becomes(#[case] metric: Value, #[case] expected: &[&str]) {
    let (rows, rejections, skipped) = rows_of_metric(&metric);
    assert_eq!(rows, expected);
    assert_eq!((rejections.samples(), skipped), (0, 0), "{rejections:?}");
}

#[rstest]
#[case::no_name(json!({"gauge": {"dataPoints": [{"asInt": 1}]}}), "the metric name is empty or missing")]
#[case::no_value(json!({"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": 1}]}}), "a data point without a value")]
#[case::no_temporality(
    json!({"name": "m", "sum": {"dataPoints": [{"asInt": 1}]}}),
    "metric `m` has aggregation temporality 0; expected 1 (delta) or 2 (cumulative)"
)]
#[case::far_future(
    json!({"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "18446744073709551615", "asInt": 1}]}}),
    "time 9223372036854775807 ns is outside of 1970-01-01 to 2262-01-01; check the clock and the precision of the sender"
)]
#[case::attribute_twice(
    json!({"name": "m", "gauge": {"dataPoints": [{"asInt": 1, "attributes": [
        {"key": "a", "value": {"stringValue": "1"}}, {"key": "a", "value": {"intValue": "2"}}]}]}}),
    "label `a` occurs twice; a label key must be unique within a series"
)]
#[case::buckets_and_bounds(
    json!({"name": "m", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"explicitBounds": [1, 2], "bucketCounts": [1, 2]}]}}),
    "a histogram with 2 buckets and 2 bounds; expected one bucket more than bounds"
)]
#[case::bounds_descend(
    json!({"name": "m", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"explicitBounds": [2, 1], "bucketCounts": [1, 2, 3]}]}}),
    "a histogram whose bounds are not finite and ascending"
)]
#[case::too_many_buckets(
    json!({"name": "m", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"explicitBounds": vec![1; 5000], "bucketCounts": [1]}]}}),
    "a histogram of more than 4096 buckets"
)]
#[case::scale(
    json!({"name": "m", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{"scale": 21}]}}),
    "an exponential histogram of scale 21 with zero threshold 0; expected -10 to 20, and a finite one from 0"
)]
#[case::beyond_a_double(
    json!({"name": "m", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
        {"scale": 0, "positive": {"offset": 2147483647, "bucketCounts": [1]}}]}}),
    "an exponential histogram of scale 0 with 1 buckets from index 2147483647: beyond what a double holds"
)]
fn is_refused(#[case] metric: Value, #[case] expected: &str) {
    let (rows, rejections, _) = rows_of_metric(&metric);
    assert_eq!((rows, rejections.samples()), (vec![], 1));
    assert_eq!(
        rejections.first()[0].to_string(),
        format!("data point 0: {expected}")
    );
}

#[test]
fn a_refused_data_point_leaves_the_others() {
    let metric = json!({"name": "m", "gauge": {"dataPoints": [
        {"timeUnixNano": 1000, "asInt": 1},
        {"timeUnixNano": 2000},
        {"timeUnixNano": 3000, "flags": 1},
        {"timeUnixNano": 4000, "asInt": 4},
    ]}});
    let (rows, rejections, skipped) = rows_of_metric(&metric);
    assert_eq!(rows, ["m{} g 1 1", "m{} g 4 4"]);
    assert_eq!((rejections.samples(), skipped), (1, 1));
    assert_eq!(
        rejections.first()[0].to_string(),
        "data point 1: a data point without a value"
    );
}

fn attribute(key: &str, value: Value) -> Value {
    json!({ "key": key, "value": value })
}

#[test]
fn labels_come_from_resource_scope_and_data_point_and_what_is_further_in_wins() {
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [
            attribute("service.name", json!({"stringValue": "shop"})),
            attribute("zone", json!({"stringValue": "a"})),
            attribute("dropped", json!({"stringValue": "x"})),
        ]},
        "scopeMetrics": [{
            "scope": {"name": "lib", "version": "1.2"},
            "metrics": [{"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": 1000, "asInt": 1, "attributes": [
                attribute("zone", json!({"stringValue": "b"})),
                attribute("dropped", json!({})),
                attribute("ok", json!({"boolValue": true})),
                attribute("code", json!({"intValue": "-200"})),
                attribute("share", json!({"doubleValue": 0.5})),
                attribute("raw", json!({"bytesValue": "AP8="})),
                attribute("list", json!({"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "a\"b"}, {}]}})),
                attribute("map", json!({"kvlistValue": {"values": [attribute("k", json!({"doubleValue": "NaN"}))]}})),
            ]}]}}],
        }],
    }]});
    let body = json::to_protobuf(body.to_string().as_bytes()).unwrap();
    let mut door = door();
    let labels = r#"{code="-200",list="[1,\"a\\\"b\",null]",map="{\"k\":\"NaN\"}",ok="true",otel.scope.name="lib",raw="AP8=",service.name="shop",share="0.5",zone="b"}"#;
    let expected = [format!("m{labels} g 1 1")];
    assert_eq!(decoded(&body, &mut door).unwrap().0, expected);
    // What was named once is named the same from memory.
    assert_eq!(decoded(&body, &mut door).unwrap().0, expected);
}

/// Same attributes, other metric; same metric, other resource: what is remembered of one is not taken for the other.
#[test]
fn nothing_is_mixed_up_in_memory() {
    let of = |service: &str, metric: &str, code: &str| {
        json!({"resource": {"attributes": [attribute("service.name", json!({"stringValue": service}))]},
            "scopeMetrics": [{"metrics": [{"name": metric, "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
                {"timeUnixNano": 1000, "asInt": 1, "attributes": [attribute("code", json!({"stringValue": code}))]}]}}]}]})
    };
    let all: Vec<(&str, &str, &str)> = ["a", "ab"]
        .into_iter()
        .flat_map(|s| ["m", "mb"].map(|m| (s, m)))
        .flat_map(|(s, m)| ["1", "b1"].map(|c| (s, m, c)))
        .collect();
    let resources: Vec<Value> = all.iter().map(|(s, m, c)| of(s, m, c)).collect();
    let body = json::to_protobuf(
        json!({ "resourceMetrics": resources })
            .to_string()
            .as_bytes(),
    )
    .unwrap();
    let expected: Vec<String> = all
        .iter()
        .map(|(s, m, c)| format!("{m}{{code=\"{c}\",service.name=\"{s}\"}} c 1 1"))
        .collect();
    let mut door = door();
    for _ in 0..2 {
        assert_eq!(decoded(&body, &mut door).unwrap().0, expected);
    }
}

fn deep(levels: usize) -> Value {
    let mut value = json!({"intValue": 1});
    for _ in 0..levels {
        value = json!({"arrayValue": {"values": [value]}});
    }
    value
}

#[test]
fn nesting_and_length_of_attributes_are_bounded() {
    for (value, expected) in [
        (
            deep(17),
            "data point 0: an attribute that is nested deeper than 16".to_owned(),
        ),
        (
            json!({"arrayValue": {"values": vec![json!({}); 4000]}}),
            "data point 0: an attribute of more than 16384 bytes".to_owned(),
        ),
        (
            json!({"bytesValue": "A".repeat(40_000)}),
            "data point 0: an attribute of more than 16384 bytes".to_owned(),
        ),
        (
            json!({"stringValue": "a".repeat(20_000)}),
            "data point 0: label `a` has 20000 bytes; at most 16384 are taken".to_owned(),
        ),
    ] {
        let metric = json!({"name": "m", "gauge": {"dataPoints": [{"asInt": 1, "attributes": [attribute("a", value)]}]}});
        let (rows, rejections, _) = rows_of_metric(&metric);
        assert_eq!(
            (rows, rejections.first()[0].to_string()),
            (vec![], expected)
        );
    }
    let metric = json!({"name": "m", "gauge": {"dataPoints": [{"asInt": 1, "attributes": [attribute("a", deep(16))]}]}});
    assert_eq!(rows_of_metric(&metric).0.len(), 1);
}

#[rstest]
#[case::no_json("nonsense", 0, "expected ident")]
#[case::no_object(
    "[]",
    0,
    "invalid type: sequence, expected an object (ExportMetricsServiceRequest)"
)]
#[case::wrong_type(
    r#"{"resourceMetrics": {}}"#,
    21,
    "`resourceMetrics`: expected an array, found an object"
)]
#[case::no_number(r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"aggregationTemporality":"x"}}]}]}]}"#, 85, "`aggregationTemporality`: expected an integer, found another text")]
#[case::cut("{\"resourceMetrics\":\n[{", 22, "EOF while parsing an object")]
#[case::more("{} {}", 3, "trailing characters")]
fn json_that_is_no_request_says_where(
    #[case] body: &str,
    #[case] byte: usize,
    #[case] problem: &str,
) {
    let Err(Undecodable::Malformed(malformed)) = json::to_protobuf(body.as_bytes()) else {
        panic!("`{body}` was taken")
    };
    assert!(malformed.problem.starts_with(problem), "{malformed}");
    assert!(
        malformed.byte.abs_diff(byte) <= 1,
        "{malformed}: byte {byte} was expected"
    );
}

#[test]
fn json_nested_ten_thousand_deep_costs_no_stack() {
    let nested = |open: &str, close: &str| {
        let body = [open.repeat(10_000), "1".into(), close.repeat(10_000)].concat();
        json::to_protobuf(body.as_bytes())
    };
    assert!(nested("[", "]").is_err());
    let value = nested(r#"{"arrayValue":{"values":["#, "]}}");
    assert_eq!(
        value.unwrap(),
        b"",
        "what is unknown is left out, however deep"
    );
    let array = [
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"value":"#,
        &r#"{"arrayValue":{"values":["#.repeat(10_000),
    ]
    .concat();
    let error = json::to_protobuf(array.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("recursion limit exceeded"), "{error}");
}

#[test]
fn json_that_grows_as_protobuf_is_bounded() {
    let numbers = vec!["1"; 9 << 20].join(",");
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{numbers}]}}]}}}}]}}]}}]}}"#
    );
    assert!(matches!(
        json::to_protobuf(body.as_bytes()),
        Err(Undecodable::TooLarge(_))
    ));
}
