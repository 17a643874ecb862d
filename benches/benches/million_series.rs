//! The real program with very many live series: its memory at each stage, CPU-seconds per million samples, and what questions then take.
//!
//! `cargo build --release --bin tidewatch && cargo bench -p benches --bench million_series -- [series [rounds [pace]]]` (default 1,000,000 series in 3 rounds
//! as fast as they go; a pace is seconds from round to round: `1000000 18 10` is a scrape each 10 s for three minutes, so that windows are sealed and checkpoints written;
//! 25 metrics and ten tags per host). The program is the one beside this bench's own directory, or `TIDEWATCH_BENCH_BINARY`. Its settings are the
//! defaults, but for the host's own metrics, which are off, a limit of queries' rows above the number of series, and one sender that may bring all series at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use benches::client::Client;
use benches::process::{cpu_seconds, peak_mb};
use benches::server::{Server, catch_up};

/// Metrics of a host: so many that a million series have fewer hosts than a label may have values (50,000).
const FIELDS: usize = 25;
/// Hosts whose samples travel in one request.
const HOSTS_PER_BODY: usize = 200;

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
            "[collectors.host]\nenabled = false\n[query]\nrows_max = {}\n[log]\nlevel = \"warn\"\n\
             [limits.sender]\nseries_first_max = {series}\n[limits]\nseries_first_max = {series}\n",
            series + 1
        ),
    )
    .expect("a configuration");
    let mut run = Run(Server::start(directory.path()));
    let mut client = Client::connect(&run.0.address);

    println!(
        "{:<44} {:>10} {:>12} {:>12}",
        "stage", "wall s", "CPU-s", "peak MiB"
    );
    let begun = Instant::now();
    for round in 0..rounds {
        let due = begun + pace * u32::try_from(round).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        run.stage(&format!("round {round}: {series} samples taken"), || {
            let time_ms = now_ms();
            for first in (0..hosts).step_by(HOSTS_PER_BODY) {
                let body = lines(first..(first + HOSTS_PER_BODY).min(hosts), round, time_ms);
                client.post("/write?precision=ms", "text/plain", body.as_bytes());
            }
        });
        run.stage("  processed", || catch_up(&mut client));
    }
    let samples = hosts * FIELDS * rounds;
    let cpu_s = cpu_seconds(&run.0.child);
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
        run.stage(&format!("SQL: {name}"), || {
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
    run.stop();
}

/// A run of the program under test.
struct Run(Server);

impl Run {
    /// Does something and prints what it took, by the server's own CPU.
    fn stage(&mut self, name: &str, work: impl FnOnce()) {
        let (cpu_s, started) = (cpu_seconds(&self.0.child), Instant::now());
        work();
        println!(
            "{name:<44} {:>10.1} {:>12.2} {:>12}",
            started.elapsed().as_secs_f64(),
            cpu_seconds(&self.0.child) - cpu_s,
            peak_mb(&self.0.child)
        );
    }

    /// Asks for the end: the last checkpoint writes all that is open, and the state.
    fn stop(&mut self) {
        let started = Instant::now();
        let asked = Command::new("kill")
            .args(["-INT", &self.0.child.id().to_string()])
            .status();
        assert!(asked.is_ok_and(|status| status.success()), "kill works");
        let mut peak = peak_mb(&self.0.child);
        let status = loop {
            if let Some(status) = self.0.child.try_wait().expect("our own child") {
                break status;
            }
            peak = peak.max(peak_mb(&self.0.child));
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

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis()
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
