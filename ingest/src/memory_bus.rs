//! A log in memory for this room's tests: keeps what is appended, fails as often as it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bus::{Bus, BusError, Membership, PartitionReader, Record, Retained, TopicSpec};
use schemas::{NextOffset, Offset, SampleBatch};
use tokio::sync::Semaphore;

use crate::door::{PartitionRecord, Publisher};

/// metric, labels, kind byte, time in microseconds, bits of the value.
pub(crate) type Row = (String, String, u8, i64, u64);

pub(crate) struct MemoryBus {
    pub(crate) records: Mutex<Vec<(u32, Record)>>,
    /// How many of the next appends fail.
    pub(crate) failures: AtomicUsize,
    /// Each append takes one permit.
    pub(crate) gate: Semaphore,
}

impl MemoryBus {
    pub(crate) fn new() -> Arc<Self> {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(MemoryBus {
            records: Mutex::default(),
            failures: AtomicUsize::new(0),
            gate,
        })
    }

    pub(crate) fn publisher(self: &Arc<Self>, partitions: u32) -> Publisher {
        Publisher::new(
            Arc::clone(self) as Arc<dyn Bus>,
            "tidewatch.samples",
            partitions,
        )
    }

    /// Every sample, in the order of the records.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.records
            .lock()
            .unwrap()
            .iter()
            .flat_map(|(_, record)| rows_of(record))
            .collect()
    }
}

/// The samples of a record.
pub(crate) fn rows_of(record: &Record) -> Vec<Row> {
    let batch = SampleBatch::decode(&record.value).unwrap();
    (0..batch.rows())
        .map(|row| {
            let metric = batch.metrics()[batch.metric_keys()[row] as usize].to_string();
            let labels = batch.label_sets()[batch.label_keys()[row] as usize].to_string();
            (
                metric,
                labels,
                batch.kinds()[row],
                batch.times()[row],
                batch.values()[row].to_bits(),
            )
        })
        .collect()
}

/// The samples of several records.
pub(crate) fn rows_of_all(records: &[PartitionRecord]) -> Vec<Row> {
    records
        .iter()
        .flat_map(|record| rows_of(&record.record))
        .collect()
}

fn not_here<T>() -> Result<T, BusError> {
    Err(BusError::Config(
        "the log in memory only takes appends".into(),
    ))
}

#[async_trait]
impl Bus for MemoryBus {
    async fn log_id(&self, _: &str) -> Result<String, BusError> {
        Ok("memory".into())
    }

    async fn partitions(&self, _: &str) -> Result<u32, BusError> {
        not_here()
    }

    async fn health(&self, _: &str) -> Result<(), BusError> {
        not_here()
    }

    async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), BusError> {
        not_here()
    }

    async fn append(
        &self,
        _: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<Vec<Offset>, BusError> {
        self.gate.acquire().await.unwrap().forget();
        if self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            return Err(BusError::Unavailable {
                action: "appending".into(),
                detail: "the broker is away".into(),
            });
        }
        self.records
            .lock()
            .unwrap()
            .extend(records.into_iter().map(|record| (partition, record)));
        Ok(Vec::new())
    }

    async fn retained(&self, _: &str, _: u32) -> Result<Retained, BusError> {
        not_here()
    }

    async fn reader(
        &self,
        _: &str,
        _: u32,
        _: NextOffset,
    ) -> Result<Box<dyn PartitionReader>, BusError> {
        not_here()
    }

    async fn join(&self, _: &str, _: &str) -> Result<Box<dyn Membership>, BusError> {
        not_here()
    }

    async fn allow_trim(&self, _: &str, _: u32, _: NextOffset) -> Result<(), BusError> {
        not_here()
    }
}
