//! Turns librdkafka's errors into ours, by what the caller should do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::BusError;

/// An error of a client that is being made: its settings are refused.
pub(super) fn config(error: &KafkaError) -> BusError {
    let why = match error {
        // Without the value, which may be a secret. librdkafka's own words quote it, too.
        KafkaError::ClientConfig(_, words, name, value) => {
            let quotes = !value.is_empty() && words.contains(value.as_str());
            let words = if quotes {
                "it can't have this value"
            } else {
                words.as_str()
            };
            format!("`{name}`: {words}")
        }
        error => error.to_string(),
    };
    BusError::Config(format!(
        "librdkafka refuses its settings: {why}; look at `bus.settings` and `bus.security`"
    ))
}

/// An error while something was done with a topic on some brokers.
pub(super) fn of(action: &str, topic: &str, brokers: &str, error: &KafkaError) -> BusError {
    after(action, topic, brokers, error, None)
}

/// The same, with why the client's last connection failed: an outage alone does not say that the password or a certificate is wrong.
pub(super) fn after(
    action: &str,
    topic: &str,
    brokers: &str,
    error: &KafkaError,
    failure: Option<String>,
) -> BusError {
    use RDKafkaErrorCode as Code;
    let unavailable = || BusError::Unavailable {
        action: format!("{action} `{topic}` on {brokers}"),
        detail: match &failure {
            Some(failure) => format!("{error}; the last connection failed: {failure}"),
            None => error.to_string(),
        },
    };
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            BusError::NoTopic {
                topic: topic.to_owned(),
            }
        }
        Some(Code::MessageSizeTooLarge) => BusError::Config(format!(
            "the broker refuses a record for topic `{topic}` as too large; raise the topic's `max.message.bytes` to {}",
            super::MESSAGE_BYTES_MAX
        )),
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication,
        ) => BusError::Config(format!(
            "{action} `{topic}` on {brokers} is not allowed: {error}; look at the user's rights and the security settings"
        )),
        _ => unavailable(),
    }
}

/// Whether an error only says that a partition has no leader at the moment: just created, or its broker has changed.
pub(super) fn passes_soon(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::LeaderNotAvailable | Code::NotLeaderForPartition | Code::ReplicaNotAvailable)
    )
}

/// A blocking call's thread has died.
pub(super) fn thread(error: &tokio::task::JoinError) -> BusError {
    BusError::Unavailable {
        action: "asking Kafka".into(),
        detail: error.to_string(),
    }
}
