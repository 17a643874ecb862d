//! What the pipeline is given.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use processors::{ProcessingConfig, Scored};
use schemas::{Resolution, Topics};
use sinks::Archive;
use sinks::aggregates::AggregateStore;
use sinks::compaction::CompactionPolicy;

/// New series that make a snapshot due, if they are [`SNAPSHOT_SERIES_SHARE`] of all besides. 10,000: to step over so many again takes some 20 ms.
const SNAPSHOT_SERIES_MIN: usize = 10_000;
/// 10 %: to meet a series again costs about as much as to save three that are known, so a flood costs what it saves at the next start a few times over,
/// and what grows slowly nothing.
const SNAPSHOT_SERIES_SHARE: usize = 10;

/// When progress is made final.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointPolicy {
    /// At the latest so long after the last one, if anything came. Longer makes larger files and a longer replay.
    pub interval: Duration,
    /// At the latest when so many samples wait, per partition. Bounds memory (about 40 bytes each) whatever the rate.
    pub samples_max: usize,
    /// How often the state is saved beside a checkpoint, if not sooner because many series are new. A restart replays at most this much of the log.
    pub snapshot_interval: Duration,
    /// How often small files are looked for and merged.
    pub compaction_interval: Duration,
    /// How long a replaced file stays readable for those who listed it before. A clean stop removes it at once.
    pub replaced_files_kept: Duration,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        CheckpointPolicy {
            interval: Duration::from_secs(30),
            samples_max: 4_000_000,
            snapshot_interval: Duration::from_secs(300),
            compaction_interval: Duration::from_secs(300),
            replaced_files_kept: Duration::from_secs(60),
        }
    }
}

impl CheckpointPolicy {
    /// Whether a checkpoint is to save the state, given what the last snapshot holds: its age, and how many series it knows of those that there are.
    pub(crate) fn snapshot_is_due(&self, age: Duration, known: usize, series: usize) -> bool {
        let new = series.saturating_sub(known);
        let flooded = new >= SNAPSHOT_SERIES_MIN && new >= series / SNAPSHOT_SERIES_SHARE;
        flooded || age >= self.snapshot_interval
    }
}

/// Gets, for each record of a partition, what the detectors made of its samples. Called between two steps: it must not wait for anyone. After
/// an outage it gets again what no checkpoint covered.
pub type ScoreSink = Arc<dyn Fn(u32, &[Scored]) + Send + Sync>;

/// Everything the pipeline works with.
#[derive(Clone)]
pub struct PipelineOptions {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// The names of its topics.
    pub topics: Topics,
    /// The group that shares the partitions.
    pub group: String,
    /// Who we are, for people who read the chain.
    pub owner: String,
    /// Where files and chains live.
    pub archive: Archive,
    /// Where hot rollups live.
    pub aggregates: Arc<AggregateStore>,
    /// The resolutions that the archive keeps; the others live in the aggregate store alone.
    pub archived_rollups: Vec<Resolution>,
    /// How records are processed.
    pub processing: ProcessingConfig,
    /// When progress is made final.
    pub checkpoint: CheckpointPolicy,
    /// How small files are merged.
    pub compaction: CompactionPolicy,
    /// Whether a saved state that is damaged or gone is made anew from the archive; else its partition stops.
    pub rebuild_damaged_states: bool,
    /// After so long without a record, a tick is appended, so that idle windows close.
    pub tick_interval: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_age_or_when_many_series_are_new() {
        let policy = CheckpointPolicy::default();
        let young = Duration::from_secs(299);
        for (age, known, series, due) in [
            (young, 0, 9_999, false),
            (young, 0, 10_000, true),
            (young, 90_000, 99_999, false),
            (young, 90_000, 100_000, true),
            // Many, and few of those that there are.
            (young, 1_000_000, 1_100_000, false),
            (young, 1_000_000, 1_120_000, true),
            // A state that was restored from another snapshot than the last may know fewer.
            (young, 10, 5, false),
            (Duration::from_secs(300), 5, 5, true),
        ] {
            let found = policy.snapshot_is_due(age, known, series);
            assert_eq!(found, due, "{age:?} {known} {series}");
        }
    }
}
