//! The services of `docker-compose.yml` as a user starts them, under a project name of their own: built from the program under test, removed with all
//! they made when the test ends.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::http;

/// `1`: the services may be started. Set by `cargo xtask compose`.
pub const COMPOSE: &str = "TIDEWATCH_COMPOSE";
/// `1`: not starting them is a failure.
pub const REQUIRE_COMPOSE: &str = "TIDEWATCH_REQUIRE_COMPOSE";

/// The project under test. One at a time on an engine: what an earlier run left behind when it was killed is found by this name, and removed.
const PROJECT: &str = "tidewatch-under-test";
/// The tag of the images under test.
const TAG: &str = "under-test";
/// What the file promises: all services healthy within a minute.
const HEALTHY_SECONDS_MAX: u32 = 60;
/// How long a condition is waited for that depends on several processes.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Laid over `docker-compose.yml`: what would take minutes takes seconds, and each instance can be reached by itself.
const OVER: &str = r"
services:
  tidewatch:
    build:
      context: CONTEXT
    ports:
      - 127.0.0.1::7744
    environment:
      TIDEWATCH__BUS__SESSION_TIMEOUT: 6s
      TIDEWATCH__PROCESSING__CHECKPOINT_INTERVAL: 2s
      TIDEWATCH__DETECTION__WARM_UP: 0s
      TIDEWATCH__DETECTION__WARM_UP_SAMPLES: 10
      TIDEWATCH__DETECTION__COMPLETENESS_MIN: 0.0
  kafka:
    command:
      - bash
      - -c
      # The public image goes on where the storage is formatted already. One that was made of Kafka's artifacts alone may not know that, and
      # ends; it has no `launch`.
      - |
        if [ -e /var/lib/kafka/data/meta.properties ] && [ ! -e /etc/kafka/docker/launch ]; then
          sed 's/--final-configs-dir .*/& || true/' /etc/kafka/docker/run >/tmp/run && exec sh /tmp/run
        fi
        exec /etc/kafka/docker/run
";

/// The services. Dropped, they are removed with their volumes and images; if the test is failing, their logs are printed before.
#[derive(Debug)]
pub struct Services {
    directory: tempfile::TempDir,
    /// Of the address in front of all instances.
    port: u16,
    kafka_port: u16,
    /// Volumes without a name, which outlive `down`.
    volumes: Vec<String>,
}

impl Services {
    /// Prepares a project whose image is made of a ready program; `None`, said loudly, where no Docker may be used.
    ///
    /// # Panics
    /// If there is none and `TIDEWATCH_REQUIRE_COMPOSE=1`.
    pub fn prepare(test: &str) -> Option<Services> {
        let allowed = std::env::var(COMPOSE).as_deref() == Ok("1");
        if !allowed || !engine_answers() {
            let missing = "a Docker engine with compose, and leave to use it, which `cargo xtask compose` gives";
            crate::skip(test, missing, REQUIRE_COMPOSE);
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let context = directory.path().join("context");
        std::fs::create_dir_all(context.join("dist")).expect("the build context can be made");
        for file in ["Dockerfile", ".dockerignore"] {
            std::fs::copy(crate::repository().join(file), context.join(file))
                .unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        std::fs::copy(crate::process::binary(), context.join("dist/tidewatch"))
            .expect("the program can be copied");
        let over = OVER.replace("CONTEXT", &context.display().to_string());
        std::fs::write(directory.path().join("over.yml"), over).expect("the file can be written");
        let [port, kafka_port] = free_ports();
        let services = Services {
            directory,
            port,
            kafka_port,
            volumes: Vec::new(),
        };
        services.remove();
        Some(services)
    }

    /// `docker compose up` with so many instances; returns when all services are healthy.
    ///
    /// # Panics
    /// If they are not within a minute (after their images were built).
    pub fn up(&mut self, instances: usize) {
        self.compose(&["build"]);
        let scale = format!("tidewatch={instances}");
        let timeout = HEALTHY_SECONDS_MAX.to_string();
        self.compose(&[
            "up",
            "--wait",
            "--wait-timeout",
            &timeout,
            "--no-recreate",
            "--scale",
            &scale,
        ]);
        for id in self.instances() {
            let format = "{{range .Mounts}}{{if eq .Destination \"/var/lib/tidewatch\"}}{{.Name}}{{end}}{{end}}";
            let volume = docker(&["inspect", "--format", format, &id]);
            self.volumes.push(volume.trim().to_owned());
        }
    }

    /// `docker compose down`: containers go, volumes stay.
    pub fn down(&self) {
        self.compose(&["down"]);
    }

    /// The address of all instances.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where Kafka clients of this machine connect.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.kafka_port)
    }

    /// The containers of the instances that run.
    pub fn instances(&self) -> Vec<String> {
        let ids = self.compose(&["ps", "--quiet", "tidewatch"]);
        ids.lines().map(str::to_owned).collect()
    }

    /// The partitions that an instance runs, by its own word.
    pub fn partitions_of(&self, instance: &str) -> usize {
        let ports = docker(&["port", instance, "7744/tcp"]);
        let address = ports.lines().next().and_then(|line| line.parse().ok());
        let address: SocketAddr = address.unwrap_or_else(|| panic!("no address in `{ports}`"));
        let answer = http::get(address, "/readyz?verbose").map(|answer| answer.text());
        let status: serde_json::Value =
            serde_json::from_str(&answer.unwrap_or_default()).unwrap_or_default();
        let partitions = status["partitions"].as_array().cloned();
        let running = |partition: &&serde_json::Value| partition["phase"] == "running";
        partitions.iter().flatten().filter(running).count()
    }

    /// Asks an SQL question at the address of all instances; `None` where there is no answer, as when the instance that was asked is dying.
    pub fn sql(&self, query: &str) -> Option<Vec<serde_json::Value>> {
        let body = serde_json::json!({ "query": query, "format": "ndjson" }).to_string();
        let answer = http::post(
            self.address(),
            "/api/v1/sql",
            "application/json",
            body.as_bytes(),
        )
        .ok()?;
        assert_eq!(answer.status, 200, "`{query}`: {}", answer.text());
        let rows = answer.text();
        let rows = rows.lines().map(serde_json::from_str);
        Some(
            rows.collect::<Result<_, _>>()
                .expect("a JSON object a line"),
        )
    }

    /// Waits until `look` finds what it looks for; `what` says what that is.
    ///
    /// # Panics
    /// With the last thing seen, if that takes too long.
    pub fn wait_for<T: std::fmt::Debug + PartialEq>(
        &self,
        what: &str,
        expected: &T,
        mut look: impl FnMut(&Self) -> T,
    ) {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            let seen = look(self);
            if seen == *expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: expected {expected:?}, after {SETTLE_TIMEOUT:?} still {seen:?}"
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn compose(&self, arguments: &[&str]) -> String {
        succeeded(
            arguments,
            self.command(arguments)
                .output()
                .expect("docker can be started"),
        )
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["compose", "--progress", "quiet", "--project-name", PROJECT])
            .arg("--file")
            .arg(crate::repository().join("docker-compose.yml"))
            .arg("--file")
            .arg(self.over())
            .args(arguments)
            .env("TIDEWATCH_VERSION", TAG)
            .env("TIDEWATCH_BINARY_FROM", "ready")
            .env("TIDEWATCH_PORT", self.port.to_string())
            .env("TIDEWATCH_KAFKA_PORT", self.kafka_port.to_string())
            .env_remove("COMPOSE_PROFILES")
            .stdin(Stdio::null());
        command
    }

    fn over(&self) -> PathBuf {
        self.directory.path().join("over.yml")
    }

    /// Takes everything away. What is not there is no failure.
    fn remove(&self) {
        let _gone = self
            .command(&["down", "--volumes", "--remove-orphans", "--timeout", "5"])
            .output();
        let images = ["tidewatch", "tidewatch-front"].map(|image| format!("{image}:{TAG}"));
        for (kind, names) in [("image", &images[..]), ("volume", &self.volumes)] {
            let _gone = Command::new("docker")
                .args([kind, "rm", "--force"])
                .args(names)
                .output();
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(logs) = self
                .command(&["logs", "--no-color", "--tail", "200"])
                .output()
        {
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        self.remove();
    }
}

/// Whether `docker` is there with compose and reaches an engine.
fn engine_answers() -> bool {
    [&["compose", "version"][..], &["info"]]
        .iter()
        .all(|arguments| {
            let mut command = Command::new("docker");
            command
                .args(*arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
}

/// Runs `docker` and returns what it prints.
///
/// # Panics
/// With what it says, if it fails.
pub fn docker(arguments: &[&str]) -> String {
    let output = try_docker(arguments);
    succeeded(arguments, output)
}

/// Runs `docker`, however it ends.
///
/// # Panics
/// If it can't be started.
pub fn try_docker(arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("docker can be started")
}

fn succeeded(arguments: &[&str], output: Output) -> String {
    assert!(
        output.status.success(),
        "`docker … {}` ended with {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ports of the loopback interface that nobody listens on just now, each another.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}
