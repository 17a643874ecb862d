//! OTLP's protobuf as prost writes it: the same samples as from JSON, in any order of fields; broken bytes and millions of tiny messages.

use proptest::prelude::*;
use prost::Message;

use super::*;

// The messages of opentelemetry-proto 1.x, as far as they are read, and one that is not: the start time.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}
#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}
#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}
#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}
#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
}
#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "5")]
    gauge: Option<Numbers>,
    #[prost(message, optional, tag = "7")]
    sum: Option<Numbers>,
    #[prost(message, optional, tag = "9")]
    histogram: Option<Histogram>,
    #[prost(message, optional, tag = "10")]
    exponential: Option<Exponential>,
    #[prost(message, optional, tag = "11")]
    summary: Option<Summary>,
}
#[derive(Clone, PartialEq, Message)]
struct Numbers {
    #[prost(message, repeated, tag = "1")]
    points: Vec<Number>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    monotonic: bool,
}
#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(double, optional, tag = "4")]
    double: Option<f64>,
    #[prost(sfixed64, optional, tag = "6")]
    int: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
}
#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}
#[derive(Clone, PartialEq, Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}
#[derive(Clone, PartialEq, Message)]
struct Exponential {
    #[prost(message, repeated, tag = "1")]
    points: Vec<ExponentialPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}
#[derive(Clone, PartialEq, Message)]
struct ExponentialPoint {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(sint32, tag = "6")]
    scale: i32,
    #[prost(message, optional, tag = "8")]
    positive: Option<Buckets>,
}
#[derive(Clone, PartialEq, Message)]
struct Buckets {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint64, repeated, tag = "2")]
    counts: Vec<u64>,
}
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    points: Vec<SummaryPoint>,
}
#[derive(Clone, PartialEq, Message)]
struct SummaryPoint {
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, tag = "5")]
    sum: f64,
    #[prost(message, repeated, tag = "6")]
    quantiles: Vec<Quantile>,
}
#[derive(Clone, PartialEq, Message)]
struct Quantile {
    #[prost(double, tag = "1")]
    quantile: f64,
    #[prost(double, tag = "2")]
    value: f64,
}
#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    int: Option<i64>,
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs
        .iter()
        .map(|(key, text)| KeyValue {
            key: (*key).into(),
            value: Some(AnyValue {
                text: Some((*text).into()),
                int: None,
            }),
        })
        .collect()
}

fn every_type() -> Request {
    let metric = |name: &str| Metric {
        name: name.into(),
        ..Metric::default()
    };
    let number = |int| Number {
        start: 1,
        time: 5_000,
        int: Some(int),
        attributes: attributes(&[("a", "1"), ("b", "2")]),
        ..Number::default()
    };
    let metrics = vec![
        Metric {
            gauge: Some(Numbers {
                points: vec![number(-1), number(2)],
                ..Numbers::default()
            }),
            ..metric("g")
        },
        Metric {
            sum: Some(Numbers {
                points: vec![number(3)],
                temporality: 2,
                monotonic: true,
            }),
            ..metric("s")
        },
        Metric {
            histogram: Some(Histogram {
                points: vec![HistogramPoint {
                    time: 5_000,
                    count: 3,
                    sum: Some(2.5),
                    counts: vec![1, 2],
                    bounds: vec![0.5],
                    attributes: attributes(&[("a", "1")]),
                }],
                temporality: 1,
            }),
            ..metric("h")
        },
        Metric {
            exponential: Some(Exponential {
                points: vec![ExponentialPoint {
                    time: 5_000,
                    count: 7,
                    scale: -1,
                    positive: Some(Buckets {
                        offset: -2,
                        counts: vec![3, 4],
                    }),
                    ..ExponentialPoint::default()
                }],
                temporality: 2,
            }),
            ..metric("e")
        },
        Metric {
            summary: Some(Summary {
                points: vec![SummaryPoint {
                    time: 5_000,
                    count: 2,
                    sum: 4.0,
                    quantiles: vec![Quantile {
                        quantile: 0.99,
                        value: 3.0,
                    }],
                }],
            }),
            ..metric("q")
        },
    ];
    Request {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: attributes(&[("service.name", "shop")]),
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(Scope { name: "lib".into() }),
                metrics,
            }],
        }],
    }
}

/// The rows of [`every_type`].
fn rows_of_every_type() -> Vec<String> {
    let common = r#"otel.scope.name="lib",service.name="shop""#;
    [
        format!(r#"g{{a="1",b="2",{common}}} g 5 -1"#),
        format!(r#"g{{a="1",b="2",{common}}} g 5 2"#),
        format!(r#"s{{a="1",b="2",{common}}} c 5 3"#),
        format!(r#"h_bucket{{a="1",le="0.5",{common},temporality="delta"}} g 5 1"#),
        format!(r#"h_bucket{{a="1",le="+Inf",{common},temporality="delta"}} g 5 3"#),
        format!(r#"h_count{{a="1",{common},temporality="delta"}} g 5 3"#),
        format!(r#"h_sum{{a="1",{common},temporality="delta"}} g 5 2.5"#),
        // Base 4: bucket -2 holds (1/16, 1/4], bucket -1 (1/4, 1].
        format!(r#"e_bucket{{le="0",{common}}} c 5 0"#),
        format!(r#"e_bucket{{le="0.25",{common}}} c 5 3"#),
        format!(r#"e_bucket{{le="1",{common}}} c 5 7"#),
        format!(r#"e_bucket{{le="+Inf",{common}}} c 5 7"#),
        format!(r#"e_count{{{common}}} c 5 7"#),
        r#"q{otel.scope.name="lib",quantile="0.99",service.name="shop"} g 5 3"#.to_owned(),
        format!(r#"q_count{{{common}}} c 5 2"#),
        format!(r#"q_sum{{{common}}} c 5 4"#),
    ]
    .to_vec()
}

#[test]
fn what_prost_writes_is_read() {
    let mut door = door();
    for _ in 0..2 {
        let (rows, rejections, _) = decoded(&every_type().encode_to_vec(), &mut door).unwrap();
        assert_eq!(rows, rows_of_every_type());
        assert!(rejections.is_empty(), "{rejections:?}");
    }
}

/// An export as opentelemetry-sdk 1.45.2 for Python wrote it: counter, up-down counter, gauge, histogram, exponential histogram, all cumulative.
#[test]
fn what_the_sdk_for_python_writes_is_read() {
    let (rows, rejections, skipped) =
        decoded(include_bytes!("sdk_python.bin"), &mut door()).unwrap();
    assert!(rejections.is_empty() && skipped == 0, "{rejections:?}");
    let of = |metric: &str| {
        let mut values: Vec<(String, String)> = Vec::new();
        for row in rows.iter().filter(|row| row.starts_with(metric)) {
            let (labels, rest) = row[metric.len()..].rsplit_once("} ").unwrap();
            let (kind, value) = rest.split_once(' ').unwrap();
            assert!(
                labels.contains("host.name=\"büro\"")
                    && labels.contains("zones=\"[\\\"a\\\",\\\"b\\\"]\""),
                "{labels}"
            );
            values.push((
                kind.to_owned(),
                value.rsplit_once(' ').unwrap().1.to_owned(),
            ));
        }
        values.sort();
        values
    };
    let one = |kind: &str, value: &str| vec![(kind.to_owned(), value.to_owned())];
    assert_eq!(of("queue.length{"), one("g", "48"));
    assert_eq!(of("http.duration_count{"), one("c", "150"));
    assert_eq!(of("http.duration.exponential_count{"), one("c", "150"));
    assert_eq!(
        of("http.requests{"),
        [one("c", "72"), one("c", "75")].concat()
    );
    assert_eq!(
        of("room.temperature{"),
        [one("g", "-3"), one("g", "21.5")].concat()
    );
    assert!(of("http.duration_bucket{").contains(&("c".to_owned(), "150".to_owned())));
    assert_eq!(rows.len(), 113);
}

/// The fields of every message of these names, in reverse.
fn reversed(body: &[u8], depth: usize) -> Vec<u8> {
    let mut wire = super::super::super::wire::Wire::new(body, "any");
    let mut fields = Vec::new();
    let mut start = 0;
    while let Ok(Some((_, value))) = wire.next() {
        let mut field = body[start..wire.at].to_vec();
        // The messages of the outer levels have tags of one byte; what is further in stays as it is.
        if let (super::super::super::wire::Value::Bytes(inner, _), true) = (value, depth > 0) {
            let turned = reversed(inner, depth - 1);
            if turned.len() == inner.len() {
                let head = field.len() - inner.len();
                field.truncate(head);
                field.extend(turned);
            }
        }
        fields.push(field);
        start = wire.at;
    }
    fields.reverse();
    fields.concat()
}

#[test]
fn fields_may_come_in_any_order() {
    // Down to the data of a metric: request, resource, scope, metric, data.
    let body = reversed(&every_type().encode_to_vec(), 4);
    assert_ne!(body, every_type().encode_to_vec());
    let mut rows = decoded(&body, &mut door()).unwrap().0;
    let mut expected = rows_of_every_type();
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected);
}

#[test]
fn truncation_at_every_byte_is_told_or_harmless() {
    let body = every_type().encode_to_vec();
    for end in 0..body.len() {
        let (oracle, ours) = (
            Request::decode(&body[..end]).is_ok(),
            decoded(&body[..end], &mut door()).is_ok(),
        );
        assert_eq!(oracle, ours, "cut at byte {end}");
    }
}

proptest! {
    #[test]
    fn flipped_bits_and_noise_panic_nowhere(flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..6), noise in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut body = every_type().encode_to_vec();
        for (index, bit) in flips {
            let at = index.index(body.len());
            body[at] ^= 1 << (bit % 8);
        }
        let mut door = door();
        // Whatever became of it: the next request is not touched by it.
        let _ = decoded(&body, &mut door);
        let _ = decoded(&noise, &mut door);
        prop_assert_eq!(decoded(&every_type().encode_to_vec(), &mut door).unwrap().0, rows_of_every_type());
    }

    #[test]
    fn buckets_add_up_at_every_scale(scale in -10i32..=20, offset in -40i32..40, counts in prop::collection::vec(0u64..1000, 1..60)) {
        let total: u64 = counts.iter().sum();
        let point = ExponentialPoint { time: 1000, count: total, scale, positive: Some(Buckets { offset, counts: counts.clone() }), ..ExponentialPoint::default() };
        let metric = Metric { name: "e".into(), exponential: Some(Exponential { points: vec![point], temporality: 2 }), ..Metric::default() };
        let request = Request { resource_metrics: vec![ResourceMetrics { resource: None, scope_metrics: vec![ScopeMetrics { scope: None, metrics: vec![metric] }] }] };
        let (rows, rejections, _) = decoded(&request.encode_to_vec(), &mut door()).unwrap();
        if !rejections.is_empty() {
            // Beyond what a double holds: only at coarse scales.
            prop_assert!(scale < -3);
            return Ok(());
        }
        let mut before = (f64::NEG_INFINITY, 0.0);
        for row in rows.iter().filter(|row| row.starts_with("e_bucket")) {
            let (_, rest) = row.split_once("le=\"").unwrap();
            let (bound, rest) = rest.split_once('"').unwrap();
            let bound: f64 = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            let count: f64 = rest.rsplit_once(' ').unwrap().1.parse().unwrap();
            prop_assert!(bound > before.0 && count >= before.1, "{:?}", rows);
            // What lies below a bound: all original buckets whose upper bound is at most it.
            let below: u64 = counts.iter().enumerate().filter(|(i, _)| {
                let upper = (f64::from(offset) + *i as f64 + 1.0) * (-f64::from(scale)).exp2();
                upper <= bound.log2() + 1e-9
            }).map(|(_, count)| count).sum();
            prop_assert_eq!(count, below as f64, "le={}: {:?}", bound, &rows);
            before = (bound, count);
        }
        prop_assert_eq!(before.1, total as f64);
    }
}

/// 16 million messages in 32 MiB: as structs they would be more than a gigabyte.
#[test]
#[cfg(target_os = "linux")]
fn millions_of_tiny_messages_take_no_memory() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        kilobytes.parse::<usize>().unwrap() / 1024
    };
    let nested = |tag: u8, inner: Vec<u8>| {
        let length = inner.len() as u32;
        let varint =
            (0..5).map(|i| ((length >> (7 * i)) & 0x7f) as u8 | if i < 4 { 0x80 } else { 0 });
        [vec![tag], varint.collect(), inner].concat()
    };
    let empty_resources = [0x0a, 0x00].repeat(8 << 20);
    // One data point with millions of empty attributes; one with millions of quantiles.
    let attributes = nested(0x2a, nested(0x0a, [0x3a, 0x00].repeat(4 << 20)));
    let quantiles = nested(0x5a, nested(0x0a, [0x32, 0x00].repeat(4 << 20)));
    let before = resident();
    for metric in [attributes, quantiles] {
        let named = [vec![0x0a, 0x01, b'm'], metric].concat();
        let body = nested(0x0a, nested(0x12, nested(0x12, named)));
        let (rows, rejections, _) = decoded(&body, &mut door()).unwrap();
        assert_eq!((rows.len(), rejections.samples()), (0, 1));
    }
    assert_eq!(
        decoded(&empty_resources, &mut door()).unwrap().0,
        Vec::<String>::new()
    );
    assert!(
        resident() < before + 400,
        "{before} MiB became {} MiB",
        resident()
    );
}
