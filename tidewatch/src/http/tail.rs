//! `GET /api/v1/tail/{samples|anomalies}`: what is published from now on, one JSON object per line. Slow readers miss lines and are told so.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bus::{Bus, BusError, LogRecord};
use bytes::Bytes;
use futures::stream;
use schemas::topics::{FORMAT_END, FORMAT_GUESTS, FORMAT_TICK, FORMAT_VERDICT, HEADER_FORMAT};
use schemas::{Fault, HasCode, HasFault, Kind, SampleBatch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Context;
use super::problem::{problem, problem_of, streamed};
use crate::telemetry::{self, Metric};

/// Lines sent at once. 256: about 50 KB of samples.
const CHUNK_LINES: usize = 256;
/// Chunks that wait for a reader: about 3 MB of samples. When full, further lines are counted instead of sent.
const CHUNKS_MAX: usize = 64;
/// Bytes asked of the log at a time.
const READ_BYTES: usize = 1 << 20;
/// Pause before the log is asked again after an outage.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Follows a topic from its end.
pub(super) async fn tail(
    State(context): State<Arc<Context>>,
    Path(what): Path<String>,
) -> Response {
    let (topic, lines): (String, LinesOf) = match what.as_str() {
        "samples" => (context.topics.samples(), sample_lines),
        "anomalies" => (context.topics.anomalies(), event_lines),
        _ => {
            return problem(
                StatusCode::NOT_FOUND,
                &format!("tail `{what}`: expected `samples` or `anomalies`"),
                Fault::BadInput,
            );
        }
    };
    let Ok(place) = Arc::clone(&context.tails).try_acquire_owned() else {
        return problem(
            StatusCode::TOO_MANY_REQUESTS,
            "too many readers of tail (setting `server.tails_max`); try again later",
            Fault::Outage,
        );
    };
    let (outlet, chunks) = Outlet::new();
    let readers = match start_readers(&context.bus, &topic, lines, &outlet).await {
        Ok(readers) => readers,
        Err(error) => {
            let status = if error.fault() == Fault::Outage {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            return problem_of(status, &error);
        }
    };
    telemetry::change(Metric::TailReaders, 1.0);
    let guard = Follower {
        _readers: readers,
        _place: place,
    };
    streamed(
        "application/x-ndjson",
        Body::from_stream(follow(chunks, outlet.lagged, context.stop.clone(), guard)),
    )
}

/// Lives as long as the answer; ends the readers with it.
struct Follower {
    _readers: JoinSet<()>,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        telemetry::change(Metric::TailReaders, -1.0);
    }
}

/// The lines of a record, each with its newline.
type LinesOf = fn(&LogRecord) -> Vec<String>;

/// Where readers of partitions put lines. Never waits.
#[derive(Clone)]
pub(super) struct Outlet {
    chunks: mpsc::Sender<Bytes>,
    pub(super) lagged: Arc<AtomicU64>,
}

impl Outlet {
    pub(super) fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
        (
            Outlet {
                chunks,
                lagged: Arc::default(),
            },
            receiver,
        )
    }

    pub(super) fn put(&self, lines: &[String]) {
        for chunk in lines.chunks(CHUNK_LINES) {
            if self.chunks.try_send(Bytes::from(chunk.concat())).is_err() {
                self.lagged.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                telemetry::count(Metric::TailLaggedLinesTotal, &[], chunk.len() as u64);
            }
        }
    }
}

/// Chunks as they come, each after the count of lines missed before it. Ends when the program stops.
pub(super) fn follow<G: Send + 'static>(
    chunks: mpsc::Receiver<Bytes>,
    lagged: Arc<AtomicU64>,
    stop: CancellationToken,
    guard: G,
) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static {
    stream::unfold(
        (chunks, lagged, stop, guard),
        async |(mut chunks, lagged, stop, guard)| {
            let chunk = tokio::select! {
                () = stop.cancelled() => None,
                chunk = chunks.recv() => chunk,
            }?;
            let missed = lagged.swap(0, Ordering::Relaxed);
            let chunk = if missed == 0 {
                chunk
            } else {
                Bytes::from([format!("{{\"lagged\":{missed}}}\n").as_bytes(), &chunk].concat())
            };
            Some((Ok(chunk), (chunks, lagged, stop, guard)))
        },
    )
}

async fn start_readers(
    bus: &Arc<dyn Bus>,
    topic: &str,
    lines: LinesOf,
    outlet: &Outlet,
) -> Result<JoinSet<()>, BusError> {
    let mut readers = JoinSet::new();
    for partition in 0..bus.partitions(topic).await? {
        let end = bus.retained(topic, partition).await?.end;
        let mut reader = bus.reader(topic, partition, end).await?;
        let (outlet, topic) = (outlet.clone(), topic.to_owned());
        readers.spawn(async move {
            loop {
                match reader.next(READ_BYTES).await {
                    Ok(records) => records.iter().for_each(|record| outlet.put(&lines(record))),
                    Err(error) if error.fault() == Fault::Outage => {
                        warn!(topic, partition, %error, "a reader of tail waits for the log");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                    Err(error) => {
                        outlet.put(&[format!("{}\n", serde_json::json!({ "error": { "message": error.to_string(), "fault": error.fault().name(), "code": error.code().id } }))]);
                        return;
                    }
                }
            }
        });
    }
    Ok(readers)
}

fn event_lines(record: &LogRecord) -> Vec<String> {
    match serde_json::from_slice::<serde_json::Value>(&record.value) {
        Ok(event) => vec![format!("{event}\n")],
        Err(error) => vec![format!(
            "{}\n",
            serde_json::json!({ "error": { "message": format!("record {}: {error}", record.offset.0), "fault": "corruption" } })
        )],
    }
}

/// One line per sample: time, metric, labels, kind, value. A value that JSON has no number for is the text `NaN`, `inf` or `-inf`.
pub(super) fn sample_lines(record: &LogRecord) -> Vec<String> {
    let without_samples = [FORMAT_TICK, FORMAT_END, FORMAT_GUESTS, FORMAT_VERDICT];
    if record
        .header(HEADER_FORMAT)
        .is_some_and(|format| without_samples.contains(&&format[..]))
    {
        return Vec::new();
    }
    let batch = match SampleBatch::decode(&record.value) {
        Ok(batch) => batch,
        Err(error) => {
            return vec![format!(
                "{}\n",
                serde_json::json!({ "error": { "message": format!("record {}: {error}", record.offset.0), "fault": "bad_input" } })
            )];
        }
    };
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let metrics: Vec<String> = batch.metrics().iter().map(|metric| text(metric)).collect();
    let labels: Vec<String> = batch
        .label_sets()
        .iter()
        .map(|set| {
            set.iter()
                .map(|(key, value)| format!("{}:{}", text(key), text(value)))
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect();
    (0..batch.rows())
        .map(|row| {
            let time = match jiff::Timestamp::from_microsecond(batch.times()[row]) {
                Ok(time) => text(&time.to_string()),
                Err(_) => batch.times()[row].to_string(),
            };
            let kind = if batch.kinds()[row] == Kind::Counter as u8 {
                "counter"
            } else {
                "gauge"
            };
            let value = batch.values()[row];
            let mut line = format!(
                "{{\"time\":{time},\"metric\":{},",
                metrics[batch.metric_keys()[row] as usize]
            );
            let _ = write!(
                line,
                "\"labels\":{{{}}},\"kind\":\"{kind}\",\"value\":",
                labels[batch.label_keys()[row] as usize]
            );
            let _ = if value.is_finite() {
                write!(line, "{}", serde_json::Value::from(value))
            } else {
                write!(line, "\"{value}\"")
            };
            line.push_str("}\n");
            line
        })
        .collect()
}
