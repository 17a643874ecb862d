//! What needs no broker: refused settings, and an answer when the broker is away.

use super::*;
use schemas::{Fault, HasFault};

#[test]
fn settings_on_which_promises_rest_are_refused() {
    for name in [
        "auto.offset.reset",
        "acks",
        "enable.idempotence",
        "group.id",
    ] {
        let mut options = KafkaOptions::new("127.0.0.1:9");
        options.extra.insert(name.into(), "latest".into());
        let error = KafkaBus::connect(options).err().unwrap();
        assert!(
            matches!(&error, BusError::Config(text) if text.contains(name)),
            "{error}"
        );
    }
    let mut options = KafkaOptions::new("127.0.0.1:9");
    options.extra.insert("no.such.setting".into(), "1".into());
    assert!(
        matches!(KafkaBus::connect(options), Err(BusError::Config(text)) if text.contains("no.such.setting"))
    );
    let options = KafkaOptions {
        handover_ms_max: 20_000,
        ..KafkaOptions::new("127.0.0.1:9")
    };
    assert!(matches!(
        KafkaBus::connect(options),
        Err(BusError::Config(_))
    ));
    assert!(matches!(
        KafkaBus::connect(KafkaOptions::new(" ")),
        Err(BusError::Config(_))
    ));
}

#[tokio::test]
async fn a_broker_that_is_away_is_an_outage() {
    let options = KafkaOptions {
        request_ms_max: 300,
        append_ms_max: 300,
        ..KafkaOptions::new("127.0.0.1:9")
    };
    let bus = KafkaBus::connect(options).unwrap();
    let record = Record {
        value: "x".into(),
        ..Record::default()
    };
    let error = bus.append("t", 0, vec![record]).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Outage, "{error}");
    assert_eq!(bus.log_id("t").await.unwrap_err().fault(), Fault::Outage);
    assert_eq!(
        bus.retained("t", 0).await.unwrap_err().fault(),
        Fault::Outage
    );
}

#[test]
fn every_client_says_who_it_is() {
    let options = KafkaOptions {
        security: Security {
            tls: None,
            sasl: Some(Sasl {
                mechanism: Mechanism::Plain,
                username: "u".into(),
                password: Secret::new("p"),
            }),
        },
        ..KafkaOptions::new("127.0.0.1:9")
    };
    for client in [
        options.producer(),
        options.admin(),
        options.reader(),
        options.member("group"),
    ] {
        assert_eq!(client.get("security.protocol"), Some("sasl_plaintext"));
        assert_eq!(client.get("sasl.username"), Some("u"));
        assert_eq!(client.get("sasl.password"), Some("p"));
    }
}

#[test]
fn a_refused_value_is_not_told() {
    let mut options = KafkaOptions::new("127.0.0.1:9");
    options
        .extra
        .insert("socket.keepalive.enable".into(), "canary".into());
    let error = KafkaBus::connect(options).err().unwrap().to_string();
    assert!(
        error.contains("socket.keepalive.enable") && !error.contains("canary"),
        "{error}"
    );
}
