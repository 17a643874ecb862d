//! A real Prometheus as a process of a test.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running Prometheus. Dropped, it is killed.
#[derive(Debug)]
pub struct Prometheus(Child);

impl Prometheus {
    /// Starts `program` with this configuration, listening at `address`, its files in `directory`; waits until it is ready.
    ///
    /// # Panics
    /// If it ends before, or is not ready after half a minute.
    pub fn start(program: &str, directory: &Path, config: &str, address: SocketAddr) -> Self {
        let path = directory.join("prometheus.yml");
        std::fs::write(&path, config).unwrap();
        let mut running = Prometheus(
            Command::new(program)
                .arg(format!("--config.file={}", path.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    directory.join("tsdb").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let deadline = Instant::now() + START_TIMEOUT;
        while !http::get(address, "/-/ready").is_ok_and(|answer| answer.is_success()) {
            assert!(
                Instant::now() < deadline && running.0.try_wait().unwrap().is_none(),
                "prometheus did not start"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        running
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
