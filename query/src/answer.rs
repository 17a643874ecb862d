//! The rows of a query on their way to who asked.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::{Stream, TryStreamExt};

use crate::QueryError;

/// Rows as they come. After an error nothing follows.
pub type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch, QueryError>> + Send>>;

/// What a reader of the answer should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Partitions whose newest rows another process holds; their rows end at their last checkpoint. Ascending.
    pub partitions_without_hot_rows: Vec<u32>,
}

impl Notes {
    /// Whether the answer lacks nothing.
    pub fn is_empty(&self) -> bool {
        self.partitions_without_hot_rows.is_empty()
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_empty() {
            let partitions: Vec<_> = self
                .partitions_without_hot_rows
                .iter()
                .map(u32::to_string)
                .collect();
            write!(
                f,
                "rows since the last checkpoint are missing for partitions {}: they are in the log, or another process holds them",
                partitions.join(", ")
            )?;
        }
        Ok(())
    }
}

/// The answer to a query. Dropping it stops the query.
pub struct Answer {
    /// Its columns. Names are unique: a repeated one has its position appended.
    pub schema: SchemaRef,
    /// What it lacks.
    pub notes: Notes,
    /// Its rows.
    pub rows: Batches,
}

impl Answer {
    /// Waits for all rows.
    ///
    /// # Errors
    /// The error that ended the rows early.
    pub async fn collect(self) -> Result<Vec<RecordBatch>, QueryError> {
        self.rows.try_collect().await
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("schema", &self.schema)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// The schema with unique column names: in JSON a repeated name would hide a column.
pub(crate) fn unique_names(schema: &Schema) -> SchemaRef {
    let mut taken: BTreeSet<String> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let mut used = BTreeSet::new();
    let rename = |(position, field): (usize, &Arc<Field>)| {
        let mut name = field.name().clone();
        if !used.insert(name.clone()) {
            name = format!("{name}_{}", position + 1);
            while !taken.insert(name.clone()) {
                name.push('_');
            }
        }
        // Whether nulls can occur is the planner's guess; a wrong one must not fail the answer.
        Arc::new(field.as_ref().clone().with_name(name).with_nullable(true))
    };
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .enumerate()
            .map(rename)
            .collect::<Vec<_>>(),
    ))
}
