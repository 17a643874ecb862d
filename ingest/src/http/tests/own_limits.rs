//! Tests of limits of one sender alone, by every protocol: they hold for who has them, and what bounds all senders bounds these, too.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use rstest::rstest;
use tower::ServiceExt;

use super::super::{EXPORT_PATH, Limits, METRICS_PATH, router};
use super::limits::from_sender;
use super::otlp::{JSON_POINT, framed, points};
use super::{Rig, gzip, limits, remote_write, snappy};
use crate::admission::{Limit, OwnLimits, Sender};

/// A request of a token with limits of its own, on a path, maybe compressed.
fn of_token(own: &[(Limit, usize)], path: &str, encoding: &str, body: Vec<u8>) -> Request<Body> {
    let request = Request::post(path)
        .header("content-encoding", encoding)
        .body(Body::from(body));
    with_limits(own, request.unwrap())
}

/// The same request from the token.
fn with_limits(own: &[(Limit, usize)], mut request: Request<Body>) -> Request<Body> {
    let own = OwnLimits::new("limits.tokens.a", own.iter().copied());
    let sender = Sender::new("token a").with_limits(Arc::new(own));
    request.extensions_mut().insert(sender);
    request
}

/// A way in, with one sample or more: path, headers, body.
type Way = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>);

fn every_way() -> Vec<Way> {
    let protobuf = ("content-type", "application/x-protobuf");
    let line = b"m,host=a v=1 5\nm,host=a v=2 6".to_vec();
    vec![
        (
            "/api/v1/write",
            vec![protobuf],
            snappy(&remote_write(&["up", "down"])),
        ),
        ("/write", vec![], line.clone()),
        ("/api/v2/write", vec![], line.clone()),
        ("/api/v3/write_lp", vec![], line),
        (
            "/api/v1/samples",
            vec![],
            b"{\"metric\":\"m\",\"value\":1}\n{\"metric\":\"m\",\"value\":2}".to_vec(),
        ),
        (METRICS_PATH, vec![protobuf], points(&["up", "down"])),
        (
            METRICS_PATH,
            vec![("content-type", "application/json")],
            JSON_POINT.as_bytes().to_vec(),
        ),
        (
            EXPORT_PATH,
            vec![("content-type", "application/grpc")],
            framed(0, &points(&["up", "down"])),
        ),
    ]
}

#[tokio::test]
async fn a_limit_of_ones_own_holds_by_every_protocol() {
    for (path, headers, body) in every_way() {
        for (limit, max) in [
            (Limit::Body, 10),
            (Limit::Samples, 0),
            (Limit::SenderSeries, 0),
        ] {
            let rig = Rig::new();
            let request = || {
                let headers = headers.iter();
                let request = headers.fold(Request::post(path), |request, (name, value)| {
                    request.header(*name, *value)
                });
                request.body(Body::from(body.clone())).unwrap()
            };
            let router = || router(Arc::clone(&rig.receivers));
            let answer = router().oneshot(with_limits(&[(limit, max)], request()));
            let (parts, body) = answer.await.unwrap().into_parts();
            let body = http_body_util::BodyExt::collect(body).await.unwrap();
            // Where gRPC tells it.
            let message = parts.headers.get("grpc-message");
            let told = message.map_or_else(
                || String::from_utf8_lossy(&body.to_bytes()).into_owned(),
                |message| message.to_str().unwrap().to_owned(),
            );
            let setting = format!("`limits.tokens.a.{}`", limit.key());
            assert!(
                told.contains(&setting),
                "{path} {headers:?} {limit:?}: {told}"
            );
            assert_eq!(rig.metrics(), Vec::<String>::new());
            let answer = router().oneshot(with_limits(&[], request())).await.unwrap();
            assert!(answer.status().is_success(), "{path}");
            assert!(!rig.metrics().is_empty(), "{path} {headers:?}");
        }
    }
}

#[rstest]
#[case::body(Limit::Body, 50, "identity", b"m v=1 5\n".repeat(10), "more than 50 bytes (80")]
#[case::decompressed(Limit::Decompressed, 50, "gzip", gzip(&b"m v=1 5\n".repeat(10)), "the gzip body has more than 50 bytes")]
#[case::ratio(Limit::Ratio, 10, "gzip", gzip(&vec![b'\n'; 1_100_000]), "the gzip body grows to more than 10 times")]
#[case::samples(Limit::Samples, 7, "identity", b"m v=1 5\n".repeat(10), "more than 7 samples")]
#[case::in_flight(Limit::SenderInFlight, 50, "identity", b"m v=1 5\n".repeat(10), "needs 80 bytes or more")]
#[tokio::test]
async fn a_request_is_bounded_by_what_its_sender_alone_may(
    #[case] limit: Limit,
    #[case] max: usize,
    #[case] encoding: &str,
    #[case] body: Vec<u8>,
    #[case] told: &str,
) {
    let rig = Rig::with(Limits {
        decompressed_bytes_max: 2 << 20,
        in_flight_bytes_max: 8 << 20,
        ratio_max: 100_000,
        ..limits()
    });
    let ask = async |own: &[(Limit, usize)], path| {
        let (answer, body) = rig.ask(of_token(own, path, encoding, body.clone())).await;
        (answer.status(), body)
    };
    let own = format!("`limits.tokens.a.{}`", limit.key());
    for path in ["/write", "/api/v2/write", "/api/v3/write_lp"] {
        let (status, body) = ask(&[(limit, max)], path).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
        assert!(body.contains(told) && body.contains(&own), "{body}");
        assert!(!body.contains("alone"), "{body}");
        let (status, body) = ask(&[], path).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    }
    assert_eq!(rig.receivers.admission().hits(limit), 3);
}

#[rstest]
#[case::body(Limit::Body)]
#[case::decompressed(Limit::Decompressed)]
#[case::ratio(Limit::Ratio)]
#[case::samples(Limit::Samples)]
#[case::in_flight(Limit::SenderInFlight)]
#[tokio::test]
async fn a_request_may_be_larger_than_those_of_others(#[case] limit: Limit) {
    let general = limits();
    let rig = Rig::with(Limits {
        body_bytes_max: if limit == Limit::Body {
            50
        } else {
            general.body_bytes_max
        },
        decompressed_bytes_max: if limit == Limit::Decompressed {
            50
        } else {
            2 << 20
        },
        in_flight_bytes_max: 8 << 20,
        sender_in_flight_bytes_max: if limit == Limit::SenderInFlight {
            50
        } else {
            8 << 20
        },
        ratio_max: if limit == Limit::Ratio { 10 } else { 100_000 },
        samples_max: if limit == Limit::Samples {
            7
        } else {
            general.samples_max
        },
        ..general
    });
    // Ten samples, and empty lines up to more than a megabyte.
    let mut plain = b"m v=1 5\n".repeat(10);
    plain.resize(1_100_000, b'\n');
    let ask = async |own: &[(Limit, usize)]| {
        let request = of_token(own, "/write", "gzip", gzip(&plain));
        let (answer, body) = rig.ask(request).await;
        (answer.status(), body)
    };
    let (status, body) = ask(&[]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
    let advice = format!(
        "; `limits.tokens.a.{}` sets it for this sender alone",
        limit.key()
    );
    assert!(body.contains(&format!("`{}`", limit.setting())), "{body}");
    assert!(body.contains(&advice), "{body}");
    let (status, body) = ask(&[(limit, 4 << 20)]).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
}

#[tokio::test]
async fn a_small_budget_takes_small_bodies_compressed_too() {
    let rig = Rig::new();
    let own = [(Limit::SenderInFlight, 16 * 1024)];
    for (encoding, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let ask = async |bytes: usize| {
            let mut body = b"m v=1 5".to_vec();
            body.resize(bytes, b'\n');
            let request = of_token(&own, "/write", encoding, compress(&body));
            let (answer, told) = rig.ask(request).await;
            (answer.status(), told)
        };
        let (status, told) = ask(3_000).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{encoding}: {told}");
        let (status, told) = ask(17_000).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{encoding}: {told}");
        assert!(
            told.contains("`limits.tokens.a.in_flight_max` allows 16384"),
            "{told}"
        );
    }
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

#[tokio::test]
async fn what_one_sender_may_is_bounded_by_what_all_may() {
    let rig = Rig::with(Limits {
        in_flight_bytes_max: 100,
        requests_max: 1,
        ..limits()
    });
    let much = [
        (Limit::SenderInFlight, 1 << 30),
        (Limit::SenderRequests, 1_000),
    ];
    let body = b"m v=1 5\n".repeat(20);
    let (answer, told) = rig.ask(of_token(&much, "/write", "identity", body)).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{told}");
    assert!(told.contains("`limits.in_flight_max` allows 100"), "{told}");
    assert!(!told.contains("limits.tokens"), "{told}");
    rig.bus
        .gate
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let line = || of_token(&much, "/write", "identity", b"m v=1 5".to_vec());
    let first = tokio::spawn(router(Arc::clone(&rig.receivers)).oneshot(line()));
    let counters = rig.receivers.counters();
    while counters.in_flight_requests.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let (answer, told) = rig.ask(line()).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{told}");
    assert!(told.contains("`limits.requests_max`"), "{told}");
    assert!(!told.contains("limits.tokens"), "{told}");
    rig.bus.gate.add_permits(10);
    assert_eq!(
        first.await.unwrap().unwrap().status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_token_with_fewer_requests_waits_and_others_do_not() {
    let rig = Rig::new();
    rig.bus
        .gate
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let own = [(Limit::SenderRequests, 1)];
    let of_token = || of_token(&own, "/write", "identity", b"m v=1 5".to_vec());
    let first = tokio::spawn(router(Arc::clone(&rig.receivers)).oneshot(of_token()));
    let counters = rig.receivers.counters();
    while counters.in_flight_requests.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let (answer, told) = rig.ask(of_token()).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{told}");
    assert_eq!(answer.headers()["retry-after"], "1");
    for part in ["1 requests of token a", "`limits.tokens.a.requests_max`"] {
        assert!(told.contains(part), "{told}");
    }
    let other =
        tokio::spawn(router(Arc::clone(&rig.receivers)).oneshot(from_sender("b", "m v=1 5")));
    while counters.in_flight_requests.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    rig.bus.gate.add_permits(10);
    for request in [first, other] {
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(rig.receivers.admission().hits(Limit::SenderRequests), 1);
}
