//! What real agents sent, byte for byte: connections go to the real program, records of topics to the decoder, and what they held is there, exactly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use ingest::door::Batcher;
use ingest::foreign::{Format, Reading};
use ingest::http::LineUnit;
use schemas::SampleBatch;
use tests::agents::WAY_LABEL;
use tests::captured;
use tests::http::replay;
use tests::process::Launch;
use tests::samples::{Sample, wait_for};

/// What is kept with an ending: names without it, and the bytes.
fn kept(ending: &str) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(captured::directory()).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let of_ending = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|found| found == ending));
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    of_ending
        .map(|path| (name(path), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_connection_brings_what_its_agent_sent() {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path()).env("TIDEWATCH__PROCESSING__BACKFILL", "true");
    let mut process = launch.start_ready();
    let connections = kept("connection");
    assert!(!connections.is_empty());
    let address = process.address();
    let open: Vec<_> = connections
        .iter()
        .map(|(_, sent)| replay(address, sent))
        .collect();
    for (name, _) in &connections {
        wait_for(&mut process, WAY_LABEL, name, &captured::samples(name));
    }
    drop(open);
    process.stop_cleanly();
}

#[test]
fn every_record_of_a_topic_holds_what_its_agent_sent() {
    let records = kept("record");
    assert!(!records.is_empty());
    for (name, record) in records {
        // The last word of the name is what the agent calls the format.
        let (_, format) = name.rsplit_once('-').unwrap();
        let reading = Reading {
            format: Format::from_name(format).unwrap(),
            unit: LineUnit::Auto,
        };
        let mut door = Batcher::new(1, 1 << 20, 1000);
        reading.decode(&record, 0, &mut door).unwrap();
        let (records, rejections) = door.finish().unwrap();
        assert!(rejections.is_empty(), "{name}: {rejections:?}");
        let mut found: Vec<Sample> = records
            .iter()
            .flat_map(|record| samples_of(&SampleBatch::decode(&record.record.value).unwrap()))
            .collect();
        found.sort();
        assert_eq!(found, captured::samples(&name), "{name}");
    }
}

/// A file of samples that nobody looks at would prove nothing.
#[test]
fn samples_are_kept_beside_what_held_them() {
    let names = |ending: &str| -> BTreeSet<String> {
        kept(ending).into_iter().map(|(name, _)| name).collect()
    };
    let all = &names("connection") | &names("record");
    assert_eq!(names("samples"), all);
}

fn samples_of(batch: &SampleBatch) -> Vec<Sample> {
    (0..batch.rows())
        .map(|row| {
            let metric = &batch.metrics()[batch.metric_keys()[row] as usize];
            let labels = &batch.label_sets()[batch.label_keys()[row] as usize];
            let labels: Vec<(&str, &str)> = labels.iter().collect();
            Sample::new(metric, batch.times()[row], batch.values()[row]).with(&labels)
        })
        .collect()
}
