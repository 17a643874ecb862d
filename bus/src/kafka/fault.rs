//! Turns librdkafka's errors into ours, by what the caller should do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::BusError;

/// An error of a client that is being made: its settings are refused.
pub(super) fn config(error: &KafkaError) -> BusError {
    BusError::Config(format!(
        "librdkafka refuses its settings: {error}; look at `bus.kafka` and its extra settings"
    ))
}

/// An error while something was done with a topic on some brokers.
pub(super) fn of(action: &str, topic: &str, brokers: &str, error: &KafkaError) -> BusError {
    use RDKafkaErrorCode as Code;
    let unavailable = || BusError::Unavailable {
        action: format!("{action} `{topic}` on {brokers}"),
        detail: error.to_string(),
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
