//! Whatever bytes come in, no decoder and no reader of a file panics, and none takes more memory than the size of its input allows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tests::entries::{ENTRIES, Entry};
use tests::mutation::mutate;
use tests::process::Launch;
use tests::random::Random;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What an entry may allocate in all, however small its input: maps and buffers that begin with a size.
const FIXED_BYTES_MAX: usize = 4 << 20;
/// What it may allocate in all for each byte of its input. A label set of one letter costs some hundred bytes, of three bytes as sent.
const BYTES_PER_BYTE_MAX: usize = 256;
/// The longest input that is made by changes.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Inputs of each entry, unless `TIDEWATCH_TEST_INPUTS` says how many.
const INPUTS: u64 = 2_000;

/// Allocations are counted for the whole process, so only one test works at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Inputs of an entry from real clients, kept for the fuzzer.
fn corpus(entry: &Entry) -> Vec<Vec<u8>> {
    let directory = tests::repository().join("fuzz/corpus").join(entry.name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no corpus for {}", entry.name);
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Gives an entry an input, and answers how many bytes it allocated in all; `told` says which input it is.
#[track_caller]
fn bear(entry: &Entry, input: &[u8], told: &str) -> usize {
    let region = Region::new(ALLOCATOR);
    let ran = schemas::catch_panic(|| (entry.run)(input));
    let allocated = region.change().bytes_allocated;
    if let Err(message) = ran {
        let kept = std::env::temp_dir().join(format!("tidewatch-{}-input", entry.name));
        std::fs::write(&kept, input).unwrap();
        panic!(
            "{} panics: {message}\n{told}; kept as {}",
            entry.name,
            kept.display()
        );
    }
    let allowed = FIXED_BYTES_MAX + input.len() * BYTES_PER_BYTE_MAX;
    assert!(
        allocated <= allowed,
        "{} allocated {allocated} bytes for an input of {} ({allowed} are allowed): {told}",
        entry.name,
        input.len()
    );
    allocated
}

#[test]
fn changed_bodies_of_real_clients_are_borne() {
    let _alone = alone();
    schemas::quiet_expected_panics();
    let inputs =
        std::env::var("TIDEWATCH_TEST_INPUTS").map_or(INPUTS, |text| text.parse().unwrap());
    for entry in &ENTRIES {
        let seeds = corpus(entry);
        for seed in &seeds {
            bear(entry, seed, "a file of the corpus, unchanged");
        }
        let mut random = Random::from_environment(7);
        for number in 0..inputs {
            let input = mutate(&mut random, &seeds, INPUT_BYTES_MAX);
            let told = format!(
                "input {number} with TIDEWATCH_TEST_SEED={} and TIDEWATCH_TEST_INPUTS={inputs}",
                random.seed
            );
            bear(entry, &input, &told);
        }
    }
}

/// What the deterministic run bears, the long one must find too.
#[test]
fn every_entry_has_a_target_and_every_target_an_entry() {
    let manifest = std::fs::read_to_string(tests::repository().join("fuzz/Cargo.toml")).unwrap();
    let mut targets: Vec<&str> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"fuzz_targets/")?
                .strip_suffix(".rs\"")
        })
        .collect();
    let mut names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
    targets.sort_unstable();
    names.sort_unstable();
    // Settings are read by the program itself, which this room does not import: its own tests change those of the corpus.
    let own = tests::repository().join("tidewatch/src/config/tests/changed.rs");
    let own = std::fs::read_to_string(own).unwrap();
    targets.retain(|name| *name != "configuration" || !own.contains("fuzz/corpus/configuration"));
    assert_eq!(targets, names);
    for name in names {
        let target = tests::repository().join(format!("fuzz/fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(&target).unwrap();
        assert!(
            text.contains(&format!("fuzz::run(\"{name}\", data)")),
            "{text}"
        );
    }
}

/// A protobuf field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(bytes);
    field
}

/// Fields within fields, the outermost first.
fn nested(numbers: &[u8], inner: &[u8]) -> Vec<u8> {
    numbers
        .iter()
        .rev()
        .fold(inner.to_vec(), |inner, number| field(*number, &inner))
}

/// A text between two others, `times` times.
fn repeated(before: &str, piece: impl Fn(usize) -> String, times: usize, after: &str) -> Vec<u8> {
    let pieces: String = (0..times).map(piece).collect();
    format!("{before}{pieces}{after}").into_bytes()
}

/// Inputs whose shape, not whose size, is the attack: entry, what it is, bytes.
fn attacks() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    const MILLION: usize = 1_000_000;
    let empty = |number: u8| [number << 3 | 2, 0].repeat(MILLION);
    let deep = |open: &str, close: &str| {
        format!("{}1{}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
    };
    let mut attacks = vec![
        ("remote_write", "a million empty series", empty(1)),
        ("remote_write", "a million empty labels", field(1, &empty(1))),
        ("remote_write", "a million empty samples", field(1, &empty(2))),
        ("remote_write_2", "a million empty symbols", empty(4)),
        ("remote_write_2", "a million empty series", empty(5)),
        ("remote_write_2", "a million label references", field(5, &field(1, &[0; MILLION]))),
        ("remote_write_2", "a million empty samples", field(5, &empty(2))),
        ("otlp", "a million empty resources", empty(1)),
        ("otlp", "a million empty metrics", nested(&[1, 2], &empty(2))),
        ("otlp", "a million empty data points", nested(&[1, 2, 2, 5], &empty(1))),
        ("otlp", "a million empty attributes", nested(&[1, 2, 2, 5, 1], &empty(7))),
        ("otlp", "a million attributes of a resource", nested(&[1, 1], &empty(1))),
        ("otlp", "a value 10,000 deep", {
            let value = (0..10_000).fold(Vec::new(), |inner, _| nested(&[5, 1], &inner));
            nested(&[1, 1, 1, 2], &value)
        }),
        ("line_protocol", "a hundred thousand tags", repeated("m", |i| format!(",t{i}=v"), 100_000, " v=1")),
        ("line_protocol", "a hundred thousand fields", repeated("m ", |i| format!("f{i}=1,"), 100_000, "g=1")),
        ("line_protocol", "a million newlines", vec![b'\n'; MILLION]),
        ("line_protocol", "a million letters", vec![b'a'; MILLION]),
        ("line_protocol", "a quote without an end", repeated("m s=\"", |_| "a\n".to_owned(), MILLION, "")),
        ("json_lines", "a hundred thousand labels", repeated("{\"metric\":\"m\",\"value\":1,\"labels\":{", |i| format!("\"l{i}\":\"v\","), 100_000, "\"l\":\"v\"}}")),
        ("statsd", "a million values", repeated("m", |_| ":1".to_owned(), MILLION, "|d")),
        ("statsd", "a hundred thousand members of a set", repeated("", |i| format!("m:{i}|s\n"), 100_000, "")),
        ("statsd", "a hundred thousand tags", repeated("m:1|c|#", |i| format!("t{i}:v,"), 100_000, "")),
        ("graphite", "a hundred thousand tags", repeated("m", |i| format!(";t{i}=v"), 100_000, " 1")),
        ("graphite", "a hundred thousand parts", repeated("m", |_| ".a".to_owned(), 100_000, " 1")),
        ("exposition", "a hundred thousand labels", repeated("m{", |i| format!("l{i}=\"v\","), 100_000, "} 1")),
        ("exposition", "a million open braces", vec![b'{'; MILLION]),
        ("exposition", "a million backslashes", repeated("m{l=\"", |_| "\\".to_owned(), MILLION, "\"} 1")),
        ("snapshot", "a length of 16 GiB", {
            let mut head = b"TWSTATE\0".to_vec();
            head.extend_from_slice(&3u32.to_le_bytes());
            head.extend_from_slice(&(16u64 << 30).to_le_bytes());
            head.extend(zstd::bulk::compress(b"short", 1).unwrap());
            head
        }),
        ("calendar", "a recurrence every second", b"[[event]]\nname=\"x\"\nstart=1970-01-01T00:00:00\nduration=\"1s\"\nrepeat=\"FREQ=SECONDLY\"\n".to_vec()),
    ];
    for name in [
        "otlp_json",
        "json_lines",
        "telegraf_json",
        "native_json",
        "scrape_targets",
        "link",
    ] {
        attacks.push((name, "lists 10,000 deep", deep("[", "]")));
        attacks.push((name, "objects 10,000 deep", deep("{\"a\":", "}")));
    }
    for name in ["otlp_json", "json_lines"] {
        attacks.push((name, "known keys 10,000 deep", deep("{\"labels\":", "}")));
        attacks.push((
            name,
            "values 10,000 deep",
            deep(
                "{\"resourceMetrics\":[{\"resource\":{\"attributes\":[{\"value\":",
                "}]}}]}",
            ),
        ));
    }
    attacks
}

#[test]
fn attacks_by_shape_cost_no_more_than_their_size() {
    let _alone = alone();
    schemas::quiet_expected_panics();
    for (name, what, input) in attacks() {
        let entry = ENTRIES.iter().find(|entry| entry.name == name).unwrap();
        let allocated = bear(entry, &input, what);
        println!("{name}: {what}: {allocated} bytes for {}", input.len());
    }
}

/// A length that is not what follows, in all the compressions, and bodies that unpack to far more than they are: all are refused, and the process
/// stays small. Measured from outside, since the memory of zstd is not that of our allocator.
#[test]
fn compressed_bombs_leave_the_process_small() {
    const ZEROES: usize = 512 << 20;
    const MEMORY_MAX: u64 = 256 << 20;
    let _alone = alone();
    let zeroes = vec![0u8; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..ZEROES / zeroes.len() {
        std::io::Write::write_all(&mut gzip, &zeroes).unwrap();
        std::io::Write::write_all(&mut zstd, &zeroes).unwrap();
    }
    let (gzip, zstd) = (gzip.finish().unwrap(), zstd.finish().unwrap());
    // A frame that asks for a window of 2 GiB, with one raw block of one byte.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x09, 0x00, 0x00, b'x'].to_vec();
    // 4 GiB are claimed, then two bytes of a copy come.
    let snappy = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x05, 0x00];
    let bombs = [
        ("gzip", "/write", gzip.clone()),
        ("gzip", "/v1/metrics", gzip),
        ("zstd", "/v1/metrics", zstd),
        ("zstd", "/v1/metrics", window),
        ("snappy", "/api/v1/write", snappy),
    ];
    let directory = tempfile::tempdir().unwrap();
    let process = Launch::new(directory.path()).start_ready();
    for _ in 0..4 {
        for (encoding, path, body) in &bombs {
            let headers = [
                ("content-encoding", *encoding),
                ("content-type", "application/x-protobuf"),
            ];
            let answer = tests::http::request(process.address(), "POST", path, &headers, body);
            let answer = answer.unwrap();
            assert!(
                [400, 413].contains(&answer.status),
                "{encoding} at {path}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    let peak = process.peak_memory_bytes();
    println!("{peak} bytes at the peak");
    assert!(peak < MEMORY_MAX, "{peak} bytes at the peak");
    process.stop_cleanly();
}
