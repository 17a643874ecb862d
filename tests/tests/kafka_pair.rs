//! Two processes in one consumer group, one archive: partitions are shared, a frozen owner is fenced, a killed one is replaced; nothing twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use tests::audit::Book;
use tests::load::{Load, Outcome};
use tests::process::{Launch, Tidewatch, run_command};

/// A session short enough for a test, long enough for a busy machine.
const SESSION: &str = "6s";
/// A session that outlasts a test's patience. Not longer: a tenth of it passes until a member hears that another has come.
const LONG_SESSION: &str = "3m";

struct Pair {
    launches: [Launch; 2],
    archive: std::path::PathBuf,
    topic: String,
}

impl Pair {
    /// Two members of one group over a new set of topics.
    fn prepare(brokers: &str, directory: &Path, session: &str) -> Self {
        let unique = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        let prefix = format!("pair-{unique}");
        let archive = directory.join("archive");
        let config = format!(
            "{}\n[bus]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ngroup = \"{prefix}\"\ntopic_prefix = \"{prefix}\"\npartitions = 4\nsession_timeout = \"{session}\"\n[archive]\nurl = \"file://{}\"\n",
            tests::FAST_CONFIG,
            archive.display()
        );
        let launches = [0, 1].map(|member| {
            let own = directory.join(format!("member-{member}"));
            std::fs::create_dir_all(&own).unwrap();
            Launch::new(&own).config(config.clone())
        });
        std::fs::write(directory.join("topics.toml"), &config).unwrap();
        run_command(directory, &["topics", "create", "--config", "topics.toml"]);
        Pair {
            launches,
            archive,
            topic: format!("{prefix}.samples"),
        }
    }
}

fn send(load: &mut Load, to: &Tidewatch, requests: usize) {
    let mut acknowledged = 0;
    while acknowledged < requests {
        acknowledged += usize::from(load.send(to) == Outcome::Ok);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn c2_a_frozen_owner_is_fenced_and_nothing_stands_twice() {
    if !tests::audit::is_available("kafka_pair") {
        return;
    }
    let Some(brokers) = tests::kafka::kafka_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::prepare(&brokers, directory.path(), SESSION);
    let mut load = Load::new(100);

    let mut first = pair.launches[0].start_ready();
    first.wait_for_partitions(4);
    send(&mut load, &first, 100);
    let mut second = pair.launches[1].start_ready();
    second.wait_for_partitions(2);
    first.wait_for_partitions(2);
    send(&mut load, &second, 100);

    // Frozen with uncommitted samples in hand, past its session: the other takes over all.
    first.pause();
    send(&mut load, &second, 100);
    second.wait_for_partitions(4);
    send(&mut load, &second, 200);
    first.resume();
    // It finds out that it was replaced, and joins again.
    first.wait_for_partitions(2);
    send(&mut load, &first, 100);

    // One dies for good; the other goes on alone.
    first.kill_nine();
    send(&mut load, &second, 100);
    second.wait_for_partitions(4);
    load.resend(&second);
    load.repeat_last(&second, 20);
    second.stop_cleanly();
    Book::of_archive(&load, directory.path(), &pair.archive, &pair.topic)
        .audit("after a frozen and a killed owner");
}

#[test]
fn who_stops_cleanly_leaves_the_group_before_it_ends() {
    let Some(brokers) = tests::kafka::kafka_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::prepare(&brokers, directory.path(), LONG_SESSION);
    let mut first = pair.launches[0].start_ready();
    first.wait_for_partitions(4);
    let mut second = pair.launches[1].start_ready();
    second.wait_for_partitions(2);
    first.stop_cleanly();
    second.wait_for_partitions(4);
    second.stop_cleanly();
}
