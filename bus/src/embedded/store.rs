//! The database behind the log: opening, locking, recovering where every partition ends, creating topics and segments.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::fault::{self, damage};
use super::options::EmbeddedOptions;
use super::record::store_key;
use super::segment::{Segment, SegmentStart, Topic};
use crate::{BusError, TopicSpec, make_whole};

const LOCK_FILE: &str = "LOCK";
/// How often a lock that another holds is asked for, and the pause between.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const META: &str = "meta";
const LOG_ID: &str = "log-id";
/// Journals may hold this much before idle topics are flushed; bounds both the disk they take and the replay after a crash (about 0.3 s).
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// Reads are in order, so a cache only serves several readers of the same stretch.
const CACHE_BYTES: u64 = 8 << 20;
/// Records that wait for the writer, KiB; when full, the next appender waits. Four of the largest batches.
const QUEUE_KIB: u32 = 64 * 1024;

/// What the writer, the readers and the bus share.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) options: EmbeddedOptions,
    pub(super) log_id: String,
    pub(super) database: Database,
    pub(super) meta: Keyspace,
    pub(super) topics: RwLock<HashMap<String, Arc<Topic>>>,
    pub(super) queue_room: Arc<Semaphore>,
    pub(super) counters: Counters,
    // Locked until the last reader is gone. After the database, so that it is released last.
    _lock: File,
}

/// See [`super::EmbeddedStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) appends: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) removed_records: AtomicU64,
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    id: u32,
    name: String,
    partitions: u32,
    retention_ms: i64,
    log_append_time: bool,
}

/// Room in the queue that an append takes; a larger one waits until the queue is empty.
pub(super) fn queue_permits(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1)
        .unwrap_or(QUEUE_KIB)
        .min(QUEUE_KIB)
}

impl Shared {
    pub(super) fn open(dir: &Path, options: EmbeddedOptions) -> Result<Self, BusError> {
        std::fs::create_dir_all(dir).map_err(|error| fault::io("creating", dir, &error))?;
        let lock = lock(dir)?;
        let path = dir.join("log");
        let error = |error| fault::store("opening", &path, error);
        let open = |path: &Path| {
            Database::builder(path)
                .cache_size(CACHE_BYTES)
                // Bodies are compressed once, by the appender.
                .journal_compression(CompressionType::None)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(2)
                .open()
        };
        make_whole(&path, |path| open(path).map(drop)).map_err(error)?;
        let database = open(&path).map_err(error)?;
        let meta = database
            .keyspace(META, KeyspaceCreateOptions::default)
            .map_err(error)?;
        let log_id = match meta.get(LOG_ID).map_err(error)? {
            Some(id) => String::from_utf8_lossy(&id).into_owned(),
            None => {
                let id = random_id();
                meta.insert(LOG_ID, id.as_bytes()).map_err(error)?;
                database.persist(PersistMode::SyncAll).map_err(error)?;
                id
            }
        };
        let shared = Shared {
            dir: dir.to_path_buf(),
            options,
            log_id,
            database,
            meta,
            topics: RwLock::default(),
            queue_room: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
            counters: Counters::default(),
            _lock: lock,
        };
        shared.recover()?;
        Ok(shared)
    }

    pub(super) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(super) fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        let segments = self
            .all_topics()
            .into_iter()
            .flat_map(|topic| topic.segments());
        segments
            .map(|segment| segment.bytes.load(std::sync::atomic::Ordering::Relaxed))
            .sum()
    }

    pub(super) fn fault(&self, action: &str, error: fjall::Error) -> BusError {
        fault::store(action, &self.dir, error)
    }

    /// Creates a topic with its first segment; durable when it returns.
    pub(super) fn create_topic(&self, spec: &TopicSpec, now_ms: i64) -> Result<(), BusError> {
        let id = self
            .all_topics()
            .iter()
            .map(|topic| topic.id + 1)
            .max()
            .unwrap_or(0);
        let none = vec![0; spec.partitions as usize];
        let start = SegmentStart {
            opened_ms: now_ms,
            offsets: none.clone(),
            times_ms: vec![i64::MIN; none.len()],
            previous_bytes: 0,
        };
        let stored = StoredTopic {
            id,
            name: spec.name.clone(),
            partitions: spec.partitions,
            retention_ms: spec.retention_ms,
            log_append_time: spec.log_append_time,
        };
        let row = (format!("topic/{}", spec.name), to_json(&stored)?);
        let segment = self.create_segment(id, 0, start, Some(row))?;
        let topic = Arc::new(Topic::new(id, spec.clone(), vec![Arc::new(segment)], &none));
        self.topics
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(spec.name.clone(), topic);
        Ok(())
    }

    /// Creates a segment's keyspace, then notes where it begins; durable when it returns. A crash between leaves a keyspace that recovery removes.
    pub(super) fn create_segment(
        &self,
        topic: u32,
        sequence: u64,
        start: SegmentStart,
        topic_row: Option<(String, Vec<u8>)>,
    ) -> Result<Segment, BusError> {
        let fault = |error| self.fault("creating a segment of the log in", error);
        let keyspace = self
            .database
            .keyspace(&keyspace_name(topic, sequence), || self.segment_options())
            .map_err(fault)?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, segment_key(topic, sequence), to_json(&start)?);
        if let Some((key, row)) = topic_row {
            batch.insert(&self.meta, key, row);
        }
        batch.commit().map_err(fault)?;
        Ok(Segment {
            sequence,
            start,
            keyspace,
            bytes: AtomicU64::new(0),
        })
    }

    /// Forgets a segment, then removes its keyspace; its files go when no reader has it open.
    pub(super) fn remove_segment(&self, topic: u32, segment: &Segment) -> Result<(), BusError> {
        let fault = |error| self.fault("removing a segment of the log in", error);
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.remove(&self.meta, segment_key(topic, segment.sequence));
        batch.commit().map_err(fault)?;
        self.database
            .delete_keyspace(segment.keyspace.clone())
            .map_err(fault)
    }

    fn segment_options(&self) -> KeyspaceCreateOptions {
        KeyspaceCreateOptions::default()
            // A segment is flushed once, when it ends: one table, never compacted.
            .max_memtable_size(
                self.options
                    .segment_bytes_max
                    .saturating_mul(2)
                    .saturating_add(64 << 20),
            )
            .data_block_compression_policy(CompressionPolicy::disabled())
            .data_block_size_policy(BlockSizePolicy::all(16 * 1024))
            // Every read is a range, which no filter helps.
            .filter_policy(FilterPolicy::disabled())
    }

    fn damaged(&self, detail: String) -> BusError {
        BusError::DamagedLog {
            path: self.dir.display().to_string(),
            detail,
        }
    }

    fn recover(&self) -> Result<(), BusError> {
        let error = |error| self.fault("opening the log in", error);
        let mut stored = Vec::new();
        for item in self.meta.prefix("topic/") {
            let (_, row) = item.into_inner().map_err(error)?;
            stored.push(
                serde_json::from_slice::<StoredTopic>(&row)
                    .map_err(|e| self.damaged(format!("a topic's row can't be read: {e}")))?,
            );
        }
        let mut known = HashSet::new();
        for topic in stored {
            let mut starts = BTreeMap::new();
            for item in self.meta.prefix(segment_prefix(topic.id)) {
                let (key, row) = item.into_inner().map_err(error)?;
                let sequence = key
                    .rsplit(|byte| *byte == b'/')
                    .next()
                    .and_then(|text| u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok());
                let start: SegmentStart = serde_json::from_slice(&row)
                    .map_err(|e| self.damaged(format!("a segment's row can't be read: {e}")))?;
                starts.insert(
                    sequence.ok_or_else(|| self.damaged("a segment's key can't be read".into()))?,
                    start,
                );
            }
            let mut segments = Vec::with_capacity(starts.len());
            for (sequence, start) in starts {
                let name = keyspace_name(topic.id, sequence);
                if !self.database.keyspace_exists(&name) {
                    return Err(self.damaged(format!(
                        "segment {sequence} of topic `{}` is missing",
                        topic.name
                    )));
                }
                if start.offsets.len() != topic.partitions as usize
                    || start.times_ms.len() != start.offsets.len()
                {
                    return Err(self.damaged(format!(
                        "segment {sequence} of topic `{}` has other partitions than its topic",
                        topic.name
                    )));
                }
                let keyspace = self
                    .database
                    .keyspace(&name, || self.segment_options())
                    .map_err(error)?;
                if let Some(previous) = segments.last_mut() {
                    let previous: &mut Segment = previous;
                    previous.bytes = AtomicU64::new(start.previous_bytes);
                }
                known.insert(name);
                segments.push(Segment {
                    sequence,
                    start,
                    keyspace,
                    bytes: AtomicU64::new(0),
                });
            }
            let Some(active) = segments.last_mut() else {
                return Err(self.damaged(format!("topic `{}` has no segment", topic.name)));
            };
            let ends = self.recover_active(&topic, active)?;
            let spec = TopicSpec {
                name: topic.name.clone(),
                partitions: topic.partitions,
                retention_ms: topic.retention_ms,
                log_append_time: topic.log_append_time,
            };
            let topic_state = Topic::new(
                topic.id,
                spec,
                segments.into_iter().map(Arc::new).collect(),
                &ends,
            );
            self.topics
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(topic.name, Arc::new(topic_state));
        }
        for name in self.database.list_keyspace_names() {
            if name.starts_with("segment-") && !known.contains(&*name) {
                tracing::info!(
                    keyspace = &*name,
                    "removing a segment that a crash left half created or half removed"
                );
                let keyspace = self
                    .database
                    .keyspace(&name, KeyspaceCreateOptions::default)
                    .map_err(error)?;
                self.database.delete_keyspace(keyspace).map_err(error)?;
            }
        }
        Ok(())
    }

    /// Finds where each partition ends and how large the active segment is.
    fn recover_active(
        &self,
        topic: &StoredTopic,
        active: &mut Segment,
    ) -> Result<Vec<u64>, BusError> {
        let mut bytes = 0;
        for item in active.keyspace.iter() {
            match item.size() {
                Ok(size) => bytes += u64::from(size),
                // Found again, and told with its offset, by whoever reads it.
                Err(error) if damage(&error).is_some() => {
                    tracing::error!(topic = topic.name, %error, "a record is damaged")
                }
                Err(error) => return Err(self.fault("opening the log in", error)),
            }
        }
        active.bytes = AtomicU64::new(bytes);
        let mut ends = active.start.offsets.clone();
        for (partition, end) in (0..topic.partitions).zip(&mut ends) {
            let last = active
                .keyspace
                .range(store_key(partition, *end)..=store_key(partition, u64::MAX))
                .next_back();
            if let Some(item) = last {
                let key = item
                    .key()
                    .map_err(|error| self.fault("opening the log in", error))?;
                *end = super::record::offset_of(&key)
                    .ok_or_else(|| self.damaged("a record's key has a wrong length".into()))?
                    + 1;
            }
        }
        Ok(ends)
    }

    /// The append time of a partition's last record, so that times that appenders give never go back.
    pub(super) fn last_time_ms(&self, topic: &Topic, partition: u32) -> i64 {
        let Some(active) = topic.active() else {
            return i64::MIN;
        };
        let end = topic.end(partition);
        if end > active.start.offsets[partition as usize]
            && let Ok(records) = topic.read(partition, end - 1, end, 1)
            && let Some(record) = records.first()
        {
            return record.append_time_ms;
        }
        active.start.times_ms[partition as usize]
    }
}

fn to_json(row: &impl Serialize) -> Result<Vec<u8>, BusError> {
    serde_json::to_vec(row)
        .map_err(|error| BusError::Config(format!("a row of the log can't be encoded: {error}")))
}

fn keyspace_name(topic: u32, sequence: u64) -> String {
    format!("segment-{topic:08x}-{sequence:016x}")
}

fn segment_prefix(topic: u32) -> String {
    format!("segment/{topic:08x}/")
}

fn segment_key(topic: u32, sequence: u64) -> String {
    format!("segment/{topic:08x}/{sequence:016x}")
}

/// Takes a lock, or gives up after half a second: a child that is just being started has copies of its parent's files, and so its locks, until it runs its own
/// program.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            locked => return locked,
        }
    }
}

fn lock(dir: &Path) -> Result<File, BusError> {
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|error| fault::io("opening", &path, &error))?;
    match try_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = std::fs::read_to_string(&path).unwrap_or_default();
            let owner = owner.trim();
            let owner = if owner.is_empty() {
                String::new()
            } else {
                format!(" (process {owner})")
            };
            return Err(BusError::Config(format!(
                "the data directory {} is in use by another tidewatch{owner}; stop that one, or give this one another data directory",
                dir.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(fault::io("locking", &path, &error)),
    }
    // Only for the message above; who holds the lock is decided by the lock.
    let noted = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::debug!(%error, "the lock file could not note its owner");
    }
    Ok(file)
}

/// A random UUID. The standard library seeds its hashers from the system's randomness.
fn random_id() -> String {
    let now = std::time::SystemTime::now();
    let mut id = [
        RandomState::new().hash_one(now),
        RandomState::new().hash_one(std::process::id()),
    ];
    id[0] = id[0] & !0xf000 | 0x4000;
    id[1] = id[1] & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        id[0] >> 32,
        id[0] >> 16 & 0xffff,
        id[0] & 0xffff,
        id[1] >> 48,
        id[1] & 0xffff_ffff_ffff
    )
}
