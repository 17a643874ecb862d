//! Who may import whom, as `docs/architecture.md` draws it: read from `cargo metadata`, so that the picture stays true.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each room and the rooms it may import. A room that is not listed, or an import that is not, fails.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("bus", &["schemas"]),
    ("analytics", &["schemas"]),
    ("ingest", &["schemas", "bus"]),
    ("processors", &["schemas", "analytics"]),
    ("sinks", &["schemas", "bus"]),
    ("query", &["schemas", "sinks"]),
    ("pipeline", &["schemas", "bus", "sinks", "processors"]),
    ("scores", &["schemas", "analytics"]),
    ("tidewatch", ROOMS),
    ("tests", ROOMS),
    ("benches", ROOMS),
    ("xtask", &[]),
];
const ROOMS: &[&str] = &[
    "schemas",
    "bus",
    "ingest",
    "analytics",
    "processors",
    "sinks",
    "query",
    "pipeline",
    "scores",
];

/// Rooms of plain synchronous code: a test can call them in a loop.
const SYNCHRONOUS: &[&str] = &["schemas", "analytics", "processors"];
/// What makes code asynchronous.
const ASYNCHRONOUS: &[&str] = &[
    "tokio",
    "tokio-util",
    "futures",
    "futures-core",
    "futures-util",
    "async-trait",
    "async-std",
    "smol",
];

/// Package name → names of its direct dependencies of every kind (tests may not break the layers either).
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(tests::repository())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            (
                text(&package["name"]),
                dependencies
                    .iter()
                    .map(|dependency| text(&dependency["name"]))
                    .collect(),
            )
        })
        .collect()
}

#[test]
fn rooms_import_only_what_the_house_allows() {
    let imports = imports();
    let listed: BTreeSet<String> = MAY_IMPORT
        .iter()
        .map(|(room, _)| (*room).to_owned())
        .collect();
    assert_eq!(
        imports.keys().cloned().collect::<BTreeSet<_>>(),
        listed,
        "the workspace and the table of rooms differ"
    );
    for (room, allowed) in MAY_IMPORT {
        let forbidden: Vec<_> = imports[*room]
            .iter()
            .filter(|name| listed.contains(*name) && !allowed.contains(&name.as_str()))
            .collect();
        assert!(
            forbidden.is_empty(),
            "`{room}` imports {forbidden:?}; it may import only {allowed:?}"
        );
    }
}

#[test]
fn the_pure_rooms_are_synchronous() {
    let imports = imports();
    for room in SYNCHRONOUS {
        let found: Vec<_> = imports[*room]
            .iter()
            .filter(|name| ASYNCHRONOUS.contains(&name.as_str()))
            .collect();
        assert!(
            found.is_empty(),
            "`{room}` is plain synchronous code, but depends on {found:?}"
        );
    }
}
