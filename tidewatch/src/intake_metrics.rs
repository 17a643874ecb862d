//! What is counted at the door and in the embedded log, as metrics.

use std::sync::atomic::Ordering;

use bus::embedded::EmbeddedBus;
use ingest::admission::{Admission, Limit};
use ingest::{IngestCounters, Intake};

use crate::telemetry::{self, Metric};

/// Brings the metrics of intake and log up to date.
pub(crate) fn record(
    counters: &IngestCounters,
    admission: &Admission,
    embedded: Option<&EmbeddedBus>,
) {
    for intake in Intake::ALL {
        let (label, totals) = ([("intake", intake.name())], counters.of(intake));
        for (metric, total) in [
            (Metric::IngestRequestsTotal, &totals.requests),
            (Metric::IngestFailuresTotal, &totals.failures),
            (Metric::IngestAcceptedSamplesTotal, &totals.accepted_samples),
            (Metric::IngestRejectedSamplesTotal, &totals.rejected_samples),
            (Metric::IngestSkippedFieldsTotal, &totals.skipped_fields),
            (Metric::IngestDroppedSamplesTotal, &totals.dropped_samples),
            (
                Metric::IngestDroppedDatagramsTotal,
                &totals.dropped_datagrams,
            ),
            (Metric::IngestBodyBytesTotal, &totals.body_bytes),
        ] {
            telemetry::reached(metric, &label, total.load(Ordering::Relaxed));
        }
    }
    telemetry::set(
        Metric::IngestInFlightBytes,
        &[],
        counters.in_flight_bytes.load(Ordering::Relaxed) as f64,
    );
    telemetry::set(
        Metric::IngestInFlightRequests,
        &[],
        counters.in_flight_requests.load(Ordering::Relaxed) as f64,
    );
    for limit in Limit::ALL {
        let label = [("limit", limit.name())];
        telemetry::reached(Metric::IngestLimitHitsTotal, &label, admission.hits(limit));
    }
    let (active, folded) = admission.counts();
    telemetry::set(Metric::IngestActiveSeries, &[], active as f64);
    telemetry::set(Metric::IngestFoldedLabels, &[], folded as f64);
    telemetry::reached(
        Metric::IngestFoldedSamplesTotal,
        &[],
        admission.folded_samples(),
    );
    if let Some(stats) = embedded.map(EmbeddedBus::stats) {
        telemetry::reached(Metric::LogAppendsTotal, &[], stats.appends);
        telemetry::reached(Metric::LogRecordsTotal, &[], stats.records);
        telemetry::reached(Metric::LogSyncsTotal, &[], stats.syncs);
        telemetry::reached(Metric::LogRemovedRecordsTotal, &[], stats.removed_records);
        telemetry::set(Metric::LogStoredBytes, &[], stats.stored_bytes as f64);
    }
}
