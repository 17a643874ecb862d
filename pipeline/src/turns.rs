//! How many partitions may hold copies of their rows at once: what bounds the memory of checkpoints and flushes, however many partitions come due together.

use std::num::NonZero;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Turns of copying rows and encoding them. One for every two cores: the work itself is on one core, and stepping goes on beside it.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

impl Turns {
    pub(crate) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Turns::of((cores / 2).max(1))
    }

    /// So many at once.
    pub(crate) fn of(count: usize) -> Self {
        Turns(Semaphore::new(count))
    }

    /// Waits for a turn, in the order of asking. It must not be held while anything outside this process is waited for.
    pub(crate) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.acquire().await.ok()
    }
}
