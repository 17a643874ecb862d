//! Who is who: from the dictionaries of a record to dense series indices. Grows at the end, up to a limit.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::hash_map::Entry;
use schemas::{Kind, SampleBatch, Series, SeriesDirectory, SeriesId};

/// Marks a pair of dictionary entries that was not looked up yet.
const UNKNOWN: u32 = u32::MAX;
/// Marks a series that was refused because the table is full.
const REFUSED: u32 = u32::MAX - 1;

/// The series of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeriesTable {
    directory: SeriesDirectory,
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
        SeriesTable { directory, index }
    }

    pub(crate) fn directory(&self) -> &SeriesDirectory {
        &self.directory
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
            series_max,
        }
    }

    fn resolve_new(
        &mut self,
        id: SeriesId,
        series_max: usize,
        make: impl FnOnce() -> Series,
        kind: Kind,
    ) -> u32 {
        let count = self.directory.len();
        match self.index.entry(id) {
            Entry::Occupied(known) => {
                let index = *known.get();
                let series = &self.directory[index as usize];
                if kind > series.kind {
                    let mut series = Series::clone(series);
                    series.kind = kind;
                    self.directory.replace(index as usize, Arc::new(series));
                }
                index
            }
            Entry::Vacant(_) if count >= series_max => REFUSED,
            Entry::Vacant(place) => {
                place.insert(count as u32);
                self.directory.push(Arc::new(make()));
                count as u32
            }
        }
    }
}

enum Memo {
    /// Row-major: metric × label set.
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
    series_max: usize,
}

impl Resolver<'_> {
    /// The series index of the sample at `row`; `None` if it would be one series too many.
    pub(crate) fn series(&mut self, row: usize) -> Option<u32> {
        let (metric, labels) = (self.batch.metric_keys()[row], self.batch.label_keys()[row]);
        let known = match &self.memo {
            Memo::Table(table) => {
                table[metric as usize * self.label_hashes.len() + labels as usize]
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

    /// A series by its index.
    pub(crate) fn of(&self, series: u32) -> &Series {
        &self.table.directory[series as usize]
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
        let index = self.table.resolve_new(id, self.series_max, make, kind);
        match &mut self.memo {
            Memo::Table(table) => {
                table[metric as usize * self.label_hashes.len() + labels as usize] = index
            }
            Memo::Map(map) => {
                map.insert((metric, labels), index);
            }
        }
        index
    }
}
