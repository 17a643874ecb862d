//! A topic in memory: its segments, the published end of each partition, and reading from them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use schemas::NextOffset;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::fault::damage;
use super::record::{decode, offset_of, store_key};
use crate::{BusError, ENVELOPE_BYTES_MAX, LogRecord, RECORD_BYTES_MAX, Retained, TopicSpec};

/// What a body may have besides key, headers and value: the lengths of 65,535 headers fit well.
const BODY_BYTES_MAX: usize = RECORD_BYTES_MAX + 8 * ENVELOPE_BYTES_MAX;

/// Where a segment begins; stored in `meta`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SegmentStart {
    /// When it was begun, by the log's clock.
    pub(super) opened_ms: i64,
    /// The first offset of each partition that is in it or after it.
    pub(super) offsets: Vec<u64>,
    /// The append time of the last record before it, of each partition.
    pub(super) times_ms: Vec<i64>,
    /// Stored size of the segment before it, bytes.
    pub(super) previous_bytes: u64,
}

/// A stretch of a topic, in one keyspace.
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) start: SegmentStart,
    pub(super) keyspace: fjall::Keyspace,
    /// Stored size so far, bytes.
    pub(super) bytes: AtomicU64,
}

struct Partition {
    /// The published end: all below are durable.
    end: watch::Sender<u64>,
    /// Records below are in the archive.
    trim_below: AtomicU64,
}

/// A topic.
pub(super) struct Topic {
    pub(super) id: u32,
    pub(super) spec: TopicSpec,
    partitions: Vec<Partition>,
    /// Oldest first; never empty; the last is written to.
    segments: RwLock<Vec<Arc<Segment>>>,
}

impl Topic {
    pub(super) fn new(id: u32, spec: TopicSpec, segments: Vec<Arc<Segment>>, ends: &[u64]) -> Self {
        let partitions = ends
            .iter()
            .map(|end| Partition {
                end: watch::Sender::new(*end),
                trim_below: AtomicU64::new(0),
            })
            .collect();
        Topic {
            id,
            spec,
            partitions,
            segments: RwLock::new(segments),
        }
    }

    pub(super) fn partitions(&self) -> u32 {
        self.spec.partitions
    }

    pub(super) fn end(&self, partition: u32) -> u64 {
        *self.partitions[partition as usize].end.borrow()
    }

    pub(super) fn follow_end(&self, partition: u32) -> watch::Receiver<u64> {
        self.partitions[partition as usize].end.subscribe()
    }

    /// Lets readers see records below an offset.
    pub(super) fn publish(&self, partition: u32, end: u64) {
        self.partitions[partition as usize].end.send_replace(end);
    }

    pub(super) fn allow_trim(&self, partition: u32, below: u64) {
        self.partitions[partition as usize]
            .trim_below
            .fetch_max(below, Ordering::AcqRel);
    }

    pub(super) fn trim_below(&self, partition: u32) -> u64 {
        self.partitions[partition as usize]
            .trim_below
            .load(Ordering::Acquire)
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn active(&self) -> Option<Arc<Segment>> {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
    }

    pub(super) fn push_segment(&self, segment: Arc<Segment>) {
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(segment);
    }

    pub(super) fn remove_oldest(&self) {
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if segments.len() > 1 {
            segments.remove(0);
        }
    }

    pub(super) fn retained(&self, partition: u32) -> Retained {
        // The start is read before the end, so that the range is never reversed.
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let start = segments
            .first()
            .map_or(0, |segment| segment.start.offsets[partition as usize]);
        Retained {
            start: NextOffset(start),
            end: NextOffset(self.end(partition)),
        }
    }

    pub(super) fn check_range(&self, partition: u32, asked: u64) -> Result<(), BusError> {
        let Retained { start, end } = self.retained(partition);
        if asked < start.0 || asked > end.0 {
            return Err(BusError::OutOfRange {
                topic: self.spec.name.clone(),
                partition,
                asked,
                start: start.0,
                end: end.0,
            });
        }
        Ok(())
    }

    /// Reads records from an offset (inclusive) to `end` (exclusive), at least one and about `bytes_max` bytes; stops where a segment ends.
    pub(super) fn read(
        &self,
        partition: u32,
        from: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, BusError> {
        self.check_range(partition, from)?;
        let damaged = |offset: u64, detail: String| BusError::Damaged {
            topic: self.spec.name.clone(),
            partition,
            offset,
            detail,
        };
        let at = partition as usize;
        let (segment, segment_end) = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            let following = segments.partition_point(|segment| segment.start.offsets[at] <= from);
            let Some(segment) = following
                .checked_sub(1)
                .and_then(|index| segments.get(index))
            else {
                drop(segments);
                // Removed since the check above.
                return self.check_range(partition, from).map(|()| Vec::new());
            };
            (
                segment.clone(),
                segments
                    .get(following)
                    .map_or(end, |next| next.start.offsets[at].min(end)),
            )
        };
        let mut records = Vec::new();
        let mut bytes = 0;
        let stored = segment
            .keyspace
            .range(store_key(partition, from)..store_key(partition, segment_end));
        for (expected, item) in (from..).zip(stored) {
            let (key, value) = match item.into_inner() {
                Ok(pair) => pair,
                // The store looks ahead, so the damage may be in a later record; this one is asked for by itself.
                Err(_) => {
                    let key = store_key(partition, expected);
                    match segment.keyspace.get(key) {
                        Ok(Some(value)) => (fjall::Slice::from(&key[..]), value),
                        Ok(None) => break,
                        // What was read before the damage is handed out first; the next call begins at the damage.
                        Err(_) if !records.is_empty() => return Ok(records),
                        Err(error) => {
                            return Err(match damage(&error) {
                                Some(detail) => damaged(expected, detail),
                                None => BusError::Unavailable {
                                    action: format!(
                                        "reading partition {partition} of `{}`",
                                        self.spec.name
                                    ),
                                    detail: error.to_string(),
                                },
                            });
                        }
                    }
                }
            };
            if offset_of(&key) != Some(expected) {
                break;
            }
            match decode(&key, &value, BODY_BYTES_MAX) {
                Ok(record) => {
                    bytes += record.value.len() + record.key.len();
                    records.push(record);
                }
                Err(_) if !records.is_empty() => return Ok(records),
                Err(detail) => return Err(damaged(expected, detail)),
            }
            if bytes >= bytes_max {
                break;
            }
        }
        if records.is_empty() {
            return Err(damaged(
                from,
                "the record is missing from its segment".into(),
            ));
        }
        Ok(records)
    }
}
