//! One query's look at the tables: each is asked for once, so that a table that occurs twice is the same table twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use datafusion::error::Result;
use schemas::Table;
use tokio::sync::OnceCell;

use crate::checkpoint_rows::checkpoint_rows;
use crate::store::QueryStore;
use crate::{Notes, QueryError, ScanBounds, TableView, Tables};

/// What one attempt of one query sees.
pub(crate) struct Snapshot {
    tables: Arc<dyn Tables>,
    /// The store that the attempt reads through.
    pub(crate) store: Arc<QueryStore>,
    views: Mutex<BTreeMap<Table, Arc<TableView>>>,
    checkpoints: OnceCell<RecordBatch>,
    dead_letters: OnceCell<Vec<RecordBatch>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot {
    /// A snapshot that has not looked yet.
    pub(crate) fn new(tables: Arc<dyn Tables>, store: Arc<QueryStore>) -> Self {
        Snapshot {
            tables,
            store,
            views: Mutex::default(),
            checkpoints: OnceCell::new(),
            dead_letters: OnceCell::new(),
        }
    }

    /// Looks at each of the tables that a plan scans, within its bounds.
    pub(crate) async fn take(&self, wanted: Vec<(Table, ScanBounds)>) -> Result<()> {
        let views = self.tables.views(&wanted).await.map_err(QueryError::from)?;
        let mut known = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(
            wanted
                .into_iter()
                .map(|(table, _)| table)
                .zip(views.into_iter().map(Arc::new)),
        );
        Ok(())
    }

    /// The view of a table.
    pub(crate) async fn view(&self, table: Table) -> Result<Arc<TableView>> {
        let known = self
            .views
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&table)
            .cloned();
        if let Some(view) = known {
            return Ok(view);
        }
        // The physical planner came upon a scan that the logical plan did not show: everything is asked for, and kept.
        let view = Arc::new(
            self.tables
                .view(table, &ScanBounds::default())
                .await
                .map_err(QueryError::from)?,
        );
        Ok(Arc::clone(
            self.views
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(table)
                .or_insert(view),
        ))
    }

    /// The table `checkpoints`.
    pub(crate) async fn checkpoints(&self) -> Result<RecordBatch> {
        let rows = self.checkpoints.get_or_try_init(|| async {
            let links = self.tables.checkpoints().await.map_err(QueryError::from)?;
            checkpoint_rows(&links)
        });
        rows.await.cloned()
    }

    /// The table `dead_letters`.
    pub(crate) async fn dead_letters(&self) -> Result<Vec<RecordBatch>> {
        let rows = self.dead_letters.get_or_try_init(|| async {
            Ok(self.tables.dead_letters().await.map_err(QueryError::from)?)
        });
        rows.await.cloned()
    }

    /// What the answer lacks.
    pub(crate) fn notes(&self) -> Notes {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking: BTreeSet<u32> = views
            .values()
            .flat_map(|view| view.partitions_without_hot_rows.iter().copied())
            .collect();
        Notes {
            partitions_without_hot_rows: lacking.into_iter().collect(),
        }
    }
}
