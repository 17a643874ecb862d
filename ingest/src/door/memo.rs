//! What the door remembers between samples and requests: senders send the same label bytes again and again.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use schemas::{Kind, Labels, METRIC_BYTES_MAX, Resource, partition_of};

use super::Reason;
use super::pairs::{PAIR_BYTES, Pairs};

/// The largest label set, bytes of its canonical form. 1 MiB: with it and a full batch a record stays below the log's 4 MiB.
pub const LABEL_SET_BYTES_MAX: usize = 1024 * 1024;

/// What an entry costs beside its own bytes: map slots, vectors, reference counts.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// A metric known to a [`super::Batcher`]; holds until its `finish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(pub(super) u32);

/// A label set known to a [`super::Batcher`]; holds until the next label set or series is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelSetId(pub(super) u32);

/// A metric with a label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesRef {
    /// The metric.
    pub metric: MetricId,
    /// The labels.
    pub labels: LabelSetId,
}

#[derive(Debug)]
pub(super) struct MetricEntry {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct LabelSetEntry {
    pub(super) labels: Labels,
    pub(super) resource_hash: u64,
    pub(super) partition: u32,
    /// The batch that `key` is a dictionary key of; batches are numbered from 1.
    pub(super) batch: u64,
    pub(super) key: u32,
}

/// Remembers label sets by their raw bytes. Bounded in bytes: when full it forgets everything and learns anew, which costs one slow
/// lookup per live label set; label sets that are in use at that moment are asked for again, never used stale.
#[derive(Debug)]
pub(super) struct Memo {
    partitions: u32,
    bytes: usize,
    bytes_max: usize,
    pub(super) metrics: Vec<MetricEntry>,
    metric_ids: HashMap<Arc<str>, MetricId, RandomState>,
    pub(super) label_sets: Vec<LabelSetEntry>,
    label_set_ids: HashMap<Labels, LabelSetId, RandomState>,
    label_sets_by_raw: HashMap<Box<[u8]>, LabelSetId, RandomState>,
    series: Vec<KnownSeries>,
    /// Index in `series`, by the hash of the raw bytes.
    series_places: HashTable<u32>,
    hasher: RandomState,
    /// Where the next series is expected: senders keep their order, so it is the one after the last.
    next: usize,
    /// What became of series, where somebody decides that.
    pub(super) pairs: Pairs,
}

/// A series by the bytes that its sender names it with.
#[derive(Debug)]
struct KnownSeries {
    raw: Box<[u8]>,
    series: SeriesRef,
}

impl Memo {
    pub(super) fn new(partitions: u32, bytes_max: usize) -> Self {
        Memo {
            partitions,
            bytes: 0,
            bytes_max,
            metrics: Vec::new(),
            metric_ids: HashMap::default(),
            label_sets: Vec::new(),
            label_set_ids: HashMap::default(),
            label_sets_by_raw: HashMap::default(),
            series: Vec::new(),
            series_places: HashTable::new(),
            hasher: RandomState::default(),
            next: 0,
            pairs: Pairs::default(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Forgets label sets and series; metrics stay, so that a [`MetricId`] holds through a request.
    fn forget_label_sets(&mut self) {
        self.label_sets.clear();
        self.label_set_ids.clear();
        self.label_sets_by_raw.clear();
        self.series.clear();
        self.series_places.clear();
        self.pairs.clear();
        self.bytes = self
            .metrics
            .iter()
            .map(|m| m.name.len() + ENTRY_OVERHEAD_BYTES)
            .sum();
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Memo::new(self.partitions, self.bytes_max);
    }

    fn make_room(&mut self) {
        if self.is_full() && !self.label_sets.is_empty() {
            self.forget_label_sets();
        }
    }

    pub(super) fn metric(&mut self, name: &str) -> Result<MetricId, Reason> {
        if let Some(id) = self.metric_ids.get(name) {
            return Ok(*id);
        }
        match name.len() {
            0 => return Err(Reason::NoMetric),
            bytes if bytes > METRIC_BYTES_MAX => return Err(Reason::MetricTooLong(bytes)),
            bytes => self.bytes += bytes + ENTRY_OVERHEAD_BYTES,
        }
        let (name, id) = (Arc::<str>::from(name), MetricId(self.metrics.len() as u32));
        self.metrics.push(MetricEntry {
            kind: Kind::guess(&name),
            name: Arc::clone(&name),
        });
        self.metric_ids.insert(name, id);
        Ok(id)
    }

    /// Counts what one more pair costs.
    pub(super) fn note_pair(&mut self) {
        self.bytes += PAIR_BYTES;
    }

    /// A label set, without making room: what other label sets are known stays known.
    pub(super) fn intern(&mut self, labels: Labels) -> Result<LabelSetId, Reason> {
        if let Some(id) = self.label_set_ids.get(&labels) {
            return Ok(*id);
        }
        let bytes = labels.canonical().len();
        if bytes > LABEL_SET_BYTES_MAX {
            return Err(Reason::LabelSetTooLarge(bytes));
        }
        let id = LabelSetId(self.label_sets.len() as u32);
        let resource_hash = Resource::of(&labels).hash64();
        let partition = partition_of(resource_hash, self.partitions);
        self.bytes += bytes + 2 * ENTRY_OVERHEAD_BYTES;
        self.label_sets.push(LabelSetEntry {
            labels: labels.clone(),
            resource_hash,
            partition,
            batch: 0,
            key: 0,
        });
        self.label_set_ids.insert(labels, id);
        Ok(id)
    }

    pub(super) fn label_set(&mut self, labels: Labels) -> Result<LabelSetId, Reason> {
        self.make_room();
        self.intern(labels)
    }

    pub(super) fn label_set_by_raw(
        &mut self,
        raw: &[u8],
        make: impl FnOnce() -> Result<Labels, Reason>,
    ) -> Result<LabelSetId, Reason> {
        if let Some(id) = self.label_sets_by_raw.get(raw) {
            return Ok(*id);
        }
        self.make_room();
        let id = self.intern(make()?)?;
        self.bytes += raw.len() + ENTRY_OVERHEAD_BYTES;
        self.label_sets_by_raw.insert(raw.into(), id);
        Ok(id)
    }

    pub(super) fn series_by_raw<'a>(
        &mut self,
        raw: &[u8],
        make: impl FnOnce() -> Result<(&'a str, Labels), Reason>,
    ) -> Result<SeriesRef, Reason> {
        if let Some(known) = self
            .series
            .get(self.next)
            .filter(|known| *known.raw == *raw)
        {
            self.next += 1;
            return Ok(known.series);
        }
        let hash = self.hasher.hash_one(raw);
        let is_this = |place: &u32| *self.series[*place as usize].raw == *raw;
        if let Some(place) = self.series_places.find(hash, is_this) {
            self.next = *place as usize + 1;
            return Ok(self.series[*place as usize].series);
        }
        self.make_room();
        let (metric, labels) = make()?;
        let series = SeriesRef {
            metric: self.metric(metric)?,
            labels: self.intern(labels)?,
        };
        self.bytes += raw.len() + ENTRY_OVERHEAD_BYTES;
        let place = self.series.len() as u32;
        self.series.push(KnownSeries {
            raw: raw.into(),
            series,
        });
        let (hasher, known) = (&self.hasher, &self.series);
        let hash_of = |place: &u32| hasher.hash_one(&*known[*place as usize].raw);
        self.series_places.insert_unique(hash, place, hash_of);
        self.next = self.series.len();
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for series by their raw bytes; what comes must be theirs.
    fn ask(memo: &mut Memo, numbers: impl Iterator<Item = usize>) {
        for number in numbers {
            let (metric, host) = (format!("m{}", number % 7), format!("h{number}"));
            let labels = Labels::try_new([("host", host.as_str())]).unwrap();
            let raw = format!("{metric} {host}");
            let series = memo
                .series_by_raw(raw.as_bytes(), || Ok((&metric, labels.clone())))
                .unwrap();
            assert_eq!(
                *memo.metrics[series.metric.0 as usize].name, *metric,
                "{raw}"
            );
            assert_eq!(
                memo.label_sets[series.labels.0 as usize].labels, labels,
                "{raw}"
            );
        }
    }

    #[test]
    fn a_series_is_known_by_all_of_its_bytes_in_any_order() {
        const SERIES: usize = 2_000;
        let mut memo = Memo::new(4, 1 << 20);
        ask(&mut memo, 0..SERIES);
        // As expected, then never where it is expected.
        ask(&mut memo, 0..SERIES);
        ask(&mut memo, (0..SERIES).rev());
        ask(&mut memo, (0..SERIES).step_by(3));
        assert_eq!(memo.series.len(), SERIES, "each is learnt once");
    }
}
