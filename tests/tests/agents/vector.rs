//! Vector, which is no program that can be built here: a record as its documentation shows it, to a topic that its page names.

use tests::agents::WAY_LABEL;
use tests::kafka::Cluster;
use tests::samples::{Sample, wait_for};

use super::{launch, settings_of_both};

/// An event of the codec `native_json`.
const EVENT: &str = r#"{"metric":{"name":"load","namespace":"vector","tags":{"host":"a","way":"vector"},"timestamp":"2026-05-28T20:26:40.5Z","kind":"absolute","gauge":{"value":1.5}}}"#;

#[test]
fn the_page_reads_what_the_documentation_of_vector_shows() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("events", 1);
    let (_, ours) = settings_of_both(
        "vector",
        "## Point it here",
        &cluster,
        ("vector-metrics", &topic),
        &[],
    );
    let launch = launch(directory.path());
    let mut process = launch
        .config(format!("{}\n{ours}", tests::FAST_CONFIG))
        .start_ready();
    cluster.send(&topic, &[EVENT.as_bytes().to_vec()]);
    let expected = Sample::new("vector_load", 1_780_000_000_500_000, 1.5)
        .with(&[("host", "a"), (WAY_LABEL, "vector")]);
    wait_for(&mut process, WAY_LABEL, "vector", &[expected]);
    process.stop_cleanly();
}
