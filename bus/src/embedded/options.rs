//! Settings of the embedded log, and what it counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time, milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Settings of the embedded log; [`EmbeddedOptions::default`] suits a laptop.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Keeps no topic longer than this, milliseconds; `None`: each topic's own retention decides.
    pub retention_ms_max: Option<i64>,
    /// Size of all records as stored above which the oldest are removed, bytes. Exceeded, with a warning, where the oldest are not yet in the archive.
    pub retention_bytes_max: u64,
    /// Topics whose records are removed by time and size alone. All others are guarded: nothing at or above `allow_trim` is removed.
    pub unguarded_topics: BTreeSet<String>,
    /// Size at which a segment ends, bytes; retention removes whole segments. Small ones are many directories, large ones much memory (a segment being written is held there).
    pub segment_bytes_max: u64,
    /// Age at which a segment ends, milliseconds, so that a quiet topic can be trimmed; at most a quarter of its topic's retention is used.
    pub segment_ms_max: i64,
    /// Free space below which the oldest archived records go before their time, and appends are refused, bytes: the archive and checkpoints need room to
    /// make room. Unguarded topics, which checkpoints append to, may use half of it.
    pub free_bytes_min: u64,
    /// The log's clock.
    pub clock: Clock,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions {
            retention_ms_max: None,
            retention_bytes_max: 8 << 30,
            unguarded_topics: BTreeSet::new(),
            segment_bytes_max: 32 << 20,
            segment_ms_max: 3_600_000,
            free_bytes_min: 256 << 20,
            clock: Arc::new(system_clock_ms),
        }
    }
}

impl std::fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("retention_ms_max", &self.retention_ms_max)
            .field("retention_bytes_max", &self.retention_bytes_max)
            .field("unguarded_topics", &self.unguarded_topics)
            .field("segment_bytes_max", &self.segment_bytes_max)
            .field("segment_ms_max", &self.segment_ms_max)
            .field("free_bytes_min", &self.free_bytes_min)
            .finish_non_exhaustive()
    }
}

fn system_clock_ms() -> i64 {
    // A clock before 1970 or after 292 million years is answered with 0.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// What an embedded log has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedStats {
    /// Calls of `append` that were answered with offsets.
    pub appends: u64,
    /// Records appended.
    pub records: u64,
    /// Fsyncs that made them durable.
    pub syncs: u64,
    /// Bytes of all records held, as stored.
    pub stored_bytes: u64,
    /// Records removed by retention.
    pub removed_records: u64,
}
