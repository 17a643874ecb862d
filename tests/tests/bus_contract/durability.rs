//! What was acknowledged is there after `kill -9`. A child process appends and tells what was acknowledged, until it dies.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bus::Bus;
use futures::future::join_all;
use rstest::rstest;
use schemas::Offset;

use crate::log::{Kind, Log, open, read_from, record};

const CHILD_PLACE: &str = "BUS_CONTRACT_PLACE";
const CHILD_TOPIC: &str = "BUS_CONTRACT_TOPIC";

/// Not a test of its own: the process that the durability tests start and kill.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let (Ok(place), Ok(topic)) = (std::env::var(CHILD_PLACE), std::env::var(CHILD_TOPIC)) else {
        return;
    };
    let kind = if Path::new(&place).is_dir() {
        Kind::Embedded
    } else {
        Kind::Kafka
    };
    let bus = open(kind, &place);
    let appenders = (0..16_u32).map(|appender| {
        let (bus, topic) = (bus.clone(), topic.clone());
        async move {
            for i in 0.. {
                let value = format!("{appender}-{i}-{}", "x".repeat((i * 37) % 3000));
                let offsets = bus
                    .append(&topic, appender % 2, vec![record(value.clone())])
                    .await
                    .unwrap();
                println!("acknowledged {} {} {value}", appender % 2, offsets[0].0);
            }
        }
    });
    join_all(appenders).await;
}

/// Starts the child, lets it acknowledge `count` records, kills it (or lets its crash point do so), and tells what it acknowledged.
pub(crate) fn acknowledged_before_kill(
    place: &str,
    topic: &str,
    count: usize,
    crash_at: Option<&str>,
) -> BTreeMap<(u32, u64), String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "durability::child_that_appends_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD_PLACE, place)
        .env(CHILD_TOPIC, topic);
    if let Some(point) = crash_at {
        command.env("TIDEWATCH_CRASH_AT", point);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = BTreeMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without its end was cut off by the kill.
        if lines.read_until(b'\n', &mut line).unwrap() == 0 || line.pop() != Some(b'\n') {
            break;
        }
        let text = String::from_utf8(line.clone()).unwrap();
        if let Some(("", rest)) = text.split_once("acknowledged ") {
            let mut words = rest.split(' ');
            let mut word = || words.next().unwrap();
            acknowledged.insert(
                (word().parse().unwrap(), word().parse().unwrap()),
                word().to_owned(),
            );
        }
        if crash_at.is_none() && acknowledged.len() == count {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "the child died");
    acknowledged
}

async fn assert_all_there(bus: &dyn Bus, topic: &str, acknowledged: &BTreeMap<(u32, u64), String>) {
    for partition in 0..2 {
        let end = bus.retained(topic, partition).await.unwrap().end.0;
        let records = read_from(bus, topic, partition, 0, end as usize).await;
        for ((_, offset), value) in acknowledged.range((partition, 0)..(partition + 1, 0)) {
            let record = records.get(*offset as usize).unwrap_or_else(|| {
                panic!("acknowledged {partition}/{offset} is lost; the log ends at {end}")
            });
            assert_eq!(
                (record.offset.0, &record.value[..]),
                (*offset, value.as_bytes())
            );
        }
        let appended = bus
            .append(topic, partition, vec![record("after")])
            .await
            .unwrap();
        // Not exactly there: what the killed process had sent may still arrive at a broker after its death.
        assert!(
            appended[0] >= Offset(end),
            "the log goes on where it ended, {end}, not at {appended:?}"
        );
    }
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn what_was_acknowledged_before_kill_9_is_there_after_it(#[case] kind: Kind) {
    let Some(mut log) = Log::open(kind) else {
        return;
    };
    let topic = log.topic(2).await;
    for round in 1..=3 {
        if matches!(kind, Kind::Embedded) {
            log.bus = None;
        }
        let acknowledged = acknowledged_before_kill(&log.place, &topic, 150 * round, None);
        assert!(acknowledged.len() >= 150 * round);
        if log.bus.is_none() {
            log.bus = Some(open(kind, &log.place));
        }
        assert_all_there(log.bus(), &topic, &acknowledged).await;
    }
}

#[cfg(debug_assertions)]
#[rstest]
#[tokio::test]
async fn what_was_acknowledged_before_a_crash_at_any_point_of_the_append_is_there(
    #[values("append.before_write", "append.before_sync", "append.before_answer")] point: &str,
    #[values(1, 17)] passing: u32,
) {
    let mut log = Log::open(Kind::Embedded).unwrap();
    let topic = log.topic(2).await;
    log.bus = None;
    let acknowledged =
        acknowledged_before_kill(&log.place, &topic, 0, Some(&format!("{point}:{passing}")));
    match passing {
        1 => assert!(
            acknowledged.is_empty(),
            "nothing is acknowledged before it is durable"
        ),
        _ => assert!(
            !acknowledged.is_empty(),
            "each earlier passing acknowledged something"
        ),
    }
    assert_all_there(
        open(Kind::Embedded, &log.place).as_ref(),
        &topic,
        &acknowledged,
    )
    .await;
}
