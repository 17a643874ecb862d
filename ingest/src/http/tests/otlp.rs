//! OpenTelemetry over HTTP and as a gRPC call: content types, encodings, partial success, statuses.

use axum::body::Bytes;
use axum::http::HeaderMap;

use super::*;
use crate::http::{EXPORT_PATH, METRICS_PATH};

/// Data points at 1 ms of metrics with these names, as protobuf.
pub(super) fn points(names: &[&str]) -> Vec<u8> {
    let metrics = names.iter().flat_map(|name| {
        let time = [0x19]
            .into_iter()
            .chain(1_000_000u64.to_le_bytes())
            .collect::<Vec<u8>>();
        let value = [0x21]
            .into_iter()
            .chain(1.5f64.to_le_bytes())
            .collect::<Vec<u8>>();
        let gauge = field(5, &field(1, &[time, value].concat()));
        field(2, &[field(1, name.as_bytes()), gauge].concat())
    });
    field(1, &field(2, &metrics.collect::<Vec<u8>>()))
}

pub(super) const JSON_POINT: &str = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"up","gauge":{"dataPoints":[{"timeUnixNano":"1000000","asDouble":1.5}]}}]}]}]}"#;

/// A message of gRPC.
pub(super) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

impl Answered {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

async fn post(rig: &Rig, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answered {
    let request = headers
        .iter()
        .fold(Request::post(path), |request, (name, value)| {
            request.header(*name, *value)
        });
    let answer = router(Arc::clone(&rig.receivers))
        .oneshot(request.body(Body::from(body)).unwrap())
        .await
        .unwrap();
    let (parts, body) = answer.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answered {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: collected.to_bytes(),
        trailers,
    }
}

const OTLP: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const GRPC: (&str, &str) = ("content-type", "application/grpc");
const GRPC_GZIP: (&str, &str) = ("grpc-encoding", "gzip");

#[tokio::test]
async fn each_form_over_http_is_answered_in_its_own() {
    for (headers, body, kind, expected) in [
        (vec![OTLP], points(&["up"]), OTLP.1, ""),
        (vec![OTLP, GZIP], gzip(&points(&["up"])), OTLP.1, ""),
        (vec![JSON], JSON_POINT.into(), "application/json", "{}"),
        (
            vec![JSON, GZIP],
            gzip(JSON_POINT.as_bytes()),
            "application/json",
            "{}",
        ),
    ] {
        let rig = Rig::new();
        let answer = post(&rig, METRICS_PATH, &headers, body).await;
        assert_eq!(
            (
                answer.status,
                answer.header("content-type"),
                &answer.body[..]
            ),
            (200, kind, expected.as_bytes())
        );
        assert_eq!(rig.metrics(), ["up"]);
        let totals = rig.receivers.counters().of(Intake::Otlp);
        assert_eq!(totals.accepted_samples.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn partial_success_counts_what_was_rejected() {
    let rig = Rig::new();
    let answer = post(&rig, METRICS_PATH, &[OTLP], points(&["up", "", "down"])).await;
    let words =
        "2 samples were stored, 1 rejected: data point 1: the metric name is empty or missing";
    let partial = [vec![0x08, 0x01], field(2, words.as_bytes())].concat();
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, &field(1, &partial)[..])
    );
    assert_eq!(rig.metrics(), ["down", "up"]);

    let body = JSON_POINT.replace("1000000", "18446744073709551615");
    let answer = post(&rig, METRICS_PATH, &[JSON], body.into()).await;
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["partialSuccess"]["rejectedDataPoints"], "1");
    assert!(
        told["partialSuccess"]["errorMessage"]
            .as_str()
            .unwrap()
            .starts_with(
                "0 samples were stored, 1 rejected: data point 0: time 9223372036854775807 ns"
            )
    );
}

#[rstest]
#[case::no_type(&[], points(&["up"]), 415, "content type")]
#[case::other_type(&[("content-type", "text/plain")], points(&["up"]), 415, "content type `text/plain`")]
#[case::other_encoding(&[OTLP, ("content-encoding", "br")], points(&["up"]), 415, "content encoding `br`")]
#[case::cut(&[OTLP], points(&["up"])[..20].to_vec(), 400, "malformed body at byte")]
#[case::no_json(&[JSON], b"{".to_vec(), 400, "malformed body at byte")]
#[case::too_large(&[OTLP], vec![0; 65 * 1024], 413, "more than 65536 bytes")]
#[case::bomb(&[OTLP, GZIP], gzip(&vec![0; 200_000]), 413, "when decompressed")]
#[tokio::test]
async fn what_is_not_taken_is_told_as_a_status(
    #[case] headers: &[(&str, &str)],
    #[case] body: Vec<u8>,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let rig = Rig::new();
    let answer = post(&rig, METRICS_PATH, headers, body).await;
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{text}");
    assert!(text.contains(expected), "{text}");
    assert!(answer.header("tidewatch-error").starts_with("TW-INGEST-"));
    assert!(rig.bus.rows().is_empty());
}

#[tokio::test]
async fn a_grpc_call_is_answered_with_a_message_and_a_status_in_the_trailers() {
    let plain = points(&["up"]);
    for (headers, body) in [
        (vec![GRPC], framed(0, &plain)),
        (vec![GRPC, GRPC_GZIP], framed(1, &gzip(&plain))),
        // Compression is agreed on, but not used for this message.
        (vec![GRPC, GRPC_GZIP], framed(0, &plain)),
        (
            vec![("content-type", "application/grpc+proto")],
            framed(0, &plain),
        ),
    ] {
        let rig = Rig::new();
        let answer = post(&rig, EXPORT_PATH, &headers, body).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/grpc")
        );
        assert_eq!(&answer.body[..], &[0; 5]);
        assert_eq!(answer.trailers["grpc-status"], "0");
        assert_eq!(rig.metrics(), ["up"]);
    }
    let rig = Rig::new();
    let answer = post(&rig, EXPORT_PATH, &[GRPC], framed(0, &points(&["", "up"]))).await;
    assert_eq!(answer.trailers["grpc-status"], "0");
    let message = &answer.body[5..];
    assert_eq!(answer.body[4] as usize, message.len());
    assert!(String::from_utf8_lossy(message).contains("1 samples were stored, 1 rejected"));
}

#[rstest]
#[case::nothing(&[GRPC], vec![], "3", "a gRPC message begins with 5 bytes; the body has 0")]
#[case::cut(&[GRPC], framed(0, &points(&["up"]))[..20].to_vec(), "3", "bytes is announced, 15 follow")]
#[case::two(&[GRPC], [framed(0, b""), framed(0, b"")].concat(), "3", "0 bytes is announced, 5 follow")]
#[case::compressed_by_surprise(&[GRPC], framed(1, &gzip(b"")), "3", "flag 1 in a call without compression")]
#[case::other_compression(&[GRPC, ("grpc-encoding", "snappy")], framed(1, b""), "12", "compression `snappy`")]
#[case::no_request(&[GRPC], framed(0, b"\xff"), "3", "malformed body at byte")]
#[case::bomb(&[GRPC, GRPC_GZIP], framed(1, &gzip(&vec![0; 200_000])), "8", "when decompressed")]
#[tokio::test]
async fn a_grpc_call_that_fails_has_its_status_in_the_head(
    #[case] headers: &[(&str, &str)],
    #[case] body: Vec<u8>,
    #[case] status: &str,
    #[case] expected: &str,
) {
    let rig = Rig::new();
    let answer = post(&rig, EXPORT_PATH, headers, body).await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, status));
    let message = answer.header("grpc-message");
    assert!(message.contains(expected), "{message}");
    assert!(answer.body.is_empty() && rig.bus.rows().is_empty());
}

#[tokio::test]
async fn an_outage_of_the_log_is_told_as_unavailable() {
    let rig = Rig::new();
    rig.bus.failures.store(2, Ordering::SeqCst);
    let answer = post(&rig, METRICS_PATH, &[JSON], JSON_POINT.into()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["code"], 14);
    let answer = post(&rig, EXPORT_PATH, &[GRPC], framed(0, &points(&["up"]))).await;
    assert_eq!(answer.header("grpc-status"), "14");
    // Sent again, it is taken.
    let answer = post(&rig, EXPORT_PATH, &[GRPC], framed(0, &points(&["up"]))).await;
    assert_eq!(answer.trailers["grpc-status"], "0");
}
