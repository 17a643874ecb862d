//! Tests of foreign records: what is taken of good, bad and half good ones among each other, and what bad ones look like.

use bus::HeaderName;
use bytes::Bytes;
use rstest::rstest;
use serde_json::json;

use super::decoder::{Decoded, Decoder, SourceRecord};
use super::format::{Format, Reading};
use super::guess::guess;
use crate::door::Batcher;
use crate::http::LineUnit;
use crate::memory_bus::{MemoryBus, Row, rows_of_all};

const NOW: i64 = 1_800_000_000_000_000;

/// What a batcher holds, samples as `metric{labels} value @time kind`, then rejections as `! place: reason`.
pub(crate) fn shown(door: &mut Batcher) -> Vec<String> {
    let (records, rejections) = door.finish().unwrap();
    let samples = rows_of_all(&records);
    let samples = samples.iter().map(show);
    let refused = rejections
        .first()
        .iter()
        .map(|refused| format!("! {refused}"));
    samples.chain(refused).collect()
}

fn show((metric, labels, kind, time, value): &Row) -> String {
    format!("{metric}{labels} {} @{time} {kind}", f64::from_bits(*value))
}

/// A record of one partition.
struct Given {
    offset: i64,
    value: Option<Vec<u8>>,
}

impl SourceRecord for Given {
    fn topic(&self) -> &str {
        "t"
    }

    fn partition(&self) -> i32 {
        5
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn time_ms(&self) -> Option<i64> {
        Some(1_000 + self.offset)
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn key(&self) -> Bytes {
        Bytes::from_static(b"key")
    }

    fn headers(&self) -> Vec<(HeaderName, Bytes)> {
        vec![("h".into(), Bytes::from_static(b"1"))]
    }
}

fn given(values: impl IntoIterator<Item = Option<Vec<u8>>>) -> Vec<Given> {
    values
        .into_iter()
        .enumerate()
        .map(|(offset, value)| Given {
            offset: offset as i64,
            value,
        })
        .collect()
}

fn decoder(format: Format, samples_max: usize) -> Decoder {
    let reading = Reading {
        format,
        unit: LineUnit::Auto,
    };
    let publisher = MemoryBus::new().publisher(1);
    Decoder::new("s", reading, &publisher, 1 << 20, samples_max)
}

/// All that comes of some records: samples, reasons with the offset they are of, and tombstones.
fn taken(decoder: &mut Decoder, records: &[Given]) -> (Vec<String>, Vec<(usize, String)>, usize) {
    let (mut samples, mut reasons, mut tombstones, mut at) = (Vec::new(), Vec::new(), 0, 0);
    while at < records.len() {
        let Decoded {
            taken,
            records: batches,
            letters,
            tombstones: dead,
            ..
        } = decoder.take(&records[at..], NOW).unwrap();
        assert!(taken > 0, "nothing was taken at {at}");
        samples.extend(rows_of_all(&batches).iter().map(show));
        reasons.extend(
            letters
                .iter()
                .map(|letter| (at + letter.index, letter.trouble.to_string())),
        );
        tombstones += dead;
        at += taken;
    }
    (samples, reasons, tombstones)
}

#[test]
fn one_bad_record_spoils_no_other() {
    let line = |text: &str| Some(text.as_bytes().to_vec());
    let records = given([
        line("cpu,host=a v=1 1700000000"),
        line("garbage"),
        None,
        line("cpu,host=a v=2"),
        line("cpu,host=a v=3 1700000001\ncpu,host=a v=\ncpu,host=a v=4 1700000002"),
        line("# a comment"),
        line(""),
        line("cpu,host=a v=5 1700000003"),
    ]);
    let (samples, reasons, tombstones) = taken(&mut decoder(Format::Influx, 100), &records);
    assert_eq!(
        samples,
        [
            "cpu_v{host=\"a\"} 1 @1700000000000000 0",
            // The record's own time, so that reading it again gives the same sample.
            "cpu_v{host=\"a\"} 2 @1003000 0",
            "cpu_v{host=\"a\"} 3 @1700000001000000 0",
            "cpu_v{host=\"a\"} 4 @1700000002000000 0",
            "cpu_v{host=\"a\"} 5 @1700000003000000 0",
        ]
    );
    let told: Vec<usize> = reasons.iter().map(|(offset, _)| *offset).collect();
    assert_eq!((told, tombstones), (vec![1, 4, 5], 1), "{reasons:?}");
    assert!(
        reasons[0]
            .1
            .starts_with("configured influx; looks like text: nothing could be taken: line 1"),
        "{reasons:?}"
    );
    assert!(
        reasons[1]
            .1
            .starts_with("configured influx: 2 samples were stored, 1 rejected: line 2"),
        "{reasons:?}"
    );
    assert!(
        reasons[2].1.ends_with(": it holds no metrics"),
        "{reasons:?}"
    );
}

/// A metric of Telegraf, cut off behind its first fields or not.
fn telegraf(value: u32, is_whole: bool) -> Option<Vec<u8>> {
    let metric = |value| json!({"fields": {"v": value}, "name": "a", "tags": {}, "timestamp": 1_700_000_000});
    let text = format!("{}\n{}", metric(value), metric(value + 1));
    let bytes = if is_whole { text.len() } else { text.len() - 1 };
    Some(text.as_bytes()[..bytes].to_vec())
}

#[test]
fn samples_of_a_record_that_breaks_off_are_not_stored_wherever_it_stands() {
    let values = |samples: &[String]| -> Vec<String> {
        let value = |sample: &String| sample.split(' ').nth(1).unwrap().to_owned();
        samples.iter().map(value).collect()
    };
    for broken in [
        vec![0],
        vec![3],
        vec![0, 1, 2],
        vec![1, 3, 5],
        vec![5],
        (0..6).collect(),
    ] {
        let records =
            given((0..6).map(|index| telegraf(10 * index, !broken.contains(&(index as usize)))));
        let (samples, reasons, _) = taken(&mut decoder(Format::TelegrafJson, 100), &records);
        let whole = (0..6u32).filter(|index| !broken.contains(&(*index as usize)));
        let expected: Vec<String> = whole
            .flat_map(|index| [(10 * index).to_string(), (10 * index + 1).to_string()])
            .collect();
        assert_eq!(values(&samples), expected, "{broken:?}");
        let told: Vec<usize> = reasons.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(told, broken);
    }
}

#[test]
fn the_limit_of_samples_is_that_of_a_record_and_not_of_those_before() {
    let lines = |count: usize| Some("cpu v=1 1700000000\n".repeat(count).into_bytes());
    let records = given([lines(60), lines(60), lines(101), lines(60)]);
    let (samples, reasons, _) = taken(&mut decoder(Format::Influx, 100), &records);
    assert_eq!(samples.len(), 180);
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0].0, 2);
    assert!(
        reasons[0].1.contains("more than 100 samples"),
        "{reasons:?}"
    );
}

fn otlp_json() -> Vec<u8> {
    json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "a"}}]},
        "scopeMetrics": [{"metrics": [{"name": "load", "gauge": {"dataPoints": [
            {"timeUnixNano": "1700000000000000000", "asDouble": 0.5}]}}]}],
    }]})
    .to_string()
    .into_bytes()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    message.extend_from_slice(bytes);
    message
}

/// A request of OpenTelemetry with one gauge, as protobuf.
fn otlp_proto() -> Vec<u8> {
    let mut point = vec![3 << 3 | 1];
    point.extend_from_slice(&1_700_000_000_000_000_000u64.to_le_bytes());
    point.push(4 << 3 | 1);
    point.extend_from_slice(&0.5f64.to_le_bytes());
    let mut metric = field(1, b"load");
    metric.extend(field(5, &field(1, &point)));
    let attribute = [field(1, b"host.name"), field(2, &field(1, b"a"))].concat();
    let resource = field(1, &field(1, &attribute));
    let scope = field(2, &field(2, &metric));
    field(1, &[resource, scope].concat())
}

/// The same as spans: as deep, and with a resource, but no metrics.
fn traces() -> Vec<u8> {
    let attribute = [field(1, b"service.name"), field(2, &field(1, b"a"))].concat();
    let span = [vec![1 << 3 | 1], vec![7; 8], field(5, b"GET /")].concat();
    let resource = field(1, &field(1, &attribute));
    field(1, &[resource, field(2, &field(2, &span))].concat())
}

/// A remote write request with one series, in a snappy block.
fn remote_write() -> Vec<u8> {
    let label = |name: &[u8], value: &[u8]| field(1, &[field(1, name), field(2, value)].concat());
    let mut sample = vec![1 << 3 | 1];
    sample.extend_from_slice(&1.5f64.to_le_bytes());
    sample.extend_from_slice(&[2 << 3, 0x80, 0x01]);
    let series = [label(b"__name__", b"up"), field(2, &sample)].concat();
    snap::raw::Encoder::new()
        .compress_vec(&field(1, &series))
        .unwrap()
}

/// A body of each format.
fn good(format: Format) -> Vec<u8> {
    match format {
        Format::OtlpProto => otlp_proto(),
        Format::OtlpJson => otlp_json(),
        Format::Influx => b"cpu,host=a v=1 1700000000".to_vec(),
        Format::TelegrafJson => telegraf(1, true).unwrap(),
        Format::RemoteWrite => remote_write(),
        Format::NativeJson => br#"{"metric":{"name":"a","gauge":{"value":1}}}"#.to_vec(),
        Format::JsonLines => br#"{"metric":"cpu","value":1}"#.to_vec(),
    }
}

#[test]
fn lines_behind_a_framing_are_no_lines() {
    for head in [b"\x00\x00\x00\x00\x07".as_slice(), b"\x1f\x8b\x08"] {
        let framed = [head, b"cpu,host=a v=1 1700000000"].concat();
        let records = given([Some(framed)]);
        let (samples, reasons, _) = taken(&mut decoder(Format::Influx, 100), &records);
        assert_eq!((samples.len(), reasons.len()), (0, 1), "{reasons:?}");
    }
}

#[test]
fn every_format_is_told_from_every_other() {
    for configured in Format::ALL {
        for sent in Format::ALL {
            let records = given([Some(good(sent))]);
            let (samples, reasons, _) = taken(&mut decoder(configured, 100), &records);
            if configured == sent {
                assert!(
                    !samples.is_empty() && reasons.is_empty(),
                    "{sent}: {reasons:?}"
                );
                continue;
            }
            let expected = format!("configured {configured}; looks like {sent}: ");
            assert_eq!(samples.len(), 0, "{sent} as {configured}");
            assert!(reasons[0].1.starts_with(&expected), "{sent}: {reasons:?}");
        }
    }
}

#[rstest]
#[case(b"\x1f\x8b\x08\x00abc".to_vec(), "gzip (compress on the topic instead: Kafka does it by itself)")]
#[case(b"\x28\xb5\x2f\xfdabc".to_vec(), "zstd (compress on the topic instead: Kafka does it by itself)")]
#[case(b"\x00\x00\x00\x00\x11\x02abc".to_vec(), "a schema registry's framing, schema 17")]
#[case(otlp_proto()[..30].to_vec(), "protobuf, cut off: 30 bytes of at least 54")]
#[case(otlp_json()[..100].to_vec(), "otlp_json, cut off after 100 bytes")]
#[case(br#"{"resourceLogs":[]}"#.to_vec(), "otlp_json of logs")]
#[case(br#"{"resourceSpans":[{}]}"#.to_vec(), "otlp_json of traces")]
#[case(traces(), "otlp_proto of logs or traces")]
#[case(br#"{"log":{"message":"x"}}"#.to_vec(), "a log event of Vector")]
#[case(br#"{"a":1}"#.to_vec(), "JSON of another shape")]
#[case(br#"{"a":1,]"#.to_vec(), "JSON of another shape, broken at byte 7")]
#[case(b"servers.web1.load 0.5 1700000000".to_vec(), "Graphite's plaintext")]
#[case(b"# TYPE up gauge\nup 1\n".to_vec(), "a page of Prometheus metrics")]
#[case(b"hello world".to_vec(), "text")]
#[case(b"   ".to_vec(), "nothing")]
#[case(vec![0xff; 300], "binary data")]
#[case(vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "binary data")]
fn what_is_no_format_is_named_all_the_same(#[case] value: Vec<u8>, #[case] expected: &str) {
    let found = guess(&value, Format::Influx, NOW);
    assert_eq!((found.words.as_ref(), found.format), (expected, None));
}

proptest::proptest! {
    /// Whatever the bytes: decoders and guesses end, nothing panics, and what is stored is stored of whole records only.
    #[test]
    fn any_bytes_are_samples_or_a_letter(value in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..200), cut in 0..100usize) {
        for format in Format::ALL {
            let good = good(format);
            let part = good[..good.len() * cut / 100].to_vec();
            let records = given([Some(good.clone()), Some(value.clone()), Some(part), Some(good)]);
            let (samples, reasons, _) = taken(&mut decoder(format, 1000), &records);
            proptest::prop_assert!(!samples.is_empty(), "{}", format);
            proptest::prop_assert!(reasons.len() <= 2, "{}: {:?}", format, reasons);
        }
    }
}
