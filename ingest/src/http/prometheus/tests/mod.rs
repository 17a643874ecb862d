//! Tests of the remote write decoders against messages that prost writes and reads: version 1.0 here, 2.0 in `symbols.rs`.

mod symbols;

use proptest::prelude::*;
use prost::Message;
use rstest::rstest;
use schemas::{Kind, Labels};

use super::super::refusal::Undecodable;
use super::{decode, decode_with_symbols};
use crate::door::{Batcher, Rejections};
use crate::memory_bus::{Row, rows_of_all};

// The messages of prometheus/prompb, version 1. Strings are bytes here: what is no UTF-8 must be told apart from what is no protobuf.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}
#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    // Not looked into.
    #[prost(bytes = "vec", repeated, tag = "3")]
    exemplars: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    histograms: Vec<Vec<u8>>,
}
#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}
#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    pairs
        .iter()
        .map(|(name, value)| Label {
            name: name.as_bytes().into(),
            value: value.as_bytes().into(),
        })
        .collect()
}

fn one(pairs: &[(&str, &str)], samples: &[(f64, i64)]) -> TimeSeries {
    let samples = samples
        .iter()
        .map(|(value, timestamp)| Sample {
            value: *value,
            timestamp: *timestamp,
        })
        .collect();
    TimeSeries {
        labels: labels(pairs),
        samples,
        ..TimeSeries::default()
    }
}

fn request(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    WriteRequest { timeseries }.encode_to_vec()
}

fn door() -> Batcher {
    Batcher::new(1, 1 << 20, 1_000_000)
}

fn decoded(body: &[u8], door: &mut Batcher) -> Result<(Vec<Row>, Rejections), Undecodable> {
    let decoded = decode(body, door);
    if decoded.is_err() {
        door.discard();
    }
    decoded?;
    let (records, rejections) = door.finish().unwrap();
    Ok((rows_of_all(&records), rejections))
}

/// What a message means, said plainly: the accepted samples and the number of refused ones.
fn meaning(request: &WriteRequest) -> (Vec<Row>, u64) {
    let (mut rows, mut refused) = (Vec::new(), 0);
    for series in &request.timeseries {
        refused += series.histograms.len() as u64;
        let texts: Option<Vec<(&str, &str)>> = series
            .labels
            .iter()
            .map(|label| {
                Some((
                    std::str::from_utf8(&label.name).ok()?,
                    std::str::from_utf8(&label.value).ok()?,
                ))
            })
            .collect();
        let named = texts.and_then(|texts| {
            let (names, others): (Vec<_>, Vec<_>) =
                texts.into_iter().partition(|(name, _)| *name == "__name__");
            let labels = Labels::try_new(others).ok()?;
            let [(_, metric)] = names[..] else {
                return None;
            };
            (1..=1024)
                .contains(&metric.len())
                .then_some((metric, labels))
        });
        for sample in &series.samples {
            match (&named, sample.timestamp.checked_mul(1000)) {
                (Some((metric, labels)), Some(time @ 0..9_214_646_400_000_000)) => {
                    rows.push((
                        metric.to_string(),
                        labels.to_string(),
                        Kind::guess(metric) as u8,
                        time,
                        sample.value.to_bits(),
                    ));
                }
                _ => refused += 1,
            }
        }
    }
    (rows, refused)
}

fn check_against_prost(body: &[u8]) {
    match (WriteRequest::decode(body), decoded(body, &mut door())) {
        (Ok(message), Ok((rows, rejections))) => {
            assert_eq!((rows, rejections.samples()), meaning(&message))
        }
        (Err(_), Err(Undecodable::Malformed(_))) => {}
        // Groups left the language in 2008; prost still skips them.
        (Ok(_), Err(Undecodable::Malformed(malformed)))
            if malformed.problem.starts_with("wire type 3") => {}
        (oracle, ours) => panic!("prost: {oracle:?}\nours: {ours:?}\nbody: {body:02x?}"),
    }
}

fn any_series() -> impl Strategy<Value = TimeSeries> {
    let key =
        prop_oneof![4 => Just("__name__".to_owned()), 6 => "[a-c]{1,2}", 1 => Just(String::new())]
            .prop_map(String::into_bytes);
    let value = prop_oneof![8 => "[a-z_]{1,6}".prop_map(String::into_bytes), 1 => Just(vec![0xff, 0xfe]), 1 => Just(vec![])];
    let label = (key, value).prop_map(|(name, value)| Label { name, value });
    let time = prop_oneof![4 => 0..2_000_000_000_000i64, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let sample = (any::<u64>(), time).prop_map(|(bits, timestamp)| Sample {
        value: f64::from_bits(bits),
        timestamp,
    });
    (
        prop::collection::vec(label, 0..5),
        prop::collection::vec(sample, 0..4),
    )
        .prop_map(|(labels, samples)| TimeSeries {
            labels,
            samples,
            ..TimeSeries::default()
        })
}

proptest! {
    #[test]
    fn decodes_what_prost_encodes(series in prop::collection::vec(any_series(), 0..8)) {
        check_against_prost(&request(series));
    }

    #[test]
    fn agrees_with_prost_on_flipped_bits(series in prop::collection::vec(any_series(), 1..4), flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4)) {
        let mut body = request(series);
        prop_assume!(!body.is_empty());
        for (index, bit) in flips {
            let at = index.index(body.len());
            body[at] ^= 1 << (bit % 8);
        }
        check_against_prost(&body);
    }

    #[test]
    fn agrees_with_prost_on_noise(body in prop::collection::vec(any::<u8>(), 0..64)) {
        check_against_prost(&body);
    }
}

#[test]
fn agrees_with_prost_on_truncation_at_every_byte() {
    let body = request(vec![
        one(
            &[("__name__", "up"), ("job", "a"), ("instance", "b:1")],
            &[(1.0, 1_700_000_000_000), (f64::NAN, 1_700_000_001_000)],
        ),
        one(
            &[("__name__", "requests_total"), ("job", "a")],
            &[(-0.0, i64::MAX)],
        ),
    ]);
    for end in 0..=body.len() {
        check_against_prost(&body[..end]);
    }
}

#[test]
fn a_warm_memory_gives_the_same_samples() {
    let body = request(
        (0..50)
            .map(|i| {
                one(
                    &[("__name__", "up"), ("instance", &format!("host{}", i % 7))],
                    &[(f64::from(i), 1)],
                )
            })
            .collect(),
    );
    let mut door = door();
    let first = decoded(&body, &mut door).unwrap();
    assert_eq!(first, decoded(&body, &mut door).unwrap());
    assert_eq!(first.0.len(), 50);
}

#[rstest]
#[case::no_name(&[("job", "a")], "series 0 (byte 2): the metric name is empty or missing")]
#[case::empty_name(&[("__name__", ""), ("job", "a")], "series 0 (byte 2): the metric name is empty or missing")]
#[case::two_names(&[("__name__", "a"), ("__name__", "b")], "series 0 (byte 2): label `__name__` occurs twice; a label key must be unique within a series")]
#[case::twice(&[("__name__", "a"), ("b", "1"), ("b", "1")], "series 0 (byte 2): label `b` occurs twice; a label key must be unique within a series")]
#[case::empty_key(&[("__name__", "a"), ("", "1")], "series 0 (byte 2): a label has an empty name (its value is `1`); a label needs a name")]
fn a_series_that_cannot_be_taken_is_rejected_and_the_next_is_taken(
    #[case] pairs: &[(&str, &str)],
    #[case] expected: &str,
) {
    let body = request(vec![
        one(pairs, &[(1.0, 1), (2.0, 2)]),
        one(&[("__name__", "up"), ("empty", "")], &[(1.0, 1)]),
    ]);
    let (rows, rejections) = decoded(&body, &mut door()).unwrap();
    assert_eq!(rows, [("up".into(), "{}".into(), 0, 1000, 1f64.to_bits())]);
    assert_eq!(rejections.samples(), 2);
    assert_eq!(rejections.first()[0].to_string(), expected);
}

#[test]
fn label_limits_hold() {
    let value = "x".repeat(1024 * 1024);
    let many: Vec<(String, String)> = (0..10_000)
        .map(|i| (format!("k{i}"), "v".to_owned()))
        .collect();
    let mut many: Vec<(&str, &str)> = many
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    many.push(("__name__", "up"));
    for (pairs, expected) in [
        (
            vec![("__name__", "up"), ("a", value.as_str())],
            "1048576 bytes",
        ),
        (many, "10001 labels"),
    ] {
        let (rows, rejections) =
            decoded(&request(vec![one(&pairs, &[(1.0, 1)])]), &mut door()).unwrap();
        assert_eq!((rows.len(), rejections.samples()), (0, 1));
        assert!(
            rejections.first()[0].to_string().contains(expected),
            "{}",
            rejections.first()[0]
        );
    }
}

#[test]
fn labels_and_samples_may_stand_in_any_order() {
    let series = one(&[("__name__", "up"), ("job", "a")], &[(1.0, 1)]);
    let sample = TimeSeries {
        samples: series.samples.clone(),
        ..TimeSeries::default()
    }
    .encode_to_vec();
    let [first, second] = [0, 1].map(|i| {
        TimeSeries {
            labels: vec![series.labels[i].clone()],
            ..TimeSeries::default()
        }
        .encode_to_vec()
    });
    let exemplar = vec![0x1a, 0];
    for parts in [
        [&sample, &first, &second, &exemplar],
        [&first, &sample, &second, &exemplar],
        [&second, &exemplar, &first, &sample],
    ] {
        let inner: Vec<u8> = parts.into_iter().flatten().copied().collect();
        let body = [vec![0x0a, inner.len() as u8], inner].concat();
        assert_eq!(
            decoded(&body, &mut door()).unwrap().0,
            [("up".into(), "{job=\"a\"}".into(), 0, 1000, 1f64.to_bits())]
        );
    }
}

#[test]
fn a_malformed_body_says_where() {
    let mut body = request(vec![one(&[("__name__", "up")], &[(1.0, 1)])]);
    body[1] = 100;
    let error = decoded(&body, &mut door()).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "malformed body at byte 1, WriteRequest field 1: 100 bytes are announced, {} are left",
            body.len() - 2
        )
    );
}

#[test]
fn too_many_samples_end_the_request() {
    let body = request(vec![one(
        &[("__name__", "up")],
        &[(1.0, 1), (1.0, 2), (1.0, 3)],
    )]);
    let mut door = Batcher::new(1, 1 << 20, 2);
    assert!(matches!(
        decoded(&body, &mut door),
        Err(Undecodable::TooManySamples(_))
    ));
    assert!(
        decoded(
            &request(vec![one(&[("__name__", "up")], &[(1.0, 1)])]),
            &mut door
        )
        .is_ok()
    );
}

#[test]
fn native_histograms_are_refused_and_exemplars_counted() {
    let series = TimeSeries {
        exemplars: vec![vec![]; 3],
        histograms: vec![vec![]; 2],
        ..one(&[("__name__", "up")], &[(1.0, 1)])
    };
    let mut door = door();
    assert_eq!(decode(&request(vec![series]), &mut door).unwrap(), 3);
    let (records, rejections) = door.finish().unwrap();
    assert_eq!((rows_of_all(&records).len(), rejections.samples()), (1, 2));
    let message = rejections.first()[0].to_string();
    assert!(
        message.starts_with("series 0 (byte 2): a native histogram"),
        "{message}"
    );
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
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            / 1024
    };
    let empty_series = [0x0a, 0x00].repeat(16 << 20);
    // One series of millions of labels `{"": "a"}`, then a sample.
    let mut labels = [0x0a, 0x03, 0x12, 0x01, b'a'].repeat(4 << 20);
    labels.extend([0x12, 0x02, 0x10, 0x01]);
    let length = labels.len() as u32;
    let varint: Vec<u8> = (0..5)
        .map(|i| ((length >> (7 * i)) & 0x7f) as u8 | if i < 4 { 0x80 } else { 0 })
        .collect();
    let many_labels = [vec![0x0a], varint, labels].concat();
    let before = resident();
    assert_eq!(
        decoded(&empty_series, &mut door()).unwrap(),
        (vec![], Rejections::default())
    );
    assert_eq!(decoded(&many_labels, &mut door()).unwrap().1.samples(), 1);
    assert!(
        resident() < before + 400,
        "{} MiB became {} MiB",
        before,
        resident()
    );
}
