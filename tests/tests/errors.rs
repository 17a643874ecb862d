//! The codes of errors: every error type has them, every code is that of some error, and people meet them in answers and logs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tests::process::Launch;

/// Errors that only ever stand inside of another one, whose code is told.
const INSIDE_OTHERS: &[&str] = &[
    "LabelsError",
    "TooManySamples",
    "Reason",
    "RowError",
    "NoTemplate",
    "RuleError",
    "TargetError",
    "FetchError",
    "ScrapeError",
];

/// The text of every Rust file of the rooms that make up the program.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    for room in std::fs::read_dir(tests::repository()).unwrap() {
        let room = room.unwrap();
        let name = room.file_name().to_string_lossy().into_owned();
        let source = room.path().join("src");
        if source.is_dir() && !["tests", "benches", "xtask"].contains(&name.as_str()) {
            collect(&source, &mut found);
        }
    }
    assert!(found.len() > 100, "{} files", found.len());
    found
}

/// The types that a trait is implemented for, outside of documentation.
fn implementors(sources: &[(PathBuf, String)], of: &str) -> BTreeSet<String> {
    let lines = sources.iter().flat_map(|(_, text)| text.lines());
    lines
        .filter_map(|line| line.strip_prefix(&format!("impl {of} for ")))
        .map(|rest| rest.trim_end_matches(" {").to_owned())
        .collect()
}

/// The types that derive `thiserror::Error`.
fn errors(sources: &[(PathBuf, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in sources {
        let mut derived = false;
        for line in text.lines() {
            derived |= line.starts_with("#[derive(") && line.contains("thiserror::Error");
            let name = [
                "pub enum ",
                "pub struct ",
                "enum ",
                "struct ",
                "pub(crate) enum ",
                "pub(super) enum ",
            ]
            .iter()
            .find_map(|head| line.strip_prefix(head));
            if let Some(name) = name.filter(|_| derived) {
                let end = name
                    .find(|c: char| !c.is_alphanumeric())
                    .unwrap_or(name.len());
                found.insert(name[..end].to_owned());
                derived = false;
            }
        }
    }
    found
}

#[test]
fn every_error_has_a_code() {
    let sources = sources();
    let errors = errors(&sources);
    assert!(errors.len() > 12, "{errors:?}");
    let coded = implementors(&sources, "HasCode");
    let without: Vec<_> = errors
        .iter()
        .filter(|name| !coded.contains(*name) && !INSIDE_OTHERS.contains(&name.as_str()))
        .collect();
    assert!(
        without.is_empty(),
        "{without:?} have no code: implement schemas::HasCode, with a page in error_codes.rs of their room"
    );
    let faulty = implementors(&sources, "HasFault");
    let without: Vec<_> = faulty.difference(&coded).collect();
    assert!(
        without.is_empty(),
        "{without:?} know their fault but no code"
    );
}

/// A new variant must not compile without a code: the compiler sees to it where a match has no catch-all.
#[test]
fn no_code_is_given_by_a_catch_all() {
    for (path, text) in sources() {
        for (at, _) in text.match_indices("HasCode for ") {
            let rest = &text[at..];
            let body = &rest[..rest.find("\n}").unwrap_or(rest.len())];
            assert!(
                !body.contains("_ =>"),
                "{}: a catch-all in `impl {}`",
                path.display(),
                body.lines().next().unwrap_or_default()
            );
        }
    }
}

#[test]
fn every_code_is_that_of_some_error() {
    let sources = sources();
    let mut unused = Vec::new();
    for (path, text) in &sources {
        if !path.ends_with("error_codes.rs") && !path.ends_with("error_code.rs") {
            continue;
        }
        for line in text.lines() {
            let Some((name, _)) = line.trim().split_once(" = \"TW-") else {
                continue;
            };
            // The codes of faults are used where they are defined.
            let uses = sources
                .iter()
                .filter(|(user, _)| user != path || user.ends_with("error_code.rs"))
                .any(|(_, text)| {
                    text.contains(&format!("error_codes::{name}"))
                        || text.contains(&format!("=> &{name}"))
                });
            if !uses && name != "AWAY" && !name.starts_with("///") {
                unused.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(
        unused.is_empty(),
        "pages that no error leads to: {unused:?}"
    );
}

#[test]
fn answers_and_commands_tell_the_code() {
    let directory = tempfile::tempdir().unwrap();
    let process = Launch::new(directory.path()).start_ready();
    let address = process.address();
    let post = |path: &str, body: &str| {
        tests::http::post(address, path, "text/plain", body.as_bytes()).unwrap()
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();

    let answer = post("/api/v1/sql", "DROP TABLE samples");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("tidewatch-error"), Some("TW-QUERY-001"));
    assert_eq!(json(&answer.text())["error"]["code"], "TW-QUERY-001");

    let answer = post("/api/v2/write", "no line protocol");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("tidewatch-error"), Some("TW-INGEST-006"));
    let message = json(&answer.text())["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("TW-INGEST-006: "), "{message}");

    let answer = post("/nowhere", "");
    assert_eq!(answer.header("tidewatch-error"), Some("TW-GENERAL-001"));

    // What the instance tells goes through the command line unchanged.
    let url = format!("http://{address}");
    let output = std::process::Command::new(tests::process::binary())
        .args(["sql", "--url", &url, "SELECT * FROM nowhere"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.lines()
            .any(|line| line.starts_with("tidewatch: TW-QUERY-002: ")),
        "{told}"
    );
    process.stop_cleanly();
}
