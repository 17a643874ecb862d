//! What agents are given to send, and the samples that it means: metrics of every kind for the Collector, lines for Telegraf and kcat.

use serde_json::{Value, json};
use tests::agents::WAY_LABEL;
use tests::samples::Sample;

/// 2026-05-28T20:26:40Z, seconds.
const START_S: i64 = 1_780_000_000;
/// Points of the long series.
const POINTS: i64 = 12;

fn micros(second: i64) -> i64 {
    (START_S + second) * 1_000_000
}

fn nanos(second: i64) -> String {
    format!("{}000000000", START_S + second)
}

/// A request of OTLP as JSON with all that the protocol has.
pub(crate) fn otlp(way: &str) -> Value {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let rooms: Vec<Value> = (0..POINTS)
        .map(|i| json!({"timeUnixNano": nanos(i), "asDouble": i as f64 / 8.0, "attributes": [attribute("room", "büro")]}))
        .collect();
    json!({"resourceMetrics": [{
        "resource": {"attributes": [
            attribute("service.name", "shop"), attribute(WAY_LABEL, way),
            {"key": "replicas", "value": {"intValue": "3"}}, {"key": "zones", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": true}]}}},
        ]},
        "scopeMetrics": [{"scope": {"name": "checkout", "version": "1.2"}, "metrics": [
            {"name": "room.temperature", "unit": "Cel", "gauge": {"dataPoints": rooms}},
            {"name": "http.requests", "sum": {"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": [
                {"startTimeUnixNano": nanos(0), "timeUnixNano": nanos(10), "asInt": "9007199254740991", "attributes": [attribute("code", "200")]},
                {"startTimeUnixNano": nanos(0), "timeUnixNano": nanos(10), "asInt": "3", "attributes": [attribute("code", "500")],
                 "exemplars": [{"timeUnixNano": nanos(9), "asInt": "1", "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708"}]}]}},
            {"name": "bytes.sent", "sum": {"isMonotonic": true, "aggregationTemporality": 1, "dataPoints": [
                {"startTimeUnixNano": nanos(0), "timeUnixNano": nanos(10), "asDouble": 1234.5}]}},
            {"name": "queue.length", "sum": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": nanos(10), "asInt": "-7"}]}},
            {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                {"timeUnixNano": nanos(10), "count": "6", "sum": 9.5, "min": 0.25, "max": 5, "explicitBounds": [0.5, 1], "bucketCounts": ["1", "2", "3"]}]}},
            {"name": "size", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [
                {"timeUnixNano": nanos(10), "count": "10", "sum": 3, "scale": 0, "zeroCount": "1",
                 "positive": {"offset": -1, "bucketCounts": ["2", "3"]}, "negative": {"offset": 1, "bucketCounts": ["4"]}}]}},
            {"name": "rpc", "summary": {"dataPoints": [
                {"timeUnixNano": nanos(10), "count": "8", "sum": 4.5, "quantileValues": [{"quantile": 0.5, "value": 2}, {"quantile": 0.99, "value": 2.5}]}]}},
            {"name": "gone", "gauge": {"dataPoints": [{"timeUnixNano": nanos(10), "flags": 1}]}},
        ]}],
    }]})
}

/// What a series of increases is told by.
const DELTA: Label = ("temporality", "delta");
type Label = (&'static str, &'static str);

/// Metric, labels besides those of all, and value of what [`otlp`] has at its tenth second.
const AT_TEN: &[(&str, &[Label], f64)] = &[
    ("http.requests", &[("code", "200")], 9_007_199_254_740_991.0),
    ("http.requests", &[("code", "500")], 3.0),
    ("bytes.sent", &[DELTA], 1234.5),
    ("queue.length", &[], -7.0),
    ("latency_bucket", &[("le", "0.5")], 1.0),
    ("latency_bucket", &[("le", "1")], 3.0),
    ("latency_bucket", &[("le", "+Inf")], 6.0),
    ("latency_count", &[], 6.0),
    ("latency_sum", &[], 9.5),
    ("latency_min", &[], 0.25),
    ("latency_max", &[], 5.0),
    ("size_bucket", &[DELTA, ("le", "-2")], 4.0),
    ("size_bucket", &[DELTA, ("le", "0")], 5.0),
    ("size_bucket", &[DELTA, ("le", "1")], 7.0),
    ("size_bucket", &[DELTA, ("le", "2")], 10.0),
    ("size_bucket", &[DELTA, ("le", "+Inf")], 10.0),
    ("size_count", &[DELTA], 10.0),
    ("size_sum", &[DELTA], 3.0),
    ("rpc", &[("quantile", "0.5")], 2.0),
    ("rpc", &[("quantile", "0.99")], 2.5),
    ("rpc_count", &[], 8.0),
    ("rpc_sum", &[], 4.5),
];

/// The samples of [`otlp`].
pub(crate) fn otlp_samples(way: &str) -> Vec<Sample> {
    let sample = |metric: &str, labels: &[(&str, &str)], second: i64, value: f64| {
        Sample::new(metric, micros(second), value)
            .with(&[
                ("service.name", "shop"),
                (WAY_LABEL, way),
                ("replicas", "3"),
                ("zones", "[\"a\",true]"),
                ("otel.scope.name", "checkout"),
            ])
            .with(labels)
    };
    let mut samples: Vec<Sample> = (0..POINTS)
        .map(|i| sample("room.temperature", &[("room", "büro")], i, i as f64 / 8.0))
        .collect();
    samples.extend(
        AT_TEN
            .iter()
            .map(|(metric, labels, value)| sample(metric, labels, 10, *value)),
    );
    samples
}

/// Lines of line protocol: every type of field, text that is no sample, a tag with a space, several times of a series.
pub(crate) fn lines(way: &str) -> String {
    let disk = (0..POINTS).map(|i| {
        let time = nanos(i);
        format!(
            "disk,{WAY_LABEL}={way},host=web1,path=/a\\ b free={}i,used_percent={} {time}\n",
            i << 40,
            i as f64 / 8.0
        )
    });
    let time = nanos(5);
    let one = format!(
        "cpu,{WAY_LABEL}={way},host=büro,cpu=cpu0 idle=98.5,steal=-1e-3,online=true,throttled=false,model=\"a \\\"b\\\", c\",cores=8u {time}\n"
    );
    disk.chain([one]).collect()
}

/// The samples of [`lines`].
pub(crate) fn line_samples(way: &str) -> Vec<Sample> {
    let disk = |metric: &str, i: i64, value: f64| {
        Sample::new(metric, micros(i), value).with(&[
            (WAY_LABEL, way),
            ("host", "web1"),
            ("path", "/a b"),
        ])
    };
    let cpu = |metric: &str, value: f64| {
        Sample::new(metric, micros(5), value).with(&[
            (WAY_LABEL, way),
            ("host", "büro"),
            ("cpu", "cpu0"),
        ])
    };
    let mut samples: Vec<Sample> = (0..POINTS)
        .flat_map(|i| {
            [
                disk("disk_free", i, (i << 40) as f64),
                disk("disk_used_percent", i, i as f64 / 8.0),
            ]
        })
        .collect();
    samples.extend([
        cpu("cpu_idle", 98.5),
        cpu("cpu_steal", -1e-3),
        cpu("cpu_online", 1.0),
        cpu("cpu_throttled", 0.0),
        cpu("cpu_cores", 8.0),
    ]);
    samples
}
