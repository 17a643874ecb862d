//! Who is who: from the dictionaries of a record to dense series indices. Grows at the end, up to a limit.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::hash_map::Entry;
use schemas::{Kind, SampleBatch, Series, SeriesDirectory, SeriesId};

use crate::resources::Resources;

/// Marks a pair of dictionary entries that was not looked up yet.
const UNKNOWN: u32 = u32::MAX;
/// Marks a series that was refused because the table is full.
const REFUSED: u32 = u32::MAX - 1;

/// The series of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeriesTable {
    directory: SeriesDirectory,
    /// By index, beside the directory: what each sample needs stands close together.
    ids: Vec<SeriesId>,
    kinds: Vec<Kind>,
    resources: Resources,
    index: hashbrown::HashMap<SeriesId, u32, foldhash::fast::RandomState>,
}

impl SeriesTable {
    /// A table of series in the order of their indices.
    pub(crate) fn from_directory(directory: SeriesDirectory) -> Self {
        let index = directory
            .iter()
            .enumerate()
            .map(|(i, series)| (series.id, i as u32))
            .collect();
        let mut resources = Resources::default();
        directory
            .iter()
            .for_each(|series| resources.push(&series.labels));
        SeriesTable {
            resources,
            ids: directory.iter().map(|series| series.id).collect(),
            kinds: directory.iter().map(|series| series.kind).collect(),
            directory,
            index,
        }
    }

    pub(crate) fn directory(&self) -> &SeriesDirectory {
        &self.directory
    }

    /// By index: whether a series counts or measures.
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Who speaks.
    pub(crate) fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Looks up by id.
    pub(crate) fn get(&self, id: SeriesId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    /// The lookup of one record's samples.
    pub(crate) fn resolver<'a>(
        &'a mut self,
        batch: &'a SampleBatch,
        series_max: usize,
    ) -> Resolver<'a> {
        let pairs = batch.metrics().len() * batch.label_sets().len();
        // A record of one host with its own label sets per metric has far more pairs than samples: then a map, else a plain table.
        let memo = if pairs <= 4 * batch.rows() + 64 {
            Memo::Table(vec![UNKNOWN; pairs])
        } else {
            Memo::Map(HashMap::new())
        };
        Resolver {
            metric_hashes: batch
                .metrics()
                .iter()
                .map(|name| SeriesId::metric_hash(name))
                .collect(),
            label_hashes: batch.label_sets().iter().map(|set| set.hash128()).collect(),
            table: self,
            batch,
            memo,
            next: 0,
            series_max,
        }
    }

    fn resolve(
        &mut self,
        id: SeriesId,
        guess: usize,
        series_max: usize,
        make: impl FnOnce() -> Series,
        kind: Kind,
    ) -> u32 {
        if self.ids.get(guess) == Some(&id) {
            self.note_kind(guess, kind);
            return guess as u32;
        }
        let count = self.ids.len();
        match self.index.entry(id) {
            Entry::Occupied(known) => {
                let index = *known.get();
                self.note_kind(index as usize, kind);
                index
            }
            Entry::Vacant(_) if count >= series_max => REFUSED,
            Entry::Vacant(place) => {
                place.insert(count as u32);
                self.ids.push(id);
                self.kinds.push(kind);
                let series = make();
                self.resources.push(&series.labels);
                self.directory.push(Arc::new(series));
                count as u32
            }
        }
    }

    /// A series once known to count stays a counter.
    pub(crate) fn note_kind(&mut self, index: usize, kind: Kind) {
        if kind > self.kinds[index]
            && let Some(series) = self.directory.get_mut(index)
        {
            self.kinds[index] = kind;
            series.kind = kind;
        }
    }
}

enum Memo {
    /// Label set × metric: the samples of a host stand together, so the entries they need do too.
    Table(Vec<u32>),
    Map(HashMap<(u32, u32), u32>),
}

/// Resolves the samples of one record, each pair of dictionary entries once.
pub(crate) struct Resolver<'a> {
    table: &'a mut SeriesTable,
    batch: &'a SampleBatch,
    metric_hashes: Vec<u128>,
    label_hashes: Vec<u128>,
    memo: Memo,
    /// Where the next series is expected: senders keep their order, so it is the one after the last.
    next: usize,
    series_max: usize,
}

impl Resolver<'_> {
    /// The series index of the sample at `row`; `None` if it would be one series too many.
    pub(crate) fn series(&mut self, row: usize) -> Option<u32> {
        let (metric, labels) = (self.batch.metric_keys()[row], self.batch.label_keys()[row]);
        let known = match &self.memo {
            Memo::Table(table) => {
                table[labels as usize * self.metric_hashes.len() + metric as usize]
            }
            Memo::Map(map) => map.get(&(metric, labels)).copied().unwrap_or(UNKNOWN),
        };
        let index = if known == UNKNOWN {
            self.look_up(row, metric, labels)
        } else {
            known
        };
        (index != REFUSED).then_some(index)
    }

    /// Whether a series counts or measures.
    pub(crate) fn kind_of(&self, series: u32) -> Kind {
        self.table.kinds[series as usize]
    }

    /// The id of a series.
    pub(crate) fn id_of(&self, series: u32) -> SeriesId {
        self.table.ids[series as usize]
    }

    /// A series by its index.
    pub(crate) fn of(&self, series: u32) -> &Series {
        &self.table.directory[series as usize]
    }

    /// The index of the resource that a series speaks for.
    pub(crate) fn resource_of(&self, series: u32) -> u32 {
        self.table.resources.of(series)
    }

    /// The series by their index.
    pub(crate) fn directory(&self) -> &SeriesDirectory {
        &self.table.directory
    }

    /// Who speaks.
    pub(crate) fn resources(&self) -> &Resources {
        &self.table.resources
    }

    fn look_up(&mut self, row: usize, metric: u32, labels: u32) -> u32 {
        let id = SeriesId::of_hashes(
            self.metric_hashes[metric as usize],
            self.label_hashes[labels as usize],
        );
        let kind = Kind::from_byte(self.batch.kinds()[row]).unwrap_or_default();
        let make = || Series {
            id,
            metric: Arc::clone(&self.batch.metrics()[metric as usize]),
            labels: self.batch.label_sets()[labels as usize].clone(),
            kind,
        };
        let index = self
            .table
            .resolve(id, self.next, self.series_max, make, kind);
        self.next = (index as usize).wrapping_add(1);
        match &mut self.memo {
            Memo::Table(table) => {
                table[labels as usize * self.metric_hashes.len() + metric as usize] = index
            }
            Memo::Map(map) => {
                map.insert((metric, labels), index);
            }
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use schemas::{BatchBuilder, Labels};

    use super::*;

    /// A record of one sample of each of these metrics of one host.
    fn batch(metrics: &[(&str, Kind)]) -> SampleBatch {
        let mut builder = BatchBuilder::default();
        let labels = builder.label_set(&Labels::try_new([("host", "a")]).unwrap());
        for (metric, kind) in metrics {
            let metric = builder.metric(metric);
            builder.push(metric, labels, *kind, 0, 1.0);
        }
        builder.finish().unwrap()
    }

    /// The metrics of the table's indices that the samples of a record are given, in the order of the record.
    fn found(table: &mut SeriesTable, metrics: &[(&str, Kind)], series_max: usize) -> Vec<String> {
        let batch = batch(metrics);
        let mut resolver = table.resolver(&batch, series_max);
        let rows = (0..batch.rows()).map(|row| match resolver.series(row) {
            Some(index) => {
                let series = resolver.of(index);
                assert_eq!(resolver.id_of(index), series.id);
                series.metric.to_string()
            }
            None => "refused".to_owned(),
        });
        rows.collect()
    }

    #[test]
    fn a_series_is_found_in_any_order_of_a_record() {
        let gauges = |names: &[&'static str]| -> Vec<(&'static str, Kind)> {
            names.iter().map(|name| (*name, Kind::Gauge)).collect()
        };
        let mut table = SeriesTable::default();
        for names in [
            &["a", "b", "c"][..],
            // As expected, then against it in every way: backwards, with gaps, with one that is new in the middle.
            &["a", "b", "c"],
            &["c", "b", "a"],
            &["a", "c"],
            &["b", "d", "c", "a"],
            &["d"],
        ] {
            assert_eq!(found(&mut table, &gauges(names), 10), *names);
        }
        assert_eq!(table.directory().len(), 4);
        assert_eq!(
            found(&mut table, &gauges(&["e", "d", "a"]), 4),
            ["refused", "d", "a"]
        );
    }

    #[test]
    fn a_series_once_known_to_count_stays_a_counter() {
        let mut table = SeriesTable::default();
        let kinds = |table: &SeriesTable| {
            let of_directory: Vec<Kind> = table.directory().iter().map(|s| s.kind).collect();
            assert_eq!(table.kinds(), of_directory);
            of_directory
        };
        let (gauge, counter) = (Kind::Gauge, Kind::Counter);
        found(&mut table, &[("a", gauge), ("b", gauge)], 10);
        assert_eq!(kinds(&table), [gauge, gauge]);
        // Found where it was expected, and found by its id.
        found(&mut table, &[("a", counter)], 10);
        assert_eq!(kinds(&table), [counter, gauge]);
        found(&mut table, &[("b", counter), ("a", gauge)], 10);
        assert_eq!(kinds(&table), [counter, counter]);
        found(&mut table, &[("a", gauge), ("b", gauge)], 10);
        assert_eq!(kinds(&table), [counter, counter]);
    }
}
