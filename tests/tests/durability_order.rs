//! Power loss, not only `kill -9`: the order of system calls by which a request and a commit become durable, as `strace` saw it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::load::{Load, Outcome};
use tests::process::{Launch, has_program};
use tests::strace::{Call, Trace};

const WRITES: &[&str] = &["write", "pwrite64", "writev", "pwritev"];
const SENDS: &[&str] = &["write", "writev", "sendto", "sendmsg"];
const RECEIVES: &[&str] = &["read", "readv", "recvfrom", "recvmsg"];
/// Requests that are sent one after the other.
const REQUESTS: usize = 20;

#[test]
fn c1_no_answer_before_its_bytes_and_no_commit_before_its_files() {
    if !has_program("strace") {
        tests::skip(
            "durability_order",
            "strace (Debian package `strace`)",
            "TIDEWATCH_REQUIRE_STRACE",
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // strace prints paths as the kernel knows them.
    let top = directory.path().canonicalize().unwrap();
    let trace_path = top.join("trace");
    let command = Trace::command(&trace_path);
    let launch = Launch::new(&top).under(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let process = launch.start_ready();
    let mut load = Load::new(5);
    for _ in 0..REQUESTS {
        assert_eq!(load.send(&process), Outcome::Ok, "{}", process.log());
    }
    process.stop_cleanly();

    let trace = Trace::parse(&std::fs::read_to_string(&trace_path).unwrap());
    let answers = check_answers(&trace, &launch.data_dir());
    assert!(
        answers >= REQUESTS,
        "{answers} answered requests in the trace, {REQUESTS} were sent"
    );
    let commits = check_commits(&trace, &launch.data_dir().join("archive"));
    assert!(commits > 0, "the trace holds no commit with files");
}

/// Checks for each request answered 2xx that, after it was read, the log was written and then synced before the answer left. Returns how many there were.
fn check_answers(trace: &Trace, data_dir: &Path) -> usize {
    let is_log = |call: &Call| {
        call.descriptor().is_some_and(|(_, path)| {
            Path::new(path).starts_with(data_dir) && path.contains("/log/")
        })
    };
    let mut answered = 0;
    for (index, request) in trace.0.iter().enumerate() {
        if !(request.is_one_of(RECEIVES) && request.arguments.contains("\"POST /api/v2/write")) {
            continue;
        }
        let Some((connection, _)) = request.descriptor() else {
            continue;
        };
        // Descriptors are used again: the next send on this one is the answer.
        let answer = trace.0[index..].iter().find(|call| {
            call.is_one_of(SENDS)
                && call.start > request.end
                && call
                    .descriptor()
                    .is_some_and(|(number, _)| number == connection)
        });
        let Some(answer) = answer.filter(|call| call.arguments.contains("HTTP/1.1 2")) else {
            continue;
        };
        answered += 1;
        let durable = trace
            .0
            .iter()
            .filter(|call| call.is_one_of(WRITES) && is_log(call) && call.start > request.end)
            .any(|write| {
                let path = write.descriptor().map_or("", |(_, path)| path);
                trace.is_synced_between(Path::new(path), write.end, answer.start)
            });
        assert!(
            durable,
            "a 2xx left at line {} of the trace, but the log was not written and synced since line {}",
            answer.start + 1,
            request.end + 1
        );
    }
    answered
}

/// Checks for each link of each chain: files synced, published, their directories synced, and only then the link; the link likewise. Returns how many links named files.
fn check_commits(trace: &Trace, archive: &Path) -> usize {
    let mut with_files = 0;
    for link in chain_links(&archive.join("chain")) {
        let record: Value = serde_json::from_slice(&std::fs::read(&link).unwrap()).unwrap();
        let (commit, staged) = published(trace, &link);
        assert!(
            trace.is_synced_between(&staged, 0, commit.start),
            "{}: published before its bytes were synced",
            link.display()
        );
        assert!(
            trace.is_synced_between(link.parent().unwrap(), commit.end, usize::MAX),
            "{}: its directory was never synced",
            link.display()
        );
        for file in record["added"].as_array().unwrap() {
            let path = archive.join(file["path"].as_str().unwrap());
            let (publication, staged) = published(trace, &path);
            assert!(
                trace.is_synced_between(&staged, 0, publication.start),
                "{}: published before its bytes were synced",
                path.display()
            );
            assert!(
                trace.is_synced_between(path.parent().unwrap(), publication.end, commit.start),
                "{}: its directory was not synced before {} named it",
                path.display(),
                link.display()
            );
        }
        with_files += usize::from(!record["added"].as_array().unwrap().is_empty());
    }
    with_files
}

fn published<'t>(trace: &'t Trace, path: &Path) -> (&'t Call, PathBuf) {
    trace.publication_of(path).unwrap_or_else(|| {
        panic!(
            "{}: no link or rename to it in the trace; it was written in place",
            path.display()
        )
    })
}

/// Every link of every chain below a directory: the files whose name is a number. Others there are caches.
fn chain_links(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(chain_links(&path));
        } else if path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| stem.parse::<u64>().is_ok())
        {
            found.push(path);
        }
    }
    found
}
