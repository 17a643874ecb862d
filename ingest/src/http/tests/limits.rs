//! Tests of what all receivers share: compression, limits, outages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::stream;
use rstest::rstest;
use tower::ServiceExt;

use super::super::{Limits, router};
use super::{Rig, gzip, limits};

#[tokio::test]
async fn an_outage_of_the_log_is_503_and_the_retry_is_taken() {
    let rig = Rig::new();
    rig.bus.failures.store(3, Ordering::SeqCst);
    for (path, headers) in [
        ("/write", vec![]),
        ("/api/v2/write", vec![]),
        ("/api/v3/write_lp", vec![]),
    ] {
        let (answer, body) = rig.post(path, &headers, "m v=1 5").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(answer.headers()["retry-after"], "5");
    }
    assert_eq!(
        rig.post("/write", &[], "m v=1 5").await.0.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(rig.metrics(), ["m_v"]);
}

#[tokio::test]
async fn no_answer_leaves_before_the_log_has_the_samples() {
    let rig = Rig::new();
    rig.bus
        .gate
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let routes = router(Arc::clone(&rig.receivers));
    let answer =
        tokio::spawn(routes.oneshot(Request::post("/write").body(Body::from("m v=1 5")).unwrap()));
    // In flight until the log lets go.
    while rig
        .receivers
        .counters()
        .in_flight_requests
        .load(Ordering::Relaxed)
        == 0
    {
        tokio::task::yield_now().await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!answer.is_finished());
    rig.bus.gate.add_permits(1);
    assert_eq!(
        answer.await.unwrap().unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(rig.metrics(), ["m_v"]);
}

#[tokio::test]
async fn bodies_may_be_compressed() {
    let rig = Rig::new();
    let json = r#"{"metric":"j","value":1}"#;
    for (path, encoding, body) in [
        ("/write", "gzip", gzip(b"a v=1")),
        (
            "/api/v2/write",
            "zstd",
            zstd::encode_all(&b"b v=1"[..], 1).unwrap(),
        ),
        ("/api/v3/write_lp", "identity", b"c v=1".to_vec()),
        ("/api/v1/samples", "gzip", gzip(json.as_bytes())),
        (
            "/api/v1/samples",
            "zstd",
            zstd::encode_all(json.as_bytes(), 1).unwrap(),
        ),
    ] {
        let (answer, text) = rig
            .post(path, &[("content-encoding", encoding)], body)
            .await;
        assert!(answer.status().is_success(), "{path} {encoding}: {text}");
    }
    assert_eq!(rig.metrics(), ["a_v", "b_v", "c_v", "j", "j"]);
    assert_eq!(
        rig.post("/write", &[("content-encoding", "br")], "a v=1")
            .await
            .0
            .status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[rstest]
#[case::no_gzip("gzip", b"a v=1".to_vec(), 400, "gzip body at compressed byte")]
#[case::cut_gzip("gzip", gzip(b"a v=1\n")[..15].to_vec(), 400, "gzip body at compressed byte")]
#[case::gzip_then_more("gzip", [gzip(b"a v=1\n"), gzip(b"b v=1\n")].concat(), 400, "26 bytes follow the end")]
#[case::gzip_bomb("gzip", gzip(&vec![b'\n'; 5_000_000]), 413, "when decompressed")]
#[case::zstd_bomb("zstd", zstd::encode_all(&vec![b'\n'; 20_000_000][..], 1).unwrap(), 413, "when decompressed")]
#[case::no_zstd("zstd", b"a v=1".to_vec(), 400, "zstd body")]
#[case::large("identity", vec![b'\n'; 65_537], 413, "more than 65536 bytes")]
#[tokio::test]
async fn bad_compression_stores_nothing(
    #[case] encoding: &str,
    #[case] bytes: Vec<u8>,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let rig = Rig::new();
    let (answer, body) = rig
        .post("/write", &[("content-encoding", encoding)], bytes)
        .await;
    assert_eq!(answer.status(), status, "{body}");
    assert!(body.contains(expected), "{body}");
    assert!(rig.bus.rows().is_empty());
    assert_eq!(
        rig.receivers
            .counters()
            .in_flight_bytes
            .load(Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn no_flipped_bit_of_a_gzip_body_changes_what_is_stored() {
    let rig = Rig::new();
    let body = gzip(b"a v=1 5000");
    let mut refused = 0;
    for bit in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (answer, _) = rig
            .post("/write", &[("content-encoding", "gzip")], flipped)
            .await;
        refused += usize::from(answer.status() == StatusCode::BAD_REQUEST);
    }
    // Bits of the header's time and system, and those that pad the last byte of data, mean nothing; all others are found.
    assert!(
        refused + 6 * 8 + 8 + 7 >= body.len() * 8,
        "{refused} of {} refused",
        body.len() * 8
    );
    assert!(
        rig.bus
            .rows()
            .iter()
            .all(|row| *row == ("a_v".into(), "{}".into(), 0, 5, 1f64.to_bits()))
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_is_limited_too() {
    let rig = Rig::new();
    let chunks = || stream::iter((0..70).map(|_| Ok::<_, std::io::Error>(vec![b'\n'; 1000])));
    assert_eq!(
        rig.post("/write", &[], Body::from_stream(chunks()))
            .await
            .0
            .status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let broken = stream::iter([
        Ok(b"m v=1 5\n".to_vec()),
        Err(std::io::Error::other("reset")),
    ]);
    let (answer, body) = rig.post("/write", &[], Body::from_stream(broken)).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(body.contains("broke off after 8 bytes"), "{body}");
    assert!(rig.bus.rows().is_empty());
}

#[tokio::test]
async fn too_many_bytes_in_flight_are_429_until_they_are_done() {
    let rig = Rig::with(Limits {
        in_flight_bytes_max: 100,
        ..limits()
    });
    let line = "m,host=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa v=1 5";
    rig.bus
        .gate
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let first = tokio::spawn(
        router(Arc::clone(&rig.receivers))
            .oneshot(Request::post("/write").body(Body::from(line)).unwrap()),
    );
    while rig
        .receivers
        .counters()
        .in_flight_bytes
        .load(Ordering::Relaxed)
        == 0
    {
        tokio::task::yield_now().await;
    }
    let (answer, body) = rig.post("/write", &[], line).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert_eq!(answer.headers()["retry-after"], "1");
    rig.bus.gate.add_permits(2);
    assert_eq!(
        first.await.unwrap().unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        rig.post("/write", &[], line).await.0.status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn too_many_samples_are_413_and_store_nothing() {
    let rig = Rig::new();
    let (answer, body) = rig.post("/write", &[], "m v=1 5\n".repeat(1001)).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body.contains("more than 1000 samples"), "{body}");
    assert!(rig.bus.rows().is_empty());
    assert_eq!(
        rig.post("/write", &[], "m v=1 5\n".repeat(1000))
            .await
            .0
            .status(),
        StatusCode::NO_CONTENT
    );
}
