//! Asks the log again and again whether it takes samples, so that readiness and metrics tell at once what keeps them out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{Bus, BusError};
use tracing::{info, warn};

/// Pause between two questions. 2 s: shorter than probes of readiness repeat, and nothing to a broker.
const PAUSE: Duration = Duration::from_secs(2);

/// What keeps samples out of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogTrouble {
    /// What was met, and what to do.
    pub(crate) message: String,
    /// Whether it stays until the process is started again.
    pub(crate) needs_restart: bool,
}

/// The latest answer of the log. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWatch(Arc<Mutex<Option<LogTrouble>>>);

impl LogWatch {
    /// What keeps samples out of the log at present; `None`: nothing.
    pub(crate) fn trouble(&self) -> Option<LogTrouble> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks until it is aborted. A change is logged once.
    pub(crate) async fn follow(self, bus: Arc<dyn Bus>, topic: String) {
        loop {
            self.note(bus.health(&topic).await);
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn note(&self, answer: Result<(), BusError>) {
        let trouble = answer.err().map(|error| LogTrouble {
            needs_restart: matches!(error, BusError::Broken { .. }),
            message: error.to_string(),
        });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &trouble) {
            (None, Some(trouble)) => warn!(reason = trouble.message, "the log takes no samples"),
            (Some(_), None) => info!("the log takes samples again"),
            _ => {}
        }
        *known = trouble;
    }
}
