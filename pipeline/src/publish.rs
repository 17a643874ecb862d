//! Events and dead letters on their way to their topics.

use bus::{Bus, BusError, LogRecord, Record};
use bytes::Bytes;
use schemas::time::rfc3339;
use schemas::{Anomaly, Forecast, SeriesId, Topics, topics};

/// Records of one append, at most. 2,000 events of a kilobyte stay below the log's largest request.
const EVENTS_MAX: usize = 2_000;

/// Appends anomalies to their topic and answers when they are durable. Sent again after a crash, an event has the same id. `partition` is taken modulo
/// those of the topic; `source` says who tells, as a path.
///
/// # Errors
/// Those of the log; what was appended before stays.
pub async fn publish_anomalies(
    bus: &dyn Bus,
    topics: &Topics,
    partition: u32,
    source: &str,
    events: &[Anomaly],
) -> Result<(), BusError> {
    let records = events.iter().map(|event| {
        // A plain struct of numbers and strings always serialises.
        let value = serde_json::to_vec(event).unwrap_or_default();
        let (id, time) = (&event.event_id, &event.time);
        event_record(
            source,
            "tidewatch.anomaly.v1",
            event.series_id,
            id,
            time,
            value,
        )
    });
    append(bus, &topics.anomalies(), partition, records.collect()).await
}

/// Appends forecasts to their topic, as [`publish_anomalies`] does.
pub(crate) async fn publish_forecasts(
    bus: &dyn Bus,
    topics: &Topics,
    partition: u32,
    source: &str,
    events: &[Forecast],
) -> Result<(), BusError> {
    let records = events.iter().map(|event| {
        // A plain struct of numbers and strings always serialises.
        let value = serde_json::to_vec(event).unwrap_or_default();
        let (id, time) = (&event.event_id, rfc3339(event.made_at));
        event_record(
            source,
            "tidewatch.forecast.v1",
            event.series_id,
            id,
            &time,
            value,
        )
    });
    append(bus, &topics.forecasts(), partition, records.collect()).await
}

async fn append(
    bus: &dyn Bus,
    topic: &str,
    partition: u32,
    mut records: Vec<Record>,
) -> Result<(), BusError> {
    if records.is_empty() {
        return Ok(());
    }
    let partitions = bus.partitions(topic).await?.max(1);
    while !records.is_empty() {
        let rest = records.split_off(records.len().min(EVENTS_MAX));
        bus.append(topic, partition % partitions, records).await?;
        records = rest;
    }
    bus::crash_point("publish.after_events");
    Ok(())
}

/// One event as a record: JSON value, CloudEvents binary-mode headers, the series id as key. `time`: when it happened, RFC 3339.
fn event_record(
    source: &str,
    event_type: &str,
    series: SeriesId,
    id: &str,
    time: &str,
    value: Vec<u8>,
) -> Record {
    let header =
        |name: &'static str, value: &str| (name.into(), Bytes::copy_from_slice(value.as_bytes()));
    Record {
        key: Bytes::from(series.to_string()),
        value: Bytes::from(value),
        headers: vec![
            header("ce_specversion", "1.0"),
            header("ce_id", id),
            header("ce_type", event_type),
            header("ce_source", source),
            header("ce_time", time),
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
    let header = |name: &'static str, value: String| (name.into(), Bytes::from(value));
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
