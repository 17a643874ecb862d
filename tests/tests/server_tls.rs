//! TLS of the real server with real clients: curl and our own commands; certificates that ended, are foreign or change; plain HTTP to a port with TLS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tests::http;
use tests::process::{Launch, Tidewatch, binary, free_address, has_program};

/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the programs of these tests are here.
fn can_run(test: &str) -> bool {
    let there = ["curl", "openssl"].into_iter().all(has_program);
    if !there {
        tests::skip(
            test,
            "the programs `curl` and `openssl`",
            "TIDEWATCH_REQUIRE_CURL",
        );
    }
    there
}

/// A certificate for localhost, signed by itself, that ends after so many days from now, with its key.
fn certificate(directory: &Path, name: &str, days: i32) -> (PathBuf, PathBuf) {
    let [certificate, key, request, extensions] =
        ["crt", "key", "req", "ext"].map(|end| directory.join(format!("{name}.{end}")));
    std::fs::write(&extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    let run = |arguments: &[&str], files: &[(&str, &Path)]| {
        let mut command = Command::new("openssl");
        command.args(arguments);
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let new = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=localhost",
    ];
    run(&new, &[("-keyout", &key), ("-out", &request)]);
    run(
        &["x509", "-req", "-days", &days.to_string()],
        &[
            ("-in", &request),
            ("-signkey", &key),
            ("-extfile", &extensions),
            ("-out", &certificate),
        ],
    );
    (certificate, key)
}

fn with_files(launch: Launch, (certificate, key): &(PathBuf, PathBuf)) -> Launch {
    launch
        .env(
            "TIDEWATCH__SERVER__TLS__CERTIFICATE_FILE",
            certificate.to_str().unwrap(),
        )
        .env("TIDEWATCH__SERVER__TLS__KEY_FILE", key.to_str().unwrap())
}

fn curl(authority: &Path, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--cacert"])
        .arg(authority)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command of the program.
fn command(directory: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    Command::new(binary())
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Waits by the program's own health check, which finds the certificate in the data directory.
#[track_caller]
fn wait_healthy(process: &mut Tidewatch, data_dir: &Path) {
    let mut last = String::new();
    let healthy = process.wait_until(PATIENCE, |address| {
        let directory = data_dir.parent().unwrap();
        let listen = address.to_string();
        let output = Command::new(binary())
            .args(["health", "--ready", "--data-dir"])
            .arg(data_dir)
            .env("TIDEWATCH__SERVER__LISTEN", &listen)
            .current_dir(directory)
            .output()
            .unwrap();
        last = format!("{output:?}");
        output.status.success()
    });
    assert!(healthy, "{last}\n{}", process.log());
}

#[test]
fn a_certificate_of_our_own_serves_senders_and_commands() {
    if !can_run("server_tls") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let otlp = free_address();
    let launch = Launch::new(directory.path())
        .env("TIDEWATCH__SERVER__TLS__SELF_SIGNED", "true")
        .env("TIDEWATCH__RECEIVERS__OTLP__LISTEN", &otlp.to_string())
        .env("TIDEWATCH__COLLECTORS__HOST__ENABLED", "false");
    let mut process = launch.start();
    let data_dir = launch.data_dir();
    wait_healthy(&mut process, &data_dir);
    assert!(
        process
            .log()
            .contains(&format!("https://{}", process.address()))
    );

    let own = data_dir.join("tls/certificate.pem");
    let url = format!("https://localhost:{}", process.address().port());
    let write = format!("{url}/api/v2/write?precision=s");
    let sent = curl(
        &own,
        &[
            "--data-binary",
            "m,host=a v=42 1700000000",
            "--write-out",
            "%{http_code} %{http_version}",
            &write,
        ],
    );
    assert_eq!(text(&sent), "204 2", "{sent:?}");
    let sent = curl(
        &own,
        &[
            "--http1.1",
            "--data-binary",
            "m,host=a v=43 1700000001",
            "--write-out",
            "%{http_code}",
            &write,
        ],
    );
    assert_eq!(text(&sent), "204", "{sent:?}");
    // OpenTelemetry's own port, too.
    let metrics = format!("https://localhost:{}/v1/metrics", otlp.port());
    let sent = curl(
        &own,
        &[
            "--header",
            "content-type: application/json",
            "--data",
            "{}",
            "--write-out",
            " %{http_code}",
            &metrics,
        ],
    );
    assert_eq!(text(&sent), "{} 200", "{sent:?}");
    // Who does not know the certificate does not talk to us: neither curl nor a command.
    let foreign = certificate(directory.path(), "foreign", 1).0;
    assert_eq!(curl(&foreign, &[&url]).status.code(), Some(60));
    let ip = format!("https://{}", process.address());
    let refused = command(directory.path(), &["status", "--url", &ip], &[]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("TIDEWATCH_CA_FILE"),
        "{told}"
    );
    let trusted = command(
        directory.path(),
        &["sql", "--url", &ip, "-f", "csv", "SHOW TABLES"],
        &[("TIDEWATCH_CA_FILE", &own)],
    );
    assert!(text(&trusted).contains("samples"), "{trusted:?}");
    let found = command(
        directory.path(),
        &["sql", "--data-dir", "data", "-f", "csv", "SHOW TABLES"],
        &[],
    );
    assert!(text(&found).contains("samples"), "{found:?}");

    // Plain HTTP is told what to do, HTTP/2 and gRPC without TLS as well.
    for path in ["/readyz", "/metrics"] {
        let answer = http::get(process.address(), path).unwrap();
        assert_eq!(
            (answer.status, answer.header("tidewatch-error")),
            (400, Some("TW-TLS-002"))
        );
        assert!(answer.text().contains("https://"), "{}", answer.text());
    }
    let metrics = text(&curl(&own, &[&format!("{url}/metrics")]));
    for line in [
        "tidewatch_tls_failures_total{reason=\"plain_http\"}",
        "tidewatch_tls_failures_total{reason=\"handshake\"}",
        "tidewatch_tls_certificate_expiry_timestamp_seconds",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(process.terminate().success(), "{}", process.log());
    assert!(!data_dir.join("tls-certificate.pem").exists());

    // The next start shows the same certificate.
    let before = std::fs::read(&own).unwrap();
    let mut process = launch.start();
    wait_healthy(&mut process, &data_dir);
    assert_eq!(std::fs::read(&own).unwrap(), before);
    process.kill_nine();
}

#[test]
fn files_are_taken_when_they_change_and_told_when_they_are_wrong() {
    if !can_run("server_tls") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let pair = certificate(directory.path(), "server", -1);
    let launch = with_files(Launch::new(directory.path()), &pair);
    let mut process = launch.start();
    wait_healthy(&mut process, &launch.data_dir());
    // It has ended: that is told, and whoever checks it refuses it.
    assert!(process.log().contains("has ended"), "{}", process.log());
    let url = format!("https://localhost:{}/healthz", process.address().port());
    assert_eq!(curl(&pair.0, &[&url]).status.code(), Some(60));
    // A new one under the same names, as programs that renew certificates do it.
    let new = certificate(directory.path(), "renewed", 30);
    std::fs::rename(&new.0, &pair.0).unwrap();
    std::fs::rename(&new.1, &pair.1).unwrap();
    let taken = process.wait_until(PATIENCE, |_| curl(&pair.0, &[&url]).status.success());
    assert!(taken, "{}", process.log());
    process.kill_nine();

    let other = certificate(directory.path(), "other", 30);
    for (certificate, key, expected) in [
        (&pair.0, &other.1, "not that of the certificate"),
        (&pair.0, &pair.0, "expected a private key"),
        (&pair.1, &pair.1, "expected a certificate"),
    ] {
        let wrong = (certificate.clone(), key.clone());
        let mut process = with_files(Launch::new(directory.path()), &wrong).start();
        assert!(!process.wait_exit(PATIENCE).success());
        let log = process.log();
        assert!(
            log.contains("TW-TLS-001") && log.contains(expected),
            "{log}"
        );
    }
}
