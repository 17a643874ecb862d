//! What queries see of a partition: the committed files and the rows past their end, taken together under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use processors::PartitionState;
use schemas::{
    Anomaly, ArchiveFile, Forecast, ForecastScore, NextOffset, RollupRow, SampleRows,
    SeriesDirectory, Table,
};

/// The state of a running partition and the archive as of its last link. The partition task is the only writer.
pub(crate) struct Live {
    inner: Mutex<LiveInner>,
}

pub(crate) struct LiveInner {
    pub(crate) state: PartitionState,
    pub(crate) files: Arc<Vec<ArchiveFile>>,
    pub(crate) end: NextOffset,
}

impl Live {
    pub(crate) fn new(
        state: PartitionState,
        files: Arc<Vec<ArchiveFile>>,
        end: NextOffset,
    ) -> Self {
        Live {
            inner: Mutex::new(LiveInner { state, files, end }),
        }
    }

    /// Held for a step or a copy, never across I/O.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LiveInner> {
        // A panic in a step ends the task, which is then restarted with a new state; readers may still copy the old one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self, partition: u32, table: Table) -> PartitionView {
        let live = self.lock();
        let state = &live.state;
        // While replaying, what is stepped over is in the files already.
        let hot = match table {
            Table::Samples => HotRows::Samples(state.directory().clone(), state.hot_samples()),
            Table::Rollups(resolution) => {
                let rows = state
                    .pending()
                    .rollups
                    .iter()
                    .filter(|row| row.resolution == resolution);
                HotRows::Rollups(state.directory().clone(), rows.copied().collect())
            }
            Table::Anomalies => HotRows::Anomalies(state.pending().anomalies.clone()),
            Table::Forecasts => HotRows::Forecasts(state.pending().forecasts.clone()),
            Table::ForecastScores => {
                HotRows::ForecastScores(state.pending().forecast_scores.clone())
            }
        };
        PartitionView {
            partition,
            files: Arc::clone(&live.files),
            end: live.end,
            hot,
        }
    }
}

/// One partition of one table at one moment: no row is both in a file and hot.
#[derive(Debug, Clone)]
pub struct PartitionView {
    /// The partition.
    pub partition: u32,
    /// All committed files of the partition, of every table.
    pub files: Arc<Vec<ArchiveFile>>,
    /// The files cover the log up to here.
    pub end: NextOffset,
    /// The rows past that.
    pub hot: HotRows,
}

/// Rows that no file holds yet.
#[derive(Debug, Clone)]
pub enum HotRows {
    /// Of `samples`.
    Samples(SeriesDirectory, SampleRows),
    /// Of one table of rollups.
    Rollups(SeriesDirectory, Vec<RollupRow>),
    /// Of `anomalies`.
    Anomalies(Vec<Anomaly>),
    /// Of `forecasts`.
    Forecasts(Vec<Forecast>),
    /// Of `forecast_scores`.
    ForecastScores(Vec<ForecastScore>),
}
