//! `tidewatch demo` as a user sees it: weeks in SQL, anomalies found and missed, a restart, a kill, a wrong fleet, simulated time, Kafka.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use ingest::Batcher;
use ingest::collectors::fleet::Fleet;
use schemas::time::{DAY, SECOND};
use schemas::{Micros, Window};
use serde_json::Value;
use tests::process::{Launch, Tidewatch, binary, run_command};

/// How long a history may take in a debug build on a busy machine. A bound for what hangs.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long anything else may take.
const WAIT_TIMEOUT: Duration = Duration::from_secs(90);
/// The promise: a stop takes at most 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const HOSTS: u32 = 2;
const SEED: u64 = 11;
/// Two weeks of two hosts, a sample each five minutes.
const FORTNIGHT: &[&str] = &[
    "demo",
    "--hosts",
    "2",
    "--seed",
    "11",
    "--history",
    "2w",
    "--interval",
    "5m",
];
const INTERVAL: Micros = 300 * SECOND;

/// Logs as text, checkpoints often; everything else as it comes.
const CONFIG: &str = "[processing]\ncheckpoint_interval = \"1s\"\n[log]\nformat = \"text\"\n";

fn launch(directory: &Path, command: &[&str]) -> Launch {
    Launch::unconfigured(directory)
        .config(CONFIG)
        .command(command)
}

/// Waits until the history is there and the demo says what to try.
fn wait_live(process: &mut Tidewatch, directory: &Path) {
    process.wait_ready();
    let told = |process: &Tidewatch| process.log().contains("Ctrl-C stops");
    let deadline = std::time::Instant::now() + HISTORY_TIMEOUT;
    while !told(process) {
        assert!(
            process.exited().is_none() && std::time::Instant::now() < deadline,
            "no history in {}\n{}",
            directory.display(),
            process.log()
        );
        process.wait_until(Duration::from_millis(200), |_| false);
    }
}

fn number(process: &Tidewatch, query: &str) -> i64 {
    let rows = process.sql(query);
    rows.first()
        .and_then(|row| row["n"].as_i64())
        .unwrap_or_else(|| panic!("`{query}`: expected one row with a number `n`, found {rows:?}"))
}

/// Microseconds as a timestamp in SQL.
fn sql_time(time: Micros) -> String {
    format!("to_timestamp_micros({time})")
}

/// The latest sample, microseconds.
fn latest(process: &Tidewatch) -> Micros {
    number(
        process,
        "SELECT CAST(max(time) AS BIGINT) AS n FROM samples",
    )
}

fn begin(launch: &Launch) -> Micros {
    let text = std::fs::read(launch.data_dir().join("demo.json")).unwrap();
    let identity: Value = serde_json::from_slice(&text).unwrap();
    identity["begin_us"].as_i64().unwrap()
}

/// How many samples the fleet makes in a span, what tells of events left out.
fn made(span: Window, interval: Micros) -> i64 {
    let (mut made, mut from) = (0, span.start);
    let mut fleet = Fleet::new(SEED, HOSTS).unwrap();
    let mut door = Batcher::new(1, 1 << 20, usize::MAX);
    while from < span.end {
        let day = Window {
            start: from,
            end: span.end.min(from + DAY),
        };
        fleet.collect(day, interval, &mut door).unwrap();
        made += door.samples() as i64 - fleet.events(day).len() as i64;
        door.discard();
        from = day.end;
    }
    made
}

/// The samples up to a time, what tells of events left out.
fn stored(process: &Tidewatch, until: Micros) -> i64 {
    number(
        process,
        &format!(
            "SELECT count(*) AS n FROM samples WHERE metric <> 'tidewatch.demo.event' AND time < {}",
            sql_time(until)
        ),
    )
}

fn assert_none_twice(process: &Tidewatch) {
    let twice = process.sql(
        "SELECT series_id, time, count(*) AS n FROM samples GROUP BY 1, 2 HAVING count(*) > 1 LIMIT 3",
    );
    assert!(twice.is_empty(), "{twice:?}\n{}", process.log());
}

/// The query of what was found and missed, as the demo prints it.
fn printed_query(process: &Tidewatch) -> String {
    let log = process.log();
    let line = log.lines().find(|line| line.contains("demo_events"));
    let line = line.unwrap_or_else(|| panic!("nothing about demo_events\n{log}"));
    line.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn weeks_are_seen_a_spike_is_found_and_a_restart_goes_on_where_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let first = launch(directory.path(), FORTNIGHT);
    let mut process = first.start();
    wait_live(&mut process, directory.path());

    // Weeks of rollups, and each agrees with its samples.
    let days = process.sql(
        "SELECT CAST(s.day AS VARCHAR) AS day, s.n AS samples, r.n AS rolled FROM \
         (SELECT date_trunc('day', time) AS day, count(*) AS n FROM samples GROUP BY 1) AS s JOIN \
         (SELECT time AS day, sum(count) AS n FROM rollups_1d GROUP BY 1) AS r ON r.day = s.day ORDER BY 1",
    );
    assert!(days.len() >= 13, "{days:?}");
    assert!(
        days.iter().all(|day| day["samples"] == day["rolled"]),
        "{days:?}"
    );

    // Every sample that the fleet makes is there, in time, once.
    let begin = begin(&first);
    let whole_days = Window {
        start: begin,
        end: begin + 13 * DAY,
    };
    assert_eq!(stored(&process, whole_days.end), made(whole_days, INTERVAL));
    assert_none_twice(&process);
    let refused = number(
        &process,
        "SELECT CAST(coalesce(sum(late + invalid + duplicate), 0) AS BIGINT) AS n FROM checkpoints",
    );
    assert_eq!(refused, 0);

    // What was planted can be asked for, and some of it was found.
    let query = printed_query(&process);
    let found = process.sql(&query);
    let of = |kind: &str| {
        found
            .iter()
            .find(|row| row["kind"] == kind)
            .unwrap_or_else(|| panic!("no {kind} in {found:?}"))
    };
    assert!(of("spike")["planted"].as_i64() > Some(100), "{found:?}");
    assert!(of("spike")["found"].as_i64() > Some(0), "{found:?}");
    for kind in ["restart", "leak", "level_shift", "silence"] {
        assert!(of(kind)["planted"].as_i64() > Some(0), "{found:?}");
    }

    // Ctrl-C ends it; without flags it goes on as the same fleet.
    let until = latest(&process);
    let before = number(
        &process,
        &format!(
            "SELECT count(*) AS n FROM samples WHERE time <= {}",
            sql_time(until)
        ),
    );
    process.send_sigint();
    let status = process.wait_exit(STOP_TIMEOUT);
    assert!(
        status.success(),
        "Ctrl-C ended it with {status}\n{}",
        process.log()
    );
    drop(process);

    let mut process = launch(directory.path(), &["demo"]).start();
    wait_live(&mut process, directory.path());
    let after = number(
        &process,
        &format!(
            "SELECT count(*) AS n FROM samples WHERE time <= {}",
            sql_time(until)
        ),
    );
    assert_eq!(after, before);
    let deadline = std::time::Instant::now() + WAIT_TIMEOUT;
    while latest(&process) <= until {
        assert!(
            std::time::Instant::now() < deadline,
            "nothing came after the restart\n{}",
            process.log()
        );
        process.wait_until(Duration::from_millis(200), |_| false);
    }
    assert_none_twice(&process);
    process.stop_cleanly();

    // And SQL over the directory when nothing runs.
    let data_dir = first.data_dir().display().to_string();
    let answer = run_command(
        directory.path(),
        &["sql", "--data-dir", &data_dir, "--format", "csv", &query],
    );
    assert!(answer.contains("spike,"), "{answer}");
}

#[test]
fn c2_a_kill_in_the_middle_of_history_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let command = launch(directory.path(), FORTNIGHT);
    let mut process = command.start_ready();
    let deadline = std::time::Instant::now() + HISTORY_TIMEOUT;
    while number(&process, "SELECT count(*) AS n FROM samples") < 20_000 {
        assert!(std::time::Instant::now() < deadline, "{}", process.log());
        process.wait_until(Duration::from_millis(20), |_| false);
    }
    assert!(
        !process.log().contains("Ctrl-C stops"),
        "the history was over too soon"
    );
    process.kill_nine();
    drop(process);

    let mut process = command.start();
    wait_live(&mut process, directory.path());
    let begin = begin(&command);
    let whole_days = Window {
        start: begin,
        end: begin + 13 * DAY,
    };
    assert_eq!(stored(&process, whole_days.end), made(whole_days, INTERVAL));
    assert_none_twice(&process);
    process.stop_cleanly();
}

#[test]
fn simulated_time_runs_ahead_and_windows_close_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let command = ["demo", "--hosts", "1", "--history", "0s", "--speed", "1800"];
    let mut process = launch(directory.path(), &command).start();
    wait_live(&mut process, directory.path());
    let begin = begin(&launch(directory.path(), &command));
    let hours = "SELECT count(DISTINCT time) AS n FROM rollups_1h";
    let deadline = std::time::Instant::now() + WAIT_TIMEOUT;
    while number(&process, hours) < 3 {
        assert!(std::time::Instant::now() < deadline, "{}", process.log());
        process.wait_until(Duration::from_millis(200), |_| false);
    }
    // The third window is that of the beginning and two hours.
    assert!(latest(&process) > begin + 2 * 3600 * SECOND);
    let refused = number(
        &process,
        "SELECT CAST(coalesce(sum(late + invalid + duplicate), 0) AS BIGINT) AS n FROM checkpoints",
    );
    assert_eq!(refused, 0);
    process.stop_cleanly();
}

/// Runs a command that must fail; its exit code and what it said.
fn refusal(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(arguments)
        .args(["--listen", "127.0.0.1:0"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn another_fleet_and_other_data_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let command = ["demo", "--hosts", "1", "--seed", "3", "--history", "0s"];
    let mut process = launch(directory.path(), &command).start();
    wait_live(&mut process, directory.path());
    process.stop_cleanly();
    for flags in [["--seed", "4"], ["--hosts", "2"]] {
        let (code, said) = refusal(
            directory.path(),
            &["demo", "--data-dir", "data", flags[0], flags[1]],
        );
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--seed 3 --hosts 1"), "{said}");
    }

    let real = tempfile::tempdir().unwrap();
    Launch::new(real.path()).start_ready().stop_cleanly();
    let (code, said) = refusal(real.path(), &["demo", "--data-dir", "data"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no demo"), "{said}");

    for (arguments, expected) in [
        (vec!["demo", "--publish-only"], "kind = \"kafka\""),
        (vec!["demo", "--speed", "0"], "0.001 to 100000"),
        (vec!["demo", "--history", "3"], "3w, 36h or 90s"),
        (vec!["demo", "--hosts", "0"], "1..=10000"),
        (vec!["demo", "--interval", "15s"], "multiple of 10s"),
    ] {
        let (code, said) = refusal(real.path(), &arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_fleet_is_published_to_kafka_for_others_to_process() {
    let Some(brokers) = tests::kafka::kafka_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let unique = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let config = format!(
        "{}\n[bus]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ngroup = \"demo-{unique}\"\ntopic_prefix = \"demo-{unique}\"\n",
        tests::FAST_CONFIG
    );
    std::fs::write(directory.path().join("demo.toml"), &config).unwrap();
    run_command(
        directory.path(),
        &["topics", "create", "--config", "demo.toml"],
    );
    let process = Launch::new(directory.path()).config(config).start_ready();
    let (code, said) = refusal(directory.path(), &["demo", "--config", "demo.toml"]);
    assert!(code == Some(2) && said.contains("--publish-only"), "{said}");

    let publisher = Command::new(binary())
        .args([
            "demo",
            "--publish-only",
            "--hosts",
            "2",
            "--config",
            "demo.toml",
        ])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let publisher = Ended(publisher);
    let mut process = process;
    let deadline = std::time::Instant::now() + WAIT_TIMEOUT;
    // Two rounds of both hosts.
    while number(
        &process,
        "SELECT count(*) AS n FROM samples WHERE host LIKE 'demo-%'",
    ) < 4 * 38
    {
        assert!(std::time::Instant::now() < deadline, "{}", process.log());
        process.wait_until(Duration::from_millis(200), |_| false);
    }
    let under_way = number(&process, "SELECT count(*) AS n FROM demo_events");
    assert!(under_way > 0, "what is under way is told at the start");
    drop(publisher);
    process.stop_cleanly();
}
