//! What the queries of one engine share, and the messages from a query's task to its reader.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use object_store::ObjectStore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use crate::session::Sessions;
use crate::store::Verified;
use crate::{Limits, Notes, QueryError, Tables};

/// What the queries of one engine share: stores, limits, turns.
pub(crate) struct Shared {
    pub(crate) archive: Arc<dyn ObjectStore>,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) limits: Limits,
    sessions: Mutex<Option<Arc<Sessions>>>,
    pub(crate) verified: Option<Arc<Verified>>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What the query's task tells its reader.
pub(crate) enum Message {
    Head(SchemaRef, Notes),
    Rows(RecordBatch),
    End,
}

pub(crate) type Sender = mpsc::Sender<Result<Message, QueryError>>;

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Nobody has asked yet.
    pub(crate) fn new(
        archive: Arc<dyn ObjectStore>,
        tables: Arc<dyn Tables>,
        limits: Limits,
    ) -> Shared {
        Shared {
            archive,
            tables,
            sessions: Mutex::default(),
            verified: limits.verify_files.then(Arc::default),
            turns: Arc::new(Semaphore::new(limits.concurrent_max.max(1))),
            waiting: AtomicUsize::new(0),
            limits,
        }
    }

    /// Waits for a turn, within limits.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let limits = &self.limits;
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= limits.waiting_max {
            let value = format!("{} queries", limits.waiting_max);
            return Err(QueryError::Busy {
                what: "too many queries wait already",
                value,
                setting: "query.waiting_max",
            });
        }
        match timeout(limits.wait, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(QueryError::Stopped),
            Err(_) => {
                let value = format!(
                    "{} at once, {} ms of waiting",
                    limits.concurrent_max,
                    limits.wait.as_millis()
                );
                Err(QueryError::Busy {
                    what: "too many queries run already",
                    value,
                    setting: "query.concurrent_max` and `query.wait",
                })
            }
        }
    }

    /// The next message of a query's task, before the deadline.
    pub(crate) async fn receive(
        &self,
        receiver: &mut mpsc::Receiver<Result<Message, QueryError>>,
        deadline: Instant,
    ) -> Result<Message, QueryError> {
        match timeout_at(deadline, receiver.recv()).await {
            Ok(Some(message)) => message,
            // The task stops at the deadline too, and may be first.
            Ok(None) if Instant::now() < deadline => Err(QueryError::Stopped),
            Ok(None) | Err(_) => Err(QueryError::Limit {
                what: "the query took too long".to_owned(),
                value: format!("{} ms", self.limits.timeout.as_millis()),
                setting: "query.timeout",
                help: "Ask for less: a shorter `time` range, one `metric`, a coarser `rollups_…` table",
            }),
        }
    }

    /// What all sessions share, made by the first query.
    pub(crate) fn sessions(&self) -> Result<Arc<Sessions>, DataFusionError> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = sessions.as_ref() {
            return Ok(Arc::clone(sessions));
        }
        Ok(Arc::clone(
            sessions.insert(Arc::new(Sessions::new(&self.limits)?)),
        ))
    }
}
