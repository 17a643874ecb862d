//! What can't be decoded is set aside with what it looks like, told once, and replayed when the configuration is corrected.

use std::process::Command;

use tests::process::{Tidewatch, binary};

use super::bodies::{garbage, otlp_json, otlp_proto};
use super::{Cluster, number, samples, wait_for};

const START_S: u64 = 1_780_000_000;

/// `tidewatch dead-letters …` against an instance: its exit code, and what it prints.
fn command(process: &Tidewatch, words: &[&str]) -> (i32, String) {
    let output = Command::new(binary())
        .arg("dead-letters")
        .args(words)
        .args(["--url", &format!("http://{}", process.address())])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

fn source(topic: &str, format: &str) -> String {
    format!("[sources.kafka.collector]\ntopics = [\"{topic}\"]\nformat = \"{format}\"\n")
}

#[test]
fn garbage_is_set_aside_with_what_it_looks_like_and_told_once() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("mixed", 2);
    let records: Vec<Vec<u8>> = (0..240)
        .map(|value| match value % 4 {
            0 => garbage(value / 4, value, START_S + value).0,
            _ => otlp_proto(value, START_S + value),
        })
        .collect();
    let launch = cluster.launch(directory.path(), &source(&topic, "otlp_proto"));
    let mut process = launch.start_ready();
    cluster.send(&topic, &records);
    wait_for(&mut process, "SELECT count(*) FROM dead_letters", 60);
    wait_for(&mut process, "SELECT count(*) FROM samples", 180);
    let letters = process.sql(
        "SELECT id, source, source_topic, configured_format, guessed_format, reason, error_code, source_offset, source_time FROM dead_letters",
    );
    for kind in 0..6 {
        let (_, looks_like) = garbage(kind, 0, START_S);
        let guess = |row: &&serde_json::Value| {
            row["guessed_format"]
                .as_str()
                .unwrap()
                .starts_with(looks_like)
        };
        let same: Vec<_> = letters.iter().filter(guess).collect();
        assert_eq!(same.len(), 10, "{looks_like}: {letters:#?}");
        for row in same {
            assert_eq!(row["source"], "collector");
            assert_eq!(row["source_topic"], topic.as_str());
            assert_eq!(row["configured_format"], "otlp_proto");
            let reason = row["reason"].as_str().unwrap();
            let expected = format!("configured otlp_proto; looks like {looks_like}");
            assert!(reason.starts_with(&expected), "{reason}");
            assert!(
                row["source_offset"].is_u64() && row["source_time"].is_string(),
                "{row}"
            );
        }
    }
    // One line for each kind, not for each record.
    let told = process
        .log()
        .matches("records go to the dead letters")
        .count();
    assert_eq!(told, 6, "{}", process.log());
    assert_eq!(
        process.metric("tidewatch_source_dead_letters_total"),
        [60.0]
    );

    // One of them in full, and its bytes as they came.
    let json = letters
        .iter()
        .find(|row| row["guessed_format"] == "otlp_json")
        .unwrap();
    let id = json["id"].as_str().unwrap();
    let (code, shown) = command(&process, &["show", id]);
    assert_eq!(code, 0, "{shown}");
    assert!(
        shown.contains("looks like otlp_json") && shown.contains("resourceMetrics"),
        "{shown}"
    );
    let (_, raw) = command(&process, &["show", id, "--raw"]);
    assert!(
        raw.starts_with('{') && raw.contains("system.load.json"),
        "{raw}"
    );
    let (code, listed) = command(&process, &["list", "--limit", "5"]);
    assert_eq!((code, listed.matches(&topic).count()), (0, 5), "{listed}");
    let (code, missing) = command(&process, &["show", "0-99999"]);
    assert_eq!(code, 1, "{missing}");

    // What is otlp_json is taken as such; what is not stays, with the reason.
    let (code, replayed) = command(&process, &["replay", "--as", "otlp_json"]);
    assert_eq!(code, 1, "{replayed}");
    assert!(
        replayed.starts_with("10 dead letters replayed, 10 samples")
            && replayed.contains("50 dead letters could not be taken"),
        "{replayed}"
    );
    wait_for(&mut process, "SELECT count(*) FROM samples", 190);
    let noted = "SELECT count(*) FROM dead_letters WHERE replayed_at IS NOT NULL";
    assert_eq!(number(&process, noted), 10);
    process.stop_cleanly();
}

#[test]
fn c2_a_replay_after_the_configuration_is_corrected_equals_a_clean_run() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let topic = cluster.topic("wrong", 3);
    let records: Vec<Vec<u8>> = (0..100)
        .map(|value| otlp_json(value, START_S + value))
        .collect();
    cluster.send(&topic, &records);

    let directory = tempfile::tempdir().unwrap();
    let mut wrong = cluster
        .launch(directory.path(), &source(&topic, "otlp_proto"))
        .start_ready();
    wait_for(&mut wrong, "SELECT count(*) FROM dead_letters", 100);
    assert_eq!(number(&wrong, "SELECT count(*) FROM samples"), 0);
    wrong.stop_cleanly();

    // The group has passed these records: only a replay brings them.
    let mut corrected = cluster
        .launch(directory.path(), &source(&topic, "otlp_json"))
        .start_ready();
    let (code, told) = command(&corrected, &["replay"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.starts_with("100 dead letters replayed, 100 samples"),
        "{told}"
    );
    wait_for(&mut corrected, "SELECT count(*) FROM samples", 100);
    let (_, again) = command(&corrected, &["replay"]);
    assert!(
        again.starts_with("0 dead letters replayed, 0 samples"),
        "{again}"
    );
    // By name they are replayed whatever was before, and change nothing.
    let first = corrected.sql("SELECT id FROM dead_letters ORDER BY id LIMIT 1");
    let (code, named) = command(&corrected, &["replay", first[0]["id"].as_str().unwrap()]);
    assert_eq!(code, 0, "{named}");

    let clean_directory = tempfile::tempdir().unwrap();
    let group = format!("group = \"{}\"\n", cluster.name("clean"));
    let mut clean = cluster
        .launch(
            clean_directory.path(),
            &(source(&topic, "otlp_json") + &group),
        )
        .start_ready();
    wait_for(&mut clean, "SELECT count(*) FROM samples", 100);
    assert_eq!(samples(&corrected), samples(&clean));
    clean.stop_cleanly();
    corrected.stop_cleanly();
}
