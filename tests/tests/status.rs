//! `tidewatch status`: what it shows of a real instance, as text, as JSON, again and again, and on a terminal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::process::{Launch, binary, free_address, run_command};

#[test]
fn a_running_instance_is_shown_and_one_that_is_not_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let process = Launch::new(directory.path()).start_ready();
    let answer = process
        .write_lines("load,host=a v=1\nload,host=b v=2\n")
        .unwrap();
    assert!(answer.is_success());
    let url = format!("http://{}", process.address());

    let text = run_command(directory.path(), &["status", "--url", &url]);
    for part in [
        "  ready  up ",
        &url,
        "log      embedded, 4 partitions",
        "durable in the log",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours without a terminal");

    let json = run_command(directory.path(), &["status", "--url", &url, "--json"]);
    let status: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["ready"], true);
    assert_eq!(status["intakes"]["line_protocol"]["accepted_samples"], 2);
    assert_eq!(status["partitions"].as_array().unwrap().len(), 4);
    assert!(status["rates"]["accepted_per_s"].is_number(), "{status:#}");
    assert!(
        status["process"]["open_files"].as_u64() > Some(0),
        "{status:#}"
    );

    let mut watching = Command::new(binary())
        .args(["status", "--url", &url, "--json", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for line in lines.take(2) {
        let status: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(status["url"], url);
    }
    // The reader has left, which ends it without complaint.
    assert!(watching.wait().unwrap().success());
    process.stop_cleanly();

    let gone = format!("http://{}", free_address());
    let output = Command::new(binary())
        .args(["status", "--url", &gone])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.starts_with("tidewatch: TW-COMMAND-002: no answer from"),
        "{told}"
    );
}
