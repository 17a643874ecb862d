//! The log of one process, in a directory: partitions of checksummed records in fjall, made durable by group fsync.
//!
//! Constraints: an answered append survives `kill -9` and power loss; damage is found at read; nothing that the archive lacks is removed; one process at a time.
//! Layout: `DIR/LOCK` (held while open) and `DIR/log/` (a fjall database). In it one keyspace per *segment* of a topic, all partitions together
//! (`record` says how), so that retention removes whole keyspaces and never writes tombstones; and one keyspace `meta`: the log's id, topics, and where segments begin.
//! Operations: `writer` is the only one to change anything; readers (`reader`) follow each partition's published end.

mod fault;
mod options;
mod reader;
mod record;
mod retention;
mod segment;
mod store;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use schemas::{NextOffset, Offset};
use tokio::sync::{mpsc, oneshot};

pub use options::{Clock, EmbeddedOptions, EmbeddedStats};

use crate::{
    Bus, BusError, GroupEvent, Membership, PartitionReader, Record, Retained, TopicSpec,
    check_sizes,
};
use fault::closed;
use reader::EmbeddedReader;
use record::EncodedRecord;
use segment::Topic;
use store::Shared;
use writer::{Append, Command, Writer};

/// Appends that wait for the writer; when full, the next appender waits. More than one batch takes, so that the writer never idles.
const QUEUE_APPENDS: usize = 1024;
/// Above this, a record is encoded on a blocking thread: compressing 256 KiB takes about a millisecond.
const ENCODE_INLINE_BYTES: usize = 256 * 1024;

/// The embedded log. See the module.
pub struct EmbeddedBus {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    commands: Option<mpsc::Sender<Command>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl EmbeddedBus {
    /// Opens the log in a directory, which it creates if it is missing. Blocks: it replays what was not yet flushed.
    ///
    /// # Errors
    /// `Config` if another process has it open, `DamagedLog` if its files do not hold together, `Unavailable` for I/O errors.
    pub fn open(dir: &Path, options: EmbeddedOptions) -> Result<Arc<EmbeddedBus>, BusError> {
        EmbeddedBus::open_with_sync(
            dir,
            options,
            Box::new(|db| db.persist(fjall::PersistMode::SyncAll)),
        )
    }

    fn open_with_sync(
        dir: &Path,
        options: EmbeddedOptions,
        sync: writer::Sync,
    ) -> Result<Arc<EmbeddedBus>, BusError> {
        let shared = Arc::new(Shared::open(dir, options)?);
        let (sender, receiver) = mpsc::channel(QUEUE_APPENDS);
        let writer = Writer::new(shared.clone(), sync);
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(receiver))
            .map_err(|error| BusError::Unavailable {
                action: "starting the log's writer thread".into(),
                detail: error.to_string(),
            })?;
        Ok(Arc::new(EmbeddedBus {
            shared,
            commands: Some(sender),
            writer: Some(thread),
        }))
    }

    /// What the log has done since it was opened.
    pub fn stats(&self) -> EmbeddedStats {
        let counters = &self.shared.counters;
        EmbeddedStats {
            appends: counters.appends.load(Ordering::Relaxed),
            records: counters.records.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            stored_bytes: self.shared.stored_bytes(),
            removed_records: counters.removed_records.load(Ordering::Relaxed),
        }
    }

    /// The directory.
    pub fn dir(&self) -> PathBuf {
        self.shared.dir.clone()
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, BusError> {
        self.shared.topic(name).ok_or_else(|| BusError::NoTopic {
            topic: name.to_owned(),
        })
    }

    fn partition(&self, topic: &str, partition: u32) -> Result<Arc<Topic>, BusError> {
        let found = self.topic(topic)?;
        if partition >= found.partitions() {
            return Err(BusError::PartitionCount {
                topic: topic.to_owned(),
                expected: partition + 1,
                found: found.partitions(),
            });
        }
        Ok(found)
    }

    async fn send(&self, command: Command) -> Result<(), BusError> {
        let commands = self
            .commands
            .as_ref()
            .ok_or_else(|| closed(&self.shared.dir))?;
        commands
            .send(command)
            .await
            .map_err(|_| closed(&self.shared.dir))
    }
}

impl Drop for EmbeddedBus {
    fn drop(&mut self) {
        // The writer ends when nobody can send any more; waiting for it lets the directory be opened again at once.
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Bus for EmbeddedBus {
    async fn log_id(&self, topic: &str) -> Result<String, BusError> {
        self.topic(topic)?;
        Ok(format!("embedded:{}/{topic}", self.shared.log_id))
    }

    async fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        Ok(self.topic(topic)?.partitions())
    }

    async fn health(&self, topic: &str) -> Result<(), BusError> {
        let topic = self.topic(topic)?;
        let (answer, answered) = oneshot::channel();
        self.send(Command::Check(topic, answer)).await?;
        answered.await.map_err(|_| closed(&self.shared.dir))?
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::CreateTopics(topics.to_vec(), answer))
            .await?;
        answered.await.map_err(|_| closed(&self.shared.dir))?
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<Vec<Offset>, BusError> {
        check_sizes(topic, &records)?;
        let topic = self.partition(topic, partition)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let plain_bytes: usize = records.iter().map(|record| record.value.len()).sum();
        let encode = move || {
            records
                .iter()
                .map(EncodedRecord::new)
                .collect::<Result<Vec<_>, String>>()
        };
        let encoded = if plain_bytes <= ENCODE_INLINE_BYTES {
            encode()
        } else {
            tokio::task::spawn_blocking(encode)
                .await
                .map_err(|error| BusError::Unavailable {
                    action: "encoding records".into(),
                    detail: error.to_string(),
                })?
        };
        let encoded = encoded.map_err(|detail| {
            BusError::Config(format!(
                "a record for topic `{}` has {detail}",
                topic.spec.name
            ))
        })?;
        let bytes = encoded.iter().map(EncodedRecord::stored_bytes).sum();
        let permit = self
            .shared
            .queue_room
            .clone()
            .acquire_many_owned(store::queue_permits(bytes))
            .await
            .map_err(|_| closed(&self.shared.dir))?;
        let (answer, answered) = oneshot::channel();
        self.send(Command::Append(Append {
            topic,
            partition,
            records: encoded,
            bytes,
            answer,
            _permit: permit,
        }))
        .await?;
        answered.await.map_err(|_| closed(&self.shared.dir))?
    }

    async fn retained(&self, topic: &str, partition: u32) -> Result<Retained, BusError> {
        let topic = self.partition(topic, partition)?;
        Ok(topic.retained(partition))
    }

    async fn reader(
        &self,
        topic: &str,
        partition: u32,
        from: NextOffset,
    ) -> Result<Box<dyn PartitionReader>, BusError> {
        let topic = self.partition(topic, partition)?;
        topic.check_range(partition, from.0)?;
        Ok(Box::new(EmbeddedReader::new(
            self.shared.clone(),
            topic,
            partition,
            from.0,
        )))
    }

    async fn join(&self, topic: &str, _group: &str) -> Result<Box<dyn Membership>, BusError> {
        let partitions = self.topic(topic)?.partitions();
        Ok(Box::new(SoleMember {
            assigned: Some((0..partitions).collect()),
        }))
    }

    async fn allow_trim(
        &self,
        topic: &str,
        partition: u32,
        below: NextOffset,
    ) -> Result<(), BusError> {
        let topic = self.partition(topic, partition)?;
        topic.allow_trim(partition, below.0);
        let (answer, answered) = oneshot::channel();
        self.send(Command::Retain(answer)).await?;
        answered.await.map_err(|_| closed(&self.shared.dir))?
    }
}

/// The only member of every group: it owns all partitions and never loses one.
struct SoleMember {
    assigned: Option<Vec<u32>>,
}

#[async_trait]
impl Membership for SoleMember {
    async fn next(&mut self) -> GroupEvent {
        match self.assigned.take() {
            Some(partitions) => GroupEvent::Assigned(partitions),
            None => std::future::pending().await,
        }
    }

    // Progress is in the checkpoint chain; no lag tool reads this log.
    async fn report_progress(&self, _partition: u32, _next: NextOffset) {}
}

#[cfg(test)]
mod tests;
