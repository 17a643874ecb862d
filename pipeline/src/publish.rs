//! Events and dead letters on their way to their topics.

use bus::{Bus, BusError, LogRecord, Record};
use bytes::Bytes;
use schemas::{Anomaly, Topics, topics};

/// Appends anomalies to their topic and answers when they are durable. Sent again after a crash, an event has the same id.
pub(crate) async fn publish_anomalies(
    bus: &dyn Bus,
    topics: &Topics,
    partition: u32,
    source: &str,
    events: &[Anomaly],
) -> Result<(), BusError> {
    if events.is_empty() {
        return Ok(());
    }
    let topic = topics.anomalies();
    let partitions = bus.partitions(&topic).await?.max(1);
    let records = events
        .iter()
        .map(|event| anomaly_record(source, event))
        .collect();
    bus.append(&topic, partition % partitions, records).await?;
    bus::crash_point("publish.after_events");
    Ok(())
}

/// One event as a record: JSON value, CloudEvents binary-mode headers, the series id as key.
fn anomaly_record(source: &str, event: &Anomaly) -> Record {
    let header =
        |name: &str, value: &str| (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
    Record {
        key: Bytes::from(event.series_id.to_string()),
        // A plain struct of numbers and strings always serialises.
        value: Bytes::from(serde_json::to_vec(event).unwrap_or_default()),
        headers: vec![
            header("ce_specversion", "1.0"),
            header("ce_id", &event.event_id),
            header("ce_type", "tidewatch.anomaly.v1"),
            header("ce_source", source),
            header("ce_time", &event.time),
            header("content-type", "application/json"),
        ],
        append_time_ms: None,
    }
}

/// Sets a record that can't be decoded aside, with its bytes, its coordinates and the reason.
pub(crate) async fn dead_letter(
    bus: &dyn Bus,
    topics: &Topics,
    partition: u32,
    record: &LogRecord,
    reason: &str,
) -> Result<(), BusError> {
    let topic = topics.dead_letters();
    let partitions = bus.partitions(&topic).await?.max(1);
    let header = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
    let mut headers = vec![
        header(topics::HEADER_REASON, reason.to_owned()),
        header(topics::HEADER_SOURCE_TOPIC, topics.samples()),
        header(topics::HEADER_SOURCE_PARTITION, partition.to_string()),
        header(topics::HEADER_SOURCE_OFFSET, record.offset.0.to_string()),
        header(
            topics::HEADER_SOURCE_TIME,
            record.append_time_ms.to_string(),
        ),
    ];
    headers.extend(record.headers.iter().cloned());
    let letter = Record {
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
        append_time_ms: None,
    };
    bus.append(&topic, partition % partitions, vec![letter])
        .await?;
    Ok(())
}
