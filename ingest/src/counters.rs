//! What ingest counts, as atomics that any task may add to and the metrics page reads. Knows nothing of the page's format.

use std::sync::atomic::{AtomicU64, Ordering};

/// Who brings samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intake {
    /// Prometheus remote write.
    RemoteWrite,
    /// Influx line protocol, all three paths.
    LineProtocol,
    /// JSON lines.
    JsonLines,
    /// OpenTelemetry metrics, over HTTP and gRPC.
    Otlp,
    /// StatsD and DogStatsD.
    Statsd,
    /// Graphite's plaintext.
    Graphite,
    /// Endpoints that are scraped.
    Scrape,
    /// Topics of others.
    ForeignTopics,
    /// The collector of this host.
    Host,
    /// The simulated hosts of the demo.
    Fleet,
}

impl Intake {
    /// All of them.
    pub const ALL: [Intake; 10] = [
        Intake::RemoteWrite,
        Intake::LineProtocol,
        Intake::JsonLines,
        Intake::Otlp,
        Intake::Statsd,
        Intake::Graphite,
        Intake::Scrape,
        Intake::ForeignTopics,
        Intake::Host,
        Intake::Fleet,
    ];

    /// The stable name used in logs and as the label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Intake::RemoteWrite => "remote_write",
            Intake::LineProtocol => "line_protocol",
            Intake::JsonLines => "json_lines",
            Intake::Otlp => "otlp",
            Intake::Statsd => "statsd",
            Intake::Graphite => "graphite",
            Intake::Scrape => "scrape",
            Intake::ForeignTopics => "foreign_topics",
            Intake::Host => "host",
            Intake::Fleet => "fleet",
        }
    }
}

/// The totals of one [`Intake`]. All only grow.
#[derive(Debug, Default)]
pub struct IntakeCounters {
    /// Requests begun; for a collector, collections; for a socket, blocks of lines; for scraping, scrapes; for foreign topics, portions of records.
    pub requests: AtomicU64,
    /// Requests that were answered with a 4xx or 5xx; for a collector and foreign topics, publications that failed (and are tried again);
    /// scrapes that failed.
    pub failures: AtomicU64,
    /// Samples that are durable in the log.
    pub accepted_samples: AtomicU64,
    /// Samples refused at the door; each was reported to its sender.
    pub rejected_samples: AtomicU64,
    /// Values left out because they are no numbers or say themselves that they are none: string fields of line protocol, exemplars, data points
    /// without a recorded value.
    pub skipped_fields: AtomicU64,
    /// Samples lost because the log was away longer than the buffer reaches, and lines of datagrams that came faster than they could be
    /// decoded (collectors and sockets only: a client over HTTP keeps its own).
    pub dropped_samples: AtomicU64,
    /// Datagrams that the kernel dropped because a socket's buffer was full (sockets only; Linux only).
    pub dropped_datagrams: AtomicU64,
    /// Body bytes read, as they came over the wire.
    pub body_bytes: AtomicU64,
}

/// Everything that ingest counts.
#[derive(Debug, Default)]
pub struct IngestCounters {
    intakes: [IntakeCounters; Intake::ALL.len()],
    /// Bytes of requests (as sent, and decompressed) that are being worked on now.
    pub in_flight_bytes: AtomicU64,
    /// Requests that are being worked on now.
    pub in_flight_requests: AtomicU64,
}

impl IngestCounters {
    /// The totals of one intake.
    pub fn of(&self, intake: Intake) -> &IntakeCounters {
        &self.intakes[intake as usize]
    }
}

pub(crate) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

pub(crate) fn subtract(counter: &AtomicU64, amount: usize) {
    counter.fetch_sub(amount as u64, Ordering::Relaxed);
}
