//! Holds what was collected until the log takes it. Bounded: when full, the oldest collection is dropped and counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::door::PartitionRecord;

/// The records of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) records: Vec<PartitionRecord>,
}

impl Collection {
    fn bytes(&self) -> usize {
        self.records
            .iter()
            .map(|record| record.record.value.len())
            .sum()
    }

    pub(super) fn samples(&self) -> usize {
        self.records.iter().map(|record| record.samples).sum()
    }
}

/// Collections in order, at most `bytes_max` bytes of them.
#[derive(Debug)]
pub(super) struct Backlog {
    bytes_max: usize,
    queue: Mutex<(VecDeque<Collection>, usize)>,
    changed: Notify,
}

impl Backlog {
    pub(super) fn new(bytes_max: usize) -> Self {
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
    pub(super) fn add(&self, collection: Collection) -> usize {
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
    pub(super) async fn oldest(&self) -> Collection {
        loop {
            if let Some(oldest) = self.queue().0.front().cloned() {
                return oldest;
            }
            self.changed.notified().await;
        }
    }

    /// Takes a published collection out, if it was not dropped meanwhile.
    pub(super) fn remove(&self, published: &Collection) {
        let mut queue = self.queue();
        if queue.0.front() == Some(published) {
            queue.0.pop_front();
            queue.1 -= published.bytes();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue().0.is_empty()
    }

    /// Samples that wait.
    pub(super) fn samples(&self) -> usize {
        self.queue().0.iter().map(Collection::samples).sum()
    }
}
