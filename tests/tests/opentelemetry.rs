//! The real OpenTelemetry SDK for Python exports to the real program, over HTTP and as gRPC: every data point is there, with its value and its labels.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use tests::agents::Way;
use tests::process::{Launch, free_address};

/// Makes metrics of every type, exports them three times, and prints what it exported: one line of JSON per series and time.
const SCRIPT: &str = r#"
import json, math, sys, time
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

# Where to is told by the environment.
kind, temporality = sys.argv[1:3]
if kind == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
else:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

def text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return json.dumps(list(value), separators=(",", ":"))
    return "%g" % value if isinstance(value, float) else str(value)

def tell(labels, name, point, value, **more):
    print(json.dumps({"metric": name, "labels": labels | more, "us": point.time_unix_nano // 1000, "value": float(value)}))

def tell_buckets(labels, name, point, bounds_and_counts):
    running = 0
    for bound, count in bounds_and_counts:
        running += count
        tell(labels, name + "_bucket", point, running, le=repr(float(bound)))
    tell(labels, name + "_bucket", point, point.count, le="inf")
    tell(labels, name + "_count", point, point.count)
    tell(labels, name + "_sum", point, point.sum)
    tell(labels, name + "_min", point, point.min)
    tell(labels, name + "_max", point, point.max)

def exponential(point):
    # Four buckets per doubling, or as coarse as the point is.
    shift, scale = max(0, point.scale - 2), min(point.scale, 2)
    ladder = lambda side: [(side.offset + i >> shift, count) for i, count in enumerate(side.bucket_counts)]
    merged = lambda pairs: [(index, sum(c for i, c in pairs if i == index)) for index in sorted({i for i, _ in pairs})]
    negative = [(-(2.0 ** (i / 2.0 ** scale)), c) for i, c in reversed(merged(ladder(point.negative)))]
    positive = [(2.0 ** ((i + 1) / 2.0 ** scale), c) for i, c in merged(ladder(point.positive))]
    return negative + [(0.0, point.zero_count)] + positive

class Telling(OTLPMetricExporter):
    def export(self, metrics_data, *args, **kwargs):
        result = super().export(metrics_data, *args, **kwargs)
        assert result is MetricExportResult.SUCCESS, result
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    delta = getattr(metric.data, "aggregation_temporality", None) == AggregationTemporality.DELTA
                    for point in metric.data.data_points:
                        labels = {k: text(v) for k, v in (dict(resource.resource.attributes) | {"otel.scope.name": scope.scope.name}
                                  | dict(point.attributes) | ({"temporality": "delta"} if delta else {})).items()}
                        if hasattr(point, "explicit_bounds"):
                            tell_buckets(labels, metric.name, point, list(zip(point.explicit_bounds, point.bucket_counts)))
                        elif hasattr(point, "scale"):
                            tell_buckets(labels, metric.name, point, exponential(point))
                        else:
                            tell(labels, metric.name, point, point.value)
        return result

preferred = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA} if temporality == "delta" else {}
reader = PeriodicExportingMetricReader(Telling(preferred_temporality=preferred), export_interval_millis=math.inf)
provider = MeterProvider(
    metric_readers=[reader], views=[View(instrument_name="*.exponential", aggregation=ExponentialBucketHistogramAggregation())],
    resource=Resource.create({"service.name": "shop " + kind, "host.name": "büro", "replicas": 3, "zones": ["a", "b"]}))
meter = provider.get_meter("checkout", "1.2.3")
requests = meter.create_counter("http.requests", unit="1")
queue = meter.create_up_down_counter("queue.length")
duration = meter.create_histogram("http.duration", unit="s")
fine = meter.create_histogram("http.duration.exponential", unit="s")
meter.create_observable_gauge("room.temperature", [lambda _: [Observation(21.5, {"room": "a"}), Observation(-3, {"room": "b"})]])
for turn in range(3):
    for i in range(50):
        requests.add(i % 3, {"code": 200 + i % 2, "cached": i % 2 == 0})
        queue.add(1 if i % 3 else -1)
        duration.record(i * 1.7 ** turn, {"path": "/a b"})
        fine.record(i * 0.013 * 7.0 ** turn)
    assert provider.force_flush()
    time.sleep(0.01)
"#;

/// A series and a time. A bucket's bound is compared as a number: how it is written is no matter of this test.
type Key = (String, BTreeMap<String, String>, i64);

fn key(row: &Value, time_us: i64) -> Key {
    let mut labels: BTreeMap<String, String> =
        serde_json::from_value(row["labels"].clone()).unwrap();
    if let Some(bound) = labels.get_mut("le") {
        *bound = format!("{:.12e}", bound.parse::<f64>().unwrap());
    }
    (row["metric"].as_str().unwrap().to_owned(), labels, time_us)
}

/// Runs the script and compares what it says it exported with what SQL answers.
fn check(kind: &str, temporality: &str) {
    if !tests::audit::is_available("opentelemetry") {
        return;
    }
    let mut way = Way::of(
        "OpenTelemetry SDK, Python",
        &format!("{kind}, {temporality}"),
    );
    let directory = tempfile::tempdir().unwrap();
    let port = free_address();
    let launch =
        Launch::new(directory.path()).env("TIDEWATCH__RECEIVERS__OTLP__LISTEN", &port.to_string());
    let process = launch.start_ready();
    // The server's own address and a port of OpenTelemetry's own take both protocols.
    let address = if temporality == "delta" {
        port
    } else {
        process.address()
    };
    let settings =
        tests::agents::settings("opentelemetry", &[("127.0.0.1:7744", address.to_string())]);
    let variables = settings
        .lines()
        .filter_map(|line| line.strip_prefix("export "))
        .flat_map(|line| line.split(' '))
        .filter_map(|pair| pair.split_once('='));
    let output = Command::new(tests::python::venv::interpreter().unwrap())
        .args(["-c", SCRIPT, kind, temporality])
        .envs(variables)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the SDK failed: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        process.log()
    );
    let mut expected = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let key = key(&row, row["us"].as_i64().unwrap());
        let before = expected.insert(key, row["value"].as_f64().unwrap());
        assert_eq!(before, None, "the script told {line} twice");
    }
    assert!(
        expected.len() > 150,
        "only {} samples to compare",
        expected.len()
    );
    let rows = process.sql("SELECT metric, labels, CAST(time AS BIGINT) AS us, value FROM samples");
    let found: BTreeMap<Key, f64> = rows
        .iter()
        .map(|row| {
            (
                key(row, row["us"].as_i64().unwrap()),
                row["value"].as_f64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows.len(), found.len());
    for (key, value) in &expected {
        assert_eq!(found.get(key), Some(value), "{key:?}");
    }
    assert_eq!(found.len(), expected.len(), "there is more than was sent");
    way.has_arrived(&format!("{} samples", expected.len()));
    process.stop_cleanly();
}

#[test]
fn running_totals_arrive_over_http() {
    check("http", "cumulative");
}

#[test]
fn increases_arrive_over_http() {
    check("http", "delta");
}

#[test]
fn running_totals_arrive_by_grpc() {
    check("grpc", "cumulative");
}

#[test]
fn increases_arrive_by_grpc() {
    check("grpc", "delta");
}
