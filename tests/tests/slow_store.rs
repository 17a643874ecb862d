//! C7: an archive store that takes a second for each answer slows the archive, not the intake, and costs the log's disk, not memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use sinks::Archive;
use tests::audit::Book;
use tests::load::{Load, Outcome};
use tests::minio::server::{BUCKET, PASSWORD, USER};
use tests::process::Launch;
use tests::slow_proxy::SlowProxy;

/// How long each answer of the slow store takes. A checkpoint has some ten of them.
const DELAY: Duration = Duration::from_secs(1);
/// Samples of a request.
const SERIES: u32 = 4_000;
/// Requests sent while the store is slow: 600,000 samples.
const REQUESTS: usize = 150;
/// Every so many requests all values are abnormal: an anomaly waits for its checkpoint with a kilobyte, so that what waits is seen in the memory.
const SPIKES_EVERY: u64 = 10;
/// Samples that may wait for a checkpoint, per partition: the bound under test.
const SAMPLES_MAX: usize = 20_000;
/// What a turn may add before the bound is looked at: 2 MiB of records, and a sample takes 25 bytes of one.
const TURN_SAMPLES_MAX: usize = 2 * 1024 * 1024 / 25;
/// Growth of the process, bytes. Seen: 26 MB with the bound, most of it what the log has not yet written to a table; 127 MB without it
/// (`checkpoint_samples_max = 2000000`).
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// How long the rest may take once the store is fast again. A bound for what hangs, not a measure of speed.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn c7_a_slow_store_costs_neither_memory_nor_samples() {
    if !tests::audit::is_available("slow_store") {
        return;
    }
    let Some(server) = tests::minio::s3_for_tests("slow_store") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let proxy = SlowProxy::start(server).unwrap();
    let unique = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let url = format!("s3://{BUCKET}/slow-{unique}");
    let options = |endpoint: std::net::SocketAddr| {
        BTreeMap::from(
            [
                ("endpoint", format!("http://{endpoint}")),
                ("region", "us-east-1".to_owned()),
                ("access_key_id", USER.to_owned()),
                ("secret_access_key", PASSWORD.to_owned()),
                ("allow_http", "true".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    };
    let set: String = options(proxy.address())
        .iter()
        .map(|(name, value)| format!("{name} = \"{value}\"\n"))
        .collect();
    // No checkpoint by time: only the bound makes any.
    let launch = Launch::new(directory.path()).config(format!(
        "[collectors.host]\nenabled = false\n[bus]\npartitions = 2\n\
         [processing]\nlateness = \"1s\"\ncheckpoint_interval = \"1h\"\ncheckpoint_samples_max = {SAMPLES_MAX}\nsnapshot_interval = \"2s\"\ntick_interval = \"500ms\"\n\
         [detection]\nwarm_up_samples = 5\nwarm_up = \"0s\"\ncompleteness_min = 0.0\nrest = \"0s\"\nalarms_per_month = 1000000.0\n\
         [log]\nformat = \"text\"\n[archive]\nurl = \"{url}\"\n[archive.options]\n{set}"
    ));
    let mut process = launch.start_ready();
    let mut load = Load::new(SERIES).spikes_every(SPIKES_EVERY);
    // What the first requests and queries take for good is not what is measured.
    for _ in 0..5 {
        assert_eq!(load.send(&process), Outcome::Ok, "{}", process.log());
    }
    let before = process.peak_memory_bytes();

    proxy.set_delay(DELAY);
    let mut waiting_most = 0.0_f64;
    for request in 0..REQUESTS {
        assert_eq!(
            load.send(&process),
            Outcome::Ok,
            "the log takes what the archive can't\n{}",
            process.log()
        );
        if request % 10 == 0 {
            let waiting = process.metric("tidewatch_partition_pending_samples");
            waiting_most = waiting.into_iter().fold(waiting_most, f64::max);
        }
    }
    let lag: f64 = process
        .metric("tidewatch_partition_lag_records")
        .into_iter()
        .sum();
    let grown = process.peak_memory_bytes() - before;
    eprintln!(
        "{} answers held back; at most {waiting_most} samples waiting in a partition, {lag} records behind, {} anomalies, {} MB more memory",
        proxy.held(),
        process
            .metric("tidewatch_anomalies_total")
            .iter()
            .sum::<f64>(),
        grown >> 20
    );
    assert!(proxy.held() > 0, "the store was never slow");
    assert!(
        lag > 0.0,
        "the store is slower than the load, and no lag is shown"
    );
    assert!(
        waiting_most <= (SAMPLES_MAX + TURN_SAMPLES_MAX) as f64,
        "{waiting_most} samples waited in a partition, bounded to {SAMPLES_MAX} and a turn"
    );
    assert!(
        grown <= GROWTH_BYTES_MAX,
        "the process grew by {} MB while the store was slow",
        grown >> 20
    );

    proxy.set_delay(Duration::ZERO);
    let caught_up = process.wait_until(CATCH_UP_TIMEOUT, |address| {
        let Ok(answer) = tests::http::get(address, "/readyz?verbose") else {
            return false;
        };
        let status: serde_json::Value = serde_json::from_str(&answer.text()).unwrap_or_default();
        let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
        answer.is_success()
            && partitions
                .iter()
                .all(|partition| partition["lag_records"] == 0)
    });
    assert!(caught_up, "the lag stays\n{}", process.log());
    let lag = process.metric("tidewatch_partition_lag_records");
    assert!(lag.iter().all(|lag| *lag < 2.0), "{lag:?}");
    load.repeat_last(&process, 3);
    process.stop_cleanly();

    let copy = directory.path().join("archive");
    fetch(&url, &options(server), &copy);
    Book::of_archive(&load, directory.path(), &copy, "tidewatch.samples")
        .audit("after a slow store");
}

/// Copies an archive into a directory, for the auditor.
fn fetch(url: &str, options: &BTreeMap<String, String>, into: &Path) {
    let store = Archive::open(url, options).unwrap().store();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert!(!objects.is_empty(), "nothing at {url}");
        for object in objects {
            let bytes = store.get(&object.location).await.unwrap();
            let path = into.join(object.location.as_ref());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes.bytes().await.unwrap()).unwrap();
        }
    });
}
