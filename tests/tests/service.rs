//! What systemd is told, at a real socket: ready, alive, stuck, stopping. And the unit that it reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::process::{Launch, has_program};

/// A word of the service's watchdog is due every second: a quarter of this.
const WATCHDOG: Duration = Duration::from_secs(4);

struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn listen(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        Manager {
            socket,
            heard: Vec::new(),
        }
    }

    /// The next message; `None` if none comes in time.
    fn hear(&mut self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        self.heard.push(message.clone());
        Some(message)
    }

    #[track_caller]
    fn wait_for(&mut self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while Instant::now() < deadline {
            if let Some(message) = self.hear(Duration::from_secs(1))
                && message.contains(what)
            {
                return;
            }
        }
        panic!("the manager did not hear `{what}`, but {:?}", self.heard);
    }
}

fn launch(directory: &Path, socket: &Path) -> Launch {
    Launch::new(directory)
        .config(format!("{}\n[bus]\npartitions = 1\n", tests::FAST_CONFIG))
        .env("NOTIFY_SOCKET", socket.to_str().unwrap())
        .env("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())
}

#[test]
fn ready_alive_and_stopping_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let mut manager = Manager::listen(&socket);
    let process = launch(directory.path(), &socket).start_ready();
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    process.stop_cleanly();
    manager.wait_for("STOPPING=1");
    let ready = manager
        .heard
        .iter()
        .filter(|message| message.contains("READY=1"));
    assert_eq!(ready.count(), 1, "{:?}", manager.heard);
}

/// A disk that hangs: the link that is written next is a pipe that nobody writes to, and reading it back never ends.
#[test]
fn a_partition_that_is_held_is_no_longer_told_to_be_alive() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let mut manager = Manager::listen(&socket);
    let mut process = launch(directory.path(), &socket).start_ready();
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");

    let chain: PathBuf = directory
        .path()
        .join("data/archive/chain/tidewatch.samples/p00000");
    let next = std::fs::read_dir(&chain).unwrap().count();
    for sequence in next..next + 20 {
        let place = chain.join(format!("{sequence:020}.json"));
        let made = Command::new("mkfifo").arg(&place).status().unwrap();
        assert!(made.success() || place.exists());
    }
    process.write_lines("load,host=a v=1\n").unwrap();
    manager.wait_for("STATUS=stuck: partition 0 has not come round");
    // What was on its way when it was noticed.
    while let Some(message) = manager.hear(WATCHDOG) {
        assert!(!message.contains("WATCHDOG=1"), "{:?}", manager.heard);
    }
    process.kill_nine();
}

#[test]
fn without_a_manager_nothing_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nobody-listens");
    launch(directory.path(), &nowhere)
        .start_ready()
        .stop_cleanly();
}

#[test]
fn the_unit_is_valid() {
    if !has_program("systemd-analyze") {
        tests::skip(
            "the_unit_is_valid",
            "systemd-analyze",
            "TIDEWATCH_REQUIRE_SYSTEMD",
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let unit =
        std::fs::read_to_string(tests::repository().join("packaging/tidewatch.service")).unwrap();
    // The program is not installed here, nor its man page.
    let program = tests::process::binary().display().to_string();
    let unit = unit
        .replace("/usr/local/bin/tidewatch", &program)
        .replace("Documentation=man:tidewatch(1)\n", "");
    let place = directory.path().join("tidewatch.service");
    std::fs::write(&place, unit).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&place)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // It may also tell of other units of this machine.
    let ours: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("tidewatch"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{told}");
}
