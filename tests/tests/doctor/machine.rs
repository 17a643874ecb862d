//! The settings, the disk and the limits of the machine.

use std::path::Path;
use std::process::{Command, Output};

use super::{Report, doctor, doctor_command};

#[test]
fn wrong_settings_are_all_told_and_nothing_else_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("config.toml"),
        "[bus]\npartition = 3\n[query]\ntimeout = 30\n",
    )
    .unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[
        (
            "configuration",
            "TW-CONFIG-003",
            "config.toml:2:1: unknown key",
        ),
        (
            "configuration",
            "TW-CONFIG-004",
            "config.toml:4:11: `query.timeout`",
        ),
    ]);
    report.expect_state("everything else", "skipped");
    let wrong_usage = doctor_command(directory.path())
        .arg("--jsn")
        .output()
        .unwrap();
    assert_eq!(wrong_usage.status.code(), Some(2));
}

#[test]
fn too_few_file_descriptors_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let plain = doctor_command(directory.path());
    let output = under(&["sh", "-c", "ulimit -n 600; exec \"$@\"", "sh"], &plain)
        .output()
        .unwrap();
    Report::of(&output).expect_failures(&[(
        "file descriptors",
        "TW-DOCTOR-003",
        "may open 600, 1,536 are needed",
    )]);
}

/// The same command, started by another program.
fn under(words: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(words[0]);
    wrapped
        .args(&words[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}

/// Doctor with a small file system of its own at the data directory, seen by nobody else; `None`, said loudly, where mounting is not allowed.
fn on_a_disk(test: &str, directory: &Path, mount: &str, then: &str) -> Option<Output> {
    let allowed = Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !allowed {
        tests::skip(
            test,
            "the right to mount (unshare --map-root-user --mount)",
            "TIDEWATCH_REQUIRE_NAMESPACES",
        );
        return None;
    }
    std::fs::create_dir_all(directory.join("data")).unwrap();
    let script = format!("mount -t tmpfs -o {mount} tmpfs data && {then} exec \"$@\"");
    let plain = doctor_command(directory);
    let words = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    Some(under(&words, &plain).output().unwrap())
}

#[test]
fn a_full_disk_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let test = "a_full_disk_is_found";
    let Some(output) = on_a_disk(test, directory.path(), "size=4m", "") else {
        return;
    };
    Report::of(&output).expect_failures(&[(
        "disk space",
        "TW-DOCTOR-002",
        "256 MiB needed: the log takes nothing more",
    )]);
    // Not a byte left: the probe can't be written either.
    let fill = "head -c 16m /dev/zero > data/filler 2>/dev/null;";
    let Some(output) = on_a_disk(test, directory.path(), "size=4m", fill) else {
        return;
    };
    Report::of(&output).expect_failures(&[
        (
            "data directory",
            "TW-COMMAND-004",
            "No space left on device",
        ),
        ("disk space", "TW-DOCTOR-002", "0 B free"),
    ]);
}

#[test]
fn a_read_only_disk_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let test = "a_read_only_disk_is_found";
    let mount = "ro,size=1g";
    let Some(output) = on_a_disk(test, directory.path(), mount, "") else {
        return;
    };
    Report::of(&output).expect_failures(&[(
        "data directory",
        "TW-COMMAND-004",
        "Read-only file system",
    )]);
}

#[test]
fn a_little_room_is_a_warning_with_both_figures() {
    let directory = tempfile::tempdir().unwrap();
    let test = "a_little_room_is_a_warning_with_both_figures";
    let Some(output) = on_a_disk(test, directory.path(), "size=1g", "") else {
        return;
    };
    let report = Report::of(&output);
    report.expect_failures(&[]);
    report.expect_state("disk space", "warning");
    let (_, found, _) = report.named("disk space")[0];
    assert!(
        found.contains("1.0 GiB free") && found.contains("9.2 GiB when"),
        "{found}"
    );
}
