//! Real agents: those that have to be built are, then each sends by every way of its page, and a table tells what arrived.

use std::path::Path;

use crate::go_programs::{COLLECTOR, GoProgram, PROMETHEUS, TELEGRAF, VMAGENT};
use crate::peers::Peers;
use crate::steps::{Outcome, build_binary, cargo, run_and_watch};

/// What has to be built: the program, the variable that names it to the tests, and the one that forbids to skip them.
const BUILT: [(&GoProgram, &str, &str); 4] = [
    (
        &COLLECTOR,
        "TIDEWATCH_TEST_COLLECTOR",
        "TIDEWATCH_REQUIRE_COLLECTOR",
    ),
    (
        &TELEGRAF,
        "TIDEWATCH_TEST_TELEGRAF",
        "TIDEWATCH_REQUIRE_TELEGRAF",
    ),
    (
        &VMAGENT,
        "TIDEWATCH_TEST_VMAGENT",
        "TIDEWATCH_REQUIRE_VMAGENT",
    ),
    (
        &PROMETHEUS,
        "TIDEWATCH_TEST_PROMETHEUS_3",
        "TIDEWATCH_REQUIRE_PROMETHEUS_3",
    ),
];

/// Tests of an agent each, besides those of what is built; the last one reads what was captured.
const TESTS: [&str; 7] = [
    "agents",
    "prometheus",
    "opentelemetry",
    "influxdb_client",
    "statsd",
    "graphite",
    "captured",
];

/// Lets every agent send. `capture`: what those sent that are built replaces what is kept of them.
///
/// # Errors
/// What could not be built, did not arrive, or was skipped.
pub(crate) fn agents(capture: bool) -> Outcome {
    let binary = build_binary(&[])?;
    println!("--- agents");
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    let mut troubles = Vec::new();
    for (program, variable, require) in BUILT {
        match program.get() {
            Ok(path) => {
                command.env(variable, path).env(require, "1");
            }
            // Told at once and in the end; what others send is worth knowing.
            Err(why) => {
                let trouble = format!("{} {}: {why}", program.name, program.version);
                println!("{trouble}");
                troubles.push(trouble);
            }
        }
    }
    let peers = Peers::for_agents();
    let told = std::env::temp_dir().join(format!("tidewatch-agents-{}", std::process::id()));
    command
        .args(TESTS.iter().flat_map(|test| ["--test", test]))
        .envs(peers.variables())
        .env("TIDEWATCH_TEST_BINARY", binary)
        .env("TIDEWATCH_TEST_AGENTS_TOLD", &told);
    if capture {
        command.env("TIDEWATCH_TEST_CAPTURE", "1");
    }
    let outcome = run_and_watch(&mut command);
    drop(peers);
    let table = table(&told);
    let _gone = std::fs::remove_file(&told);
    let (passed, skipped) = outcome?;
    println!("--- what arrived\n{table}");
    if !passed {
        troubles.push("tests failed (see above)".to_owned());
    }
    troubles.extend(skipped);
    if troubles.is_empty() {
        Ok("every agent's samples are in SQL, exactly".to_owned())
    } else {
        Err(troubles.join("\n  "))
    }
}

/// Agent, way and what arrived, a row each, sorted.
fn table(told: &Path) -> String {
    let lines = std::fs::read_to_string(told).unwrap_or_default();
    let mut rows: Vec<[String; 4]> = lines.lines().map(row).collect();
    rows.sort();
    rows.insert(
        0,
        ["agent", "way", "sent", "in SQL, exactly"].map(str::to_owned),
    );
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    rows.iter()
        .map(|[agent, way, sent, exact]| {
            format!(
                "{agent:0$}  {way:1$}  {sent:2$}  {exact}\n",
                widths[0], widths[1], widths[2]
            )
        })
        .collect()
}

/// A line as tests tell it: `{"agent", "way", "arrived"}`, the last one null if the test failed.
fn row(line: &str) -> [String; 4] {
    let told: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    let arrived = text("arrived");
    let exact = if arrived.is_empty() { "no" } else { "yes" };
    [text("agent"), text("way"), arrived, exact.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_arrive_is_in_the_table_too() {
        let told = std::env::temp_dir().join(format!("tidewatch-told-{}", std::process::id()));
        let lines = [
            r#"{"agent":"telegraf","way":"http","arrived":null}"#,
            r#"{"agent":"collector","way":"gRPC, büro","arrived":"7 samples"}"#,
        ];
        std::fs::write(&told, lines.join("\n")).expect("a file can be written");
        let table = table(&told);
        let _gone = std::fs::remove_file(&told);
        let expected = [
            "agent      way         sent       in SQL, exactly\n",
            "collector  gRPC, büro  7 samples  yes\n",
            "telegraf   http                   no\n",
        ];
        assert_eq!(table, expected.concat());
    }
}
