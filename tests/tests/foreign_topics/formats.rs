//! Every format side by side in one process: what was sent is in SQL, exactly.

use serde_json::json;

use super::bodies::AGENTS;
use super::{Cluster, number, wait_for};

const RECORDS: u64 = 40;
const START_S: u64 = 1_780_000_000;

#[test]
fn every_format_arrives_as_it_was_sent_and_so_do_topics_that_come_later() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut sources = String::new();
    for agent in &AGENTS {
        let name = agent.format.replace('_', "-");
        // One by a pattern, and one whose brokers are its own; the others have those of the log.
        let topics = match agent.format {
            "influx" => format!("^{}\\..*", cluster.name("metrics")),
            _ => cluster.topic(&name, 2),
        };
        let brokers = match agent.format {
            "json" => format!("brokers = \"{}\"\n", cluster.brokers),
            _ => String::new(),
        };
        let format = agent.format;
        sources.push_str(&format!(
            "[sources.kafka.{name}]\ntopics = ['{topics}']\nformat = \"{format}\"\n{brokers}"
        ));
    }
    let first = cluster.topic("metrics.one", 1);
    let mut process = cluster.launch(directory.path(), &sources).start_ready();
    let records = |record: fn(u64, u64) -> Vec<u8>, values: std::ops::Range<u64>| {
        let record = |value| record(value, START_S + value);
        values.map(record).collect::<Vec<_>>()
    };
    for agent in &AGENTS {
        let name = agent.format.replace('_', "-");
        if agent.format == "influx" {
            cluster.send(&first, &records(agent.record, 0..RECORDS / 2));
            // A topic that is made while the source runs.
            let second = cluster.topic("metrics.two", 3);
            cluster.send(&second, &records(agent.record, RECORDS / 2..RECORDS));
        } else {
            cluster.send(&cluster.name(&name), &records(agent.record, 0..RECORDS));
        }
    }
    let total = i64::try_from(RECORDS).unwrap() * AGENTS.len() as i64;
    wait_for(&mut process, "SELECT count(*) FROM samples", total);
    for agent in &AGENTS {
        let sql = format!(
            "SELECT labels, CAST(time AS BIGINT) AS us, value FROM samples WHERE metric = '{}' ORDER BY time",
            agent.metric
        );
        let rows = process.sql(&sql);
        let found = rows.iter().map(|row| {
            assert_eq!(row["labels"], json!({agent.host: "a"}), "{}", agent.format);
            (row["us"].as_u64().unwrap(), row["value"].as_f64().unwrap())
        });
        let expected = (0..RECORDS).map(|value| ((START_S + value) * 1_000_000, value as f64));
        assert!(found.eq(expected), "{}: {rows:?}", agent.format);
    }
    assert_eq!(number(&process, "SELECT count(*) FROM dead_letters"), 0);
    let read: f64 = process
        .metric("tidewatch_source_records_total")
        .iter()
        .sum();
    assert_eq!(read as i64, total);
    process.stop_cleanly();
}
