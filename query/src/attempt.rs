//! One attempt at a query: from its text to its rows on one view of the tables, and what its failure means.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::{FutureExt, StreamExt};

use crate::answer::unique_names;
use crate::error::Failure;
use crate::memory::{NestedPool, Refused};
use crate::provider::scanned;
use crate::shared::{Message, Sender, Shared};
use crate::snapshot::Snapshot;
use crate::store::QueryStore;
use crate::{QueryError, guard, sandbox, yielding};

/// What stopped an attempt.
pub(crate) enum Trouble {
    Refused(QueryError),
    Failed(DataFusionError),
    Panicked(String),
}

impl From<DataFusionError> for Trouble {
    fn from(error: DataFusionError) -> Self {
        Trouble::Failed(error)
    }
}

impl From<QueryError> for Trouble {
    fn from(error: QueryError) -> Self {
        Trouble::Refused(error)
    }
}

/// A query whose first rows are there.
pub(crate) struct Started {
    schema: SchemaRef,
    first: Option<RecordBatch>,
    rest: SendableRecordBatchStream,
}

/// One attempt at a query, on one view of the tables.
pub(crate) struct Attempt {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    pool: Mutex<Option<Arc<NestedPool>>>,
}

impl Attempt {
    /// An attempt that has not looked yet.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let store = Arc::new(QueryStore::new(
            Arc::clone(&shared.archive),
            shared.verified.clone(),
        ));
        let snapshot = Arc::new(Snapshot::new(Arc::clone(&shared.tables), store));
        Attempt {
            shared: Arc::clone(shared),
            snapshot,
            pool: Mutex::default(),
        }
    }

    /// A file that the attempt asked for and that is not there.
    pub(crate) fn missing(&self) -> Option<String> {
        self.snapshot.store.missing()
    }

    /// Plans the query and waits for its first rows.
    pub(crate) async fn start(&self, sql: &str) -> Result<Started, Trouble> {
        // Damaged files and extreme values can make decoders and kernels panic; that ends this query, nothing else.
        match AssertUnwindSafe(self.start_unguarded(sql))
            .catch_unwind()
            .await
        {
            Ok(result) => result,
            Err(panic) => Err(Trouble::Panicked(panic_message(panic.as_ref()))),
        }
    }

    async fn start_unguarded(&self, sql: &str) -> Result<Started, Trouble> {
        let statement = sandbox::parse(sql)?;
        let session = self.shared.sessions()?.open(&self.snapshot)?;
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&session.pool));
        let state = session.state;
        let plan = state.statement_to_plan(statement).await?;
        sandbox::check_plan(&plan)?;
        let plan = guard::apply(plan)?;
        let plan = state.optimize(&plan)?;
        self.snapshot.take(scanned(&plan)?).await?;
        let plan = state
            .query_planner()
            .create_physical_plan(&plan, &state)
            .await?;
        let plan = yielding::cooperative(plan)?;
        let mut rest = execute_stream(plan, state.task_ctx())?;
        let mut first = None;
        while let Some(batch) = rest.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                first = Some(batch);
                break;
            }
        }
        Ok(Started {
            schema: unique_names(&rest.schema()),
            first,
            rest,
        })
    }

    /// Sends the rows of an attempt that started.
    pub(crate) async fn send(&self, started: Started, sender: &Sender) -> Result<(), QueryError> {
        let Started {
            schema,
            first,
            mut rest,
        } = started;
        // A reader that is gone ends the query: its stream is dropped.
        if sender
            .send(Ok(Message::Head(
                Arc::clone(&schema),
                self.snapshot.notes(),
            )))
            .await
            .is_err()
        {
            return Ok(());
        }
        let rows_max = self.shared.limits.rows_max;
        let (mut next, mut rows) = (first, 0u64);
        while let Some(batch) = next {
            let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())
                .map_err(|error| {
                    QueryError::Bug(format!("rows do not fit their schema: {error}"))
                })?;
            let room = usize::try_from(rows_max - rows).unwrap_or(usize::MAX);
            let (fits, batch) = (
                batch.num_rows() <= room,
                if batch.num_rows() <= room {
                    batch
                } else {
                    batch.slice(0, room)
                },
            );
            rows += batch.num_rows() as u64;
            if batch.num_rows() > 0 && sender.send(Ok(Message::Rows(batch))).await.is_err() {
                return Ok(());
            }
            if !fits {
                return Err(QueryError::Limit {
                    what: "the answer has too many rows".to_owned(),
                    value: format!("{rows_max} rows"),
                    setting: "query.rows_max",
                    help: "Aggregate, narrow the query, or end it with LIMIT",
                });
            }
            next = match AssertUnwindSafe(rest.next()).catch_unwind().await {
                Ok(None) => None,
                Ok(Some(Ok(batch))) => Some(batch),
                Ok(Some(Err(error))) => return Err(self.explain(Trouble::Failed(error)).await),
                Err(panic) => {
                    return Err(self
                        .explain(Trouble::Panicked(panic_message(panic.as_ref())))
                        .await);
                }
            };
        }
        let _ = sender.send(Ok(Message::End)).await;
        Ok(())
    }

    /// Turns what stopped the attempt into what the asker should know.
    pub(crate) async fn explain(&self, trouble: Trouble) -> QueryError {
        let store = &self.snapshot.store;
        let error = match trouble {
            Trouble::Refused(error) => return error,
            Trouble::Failed(error) => error,
            Trouble::Panicked(message) => {
                let files = store.find_damage().await;
                return if files.is_empty() {
                    QueryError::Bug(message)
                } else {
                    QueryError::Damaged {
                        files,
                        cause: message,
                    }
                };
            }
        };
        if let Some(file) = store.missing() {
            return QueryError::Missing { file };
        }
        let files = store.damaged();
        if !files.is_empty() {
            return QueryError::Damaged {
                files,
                cause: "it is not what was written".to_owned(),
            };
        }
        match Failure::of(&error) {
            Failure::Ours(error) => error,
            Failure::Sql(message) => QueryError::Sql(message),
            Failure::Resources(message) => self.resources(message),
            Failure::Data(message) => {
                let files = store.find_damage().await;
                if files.is_empty() {
                    QueryError::Data(message)
                } else {
                    QueryError::Damaged {
                        files,
                        cause: message,
                    }
                }
            }
            Failure::Read(message) if message.contains("used disk space during the spilling") => {
                self.resources(message)
            }
            Failure::Read(message) => {
                let files = store.find_damage().await;
                if files.is_empty() {
                    QueryError::Store(message)
                } else {
                    QueryError::Damaged {
                        files,
                        cause: message,
                    }
                }
            }
            Failure::Unexpected(message) => {
                let files = store.find_damage().await;
                if files.is_empty() {
                    QueryError::Bug(message)
                } else {
                    QueryError::Damaged {
                        files,
                        cause: message,
                    }
                }
            }
        }
    }

    fn resources(&self, message: String) -> QueryError {
        let limits = &self.shared.limits;
        let refused = self
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map_or(Refused::Nobody, |pool| pool.refused());
        let (what, bytes, setting) = match refused {
            // Memory was refused before, which is why the query spilled.
            _ if message.contains("disk space") => (
                "the query spills too much to disk",
                limits.spill_bytes,
                "query.spill",
            ),
            Refused::Query => (
                "the query needs too much memory",
                limits.memory_bytes as u64,
                "query.memory",
            ),
            Refused::Total => (
                "all queries together need too much memory",
                limits.memory_bytes_total as u64,
                "query.memory_total",
            ),
            Refused::Nobody => return QueryError::Data(message),
        };
        tracing::debug!(message, "a query ran out of resources");
        QueryError::Limit {
            what: what.to_owned(),
            value: format!("{bytes} bytes"),
            setting,
            help: "Ask for less at once: a shorter `time` range, fewer groups, ORDER BY with LIMIT",
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked without a message".to_owned())
}
