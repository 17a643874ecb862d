//! The one thread that changes the log: takes many waiting appends, writes one batch, syncs once, answers all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fjall::Database;
use schemas::Offset;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::record::EncodedRecord;
use super::retention::{self, Hold};
use super::segment::{SegmentStart, Topic};
use super::store::Shared;
use crate::{BusError, TopicSpec, crash_point};

/// One sync makes at most about this much durable, bytes: 16 MiB take some 100 ms on a laptop's disk, which the first in the batch waits for.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// How often retention is looked at while records come, milliseconds by the log's clock.
const RETENTION_INTERVAL_MS: i64 = 10_000;
/// Free space below which not even the log's own bookkeeping is written, bytes: beginning or removing a segment writes some KiB, and a write that fails
/// stops the log until a restart.
const BOOKKEEPING_BYTES_MIN: u64 = 1 << 20;
/// How often it is said again that the size limit is exceeded, milliseconds by the log's clock.
const WARNING_INTERVAL_MS: i64 = 300_000;

/// Makes what was written durable.
pub(super) type Sync = Box<dyn FnMut(&Database) -> fjall::Result<()> + Send>;
type Answer<T> = oneshot::Sender<Result<T, BusError>>;

/// What the writer is asked.
pub(super) enum Command {
    Append(Append),
    CreateTopics(Vec<TopicSpec>, Answer<()>),
    /// Tell whether an append to a topic would be refused.
    Check(Arc<Topic>, Answer<()>),
    /// Look at retention now.
    Retain(Answer<()>),
}

/// Records for one partition.
pub(super) struct Append {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: u32,
    pub(super) records: Vec<EncodedRecord>,
    pub(super) bytes: usize,
    pub(super) answer: Answer<Vec<Offset>>,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// The next offset and the last append time of a partition.
#[derive(Clone, Copy)]
struct Cursor {
    next: u64,
    time_ms: i64,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    sync: Sync,
    /// By topic id.
    cursors: HashMap<u32, Vec<Cursor>>,
    /// Why the log takes no more appends. After a failed sync nobody knows what is on disk, so only a restart, which reads it, may go on.
    failed: Option<String>,
    retention_due_ms: i64,
    warning_due_ms: i64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, sync: Sync) -> Self {
        Writer {
            shared,
            sync,
            cursors: HashMap::new(),
            failed: None,
            retention_due_ms: i64::MIN,
            warning_due_ms: i64::MIN,
        }
    }

    /// Runs until nobody can send any more.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut appends = Vec::new();
            let (mut bytes, mut full) = (0, false);
            let mut next = Some(first);
            while let Some(command) = next {
                match command {
                    Command::Append(append) => {
                        bytes += append.bytes;
                        appends.push(append);
                    }
                    Command::CreateTopics(specs, answer) => {
                        let created = self.create_topics(&specs);
                        let _ = answer.send(created);
                    }
                    Command::Check(topic, answer) => {
                        let checked = self.check(&topic);
                        full |= checked.is_err();
                        let _ = answer.send(checked);
                    }
                    Command::Retain(answer) => {
                        let retained = self.retain();
                        let _ = answer.send(retained);
                    }
                }
                next = if bytes < BATCH_BYTES_MAX {
                    commands.try_recv().ok()
                } else {
                    None
                };
            }
            let asked = appends.len();
            let appends = self.refuse_where_full(appends, bytes);
            full |= appends.len() < asked;
            let appended = !appends.is_empty();
            if appended {
                self.append(appends);
            }
            // What fails is logged, and refuses the appends that follow.
            if full && self.failed.is_none() {
                let made = self.make_room();
                let _ = self.note_failure(made);
            }
            if appended
                && ((self.shared.options.clock)() >= self.retention_due_ms
                    || self.shared.stored_bytes() > self.shared.options.retention_bytes_max)
            {
                let _ = self.retain();
            }
        }
    }

    fn append(&mut self, mut appends: Vec<Append>) {
        match self.write(&mut appends) {
            Ok(offsets) => {
                crash_point("append.before_answer");
                let counters = &self.shared.counters;
                for (append, offsets) in appends.into_iter().zip(offsets) {
                    counters.appends.fetch_add(1, Ordering::Relaxed);
                    counters
                        .records
                        .fetch_add(offsets.len() as u64, Ordering::Relaxed);
                    if let Some(last) = offsets.last() {
                        append.topic.publish(append.partition, last.next().0);
                    }
                    // An appender that has gone away needs no answer.
                    let _ = append.answer.send(Ok(offsets));
                }
            }
            Err(error) => {
                for append in appends {
                    let error = match &error {
                        BusError::Broken { action, detail } => BusError::Broken {
                            action: action.clone(),
                            detail: detail.clone(),
                        },
                        BusError::Unavailable { action, detail } => BusError::Unavailable {
                            action: action.clone(),
                            detail: detail.clone(),
                        },
                        other => BusError::Unavailable {
                            action: self.action(),
                            detail: other.to_string(),
                        },
                    };
                    let _ = append.answer.send(Err(error));
                }
            }
        }
    }

    /// Answers the appends that a nearly full disk has no room for, and gives back the others. A failed write would stop the log until a restart.
    fn refuse_where_full(&self, appends: Vec<Append>, bytes: usize) -> Vec<Append> {
        // Space would not help a log that has failed, and must not be asked for.
        if self.failed.is_some() {
            return appends;
        }
        let (refused, taken): (Vec<_>, Vec<_>) = appends
            .into_iter()
            .map(|append| (self.room_for(&append.topic, bytes), append))
            .partition(|(room, _)| room.is_err());
        for (room, append) in refused {
            let _ = append.answer.send(room.map(|()| Vec::new()));
        }
        taken.into_iter().map(|(_, append)| append).collect()
    }

    /// Whether an append would be taken. Also finds what a background thread of the store met.
    fn check(&mut self, topic: &Topic) -> Result<(), BusError> {
        self.refuse_if_failed()?;
        self.room_for(topic, 0)?;
        let flushed = self
            .shared
            .database
            .persist(fjall::PersistMode::Buffer)
            .map_err(|error| self.shared.fault("writing the log in", error));
        self.note_failure(flushed)
    }

    /// Writes and syncs appends, and tells their offsets.
    fn write(&mut self, appends: &mut [Append]) -> Result<Vec<Vec<Offset>>, BusError> {
        self.refuse_if_failed()?;
        let now_ms = (self.shared.options.clock)();
        let result = self.write_batch(appends, now_ms);
        self.note_failure(result)
    }

    fn write_batch(
        &mut self,
        appends: &mut [Append],
        now_ms: i64,
    ) -> Result<Vec<Vec<Offset>>, BusError> {
        for append in appends.iter() {
            self.end_segment_if_due(&append.topic, now_ms)?;
        }
        let mut batch = self.shared.database.batch();
        let mut answers = Vec::with_capacity(appends.len());
        for append in appends {
            let Some(segment) = append.topic.active() else {
                continue;
            };
            let topic = &append.topic;
            let shared = &self.shared;
            let cursors = self.cursors.entry(topic.id).or_insert_with(|| {
                (0..topic.partitions())
                    .map(|partition| Cursor {
                        next: topic.end(partition),
                        time_ms: match topic.spec.log_append_time {
                            true => i64::MIN,
                            false => shared.last_time_ms(topic, partition),
                        },
                    })
                    .collect()
            });
            let cursor = &mut cursors[append.partition as usize];
            let mut offsets = Vec::with_capacity(append.records.len());
            for record in &mut append.records {
                let asked_ms = if topic.spec.log_append_time {
                    None
                } else {
                    record.append_time_ms
                };
                let time_ms = match asked_ms {
                    Some(asked_ms) => {
                        cursor.time_ms = cursor.time_ms.max(asked_ms);
                        cursor.time_ms
                    }
                    // A clock that was ahead and was set right is right: what is late is judged by it.
                    None if topic.spec.log_append_time => now_ms,
                    None => cursor.time_ms.max(now_ms),
                };
                let (key, value) = record.place(append.partition, cursor.next, time_ms);
                batch.insert(&segment.keyspace, key, value);
                offsets.push(Offset(cursor.next));
                cursor.next += 1;
            }
            segment
                .bytes
                .fetch_add(append.bytes as u64, Ordering::Relaxed);
            answers.push(offsets);
        }
        crash_point("append.before_write");
        batch
            .commit()
            .map_err(|error| self.shared.fault("writing the log in", error))?;
        crash_point("append.before_sync");
        (self.sync)(&self.shared.database)
            .map_err(|error| self.shared.fault("syncing the log in", error))?;
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(answers)
    }

    fn create_topics(&mut self, specs: &[TopicSpec]) -> Result<(), BusError> {
        self.refuse_if_failed()?;
        for spec in specs {
            if spec.partitions == 0 || spec.name.is_empty() || spec.name.contains('/') {
                return Err(BusError::Config(format!(
                    "topic `{}` with {} partitions: expected a name without `/` and at least one partition",
                    spec.name, spec.partitions
                )));
            }
            match self.shared.topic(&spec.name) {
                Some(topic) if topic.partitions() == spec.partitions => {}
                Some(topic) => {
                    return Err(BusError::PartitionCount {
                        topic: spec.name.clone(),
                        expected: spec.partitions,
                        found: topic.partitions(),
                    });
                }
                None => {
                    let created = self
                        .shared
                        .create_topic(spec, (self.shared.options.clock)());
                    self.note_failure(created)?;
                }
            }
        }
        Ok(())
    }

    fn retain(&mut self) -> Result<(), BusError> {
        self.refuse_if_failed()?;
        let now_ms = (self.shared.options.clock)();
        self.retention_due_ms = now_ms.saturating_add(RETENTION_INTERVAL_MS);
        let result = self.remove_segments(now_ms);
        self.note_failure(result)
    }

    fn remove_segments(&mut self, now_ms: i64) -> Result<(), BusError> {
        let shared = self.shared.clone();
        let topics = shared.all_topics();
        for topic in &topics {
            self.end_segment_if_due(topic, now_ms)?;
            loop {
                let segments = topic.segments();
                if !retention::expired(topic, &segments, &shared.options, now_ms)
                    || retention::removable(topic, &segments, &shared.options).is_err()
                {
                    break;
                }
                self.remove_oldest(topic)?;
            }
        }
        let limit = shared.options.retention_bytes_max;
        while shared.stored_bytes() > limit {
            let oldest = topics
                .iter()
                .filter(|topic| {
                    retention::removable(topic, &topic.segments(), &shared.options).is_ok()
                })
                .min_by_key(|topic| {
                    topic
                        .segments()
                        .first()
                        .map_or(i64::MAX, |segment| segment.start.opened_ms)
                });
            let Some(topic) = oldest else {
                self.warn_of_size(&topics, now_ms);
                break;
            };
            self.remove_oldest(topic)?;
        }
        self.make_room()
    }

    /// On a nearly full disk the oldest records that the archive covers go before their time. One segment a pass: its files go a moment later.
    fn make_room(&mut self) -> Result<(), BusError> {
        let options = &self.shared.options;
        if self
            .free_bytes()
            .is_none_or(|free| !(BOOKKEEPING_BYTES_MIN..options.free_bytes_min).contains(&free))
        {
            return Ok(());
        }
        let topics = self.shared.all_topics();
        let removable = |topic: &&Arc<Topic>| {
            !options.unguarded_topics.contains(&topic.spec.name)
                && retention::removable(topic, &topic.segments(), options).is_ok()
        };
        match topics.iter().find(removable) {
            Some(topic) => {
                tracing::warn!(
                    topic = topic.spec.name,
                    "the disk is nearly full; the oldest archived segment of the log is removed before its time"
                );
                self.remove_oldest(topic)
            }
            None => Ok(()),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.shared.dir).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn warn_of_size(&mut self, topics: &[Arc<Topic>], now_ms: i64) {
        let waiting: Vec<&str> = topics
            .iter()
            .filter(|topic| {
                retention::removable(topic, &topic.segments(), &self.shared.options)
                    == Err(Hold::NotArchived)
            })
            .map(|topic| topic.spec.name.as_str())
            .collect();
        if waiting.is_empty() || now_ms < self.warning_due_ms {
            return;
        }
        self.warning_due_ms = now_ms.saturating_add(WARNING_INTERVAL_MS);
        tracing::warn!(
            stored_bytes = self.shared.stored_bytes(),
            limit_bytes = self.shared.options.retention_bytes_max,
            topics = waiting.join(","),
            "the log is larger than its limit, because its oldest records are not yet in the archive; none was removed"
        );
    }

    fn remove_oldest(&mut self, topic: &Topic) -> Result<(), BusError> {
        let segments = topic.segments();
        let [oldest, next, ..] = segments.as_slice() else {
            return Ok(());
        };
        let records: u64 = oldest
            .start
            .offsets
            .iter()
            .zip(&next.start.offsets)
            .map(|(start, end)| end - start)
            .sum();
        // Readers are refused first, so that none sees a missing record as damage.
        topic.remove_oldest();
        self.shared.remove_segment(topic.id, oldest)?;
        self.shared
            .counters
            .removed_records
            .fetch_add(records, Ordering::Relaxed);
        tracing::debug!(
            topic = topic.spec.name,
            segment = oldest.sequence,
            records,
            "removed a segment of the log"
        );
        Ok(())
    }

    fn end_segment_if_due(&mut self, topic: &Arc<Topic>, now_ms: i64) -> Result<(), BusError> {
        let Some(active) = topic.active() else {
            return Ok(());
        };
        let full = |free| free < BOOKKEEPING_BYTES_MIN;
        if !retention::ends(topic, &active, &self.shared.options, now_ms)
            || self.free_bytes().is_some_and(full)
        {
            return Ok(());
        }
        let start = SegmentStart {
            opened_ms: now_ms.max(active.start.opened_ms),
            offsets: (0..topic.partitions())
                .map(|partition| topic.end(partition))
                .collect(),
            times_ms: (0..topic.partitions())
                .map(|partition| self.shared.last_time_ms(topic, partition))
                .collect(),
            previous_bytes: active.bytes.load(Ordering::Relaxed),
        };
        let segment = self
            .shared
            .create_segment(topic.id, active.sequence + 1, start, None)?;
        topic.push_segment(Arc::new(segment));
        // Flushed in the background; it is durable in the journal until then.
        active
            .keyspace
            .rotate_memtable()
            .map_err(|error| self.shared.fault("flushing a segment of the log in", error))?;
        Ok(())
    }

    fn action(&self) -> String {
        format!("appending to the log in {}", self.shared.dir.display())
    }

    fn refuse_if_failed(&self) -> Result<(), BusError> {
        match &self.failed {
            None => Ok(()),
            Some(detail) => Err(BusError::Broken {
                action: self.action(),
                detail: detail.clone(),
            }),
        }
    }

    /// Refuses before the disk is full. Samples leave the whole reserve free, events half of it: they come with checkpoints, and those make room.
    fn room_for(&self, topic: &Topic, bytes: usize) -> Result<(), BusError> {
        let Some(free) = self.free_bytes() else {
            return Ok(());
        };
        let options = &self.shared.options;
        let reserve = if options.unguarded_topics.contains(&topic.spec.name) {
            options.free_bytes_min / 2
        } else {
            options.free_bytes_min
        };
        // Twice: once in the journal, once in the segment's table; and the tables of what was taken before are still to be written.
        let active = self.shared.all_topics().into_iter();
        let unwritten: u64 = active
            .filter_map(|topic| Some(topic.active()?.bytes.load(Ordering::Relaxed)))
            .sum();
        let needed = reserve.saturating_add(unwritten + 2 * bytes as u64);
        if free >= needed {
            return Ok(());
        }
        Err(BusError::Unavailable {
            action: self.action(),
            detail: format!(
                "{} MiB are free on its disk, {} MiB are needed (setting bus.free_space_min, and what is still to be written); free some space, then appends are taken again",
                free >> 20,
                (needed >> 20) + 1,
            ),
        })
    }

    fn note_failure<T>(&mut self, result: Result<T, BusError>) -> Result<T, BusError> {
        let Err(error) = result else { return result };
        tracing::error!(%error, "the log takes no more records until the process is restarted");
        self.failed.get_or_insert_with(|| error.to_string());
        Err(error)
    }
}
