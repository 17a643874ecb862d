//! TLS and SASL to a real Kafka: every way in, wrong passwords and foreign certificates told as such, and secrets that nobody ever sees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use bus::kafka::{Certificate, KafkaBus, KafkaOptions, Mechanism, Sasl, Secret, Security, Tls};
use bus::{Bus, BusError, Record, TopicSpec};
use schemas::{Fault, HasFault, NextOffset};
use tests::http;
use tests::kafka::secured::{KEY_PASSWORD, PASSWORD, SecuredBroker, USER};
use tests::kafka::secured_broker_for_tests;
use tests::load::{Load, Outcome};
use tests::process::{Launch, binary};

/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

fn tls(broker: &SecuredBroker) -> Option<Tls> {
    Some(Tls {
        ca_file: Some(broker.ca_file()),
        certificate: None,
    })
}

fn sasl(mechanism: Mechanism, password: &str) -> Option<Sasl> {
    Some(Sasl {
        mechanism,
        username: USER.to_owned(),
        password: Secret::new(password),
    })
}

fn with_certificate(broker: &SecuredBroker, key_password: &str) -> Security {
    Security {
        tls: Some(Tls {
            ca_file: Some(broker.ca_file()),
            certificate: Some(Certificate {
                certificate_file: broker.certificate_file(),
                key_file: broker.key_file(),
                key_password: Secret::new(key_password),
            }),
        }),
        sasl: None,
    }
}

fn options(address: &str, security: Security) -> KafkaOptions {
    KafkaOptions {
        security,
        request_ms_max: 6_000,
        ..KafkaOptions::new(address)
    }
}

#[tokio::test]
async fn who_may_comes_in_and_who_is_refused_is_told_why() {
    let Some(broker) = secured_broker_for_tests() else {
        return;
    };
    every_way_in_appends_and_reads(&broker).await;
    who_is_refused_is_told_why(&broker).await;
    files_that_can_not_be_used_are_refused_at_once(&broker);
}

async fn every_way_in_appends_and_reads(broker: &SecuredBroker) {
    let passwords = Mechanism::ALL.map(|mechanism| {
        let security = Security {
            tls: tls(broker),
            sasl: sasl(mechanism, PASSWORD),
        };
        (mechanism.name(), broker.sasl_ssl(), security)
    });
    let certificate = with_certificate(broker, KEY_PASSWORD);
    let ways = passwords
        .into_iter()
        .chain([("certificate", broker.ssl(), certificate)]);
    for (way, address, security) in ways {
        let bus = KafkaBus::connect(options(&address, security)).unwrap();
        let topic = TopicSpec {
            name: way.to_owned(),
            partitions: 1,
            retention_ms: 3_600_000,
            log_append_time: true,
        };
        bus.create_topics(std::slice::from_ref(&topic))
            .await
            .unwrap();
        let record = Record {
            value: way.into(),
            ..Record::default()
        };
        bus.append(way, 0, vec![record]).await.unwrap();
        let mut reader = bus.reader(way, 0, NextOffset(0)).await.unwrap();
        let records = tokio::time::timeout(PATIENCE, reader.next(1024))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(records[0].value, way, "{way}");
    }
}

async fn who_is_refused_is_told_why(broker: &SecuredBroker) {
    let foreign = Some(Tls {
        ca_file: Some(broker.foreign_ca_file()),
        certificate: None,
    });
    let password = |tls, mechanism, password| Security {
        tls,
        sasl: sasl(mechanism, password),
    };
    let wrong = "canary-wrong";
    for (way, address, security, words) in [
        (
            "a wrong password, proved",
            broker.sasl_ssl(),
            password(tls(broker), Mechanism::ScramSha512, wrong),
            "SASL authentication error",
        ),
        (
            "a wrong password, sent",
            broker.sasl_ssl(),
            password(tls(broker), Mechanism::Plain, wrong),
            "SASL authentication error",
        ),
        (
            "a foreign authority",
            broker.sasl_ssl(),
            password(foreign, Mechanism::ScramSha512, PASSWORD),
            "certificate verify failed",
        ),
        (
            "no certificate",
            broker.ssl(),
            Security {
                tls: tls(broker),
                sasl: None,
            },
            "SSL",
        ),
        ("no TLS", broker.ssl(), Security::default(), "Disconnected"),
    ] {
        let bus = KafkaBus::connect(options(&address, security)).unwrap();
        let error = bus.partitions("any").await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.fault(), Fault::Outage, "{way}: {text}");
        assert!(
            text.contains("the last connection failed: ") && text.contains(words),
            "{way}: {text}"
        );
        assert!(!text.contains("canary"), "{way}: {text}");
    }
}

fn files_that_can_not_be_used_are_refused_at_once(broker: &SecuredBroker) {
    let mut no_file = with_certificate(broker, KEY_PASSWORD);
    no_file.tls.as_mut().unwrap().ca_file = Some("no-such.pem".into());
    let wrong_key = with_certificate(broker, "canary-wrong");
    for (security, words) in [(no_file, "no-such.pem"), (wrong_key, "ssl.key.location")] {
        let error = KafkaBus::connect(options(&broker.ssl(), security))
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(matches!(error, BusError::Config(_)), "{text}");
        assert!(text.contains(words), "{words}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

/// Everything that a command printed; it must not hold a secret.
fn printed(directory: &Path, environment: &[(&str, &str)], words: &[&str]) -> (Output, String) {
    let output = Command::new(binary())
        .args(words)
        .args(["--config", "security.toml", "--data-dir", "data"])
        .current_dir(directory)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    expect_no_secret(&words.join(" "), &text);
    (output, text)
}

#[track_caller]
fn expect_no_secret(place: &str, text: &str) {
    assert!(
        !text.contains("canary"),
        "a secret is seen in {place}: {text}"
    );
}

#[test]
fn the_program_works_over_tls_and_shows_no_secret() {
    let Some(broker) = secured_broker_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    let config = format!(
        "{}\n[bus]\nkind = \"kafka\"\nbrokers = \"{}\"\npartitions = 2\n\
         [bus.security]\nprotocol = \"sasl_ssl\"\nusername = \"{USER}\"\nca_file = \"{}\"\npassword_file = \"{}\"\n\
         [bus.settings]\ndebug = \"security,broker\"\n",
        tests::FAST_CONFIG,
        broker.sasl_ssl(),
        broker.ca_file().display(),
        directory.path().join("password").display(),
    )
    .replace("level = \"info\"", "level = \"debug\"");
    std::fs::write(directory.path().join("security.toml"), &config).unwrap();
    let ask = |environment: &[(&str, &str)], words: &[&str]| {
        printed(directory.path(), environment, words)
    };

    let (created, text) = ask(&[], &["topics", "create"]);
    assert!(created.status.success(), "{text}");
    let (_, text) = ask(&[], &["doctor", "--json"]);
    assert!(text.contains("over sasl_ssl"), "{text}");

    let program = Launch::new(directory.path()).config(config).start_ready();
    let mut load = Load::new(10);
    assert_eq!(load.send(&program), Outcome::Ok, "{}", program.log());
    let deadline = Instant::now() + PATIENCE;
    while program.sql("SELECT count(*) AS n FROM samples")[0]["n"] != 10 {
        assert!(
            Instant::now() < deadline,
            "the samples are not in SQL\n{}",
            program.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    for page in ["/metrics", "/readyz?verbose", "/api/v1/status"] {
        let answer = http::get(program.address(), page).unwrap();
        assert!(answer.is_success(), "{page}: {}", answer.text());
        expect_no_secret(page, &answer.text());
    }
    expect_no_secret("the log", &program.log());
    program.stop_cleanly();

    // In the environment instead, and wrong: what is said of it does not show it.
    let wrong = [
        ("TIDEWATCH__BUS__SECURITY__PASSWORD", "canary-wrong"),
        ("TIDEWATCH__BUS__SECURITY__PASSWORD_FILE", ""),
    ];
    let (shown, text) = ask(&wrong, &["config"]);
    assert!(
        shown.status.success() && text.contains("password = \"********\""),
        "{text}"
    );
    let (refused, text) = ask(&wrong, &["doctor"]);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("SASL authentication error"), "{text}");
    let both = [("TIDEWATCH__BUS__SECURITY__PASSWORD", "canary-wrong")];
    let (refused, text) = ask(&both, &["check"]);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(text.contains("bus.security.password_file"), "{text}");
}

/// Foreign topics of a cluster that has its own ways in, beside our own log, which is embedded: by password, and by certificate.
#[test]
fn foreign_topics_are_read_over_tls_and_show_no_secret() {
    let Some(broker) = secured_broker_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let [password, key_password] =
        [("password", PASSWORD), ("key-password", KEY_PASSWORD)].map(|(name, secret)| {
            let file = directory.path().join(name);
            std::fs::write(&file, secret).unwrap();
            file.display().to_string()
        });
    let ca = broker.ca_file().display().to_string();
    let source = |name: &str, brokers: String, keys: &[(&str, &str)]| {
        let keys: String = [("brokers", brokers.as_str()), ("ca_file", ca.as_str())]
            .iter()
            .chain(keys)
            .map(|(key, value)| format!("{key} = \"{value}\"\n"))
            .collect();
        format!(
            "[sources.kafka.{name}]\ntopics = [\"foreign-{name}\"]\nformat = \"influx\"\n{keys}"
        )
    };
    let (certificate, key) = (broker.certificate_file(), broker.key_file());
    let sources = [
        // Not `password`: a source can't be called like a key that holds for all of them.
        source(
            "by-password",
            broker.sasl_ssl(),
            &[
                ("protocol", "sasl_ssl"),
                ("username", USER),
                ("password_file", &password),
            ],
        ),
        source(
            "certificate",
            broker.ssl(),
            &[
                ("protocol", "ssl"),
                ("certificate_file", certificate.to_str().unwrap()),
                ("key_file", key.to_str().unwrap()),
                ("key_password_file", &key_password),
            ],
        ),
        // Whom the cluster refuses: told, and no matter to the others.
        source(
            "refused",
            broker.sasl_ssl(),
            &[
                ("protocol", "sasl_ssl"),
                ("username", USER),
                ("password", "canary-wrong"),
            ],
        ),
    ];
    let config = format!("{}\n{}", tests::FAST_CONFIG, sources.concat());
    let launch = Launch::new(directory.path())
        .config(config.replace("level = \"info\"", "level = \"debug\""))
        .env("TIDEWATCH__PROCESSING__BACKFILL", "true");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bus = KafkaBus::connect(options(
            &broker.ssl(),
            with_certificate(&broker, KEY_PASSWORD),
        ))
        .unwrap();
        for (name, from) in [("by-password", 0), ("certificate", 100)] {
            let topic = TopicSpec {
                name: format!("foreign-{name}"),
                partitions: 2,
                retention_ms: -1,
                log_append_time: false,
            };
            bus.create_topics(std::slice::from_ref(&topic))
                .await
                .unwrap();
            for partition in 0..2 {
                let records = (0..50).map(|step| {
                    let value = from + 50 * i64::from(partition) + step;
                    let time_s = 1_780_000_000 + value;
                    Record {
                        value: format!("load,host={name} value={value} {time_s}000000000").into(),
                        ..Record::default()
                    }
                });
                bus.append(&topic.name, partition, records.collect())
                    .await
                    .unwrap();
            }
        }
    });
    let process = launch.start_ready();
    let sums = "SELECT labels['host'] AS way, count(*) AS n, CAST(sum(value) AS BIGINT) AS total FROM samples GROUP BY 1 ORDER BY 1";
    let expected = serde_json::json!([
        {"way": "by-password", "n": 100, "total": 4_950},
        {"way": "certificate", "n": 100, "total": 14_950},
    ]);
    let deadline = Instant::now() + PATIENCE;
    while serde_json::json!(process.sql(sums)) != expected {
        assert!(
            Instant::now() < deadline,
            "{:?}\n{}",
            process.sql(sums),
            process.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let refused = "SASL authentication error";
    while !process.log().contains(refused) {
        assert!(Instant::now() < deadline, "{}", process.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    for page in ["/metrics", "/readyz?verbose", "/api/v1/status"] {
        expect_no_secret(page, &http::get(process.address(), page).unwrap().text());
    }
    expect_no_secret("the log", &process.log());
    process.stop_cleanly();
}
