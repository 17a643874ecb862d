//! Tests of scraping over HTTP, from endpoints on loopback: what is sent, what is taken, what is refused, and what a target that goes leaves.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::collectors::scrape::{Clients, run};
use crate::counters::{IngestCounters, Intake};
use crate::memory_bus::{MemoryBus, Row};

/// Serves routes until the test ends.
async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A job that asks an address every 20 ms.
fn quick(address: SocketAddr) -> Job {
    let mut quick = job();
    quick.interval = Duration::from_millis(20);
    quick.groups[0].targets = vec![address.to_string()];
    quick
}

/// Scrapes until the condition holds, then a stop; answers what was stored.
async fn scrape_until(job: Job, holds: impl Fn(&[Row], &IngestCounters) -> bool) -> Vec<Row> {
    let (bus, counters, stop) = (
        MemoryBus::new(),
        Arc::new(IngestCounters::default()),
        CancellationToken::new(),
    );
    let clients = Clients::new(job.ca_file.as_deref()).unwrap();
    let running = tokio::spawn(run(
        vec![(job, clients)],
        bus.publisher(1),
        Arc::clone(&counters),
        stop.clone(),
    ));
    let held = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds(&bus.rows(), &counters) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let held = held.await;
    stop.cancel();
    running.await.unwrap();
    assert!(held.is_ok(), "it did not come: {:#?}", bus.rows());
    bus.rows()
}

/// The values of a metric in the order they were stored.
fn values(rows: &[Row], metric: &str) -> Vec<f64> {
    rows.iter()
        .filter(|row| row.0 == metric)
        .map(|row| f64::from_bits(row.4))
        .collect()
}

/// Fetches once from a router that answers at `/metrics`.
async fn fetch_once(router: Router, change: impl FnOnce(&mut Job)) -> Result<String, String> {
    let mut job = quick(serve(router).await);
    job.timeout = Duration::from_secs(20);
    change(&mut job);
    let target = target(&job).unwrap();
    let clients = Clients::new(None).unwrap();
    let answer = clients
        .fetch(&job, &target, &Arc::new(Semaphore::new(1)))
        .await
        .map_err(|error| error.to_string())?;
    let plain = answer
        .decompress(job.body_bytes_max)
        .map_err(|error| error.to_string())?;
    Ok(format!(
        "{:?} {}",
        answer.format,
        String::from_utf8_lossy(&plain)
    ))
}

fn answering(head: &'static [(&'static str, &'static str)], body: Vec<u8>) -> Router {
    let answer = move || {
        let mut response = Response::builder();
        for (name, value) in head {
            response = response.header(*name, *value);
        }
        response.body(Body::from(body.clone())).unwrap()
    };
    Router::new().route("/metrics", get(move || async move { answer() }))
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[tokio::test]
async fn answers_are_taken_as_their_heads_say() {
    let text = fetch_once(answering(&[], b"a 1".to_vec()), |_| {}).await;
    assert_eq!(text.unwrap(), "Text a 1");
    let plain = &[("content-type", "Text/Plain; version=0.0.4")];
    let text = fetch_once(answering(plain, b"a 1".to_vec()), |_| {}).await;
    assert_eq!(text.unwrap(), "Text a 1");
    let packed = &[("content-type", OPEN_METRICS), ("content-encoding", "gzip")];
    let open = fetch_once(answering(packed, gzip(b"# EOF")), |_| {}).await;
    assert_eq!(open.unwrap(), "OpenMetrics # EOF");
}

#[tokio::test]
async fn answers_that_can_not_be_taken_say_why() {
    let html = answering(&[("content-type", "text/html")], b"<html>".to_vec());
    let brotli = answering(&[("content-encoding", "br")], Vec::new());
    let cut = gzip(&[b' '; 1000])[..15].to_vec();
    let packed = &[("content-encoding", "gzip")];
    let bomb = gzip(&vec![b' '; 8 << 20]);
    let elsewhere = Router::new().route(
        "/metrics",
        get(|| async { axum::response::Redirect::permanent("/new") }),
    );
    let silent = Router::new().route("/metrics", get(std::future::pending::<()>));
    let impatient = |job: &mut Job| job.timeout = Duration::from_millis(50);
    for (found, expected) in [
        (
            fetch_once(html, |_| {}).await,
            "the answer is `text/html`; expected text/plain",
        ),
        (fetch_once(brotli, |_| {}).await, "encoded as `br`"),
        (
            fetch_once(answering(packed, cut), |_| {}).await,
            "broke off: gzip: ",
        ),
        (
            fetch_once(answering(packed, bomb), |_| {}).await,
            "more than 1048576 bytes (body_max)",
        ),
        (
            fetch_once(answering(&[], vec![b' '; 2 << 20]), |_| {}).await,
            "more than 1048576 bytes",
        ),
        (
            fetch_once(Router::new(), |_| {}).await,
            "the answer is 404 Not Found; expected 200",
        ),
        (
            fetch_once(elsewhere, |_| {}).await,
            "308 Permanent Redirect to `/new`; expected 200",
        ),
        (
            fetch_once(silent, impatient).await,
            "no whole answer within 0.05 s",
        ),
    ] {
        let error = found.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

/// Secrets come from files at each scrape, and no message shows them.
#[tokio::test]
async fn credentials_are_sent_and_not_told() {
    let echo = |headers: HeaderMap| async move {
        let sent = headers.get(header::AUTHORIZATION);
        sent.map_or("none".to_owned(), |sent| sent.to_str().unwrap().to_owned())
    };
    let router = || Router::new().route("/metrics", get(echo));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "canary\n").unwrap();
    let basic = Credentials::Basic {
        username: "me".to_owned(),
        password_file: file.clone(),
    };
    let bearer = Credentials::Bearer {
        token_file: file.clone(),
    };
    let none = fetch_once(router(), |_| {}).await;
    assert_eq!(none.unwrap(), "Text none");
    let sent = fetch_once(router(), |job| job.credentials = basic).await;
    assert_eq!(sent.unwrap(), "Text Basic bWU6Y2FuYXJ5");
    let sent = fetch_once(router(), |job| job.credentials = bearer.clone()).await;
    assert_eq!(sent.unwrap(), "Text Bearer canary");
    std::fs::write(&file, "canary\u{1}").unwrap();
    let error = fetch_once(router(), |job| job.credentials = bearer.clone()).await;
    let error = error.unwrap_err();
    assert!(
        error.contains("no header can") && !error.contains("canary"),
        "{error}"
    );
    std::fs::remove_file(&file).unwrap();
    let error = fetch_once(router(), |job| job.credentials = bearer).await;
    assert!(error.unwrap_err().contains("secret` can't be read"));
}

#[tokio::test]
async fn a_target_is_scraped_with_its_report() {
    let router = answering(
        &[("content-type", OPEN_METRICS)],
        b"# TYPE a counter\na_total{x=\"y\"} 5 # {t=\"1\"} 1\n# EOF\n".to_vec(),
    );
    let rows = scrape_until(quick(serve(router).await), |rows, _| {
        values(rows, "up").len() >= 5
    })
    .await;
    let times = |metric: &str| -> Vec<i64> {
        let of = rows.iter().filter(|row| row.0 == metric);
        of.map(|row| row.3).collect()
    };
    assert!(times("a_total").is_sorted() && times("a_total") == times("up"));
    assert!(values(&rows, "a_total").iter().all(|value| *value == 5.0));
    assert!(values(&rows, "up").iter().all(|value| *value == 1.0));
    assert_eq!(values(&rows, "scrape_series_added")[..2], [1.0, 0.0]);
    assert!(
        values(&rows, "scrape_duration_seconds")
            .iter()
            .all(|value| *value > 0.0)
    );
}

/// One answer is good, one is not, and so on: `up` tells, and each failure leaves a marker.
#[tokio::test]
async fn a_target_that_fails_is_down_and_its_series_are_marked() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = move || async move {
        match count.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Ok("a 1"),
            _ => Err(axum::http::StatusCode::INTERNAL_SERVER_ERROR),
        }
    };
    let router = Router::new().route("/metrics", get(answer));
    let rows = scrape_until(quick(serve(router).await), |rows, counters| {
        let scrape = counters.of(Intake::Scrape);
        values(rows, "up").len() >= 6 && scrape.failures.load(Ordering::SeqCst) >= 3
    })
    .await;
    assert_eq!(values(&rows, "up")[..4], [1.0, 0.0, 1.0, 0.0]);
    let shown: Vec<String> = values(&rows, "a").iter().map(f64::to_string).collect();
    assert_eq!(shown[..4], ["1", "NaN", "1", "NaN"]);
}

#[tokio::test]
async fn a_target_that_is_taken_from_its_file_is_marked_whole() {
    let address = serve(answering(&[], b"a 1\nb 2".to_vec())).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("targets.json");
    std::fs::write(&file, format!(r#"[{{"targets": ["{address}"]}}]"#)).unwrap();
    let mut from_file = quick(address);
    from_file.groups.clear();
    from_file.files = vec![file.clone()];
    let rows = scrape_until(from_file, move |rows, _| {
        if values(rows, "up").len() >= 2 {
            std::fs::write(&file, "[]").unwrap();
        }
        values(rows, "up").iter().any(|value| value.is_nan())
    })
    .await;
    let names: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for name in names {
        let values = values(&rows, name);
        let (last, before) = values.split_last().unwrap();
        assert!(
            last.is_nan() && before.iter().all(|value| !value.is_nan()),
            "{name} {values:?}"
        );
    }
}

/// A stop is no reason to say that series are gone: the next start goes on.
#[tokio::test]
async fn a_stop_marks_nothing() {
    let address = serve(answering(&[], b"a 1".to_vec())).await;
    let rows = scrape_until(quick(address), |rows, _| values(rows, "up").len() >= 2).await;
    assert!(rows.iter().all(|row| !f64::from_bits(row.4).is_nan()));
}
