//! Tests of the routes: what each answers, and what is in the log then. Limits, compression and outages are in `limits.rs`, limits of one sender in `own_limits.rs`, OpenTelemetry in `otlp.rs`.

mod limits;
mod otlp;
mod own_limits;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use rstest::rstest;
use tower::ServiceExt;

use super::{Limits, Receivers, router};
use crate::counters::{IngestCounters, Intake};
use crate::memory_bus::MemoryBus;

struct Rig {
    bus: Arc<MemoryBus>,
    receivers: Arc<Receivers>,
}

fn limits() -> Limits {
    Limits {
        body_bytes_max: 64 * 1024,
        decompressed_bytes_max: 128 * 1024,
        samples_max: 1000,
        in_flight_bytes_max: 2 << 20,
        decoders_max: 2,
        memo_bytes_max: 1 << 20,
        ..Limits::default()
    }
}

impl Rig {
    fn new() -> Self {
        Rig::with(limits())
    }

    fn with(limits: Limits) -> Self {
        let bus = MemoryBus::new();
        let receivers = Arc::new(Receivers::new(
            bus.publisher(3),
            limits,
            Arc::new(IngestCounters::default()),
        ));
        Rig { bus, receivers }
    }

    async fn ask(&self, request: Request<Body>) -> (Response<()>, String) {
        let (parts, body) = router(Arc::clone(&self.receivers))
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (Response::from_parts(parts, ()), text)
    }

    async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (Response<()>, String) {
        let request = headers
            .iter()
            .fold(Request::post(path), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.ask(request.body(body.into()).unwrap()).await
    }

    fn metrics(&self) -> Vec<String> {
        let mut names: Vec<String> = self.bus.rows().into_iter().map(|row| row.0).collect();
        names.sort();
        names
    }
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [
        &[number << 3 | 2, u8::try_from(bytes.len()).unwrap()],
        bytes,
    ]
    .concat()
}

/// A `WriteRequest` of series with one sample at time 1 ms: `""` as name leaves the name out.
fn remote_write(names: &[&str]) -> Vec<u8> {
    let series = names.iter().map(|name| {
        let label = field(
            1,
            &[field(1, b"__name__"), field(2, name.as_bytes())].concat(),
        );
        field(1, &[label, field(2, &[0x10, 1])].concat())
    });
    series.flatten().collect()
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const SNAPPY: (&str, &str) = ("content-encoding", "snappy");

#[tokio::test]
async fn remote_write_answers_204_when_all_is_in_the_log() {
    let rig = Rig::new();
    let (answer, body) = rig
        .post(
            "/api/v1/write",
            &[PROTOBUF, SNAPPY],
            snappy(&remote_write(&["up", "down"])),
        )
        .await;
    assert_eq!(
        (answer.status(), body.as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    assert_eq!(rig.metrics(), ["down", "up"]);
    let counters = rig.receivers.counters();
    let host = counters.of(Intake::RemoteWrite);
    assert_eq!(
        (
            host.requests.load(Ordering::Relaxed),
            host.accepted_samples.load(Ordering::Relaxed),
            host.failures.load(Ordering::Relaxed)
        ),
        (1, 2, 0)
    );
    assert_eq!(
        (
            counters.in_flight_bytes.load(Ordering::Relaxed),
            counters.in_flight_requests.load(Ordering::Relaxed)
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_partly_valid_remote_write_stores_the_valid_part_and_reports_the_rest() {
    let rig = Rig::new();
    let (answer, body) = rig
        .post(
            "/api/v1/write",
            &[PROTOBUF, SNAPPY],
            snappy(&remote_write(&["up", "", "down"])),
        )
        .await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        body,
        r#"{"code":"partial","error":"TW-INGEST-006: 2 samples were stored, 1 rejected: series 1 (byte 24): the metric name is empty or missing"}"#
    );
    assert_eq!(rig.metrics(), ["down", "up"]);
}

const SYMBOLS: (&str, &str) = (
    "content-type",
    "application/x-protobuf;proto=io.prometheus.write.v2.Request",
);

/// A `Request` of version 2.0: symbols, then two series with one sample at time 1 ms, the second without a name.
fn remote_write_with_symbols() -> Vec<u8> {
    let symbols = ["", "__name__", "up"].map(|symbol| field(4, symbol.as_bytes()));
    let series =
        [&[1, 2][..], &[]].map(|refs| field(5, &[field(1, refs), field(2, &[0x10, 1])].concat()));
    [symbols.concat(), series.concat()].concat()
}

#[tokio::test]
async fn remote_write_with_symbols_is_told_what_was_written() {
    let rig = Rig::new();
    let whole = remote_write_with_symbols();
    let cut = whole.len() - 8;
    let written = |answer: &Response<()>| {
        ["samples", "histograms", "exemplars"].map(|what| {
            let name = format!("x-prometheus-remote-write-{what}-written");
            answer.headers()[&name].to_str().unwrap().to_owned()
        })
    };
    for (body, status, expected) in [
        (&whole[..cut], 204, ["1", "0", "0"]),
        (&whole[..], 400, ["1", "0", "0"]),
        (&whole[..cut - 1], 400, ["0", "0", "0"]),
    ] {
        let (answer, text) = rig
            .post("/api/v1/write", &[SYMBOLS, SNAPPY], snappy(body))
            .await;
        assert_eq!(answer.status(), status, "{text}");
        assert_eq!(written(&answer), expected);
    }
    assert_eq!(rig.metrics(), ["up", "up"]);
}

#[rstest]
#[case::malformed_snappy(b"\xff\xff\xff\xff\xff\xff".to_vec(), 400, "snappy body")]
#[case::truncated(snappy(&remote_write(&["up"])[..9]), 400, "malformed body at byte")]
#[case::truncated_snappy(snappy(&remote_write(&["up"]))[..9].to_vec(), 400, "snappy body")]
#[case::claims_4_gb(vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], 413, "when decompressed")]
#[case::claims_100_kb(vec![0xa0, 0x8d, 0x06, 0, 0], 400, "claims 100000 decompressed bytes")]
#[case::bomb(snappy(&vec![0; 200_000]), 413, "when decompressed")]
#[case::empty(vec![], 400, "snappy body")]
#[case::plain(remote_write(&["up"]), 400, "snappy body")]
#[tokio::test]
async fn a_bad_remote_write_stores_nothing(
    #[case] bytes: Vec<u8>,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let rig = Rig::new();
    let (answer, body) = rig.post("/api/v1/write", &[PROTOBUF, SNAPPY], bytes).await;
    assert_eq!(answer.status(), status, "{body}");
    assert!(body.contains(expected), "{body}");
    assert!(rig.bus.rows().is_empty());
}

#[rstest]
#[case(
    Some("application/x-protobuf;proto=prometheus.WriteRequest"),
    Some("snappy"),
    204
)]
#[case(None, None, 204)]
#[case(
    Some("application/x-protobuf;proto=io.prometheus.write.v3.Request"),
    Some("snappy"),
    415
)]
#[case(Some("application/json"), Some("snappy"), 415)]
#[case(Some("application/x-protobuf"), Some("gzip"), 415)]
#[case(Some("application/x-protobuf"), Some("br"), 415)]
#[tokio::test]
async fn remote_write_takes_its_own_types_only(
    #[case] kind: Option<&str>,
    #[case] encoding: Option<&str>,
    #[case] status: u16,
) {
    let headers: Vec<_> = kind
        .map(|kind| ("content-type", kind))
        .into_iter()
        .chain(encoding.map(|name| ("content-encoding", name)))
        .collect();
    let (answer, body) = Rig::new()
        .post("/api/v1/write", &headers, snappy(&remote_write(&["up"])))
        .await;
    assert_eq!(answer.status(), status, "{body}");
}

#[tokio::test]
async fn clients_of_line_protocol_are_told_that_the_door_is_open() {
    let rig = Rig::new();
    let (answer, body) = rig
        .ask(Request::get("/health").body(Body::empty()).unwrap())
        .await;
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (answer.status(), &told["status"]),
        (StatusCode::OK, &"pass".into())
    );
}

#[rstest]
#[case("/write?db=x&precision=s", 5_000_000)]
#[case("/write?db=x&precision=m", 300_000_000)]
#[case("/write?precision=h&u=a&p=b", 18_000_000_000)]
#[case("/write?precision=ms", 5_000)]
#[case("/write?precision=u", 5)]
#[case("/write?precision=n", 0)]
#[case("/write", 0)]
#[case("/api/v2/write?org=o&bucket=b&precision=s", 5_000_000)]
#[case("/api/v2/write?precision=us", 5)]
#[case("/api/v2/write", 0)]
#[case("/api/v3/write_lp?db=d&precision=millisecond", 5_000)]
#[case("/api/v3/write_lp?db=d", 5_000_000)]
#[case("/api/v3/write_lp?db=d&precision=auto", 5_000_000)]
#[tokio::test]
async fn every_precision_is_known(#[case] path: &str, #[case] expected: i64) {
    let rig = Rig::new();
    let (answer, body) = rig
        .post(path, &[("authorization", "Token secret")], "m v=1 5")
        .await;
    assert_eq!(
        (answer.status(), body.as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    assert_eq!(rig.bus.rows()[0].3, expected);
}

#[rstest]
#[case(
    "/write?precision=ns2",
    r#"{"code":"malformed","error":"TW-INGEST-001: precision `ns2`; expected one of n, ns, u, us, µ, ms, s, m, h"}"#
)]
#[case(
    "/api/v2/write?precision=m",
    r#"{"code":"invalid","message":"TW-INGEST-001: precision `m`; expected one of ns, us, ms, s"}"#
)]
#[case("/api/v3/write_lp?precision=m", r#"{"data":null,"error":"TW-INGEST-001: precision `m`; expected one of auto, nanosecond, ns, microsecond, us, millisecond, ms, second, s"}"#)]
#[tokio::test]
async fn an_unknown_precision_is_400(#[case] path: &str, #[case] expected: &str) {
    let (answer, body) = Rig::new().post(path, &[], "m v=1 5").await;
    assert_eq!(
        (answer.status(), body.as_str()),
        (StatusCode::BAD_REQUEST, expected)
    );
}

const PARTLY: &str = "m v=1 5\nm v=x 5\nm w=2 5";

#[rstest]
#[case("/write", r#"{"code":"partial","error":"TW-INGEST-006: 2 samples were stored, 1 rejected: line 2, column 5: `x` is no float, integer (1i), unsigned (1u), boolean or quoted string"}"#)]
#[case("/api/v2/write", r#"{"code":"invalid","message":"TW-INGEST-006: 2 samples were stored, 1 rejected: line 2, column 5: `x` is no float, integer (1i), unsigned (1u), boolean or quoted string"}"#)]
#[case("/api/v3/write_lp", r#"{"data":[{"error_message":"`x` is no float, integer (1i), unsigned (1u), boolean or quoted string","line_number":2,"original_line":"m v=x 5"}],"error":"partial write of line protocol occurred"}"#)]
#[tokio::test]
async fn partly_valid_lines_are_stored_and_the_rest_is_named(
    #[case] path: &str,
    #[case] expected: &str,
) {
    let rig = Rig::new();
    let (answer, body) = rig.post(path, &[], PARTLY).await;
    assert_eq!(
        (answer.status(), body.as_str()),
        (StatusCode::BAD_REQUEST, expected)
    );
    assert_eq!(rig.metrics(), ["m_v", "m_w"]);
}

#[tokio::test]
async fn accept_partial_false_stores_all_or_nothing() {
    let rig = Rig::new();
    let path = "/api/v3/write_lp?accept_partial=false";
    let (answer, body) = rig.post(path, &[], PARTLY).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        body,
        r#"{"data":{"error_message":"`x` is no float, integer (1i), unsigned (1u), boolean or quoted string","line_number":2,"original_line":"m v=x 5"},"error":"parsing failed for write_lp endpoint"}"#
    );
    assert!(rig.bus.rows().is_empty());
    assert_eq!(
        rig.post(path, &[], "m v=1 5").await.0.status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn string_fields_are_skipped_and_told() {
    let rig = Rig::new();
    let (answer, _) = rig.post("/api/v2/write", &[], "m s=\"text\",v=1 5").await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers()["x-tidewatch-skipped-fields"], "1");
    assert_eq!(rig.metrics(), ["m_v"]);
}

#[tokio::test]
async fn json_lines_answer_how_many_were_taken() {
    let rig = Rig::new();
    let good = "{\"metric\":\"a\",\"value\":1}\n{\"metric\":\"b\",\"value\":2}\n";
    let (answer, body) = rig.post("/api/v1/samples", &[], good).await;
    assert_eq!(
        (answer.status(), body.as_str()),
        (StatusCode::OK, r#"{"accepted":2}"#)
    );
    let (answer, body) = rig
        .post("/api/v1/samples", &[], format!("{good}{{\"metric\":1}}"))
        .await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        body,
        r#"{"code":"partial","error":"TW-INGEST-006: 2 samples were stored, 1 rejected: line 3, column 11: invalid type: integer `1`, expected a string"}"#
    );
    assert_eq!(rig.metrics().len(), 4);
}

#[tokio::test]
async fn ping_answers_and_other_verbs_do_not() {
    let rig = Rig::new();
    for request in [Request::get("/ping"), Request::head("/ping")] {
        let (answer, _) = rig.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert!(answer.headers().contains_key("x-influxdb-version"));
    }
    assert_eq!(
        rig.ask(Request::get("/write").body(Body::empty()).unwrap())
            .await
            .0
            .status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        rig.post("/nowhere", &[], "").await.0.status(),
        StatusCode::NOT_FOUND
    );
}
