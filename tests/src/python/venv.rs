//! A virtual environment with pinned packages, made once per machine and kept in the user's cache. Uses the standard library only.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What is installed. The versions are in the environment's path too, so a new pin makes a new environment.
const PACKAGES: [(&str, &str); 9] = [
    ("pyarrow", "26.0.1"),
    ("duckdb", "2.0.0"),
    ("xxhash", "4.1.0"),
    ("influxdb-client", "1.50.0"),
    ("opentelemetry-sdk", "1.45.2"),
    ("opentelemetry-exporter-otlp-proto-http", "1.45.2"),
    ("opentelemetry-exporter-otlp-proto-grpc", "1.45.2"),
    ("statsd", "4.0.1"),
    ("datadog", "0.56.0"),
];

/// The interpreter of the environment, which is made if it is not there.
///
/// # Errors
/// A message for a person if there is no `python3` (or no interpreter named by `TIDEWATCH_PYTHON`), or the packages can't be had.
pub fn interpreter() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(|| make(&cache()?)).clone()
}

/// `$XDG_CACHE_HOME/tidewatch/python`, or below `~/.cache`.
fn cache() -> Result<PathBuf, String> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("tidewatch/python"))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".to_owned())
}

fn make(cache: &Path) -> Result<PathBuf, String> {
    let name = PACKAGES
        .map(|(package, version)| format!("{package}-{version}"))
        .join("_");
    let (home, complete) = (cache.join(&name), cache.join(&name).join("complete"));
    let interpreter = home.join("bin/python");
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    fs::create_dir_all(cache).map_err(|e| failed(&format!("creating {}", cache.display()), e))?;
    // Test programs run side by side: one makes the environment, the others wait. The lock goes with the file handle.
    let lock = File::create(cache.join(format!("{name}.lock")))
        .map_err(|e| failed("creating the lock file", e))?;
    lock.lock()
        .map_err(|e| failed("waiting for the lock file", e))?;
    if complete.exists() {
        return Ok(interpreter);
    }
    let python = std::env::var("TIDEWATCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    run(Command::new(python)
        .args(["-m", "venv", "--clear"])
        .arg(&home))?;
    let pins = PACKAGES.map(|(package, version)| format!("{package}=={version}"));
    run(Command::new(&interpreter)
        .args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"])
        .args(pins))?;
    fs::write(&complete, "").map_err(|e| failed("marking the environment as complete", e))?;
    Ok(interpreter)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}
