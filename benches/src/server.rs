//! The real program as a child process: started over a directory of its own, waited for, killed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;

/// How long the program may take to process what it has taken. A bound for what hangs.
const CATCH_UP_MAX: Duration = Duration::from_secs(1800);
/// How long it may take to listen, and to be ready. Likewise.
const START_MAX: Duration = Duration::from_secs(600);

/// The program under test; dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    /// Its process.
    pub child: Child,
    /// Where it listens, `host:port`.
    pub address: String,
}

impl Server {
    /// Starts it over `directory/data` with the settings of `directory/bench.toml`, which the caller has written; back when it listens.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(directory: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .to_string();
        let child = command(directory)
            .args(["run", "--listen", &address])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts: `cargo build --release --bin tidewatch` builds it");
        let server = Server { child, address };
        let deadline = Instant::now() + START_MAX;
        while std::net::TcpStream::connect(&server.address).is_err() {
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A command of the program over the same data and settings: the caller adds what it is to do.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .arg("--config")
        .arg(directory.join("bench.toml"))
        .arg("--data-dir")
        .arg(directory.join("data"));
    command
}

/// `TIDEWATCH_BENCH_BINARY`, or `target/release/tidewatch` as seen from `target/release/deps/million_series-…`.
fn program() -> PathBuf {
    std::env::var_os("TIDEWATCH_BENCH_BINARY").map_or_else(
        || {
            let own = std::env::current_exe().expect("this program has a path");
            let release = own.parent().and_then(|deps| deps.parent());
            release.expect("a target directory").join("tidewatch")
        },
        PathBuf::from,
    )
}

/// Waits until nothing in the log is left to be processed.
///
/// # Panics
/// If that takes half an hour.
pub fn catch_up(client: &mut Client) {
    let deadline = Instant::now() + CATCH_UP_MAX;
    loop {
        let metrics = client.get("/metrics");
        let lags: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("tidewatch_partition_lag_records{"))
            .collect();
        if !lags.is_empty() && lags.iter().all(|line| line.ends_with(" 0")) {
            return;
        }
        assert!(Instant::now() < deadline, "it does not catch up: {lags:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
