//! Our side of the whole path in a process of its own: receivers, embedded log, pipeline, archive, with a clock that the client sets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::{Bus, TopicSpec};
use ingest::http::{Limits, Receivers, router};
use ingest::{IngestCounters, Publisher};
use pipeline::{CheckpointPolicy, Pipeline, PipelineOptions};
use processors::ProcessingConfig;
use schemas::{Counts, Resolution, Topics};
use sinks::Archive;
use sinks::aggregates::{AggregateStore, Retention};
use tokio::sync::Mutex;

/// Partitions of the log: as many as `tidewatch run` makes.
const PARTITIONS: u32 = 4;

struct Server {
    clock: Arc<AtomicI64>,
    pipeline: Mutex<Option<Pipeline>>,
    archive: Archive,
    topic: String,
}

/// Serves until it is killed; says its address on standard output.
pub(crate) fn run(directory: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve(Path::new(directory)));
}

async fn serve(directory: &Path) {
    let clock = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&clock);
    let options = EmbeddedOptions {
        clock: Arc::new(move || told.load(Ordering::SeqCst)),
        ..EmbeddedOptions::default()
    };
    let log: Arc<dyn Bus> = EmbeddedBus::open(&directory.join("log"), options).expect("a log");
    let topics = Topics::default();
    let specs = topics.all().map(|name| TopicSpec {
        name,
        partitions: PARTITIONS,
        retention_ms: -1,
        log_append_time: true,
    });
    log.create_topics(&specs).await.expect("topics");
    let url = format!("file://{}", directory.join("archive").display());
    let archive = Archive::open(&url, &BTreeMap::new()).expect("an archive");
    let aggregates =
        AggregateStore::open(&directory.join("aggregates"), Retention::default()).expect("a store");
    let pipeline = Pipeline::start(PipelineOptions {
        bus: Arc::clone(&log),
        topics: topics.clone(),
        group: "bench".to_owned(),
        owner: "bench".to_owned(),
        archive: archive.clone(),
        aggregates: Arc::new(aggregates),
        archived_rollups: Resolution::ALL.to_vec(),
        processing: ProcessingConfig::default(),
        checkpoint: CheckpointPolicy::default(),
        compaction: Default::default(),
        rebuild_damaged_states: false,
        // The clock stands still between two bodies, so a tick would change nothing.
        tick_interval: Duration::from_secs(3600),
    });
    let pipeline = Mutex::new(Some(pipeline.await.expect("a pipeline")));
    let server = Arc::new(Server {
        clock,
        pipeline,
        archive,
        topic: topics.samples(),
    });
    let publisher = Publisher::new(log, &topics.samples(), PARTITIONS);
    let receivers = Arc::new(Receivers::new(
        publisher,
        Limits::default(),
        Arc::new(IngestCounters::default()),
    ));
    let own = Router::new()
        .route("/clock/{ms}", post(set_clock))
        .route("/finish", post(finish))
        .with_state(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router(receivers).merge(own))
        .await
        .expect("serving");
}

async fn set_clock(
    State(server): State<Arc<Server>>,
    axum::extract::Path(ms): axum::extract::Path<i64>,
) {
    server.clock.store(ms, Ordering::SeqCst);
}

/// Stops the pipeline with its last checkpoint and answers how many samples the chain has accepted.
async fn finish(State(server): State<Arc<Server>>) -> String {
    if let Some(pipeline) = server.pipeline.lock().await.take() {
        let stopped = pipeline.shutdown().await;
        assert!(stopped.is_empty(), "{stopped:?}");
    }
    let mut counts = Counts::default();
    for partition in 0..PARTITIONS {
        let links = sinks::read_links(&server.archive, &server.topic, partition, 0..u64::MAX)
            .await
            .expect("a sound chain");
        links.iter().for_each(|link| counts.add(&link.counts));
    }
    counts.accepted.to_string()
}
