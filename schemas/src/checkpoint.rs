//! The record that makes progress final: one link of a partition's chain. Written as JSON, hashed over its bytes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::time::Micros;
use crate::{Resolution, Watermark};

/// The version of the record's format.
pub const CHECKPOINT_FORMAT: u32 = 1;

/// The offset of the first record *not* yet covered. A checkpoint holds this; an offset of a record read is a plain [`Offset`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct NextOffset(pub u64);

/// The offset of one record in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset after this one.
    pub fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

/// The tables of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Table {
    /// Raw samples.
    Samples,
    /// Rollups of one resolution.
    Rollups(Resolution),
    /// Anomaly events.
    Anomalies,
    /// Forecast events.
    Forecasts,
    /// Forecasts whose horizon has passed, beside what came.
    ForecastScores,
}

impl Table {
    /// All tables.
    pub fn all() -> impl Iterator<Item = Table> {
        [Table::Samples]
            .into_iter()
            .chain(Resolution::ALL.map(Table::Rollups))
            .chain([Table::Anomalies, Table::Forecasts, Table::ForecastScores])
    }

    /// The name in SQL, in paths and in records: `samples`, `rollups_10s`, …
    pub fn name(self) -> &'static str {
        match self {
            Table::Samples => "samples",
            Table::Rollups(Resolution::TenSeconds) => "rollups_10s",
            Table::Rollups(Resolution::Minute) => "rollups_1m",
            Table::Rollups(Resolution::FiveMinutes) => "rollups_5m",
            Table::Rollups(Resolution::Hour) => "rollups_1h",
            Table::Rollups(Resolution::Day) => "rollups_1d",
            Table::Anomalies => "anomalies",
            Table::Forecasts => "forecasts",
            Table::ForecastScores => "forecast_scores",
        }
    }

    /// The table of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Table::all().find(|table| table.name() == name)
    }
}

impl From<Table> for String {
    fn from(table: Table) -> Self {
        table.name().to_owned()
    }
}

impl TryFrom<String> for Table {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        Table::from_name(&name).ok_or_else(|| format!("no table is called `{name}`"))
    }
}

/// One Parquet file of the archive, as the chain knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArchiveFile {
    /// Path below the archive's root: `samples/date=2026-11-21/p00003-….parquet`.
    pub path: String,
    /// The table it belongs to.
    pub table: Table,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// Rows.
    pub rows: u64,
    /// Earliest `time` of a row, microseconds, inclusive.
    pub time_min: Micros,
    /// Latest `time` of a row, microseconds, inclusive.
    pub time_max: Micros,
    /// Smallest metric name.
    pub metric_min: String,
    /// Largest metric name.
    pub metric_max: String,
}

/// What became of the samples of a stretch of the log (promise C4).
///
/// `read = accepted + duplicate + late + invalid`; the archive gains `accepted − replaced` rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Samples in the records read.
    pub read: u64,
    /// Samples that count: new ones, and ones that gave a known (series, time) another value.
    pub accepted: u64,
    /// Samples that were already there with the same value.
    pub duplicate: u64,
    /// Samples older than is taken.
    pub late: u64,
    /// Samples that can't be taken: too far in the future, or a time that no column holds.
    pub invalid: u64,
    /// Of the accepted: those that replaced a value.
    pub replaced: u64,
    /// Of the accepted: those that came after their 10 s window was sealed, and revised it.
    pub revised: u64,
    /// Records that could not be decoded and went to the dead letters (their samples can't be counted).
    pub dead_letters: u64,
    /// Anomalies that were not announced because the calendar says so. Links written before there were calendars say nothing of it.
    #[serde(default)]
    pub skipped_alarms: u64,
}

impl Counts {
    /// Adds another stretch.
    pub fn add(&mut self, other: &Counts) {
        self.read += other.read;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.invalid += other.invalid;
        self.replaced += other.replaced;
        self.revised += other.revised;
        self.dead_letters += other.dead_letters;
        self.skipped_alarms += other.skipped_alarms;
    }

    /// Whether every sample read is accounted for.
    pub fn balances(&self) -> bool {
        self.read == self.accepted + self.duplicate + self.late + self.invalid
    }
}

/// Where the state of a partition was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Path below the archive's root.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// The state is that before this record.
    pub next_offset: NextOffset,
}

/// Why a link was added to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// A new owner took the partition; the epoch rises, nothing else changes.
    Claim,
    /// A stretch of the log became final.
    Commit,
    /// Files were replaced by fewer, larger ones with the same rows.
    Compaction,
}

/// One link of a partition's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`CHECKPOINT_FORMAT`].
    pub format: u32,
    /// Which log the offsets belong to (cluster and topic): a rebuilt log must not be taken for the old one.
    pub log_id: String,
    /// The partition.
    pub partition: u32,
    /// Position in the chain: 0, 1, 2, … without a hole.
    pub sequence: u64,
    /// The owner's epoch. Never falls; a claim raises it by one.
    pub epoch: u64,
    /// Who wrote it, for people.
    pub owner: String,
    /// Why.
    pub kind: LinkKind,
    /// First offset covered (inclusive). Equals `end` of the previous link.
    pub start: NextOffset,
    /// End of what is covered (exclusive).
    pub end: NextOffset,
    /// Files that became part of the archive.
    pub added: Vec<ArchiveFile>,
    /// Paths of files that ceased to be part of it.
    pub removed: Vec<String>,
    /// What became of the samples of `[start, end)`.
    pub counts: Counts,
    /// Event time up to which windows are sealed.
    pub watermark: Watermark,
    /// Log clock at `end`: the latest append time seen, microseconds.
    pub log_clock: Micros,
    /// The newest saved state; its offset is at most `end`. `None` before the first.
    pub snapshot: Option<SnapshotRef>,
    /// SHA-256 of the previous link's bytes, 64 hexadecimal digits; empty for the first.
    pub previous: String,
}

impl Checkpoint {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        // A plain struct of numbers and strings always serialises.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// SHA-256 of a stored link, as the next one names it in `previous`.
    pub fn hash(bytes: &[u8]) -> String {
        hex::encode(Sha256::digest(bytes))
    }

    /// Reads a stored link.
    ///
    /// # Errors
    /// A message (corruption: set aside and stop the partition) if the bytes are not a link of a known format.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let link: Checkpoint =
            serde_json::from_slice(bytes).map_err(|e| format!("not a checkpoint record: {e}"))?;
        if link.format != CHECKPOINT_FORMAT {
            return Err(format!(
                "checkpoint format {}; this version reads {CHECKPOINT_FORMAT}",
                link.format
            ));
        }
        Ok(link)
    }
}
