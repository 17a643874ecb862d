//! What the engine asks of the stores: which files and hot rows a table has at one moment.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use schemas::{ArchiveFile, Checkpoint, ErrorCode, Fault, HasCode, HasFault, Micros, Table};

/// What a scan may leave out. Bounds are inclusive; `None` means unbounded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScanBounds {
    /// Earliest `time` asked for.
    pub time_min: Option<Micros>,
    /// Latest `time` asked for.
    pub time_max: Option<Micros>,
    /// Metric names asked for; `None`: all.
    pub metrics: Option<Vec<String>>,
    /// Columns asked for; `None`: all.
    pub columns: Option<Vec<String>>,
}

impl ScanBounds {
    /// Whether a column is asked for.
    pub fn wants_column(&self, name: &str) -> bool {
        self.columns
            .as_ref()
            .is_none_or(|columns| columns.iter().any(|column| column == name))
    }

    /// Whether a file may hold a row inside the bounds, by its statistics in the chain.
    pub fn may_hold(&self, file: &ArchiveFile) -> bool {
        self.time_min.is_none_or(|min| file.time_max >= min)
            && self.time_max.is_none_or(|max| file.time_min <= max)
            && self.metrics.as_ref().is_none_or(|metrics| {
                metrics
                    .iter()
                    .any(|metric| *metric >= file.metric_min && *metric <= file.metric_max)
            })
    }
}

/// Everything there is of one table at one moment: per partition the committed files and the rows past their end, never one row in both.
#[derive(Debug, Clone, Default)]
pub struct TableView {
    /// Committed files.
    pub files: Vec<ArchiveFile>,
    /// Hot rows, with at least the columns asked for, named and typed as in [`schemas::columns::table_schema`]. May hold rows outside the bounds.
    pub hot: Vec<RecordBatch>,
    /// Partitions whose hot rows are held by another process, so that the answer may lack up to a checkpoint interval of them.
    pub partitions_without_hot_rows: Vec<u32>,
}

/// Why the tables can't be read now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ViewError {
    /// What happened, where, and what to do.
    pub message: String,
    /// Whose fault it is.
    pub fault: Fault,
}

impl HasFault for ViewError {
    fn fault(&self) -> Fault {
        self.fault
    }
}

/// A view can fail by every room's errors, of which it keeps the fault alone.
impl HasCode for ViewError {
    fn code(&self) -> &'static ErrorCode {
        self.fault.code()
    }
}

/// Where the engine learns what the tables hold. One implementation reads the chains of a data directory or bucket; the running
/// pipeline's adds its hot rows.
#[async_trait]
pub trait Tables: Send + Sync + 'static {
    /// The view of one table.
    async fn view(&self, table: Table, bounds: &ScanBounds) -> Result<TableView, ViewError>;

    /// The views of all tables of one query, in the order asked. Who can take them at one instant does so here, so that a join of two
    /// tables never sees a checkpoint in one and not in the other; by default they are taken one after the other.
    async fn views(&self, wanted: &[(Table, ScanBounds)]) -> Result<Vec<TableView>, ViewError> {
        let mut views = Vec::with_capacity(wanted.len());
        for (table, bounds) in wanted {
            views.push(self.view(*table, bounds).await?);
        }
        Ok(views)
    }

    /// All links of all partitions' chains, for the table `checkpoints`.
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, ViewError>;

    /// The table `dead_letters`, in the columns of [`crate::dead_letters_schema`].
    async fn dead_letters(&self) -> Result<Vec<RecordBatch>, ViewError>;
}
