//! What two answers of an instance tell together: how much per second.

use serde::Serialize;

use crate::http::overview::Overview;

/// Samples per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Rates {
    /// Made durable in the log by this instance.
    pub(super) accepted_per_s: f64,
    /// Read from the log and folded into windows by this instance.
    pub(super) processed_per_s: f64,
    /// Refused at the door, or lost by a collector.
    pub(super) refused_per_s: f64,
}

/// Samples since the instance started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) accepted: u64,
    pub(super) processed: u64,
    pub(super) refused: u64,
    /// Read from the log, and too late or too far in the future, or of too many series.
    pub(super) left_out: u64,
}

impl Totals {
    pub(super) fn of(overview: &Overview) -> Totals {
        let mut totals = Totals::default();
        for intake in overview.intakes.values() {
            totals.accepted += intake.accepted_samples;
            totals.refused += intake.rejected_samples + intake.dropped_samples;
        }
        totals.processed = overview
            .partitions
            .iter()
            .map(|partition| partition.counts.read)
            .sum();
        totals.left_out = overview
            .partitions
            .iter()
            .map(|partition| partition.counts.late + partition.counts.invalid)
            .sum();
        totals
    }
}

impl Rates {
    /// From two answers of one instance by its own clock; `None` if it was started anew between them.
    pub(super) fn between(before: &Overview, after: &Overview) -> Option<Rates> {
        let seconds = after.process.uptime_s - before.process.uptime_s;
        if before.process.id != after.process.id || seconds <= 0.0 {
            return None;
        }
        let (from, to) = (Totals::of(before), Totals::of(after));
        // A partition that moved away takes its total along.
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Some(Rates {
            accepted_per_s: rate(from.accepted, to.accepted),
            processed_per_s: rate(from.processed, to.processed),
            refused_per_s: rate(from.refused, to.refused),
        })
    }
}
