//! A saved state that is damaged or gone: its partition stops and says what can be done, and one that is made anew goes on as if nothing had happened.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tests::process::{binary, run_command};

/// 2026-03-03T00:00:00Z, seconds.
const MARCH: i64 = 1_772_496_000;

/// Every half minute from (inclusive) to (exclusive), in half minutes: on three hosts a load, and a counter that begins anew now and then; on another one
/// now and then a value that is not finite.
fn history(from: i64, to: i64) -> String {
    let mut lines = Vec::new();
    for step in from..to {
        let time = MARCH + 30 * step;
        for host in 0..3 {
            let noise = ((step * 7_919 + host * 31) % 101) as f64 / 100.0;
            lines.push(format!("{time},load,h{host},{}", 20.0 + noise));
            lines.push(format!(
                "{time},requests_total,h{host},{}",
                50 * (step % 700)
            ));
        }
        if step % 97 == 0 {
            lines.push(format!("{time},load,h9,NaN"));
        }
    }
    let mut text = String::from("timestamp,metric,host,value\n");
    lines
        .iter()
        .for_each(|line| writeln!(text, "{line}").unwrap());
    text
}

/// Takes a file into a data directory in `place`, and leaves the last windows open.
fn replay(place: &Path, file: &str, data: &str, settings: &[(&str, &str)]) -> Output {
    Command::new(binary())
        .args([
            "replay",
            file,
            "--data-dir",
            data,
            "--append",
            "--leave-open",
            "-q",
        ])
        .env("TIDEWATCH__BUS__PARTITIONS", "2")
        .envs(settings.iter().copied())
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn expect_replayed(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

fn answer(place: &Path, data: &str, query: &str) -> String {
    run_command(place, &["sql", "--data-dir", data, "-f", "csv", query])
}

fn run_program(program: &str, place: &Path, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .current_dir(place)
        .status()
        .unwrap();
    assert!(status.success(), "{program}: {status}");
}

/// The newest saved state of each partition.
fn states(data: &Path) -> Vec<PathBuf> {
    let list = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let partitions = list(&data.join("archive/snapshots/tidewatch.samples"));
    partitions
        .iter()
        .flat_map(|partition| list(partition))
        .collect()
}

#[test]
fn a_lost_state_is_folded_again_on_demand_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    // The stop is within a window of each length.
    let stop = 2 * 2_880 + 1_337;
    std::fs::write(place.join("first.csv"), history(0, stop)).unwrap();
    std::fs::write(place.join("then.csv"), history(stop, stop + 400)).unwrap();
    for data in ["whole", "lost"] {
        expect_replayed(&replay(place, "first.csv", data, &[]));
    }
    let before = states(&place.join("lost"));
    assert_eq!(before.len(), 2, "{before:?}");
    let mut flipped = std::fs::read(&before[0]).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&before[0], &flipped).unwrap();
    std::fs::remove_file(&before[1]).unwrap();

    // Nobody has said that it may be made anew. (A replay that fails marks its directory.)
    run_program("cp", place, &["-r", "lost", "refused"]);
    let refused = replay(place, "then.csv", "refused", &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    for expected in [".snapshot", "rebuild_damaged_states"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let left = states(&place.join("refused"));
    assert_eq!(std::fs::read(&left[0]).unwrap(), flipped);

    let anew = [("TIDEWATCH__ARCHIVE__REBUILD_DAMAGED_STATES", "true")];
    expect_replayed(&replay(place, "then.csv", "lost", &anew));
    expect_replayed(&replay(place, "then.csv", "whole", &[]));
    // From now on it is saved as ever; and what was damaged can still be looked at.
    let after = states(&place.join("lost"));
    let aside = before[0].file_name().unwrap().to_str().unwrap();
    let aside = before[0].with_file_name(format!("damaged-{aside}"));
    assert_eq!(std::fs::read(aside).unwrap(), flipped);
    assert_eq!(after.len(), 3, "{after:?}");
    std::fs::write(place.join("last.csv"), history(stop + 400, stop + 500)).unwrap();
    for data in ["whole", "lost"] {
        expect_replayed(&replay(place, "last.csv", data, &[]));
    }

    const ROLLUP: &str = "SELECT time, metric, host, count, sum, min, max, first, last, sum_squares, rate, completeness, revision FROM";
    for table in ["10s", "1m", "5m", "1h", "1d"] {
        let query = format!("{ROLLUP} rollups_{table} ORDER BY time, metric, host");
        let (whole, lost) = (
            answer(place, "whole", &query),
            answer(place, "lost", &query),
        );
        assert!(whole.lines().count() > 7, "{table}: {whole}");
        assert!(whole == lost, "rollups_{table} differ");
    }
    for samples in [
        "samples",
        "(SELECT DISTINCT metric, host, time FROM samples)",
    ] {
        let samples = format!("SELECT count(*) AS n FROM {samples}");
        assert_eq!(
            answer(place, "lost", &samples),
            answer(place, "whole", &samples)
        );
    }
    // A counter is still judged by its rate, which is steady but where it begins anew: as a gauge it would climb out of every band.
    let counters = "SELECT count(*) AS n FROM anomalies WHERE metric = 'requests_total'";
    assert_eq!(
        answer(place, "lost", counters),
        answer(place, "whole", counters)
    );
}
