//! What feeds an instance from within, and what its partitions are doing.

use std::sync::{Arc, PoisonError};

use bus::Bus;
use ingest::{IngestCounters, Publisher};
use pipeline::{PartitionStatus, Phase, Pipeline};

use crate::error::CommandError;
use crate::tables::Running;

/// What a command works with that feeds its instance itself.
#[derive(Clone)]
pub(crate) struct Inlet {
    pub(crate) publisher: Publisher,
    pub(crate) counters: Arc<IngestCounters>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) topic: String,
    pub(super) running: Running,
}

impl Inlet {
    /// What each partition is doing.
    pub(crate) fn status(&self) -> Vec<PartitionStatus> {
        status(&self.running)
    }

    /// Records of the log that are not processed yet; `None` while not all partitions run.
    ///
    /// # Errors
    /// If a partition stopped for good.
    pub(crate) async fn lag_records(&self) -> Result<Option<u64>, CommandError> {
        let partitions = self.status();
        for partition in &partitions {
            if let Phase::Stopped(reason) = &partition.phase {
                return Err(CommandError::surroundings(format!(
                    "partition {} stopped: {reason}",
                    partition.partition
                )));
            }
        }
        let all_run = partitions
            .iter()
            .all(|partition| partition.phase == Phase::Running);
        if !all_run || partitions.len() < self.publisher.partitions() as usize {
            return Ok(None);
        }
        let mut lag = 0;
        for partition in &partitions {
            let retained = self.bus.retained(&self.topic, partition.partition).await;
            let end = retained
                .map_err(|error| CommandError::of("the log", error))?
                .end;
            lag += end.0.saturating_sub(partition.next_offset);
        }
        Ok(Some(lag))
    }
}

/// What each partition is doing; nothing once the pipeline is shut down.
pub(super) fn status(running: &Running) -> Vec<PartitionStatus> {
    running
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .map(Pipeline::status)
        .unwrap_or_default()
}
