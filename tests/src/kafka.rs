//! Finds or starts the real Kafka that tests run against, or says loudly that they were skipped.

pub mod broker;
pub mod cluster;
pub mod secured;

use std::io::Write;
use std::sync::OnceLock;

pub use broker::Broker;
pub use cluster::Cluster;
pub use secured::SecuredBroker;

/// Names a broker that runs already, `host:port`.
pub const TEST_KAFKA: &str = "TIDEWATCH_TEST_KAFKA";
/// `1`: start a broker for this process if none is named.
pub const START_KAFKA: &str = "TIDEWATCH_START_KAFKA";
/// `1`: having no broker is a failure.
pub const REQUIRE_KAFKA: &str = "TIDEWATCH_REQUIRE_KAFKA";
/// `1`: a build that can't speak TLS to Kafka is a failure.
pub const REQUIRE_TLS: &str = "TIDEWATCH_REQUIRE_TLS";

/// The address of a real broker, or `None`, said loudly, when there is none.
///
/// # Panics
/// If there is none and `TIDEWATCH_REQUIRE_KAFKA=1`.
pub fn kafka_for_tests() -> Option<String> {
    if let Some(address) = std::env::var(TEST_KAFKA)
        .ok()
        .filter(|address| !address.is_empty())
    {
        return Some(address);
    }
    // Lives as long as the process; its watchdog ends it, a static is never dropped.
    static STARTED: OnceLock<Result<Broker, String>> = OnceLock::new();
    if !is_set(START_KAFKA) {
        skip(NOT_ASKED);
        return None;
    }
    match STARTED.get_or_init(start) {
        Ok(broker) => Some(broker.address()),
        Err(error) => {
            skip(error);
            None
        }
    }
}

/// A broker of the caller's own, to be stopped and frozen at will, or `None`, said loudly. Only where [`kafka_for_tests`] would give one too.
///
/// # Panics
/// If there is none and `TIDEWATCH_REQUIRE_KAFKA=1`.
pub fn own_broker_for_tests() -> Option<Broker> {
    if std::env::var(TEST_KAFKA).is_ok_and(|address| !address.is_empty()) || is_set(START_KAFKA) {
        start().map_err(|error: String| skip(&error)).ok()
    } else {
        skip(NOT_ASKED);
        None
    }
}

/// A broker with TLS and SASL listeners, or `None`, said loudly. Only where [`kafka_for_tests`] would give one too, and where this build speaks TLS.
///
/// # Panics
/// If there is none and `TIDEWATCH_REQUIRE_KAFKA=1` or `TIDEWATCH_REQUIRE_TLS=1`.
pub fn secured_broker_for_tests() -> Option<SecuredBroker> {
    if !bus::kafka::HAS_TLS {
        crate::skip(
            "TLS to Kafka",
            "a build with `--features tidewatch/kafka-tls`",
            REQUIRE_TLS,
        );
        return None;
    }
    if !is_set(START_KAFKA) && std::env::var_os(TEST_KAFKA).is_none() {
        skip(NOT_ASKED);
        return None;
    }
    if !broker::can_start() {
        skip(NO_JAVA);
        return None;
    }
    SecuredBroker::start()
        .map_err(|error: String| skip(&error))
        .ok()
}

const NO_JAVA: &str =
    "`java` and `mvn` are needed to start a Kafka broker, and at least one is not installed";
const NOT_ASKED: &str = "neither TIDEWATCH_TEST_KAFKA nor TIDEWATCH_START_KAFKA=1 is set; `cargo xtask test` starts a broker";

fn start() -> Result<Broker, String> {
    if !broker::can_start() {
        return Err(NO_JAVA.into());
    }
    Broker::start()
}

fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}

fn skip(why: &str) {
    assert!(
        !is_set(REQUIRE_KAFKA),
        "{REQUIRE_KAFKA}=1, but there is no broker: {why}"
    );
    // Past the capture of the test runner, which hides what a passing test prints.
    let _unheard = writeln!(std::io::stderr(), "SKIPPED: no real Kafka: {why}");
}
