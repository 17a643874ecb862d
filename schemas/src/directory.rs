//! The series of a partition by their dense index. Copied for every query, flush and checkpoint, so a copy is cheap however many series there are.

use std::ops::Index;
use std::sync::Arc;

use crate::Series;

/// Series that are shared as one. 4,096: a copy of a million series is 245 counters to raise, and the first addition after a copy moves 32 KiB at most.
const CHUNK: usize = 4096;

/// The series of a partition: `rows.series[i]` points in here. Grows at the end only, so an older copy stays valid.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesDirectory {
    /// All but the last hold [`CHUNK`] series.
    chunks: Vec<Arc<Vec<Arc<Series>>>>,
}

impl SeriesDirectory {
    /// How many series there are.
    pub fn len(&self) -> usize {
        match self.chunks.split_last() {
            Some((last, full)) => full.len() * CHUNK + last.len(),
            None => 0,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The series of an index.
    pub fn get(&self, index: usize) -> Option<&Arc<Series>> {
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    /// All series, in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Adds a series at the end. Copies that were made before do not see it.
    pub fn push(&mut self, series: Arc<Series>) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(series),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(series);
                self.chunks.push(Arc::new(chunk));
            }
        }
    }

    /// Puts a series in the place of the one at an index, which must exist. Copies that were made before keep the old one.
    pub fn replace(&mut self, index: usize, series: Arc<Series>) {
        Arc::make_mut(&mut self.chunks[index / CHUNK])[index % CHUNK] = series;
    }
}

impl Index<usize> for SeriesDirectory {
    type Output = Arc<Series>;

    fn index(&self, index: usize) -> &Arc<Series> {
        &self.chunks[index / CHUNK][index % CHUNK]
    }
}

impl FromIterator<Arc<Series>> for SeriesDirectory {
    fn from_iter<I: IntoIterator<Item = Arc<Series>>>(series: I) -> Self {
        let mut directory = SeriesDirectory::default();
        series.into_iter().for_each(|series| directory.push(series));
        directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Labels};

    fn series(number: usize) -> Arc<Series> {
        let name = format!("m{number}");
        Arc::new(Series::new(&name, Labels::empty(), Kind::Gauge))
    }

    #[test]
    fn every_series_keeps_its_index_and_a_copy_what_it_had() {
        for count in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            let mut directory: SeriesDirectory = (0..count).map(series).collect();
            assert_eq!((directory.len(), directory.is_empty()), (count, count == 0));
            assert!(directory.get(count).is_none());
            let copy = directory.clone();
            directory.push(series(count));
            assert_eq!((copy.len(), directory.len()), (count, count + 1));
            for (index, found) in directory.iter().enumerate() {
                assert_eq!(*found.metric, format!("m{index}"));
                assert_eq!(directory.get(index), Some(found));
                assert_eq!(&directory[index], found);
            }
            directory.replace(0, series(99));
            assert_eq!(*directory[0].metric, *"m99");
            assert!(copy.get(0).is_none_or(|first| *first.metric == *"m0"));
        }
    }
}
