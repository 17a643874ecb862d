//! `tidewatch doctor` where something is really broken: each failure is found, has its code and what mends it, and leads to exit code 1.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::process::{Launch, Tidewatch, binary};

mod embedded;
mod kafka;
mod machine;

/// What doctor said.
struct Report {
    json: Value,
    exit_code: i32,
}

impl Report {
    #[track_caller]
    fn of(output: &Output) -> Report {
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{error} in the report `{}`; standard error: {}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        });
        let report = Report {
            json,
            exit_code: output.status.code().unwrap(),
        };
        let failures = report.json["failures"].as_u64().unwrap();
        assert_eq!(
            report.exit_code,
            i32::from(failures > 0),
            "{:#}",
            report.json
        );
        assert_eq!(report.json["ok"], failures == 0, "{:#}", report.json);
        for check in report.checks() {
            let state = check["state"].as_str().unwrap();
            let advises = ["warning", "failure"].contains(&state);
            assert_eq!(check["fix"].is_string(), advises, "{check:#}");
            assert_eq!(check["code"].is_string(), state == "failure", "{check:#}");
        }
        report
    }

    fn checks(&self) -> &[Value] {
        self.json["checks"].as_array().unwrap()
    }

    /// State, what was found and the code of all checks of a name.
    fn named(&self, name: &str) -> Vec<(&str, &str, &str)> {
        self.checks()
            .iter()
            .filter(|check| check["name"] == name)
            .map(|check| {
                let text = |key: &str| check[key].as_str().unwrap_or_default();
                (text("state"), text("found"), text("code"))
            })
            .collect()
    }

    /// That exactly these checks failed: name, code, a part of what was found.
    #[track_caller]
    fn expect_failures(&self, expected: &[(&str, &str, &str)]) {
        let failed: Vec<&Value> = self
            .checks()
            .iter()
            .filter(|check| check["state"] == "failure")
            .collect();
        let fits = failed.len() == expected.len()
            && failed
                .iter()
                .zip(expected)
                .all(|(check, (name, code, part))| {
                    check["name"] == *name
                        && check["code"] == *code
                        && check["found"].as_str().unwrap().contains(part)
                });
        assert!(fits, "expected {expected:#?}\nfound {failed:#?}");
    }

    #[track_caller]
    fn expect_state(&self, name: &str, state: &str) {
        let found = self.named(name);
        assert!(
            !found.is_empty() && found.iter().all(|(found, _, _)| *found == state),
            "expected `{name}` to be {state}\nfound {:#}",
            self.json
        );
    }
}

/// A command of the program in a directory, with the settings of its `data` and without those of this process's environment.
fn doctor_command(directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("doctor").arg("--json").current_dir(directory);
    command.args(["--data-dir", "data"]);
    if directory.join("config.toml").exists() {
        command.args(["--config", "config.toml"]);
    }
    // Nobody listens there, whatever runs on this machine.
    command.env("TIDEWATCH__SERVER__LISTEN", "127.0.0.1:1");
    command
}

fn doctor(directory: &Path, environment: &[(&str, &str)]) -> Report {
    let output = doctor_command(directory)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Report::of(&output)
}

/// Sends samples and waits for so many checkpoints.
fn work(process: &mut Tidewatch, checkpoints: u64) {
    let mut sent = 0;
    let done = process.wait_until(std::time::Duration::from_secs(60), |address| {
        let now_ms = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        sent += 1;
        let lines: String = (0..8)
            .map(|host| format!("load,host=h{host} v={sent} {now_ms}\n"))
            .collect();
        tests::http::post(
            address,
            "/api/v2/write?precision=ms",
            "text/plain",
            lines.as_bytes(),
        )
        .unwrap();
        let answer = tests::http::get(address, "/api/v1/status").unwrap();
        let status: Value = serde_json::from_str(&answer.text()).unwrap();
        let partitions = status["partitions"].as_array().unwrap();
        let made: u64 = partitions
            .iter()
            .map(|partition| partition["checkpoints"].as_u64().unwrap())
            .sum();
        made >= checkpoints
    });
    assert!(done, "no {checkpoints} checkpoints within a minute");
}

/// A start with one partition, so that a chain soon has several links.
fn one_partition(directory: &Path) -> Launch {
    Launch::new(directory).config(format!("{}\n[bus]\npartitions = 1\n", tests::FAST_CONFIG))
}
