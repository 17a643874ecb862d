//! Samples in any order become samples by time: sorted runs in memory, spilled to a nameless file, merged at the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use schemas::Micros;

use super::error::HistoryError;

/// Samples of one run: 1,048,576, that is 25 MB and as much again while they are sorted. A thousand runs, 10^9 samples, still merge at once.
pub const SAMPLES_IN_MEMORY: usize = 1 << 20;

/// A sample on disk: time, value bits, series, little-endian.
const SAMPLE_BYTES: usize = 8 + 8 + 4;

/// Bytes of all runs' buffers while they are merged. 32 MiB: long reads, and less memory than a run took.
const MERGE_BYTES: usize = 32 << 20;

/// The least samples read of a run at once, however many runs there are.
const MERGE_SAMPLES_MIN: usize = 512;

/// A sample of a history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistorySample {
    /// When, microseconds since 1970 UTC.
    pub time: Micros,
    /// Its value, bit for bit.
    pub value: f64,
    /// Its series: index in the history's directory.
    pub series: u32,
}

/// Takes samples in any order. Samples of equal time keep the order in which they came.
#[derive(Debug)]
pub(super) struct TimeSorter {
    directory: PathBuf,
    in_memory: usize,
    run: Vec<HistorySample>,
    spilled: Vec<std::ops::Range<u64>>,
    file: Option<File>,
    bounds: Option<(Micros, Micros)>,
}

impl TimeSorter {
    /// A sorter that holds so many samples in memory and keeps further ones in a temporary file in a directory.
    pub(super) fn new(directory: &Path, in_memory: usize) -> Self {
        TimeSorter {
            directory: directory.to_owned(),
            in_memory: in_memory.max(1),
            run: Vec::new(),
            spilled: Vec::new(),
            file: None,
            bounds: None,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, sample: HistorySample) -> Result<(), HistoryError> {
        if self.run.len() == self.in_memory {
            self.spill()
                .map_err(|error| failed(&self.directory, &error))?;
        }
        self.run.push(sample);
        Ok(())
    }

    /// How many samples were taken.
    pub(super) fn samples(&self) -> u64 {
        self.spilled.last().map_or(0, |last| last.end) + self.run.len() as u64
    }

    fn sort_run(&mut self) {
        // Files are mostly in order: the stable sort finds the ascending runs and merges them.
        self.run.sort_by_key(|sample| sample.time);
        if let (Some(first), Some(last)) = (self.run.first(), self.run.last()) {
            let (earliest, latest) = self.bounds.unwrap_or((first.time, last.time));
            self.bounds = Some((earliest.min(first.time), latest.max(last.time)));
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort_run();
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.directory)?,
        };
        let start = self.spilled.last().map_or(0, |last| last.end);
        let mut bytes = Vec::with_capacity(MERGE_SAMPLES_MIN * 128 * SAMPLE_BYTES);
        let mut at = start;
        for part in self.run.chunks(MERGE_SAMPLES_MIN * 128) {
            bytes.clear();
            for sample in part {
                bytes.extend_from_slice(&sample.time.to_le_bytes());
                bytes.extend_from_slice(&sample.value.to_bits().to_le_bytes());
                bytes.extend_from_slice(&sample.series.to_le_bytes());
            }
            file.write_all_at(&bytes, at * SAMPLE_BYTES as u64)?;
            at += part.len() as u64;
        }
        self.spilled.push(start..at);
        self.file = Some(file);
        self.run.clear();
        Ok(())
    }

    /// All samples, earliest first.
    pub(super) fn finish(mut self) -> Sorted {
        self.sort_run();
        let samples = self.samples();
        let runs = self.spilled.len() + 1;
        let at_once = (MERGE_BYTES / SAMPLE_BYTES / runs).max(MERGE_SAMPLES_MIN);
        let mut runs: Vec<Run> = self
            .spilled
            .into_iter()
            .map(|on_disk| Run {
                on_disk,
                buffer: Vec::new(),
                next: 0,
            })
            .collect();
        // Spilled runs came before: of equal times, theirs go first.
        runs.push(Run {
            on_disk: 0..0,
            buffer: self.run,
            next: 0,
        });
        Sorted {
            directory: self.directory,
            file: self.file,
            runs,
            heads: None,
            at_once,
            samples,
            bounds: self.bounds,
        }
    }
}

fn failed(directory: &Path, error: &io::Error) -> HistoryError {
    HistoryError::Spill {
        directory: directory.display().to_string(),
        detail: error.to_string(),
    }
}

/// A sorted run that is being merged: what is in memory of it, and what is still on disk (in samples from the file's beginning).
#[derive(Debug)]
struct Run {
    on_disk: std::ops::Range<u64>,
    buffer: Vec<HistorySample>,
    next: usize,
}

impl Run {
    /// The time of its next sample, read from disk if need be; `None` at its end.
    fn head(&mut self, file: Option<&File>, at_once: usize) -> io::Result<Option<Micros>> {
        if self.next == self.buffer.len() {
            self.next = 0;
            self.buffer.clear();
            let left = self.on_disk.end - self.on_disk.start;
            if let Some(file) = file
                && left > 0
            {
                let count = left.min(at_once as u64) as usize;
                let mut bytes = vec![0; count * SAMPLE_BYTES];
                file.read_exact_at(&mut bytes, self.on_disk.start * SAMPLE_BYTES as u64)?;
                self.on_disk.start += count as u64;
                self.buffer
                    .extend(bytes.chunks_exact(SAMPLE_BYTES).map(decode));
            }
        }
        Ok(self.buffer.get(self.next).map(|sample| sample.time))
    }
}

fn decode(bytes: &[u8]) -> HistorySample {
    let word = |at: usize| -> [u8; 8] { bytes[at..at + 8].try_into().unwrap_or_default() };
    HistorySample {
        time: i64::from_le_bytes(word(0)),
        value: f64::from_bits(u64::from_le_bytes(word(8))),
        series: u32::from_le_bytes(bytes[16..20].try_into().unwrap_or_default()),
    }
}

/// All samples of a history, earliest first. Of equal times, the one that was read first comes first.
#[derive(Debug)]
pub struct Sorted {
    directory: PathBuf,
    file: Option<File>,
    runs: Vec<Run>,
    /// The next time of each run that has one; `None` before the first chunk.
    heads: Option<BinaryHeap<Reverse<(Micros, usize)>>>,
    at_once: usize,
    samples: u64,
    bounds: Option<(Micros, Micros)>,
}

impl Sorted {
    /// How many samples there are in all.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Time of the earliest and of the latest sample, microseconds.
    pub fn bounds(&self) -> Option<(Micros, Micros)> {
        self.bounds
    }

    /// Replaces `chunk` by the next samples, at most `samples_max` (> 0); leaves it empty at the end.
    ///
    /// # Errors
    /// `Spill` if the temporary file can't be read.
    pub fn next_chunk(
        &mut self,
        chunk: &mut Vec<HistorySample>,
        samples_max: usize,
    ) -> Result<(), HistoryError> {
        chunk.clear();
        self.merge(chunk, samples_max)
            .map_err(|error| failed(&self.directory, &error))
    }

    fn merge(&mut self, chunk: &mut Vec<HistorySample>, samples_max: usize) -> io::Result<()> {
        let file = self.file.as_ref();
        let heads = match &mut self.heads {
            Some(heads) => heads,
            None => {
                let mut heads = BinaryHeap::with_capacity(self.runs.len());
                for (number, run) in self.runs.iter_mut().enumerate() {
                    if let Some(time) = run.head(file, self.at_once)? {
                        heads.push(Reverse((time, number)));
                    }
                }
                self.heads.insert(heads)
            }
        };
        while chunk.len() < samples_max
            && let Some(Reverse((_, number))) = heads.pop()
        {
            let run = &mut self.runs[number];
            let bound = heads.peek().map(|Reverse(bound)| *bound);
            // As long as no other run is due, without asking the heap.
            while let Some(time) = run.head(file, self.at_once)? {
                if chunk.len() == samples_max || bound.is_some_and(|bound| bound < (time, number)) {
                    heads.push(Reverse((time, number)));
                    break;
                }
                chunk.push(run.buffer[run.next]);
                run.next += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(times: &[i64], in_memory: usize, chunk_max: usize) -> Vec<HistorySample> {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = TimeSorter::new(directory.path(), in_memory);
        for (number, time) in times.iter().enumerate() {
            sorter
                .push(HistorySample {
                    time: *time,
                    value: number as f64,
                    series: number as u32 % 7,
                })
                .unwrap();
        }
        let mut sorted = sorter.finish();
        assert_eq!(sorted.samples(), times.len() as u64);
        assert_eq!(
            sorted.bounds(),
            times.iter().min().copied().zip(times.iter().max().copied())
        );
        let (mut all, mut chunk) = (Vec::new(), Vec::new());
        loop {
            sorted.next_chunk(&mut chunk, chunk_max).unwrap();
            if chunk.is_empty() {
                assert_eq!(
                    std::fs::read_dir(directory.path()).unwrap().count(),
                    0,
                    "the temporary file has no name"
                );
                return all;
            }
            assert!(chunk.len() <= chunk_max);
            all.append(&mut chunk);
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_stable_sort(times in prop::collection::vec(0i64..50, 0..300), in_memory in 1usize..80, chunk_max in 1usize..90) {
            let mut expected: Vec<(i64, usize)> = times.iter().copied().enumerate().map(|(number, time)| (time, number)).collect();
            expected.sort();
            let found: Vec<(i64, usize)> = sorted(&times, in_memory, chunk_max).iter().map(|sample| (sample.time, sample.value as usize)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
