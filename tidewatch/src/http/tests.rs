//! The handlers over an embedded log and an empty archive: formats, refusals, readiness, tail, and the server's end.

use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method};
use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::{Record, TopicSpec};
use futures::StreamExt;
use http_body_util::BodyExt;
use pipeline::Phase;
use query::{ChainTables, Format, Limits};
use schemas::{BatchBuilder, Counts, Labels};
use sinks::Archive;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::tail::{Outlet, follow};
use super::*;

pub(crate) async fn context(dir: &Path, phases: &[Phase]) -> Arc<Context> {
    let topics = Topics::default();
    let bus = EmbeddedBus::open(
        &dir.join("bus"),
        EmbeddedOptions {
            free_bytes_min: 0,
            ..EmbeddedOptions::default()
        },
    )
    .unwrap();
    let spec = |name| TopicSpec {
        name,
        partitions: 2,
        retention_ms: 3_600_000,
        log_append_time: true,
    };
    bus.create_topics(&topics.all().map(spec)).await.unwrap();
    let archive = Archive::open(
        &format!("file://{}", dir.join("archive").display()),
        &Default::default(),
    )
    .unwrap();
    let tables = Arc::new(ChainTables::new(archive.clone(), &topics.samples()));
    let partitions: Vec<PartitionStatus> = phases
        .iter()
        .enumerate()
        .map(|(number, phase)| partition(number as u32, phase.clone()))
        .collect();
    let bus: Arc<dyn Bus> = bus;
    let publisher = ingest::Publisher::new(Arc::clone(&bus), &topics.samples(), 2);
    let sources = std::collections::BTreeMap::new();
    let letters = topics.dead_letters();
    let replayer = Replayer::new(Arc::clone(&bus), &letters, publisher, sources, 1_000);
    Arc::new(Context {
        instance: Instance {
            version: "0".into(),
            data_dir: dir.to_owned(),
        },
        engine: Engine::new(
            archive.store(),
            tables,
            Limits {
                threads: 1,
                ..Limits::default()
            },
        ),
        bus,
        topics,
        partitions_own: Some(2),
        partitions: Box::new(move || partitions.clone()),
        wiring: overview::Wiring {
            bus: overview::BusReport::default(),
            archive: archive.url().to_owned(),
            counters: Arc::default(),
            admission: Arc::new(ingest::admission::Admission::new(Default::default(), 0)),
            embedded: None,
        },
        log: LogWatch::default(),
        record: Box::new(|| {}),
        replayer,
        metrics: telemetry::install(),
        started: Instant::now(),
        tails: Arc::new(Semaphore::new(1)),
        stop: CancellationToken::new(),
        request_timeout: Duration::from_secs(60),
    })
}

fn partition(number: u32, phase: Phase) -> PartitionStatus {
    PartitionStatus {
        partition: number,
        phase,
        next_offset: 0,
        committed_offset: 0,
        log_clock: Some(0),
        series: 3,
        resources: 1,
        pending_samples: 0,
        files: 0,
        counts: Counts::default(),
        checkpoints: 1,
        compactions: 0,
        anomalies: 0,
        forecasts: 0,
        guests: 0,
        checkpoint_age: Some(Duration::from_secs(7)),
        turn_age: None,
    }
}

/// The receivers' routes over the same log.
pub(crate) fn receivers(context: &Arc<Context>) -> Vec<(&'static str, MethodRouter)> {
    let publisher = ingest::Publisher::new(Arc::clone(&context.bus), &context.topics.samples(), 2);
    let limits = ingest::http::Limits::default();
    let receivers = ingest::http::Receivers::new(publisher, limits, Arc::default());
    ingest::http::routes(&Arc::new(receivers))
}

/// The router of an instance where everybody may do everything.
fn everybody(context: &Arc<Context>) -> Router {
    let registry = crate::access::Registry::open(Path::new("/nonexistent/tokens.json")).unwrap();
    let access = Access::new(true, Arc::new(registry), None, Default::default());
    let access = Arc::new(access);
    router(Arc::clone(context), &access, routes(context, Vec::new()))
}

async fn ask(
    context: &Arc<Context>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    everybody(context).oneshot(request).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

async fn get_text(context: &Arc<Context>, path: &str) -> (u16, String) {
    let response = ask(context, Method::GET, path, &[], "").await;
    (response.status().as_u16(), text(response).await)
}

#[tokio::test]
async fn pages_say_who_and_how_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path(), &[Phase::Running, Phase::Running]).await;
    assert_eq!(
        get_text(&context, "/healthz").await,
        (200, "ok\n".to_owned())
    );
    let (_, page) = get_text(&context, "/").await;
    assert!(
        page.contains("tidewatch sql")
            && page.contains("tidewatch tail anomalies")
            && page.contains(&dir.path().display().to_string()),
        "{page}"
    );
    let (_, instance) = get_text(&context, INSTANCE_PATH).await;
    assert_eq!(
        serde_json::from_str::<Instance>(&instance).unwrap(),
        context.instance
    );
    let (status, answer) = get_text(&context, "/nowhere").await;
    assert_eq!(status, 404);
    assert!(answer.contains("nothing is at `GET /nowhere`"), "{answer}");
    let (_, metrics) = get_text(&context, "/metrics").await;
    for line in [
        "tidewatch_partition_phase{partition=\"1\",phase=\"running\"} 1",
        "tidewatch_partition_lag_records{partition=\"0\"} 0",
        "tidewatch_build_info{",
    ] {
        assert!(metrics.contains(line), "`{line}` is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn readiness_names_what_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let stopped = Phase::Stopped("gap in the log".to_owned());
    let context = context(dir.path(), &[Phase::Running, stopped]).await;
    let (status, answer) = get_text(&context, "/readyz").await;
    assert_eq!(
        (status, answer.as_str()),
        (503, "not ready: partition 1 is stopped: gap in the log\n")
    );
    let (status, answer) = get_text(&context, "/readyz?verbose").await;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (status, &answer["ready"]),
        (503, &serde_json::Value::Bool(false))
    );
    assert_eq!(answer["partitions"][1]["phase"], "stopped");
    assert_eq!(answer["partitions"][1]["reason"], "gap in the log");
    assert_eq!(answer["partitions"][0]["lag_records"], 0);
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_not_ready_and_one_that_needs_a_restart_not_healthy() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path(), &[Phase::Running, Phase::Running]).await;
    let (action, detail) = ("appending to `t`".to_owned(), "no broker".to_owned());
    let away = bus::BusError::Unavailable {
        action: action.clone(),
        detail: detail.clone(),
    };
    context.log.note(Err(away));
    assert_eq!(
        get_text(&context, "/readyz").await,
        (
            503,
            "not ready: the log takes no samples: appending to `t`: no broker\n".to_owned()
        )
    );
    assert_eq!(
        get_text(&context, "/healthz").await.0,
        200,
        "it passes by itself"
    );
    let (_, metrics) = get_text(&context, "/metrics").await;
    assert!(metrics.contains("tidewatch_log_up 0"), "{metrics}");
    context
        .log
        .note(Err(bus::BusError::Broken { action, detail }));
    let (status, answer) = get_text(&context, "/healthz").await;
    assert!(
        status == 503 && answer.contains("restart the process"),
        "{status} {answer}"
    );
    context.log.note(Ok(()));
    assert_eq!(get_text(&context, "/readyz").await.0, 200);
    assert_eq!(get_text(&context, "/healthz").await.0, 200);
}

#[test]
fn ready_means_every_own_partition_runs() {
    let check = |phases: &[Phase], own, stopping| {
        let partitions: Vec<_> = phases
            .iter()
            .enumerate()
            .map(|(number, phase)| partition(number as u32, phase.clone()))
            .collect();
        not_ready(&partitions, own, None, stopping)
    };
    assert_eq!(
        check(&[Phase::Running, Phase::Running], Some(2), false),
        None
    );
    assert_eq!(
        check(&[Phase::Running], None, false),
        None,
        "in a group, others may have the rest"
    );
    assert_eq!(check(&[], None, false), None);
    assert_eq!(check(&[Phase::Fenced], None, false), None);
    assert_eq!(
        check(&[Phase::Running], Some(2), false).unwrap(),
        "1 partitions are not assigned yet"
    );
    assert_eq!(
        check(&[Phase::Replaying], Some(1), false).unwrap(),
        "partition 0 is replaying"
    );
    let outage = || Phase::Retrying("disk full".to_owned());
    assert_eq!(
        check(&[outage(), Phase::Claiming, outage()], Some(3), false).unwrap(),
        "partitions 0, 2 are retrying: disk full; partition 1 is claiming"
    );
    assert_eq!(
        check(&[Phase::Running], Some(1), true).unwrap(),
        "the program is stopping"
    );
}

#[tokio::test]
async fn sql_answers_in_the_format_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path(), &[]).await;
    let sql = "SELECT 1 AS a";
    let json = &[("content-type", "application/json")][..];
    for (headers, body, expected) in [
        (&[][..], sql, "[{\"a\":1}]"),
        (&[("accept", "text/csv")][..], sql, "a\n1"),
        (
            &[("accept", "text/html, application/x-ndjson;q=0.9, */*;q=0.1")][..],
            sql,
            "{\"a\":1}",
        ),
        (
            json,
            r#"{"query": "SELECT 1 AS a", "format": "csv"}"#,
            "a\n1",
        ),
        (json, r#"{"query": "SELECT 1 AS a"}"#, "[{\"a\":1}]"),
    ] {
        let response = ask(&context, Method::POST, "/api/v1/sql", headers, body).await;
        assert_eq!(response.status(), 200, "{headers:?} {body}");
        assert_eq!(text(response).await.trim(), expected, "{headers:?} {body}");
    }
    let response = ask(
        &context,
        Method::POST,
        "/api/v1/sql",
        &[("accept", "application/vnd.apache.parquet")],
        sql,
    )
    .await;
    assert_eq!(
        response.headers()["content-type"],
        "application/vnd.apache.parquet"
    );
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .starts_with(b"PAR1")
    );
}

#[tokio::test]
async fn sql_refusals_say_why_and_whose_fault() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path(), &[]).await;
    for (headers, body, status, part) in [
        (&[][..], "SELEC 1", 400, "bad_input"),
        (&[][..], "DROP TABLE samples", 403, "is not allowed"),
        (&[][..], "SELECT * FROM nothing", 400, "nothing"),
        (&[("accept", "image/png")][..], "SELECT 1", 406, "text/csv"),
        (
            &[("content-type", "application/json")][..],
            r#"{"sql": "SELECT 1"}"#,
            400,
            "expected {\\\"query\\\"",
        ),
        (
            &[("content-type", "application/json")][..],
            r#"{"query": "SELECT 1", "format": "xml"}"#,
            400,
            "ndjson",
        ),
    ] {
        let response = ask(&context, Method::POST, "/api/v1/sql", headers, body).await;
        assert_eq!(response.status(), status, "{body}");
        let answer = text(response).await;
        assert!(answer.contains(part), "`{part}` for `{body}`: {answer}");
    }
    let long = "x".repeat(1 << 20);
    assert_eq!(
        ask(&context, Method::POST, "/api/v1/sql", &[], &long)
            .await
            .status(),
        413
    );
    assert_eq!(
        ask(&context, Method::GET, "/api/v1/sql", &[], "")
            .await
            .status(),
        405
    );
}

#[test]
fn the_best_acceptable_format_wins() {
    let check = |accept: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static(accept));
        super::sql::read_question(&headers, b"SELECT 1")
            .map(|(_, format)| format)
            .map_err(|(status, _)| status.as_u16())
    };
    assert_eq!(check("*/*"), Ok(Format::Json));
    assert_eq!(check("text/csv; q=0.5, application/json"), Ok(Format::Json));
    assert_eq!(check("text/csv, application/json;q=0.5"), Ok(Format::Csv));
    assert_eq!(
        check("Application/Vnd.Apache.Arrow.Stream"),
        Ok(Format::ArrowStream)
    );
    assert_eq!(check("application/json;q=0"), Err(406));
    assert_eq!(check("application/json;q=many"), Err(406));
}

fn one_sample(value: f64) -> Record {
    let mut builder = BatchBuilder::default();
    let (metric, labels) = (
        builder.metric("cpu"),
        builder.label_set(&Labels::try_new([("host", "a\"b")]).unwrap()),
    );
    builder.push(metric, labels, schemas::Kind::Gauge, 1_000_001, value);
    Record {
        value: builder.finish().unwrap().encode().unwrap().into(),
        ..Record::default()
    }
}

#[tokio::test]
async fn tail_follows_from_the_end_one_line_a_sample() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path(), &[]).await;
    let topic = context.topics.samples();
    context
        .bus
        .append(&topic, 0, vec![one_sample(1.0)])
        .await
        .unwrap();
    let response = ask(&context, Method::GET, "/api/v1/tail/samples", &[], "").await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        ask(&context, Method::GET, "/api/v1/tail/anomalies", &[], "")
            .await
            .status(),
        429,
        "one reader is the limit here"
    );
    context
        .bus
        .append(&topic, 1, vec![one_sample(f64::NAN)])
        .await
        .unwrap();
    let mut chunks = response.into_body().into_data_stream();
    let line = chunks.next().await.unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        line,
        serde_json::json!({"time": "1970-01-01T00:00:01.000001Z", "metric": "cpu", "labels": {"host": "a\"b"}, "kind": "gauge", "value": "NaN"})
    );
    context.stop.cancel();
    assert!(chunks.next().await.is_none(), "ends with the program");
    drop(chunks);
    assert_eq!(
        ask(&context, Method::GET, "/api/v1/tail/logs", &[], "")
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn a_slow_reader_of_tail_is_told_what_it_missed() {
    let (outlet, chunks) = Outlet::new();
    let lines: Vec<String> = (0..100).map(|_| "{}\n".to_owned()).collect();
    // The buffer holds 64 chunks.
    for _ in 0..66 {
        outlet.put(&lines);
    }
    let mut told = Box::pin(follow(
        chunks,
        Arc::clone(&outlet.lagged),
        CancellationToken::new(),
        (),
    ));
    let first = told.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"{\"lagged\":200}\n{}\n"), "{first:?}");
    let second = told.next().await.unwrap().unwrap();
    assert!(second.starts_with(b"{}\n"), "told once");
}

#[tokio::test]
async fn the_server_lets_a_request_end_and_then_closes_the_door() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, begun) = (
        CancellationToken::new(),
        Arc::new(tokio::sync::Notify::new()),
    );
    let (seen, stopped) = (Arc::clone(&begun), stop.clone());
    let slow = async move || {
        seen.notify_one();
        stopped.cancelled().await;
        "done"
    };
    let config = crate::config::Config::defaults().unwrap().server;
    let server = tokio::spawn(server::serve(
        listener,
        Router::new().route("/slow", get(slow)),
        config,
        None,
        stop.clone(),
    ));
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    begun.notified().await;
    stop.cancel();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"),
        "{answer}"
    );
    assert_eq!(
        idle.read(&mut [0; 1]).await.unwrap(),
        0,
        "a silent connection is closed"
    );
    server.await.unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

/// The first bytes tell which HTTP a client speaks, and may come one by one; both share one port.
#[tokio::test]
async fn one_port_takes_http_1_and_http_2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let config = crate::config::Config::defaults().unwrap().server;
    let router = Router::new().route("/", post(async || "done"));
    let server = tokio::spawn(server::serve(listener, router, config, None, stop.clone()));

    let mut first = TcpStream::connect(address).await.unwrap();
    first.set_nodelay(true).unwrap();
    // `P` may begin `POST` as well as the preface of HTTP/2.
    for part in [
        "P",
        "OST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
        "\r\n",
    ] {
        first.write_all(part.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let mut second = TcpStream::connect(address).await.unwrap();
    for part in ["PR", "I * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        second.write_all(part.as_bytes()).await.unwrap();
    }
    // An empty frame of settings; the server's own begins with its length and type 4.
    second
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let mut frame = [0; 9];
    second.read_exact(&mut frame).await.unwrap();
    assert_eq!((frame[0], frame[1], frame[3]), (0, 0, 4), "{frame:?}");
    stop.cancel();
    drop(second);
    server.await.unwrap();
}
