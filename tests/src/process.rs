//! The real `tidewatch` program as a child process: started, asked, signalled, killed, and its log shown when a test fails.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::http::{self, Answer, NoAnswer};

/// How long the program may take until it is ready. A bound for what hangs, not a measure of speed.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a condition is looked at while waiting for it.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Several partitions, of which users of the embedded log have one: what is promised is to hold across them.
const PARTITIONS: (&str, &str) = ("TIDEWATCH__BUS__PARTITIONS", "4");
/// Number of SIGABRT: how a process ends that a crash point killed.
pub const SIGABRT: i32 = 6;
/// Number of SIGKILL.
pub const SIGKILL: i32 = 9;

/// The debug build of `tidewatch`: `TIDEWATCH_TEST_BINARY` if set (by `cargo xtask test`, which has just built it), else built now, once
/// per test process. Debug, because only debug builds have crash points.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("TIDEWATCH_TEST_BINARY") {
            return PathBuf::from(path);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // What cargo told this program about its own package would make build scripts run again, with all that depends on them.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        let output = command
            .args([
                "build",
                "--workspace",
                "--bin",
                "tidewatch",
                // A test among the targets: the same features of every dependency as the tests have.
                "--test",
                "scenarios",
                "--message-format=json",
            ])
            // The same program as the tests were built for.
            .args(
                bus::kafka::HAS_TLS
                    .then_some(["--features", "tidewatch/kafka-tls"])
                    .iter()
                    .flatten(),
            )
            .current_dir(crate::repository())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo can be started");
        assert!(
            output.status.success(),
            "`cargo build --bin tidewatch` failed: {}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|message| {
                message["executable"]
                    .as_str()
                    .filter(|path| path.ends_with("tidewatch"))
                    .map(PathBuf::from)
            })
            .expect("cargo names the executable it built")
    })
}

/// Runs a command of the program to its end, started in `directory`, with nothing on standard input.
pub fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// What such a command says on standard output.
///
/// # Panics
/// If it fails, with what it said on standard error.
pub fn said(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// How to start the program. Everything it writes goes below one directory: `data/`, `config.toml`, `tidewatch.log`.
#[derive(Debug, Clone)]
pub struct Launch {
    directory: PathBuf,
    command: Vec<String>,
    config: String,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Launch {
    /// A start below `directory` (a test's temporary one), with [`crate::FAST_CONFIG`], four partitions, and compactions as soon as there are
    /// two files to merge.
    pub fn new(directory: &Path) -> Self {
        let launch = Launch {
            directory: directory.to_owned(),
            command: vec!["run".to_owned()],
            config: crate::FAST_CONFIG.to_owned(),
            environment: Vec::new(),
            wrapper: Vec::new(),
        };
        // Not in the file, so that a test can give it an [archive] of its own.
        launch
            .env("TIDEWATCH__ARCHIVE__COMPACTION_INTERVAL", "2s")
            .env("TIDEWATCH__ARCHIVE__COMPACTION_FILES_MAX", "2")
            .env("TIDEWATCH__ARCHIVE__REPLACED_FILES_KEPT", "1s")
            .env(PARTITIONS.0, PARTITIONS.1)
    }

    /// A start as a new user does it: no configuration file, no variables.
    pub fn unconfigured(directory: &Path) -> Self {
        Launch {
            directory: directory.to_owned(),
            command: vec!["run".to_owned()],
            config: String::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Gives another command than `run`, with its flags, that takes `--listen` too.
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Replaces the configuration file. Where it says how many partitions there are, that holds.
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = toml.into();
        if self.config.contains("\npartitions = ") {
            self.environment.retain(|(name, _)| name != PARTITIONS.0);
        }
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Dies at a crash point: `name` or `name:n`.
    pub fn crash_at(self, point: &str) -> Self {
        self.env("TIDEWATCH_CRASH_AT", point)
    }

    /// Starts the program under another one (`strace -o file …`).
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// The data directory that the program is given.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts it and does not wait.
    pub fn start(&self) -> Tidewatch {
        let listen = free_address();
        let log_path = self.directory.join("tidewatch.log");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .expect("the log file can be opened");
        let log_start = log.metadata().map_or(0, |m| m.len());
        let mut words: Vec<std::ffi::OsString> = self.wrapper.iter().map(Into::into).collect();
        words.push(binary().into());
        words.extend(self.command.iter().map(Into::into));
        if !self.config.is_empty() {
            let path = self.directory.join("config.toml");
            std::fs::write(&path, &self.config).expect("the configuration can be written");
            words.push("--config".into());
            words.push(path.into());
        }
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--listen", &listen.to_string(), "--data-dir"])
            .arg(self.data_dir())
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            // A core dump of a crash point must not land in the repository.
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::from(
                log.try_clone().expect("a file handle can be cloned"),
            ))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {:?}: {e}", words[0]));
        Tidewatch {
            child,
            listen,
            log_path,
            log_start,
            status: None,
            wrapped: !self.wrapper.is_empty(),
            token: None,
        }
    }

    /// Starts it and waits until it is ready.
    pub fn start_ready(&self) -> Tidewatch {
        let mut process = self.start();
        process.wait_ready();
        process
    }
}

/// A running (or ended) `tidewatch run`. Dropped, it is killed; if the test is failing, its log is printed.
#[derive(Debug)]
pub struct Tidewatch {
    child: Child,
    listen: SocketAddr,
    log_path: PathBuf,
    log_start: u64,
    status: Option<ExitStatus>,
    wrapped: bool,
    token: Option<String>,
}

impl Tidewatch {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Waits until `/readyz` answers 2xx.
    ///
    /// # Panics
    /// If the program ends before, or is not ready after a minute.
    pub fn wait_ready(&mut self) {
        let mut last = String::from("no answer");
        let ready = self.wait_until(READY_TIMEOUT, |address| {
            match http::get(address, "/readyz") {
                Ok(answer) if answer.is_success() => true,
                Ok(answer) => {
                    last = format!("{} {}", answer.status, answer.text());
                    false
                }
                Err(_) => false,
            }
        });
        if !ready {
            match self.exited() {
                Some(status) => panic!(
                    "tidewatch ended before it was ready: {status}\n{}",
                    self.log()
                ),
                None => panic!(
                    "tidewatch was not ready after {READY_TIMEOUT:?}; /readyz said: {last}\n{}",
                    self.log()
                ),
            }
        }
    }

    /// Looks at a condition again and again until it holds (`true`), the program ends or the time is over (`false`).
    pub fn wait_until(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut(SocketAddr) -> bool,
    ) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if condition(self.listen) {
                return true;
            }
            if self.exited().is_some() || Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// How many partitions it runs, by its own word; 0 if it does not answer.
    pub fn running_partitions(&self) -> usize {
        let Ok(answer) = http::get(self.listen, "/readyz?verbose") else {
            return 0;
        };
        let status = serde_json::from_str::<serde_json::Value>(&answer.text()).unwrap_or_default();
        let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
        partitions
            .iter()
            .filter(|partition| partition["phase"] == "running")
            .count()
    }

    /// Waits until it runs so many partitions: in a group, those of a dead member come when its session is over.
    ///
    /// # Panics
    /// If it ends before, or has not got them after a minute and a half.
    pub fn wait_for_partitions(&mut self, number: usize) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.running_partitions() != number {
            assert!(
                self.exited().is_none(),
                "tidewatch ended while it waited for {number} partitions"
            );
            assert!(
                Instant::now() < deadline,
                "tidewatch runs {} partitions, expected {number}",
                self.running_partitions()
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be asked");
        }
        self.status
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it still runs after `timeout`.
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        self.wait_until(timeout, |_| false);
        self.exited().unwrap_or_else(|| {
            panic!(
                "tidewatch still runs {timeout:?} after it should have ended\n{}",
                self.log()
            )
        })
    }

    /// `kill -9`, and waits for the end.
    pub fn kill_nine(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait_exit(Duration::from_secs(30))
    }

    /// SIGTERM, and waits for the end, which the program promises within 10 s. Allows more here, as a debug build on a busy machine needs it;
    /// the promise itself is checked by `first_run`.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(Duration::from_secs(60))
    }

    /// SIGTERM, and checks that it ended with success.
    ///
    /// # Panics
    /// With the log, if it did not.
    pub fn stop_cleanly(mut self) {
        let status = self.terminate();
        assert!(
            status.success(),
            "a clean stop ended with {status}\n{}",
            self.log()
        );
    }

    /// SIGINT, as Ctrl-C sends it, without waiting.
    pub fn send_sigint(&mut self) {
        self.signal(Signal::INT);
    }

    /// SIGHUP, as the end of a terminal sends it, without waiting.
    pub fn send_sighup(&mut self) {
        self.signal(Signal::HUP);
    }

    /// SIGTERM, without waiting.
    pub fn send_sigterm(&mut self) {
        self.signal(Signal::TERM);
    }

    /// What kills it from another thread, while this one is in the middle of a request.
    pub fn killer(&self) -> Killer {
        Killer(pidfd_open(self.pid(), PidfdFlags::empty()).expect("a child has a descriptor"))
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            kill_process(self.pid(), signal).expect("a child can be signalled");
        }
    }

    /// The process of the program itself, also when it runs under another one.
    fn pid(&self) -> Pid {
        let child = i32::try_from(self.child.id()).expect("a process id");
        let mut pid = child;
        if self.wrapped {
            let children = std::fs::read_to_string(format!("/proc/{child}/task/{child}/children"))
                .unwrap_or_default();
            pid = children
                .split_whitespace()
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(child);
        }
        Pid::from_raw(pid).expect("a process id is not 0")
    }

    /// The most memory in RAM that it has had so far, bytes.
    ///
    /// # Panics
    /// If the system does not tell.
    pub fn peak_memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_pid());
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"))
            .and_then(|text| text.trim().parse::<u64>().ok());
        kilobytes.unwrap_or_else(|| panic!("no VmHWM in {path}")) * 1024
    }

    /// The values of a metric in `/metrics`, one per label set.
    ///
    /// # Panics
    /// If it does not answer, or a value is no number.
    pub fn metric(&self, name: &str) -> Vec<f64> {
        let answer = http::get(self.listen, "/metrics")
            .unwrap_or_else(|e| panic!("/metrics: {e}\n{}", self.log()));
        let text = answer.text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some(value)
        });
        values
            .map(|value| {
                value
                    .parse()
                    .unwrap_or_else(|e| panic!("{name}: `{value}`: {e}"))
            })
            .collect()
    }

    /// Sends a body of line protocol with times in milliseconds.
    ///
    /// # Errors
    /// `NoAnswer` if the program is not there or died meanwhile.
    pub fn write_lines(&self, body: &str) -> Result<Answer, NoAnswer> {
        http::post(
            self.listen,
            "/api/v2/write?precision=ms",
            "text/plain; charset=utf-8",
            body.as_bytes(),
        )
    }

    /// Asks every SQL question with this token from now on.
    pub fn ask_with(&mut self, token: &str) {
        self.token = Some(format!("Bearer {token}"));
    }

    /// Asks an SQL question of the running program; the rows as JSON objects.
    ///
    /// # Panics
    /// If the answer is not 200 with one JSON object per line.
    pub fn sql(&self, query: &str) -> Vec<serde_json::Value> {
        let body = serde_json::json!({ "query": query, "format": "ndjson" }).to_string();
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(self.token.as_deref().map(|token| ("authorization", token)));
        let answer = http::request(
            self.listen,
            "POST",
            "/api/v1/sql",
            &headers,
            body.as_bytes(),
        )
        .unwrap_or_else(|e| panic!("`{query}`: {e}\n{}", self.log()));
        assert_eq!(answer.status, 200, "`{query}`: {}", answer.text());
        answer
            .text()
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| panic!("`{query}`: {e} in `{line}`"))
            })
            .collect()
    }

    /// What this start has written to stdout and stderr.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log_path).unwrap_or_default();
        let own = bytes
            .get(usize::try_from(self.log_start).unwrap_or(0)..)
            .unwrap_or_default();
        format!(
            "--- log of {} ---\n{}--- end of log ---",
            self.listen,
            String::from_utf8_lossy(own)
        )
    }
}

impl Drop for Tidewatch {
    fn drop(&mut self) {
        if self.exited().is_none() {
            self.signal(Signal::KILL);
            let _gone = self.child.kill();
            let _reaped = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Kills one process, by a descriptor: unlike a number it never comes to mean another process.
#[derive(Debug)]
pub struct Killer(OwnedFd);

impl Killer {
    /// `kill -9`.
    pub fn kill(self) {
        // It may have ended by itself; whoever waits for it sees how.
        let _gone = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

/// Runs a one-shot command of the program (`sql …`, `archive files …`) and returns its standard output.
///
/// # Panics
/// With its standard error, if it fails.
pub fn run_command(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(binary())
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("tidewatch can be started");
    assert!(
        output.status.success(),
        "`tidewatch {}` ended with {}\n{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a process was ended by a signal.
pub fn ended_by(status: ExitStatus, signal: i32) -> bool {
    status.signal() == Some(signal)
}

/// An address of the loopback interface that nobody listens on just now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}

/// Whether a program is on the PATH.
pub fn has_program(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| File::open(directory.join(name)).is_ok())
}
