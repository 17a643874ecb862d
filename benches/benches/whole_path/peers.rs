//! The other side: VictoriaMetrics, built once from its published Go module.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The version that is built.
const VERSION: &str = "v1.130.0";

/// A running VictoriaMetrics, single node, with its defaults and an empty directory.
pub(crate) struct VictoriaMetrics {
    pub(crate) child: Child,
    pub(crate) address: String,
    _data: tempfile::TempDir,
}

impl VictoriaMetrics {
    pub(crate) fn start() -> Result<Self, String> {
        let program = build()?;
        let data = tempfile::tempdir().map_err(|error| error.to_string())?;
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| error.to_string())?
            .to_string();
        let child = Command::new(program)
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", data.path().display()))
            .args([
                "-loggerLevel=ERROR",
                "-retentionPeriod=100y",
                "-search.latencyOffset=0s",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let peer = VictoriaMetrics {
            child,
            address,
            _data: data,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&peer.address).is_err() {
            if Instant::now() > deadline {
                return Err("it did not start".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }
}

impl Drop for VictoriaMetrics {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The program in the user's cache, built there if it is missing.
fn build() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    let directory = cache
        .join("tidewatch")
        .join(format!("victoria-metrics-{VERSION}"));
    let program = directory.join("victoria-metrics");
    if program.exists() {
        return Ok(program);
    }
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let module = "github.com/VictoriaMetrics/VictoriaMetrics";
    let package = format!("{module}/app/victoria-metrics");
    let go = |arguments: &[&str]| -> Result<(), String> {
        let output = Command::new("go")
            .args(arguments)
            .current_dir(&directory)
            .output()
            .map_err(|error| format!("go: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!(
                "go {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            ))
        }
    };
    if !directory.join("go.mod").exists() {
        go(&["mod", "init", "peer"])?;
    }
    go(&["get", &format!("{package}@{VERSION}")])?;
    go(&["build", "-o", "victoria-metrics", &package])?;
    Ok(program)
}
