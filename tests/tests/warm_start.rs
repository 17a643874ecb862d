//! Detection and forecasts that were off, or of another version, learn the past from the archive, of series and across them, once, before anything new is judged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemas::{Counts, LinkKind};
use serde_json::Value;
use sinks::{Archive, Chain, NewLink, list_partitions, load_chain, read_links};
use tests::process::{Launch, SIGABRT, SIGKILL, binary, ended_by, run_command};
use tests::random::Random;

/// 2026-03-01T00:00:00Z, seconds.
const MARCH: i64 = 1_772_323_200;
/// Three weeks, minutes.
const PAST: i64 = 21 * 1_440;
/// When the load jumps, minutes after the start with detection: before its warm-up would end.
const JUMP: i64 = 20;

/// Every so many minutes from (inclusive) to (exclusive), two hosts: a load with a daily rhythm, which jumps on one of them for three minutes, and a
/// counter.
fn history(from: i64, to: i64, every: usize) -> String {
    let mut text = String::from("timestamp,metric,host,value\n");
    for minute in (from..to).step_by(every) {
        let time = MARCH + 60 * minute;
        for host in 0..2 {
            let noise = ((minute * 7_919 + host * 31) % 101) as f64 / 100.0;
            let busy = if minute % 1_440 < 720 { 40.0 } else { 20.0 };
            let jump = host == 0 && (PAST + JUMP..PAST + JUMP + 3).contains(&minute);
            let load = busy + noise + if jump { 300.0 } else { 0.0 };
            writeln!(text, "{time},load,h{host},{load}").unwrap();
            writeln!(text, "{time},requests_total,h{host},{}", 60 * minute).unwrap();
        }
    }
    text
}

/// Replays a file into a data directory, with detection and forecasts or without; returns the anomalies of the directory.
fn replay(place: &Path, file: &str, data: &str, on: bool) -> Vec<Value> {
    replay_with(place, file, data, on, &[])
}

/// As [`replay`], with further settings by their variables.
fn replay_with(
    place: &Path,
    file: &str,
    data: &str,
    on: bool,
    settings: &[(&str, &str)],
) -> Vec<Value> {
    let output = Command::new(binary())
        .args([
            "replay",
            file,
            "--data-dir",
            data,
            "--append",
            "--leave-open",
            "-q",
        ])
        .args(["--output", "events.ndjson"])
        // As many as a live run of the tests has.
        .env("TIDEWATCH__BUS__PARTITIONS", "4")
        .env("TIDEWATCH__DETECTION__ENABLED", on.to_string())
        .env("TIDEWATCH__FORECAST__ENABLED", on.to_string())
        .envs(settings.iter().copied())
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {errors}");
    let events = std::fs::read_to_string(place.join("events.ndjson")).unwrap();
    let events = events.lines();
    events
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The one number that a question has for an answer.
fn count(place: &Path, data: &str, query: &str) -> u64 {
    let query = format!("SELECT count(*) AS n FROM {query}");
    let answer = run_command(place, &["sql", "--data-dir", data, "-f", "csv", &query]);
    answer.trim().trim_start_matches("n\n").parse().unwrap()
}

/// The jump, as far as it was told.
fn jumps(events: &[Value]) -> Vec<&Value> {
    let told = events.iter().filter(|event| event["metric"] == "load");
    told.collect()
}

#[test]
fn what_is_turned_on_late_knows_the_past_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("past.csv"), history(0, PAST, 5)).unwrap();
    std::fs::write(place.join("first.csv"), history(PAST, PAST + 420, 1)).unwrap();
    std::fs::write(place.join("then.csv"), history(PAST + 420, PAST + 480, 1)).unwrap();
    const FORECASTS: &str = "forecasts WHERE kind = 'value'";

    // Without a past, the first minutes are too early for an alarm, and the first hours for a forecast.
    let cold = replay(place, "first.csv", "cold", true);
    assert_eq!(jumps(&cold), Vec::<&Value>::new());
    assert_eq!(count(place, "cold", FORECASTS), 0);
    assert_eq!(count(place, "cold", LEARNED), 0);

    for data in ["warm", "again"] {
        assert_eq!(replay(place, "past.csv", data, false), Vec::<Value>::new());
        assert_eq!(count(place, data, LEARNED), 0, "nothing wants to know");
    }
    let warm = replay(place, "first.csv", "warm", true);
    let told = jumps(&warm);
    assert_eq!(told.len(), 1, "{warm:#?}");
    let time = MARCH + 60 * (PAST + JUMP);
    let time = schemas::time::rfc3339(time * schemas::time::SECOND);
    assert_eq!(told[0]["time"], time.replace(".000000Z", "Z").as_str());
    assert!(told[0]["trust"].as_f64().unwrap() > 0.99, "{}", told[0]);
    let partitions = count(place, "warm", LEARNED);
    assert!(
        (1..=2).contains(&partitions),
        "a link of each partition with a host, but {partitions}"
    );
    assert!(count(place, "warm", FORECASTS) > 0);
    // What was forecast in the past was never published, so nothing of it is scored.
    let orphans = "forecast_scores s LEFT JOIN forecasts f ON s.forecast_id = f.event_id WHERE f.event_id IS NULL";
    assert_eq!(count(place, "warm", orphans), 0);

    // The same archive gives the same events; who knows the past does not learn it again.
    assert_eq!(replay(place, "first.csv", "again", true), warm);
    replay(place, "then.csv", "warm", true);
    assert_eq!(count(place, "warm", LEARNED), partitions);
}

/// What is seen without detection, minutes: a class of seven hosts needs less than half of it. And when one begins to be odd, minutes after it: before siblings,
/// let alone forests, would have warmed up.
const SEEN: i64 = 400;
const ODD: i64 = 15;

/// Each minute from (inclusive) to (exclusive), seven hosts that share a load with a daily rhythm. For half an hour the disk of one is busy at the usual load.
fn fleet(from: i64, to: i64) -> String {
    let mut text = String::from("timestamp,metric,host,value\n");
    for minute in from..to {
        let time = MARCH + 60 * minute;
        let angle = minute as f64 / 1_440.0 * std::f64::consts::TAU;
        for host in 0..7 {
            let noise = |of: i64| ((minute * 7_919 + host * 31 + of * 613) % 101) as f64 / 101.0;
            let load = 2.0 + angle.sin() + 0.2 * noise(1);
            let odd = host == 3 && (SEEN + ODD..SEEN + ODD + 30).contains(&minute);
            let (busy, waits) = if odd { (4.0, 8.0) } else { (1.0, 0.0) };
            for (metric, value) in [
                ("load", load),
                ("cpu_busy", 0.2 * load + 0.02 * noise(2)),
                ("memory_used", 8.0 + load + 0.1 * noise(3)),
                ("disk_io", 30.0 * load * busy + 3.0 * noise(4)),
                ("disk_latency", 5.0 + load + waits + 0.3 * noise(5)),
            ] {
                writeln!(text, "{time},{metric},h{host},{value:.4}").unwrap();
            }
        }
    }
    text
}

#[test]
fn forests_and_siblings_that_were_off_know_the_past_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    // A record's time is that of its first sample: the eve seals the past, and what follows seals the first hour.
    for (file, from, to) in [
        ("past.csv", 0, SEEN),
        ("eve.csv", SEEN, SEEN + 3),
        ("first.csv", SEEN + 3, SEEN + 60),
        ("then.csv", SEEN + 60, SEEN + 61),
    ] {
        std::fs::write(place.join(file), fleet(from, to)).unwrap();
    }
    // Siblings meet in a partition.
    let replay = |file: &str, data: &str, on: bool, more: &[(&str, &str)]| {
        let settings = [&[("TIDEWATCH__BUS__PARTITIONS", "1")], more].concat();
        replay_with(place, file, data, on, &settings);
    };
    let told = |data: &str| {
        const ACROSS: &str = "SELECT DISTINCT kind, host FROM anomalies WHERE kind IN ('peer', 'resource') ORDER BY kind";
        run_command(place, &["sql", "--data-dir", data, "-f", "csv", ACROSS])
    };

    for file in ["first.csv", "then.csv"] {
        replay(file, "cold", true, &[]);
    }
    assert_eq!(told("cold"), "kind,host\n");

    // From minutes; from samples, where the archive keeps no rollups of minutes.
    let hours = ("TIDEWATCH__ARCHIVE__ROLLUPS", "1h");
    for (data, more) in [("minutes", &[][..]), ("samples", &[hours])] {
        for file in ["past.csv", "eve.csv"] {
            replay(file, data, false, more);
        }
        assert_eq!(count(place, data, LEARNED), 0, "nothing wants to know");
        for file in ["first.csv", "then.csv"] {
            replay(file, data, true, more);
        }
        assert_eq!(told(data), "kind,host\npeer,h3\nresource,h3\n", "{data}");
        // Who knows the past does not learn it again.
        assert_eq!(count(place, data, LEARNED), 1, "{data}");
    }
}

/// Links that hold no stretch of the log: those that made a learned past part of the chain.
const LEARNED: &str = "checkpoints WHERE kind = 'commit' AND start_offset = end_offset";

/// The settings of a live instance, with the detectors' own warm-up, which no such test outlasts.
const LIVE: &str = "[collectors.host]\nenabled = false\n[processing]\nlateness = \"1s\"\ncheckpoint_interval = \"1s\"\ntick_interval = \"500ms\"\n";

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

/// Hosts of a fleet, of which at least one of four partitions has five; and minutes of them.
const FLEET: i64 = 17;
const FLEET_MINUTES: i64 = 180;

/// A data directory `data` in `place` whose past ends a moment ago, seen by detectors or not: eight days of two hosts, every five minutes, and of a fleet the
/// last hours, every minute.
fn past_until_now(place: &Path, detection: bool) {
    let (mut text, end) = (String::from("timestamp,metric,host,value\n"), now());
    for minute in (0..FLEET_MINUTES).rev() {
        let time = end - 60 * minute - 10;
        for host in 0..FLEET {
            let noise = ((time * 7_919 + host * 31) % 101) as f64 / 100.0;
            writeln!(text, "{time},busy,web{host},{}", 5.0 + noise).unwrap();
        }
    }
    for step in (0..8 * 288).rev() {
        let time = end - 300 * step - 10;
        for host in 0..2 {
            let noise = ((time * 7_919 + host * 31) % 101) as f64 / 100.0;
            writeln!(text, "{time},load_now,h{host},{}", 30.0 + noise).unwrap();
        }
    }
    std::fs::write(place.join("now.csv"), text).unwrap();
    assert_eq!(
        replay(place, "now.csv", "data", detection),
        [] as [Value; 0]
    );
}

const PAST_SAMPLES: u64 = (2 * 8 * 288 + FLEET * FLEET_MINUTES) as u64;

/// What a live instance makes of its past and of a jump.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// Kind, direction and trust of each alarm.
    alarms: Vec<String>,
    samples: u64,
    /// Samples in the rollups of the past.
    rolled_up: String,
    /// By partition: what was learned by the links that made a past part of the chain, as a hash of the state.
    learned: Vec<(u32, String)>,
}

/// The learned past of each partition of a data directory.
async fn learned(data_dir: &Path) -> Vec<(u32, String)> {
    let archive = archive(data_dir);
    let mut learned = Vec::new();
    for partition in list_partitions(&archive, TOPIC).await.unwrap() {
        let view = load_chain(&archive, TOPIC, partition).await.unwrap();
        let last = view.unwrap().last().unwrap().sequence;
        let links = read_links(&archive, TOPIC, partition, 1..last + 1).await;
        let links = links.unwrap().into_iter().filter(|link| {
            let is_empty = link.start == link.end;
            link.kind == LinkKind::Commit && is_empty
        });
        learned.extend(links.map(|link| (partition, link.snapshot.unwrap().sha256)));
    }
    learned
}

const TOPIC: &str = "tidewatch.samples";

fn archive(data_dir: &Path) -> Archive {
    let url = format!("file://{}", data_dir.join("archive").display());
    Archive::open(&url, &BTreeMap::new()).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn live_on(launch: &Launch) -> Outcome {
    let mut process = launch.start_ready();
    process.wait_for_partitions(4);
    let line = format!("load,host=h0 now=900 {}", 1000 * now());
    assert!(process.write_lines(&line).unwrap().is_success());
    // The watermark has passed the jump once its window is sealed: nothing more comes of it.
    let sealed = "SELECT 1 AS one FROM rollups_10s WHERE metric = 'load_now' AND max = 900";
    let deadline = Instant::now() + Duration::from_secs(60);
    while process.sql(sealed).is_empty() {
        assert!(Instant::now() < deadline, "{}", process.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let alarms =
        process.sql("SELECT kind, direction, trust FROM anomalies WHERE metric = 'load_now'");
    process.stop_cleanly();
    let data_dir = launch.data_dir();
    let place = data_dir.parent().unwrap();
    const ROLLED_UP: &str = "SELECT sum(count) AS n FROM rollups_10s";
    Outcome {
        alarms: alarms.iter().map(Value::to_string).collect(),
        samples: count(place, "data", "samples"),
        rolled_up: run_command(
            place,
            &["sql", "--data-dir", "data", "-f", "csv", ROLLED_UP],
        ),
        learned: runtime().block_on(learned(&data_dir)),
    }
}

/// A copy of all that is in a directory. Nobody writes there.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn c2_a_death_while_the_past_is_learned_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let past = directory.path().join("past");
    std::fs::create_dir(&past).unwrap();
    past_until_now(&past, false);
    let launch = |name: &str| {
        let place = directory.path().join(name);
        copy(&past, &place);
        Launch::new(&place).config(LIVE)
    };

    let unharmed = live_on(&launch("unharmed"));
    assert_eq!(unharmed.alarms.len(), 1, "{unharmed:?}");
    assert!(unharmed.alarms[0].contains("\"trust\":1.0"), "{unharmed:?}");
    assert_eq!(unharmed.samples, PAST_SAMPLES + 1);
    let partitions = unharmed.learned.iter().map(|(partition, _)| *partition);
    assert_eq!(partitions.collect::<Vec<_>>(), [0, 1, 2, 3]);

    for point in [
        "warm_start.after_past",
        "warm_start.after_snapshot",
        "warm_start.after_link",
    ] {
        let launch = launch(point);
        let status = launch
            .clone()
            .crash_at(point)
            .start()
            .wait_exit(Duration::from_secs(60));
        assert!(ended_by(status, SIGABRT), "at {point}: {status}");
        assert_eq!(live_on(&launch), unharmed, "after a death at {point}");
    }

    let mut random = Random::from_environment(20_261_122);
    eprintln!("seed {}: repeat with TIDEWATCH_TEST_SEED", random.seed);
    for round in 0..3 {
        let launch = launch(&format!("killed-{round}"));
        let mut delays = Vec::new();
        // Twice in a row: a recovery of a recovery, too.
        for _ in 0..2 {
            let mut process = launch.start();
            let delay = Duration::from_millis(random.below(1500));
            // The moment of the kill, drawn from the seed; nothing is expected of this wait.
            std::thread::sleep(delay);
            assert!(ended_by(process.kill_nine(), SIGKILL));
            delays.push(delay);
        }
        let seed = random.seed;
        assert_eq!(
            live_on(&launch),
            unharmed,
            "killed after {delays:?}, seed {seed}"
        );
    }
}

/// Makes the snapshots of a data directory those of a program whose detectors have another form.
async fn save_as_others(data_dir: &Path) {
    let archive = archive(data_dir);
    for partition in list_partitions(&archive, TOPIC).await.unwrap() {
        let view = load_chain(&archive, TOPIC, partition).await.unwrap();
        let last = view.unwrap().last().unwrap().clone();
        let Some(at) = last.snapshot else {
            continue;
        };
        let mut bytes = archive.get_snapshot(&at).await.unwrap();
        // Behind the magic and the version of what can't be learned.
        bytes[12..16].copy_from_slice(&9_999_u32.to_le_bytes());
        let mut chain = Chain::claim(&archive, TOPIC, partition, &last.log_id, "another")
            .await
            .unwrap();
        let put = archive.put_snapshot(TOPIC, partition, chain.epoch(), at.next_offset, bytes);
        let link = NewLink {
            kind: LinkKind::Commit,
            end: chain.end(),
            added: Vec::new(),
            removed: Vec::new(),
            counts: Counts::default(),
            watermark: last.watermark,
            log_clock: last.log_clock,
            snapshot: Some(put.await.unwrap()),
        };
        chain.append(link).await.unwrap();
    }
}

#[test]
fn what_another_version_has_learned_is_learned_anew() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    past_until_now(place, true);
    let launch = Launch::new(place).config(LIVE);
    runtime().block_on(save_as_others(&launch.data_dir()));
    let others = count(place, "data", LEARNED);

    let outcome = live_on(&launch);
    assert_eq!(outcome.alarms.len(), 1, "{outcome:?}");
    assert!(outcome.alarms[0].contains("\"trust\":1.0"), "{outcome:?}");
    // Nothing is lost of what can't be learned, and nothing counted twice.
    assert_eq!(outcome.samples, PAST_SAMPLES + 1);
    assert_eq!(
        outcome.rolled_up.trim().trim_start_matches("n\n"),
        outcome.samples.to_string()
    );
    assert_eq!(outcome.learned.len() as u64, others + 4, "{outcome:?}");
    let log = std::fs::read_to_string(place.join("tidewatch.log")).unwrap();
    assert!(
        log.contains("saved by another version of tidewatch") && log.contains("9999"),
        "{log}"
    );
}
