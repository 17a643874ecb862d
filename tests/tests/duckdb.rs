//! The archive in the eyes of another engine: DuckDB and `tidewatch sql` agree, while files come and go and after a clean stop.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::load::{Load, Outcome};
use tests::process::{Launch, run_command};

/// What both engines are asked, per metric and hour (`{hour}`: seconds since 1970, in each engine's own words).
const QUESTION: &str = "SELECT metric, {hour} AS hour, count(*) AS n, sum(value) AS total, min(value) AS low, max(value) AS high";
/// The hour in DuckDB's words.
const HOUR_DUCKDB: &str = "CAST(floor(epoch(time) / 3600) * 3600 AS BIGINT)";
/// The hour in ours.
const HOUR_SQL: &str = "CAST(date_trunc('hour', time) AS BIGINT) / 1000000";

/// Reads the archive with DuckDB: the listed files, or a glob.
const SCRIPT: &str = r#"
import duckdb, json, sys
source = json.load(sys.stdin)
connection = duckdb.connect()
question = sys.argv[1]
rows = connection.execute(f"{question} FROM read_parquet($1, hive_partitioning = true) GROUP BY 1, 2 ORDER BY 1, 2", [source]).fetchall()
for metric, hour, n, total, low, high in rows:
    print(json.dumps([metric, hour, n, total, low, high]))
kinds = dict(connection.execute("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet($1))", [source]).fetchall())
assert kinds["time"] == "TIMESTAMP WITH TIME ZONE" and kinds["value"] == "DOUBLE" and kinds["labels"] == "MAP(VARCHAR, VARCHAR)", kinds
"#;

type Row = (String, i64, i64, f64, f64, f64);

fn duckdb(source: &serde_json::Value) -> Vec<Row> {
    let interpreter = tests::python::venv::interpreter().unwrap();
    let mut child = Command::new(interpreter)
        .args(["-c", SCRIPT, &QUESTION.replace("{hour}", HOUR_DUCKDB)])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), source).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "DuckDB can't read the archive");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn files(launch: &Launch, directory: &Path) -> serde_json::Value {
    let list = run_command(
        directory,
        &[
            "archive",
            "files",
            "--table",
            "samples",
            "--data-dir",
            launch.data_dir().to_str().unwrap(),
        ],
    );
    list.lines().map(str::to_owned).collect()
}

#[test]
fn duckdb_and_sql_agree_under_load_and_after_a_clean_stop() {
    if !tests::audit::is_available("duckdb") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path());
    let process = launch.start_ready();
    let mut load = Load::new(50);
    let mut acknowledged_before = 0;
    for _ in 0..5 {
        let requests = load.acknowledged_samples();
        while load.acknowledged_samples() < requests + 50 * 60 {
            assert_eq!(load.send(&process), Outcome::Ok);
            std::thread::sleep(Duration::from_millis(10));
        }
        // Exact by the list while commits and compactions go on: never a sample twice, never one of an earlier list missing.
        let list = files(&launch, directory.path());
        if list.as_array().unwrap().is_empty() {
            continue;
        }
        let total: i64 = duckdb(&list).iter().map(|row| row.2).sum();
        assert!(
            total >= acknowledged_before && total <= load.acknowledged_samples() as i64,
            "{total} samples by the list"
        );
        acknowledged_before = total;
        // SQL sees every acknowledged sample at once, hot rows and files together, none twice.
        let seen = process.sql("SELECT count(*) AS n FROM samples WHERE metric LIKE 'load_%'");
        assert!(
            seen[0]["n"].as_i64().unwrap() <= load.acknowledged_samples() as i64,
            "{seen:?}"
        );
    }
    // A value sent twice, the second time when its window was sealed and committed: the later one stands, also in DuckDB's eyes.
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    for value in [7, 9] {
        let line = format!("conflict,host=a v={value} {}\n", now_ms - 60_000);
        assert!(process.write_lines(&line).unwrap().is_success());
        let committed = || {
            process.sql("SELECT count(*) AS n FROM samples WHERE metric = 'conflict_v'")[0]["n"]
                == 1
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !committed() {
            assert!(
                std::time::Instant::now() < deadline,
                "a late sample is not there"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    process.stop_cleanly();

    let glob = launch.data_dir().join("archive/samples/**/*.parquet");
    let by_glob = duckdb(&serde_json::json!(glob.to_str().unwrap()));
    let by_list = duckdb(&files(&launch, directory.path()));
    assert_eq!(by_glob, by_list, "after a clean stop a plain glob is exact");
    let sql = format!(
        "{} FROM samples GROUP BY 1, 2 ORDER BY 1, 2",
        QUESTION.replace("{hour}", HOUR_SQL)
    );
    let answer = run_command(
        directory.path(),
        &[
            "sql",
            &sql,
            "--format",
            "ndjson",
            "--data-dir",
            launch.data_dir().to_str().unwrap(),
        ],
    );
    let by_sql: Vec<Row> = answer
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|row| {
            let number = |name: &str| row[name].as_f64().unwrap();
            let hour = row["hour"].as_i64().unwrap();
            (
                row["metric"].as_str().unwrap().to_owned(),
                hour,
                row["n"].as_i64().unwrap(),
                number("total"),
                number("low"),
                number("high"),
            )
        })
        .collect();
    assert_eq!(by_sql, by_list);
    let conflict = by_list.iter().find(|row| row.0 == "conflict_v").unwrap();
    assert_eq!((conflict.2, conflict.4, conflict.5), (1, 9.0, 9.0));
    assert_eq!(
        by_sql.iter().map(|row| row.2).sum::<i64>(),
        load.acknowledged_samples() as i64 + 1
    );
}
