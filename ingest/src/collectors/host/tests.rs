//! Tests of the host collector, on this very host.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rstest::rstest;
use schemas::Kind;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::backlog::{Backlog, Collection, next_tick};
use crate::counters::{IngestCounters, Intake};
use crate::memory_bus::MemoryBus;

fn named(name: &str) -> HostOptions {
    HostOptions {
        host_name: Some(name.to_owned()),
        per_cpu: false,
    }
}

fn check_against_table(samples: &[HostSample]) {
    let mut seen = HashSet::new();
    for sample in samples {
        let info = METRICS
            .iter()
            .find(|info| info.name == sample.metric)
            .unwrap_or_else(|| panic!("{} is not in the table", sample.metric));
        assert_eq!(sample.kind, info.kind, "{sample:?}");
        assert_eq!(sample.labels.get("host.name"), Some("here"));
        assert_eq!(sample.time, 1_700_000_000_000_000);
        assert!(sample.value >= 0.0 || info.unit == "Cel", "{sample:?}");
        if info.unit == "1" {
            assert!(sample.value <= 1.0 + 1e-9, "{sample:?}");
        }
        assert!(
            seen.insert((sample.metric, sample.labels.clone())),
            "twice: {sample:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn this_host_is_collected() {
    let mut collector = HostCollector::new(named("here"));
    let first = collector.collect(1_700_000_000_000_000);
    check_against_table(&first);
    let names: BTreeSet<&str> = first.iter().map(|sample| sample.metric).collect();
    for metric in METRICS {
        // What a virtual machine or a container may lack, and what needs two collections.
        let optional = [
            "hw.temperature",
            "system.paging.utilization",
            "system.cpu.utilization",
        ];
        let by_device = ["system.disk.", "system.filesystem.", "system.network."]
            .iter()
            .any(|prefix| metric.name.starts_with(prefix));
        assert!(
            names.contains(metric.name) || by_device || optional.contains(&metric.name),
            "{} is missing",
            metric.name
        );
    }
    let of = |name: &'static str| {
        first
            .iter()
            .filter(move |sample| sample.metric == name)
            .map(|sample| sample.value)
    };
    assert_eq!(
        of("system.memory.usage").sum::<f64>(),
        of("system.memory.limit").sum::<f64>()
    );
    assert!(of("system.process.count").sum::<f64>() >= 1.0);
    assert!(!names.contains("system.cpu.utilization"));
}

#[cfg(target_os = "linux")]
#[test]
fn utilization_is_the_share_of_each_mode() {
    let ticks = |values: [u64; 7]| {
        let names = [
            "user",
            "nice",
            "system",
            "idle",
            "iowait",
            "interrupt",
            "steal",
        ];
        std::array::from_fn(|i| (names[i], values[i]))
    };
    let last = ticks([100, 0, 50, 1000, 10, 5, 0]);
    // iowait runs backwards on real kernels.
    let shares = linux::shares(&last, &ticks([130, 0, 60, 1060, 8, 5, 0])).unwrap();
    assert_eq!(
        shares.map(|(_, share)| share),
        [0.3, 0.0, 0.1, 0.6, 0.0, 0.0, 0.0]
    );
    assert_eq!(linux::shares(&last, &last), None);
}

#[cfg(target_os = "linux")]
#[rstest]
#[case("/dev/sda1", "/", "ext4", true)]
#[case("/dev/mapper/root", "/home", "xfs", true)]
#[case("tank/data", "/data", "zfs", true)]
#[case("overlay", "/", "overlay", true)]
#[case("overlay", "/var/lib/docker/overlay2/x/merged", "overlay", false)]
#[case("tmpfs", "/run", "tmpfs", false)]
#[case("proc", "/proc", "proc", false)]
#[case("cgroup2", "/sys/fs/cgroup", "cgroup2", false)]
#[case("server:/export", "/mnt", "nfs4", false)]
#[case("user@host:", "/mnt", "fuse.sshfs", false)]
#[case("/dev/sdb1", "/mnt", "fuseblk", true)]
#[case("/dev/loop3", "/snap/core", "squashfs", false)]
#[case("/dev/sr0", "/media", "iso9660", false)]
fn only_real_local_file_systems_are_watched(
    #[case] device: &str,
    #[case] mountpoint: &str,
    #[case] kind: &str,
    #[case] expected: bool,
) {
    assert_eq!(linux::is_watched(device, mountpoint, kind), expected);
}

#[cfg(target_os = "linux")]
#[test]
fn temperatures_are_read_from_sensors() {
    let root = tempfile::tempdir().unwrap();
    let chip = root.path().join("hwmon0");
    std::fs::create_dir(&chip).unwrap();
    for (name, text) in [
        ("name", "coretemp\n"),
        ("temp1_input", "45500\n"),
        ("temp1_label", "Package id 0\n"),
        ("temp2_input", "-3000\n"),
        ("temp3_input", "broken\n"),
    ] {
        std::fs::write(chip.join(name), text).unwrap();
    }
    let mut sheet = Sheet {
        host_name: "here",
        time: 5,
        samples: Vec::new(),
        complaints: Vec::new(),
    };
    linux::temperatures(root.path(), &mut sheet);
    let found: Vec<String> = sheet
        .samples
        .iter()
        .map(|sample| format!("{} {}", sample.labels, sample.value))
        .collect();
    assert_eq!(
        found,
        [
            r#"{host.name="here",hw.id="hwmon0/temp1",hw.name="coretemp Package id 0"} 45.5"#,
            r#"{host.name="here",hw.id="hwmon0/temp2",hw.name="coretemp temp2"} -3"#
        ]
    );
}

#[cfg(target_os = "linux")]
#[rstest]
#[case('R', "running")]
#[case('S', "sleeping")]
#[case('D', "sleeping")]
#[case('I', "sleeping")]
#[case('T', "stopped")]
#[case('Z', "defunct")]
#[case('?', "other")]
fn process_letters_are_states(#[case] letter: char, #[case] expected: &str) {
    assert_eq!(linux::process_state(letter), expected);
}

#[test]
fn sysinfo_gives_the_same_names() {
    let mut collector = HostCollector::portable(HostOptions {
        host_name: Some("here".to_owned()),
        per_cpu: true,
    });
    let first = collector.collect(1_700_000_000_000_000);
    check_against_table(&first);
    let names: BTreeSet<&str> = first.iter().map(|sample| sample.metric).collect();
    for name in [
        "system.memory.usage",
        "system.memory.limit",
        "system.cpu.logical.count",
        "system.process.count",
        "system.uptime",
    ] {
        assert!(names.contains(name), "{name}");
    }
    check_against_table(&collector.collect(1_700_000_000_000_000));
}

#[test]
fn the_table_has_no_name_twice_and_counters_are_sums() {
    let names: HashSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    for metric in METRICS.iter().filter(|metric| metric.kind == Kind::Counter) {
        assert!(
            !["utilization", "usage", "limit"]
                .iter()
                .any(|word| metric.name.ends_with(word)),
            "{}",
            metric.name
        );
    }
}

#[rstest]
#[case(0, 10, 10)]
#[case(9, 10, 10)]
#[case(10, 10, 20)]
#[case(-1, 10, 0)]
fn ticks_are_multiples_of_the_interval(
    #[case] now: i64,
    #[case] interval: i64,
    #[case] expected: i64,
) {
    assert_eq!(next_tick(now, interval), expected);
}

fn collection(samples: usize, bytes: usize) -> Collection {
    let record = bus::Record {
        value: vec![samples as u8; bytes].into(),
        ..bus::Record::default()
    };
    Collection {
        records: vec![PartitionRecord {
            partition: 0,
            record,
            samples,
        }],
    }
}

#[tokio::test]
async fn a_full_backlog_drops_the_oldest_and_says_how_much() {
    let backlog = Backlog::new(100);
    assert_eq!(backlog.add(collection(1, 40)), 0);
    assert_eq!(backlog.add(collection(2, 40)), 0);
    let being_published = backlog.oldest().await;
    assert_eq!(backlog.add(collection(4, 40)), 1);
    // The one being published was dropped meanwhile: taking it out must not take another.
    backlog.remove(&being_published);
    assert_eq!(backlog.samples(), 6);
    assert_eq!(backlog.add(collection(8, 500)), 6);
    assert_eq!(backlog.oldest().await, collection(8, 500));
    backlog.remove(&collection(8, 500));
    backlog.at_most(0).await;
}

#[tokio::test]
async fn an_outage_delays_samples_and_loses_none() {
    let (bus, counters, cancellation) = (
        MemoryBus::new(),
        Arc::new(IngestCounters::default()),
        CancellationToken::new(),
    );
    bus.failures.store(2, Ordering::SeqCst);
    let collector = HostCollector::new(named("here"));
    let run = tokio::spawn(collector.run(
        Duration::from_millis(50),
        bus.publisher(1),
        Arc::clone(&counters),
        cancellation.clone(),
    ));
    let host = counters.of(Intake::Host);
    while host.accepted_samples.load(Ordering::Relaxed) == 0
        || host.failures.load(Ordering::Relaxed) < 2
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cancellation.cancel();
    run.await.unwrap();
    let rows = bus.rows();
    assert_eq!(
        host.accepted_samples.load(Ordering::Relaxed),
        rows.len() as u64
    );
    assert_eq!(
        (
            host.dropped_samples.load(Ordering::Relaxed),
            host.rejected_samples.load(Ordering::Relaxed)
        ),
        (0, 0)
    );
    // One record per collection, in order, all of its samples at one tick.
    let times: Vec<i64> = rows.iter().map(|row| row.3).collect();
    assert!(times.is_sorted() && times.iter().all(|time| time % 50_000 == 0));
    let distinct: BTreeSet<i64> = times.into_iter().collect();
    assert_eq!(distinct.len() as u64, host.requests.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_cannot_be_published_at_the_end_is_counted() {
    let (bus, counters, cancellation) = (
        MemoryBus::new(),
        Arc::new(IngestCounters::default()),
        CancellationToken::new(),
    );
    bus.failures.store(usize::MAX, Ordering::SeqCst);
    let run = tokio::spawn(HostCollector::new(named("here")).run(
        Duration::from_millis(20),
        bus.publisher(1),
        Arc::clone(&counters),
        cancellation.clone(),
    ));
    let host = counters.of(Intake::Host);
    while host.failures.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cancellation.cancel();
    run.await.unwrap();
    assert!(host.dropped_samples.load(Ordering::Relaxed) > 0);
    assert_eq!(host.accepted_samples.load(Ordering::Relaxed), 0);
}
