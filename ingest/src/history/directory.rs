//! The series of a history, each named once. Grows at the end, up to a limit.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::{Labels, METRIC_BYTES_MAX, Resource, Series, SeriesId};

use super::error::RowError;
use super::kinds::KindRules;
use crate::door::LABEL_SET_BYTES_MAX;

/// A series of a history and who speaks in it.
#[derive(Debug, Clone)]
pub struct HistorySeries {
    /// The series.
    pub series: Arc<Series>,
    /// Hash of its resource: decides the partition.
    pub resource_hash: u64,
}

/// Why a series was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is no series.
    Row(RowError),
    /// It would be one too many.
    Full,
}

/// All series by their index, in the order of first appearance.
#[derive(Debug)]
pub struct Directory {
    series: Vec<HistorySeries>,
    index: HashMap<SeriesId, u32, foldhash::fast::RandomState>,
    kinds: KindRules,
    series_max: usize,
}

impl Directory {
    pub(super) fn new(kinds: KindRules, series_max: usize) -> Self {
        Directory {
            series: Vec::new(),
            index: HashMap::default(),
            kinds,
            series_max: series_max.min(u32::MAX as usize),
        }
    }

    /// The series by their index.
    pub fn series(&self) -> &[HistorySeries] {
        &self.series
    }

    /// The index of a series.
    pub fn index_of(&self, id: SeriesId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    /// Names a series.
    pub(super) fn resolve<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        metric: &str,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u32, Refused> {
        if metric.len() > METRIC_BYTES_MAX {
            return Err(Refused::Row(RowError::MetricTooLong(metric.len())));
        }
        let labels = Labels::try_new(labels).map_err(|error| Refused::Row(error.into()))?;
        let bytes = labels.canonical().len();
        if bytes > LABEL_SET_BYTES_MAX {
            return Err(Refused::Row(RowError::LabelSetTooLarge(bytes)));
        }
        let id = SeriesId::of(metric, &labels);
        if let Some(index) = self.index.get(&id) {
            return Ok(*index);
        }
        if self.series.len() >= self.series_max {
            return Err(Refused::Full);
        }
        let index = self.series.len() as u32;
        let resource_hash = Resource::of(&labels).hash64();
        let series = Arc::new(Series::new(metric, labels, self.kinds.of(metric)));
        self.series.push(HistorySeries {
            series,
            resource_hash,
        });
        self.index.insert(id, index);
        Ok(index)
    }
}

/// Finds series again by the raw bytes of the cells that name them: of one file, whose columns do not change.
#[derive(Debug, Default)]
pub(super) struct SeriesMemo {
    known: hashbrown::HashMap<Vec<u8>, u32, foldhash::fast::RandomState>,
}

impl SeriesMemo {
    pub(super) fn get(&self, key: &[u8]) -> Option<u32> {
        self.known.get(key).copied()
    }

    pub(super) fn insert(&mut self, key: &[u8], series: u32) {
        self.known.insert(key.to_vec(), series);
    }
}
