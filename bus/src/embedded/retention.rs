//! Which segments may go. Pure but for what it reads; the writer carries it out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::options::EmbeddedOptions;
use super::segment::{Segment, Topic};

/// Why a segment is kept although it should go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Some of its records are not yet covered by the archive.
    NotArchived,
    /// It is written to.
    Active,
}

/// Whether a topic's oldest segment may be removed: it has ended, and every record in it is covered.
pub(super) fn removable(
    topic: &Topic,
    segments: &[Arc<Segment>],
    options: &EmbeddedOptions,
) -> Result<(), Hold> {
    let [oldest, next, ..] = segments else {
        return Err(Hold::Active);
    };
    if options.unguarded_topics.contains(&topic.spec.name) {
        return Ok(());
    }
    let covered = (0..topic.partitions()).zip(oldest.start.offsets.iter().zip(&next.start.offsets));
    let all = covered
        .into_iter()
        .all(|(partition, (start, end))| start == end || *end <= topic.trim_below(partition));
    if all { Ok(()) } else { Err(Hold::NotArchived) }
}

/// Whether a topic's oldest segment is older than the topic keeps records. Its youngest record came before the next segment was begun.
pub(super) fn expired(
    topic: &Topic,
    segments: &[Arc<Segment>],
    options: &EmbeddedOptions,
    now_ms: i64,
) -> bool {
    let [_, next, ..] = segments else {
        return false;
    };
    next.start
        .opened_ms
        .saturating_add(retention_ms(topic, options))
        <= now_ms
}

/// How long a topic keeps records, milliseconds; `i64::MAX`: for ever.
pub(super) fn retention_ms(topic: &Topic, options: &EmbeddedOptions) -> i64 {
    let own = match topic.spec.retention_ms {
        ..0 => i64::MAX,
        finite => finite,
    };
    own.min(options.retention_ms_max.unwrap_or(i64::MAX))
}

/// Whether the active segment should end, so that it can be removed one day.
pub(super) fn ends(
    topic: &Topic,
    active: &Segment,
    options: &EmbeddedOptions,
    now_ms: i64,
) -> bool {
    let bytes = active.bytes.load(Ordering::Relaxed);
    let age_ms_max = options.segment_ms_max.min(retention_ms(topic, options) / 4);
    bytes >= options.segment_bytes_max
        || (bytes > 0 && now_ms.saturating_sub(active.start.opened_ms) >= age_ms_max)
}
