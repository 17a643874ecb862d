//! Limits of one token alone, with real tokens: each kind is met by the one that has less and not by the other, and the message names the setting that moves it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tests::FAST_CONFIG;
use tests::http::{self, Answer};
use tests::process::{Launch, Tidewatch, run, run_command};

/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance that asks for tokens: `rack 7` with limits of its own, `plain` with none, and one that may ask.
struct Rig {
    directory: tempfile::TempDir,
    launch: Launch,
    process: Tidewatch,
    less: String,
    plain: String,
    query: String,
}

/// Makes a token.
fn token(launch: &Launch, scope: &str, name: &str) -> String {
    let data_dir = launch.data_dir();
    let words = ["token", "create", "--scope", scope, "--name", name];
    let place = ["--data-dir", data_dir.to_str().unwrap()];
    let made = run_command(data_dir.parent().unwrap(), &[&words[..], &place].concat());
    made.trim().to_owned()
}

/// Empty lines.
fn empty(bytes: usize) -> Vec<u8> {
    vec![b'\n'; bytes]
}

/// Lines that say nothing, and compress as samples do.
fn comments(bytes: usize) -> Vec<u8> {
    let line = |number| format!("# {number:08} {}\n", ".".repeat(80));
    let text: String = (0..bytes / 80).map(line).collect();
    text.into_bytes()
}

/// Lines of one metric, a series each.
fn series(metric: &str, count: usize) -> Vec<u8> {
    let line = |number| format!("{metric},host=a,id={number} v=1\n");
    (0..count).map(line).collect::<String>().into_bytes()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Rig {
    /// With settings, and with limits of the one token.
    fn new(settings: &str, own: &str) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let launch = Launch::new(directory.path()).config(format!(
            "{FAST_CONFIG}\n[access]\nrequired = true\n{settings}\n[limits.tokens.\"rack 7\"]\n{own}\n"
        ));
        let launch = launch.env("TIDEWATCH__COLLECTORS__HOST__ENABLED", "false");
        let [less, plain] = ["rack 7", "plain"].map(|name| token(&launch, "ingest", name));
        let query = token(&launch, "query", "");
        let process = launch.start_ready();
        Rig {
            directory,
            launch,
            process,
            less,
            plain,
            query,
        }
    }

    fn ask(&self, token: &str, method: &str, path: &str, encoding: &str, body: &[u8]) -> Answer {
        let token = format!("Bearer {token}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-encoding", encoding),
        ];
        http::request(self.process.address(), method, path, &headers, body).unwrap()
    }

    fn post(&self, token: &str, encoding: &str, body: &[u8]) -> Answer {
        self.ask(token, "POST", "/api/v2/write", encoding, body)
    }

    fn metrics(&self) -> String {
        let answer = self.ask(&self.query, "GET", "/metrics", "identity", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// Whether an answer to the token that has less says what it should, naming its own setting, and the limit was counted; `limit` as the metric has it.
    #[track_caller]
    fn check_told(&self, answer: &Answer, status: u16, limit: &str, told: &str) {
        // As JSON, which escapes the quotes around the name.
        let key = limit.trim_start_matches("sender.");
        let setting = format!(r#"`limits.tokens.\"rack 7\".{key}`"#);
        let text = answer.text();
        assert_eq!(answer.status, status, "{limit}: {text}");
        for part in [told, &setting] {
            assert!(text.contains(part), "{limit}: `{part}` is missing: {text}");
        }
        assert!(!text.contains("alone"), "{limit}: {text}");
        let metrics = self.metrics();
        let counted = format!("tidewatch_ingest_limit_hits_total{{limit=\"{limit}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&counted));
        assert!(count.is_some_and(|count| count != "0"), "{metrics}");
    }

    /// Whether one token meets a limit that the other does not.
    #[track_caller]
    fn check(&self, body: &[u8], encoding: &str, status: u16, limit: &str, told: &str) {
        let answer = self.post(&self.less, encoding, body);
        self.check_told(&answer, status, limit, told);
        let answer = self.post(&self.plain, encoding, body);
        assert!(answer.is_success(), "{limit}: {}", answer.text());
    }

    /// A request that announces a body and never sends all of it: it is being worked on until it is dropped.
    fn hold(&self, token: &str, announced: usize) -> TcpStream {
        let mut half = TcpStream::connect(self.process.address()).unwrap();
        write!(
            half,
            "POST /api/v2/write HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: {announced}\r\n\r\nm v=1"
        )
        .unwrap();
        half
    }

    #[track_caller]
    fn wait_for_requests(&self, count: usize) {
        let line = format!("\ntidewatch_ingest_in_flight_requests {count}\n");
        let begun = std::time::Instant::now();
        while !self.metrics().contains(&line) {
            assert!(begun.elapsed() < PATIENCE, "{}", self.metrics());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a command says of the instance, on standard output.
    fn said(&self, words: &[&str]) -> String {
        let config = self.directory.path().join("config.toml");
        let data_dir = self.launch.data_dir();
        let place = ["--config", config.to_str().unwrap(), "--data-dir"];
        let words = [words, &place, &[data_dir.to_str().unwrap()]].concat();
        let output = run(self.directory.path(), &words);
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn what_a_request_and_a_series_may_be_differs_by_token() {
    let rig = Rig::new(
        "[limits]\nratio_max = 2000",
        "body_max = \"256KiB\"\ndecompressed_max = \"2MiB\"\nratio_max = 300\nsamples_max = 50\nlabels_max = 3\nlabel_name_max = \"20B\"\nlabel_value_max = \"30B\"\n",
    );
    for (body, encoding, limit, told) in [
        (
            empty(300_000),
            "identity",
            "body_max",
            "more than 262144 bytes (300000",
        ),
        (
            gzipped(&comments(3 << 20)),
            "gzip",
            "decompressed_max",
            "the gzip body has more than 2097152 bytes when decompressed",
        ),
        (
            gzipped(&empty(3 << 19)),
            "gzip",
            "ratio_max",
            "grows to more than 300 times its size",
        ),
        (
            b"m v=1\n".repeat(51),
            "identity",
            "samples_max",
            "more than 50 samples",
        ),
    ] {
        rig.check(&body, encoding, 413, limit, told);
    }
    for (line, limit, told) in [
        (
            "m,a=1,b=1,c=1,d=1 v=1".to_owned(),
            "labels_max",
            "4 labels in one series",
        ),
        (
            format!("m,{}=1 v=1", "n".repeat(21)),
            "label_name_max",
            "has 21 bytes",
        ),
        (
            format!("m,a={} v=1", "v".repeat(31)),
            "label_value_max",
            "has 31 bytes",
        ),
    ] {
        rig.check(line.as_bytes(), "identity", 400, limit, told);
    }
    rig.process.stop_cleanly();
}

#[test]
fn how_many_series_may_be_and_begin_differs_by_token_and_is_told_by_sender() {
    let own = "series_max = 30\nseries_first_max = 10\nseries_new_max = 5\n";
    let mut rig = Rig::new("", own);
    rig.check(
        &series("first", 20),
        "identity",
        400,
        "sender.series_first_max",
        "10 of token",
    );
    // What the other brought is known now, from whomever it comes.
    let answer = rig.post(&rig.less, "identity", &series("first", 20));
    assert!(answer.is_success(), "{}", answer.text());
    let told = rig.said(&["cardinality", "list"]);
    for part in [
        "15  token",
        ", which may have 30\n",
        "limits of its own: [limits.tokens.\"rack 7\"] series_first_max = 10, series_max = 30, series_new_max = 5\n",
        ", which may have 1000000\n",
    ] {
        assert!(told.contains(part), "`{part}` is missing in\n{told}");
    }
    let listed = rig.said(&["token", "list"]);
    assert!(
        listed.contains("rack 7  [limits.tokens.\"rack 7\"]\n") && listed.contains("  plain\n"),
        "{listed}"
    );
    rig.process.stop_cleanly();

    // Series are known, so new ones are counted from the first.
    rig.process = rig.launch.start_ready();
    rig.check(
        &series("second", 20),
        "identity",
        400,
        "sender.series_new_max",
        "5 of token",
    );
    rig.process.stop_cleanly();
}

#[test]
fn active_series_are_bounded_by_token_and_in_total() {
    let rig = Rig::new(
        "[limits]\nseries_max = 60",
        "series_max = 15\nseries_first_max = 1000",
    );
    rig.check(
        &series("a", 20),
        "identity",
        400,
        "sender.series_max",
        "15 of token",
    );
    let answer = rig.post(&rig.plain, "identity", &series("b", 60));
    let told = answer.text();
    assert_eq!(answer.status, 400, "{told}");
    for part in [
        "40 samples were stored, 20 rejected",
        "60 are active, `limits.series_max`",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("limits.tokens"), "{told}");
    rig.process.stop_cleanly();
}

#[test]
fn what_is_worked_on_differs_by_token() {
    let rig = Rig::new("", "requests_max = 2\nin_flight_max = \"64KiB\"");
    let never = rig.post(&rig.less, "identity", &empty(70_000));
    rig.check_told(&never, 413, "sender.in_flight_max", "needs 70000 bytes");
    let held = rig.hold(&rig.less, 40_000);
    rig.wait_for_requests(1);
    let body = empty(30_000);
    rig.check(
        &body,
        "identity",
        429,
        "sender.in_flight_max",
        "30000 bytes more",
    );
    let more = rig.hold(&rig.less, 1_000);
    rig.wait_for_requests(2);
    rig.check(
        b"m v=1",
        "identity",
        429,
        "sender.requests_max",
        "2 requests of token",
    );
    drop((held, more));
    rig.wait_for_requests(0);
    let answer = rig.post(&rig.less, "identity", &body);
    assert!(answer.is_success(), "{}", answer.text());
    rig.process.stop_cleanly();
}

#[test]
fn a_section_without_a_token_is_told_and_holds_once_there_is_one() {
    let late = "samples_max = 50\n[limits.tokens.late]\nsamples_max = 5";
    let rig = Rig::new("", late);
    let log = rig.process.log();
    let warning = "these limits hold for nobody yet";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    assert!(log.contains("limits.tokens.late"), "{log}");
    let told = rig.said(&["doctor"]).replace('\n', " ");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = "no valid token has the id or name of `[limits.tokens.late]`";
    assert!(told.contains(expected), "{told}");

    let late = token(&rig.launch, "ingest", "late");
    // It is known within a second.
    let begun = std::time::Instant::now();
    let answer = loop {
        let answer = rig.post(&late, "identity", &b"m v=1\n".repeat(6));
        if answer.status != 401 {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(50));
    };
    let told = answer.text();
    assert_eq!(answer.status, 413, "{told}");
    assert!(told.contains("`limits.tokens.late.samples_max`"), "{told}");
    let told = rig.said(&["doctor"]);
    assert!(told.contains("each of the 2 sections"), "{told}");
    rig.process.stop_cleanly();
}
