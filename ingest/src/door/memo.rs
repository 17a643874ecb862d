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
    /// Metrics by the two parts that their senders name them with.
    parts: Vec<KnownParts>,
    /// Index in `parts`, by the hash of both.
    parts_places: HashTable<u32>,
    /// Where the next parts are expected, as `next` is for series.
    parts_next: usize,
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

/// A metric by a measurement and a field of it, as sent.
#[derive(Debug)]
struct KnownParts {
    measurement: Box<[u8]>,
    field: Box<[u8]>,
    metric: MetricId,
}

impl KnownParts {
    fn are(&self, measurement: &[u8], field: &[u8]) -> bool {
        *self.field == *field && *self.measurement == *measurement
    }

    fn bytes(&self) -> usize {
        self.measurement.len() + self.field.len() + ENTRY_OVERHEAD_BYTES
    }
}

impl Memo {
    pub(super) fn new(partitions: u32, bytes_max: usize) -> Self {
        Memo {
            partitions,
            bytes: 0,
            bytes_max,
            metrics: Vec::new(),
            metric_ids: HashMap::default(),
            parts: Vec::new(),
            parts_places: HashTable::new(),
            parts_next: 0,
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
        let metrics = self.metrics.iter();
        let metrics = metrics.map(|metric| metric.name.len() + ENTRY_OVERHEAD_BYTES);
        self.bytes = metrics
            .chain(self.parts.iter().map(KnownParts::bytes))
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

    /// The metric that two parts stand for; `make` puts its name together the first time.
    pub(super) fn metric_by_parts(
        &mut self,
        measurement: &[u8],
        field: &[u8],
        make: impl FnOnce() -> Result<String, Reason>,
    ) -> Result<MetricId, Reason> {
        if let Some(known) = self
            .parts
            .get(self.parts_next)
            .filter(|known| known.are(measurement, field))
        {
            self.parts_next += 1;
            return Ok(known.metric);
        }
        let hash = self.hasher.hash_one((measurement, field));
        let are_these = |place: &u32| self.parts[*place as usize].are(measurement, field);
        if let Some(place) = self.parts_places.find(hash, are_these) {
            self.parts_next = *place as usize + 1;
            return Ok(self.parts[*place as usize].metric);
        }
        let known = KnownParts {
            measurement: measurement.into(),
            field: field.into(),
            metric: self.metric(&make()?)?,
        };
        let metric = known.metric;
        self.bytes += known.bytes();
        let place = self.parts.len() as u32;
        self.parts.push(known);
        let (hasher, known) = (&self.hasher, &self.parts);
        let hash_of = |place: &u32| {
            let known = &known[*place as usize];
            hasher.hash_one((&*known.measurement, &*known.field))
        };
        self.parts_places.insert_unique(hash, place, hash_of);
        self.parts_next = self.parts.len();
        Ok(metric)
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
    fn metrics_by_parts_are_those_of_their_names_in_any_order() {
        let mut memo = Memo::new(4, 1 << 20);
        let mut ask = |measurement: &str, field: &str| {
            let make = || Ok(format!("{measurement}_{field}"));
            let metric = memo
                .metric_by_parts(measurement.as_bytes(), field.as_bytes(), make)
                .unwrap();
            let name = memo.metrics[metric.0 as usize].name.to_string();
            assert_eq!(name, format!("{measurement}_{field}"));
            assert_eq!(memo.metric(&name), Ok(metric), "one name, one metric");
            metric
        };
        let orders = [[0, 1, 2, 3], [0, 1, 2, 3], [3, 1, 0, 2], [2, 2, 2, 0]];
        for number in orders.concat() {
            // The last two make the same name of other parts.
            let (measurement, field) =
                [("cpu", "a"), ("cpu", "b"), ("disk_a", "b"), ("disk", "a_b")][number];
            ask(measurement, field);
        }
        assert_eq!(ask("disk_a", "b"), ask("disk", "a_b"));
        assert!(
            memo.metric_by_parts(b"x", b"y", || Err(Reason::NoMetric))
                .is_err()
        );
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
