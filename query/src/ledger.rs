//! The tables that tell of the pipeline itself: `checkpoints` and `dead_letters`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use schemas::columns::time_type;

use crate::checkpoint_rows::checkpoints_schema;
use crate::provider::memory_scan;
use crate::snapshot::Snapshot;

/// The columns of `dead_letters`, one row for each record that could not be decoded, or not all of it. What is not known is null, so all of a source but its place
/// for a record of our own log; `headers` are those of the record's sender, JSON `[["name","value"],…]`.
pub fn dead_letters_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("time", time_type(), false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("error_code", DataType::Utf8, true),
        Field::new("source", DataType::Utf8, true),
        Field::new("source_topic", DataType::Utf8, true),
        Field::new("source_partition", DataType::Int32, true),
        Field::new("source_offset", DataType::Int64, true),
        Field::new("source_time", time_type(), true),
        Field::new("configured_format", DataType::Utf8, true),
        Field::new("guessed_format", DataType::Utf8, true),
        Field::new("replayed_at", time_type(), true),
        Field::new("key", DataType::Binary, true),
        Field::new("headers", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]))
}

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ledger {
    /// `checkpoints`.
    Checkpoints,
    /// `dead_letters`.
    DeadLetters,
}

impl Ledger {
    /// The table of a name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Ledger::Checkpoints, Ledger::DeadLetters]
            .into_iter()
            .find(|ledger| ledger.name() == name)
    }

    /// Its name in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ledger::Checkpoints => "checkpoints",
            Ledger::DeadLetters => "dead_letters",
        }
    }
}

/// One of the two tables, as one query sees it.
#[derive(Debug)]
pub(crate) struct LedgerTable {
    ledger: Ledger,
    snapshot: Arc<Snapshot>,
}

impl LedgerTable {
    /// The table within a snapshot.
    pub(crate) fn new(ledger: Ledger, snapshot: Arc<Snapshot>) -> Self {
        LedgerTable { ledger, snapshot }
    }
}

#[async_trait]
impl TableProvider for LedgerTable {
    fn schema(&self) -> SchemaRef {
        match self.ledger {
            Ledger::Checkpoints => checkpoints_schema(),
            Ledger::DeadLetters => dead_letters_schema(),
        }
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = match self.ledger {
            Ledger::Checkpoints => vec![self.snapshot.checkpoints().await?],
            Ledger::DeadLetters => self.snapshot.dead_letters().await?,
        };
        memory_scan(self.ledger.name(), &rows, &self.schema(), projection)
    }
}
