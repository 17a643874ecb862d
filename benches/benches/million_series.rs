//! The real program with very many live series: its memory at each stage, CPU-seconds per million samples, and what questions then take.
//!
//! `cargo build --release --bin tidewatch && cargo bench -p benches --bench million_series -- [series [rounds [pace]]]` (default 1,000,000 series in 3 rounds
//! as fast as they go; a pace is seconds from round to round: `1000000 18 10` is a scrape each 10 s for three minutes, so that windows are sealed and checkpoints written;
//! ten metrics and ten tags per host). The program is the one beside this bench's own directory, or `TIDEWATCH_BENCH_BINARY`. Its settings are the
//! defaults, but for the host's own metrics, which are off, and a limit of queries' rows above the number of series.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use benches::client::Client;
use benches::process::{cpu_seconds, peak_mb};

/// Metrics of a host.
const FIELDS: usize = 10;
/// Hosts whose samples travel in one request.
const HOSTS_PER_BODY: usize = 500;
/// How long the program may take to process what it has taken. A bound for what hangs.
const CATCH_UP_MAX: Duration = Duration::from_secs(1800);

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let series = numbers.first().copied().unwrap_or(1_000_000);
    let rounds = numbers.get(1).copied().unwrap_or(3);
    let pace = Duration::from_secs(numbers.get(2).copied().unwrap_or(0) as u64);
    let hosts = series.div_ceil(FIELDS);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("bench.toml");
    std::fs::write(
        &config,
        format!(
            "[collectors.host]\nenabled = false\n[query]\nrows_max = {}\n[log]\nlevel = \"warn\"\n",
            series + 1
        ),
    )
    .expect("a configuration");
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .to_string();
    let program = program();
    let child = Command::new(&program)
        .args(["run", "--listen", &address, "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; build it with `cargo build --release --bin tidewatch`",
                program.display()
            )
        });
    let mut server = Server(child);
    wait_ready(&address);
    let mut client = Client::connect(&address);

    println!(
        "{:<44} {:>10} {:>12} {:>12}",
        "stage", "wall s", "CPU-s", "peak MiB"
    );
    let begun = Instant::now();
    for round in 0..rounds {
        let due = begun + pace * u32::try_from(round).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        server.stage(&format!("round {round}: {series} samples taken"), || {
            let time_ms = now_ms();
            for first in (0..hosts).step_by(HOSTS_PER_BODY) {
                let body = lines(first..(first + HOSTS_PER_BODY).min(hosts), round, time_ms);
                client.post("/write?precision=ms", "text/plain", body.as_bytes());
            }
        });
        server.stage("  processed", || catch_up(&mut client));
    }
    let samples = hosts * FIELDS * rounds;
    let cpu_s = cpu_seconds(&server.0);
    println!(
        "{samples} samples: {:.2} CPU-s per million",
        cpu_s / samples as f64 * 1e6
    );
    for (name, query) in [
        ("count of samples", "SELECT count(*) AS n FROM samples"),
        (
            "samples and mean per metric",
            "SELECT metric, count(*) AS n, avg(value) AS mean FROM samples GROUP BY 1 ORDER BY 1",
        ),
        (
            "samples of one host",
            "SELECT time, metric, value FROM samples WHERE host = 'host_7' ORDER BY 1, 2",
        ),
        (
            "one row per series",
            "SELECT series_id, max(time) AS last FROM samples GROUP BY 1",
        ),
    ] {
        let body = format!(r#"{{"query": "{query}", "format": "ndjson"}}"#);
        let mut rows = 0;
        server.stage(&format!("SQL: {name}"), || {
            let answer = client.post("/api/v1/sql", "application/json", body.as_bytes());
            rows = answer.lines().count();
            if rows <= 1 {
                assert_eq!(
                    answer.trim(),
                    format!("{{\"n\":{samples}}}"),
                    "counted back"
                );
            }
        });
        println!("  {rows} rows");
    }
    server.stop();
}

/// The program under test; dropped, it is killed.
struct Server(Child);

impl Server {
    /// Does something and prints what it took, by the server's own CPU.
    fn stage(&mut self, name: &str, work: impl FnOnce()) {
        let (cpu_s, started) = (cpu_seconds(&self.0), Instant::now());
        work();
        println!(
            "{name:<44} {:>10.1} {:>12.2} {:>12}",
            started.elapsed().as_secs_f64(),
            cpu_seconds(&self.0) - cpu_s,
            peak_mb(&self.0)
        );
    }
}

impl Server {
    /// Asks for the end: the last checkpoint writes all that is open, and the state.
    fn stop(&mut self) {
        let started = Instant::now();
        let asked = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        assert!(asked.is_ok_and(|status| status.success()), "kill works");
        let mut peak = peak_mb(&self.0);
        let status = loop {
            if let Some(status) = self.0.try_wait().expect("our own child") {
                break status;
            }
            peak = peak.max(peak_mb(&self.0));
            std::thread::sleep(Duration::from_millis(10));
        };
        println!(
            "{:<44} {:>10.1} {:>12} {peak:>12}",
            format!("stop ({status})"),
            started.elapsed().as_secs_f64(),
            ""
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// `target/release/tidewatch`, seen from `target/release/deps/million_series-…`.
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

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis()
}

fn wait_ready(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing in the log is left to be processed.
fn catch_up(client: &mut Client) {
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
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn lines(hosts: std::ops::Range<usize>, round: usize, time_ms: u128) -> String {
    let mut body = String::new();
    for host in hosts {
        write!(
            body,
            "cpu,hostname=host_{host},region=eu-central-{},datacenter=eu-central-{}b,rack={},os=Ubuntu24.04,arch=x64,team=team-{},service={},\
             service_version=1,service_environment=production ",
            host % 3,
            host % 3,
            host % 100,
            host % 7,
            host % 20
        )
        .expect("a string takes all");
        for field in 0..FIELDS {
            let separator = if field == 0 { "" } else { "," };
            let value = (host * 31 + field * 17 + round * 7) % 100;
            write!(body, "{separator}usage_{field}={value}i").expect("a string takes all");
        }
        writeln!(body, " {time_ms}").expect("a string takes all");
    }
    body
}
