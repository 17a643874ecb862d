//! The hot aggregates: recent rollup rows in an embedded store, by resolution and age. Never part of a commit: what is lost is computed again.
//!
//! A value is a *block*: all series' rows of one (resolution, window start, partition) that one flush brought, in columns. Its key is
//!
//! ```text
//! resolution (1 byte) │ window start (8, big-endian) │ partition (4) │ end offset of the flush (8)
//! ```
//!
//! so a range of time is a range of keys, and of several blocks of a window the later one in the log is the later key. A row of a later
//! offset wins, whatever the order of arrival: putting the same rows again, or older ones after newer, changes nothing (replay is harmless).
//! Many small blocks of a window (revisions) are merged into one. The names of series stand once, in a keyspace of their own.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use fjall::PersistMode;
use schemas::time::{DAY, HOUR, Micros};
use schemas::{
    ErrorCode, Fault, HasCode, HasFault, NextOffset, Resolution, RollupRow, Series, SeriesDirectory,
};

use crate::error_codes;
use block::Row;
use reopening::Reopening;
use store::Inner;

mod block;
mod columns;
mod known;
mod names;
mod reopening;
mod store;
#[cfg(test)]
mod tests;

/// How long rows of each resolution are kept, by window start, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// 10 s rows.
    pub ten_seconds: Micros,
    /// 1 min rows.
    pub minute: Micros,
    /// 5 min rows.
    pub five_minutes: Micros,
    /// 1 h rows.
    pub hour: Micros,
    /// 1 d rows.
    pub day: Micros,
}

impl Default for Retention {
    /// 10 s for 6 h, 1 min for 2 d, 5 min for 14 d, 1 h for 90 d, 1 d for 2 y.
    fn default() -> Self {
        Retention {
            ten_seconds: 6 * HOUR,
            minute: 2 * DAY,
            five_minutes: 14 * DAY,
            hour: 90 * DAY,
            day: 730 * DAY,
        }
    }
}

impl Retention {
    /// How long rows of a resolution are kept.
    pub fn of(&self, resolution: Resolution) -> Micros {
        match resolution {
            Resolution::TenSeconds => self.ten_seconds,
            Resolution::Minute => self.minute,
            Resolution::FiveMinutes => self.five_minutes,
            Resolution::Hour => self.hour,
            Resolution::Day => self.day,
        }
    }
}

/// What goes wrong with the aggregate store, by what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full or failing (outage: retry; a store that stays broken can be deleted, it fills again).
    #[error("aggregate store: {0}")]
    Outage(String),
    /// A write failed, and with it the store (outage: retry; the next use opens it anew).
    #[error(
        "aggregate store: it was closed after a failed write, as on a full or failing disk; it is opened anew by the next use"
    )]
    Closed,
    /// Stored bytes are damaged (corruption: they are left in place and skipped; the rows can be read from the archive).
    #[error("aggregate store: {what} is damaged: {detail}; it was left in place")]
    Corruption {
        /// Which block or name.
        what: String,
        /// What is wrong.
        detail: String,
    },
    /// The directory can't be used (bad configuration).
    #[error("aggregate store `{directory}`: {detail}")]
    BadConfig {
        /// The directory.
        directory: String,
        /// What to do.
        detail: String,
    },
    /// A mistake of ours.
    #[error("aggregate store: {0}")]
    Bug(String),
}

impl HasFault for StoreError {
    fn fault(&self) -> Fault {
        match self {
            StoreError::Outage(_) | StoreError::Closed => Fault::Outage,
            StoreError::Corruption { .. } => Fault::Corruption,
            StoreError::BadConfig { .. } => Fault::BadConfig,
            StoreError::Bug(_) => Fault::Bug,
        }
    }
}

impl HasCode for StoreError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            StoreError::Outage(_) | StoreError::Closed => &error_codes::STORE_UNAVAILABLE,
            StoreError::Corruption { .. } => &error_codes::STORE_DAMAGED,
            StoreError::BadConfig { .. } => &error_codes::STORE_SETTINGS,
            StoreError::Bug(_) => &error_codes::STORE_BUG,
        }
    }
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        match error {
            // One of its threads met an error that it can't go on after.
            fjall::Error::Poisoned => StoreError::Closed,
            error => StoreError::Outage(error.to_string()),
        }
    }
}

/// The rows that a question found, and what could not be read.
#[derive(Debug, Default)]
pub struct HotRows {
    /// Rows in the columns of the resolution's table; in order of window start, then partition, then series id.
    pub batches: Vec<RecordBatch>,
    /// Damaged blocks that were skipped.
    pub damaged: Vec<StoreError>,
}

/// The embedded aggregate store. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct AggregateStore {
    shared: Arc<Reopening>,
}

impl AggregateStore {
    /// Opens or creates a store in a directory of its own.
    ///
    /// # Errors
    /// `BadConfig` if another process has it open or the directory can't be used; `Outage` if the disk fails; `Corruption`: delete the
    /// directory, it fills again.
    pub fn open(directory: &Path, retention: Retention) -> Result<Self, StoreError> {
        let inner = Inner::open(directory, retention)?;
        Ok(AggregateStore {
            shared: Arc::new(Reopening::new(directory, retention, inner)),
        })
    }

    /// Stores rows of a partition as they are at `end` (the offset after the last record they were computed from): absolute values. Of two
    /// rows of one window and series, that of the later `end` stays, and of one `end` the one put later.
    ///
    /// Survives the death of the process; survives a power cut only after [`AggregateStore::sync`] (what is lost is computed again).
    ///
    /// # Errors
    /// `Outage` (retry); `Bug` if a row names a series outside the directory.
    pub async fn put(
        &self,
        partition: u32,
        directory: &SeriesDirectory,
        rows: &[RollupRow],
        end: NextOffset,
    ) -> Result<(), StoreError> {
        let mut series: HashMap<u32, Arc<Series>, foldhash::fast::FixedState> = HashMap::default();
        let mut windows: BTreeMap<(Resolution, Micros), Vec<Row>> = BTreeMap::new();
        for row in rows {
            let Some(found) = directory.get(row.series as usize) else {
                return Err(StoreError::Bug(format!(
                    "row of series {}; the directory holds {}",
                    row.series,
                    directory.len()
                )));
            };
            series
                .entry(row.series)
                .or_insert_with(|| Arc::clone(found));
            windows
                .entry((row.resolution, row.start))
                .or_default()
                .push(Row::of(found.id.0, end, row));
        }
        self.blocking(move |inner| inner.put(partition, series.into_values(), windows, end))
            .await
    }

    /// The rows of a resolution whose window starts in a stretch of time, computed from records past `after`.
    ///
    /// # Errors
    /// `Outage`. Damaged blocks are no error here: they are named in the answer.
    pub async fn rows(
        &self,
        resolution: Resolution,
        starts: Range<Micros>,
        partition: Option<u32>,
        after: NextOffset,
    ) -> Result<HotRows, StoreError> {
        self.blocking(move |inner| inner.rows(resolution, starts, partition, after))
            .await
    }

    /// Removes what is older than its retention at `now`. Says how many blocks it removed.
    ///
    /// # Errors
    /// `Outage` (try again later).
    pub async fn expire(&self, now: Micros) -> Result<u64, StoreError> {
        self.blocking(move |inner| inner.expire(now)).await
    }

    /// Makes all that was put durable across a power cut.
    ///
    /// # Errors
    /// `Outage`.
    pub async fn sync(&self) -> Result<(), StoreError> {
        self.blocking(|inner| Ok(inner.database.persist(PersistMode::SyncData)?))
            .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.with(work))
            .await
            .map_err(|error| StoreError::Bug(format!("a blocking task died: {error}")))?
    }
}
