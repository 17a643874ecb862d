//! Reads one partition of the embedded log; waits at its end.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::fault::closed;
use super::segment::Topic;
use super::store::Shared;
use crate::{BusError, LogRecord, PartitionReader};

pub(super) struct EmbeddedReader {
    // Keeps the store open for as long as it is read.
    shared: Arc<Shared>,
    topic: Arc<Topic>,
    partition: u32,
    next: u64,
    end: watch::Receiver<u64>,
}

impl EmbeddedReader {
    pub(super) fn new(shared: Arc<Shared>, topic: Arc<Topic>, partition: u32, next: u64) -> Self {
        let end = topic.follow_end(partition);
        EmbeddedReader {
            shared,
            topic,
            partition,
            next,
            end,
        }
    }
}

#[async_trait]
impl PartitionReader for EmbeddedReader {
    async fn next(&mut self, bytes_max: usize) -> Result<Vec<LogRecord>, BusError> {
        loop {
            let end = *self.end.borrow_and_update();
            if self.next < end {
                let (topic, partition, from) = (self.topic.clone(), self.partition, self.next);
                let read = tokio::task::spawn_blocking(move || {
                    topic.read(partition, from, end, bytes_max)
                });
                let records = read.await.map_err(|error| BusError::Unavailable {
                    action: "reading the log".into(),
                    detail: error.to_string(),
                })??;
                if let Some(last) = records.last() {
                    self.next = last.offset.next().0;
                    return Ok(records);
                }
            } else {
                self.topic.check_range(self.partition, self.next)?;
                self.end
                    .changed()
                    .await
                    .map_err(|_| closed(&self.shared.dir))?;
            }
        }
    }
}
