//! Remote write 2.0: symbols, metadata, and what is wrong with them.

use schemas::Kind;

use super::*;

// The messages of io.prometheus.write.v2.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(bytes = "vec", repeated, tag = "4")]
    symbols: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series>,
}
#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<StartedSample>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    histograms: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    exemplars: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
}
#[derive(Clone, PartialEq, Message)]
struct StartedSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
}

const SYMBOLS: [&str; 7] = ["", "__name__", "up", "job", "a", "requests_total", "b"];

fn request(timeseries: Vec<Series>) -> Vec<u8> {
    let symbols = SYMBOLS.map(|symbol| symbol.as_bytes().to_vec()).to_vec();
    Request {
        symbols,
        timeseries,
    }
    .encode_to_vec()
}

fn series(labels_refs: &[u32], values: &[f64]) -> Series {
    let samples = values.iter().map(|value| StartedSample {
        value: *value,
        timestamp: 1,
        start_timestamp: -5,
    });
    Series {
        labels_refs: labels_refs.to_vec(),
        samples: samples.collect(),
        ..Series::default()
    }
}

/// The rows, what was refused, and the number of what was left out.
fn read(body: &[u8], door: &mut Batcher) -> Result<(Vec<Row>, Rejections, usize), Undecodable> {
    let skipped = decode_with_symbols(body, door);
    if skipped.is_err() {
        door.discard();
    }
    let skipped = skipped?;
    let (records, rejections) = door.finish().unwrap();
    Ok((rows_of_all(&records), rejections, skipped))
}

#[test]
fn symbols_become_labels_and_metadata_the_kind() {
    let of_kind = |kind: i32, labels: &[u32]| Series {
        metadata: Some(Metadata { kind, help_ref: 4 }),
        ..series(labels, &[1.0])
    };
    let body = request(vec![
        series(&[1, 2, 3, 4], &[1.0]),
        series(&[3, 6, 1, 5], &[1.0]),
        of_kind(1, &[1, 2]),
        of_kind(2, &[1, 5]),
        of_kind(3, &[1, 5]),
    ]);
    let row = |metric: &str, labels: &str, kind: Kind| {
        (
            metric.to_owned(),
            labels.to_owned(),
            kind as u8,
            1000,
            1f64.to_bits(),
        )
    };
    let expected = [
        row("up", "{job=\"a\"}", Kind::Gauge),
        row("requests_total", "{job=\"b\"}", Kind::Counter),
        row("up", "{}", Kind::Counter),
        row("requests_total", "{}", Kind::Gauge),
        row("requests_total", "{}", Kind::Counter),
    ];
    let mut door = door();
    for _ in 0..2 {
        let (rows, rejections, _) = read(&body, &mut door).unwrap();
        assert_eq!(rows, expected);
        assert!(rejections.is_empty());
    }
}

/// Numbers of symbols mean something in their request only: what is remembered must not depend on them.
#[test]
fn the_same_numbers_mean_other_labels_in_another_request() {
    let of = |metric: &str| {
        let symbols = ["", "__name__", metric].map(|symbol| symbol.as_bytes().to_vec());
        Request {
            symbols: symbols.to_vec(),
            timeseries: vec![series(&[1, 2], &[1.0])],
        }
        .encode_to_vec()
    };
    let mut door = door();
    for metric in ["up", "down", "up"] {
        assert_eq!(read(&of(metric), &mut door).unwrap().0[0].0, metric);
    }
}

/// A stale marker is a NaN of its own bits: it is kept as it is.
#[test]
fn stale_markers_are_kept_bit_for_bit() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let (rows, rejections, _) =
        read(&request(vec![series(&[1, 2], &[stale])]), &mut door()).unwrap();
    assert_eq!(rows[0].4, 0x7ff0_0000_0000_0002);
    assert!(rejections.is_empty());
}

#[rstest]
#[case::odd(series(&[1, 2, 3], &[1.0]), "3 symbols for names and values of labels; expected an even number")]
#[case::unknown_symbol(series(&[1, 2, 3, 7], &[1.0]), "a label refers to symbol 7 of 7")]
#[case::no_name(series(&[3, 4], &[1.0]), "the metric name is empty or missing")]
#[case::empty_name(series(&[1, 0], &[1.0]), "the metric name is empty or missing")]
#[case::twice(series(&[1, 2, 3, 4, 3, 6], &[1.0]), "label `job` occurs twice; a label key must be unique within a series")]
#[case::two_names(series(&[1, 2, 1, 5], &[1.0]), "label `__name__` occurs twice; a label key must be unique within a series")]
#[case::too_many(series(&[3; 10_000], &[1.0]), "257 labels in one series; at most 256 are taken")]
#[case::native_histogram(
    Series { histograms: vec![vec![]], ..series(&[1, 2], &[]) },
    "a native histogram, which is not stored; let the sender keep classic buckets too (Prometheus: `always_scrape_classic_histograms: true`)"
)]
fn a_series_that_cannot_be_taken_is_rejected_and_the_next_is_taken(
    #[case] refused: Series,
    #[case] expected: &str,
) {
    let body = request(vec![
        series(&[1, 2], &[2.0]),
        refused,
        series(&[1, 5], &[3.0]),
    ]);
    let (rows, rejections, _) = read(&body, &mut door()).unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(names, ["up", "requests_total"]);
    assert_eq!(rejections.samples(), 1);
    let message = rejections.first()[0].to_string();
    assert!(
        message.starts_with("series 1 (byte ") && message.ends_with(expected),
        "{message}"
    );
}

#[test]
fn a_first_symbol_that_is_not_empty_ends_the_request() {
    let body = Request {
        symbols: vec![b"up".to_vec()],
        timeseries: vec![],
    }
    .encode_to_vec();
    let error = read(&body, &mut door()).unwrap_err().to_string();
    assert_eq!(
        error,
        "malformed body at byte 2, Request field 4: the first symbol must be the empty string"
    );
}

#[test]
fn exemplars_are_counted() {
    let with_exemplars = Series {
        exemplars: vec![vec![]; 2],
        ..series(&[1, 2], &[1.0])
    };
    let body = request(vec![with_exemplars.clone(), with_exemplars]);
    assert_eq!(read(&body, &mut door()).unwrap().2, 4);
}

#[test]
fn truncation_at_every_byte_is_told_or_harmless() {
    let body = request(vec![
        series(&[1, 2, 3, 4], &[1.0, f64::NAN]),
        Series {
            metadata: Some(Metadata {
                kind: 1,
                help_ref: 3,
            }),
            ..series(&[1, 5], &[2.0])
        },
    ]);
    for end in 0..=body.len() {
        let (oracle, ours) = (
            Request::decode(&body[..end]).is_ok(),
            read(&body[..end], &mut door()).is_ok(),
        );
        assert_eq!(oracle, ours, "cut at byte {end}");
    }
}

proptest! {
    #[test]
    fn flipped_bits_and_noise_panic_nowhere(flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..6), noise in prop::collection::vec(any::<u8>(), 0..80)) {
        let whole = request(vec![series(&[1, 2, 3, 4], &[1.0]), series(&[1, 5], &[2.0])]);
        let mut body = whole.clone();
        for (index, bit) in flips {
            let at = index.index(body.len());
            body[at] ^= 1 << (bit % 8);
        }
        let mut door = door();
        // Whatever became of it: the next request is not touched by it.
        let _ = read(&body, &mut door);
        let _ = read(&noise, &mut door);
        prop_assert_eq!(read(&whole, &mut door).unwrap().0.len(), 2);
    }
}

/// Millions of symbols, references and series in a few megabytes.
#[test]
fn millions_of_tiny_parts_are_bounded() {
    let symbols = [0x22, 0x00].repeat((1 << 20) + 1);
    let error = read(&symbols, &mut door()).unwrap_err().to_string();
    assert!(error.ends_with("more than 1048576 symbols"), "{error}");
    let references = series(&vec![0; 4 << 20], &[1.0]);
    let (rows, rejections, _) = read(&request(vec![references]), &mut door()).unwrap();
    assert_eq!((rows.len(), rejections.samples()), (0, 1));
    let empty = [0x2a, 0x00].repeat(4 << 20);
    assert_eq!(read(&empty, &mut door()).unwrap().0, vec![]);
}
