//! What the pipeline is given.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use processors::{ProcessingConfig, Scored};
use schemas::{Resolution, Topics};
use sinks::Archive;
use sinks::aggregates::AggregateStore;
use sinks::compaction::CompactionPolicy;

/// When progress is made final.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointPolicy {
    /// At the latest so long after the last one, if anything came. Longer makes larger files and a longer replay.
    pub interval: Duration,
    /// At the latest when so many samples wait, per partition. Bounds memory (about 40 bytes each) whatever the rate.
    pub samples_max: usize,
    /// How often the state is saved beside a checkpoint. A restart replays at most this much of the log.
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
