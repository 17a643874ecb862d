//! One sender brings a million new series within a minute: what that does to the program's memory, to honest senders, and to the next start.
//!
//! `cargo build --release --bin tidewatch && cargo bench -p benches --bench attack -- many` (a million series in labels that each stay below their limit)
//! or `-- wide` (one label with a million values, which is folded) or `-- none` (no attack: what the same time does by itself); with `first` besides, the attack
//! meets the first start, which knows of no series. All settings are the defaults but that a token is asked for, since it names the sender.
//! Honest senders bring 1,000 series ten times a second; the program is killed by force before and after, and its start timed until it has caught up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use benches::client::Client;
use benches::process::{cpu_seconds, peak_mb};
use benches::server::{Server, catch_up, command};

/// What the attacker brings, in how many requests, and in what time.
const SERIES: u64 = 1_000_000;
const REQUESTS: u64 = 500;
const ATTACK: Duration = Duration::from_secs(60);
/// Metrics over which the attacker spreads the values of its label, so that each label stays below 50,000.
const METRICS: u64 = 40;
/// For how long honest senders are watched before and after.
const CALM: Duration = Duration::from_secs(30);
/// Honest hosts, of ten series each.
const HOSTS: u64 = 100;

fn main() {
    let asked = |name| std::env::args().any(|argument| argument == name);
    let (wide, none, first) = (asked("wide"), asked("none"), asked("first"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    let settings =
        "[access]\nrequired = true\n[collectors.host]\nenabled = false\n[log]\nlevel = \"warn\"\n";
    std::fs::write(directory.join("bench.toml"), settings).expect("a configuration");
    let (honest, attacker) = (token(directory, "ingest"), token(directory, "ingest"));
    let asking = token(directory, "query");

    let mut server = Server::start(directory);
    if !first {
        let calm = watched(&server, &honest, || std::thread::sleep(CALM));
        println!("honest senders before:  {calm}");
        println!("peak before: {} MiB", peak_mb(&server.child));
        server = restarted(server, directory, &asking, "before");
    }

    let mut told = [0; 2];
    let during = watched(&server, &honest, || match none {
        true => std::thread::sleep(ATTACK),
        false => told = attack(&server, &attacker, wide),
    });
    println!("honest senders during:  {during}");
    println!(
        "attack: {} requests taken whole, {} in part or not; peak {} MiB, {:.1} CPU-s",
        told[0],
        told[1],
        peak_mb(&server.child),
        cpu_seconds(&server.child)
    );
    let after = watched(&server, &honest, || std::thread::sleep(CALM));
    println!("honest senders after:   {after}");
    println!("peak {} MiB", peak_mb(&server.child));
    let server = restarted(server, directory, &asking, "after, 30 s later");
    let again = watched(&server, &honest, || std::thread::sleep(3 * CALM));
    println!("honest senders then:    {again}");
    let server = restarted(server, directory, &asking, "after, 2 minutes later");
    drop(server);
}

fn token(directory: &Path, scope: &str) -> String {
    let made = command(directory)
        .args(["token", "create", "--scope", scope])
        .output()
        .expect("a token");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

/// Kills it, starts it again, and tells how long that took.
fn restarted(server: Server, directory: &Path, asking: &str, when: &str) -> Server {
    drop(server);
    let begin = Instant::now();
    let server = Server::start(directory);
    let mut client = Client::connect(&server.address).with_token(asking);
    while client.try_get("/readyz").0 != 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ready_s = begin.elapsed().as_secs_f64();
    catch_up(&mut client);
    println!(
        "start {when}: ready after {ready_s:.2} s, caught up after {:.2} s, {:.2} CPU-s, peak {} MiB",
        begin.elapsed().as_secs_f64(),
        cpu_seconds(&server.child),
        peak_mb(&server.child)
    );
    server
}

/// Lets honest senders send while something happens: how long each request took them.
fn watched(server: &Server, token: &str, happening: impl FnOnce()) -> String {
    let over = AtomicBool::new(false);
    let mut took_ms = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut client = Client::connect(&server.address).with_token(token);
            let mut took_ms = Vec::new();
            let begin = Instant::now();
            for tick in 1.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (now, asked) = (now_ms(), Instant::now());
                let mut body = String::new();
                for host in 0..HOSTS {
                    write!(body, "cpu,host=honest-{host} ").expect("a string takes all");
                    for field in 0..10 {
                        let comma = if field == 0 { "" } else { "," };
                        let value = (host + field + tick) % 100;
                        write!(body, "{comma}usage_{field}={value}i").expect("a string takes all");
                    }
                    writeln!(body, " {now}").expect("a string takes all");
                }
                client.post("/write?precision=ms", "text/plain", body.as_bytes());
                took_ms.push(asked.elapsed().as_secs_f64() * 1e3);
                let due = begin + Duration::from_millis(100 * tick);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            took_ms
        });
        happening();
        over.store(true, Ordering::Relaxed);
        sender.join().expect("every honest sample is taken")
    });
    took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| took_ms[((took_ms.len() - 1) as f64 * share) as usize];
    format!(
        "{} requests, ms: median {:.1}, 99 % {:.1}, longest {:.1}",
        took_ms.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

/// Four connections of one sender; returns how many requests were taken whole, and how many were not.
fn attack(server: &Server, token: &str, wide: bool) -> [u64; 2] {
    let begin = Instant::now();
    let (next, whole) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(&server.address).with_token(token);
                loop {
                    let request = next.fetch_add(1, Ordering::Relaxed);
                    if request >= REQUESTS {
                        return;
                    }
                    let due = begin + ATTACK.mul_f64(request as f64 / REQUESTS as f64);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let each = SERIES / REQUESTS;
                    let now = now_ms();
                    let mut body = String::new();
                    for id in request * each..(request + 1) * each {
                        let metric = if wide { 0 } else { id % METRICS };
                        writeln!(body, "attack_{metric},host=bad,id=user-{id} v={id}i {now}")
                            .expect("a string takes all");
                    }
                    let (status, _) =
                        client.try_post("/write?precision=ms", "text/plain", body.as_bytes());
                    whole.fetch_add(u64::from((200..300).contains(&status)), Ordering::Relaxed);
                }
            });
        }
    });
    let whole = whole.into_inner();
    [whole, REQUESTS - whole]
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis()
}
