//! What the program tells of itself: every metric it has, in one enum. Knows nothing of HTTP.
//!
//! Names are base units with `_total` for what only grows; labels have few values (partition, route, intake), never a series or a host.

use std::sync::OnceLock;
use std::time::Instant;

use metrics::{Label, counter, gauge, histogram};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

macro_rules! metric_enum {
    ($($(#[doc = $doc:literal])+ $variant:ident = $kind:ident $name:literal,)+) => {
        /// Every metric that `/metrics` shows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Metric {
            /// All metrics.
            pub const ALL: &[Metric] = &[$(Metric::$variant,)+];

            /// The name, as Prometheus sees it.
            pub fn name(self) -> &'static str {
                match self { $(Metric::$variant => $name,)+ }
            }

            /// How it behaves.
            pub fn kind(self) -> MetricKind {
                match self { $(Metric::$variant => MetricKind::$kind,)+ }
            }

            /// What it means.
            pub fn help(self) -> &'static str {
                match self { $(Metric::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

metric_enum! {
    /// Always 1; the label tells the version.
    BuildInfo = Gauge "tidewatch_build_info",
    /// Time since the program started.
    UptimeSeconds = Gauge "tidewatch_uptime_seconds",
    /// Memory of the process that is in RAM.
    ResidentMemoryBytes = Gauge "tidewatch_process_resident_memory_bytes",
    /// HTTP requests answered, by route and status.
    HttpRequestsTotal = Counter "tidewatch_http_requests_total",
    /// Time from the head of a request to the head of its answer, by route.
    HttpRequestDurationSeconds = Histogram "tidewatch_http_request_duration_seconds",
    /// Requests without the access they need, by reason: missing, unreadable, unknown, expired, revoked, scope.
    AccessRefusalsTotal = Counter "tidewatch_access_refusals_total",
    /// Connections that are open.
    HttpConnections = Gauge "tidewatch_http_connections",
    /// Connections to a port with TLS that came to nothing, by reason: plain_http, handshake, timeout.
    TlsFailuresTotal = Counter "tidewatch_tls_failures_total",
    /// When the certificate of this server ends, seconds since 1970.
    TlsCertificateExpiryTimestampSeconds = Gauge "tidewatch_tls_certificate_expiry_timestamp_seconds",
    /// Requests begun, by intake; for a collector, collections.
    IngestRequestsTotal = Counter "tidewatch_ingest_requests_total",
    /// Requests answered with an error, by intake; for a collector, publications that failed.
    IngestFailuresTotal = Counter "tidewatch_ingest_failures_total",
    /// Samples that are durable in the log, by intake.
    IngestAcceptedSamplesTotal = Counter "tidewatch_ingest_accepted_samples_total",
    /// Samples refused at the door, by intake.
    IngestRejectedSamplesTotal = Counter "tidewatch_ingest_rejected_samples_total",
    /// Values left out because they are no numbers, by intake.
    IngestSkippedFieldsTotal = Counter "tidewatch_ingest_skipped_fields_total",
    /// Samples lost because the log was away longer than a collector's buffer reaches.
    IngestDroppedSamplesTotal = Counter "tidewatch_ingest_dropped_samples_total",
    /// Datagrams that the kernel dropped because a socket's buffer was full, by intake.
    IngestDroppedDatagramsTotal = Counter "tidewatch_ingest_dropped_datagrams_total",
    /// Bytes of bodies as sent, by intake.
    IngestBodyBytesTotal = Counter "tidewatch_ingest_body_bytes_total",
    /// Records of foreign topics whose samples or dead letters are durable, by source.
    SourceRecordsTotal = Counter "tidewatch_source_records_total",
    /// Records of foreign topics without a value, by source.
    SourceTombstonesTotal = Counter "tidewatch_source_tombstones_total",
    /// Records of foreign topics that went to the dead letters, by source.
    SourceDeadLettersTotal = Counter "tidewatch_source_dead_letters_total",
    /// Bytes of requests being worked on.
    IngestInFlightBytes = Gauge "tidewatch_ingest_in_flight_bytes",
    /// Requests being worked on.
    IngestInFlightRequests = Gauge "tidewatch_ingest_in_flight_requests",
    /// Limits met, by limit: requests refused, and series refused each time that they are asked about.
    IngestLimitHitsTotal = Counter "tidewatch_ingest_limit_hits_total",
    /// Series that are active at the door.
    IngestActiveSeries = Gauge "tidewatch_ingest_active_series",
    /// Labels that have too many values, so that further new ones are stored as `__other__`.
    IngestFoldedLabels = Gauge "tidewatch_ingest_folded_labels",
    /// Samples stored with a folded label.
    IngestFoldedSamplesTotal = Counter "tidewatch_ingest_folded_samples_total",
    /// 1 if the log takes samples, 0 while the broker is away or the disk is full.
    LogUp = Gauge "tidewatch_log_up",
    /// Appends to the embedded log.
    LogAppendsTotal = Counter "tidewatch_log_appends_total",
    /// Records appended to the embedded log.
    LogRecordsTotal = Counter "tidewatch_log_records_total",
    /// Fsyncs of the embedded log.
    LogSyncsTotal = Counter "tidewatch_log_syncs_total",
    /// Bytes that the embedded log holds.
    LogStoredBytes = Gauge "tidewatch_log_stored_bytes",
    /// Records removed from the embedded log by retention.
    LogRemovedRecordsTotal = Counter "tidewatch_log_removed_records_total",
    /// 1 for what the partition is doing, else 0, by partition and phase.
    PartitionPhase = Gauge "tidewatch_partition_phase",
    /// Records between what was processed and the end of the log, by partition.
    PartitionLagRecords = Gauge "tidewatch_partition_lag_records",
    /// Series known, by partition.
    PartitionSeries = Gauge "tidewatch_partition_series",
    /// Samples that wait for a checkpoint, by partition.
    PartitionPendingSamples = Gauge "tidewatch_partition_pending_samples",
    /// Committed files, by partition.
    PartitionFiles = Gauge "tidewatch_partition_files",
    /// What became of the samples read, by partition and outcome; `read` is the sum of `accepted`, `duplicate`, `late` and `invalid`.
    SamplesTotal = Counter "tidewatch_samples_total",
    /// Records that could not be decoded, by partition.
    DeadLettersTotal = Counter "tidewatch_dead_letters_total",
    /// Checkpoints made, by partition.
    CheckpointsTotal = Counter "tidewatch_checkpoints_total",
    /// Compactions made, by partition.
    CompactionsTotal = Counter "tidewatch_compactions_total",
    /// Anomalies published, by partition.
    AnomaliesTotal = Counter "tidewatch_anomalies_total",
    /// Forecasts published, by partition.
    ForecastsTotal = Counter "tidewatch_forecasts_total",
    /// Values of siblings told to other partitions, which compare them, by partition.
    GuestsTotal = Counter "tidewatch_guests_total",
    /// Anomalies that were not announced because the calendar says so, by partition.
    SkippedAlarmsTotal = Counter "tidewatch_skipped_alarms_total",
    /// SQL queries begun, by outcome of their start: `answered`, or whose fault it was.
    QueriesTotal = Counter "tidewatch_queries_total",
    /// Readers of `tail`.
    TailReaders = Gauge "tidewatch_tail_readers",
    /// Lines that slow readers of `tail` were not sent.
    TailLaggedLinesTotal = Counter "tidewatch_tail_lagged_lines_total",
}

/// A counter goes up.
pub(crate) fn count(metric: Metric, labels: &[(&'static str, &str)], amount: u64) {
    counter!(metric.name(), owned(labels)).increment(amount);
}

/// A counter that someone else counts has reached a value.
pub(crate) fn reached(metric: Metric, labels: &[(&'static str, &str)], total: u64) {
    counter!(metric.name(), owned(labels)).absolute(total);
}

/// A gauge has a value.
pub(crate) fn set(metric: Metric, labels: &[(&'static str, &str)], value: f64) {
    gauge!(metric.name(), owned(labels)).set(value);
}

/// A gauge changes.
pub(crate) fn change(metric: Metric, by: f64) {
    gauge!(metric.name()).increment(by);
}

/// A distribution has one value more.
pub(crate) fn observe(metric: Metric, labels: &[(&'static str, &str)], value: f64) {
    histogram!(metric.name(), owned(labels)).record(value);
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<Label> {
    labels
        .iter()
        .map(|(key, value)| Label::new(*key, (*value).to_owned()))
        .collect()
}

/// A recorder that keeps all metrics in memory.
pub(crate) fn recorder() -> PrometheusRecorder {
    // From a quick health check to the longest query that the default timeout lets through.
    const SECONDS: [f64; 12] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0,
    ];
    let builder = PrometheusBuilder::new();
    let duration = Matcher::Full(Metric::HttpRequestDurationSeconds.name().to_owned());
    // Only an empty list of buckets is refused.
    let builder = builder
        .set_buckets_for_metric(duration, &SECONDS)
        .unwrap_or_else(|_| PrometheusBuilder::new());
    builder.build_recorder()
}

/// Makes a recorder this process's own and answers where to read it. Later calls answer the same.
pub(crate) fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_ok() {
                describe();
            }
            handle
        })
        .clone()
}

/// Tells the recorder in force what each metric means.
pub(crate) fn describe() {
    for metric in Metric::ALL {
        match metric.kind() {
            MetricKind::Counter => metrics::describe_counter!(metric.name(), metric.help()),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name(), metric.help()),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name(), metric.help()),
        }
    }
}

/// Brings the process's own gauges up to date.
pub(crate) fn record_process(started: Instant) {
    set(
        Metric::BuildInfo,
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    set(Metric::UptimeSeconds, &[], started.elapsed().as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        set(Metric::ResidentMemoryBytes, &[], bytes as f64);
    }
}

/// Memory of this process that is in RAM, bytes. Linux tells it; elsewhere `None`.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_unique() {
        let mut seen = HashSet::new();
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(seen.insert(name), "{name} stands twice");
            assert!(
                name.starts_with("tidewatch_")
                    && name.bytes().all(|byte| byte.is_ascii_lowercase()
                        || byte.is_ascii_digit()
                        || byte == b'_'),
                "{name}"
            );
            assert!(!name.contains("__") && !name.ends_with('_'), "{name}");
            assert_eq!(
                metric.kind() == MetricKind::Counter,
                name.ends_with("_total"),
                "{name}: exactly the counters end in _total"
            );
            let scaled = [
                "_ms",
                "_milliseconds",
                "_micros",
                "_kb",
                "_mb",
                "_percent",
                "_minutes",
                "_count",
            ];
            assert!(
                !scaled
                    .iter()
                    .any(|unit| name.trim_end_matches("_total").ends_with(unit)),
                "{name}: base units only"
            );
            assert!(!metric.help().is_empty(), "{name}: says nothing of itself");
        }
    }

    #[test]
    fn what_is_recorded_is_shown_with_help_and_type() {
        let recorder = recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            count(Metric::QueriesTotal, &[("outcome", "answered")], 2);
            reached(Metric::LogSyncsTotal, &[], 7);
            set(Metric::TailReaders, &[], 1.0);
            observe(Metric::HttpRequestDurationSeconds, &[("route", "/")], 0.002);
        });
        let text = handle.render();
        for line in [
            "tidewatch_queries_total{outcome=\"answered\"} 2",
            "tidewatch_log_syncs_total 7",
            "tidewatch_tail_readers 1",
            "# TYPE tidewatch_http_request_duration_seconds histogram",
            "tidewatch_http_request_duration_seconds_bucket{route=\"/\",le=\"0.0025\"} 1",
            "# HELP tidewatch_tail_readers Readers of `tail`.",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "`{line}` is missing in\n{text}"
            );
        }
    }
}
