//! The corpus of the formats that are our own: written of real states (`TIDEWATCH_TEST_CAPTURE=1`), and each still read by the program of today.
//! A corpus that is refused at its first bytes fuzzes nothing behind them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use ingest::admission::{Admission, SeriesLimits};
use ingest::door::Batcher;
use ingest::http::{LineOptions, LineUnit, decode_line_protocol};
use processors::{PartitionState, ProcessingConfig};
use schemas::time::{MINUTE, Micros, SECOND};
use schemas::{
    BatchBuilder, Checkpoint, Guests, GuestsBuilder, Kind, Labels, Offset, SampleBatch, Series,
};
use tests::captured::keep_for_fuzzing;
use tests::entries::{FOLDED_LABELS, KNOWN_SERIES, packed_snapshot, sealed};

/// 2026-09-28T00:00:00Z, microseconds.
const START: Micros = 1_790_553_600 * SECOND;

/// What `hosts` hosts report every ten seconds of a minute, each at a place of its own: the first `metrics` of a wave, a counter and a disk that fills.
fn minute_of(hosts: u32, metrics: usize, minute: i64) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for host in 0..hosts {
        let labels = Labels::try_new([("host.name", format!("web-{host}"))]).unwrap();
        let labels = builder.label_set(&labels);
        for step in 0..6 {
            let seconds = minute * 60 + step * 10;
            let time = START + seconds * SECOND;
            let wave = (seconds as f64 / 300.0).sin() + f64::from(host) / 8.0;
            let reported = [
                ("system.cpu.utilization", Kind::Gauge, 0.5 + 0.25 * wave),
                ("http_requests_total", Kind::Counter, seconds as f64),
                (
                    "disk.used_percent",
                    Kind::Gauge,
                    50.0 + seconds as f64 / 900.0,
                ),
            ];
            for (metric, kind, value) in reported.into_iter().take(metrics) {
                let metric = builder.metric(metric);
                builder.push(metric, labels, kind, time, value);
            }
        }
    }
    builder.finish().unwrap()
}

/// What partition 1 tells of a minute of three hosts, each with two series.
fn guests_of(minute: i64) -> Vec<u8> {
    let mut builder = GuestsBuilder::new(1, START + minute * MINUTE);
    for host in 0..3 {
        let labels = Labels::try_new([("host.name", format!("web-{host}"))]).unwrap();
        for (metric, kind) in [
            ("load", Kind::Gauge),
            ("http_requests_total", Kind::Counter),
        ] {
            let series = Series::new(metric, labels.clone(), kind);
            builder.push(&series, 0.5 + f64::from(host), 1.0);
        }
    }
    builder.finish()[0].encode()
}

/// The snapshot of a partition that so many hosts have written to for some minutes. Its last windows are open.
fn snapshot_of(hosts: u32, metrics: usize, minutes: i64) -> Vec<u8> {
    let mut state = PartitionState::new(ProcessingConfig::default());
    for minute in 0..minutes {
        let log_time = START + (minute + 1) * MINUTE;
        state.step(
            Offset(minute as u64),
            log_time,
            &minute_of(hosts, metrics, minute),
        );
    }
    state.settle();
    state.encode()
}

/// The snapshot of a partition in which siblings of another one meet, some of them waiting for the rest.
fn snapshot_of_meetings() -> Vec<u8> {
    let states = (0..2).map(|partition| {
        let config = ProcessingConfig::default();
        let mut state = PartitionState::new(config).with_place(partition, 2);
        for minute in 0..6 {
            let (offset, log_time) = (2 * minute as u64, START + (minute + 1) * MINUTE);
            state.step(Offset(offset), log_time, &minute_of(1, 1, minute));
            let guests = Guests::decode(&guests_of(minute)).unwrap();
            state.step_guests(Offset(offset + 1), log_time, &guests);
        }
        state.settle();
        state.encode()
    });
    // One of both is the home.
    states.max_by_key(Vec::len).unwrap()
}

/// What stands behind the compression of a snapshot: the entry `snapshot` takes it as well.
fn unpacked(snapshot: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(&snapshot[24..]).unwrap()
}

/// Has a door with these limits take lines of so many users, and answers what outlives the process: known series and folded labels.
fn kept_of(users: usize, limits: SeriesLimits) -> (Vec<u8>, Vec<u8>) {
    let admission = Arc::new(Admission::new(limits, START));
    let mut door = Batcher::new(1, 1 << 20, 1_000).with_admission(Arc::clone(&admission));
    let lines: String = (0..users)
        .map(|user| format!("requests,host=web-1,user=u{user} total={user}i\n"))
        .collect();
    let (unit, now) = (LineUnit::Auto, START);
    decode_line_protocol(lines.as_bytes(), LineOptions { unit, now }, &mut door).unwrap();
    let known = admission.unsaved_series().unwrap();
    (known, admission.unsaved().unwrap_or_default())
}

/// What stands behind the first line of a file.
fn body(file: &[u8]) -> &[u8] {
    let line = file.iter().position(|byte| *byte == b'\n').unwrap();
    &file[line + 1..]
}

/// Whether a file of folded labels, or of known series, is taken up.
fn is_taken_up(file: &[u8], take: fn(&Admission, &[u8]) -> bool) -> bool {
    take(&Admission::new(SeriesLimits::default(), START), file)
}

fn knows(file: &[u8]) -> bool {
    is_taken_up(file, |admission, file| {
        admission.restore_series(file).is_ok()
    })
}

fn folds(file: &[u8]) -> bool {
    is_taken_up(file, |admission, file| {
        admission.restore(file).is_ok() && admission.counts().1 > 0
    })
}

/// Whether a snapshot is read in full, with what it has learned.
fn is_of_today(snapshot: &[u8]) -> bool {
    PartitionState::foreign_lessons(snapshot).is_none()
        && PartitionState::decode(snapshot, ProcessingConfig::default()).is_ok()
}

#[test]
fn the_corpus_of_our_own_formats_is_of_today() {
    // A series of each kind, and a group of siblings; no more, since every series unpacks to five kilobytes of what is learned of it.
    for (name, snapshot) in [
        ("host", snapshot_of(1, 3, 12)),
        ("siblings", snapshot_of(3, 1, 12)),
        ("meetings", snapshot_of_meetings()),
    ] {
        println!(
            "{name}: {} bytes, {} unpacked",
            snapshot.len(),
            unpacked(&snapshot).len()
        );
        keep_for_fuzzing("snapshot", name, &snapshot);
        keep_for_fuzzing(
            "snapshot",
            &format!("{name}_unpacked"),
            &unpacked(&snapshot),
        );
    }
    keep_for_fuzzing("record", "hosts", &minute_of(2, 3, 0).encode().unwrap());
    keep_for_fuzzing("guests", "hosts", &guests_of(0));
    let narrow = SeriesLimits {
        values_max: 3,
        ..SeriesLimits::default()
    };
    let (known, _) = kept_of(12, SeriesLimits::default());
    let (_, folded) = kept_of(12, narrow);
    for (entry, name, file) in [
        ("known_series", "users", &known[..]),
        ("folded_labels", "user", folded.trim_ascii_end()),
    ] {
        keep_for_fuzzing(entry, name, file);
        keep_for_fuzzing(entry, &format!("{name}_unsealed"), body(file));
    }

    type Reads = fn(&[u8]) -> bool;
    let read: [(&str, &str, usize, Reads); 9] = [
        ("snapshot", "a file", 3, is_of_today),
        ("snapshot", "unpacked", 3, |bytes| {
            is_of_today(&packed_snapshot(bytes))
        }),
        ("record", "a record", 1, |bytes| {
            SampleBatch::decode(&Bytes::copy_from_slice(bytes)).is_ok()
        }),
        ("guests", "guests", 1, |bytes| Guests::decode(bytes).is_ok()),
        ("link", "a link", 2, |bytes| {
            Checkpoint::decode(bytes).is_ok()
        }),
        ("known_series", "a file", 1, knows),
        ("known_series", "unsealed", 1, |bytes| {
            knows(&sealed(KNOWN_SERIES, bytes))
        }),
        ("folded_labels", "a file", 1, folds),
        ("folded_labels", "unsealed", 1, |bytes| {
            folds(&sealed(FOLDED_LABELS, bytes))
        }),
    ];
    for (entry, what, least, reads) in read {
        let directory = tests::repository().join("fuzz/corpus").join(entry);
        let files = fs::read_dir(&directory).unwrap();
        let count = files
            .filter(|file| reads(&fs::read(file.as_ref().unwrap().path()).unwrap()))
            .count();
        println!("{entry}: {count} read as {what}");
        assert!(
            count >= least,
            "{count} of {} are {what} of this version: write them anew as docs/testing.md says",
            directory.display()
        );
    }
}
