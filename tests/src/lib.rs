//! The end-to-end harness: the real program as a process, a load that anyone can recompute, the auditor, and the peers it is tested with.
//!
//! The tests stand in `tests/tests/`; `docs/testing.md` says how to run them and which variables they read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness fails its test by panicking"
)]

use std::io::Write;
use std::path::{Path, PathBuf};

pub mod agents;
pub mod audit;
pub mod captured;
pub mod compose;
pub mod entries;
pub mod http;
pub mod kafka;
pub mod load;
pub mod minio;
pub mod mutation;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod random;
pub mod recorder;
pub mod samples;
pub mod scenario;
pub mod slow_proxy;
pub mod small_disk;
pub mod strace;
pub mod tmux;

/// The configuration that most tests run the program with: everything due within a second or two, no host collector.
pub const FAST_CONFIG: &str = include_str!("fast.toml");

/// The top of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests room has a parent")
        .to_owned()
}

/// Says loudly that a test is skipped because something can't be had here; a failure instead if the variable `require` is `1`.
///
/// # Panics
/// If `require` is set to `1`.
pub fn skip(test: &str, missing: &str, require: &str) {
    assert!(
        std::env::var(require).as_deref() != Ok("1"),
        "{test} needs {missing}, and {require}=1 forbids to skip it"
    );
    // Past the capture of the test runner, which hides what a passing test prints.
    let _unheard = writeln!(std::io::stderr(), "SKIPPED {test}: needs {missing}");
}
