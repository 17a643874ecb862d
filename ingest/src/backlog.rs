//! Holds what was collected until the log takes it. Bounded: when full, the oldest collection is dropped and counted.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use schemas::Micros;
use tokio::sync::Notify;

use crate::counters::{IngestCounters, Intake, add};
use crate::door::{PartitionRecord, Publisher};

/// How much waits while the log is away. 16 MiB: some 2,000 collections of a host, more than five hours at one per 10 s.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Wait after the first failed publication; doubled at each further one, up to the longest.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(250);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long the last publications may take once the end was asked for.
const FAREWELL_MAX: Duration = Duration::from_secs(3);
/// How often a backlog is looked at that someone waits for.
const POLL: Duration = Duration::from_millis(5);

/// The first tick after `now`.
pub(crate) fn next_tick(now: Micros, interval: Micros) -> Micros {
    (now.div_euclid(interval) + 1) * interval
}

/// Runs what fills a backlog until it ends, and meanwhile publishes what is in it; then publishes what waits, for at most 3 s.
pub(crate) async fn publish_while<'b, F: Future<Output = ()> + 'b>(
    collecting: impl FnOnce(&'b Backlog) -> F,
    backlog: &'b Backlog,
    publisher: &Publisher,
    counters: &IngestCounters,
    intake: Intake,
) {
    let mut publishing = std::pin::pin!(publish(backlog, publisher, counters, intake));
    tokio::select! {
        () = collecting(backlog) => {}
        () = publishing.as_mut() => {}
    }
    farewell(backlog, publishing, counters, intake).await;
}

async fn farewell(
    backlog: &Backlog,
    publishing: Pin<&mut impl Future<Output = ()>>,
    counters: &IngestCounters,
    intake: Intake,
) {
    let emptied = async {
        tokio::select! {
            () = publishing => {}
            () = backlog.at_most(0) => {}
        }
    };
    if tokio::time::timeout(FAREWELL_MAX, emptied).await.is_err() {
        let lost = backlog.samples();
        add(&counters.of(intake).dropped_samples, lost);
        tracing::warn!(
            intake = intake.name(),
            samples = lost,
            "the log is away; the last collected samples are lost with this process"
        );
    }
}

/// Publishes the oldest collection again and again until the log takes it. Never ends.
async fn publish(
    backlog: &Backlog,
    publisher: &Publisher,
    counters: &IngestCounters,
    intake: Intake,
) {
    let counters = counters.of(intake);
    let mut wait = RETRY_WAIT_MIN;
    loop {
        let collection = backlog.oldest().await;
        match publisher.publish(collection.records.clone()).await {
            Ok(published) => {
                add(&counters.accepted_samples, published.samples);
                backlog.remove(&collection);
                wait = RETRY_WAIT_MIN;
            }
            Err(error) => {
                add(&counters.failures, 1);
                tracing::warn!(intake = intake.name(), %error, wait_ms = wait.as_millis() as u64, "collected samples wait for the log");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
        }
    }
}

/// The records of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collection {
    pub(crate) records: Vec<PartitionRecord>,
}

impl Collection {
    fn bytes(&self) -> usize {
        self.records
            .iter()
            .map(|record| record.record.value.len())
            .sum()
    }

    pub(crate) fn samples(&self) -> usize {
        self.records.iter().map(|record| record.samples).sum()
    }
}

/// Collections in order, at most `bytes_max` bytes of them.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes_max: usize,
    queue: Mutex<(VecDeque<Collection>, usize)>,
    changed: Notify,
}

impl Default for Backlog {
    fn default() -> Self {
        Backlog::new(BYTES_MAX)
    }
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Backlog {
            bytes_max,
            queue: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, (VecDeque<Collection>, usize)> {
        self.queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds a collection and answers how many samples were dropped to make room. The newest always stays.
    pub(crate) fn add(&self, collection: Collection) -> usize {
        let mut queue = self.queue();
        queue.1 += collection.bytes();
        queue.0.push_back(collection);
        let mut dropped = 0;
        while queue.1 > self.bytes_max && queue.0.len() > 1 {
            if let Some(oldest) = queue.0.pop_front() {
                queue.1 -= oldest.bytes();
                dropped += oldest.samples();
            }
        }
        drop(queue);
        self.changed.notify_one();
        dropped
    }

    /// A copy of the oldest collection; waits until there is one. It stays in line, so that a failed or given up publication loses nothing.
    pub(crate) async fn oldest(&self) -> Collection {
        loop {
            if let Some(oldest) = self.queue().0.front().cloned() {
                return oldest;
            }
            self.changed.notified().await;
        }
    }

    /// Takes a published collection out, if it was not dropped meanwhile.
    pub(crate) fn remove(&self, published: &Collection) {
        let mut queue = self.queue();
        if queue.0.front() == Some(published) {
            queue.0.pop_front();
            queue.1 -= published.bytes();
        }
    }

    /// Waits until at most so many bytes wait; 0: until nothing does.
    pub(crate) async fn at_most(&self, bytes: usize) {
        loop {
            let fits = {
                let queue = self.queue();
                queue.1 <= bytes && (bytes > 0 || queue.0.is_empty())
            };
            if fits {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Samples that wait.
    pub(crate) fn samples(&self) -> usize {
        self.queue().0.iter().map(Collection::samples).sum()
    }
}
