//! The series of a partition by dense index, cheap to copy while it grows.

use std::ops::Index;
use std::sync::Arc;

use crate::Series;

/// Series that are shared as one: 1,024. A copy of a million costs a thousand counts; growing after a copy costs at most 1,024.
const CHUNK: usize = 1024;

/// The series of a partition by their dense index: `rows.series[i]` points in here. Grows at the end only, so an older copy stays valid.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesDirectory {
    /// All full but the last.
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

    /// The series of an index, to be changed here and in no copy.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Series> {
        let chunk = self.chunks.get_mut(index / CHUNK)?;
        Arc::make_mut(chunk)
            .get_mut(index % CHUNK)
            .map(Arc::make_mut)
    }

    /// Adds a series; its index is the length before.
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

    /// All series in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
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

impl Extend<Arc<Series>> for SeriesDirectory {
    fn extend<I: IntoIterator<Item = Arc<Series>>>(&mut self, series: I) {
        series.into_iter().for_each(|series| self.push(series));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Labels};

    fn series(i: usize) -> Arc<Series> {
        let labels = Labels::try_new([("host", format!("h{i}"))]).unwrap();
        Arc::new(Series::new("m", labels, Kind::Gauge))
    }

    #[test]
    fn a_copy_stays_what_it_was_while_the_directory_grows_and_changes() {
        let mut directory: SeriesDirectory = (0..CHUNK + 10).map(series).collect();
        let copy = directory.clone();
        directory.extend((CHUNK + 10..3 * CHUNK).map(series));
        directory.get_mut(3).unwrap().kind = Kind::Counter;

        assert_eq!((copy.len(), directory.len()), (CHUNK + 10, 3 * CHUNK));
        assert_eq!(copy[3].kind, Kind::Gauge);
        assert_eq!(directory[3].kind, Kind::Counter);
        assert!(copy.get(CHUNK + 10).is_none());
        assert!(directory.get(3 * CHUNK).is_none());
        let expected: Vec<_> = (0..3 * CHUNK).map(|i| series(i).id).collect();
        let found: Vec<_> = directory.iter().map(|series| series.id).collect();
        assert_eq!(found, expected);
        assert_eq!(directory[2 * CHUNK].id, expected[2 * CHUNK]);
    }
}
