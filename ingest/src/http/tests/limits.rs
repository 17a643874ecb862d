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
use crate::admission::{Limit, Sender};

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

/// A request as a sender brings it.
pub(super) fn from_sender(name: &str, body: &str) -> Request<Body> {
    let mut request = Request::post("/write")
        .body(Body::from(body.to_owned()))
        .unwrap();
    request.extensions_mut().insert(Sender::new(name));
    request
}

#[tokio::test]
async fn what_would_never_fit_is_413_and_not_429_for_ever() {
    let line = format!("m,host={} v=1 5", "a".repeat(200));
    for (limits, setting) in [
        (
            Limits {
                in_flight_bytes_max: 100,
                ..limits()
            },
            "`limits.in_flight_max` allows 100",
        ),
        (
            Limits {
                sender_in_flight_bytes_max: 100,
                ..limits()
            },
            "`limits.sender.in_flight_max` allows 100",
        ),
    ] {
        let rig = Rig::with(limits);
        let (answer, body) = rig.post("/write", &[], line.clone()).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{body}");
        assert!(body.contains(setting), "{body}");
    }
}

#[tokio::test]
async fn a_body_that_grows_as_no_samples_do_is_413() {
    let rig = Rig::with(Limits {
        decompressed_bytes_max: 8 << 20,
        in_flight_bytes_max: 32 << 20,
        ratio_max: 100,
        ..limits()
    });
    let post = async |bytes: Vec<u8>| {
        let headers = [("content-encoding", "gzip")];
        rig.post("/write", &headers, gzip(&bytes)).await
    };
    let (answer, body) = post(vec![b'\n'; 4 << 20]).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{body}");
    for part in ["the gzip body", "100 times", "`limits.ratio_max`"] {
        assert!(body.contains(part), "{body}");
    }
    // As much of it as hurts nobody.
    let (answer, body) = post(vec![b'\n'; 1 << 20]).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{body}");
    assert_eq!(rig.receivers.admission().hits(Limit::Ratio), 1);
}

#[tokio::test]
async fn a_sender_with_too_many_requests_waits_and_no_other() {
    let rig = Rig::with(Limits {
        requests_max: 3,
        sender_requests_max: 2,
        sender_in_flight_bytes_max: 60,
        ..limits()
    });
    rig.bus
        .gate
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let mut held = Vec::new();
    let mut hold = |sender: &str, requests: u64| {
        let routes = router(Arc::clone(&rig.receivers));
        held.push(tokio::spawn(routes.oneshot(from_sender(sender, "m v=1 5"))));
        requests
    };
    let in_flight = async |requests: u64| {
        let counters = rig.receivers.counters();
        while counters.in_flight_requests.load(Ordering::Relaxed) < requests {
            tokio::task::yield_now().await;
        }
    };
    in_flight(hold("a", 1)).await;
    // Of the bytes of one sender, too.
    let long = format!("m,host={} v=1 5", "x".repeat(41));
    let (answer, body) = rig.ask(from_sender("a", &long)).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert!(body.contains("of requests of a being"), "{body}");
    in_flight(hold("a", 2)).await;
    let (answer, body) = rig.ask(from_sender("a", "m v=1 5")).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(body.contains("2 requests of a"), "{body}");
    assert!(body.contains("`limits.sender.requests_max`"), "{body}");
    in_flight(hold("b", 3)).await;
    let (answer, body) = rig.ask(from_sender("c", "m v=1 5")).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert!(body.contains("`limits.requests_max`"), "{body}");
    rig.bus.gate.add_permits(10);
    for request in held {
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    for sender in ["a", "b", "c"] {
        let (answer, body) = rig.ask(from_sender(sender, &long)).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{body}");
    }
    let admission = rig.receivers.admission();
    let hits = [
        Limit::SenderInFlight,
        Limit::SenderRequests,
        Limit::Requests,
    ];
    assert_eq!(hits.map(|limit| admission.hits(limit)), [1, 1, 1]);
}
