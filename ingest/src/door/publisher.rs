//! Appends the records of a request to the log and answers when all are durable.

use std::fmt;
use std::sync::Arc;

use bus::{Bus, BusError, Record};
use futures::future::join_all;

use super::{Batcher, PartitionRecord};
use crate::admission::Admission;

/// What was made durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Records appended.
    pub records: usize,
    /// Samples in them.
    pub samples: usize,
    /// Bytes of their values.
    pub bytes: usize,
}

/// Writes to the partitions of one topic. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    bus: Arc<dyn Bus>,
    topic: Arc<str>,
    partitions: u32,
    admission: Option<Arc<Admission>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Publisher({}, {} partitions)",
            self.topic, self.partitions
        )
    }
}

impl Publisher {
    /// A publisher to a topic whose number of partitions is known.
    pub fn new(bus: Arc<dyn Bus>, topic: &str, partitions: u32) -> Self {
        Publisher {
            bus,
            topic: topic.into(),
            partitions,
            admission: None,
        }
    }

    /// The same, whose batchers ask which series are let in.
    pub fn with_admission(self, admission: Arc<Admission>) -> Self {
        Publisher {
            admission: Some(admission),
            ..self
        }
    }

    /// Who decides which series are let in, if anybody does.
    pub fn admission(&self) -> Option<&Arc<Admission>> {
        self.admission.as_ref()
    }

    /// A batcher for this publisher (see [`Batcher::new`]).
    pub fn batcher(&self, memo_bytes_max: usize, samples_max: usize) -> Batcher {
        let batcher = Batcher::new(self.partitions, memo_bytes_max, samples_max);
        match &self.admission {
            Some(admission) => batcher.with_admission(Arc::clone(admission)),
            None => batcher,
        }
    }

    /// How many partitions the topic has: what a batcher for this publisher is made with.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Appends the records, all partitions at once, in order within each, and answers when every one is durable.
    ///
    /// # Errors
    /// The first `BusError`. Some records may have been appended; repeating the whole is harmless (duplicates are dropped downstream).
    pub async fn publish(&self, records: Vec<PartitionRecord>) -> Result<Published, BusError> {
        let mut published = Published::default();
        let mut by_partition: Vec<(u32, Vec<Record>)> = Vec::new();
        for PartitionRecord {
            partition,
            record,
            samples,
        } in records
        {
            published.records += 1;
            published.samples += samples;
            published.bytes += record.value.len();
            match by_partition.iter_mut().find(|(p, _)| *p == partition) {
                Some((_, records)) => records.push(record),
                None => by_partition.push((partition, vec![record])),
            }
        }
        let appends = by_partition
            .into_iter()
            .map(|(partition, records)| self.bus.append(&self.topic, partition, records));
        // All are awaited even when one fails: the answer must not leave while another is still being written.
        join_all(appends)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        Ok(published)
    }
}
