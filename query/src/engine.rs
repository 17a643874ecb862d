//! Takes SQL, gives rows: admission, the attempt, the one retry, the limits. Knows nothing of HTTP or terminals.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::{FutureExt, StreamExt, stream};
use object_store::ObjectStore;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::answer::unique_names;
use crate::error::Failure;
use crate::memory::{NestedPool, Refused};
use crate::session::Sessions;
use crate::snapshot::Snapshot;
use crate::store::{QueryStore, Verified};
use crate::{Answer, Limits, Notes, QueryError, Tables, guard, sandbox};

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

struct Shared {
    archive: Arc<dyn ObjectStore>,
    tables: Arc<dyn Tables>,
    limits: Limits,
    sessions: Mutex<Option<Arc<Sessions>>>,
    verified: Option<Arc<Verified>>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What the query's task tells its reader.
enum Message {
    Head(SchemaRef, Notes),
    Rows(RecordBatch),
    End,
}

type Sender = mpsc::Sender<Result<Message, QueryError>>;

impl Engine {
    /// An engine over the archive's store (paths below the archive's root) and its tables.
    pub fn new(store: Arc<dyn ObjectStore>, tables: Arc<dyn Tables>, limits: Limits) -> Engine {
        let turns = Arc::new(Semaphore::new(limits.concurrent_max.max(1)));
        let verified = limits.verify_files.then(Arc::default);
        let shared = Shared { archive: store, tables, limits, sessions: Mutex::default(), verified, turns, waiting: AtomicUsize::new(0) };
        Engine { shared: Arc::new(shared), runtime: Mutex::default() }
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
        let task = run(Arc::clone(&self.shared), sql.to_owned(), sender, deadline, turn);
        let stop = StopOnDrop(self.handle()?.spawn(task).abort_handle());
        let shared = Arc::clone(&self.shared);
        match shared.receive(&mut receiver, deadline).await? {
            Message::Head(schema, notes) => {
                let rows = stream::unfold(Some((receiver, stop, shared)), move |state| async move {
                    let (mut receiver, stop, shared) = state?;
                    match shared.receive(&mut receiver, deadline).await {
                        Ok(Message::Rows(batch)) => Some((Ok(batch), Some((receiver, stop, shared)))),
                        Ok(Message::Head(..) | Message::End) => None,
                        Err(error) => Some((Err(error), None)),
                    }
                });
                Ok(Answer { schema, notes, rows: rows.boxed() })
            }
            Message::Rows(_) | Message::End => Err(QueryError::Bug("rows came before their schema".to_owned())),
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
        if let Some(runtime) = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
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

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    async fn turn(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let limits = &self.limits;
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= limits.waiting_max {
            let value = format!("{} queries", limits.waiting_max);
            return Err(QueryError::Busy { what: "too many queries wait already", value, setting: "query.waiting_max" });
        }
        match timeout(limits.wait, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(QueryError::Stopped),
            Err(_) => {
                let value = format!("{} at once, {} ms of waiting", limits.concurrent_max, limits.wait.as_millis());
                Err(QueryError::Busy { what: "too many queries run already", value, setting: "query.concurrent_max` and `query.wait_ms" })
            }
        }
    }

    async fn receive(&self, receiver: &mut mpsc::Receiver<Result<Message, QueryError>>, deadline: Instant) -> Result<Message, QueryError> {
        match timeout_at(deadline, receiver.recv()).await {
            Ok(Some(message)) => message,
            // The task stops at the deadline too, and may be first.
            Ok(None) if Instant::now() < deadline => Err(QueryError::Stopped),
            Ok(None) | Err(_) => Err(QueryError::Limit {
                what: "the query took too long".to_owned(),
                value: format!("{} ms", self.limits.timeout.as_millis()),
                setting: "query.timeout_ms",
                help: "Ask for less: a shorter `time` range, one `metric`, a coarser `rollups_…` table",
            }),
        }
    }

    fn sessions(&self) -> Result<Arc<Sessions>, DataFusionError> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = sessions.as_ref() {
            return Ok(Arc::clone(sessions));
        }
        Ok(Arc::clone(sessions.insert(Arc::new(Sessions::new(&self.limits)?))))
    }
}

/// The query's task: attempts, then rows until the end, a limit, the deadline, or until nobody listens.
async fn run(shared: Arc<Shared>, sql: String, sender: Sender, deadline: Instant, turn: OwnedSemaphorePermit) {
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
        Err(_) if first.snapshot.store.missing().is_some() => {
            tracing::info!(file = first.snapshot.store.missing(), "a file left the archive while a query began; taking a fresh view");
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

/// What stopped an attempt.
enum Trouble {
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

struct Started {
    schema: SchemaRef,
    first: Option<RecordBatch>,
    rest: SendableRecordBatchStream,
}

/// One attempt at a query, on one view of the tables.
struct Attempt {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    pool: Mutex<Option<Arc<NestedPool>>>,
}

impl Attempt {
    fn new(shared: &Arc<Shared>) -> Self {
        let store = Arc::new(QueryStore::new(Arc::clone(&shared.archive), shared.verified.clone()));
        let snapshot = Arc::new(Snapshot::new(Arc::clone(&shared.tables), store));
        Attempt { shared: Arc::clone(shared), snapshot, pool: Mutex::default() }
    }

    /// Plans the query and waits for its first rows.
    async fn start(&self, sql: &str) -> Result<Started, Trouble> {
        // Damaged files and extreme values can make decoders and kernels panic; that ends this query, nothing else.
        match AssertUnwindSafe(self.start_unguarded(sql)).catch_unwind().await {
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
        self.snapshot.take(&plan).await?;
        let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
        let mut rest = execute_stream(plan, state.task_ctx())?;
        let mut first = None;
        while let Some(batch) = rest.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                first = Some(batch);
                break;
            }
        }
        Ok(Started { schema: unique_names(&rest.schema()), first, rest })
    }

    /// Sends the rows of an attempt that started.
    async fn send(&self, started: Started, sender: &Sender) -> Result<(), QueryError> {
        let Started { schema, first, mut rest } = started;
        // A reader that is gone ends the query: its stream is dropped.
        if sender.send(Ok(Message::Head(Arc::clone(&schema), self.snapshot.notes()))).await.is_err() {
            return Ok(());
        }
        let rows_max = self.shared.limits.rows_max;
        let (mut next, mut rows) = (first, 0u64);
        while let Some(batch) = next {
            let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())
                .map_err(|error| QueryError::Bug(format!("rows do not fit their schema: {error}")))?;
            let room = usize::try_from(rows_max - rows).unwrap_or(usize::MAX);
            let (fits, batch) = (batch.num_rows() <= room, if batch.num_rows() <= room { batch } else { batch.slice(0, room) });
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
                Err(panic) => return Err(self.explain(Trouble::Panicked(panic_message(panic.as_ref()))).await),
            };
        }
        let _ = sender.send(Ok(Message::End)).await;
        Ok(())
    }

    /// Turns what stopped the attempt into what the asker should know.
    async fn explain(&self, trouble: Trouble) -> QueryError {
        let store = &self.snapshot.store;
        let error = match trouble {
            Trouble::Refused(error) => return error,
            Trouble::Failed(error) => error,
            Trouble::Panicked(message) => {
                let files = store.find_damage().await;
                return if files.is_empty() { QueryError::Bug(message) } else { QueryError::Damaged { files, cause: message } };
            }
        };
        if let Some(file) = store.missing() {
            return QueryError::Missing { file };
        }
        let files = store.damaged();
        if !files.is_empty() {
            return QueryError::Damaged { files, cause: "it is not what was written".to_owned() };
        }
        match Failure::of(&error) {
            Failure::Ours(error) => error,
            Failure::Sql(message) => QueryError::Sql(message),
            Failure::Resources(message) => self.resources(message),
            Failure::Data(message) => {
                let files = store.find_damage().await;
                if files.is_empty() { QueryError::Data(message) } else { QueryError::Damaged { files, cause: message } }
            }
            Failure::Read(message) if message.contains("used disk space during the spilling") => self.resources(message),
            Failure::Read(message) => {
                let files = store.find_damage().await;
                if files.is_empty() { QueryError::Store(message) } else { QueryError::Damaged { files, cause: message } }
            }
            Failure::Unexpected(message) => {
                let files = store.find_damage().await;
                if files.is_empty() { QueryError::Bug(message) } else { QueryError::Damaged { files, cause: message } }
            }
        }
    }

    fn resources(&self, message: String) -> QueryError {
        let limits = &self.shared.limits;
        let refused = self.pool.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(Refused::Nobody, |pool| pool.refused());
        let (what, bytes, setting) = match refused {
            // Memory was refused before, which is why the query spilled.
            _ if message.contains("disk space") => ("the query spills too much to disk", limits.spill_bytes, "query.spill_bytes"),
            Refused::Query => ("the query needs too much memory", limits.memory_bytes as u64, "query.memory_bytes"),
            Refused::Total => ("all queries together need too much memory", limits.memory_bytes_total as u64, "query.memory_bytes_total"),
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
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked without a message".to_owned())
}
