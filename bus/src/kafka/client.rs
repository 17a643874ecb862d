//! What librdkafka's clients tell about themselves goes to the log.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use super::repeats::Repeats;

/// What was logged of late by all clients of this process: each of them tells of the same broker.
static REPEATS: Repeats = Repeats::new();

/// What librdkafka calls the lines that tell why a connection failed: refused, a certificate, a password.
const CONNECTION_FAILED: &str = "FAIL";

/// The context of clients that need no callback but logging. Remembers why the last connection failed.
#[derive(Default)]
pub(super) struct Logging {
    failure: Mutex<Option<String>>,
}

impl Logging {
    /// Why the last connection failed, if none was made since.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A broker has answered.
    pub(super) fn forget_failure(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == CONNECTION_FAILED {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
        }
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Logging {}

/// `None` for a message that is not to be logged now, as it just was; else how often it was kept back.
pub(super) fn due(message: &str) -> Option<u64> {
    REPEATS.due(message, Instant::now())
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    let Some(kept_back) = due(message) else {
        return;
    };
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, kept_back, "librdkafka: {message}")
        }
        // A broker that goes away is an "error" to librdkafka; to us it is an outage that passes.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(facility, kept_back, "librdkafka: {message}")
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(facility, kept_back, "librdkafka: {message}")
        }
        RDKafkaLogLevel::Debug => tracing::debug!(facility, kept_back, "librdkafka: {message}"),
    }
}

/// Logs what a client reports of itself. `reason` is empty where librdkafka gives none.
pub(super) fn log_error(error: &KafkaError, reason: &str) {
    if let Some(kept_back) = due(&format!("{error}: {reason}")) {
        tracing::warn!(%error, reason, kept_back, "a kafka client reports a problem that it retries by itself");
    }
}
