//! Takes SQL, gives rows: admission, the attempt, the one retry, the limits. Knows nothing of HTTP or terminals.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, stream};
use object_store::ObjectStore;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::attempt::Attempt;
use crate::shared::{Message, Sender, Shared};
use crate::{Answer, Limits, QueryError, Tables, sandbox};

/// 2 batches between the query and its reader: one in the making while one is sent. When full, the query waits.
const BATCHES_AHEAD: usize = 2;

/// 32 MiB of stack for the query threads: planners recurse through expressions. Only what is touched is ever allocated.
const STACK_BYTES: usize = 32 << 20;

/// Answers SQL over the archive and the hot rows.
///
/// Queries run on threads of their own, so that a heavy one delays nobody's requests, and each sees every table at one moment. A file that
/// a compaction removed between that moment and the read is no error: the query starts again on a fresh look, once, if no row was sent.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    /// Started by the first query.
    runtime: Mutex<Option<Runtime>>,
}

impl Engine {
    /// An engine over the archive's store (paths below the archive's root) and its tables.
    pub fn new(store: Arc<dyn ObjectStore>, tables: Arc<dyn Tables>, limits: Limits) -> Engine {
        Engine {
            shared: Arc::new(Shared::new(store, tables, limits)),
            runtime: Mutex::default(),
        }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Runs one statement that reads. Returns with the first rows, so that most errors come before any.
    ///
    /// # Errors
    /// By [`QueryError`]: `BadInput` for text that is wrong, forbidden or too costly (change the query), `Outage` if the engine is busy or a
    /// store is away (try again), `Corruption` for a damaged or missing file (the message names it), `Bug` for a mistake of ours.
    pub async fn query(&self, sql: &str) -> Result<Answer, QueryError> {
        sandbox::check_size(sql)?;
        let turn = self.shared.turn().await?;
        let deadline = Instant::now() + self.shared.limits.timeout;
        let (sender, mut receiver) = mpsc::channel(BATCHES_AHEAD);
        let task = run(
            Arc::clone(&self.shared),
            sql.to_owned(),
            sender,
            deadline,
            turn,
        );
        let stop = StopOnDrop(self.handle()?.spawn(task).abort_handle());
        let shared = Arc::clone(&self.shared);
        match shared.receive(&mut receiver, deadline).await? {
            Message::Head(schema, notes) => {
                let rows =
                    stream::unfold(Some((receiver, stop, shared)), move |state| async move {
                        let (mut receiver, stop, shared) = state?;
                        match shared.receive(&mut receiver, deadline).await {
                            Ok(Message::Rows(batch)) => {
                                Some((Ok(batch), Some((receiver, stop, shared))))
                            }
                            Ok(Message::Head(..) | Message::End) => None,
                            Err(error) => Some((Err(error), None)),
                        }
                    });
                Ok(Answer {
                    schema,
                    notes,
                    rows: rows.boxed(),
                })
            }
            Message::Rows(_) | Message::End => {
                Err(QueryError::Bug("rows came before their schema".to_owned()))
            }
        }
    }

    fn handle(&self) -> Result<Handle, QueryError> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let started = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.shared.limits.threads.max(1))
            .thread_name("tidewatch-query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| QueryError::Store(format!("no threads for queries: {error}")))?;
        Ok(runtime.insert(started).handle().clone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self
            .runtime
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            // A plain drop would wait for running queries, which an async caller must not.
            runtime.shutdown_background();
        }
    }
}

struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The query's task: attempts, then rows until the end, a limit, the deadline, or until nobody listens.
async fn run(
    shared: Arc<Shared>,
    sql: String,
    sender: Sender,
    deadline: Instant,
    turn: OwnedSemaphorePermit,
) {
    let work = async {
        if let Err(error) = attempts(&shared, &sql, &sender).await {
            // Who asked may be gone.
            let _ = sender.send(Err(error)).await;
        }
    };
    let _ = timeout_at(deadline, work).await;
    drop(turn);
}

async fn attempts(shared: &Arc<Shared>, sql: &str, sender: &Sender) -> Result<(), QueryError> {
    let first = Attempt::new(shared);
    let (attempt, started) = match first.start(sql).await {
        Ok(started) => (first, started),
        Err(_) if first.missing().is_some() => {
            tracing::info!(
                file = first.missing(),
                "a file left the archive while a query began; taking a fresh view"
            );
            let second = Attempt::new(shared);
            match second.start(sql).await {
                Ok(started) => (second, started),
                Err(trouble) => return Err(second.explain(trouble).await),
            }
        }
        Err(trouble) => return Err(first.explain(trouble).await),
    };
    attempt.send(started, sender).await
}
