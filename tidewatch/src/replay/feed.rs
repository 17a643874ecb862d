//! Samples in time order become records of the embedded log, each appended at the time of its first sample.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Record};
use bytes::Bytes;
use futures::future::join_all;
use ingest::history::{Directory, HistorySample, Sorted};
use pipeline::Pipeline;
use schemas::time::{DAY, SECOND};
use schemas::{BATCH_SAMPLES_MAX, BatchBuilder, Micros, Resolution, partition_of, topics};
use tokio::sync::mpsc;

use super::broken;
use super::progress::{Progress, Unit};
use crate::error::CommandError;

/// Samples of one record: 32,768 are some 800 KB, a few milliseconds of work.
pub(crate) const RECORD_SAMPLES: usize = 32_768;
/// Time between the first and the last sample of a record. A day: few records where samples are rare, and no window waits longer for its seal.
const RECORD_SPAN_MAX: Micros = DAY;
/// How far a record reaches ahead of its append time, which is cut to milliseconds: samples must not count as being from the future.
pub(crate) const REACH_MAX: Micros = RECORD_SPAN_MAX + SECOND;
/// Bytes of metrics and label sets that a record may name before the next is begun; with its samples it stays below the log's 4 MiB.
const RECORD_NAMES_BYTES_MAX: usize = 1 << 20;
/// Samples taken from the sorter at once.
const CHUNK_SAMPLES: usize = 65_536;
/// Records that wait to be appended; the maker of records waits when there are so many.
const RECORDS_WAITING: usize = 16;
/// Samples that are in the log and not stepped over yet; above, nothing is appended. Bounds the log on disk, some 100 MB.
const AHEAD_SAMPLES_MAX: u64 = 1 << 23;
/// How often the pipeline is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Reads the flag.
pub(super) fn parse_record_samples(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|samples| (1..=BATCH_SAMPLES_MAX).contains(samples))
        .ok_or_else(|| format!("expected a number from 1 to {BATCH_SAMPLES_MAX}"))
}

/// The log time at which all windows of the last sample's day are sealed.
pub(crate) fn seal_time(last: Micros, lateness: Micros) -> Micros {
    (Resolution::Day.window(last).end + lateness + 999).div_euclid(1_000) * 1_000
}

/// Where samples are fed.
pub(super) struct Feed<'a> {
    pub(super) bus: &'a Arc<dyn Bus>,
    pub(super) topic: &'a str,
    pub(super) pipeline: &'a Pipeline,
    pub(super) directory: Arc<Directory>,
    pub(super) samples_per_record: usize,
    pub(super) progress: &'a Progress,
}

impl Feed<'_> {
    /// The end of the log, per partition.
    pub(super) async fn ends(&self) -> Result<Vec<u64>, CommandError> {
        let mut ends = Vec::new();
        for partition in 0..self.pipeline.partitions() {
            let retained = self.bus.retained(self.topic, partition).await;
            ends.push(
                retained
                    .map_err(|error| CommandError::of("the log", error))?
                    .end
                    .0,
            );
        }
        Ok(ends)
    }

    /// Appends all samples.
    pub(super) async fn run(&self, samples: Sorted) -> Result<(), CommandError> {
        self.progress
            .stage("replaying", samples.samples(), Unit::Samples);
        let (sender, mut receiver) = mpsc::channel(RECORDS_WAITING);
        let maker = RecordMaker::new(
            Arc::clone(&self.directory),
            self.pipeline.partitions(),
            self.samples_per_record,
            sender,
        );
        let making = tokio::task::spawn_blocking(move || maker.run(samples));
        let (mut made, mut appended) = (Vec::new(), 0);
        while receiver.recv_many(&mut made, RECORDS_WAITING).await > 0 {
            appended += made.iter().map(|made| made.samples).sum::<u64>();
            self.append(std::mem::take(&mut made)).await?;
            while appended.saturating_sub(self.stepped()?) > AHEAD_SAMPLES_MAX {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        making
            .await
            .map_err(|error| CommandError::surroundings(format!("making records: {error}")))?
    }

    async fn append(&self, made: Vec<Made>) -> Result<(), CommandError> {
        let mut by_partition: Vec<Vec<Record>> = Vec::new();
        by_partition.resize_with(self.pipeline.partitions() as usize, Vec::new);
        for made in made {
            by_partition[made.partition as usize].push(made.record);
        }
        let appends = (0..)
            .zip(by_partition)
            .filter(|(_, records)| !records.is_empty())
            .map(|(partition, records)| self.bus.append(self.topic, partition, records));
        for appended in join_all(appends).await {
            appended.map_err(|error| CommandError::of("the log", error))?;
        }
        Ok(())
    }

    /// Moves the clock of every partition that got samples, so that all their windows up to then are sealed.
    pub(super) async fn seal(&self, begun: &[u64], at: Micros) -> Result<(), CommandError> {
        let header = (
            topics::HEADER_FORMAT.into(),
            Bytes::from_static(topics::FORMAT_END),
        );
        let tick = Record {
            headers: vec![header],
            append_time_ms: Some(millis(at)),
            ..Record::default()
        };
        for (partition, (begun, end)) in (0..).zip(begun.iter().zip(self.ends().await?)) {
            if end > *begun {
                let appended = self
                    .bus
                    .append(self.topic, partition, vec![tick.clone()])
                    .await;
                appended.map_err(|error| CommandError::of("the log", error))?;
            }
        }
        Ok(())
    }

    /// Waits until the pipeline has stepped over the log up to these ends.
    pub(super) async fn wait_until_stepped(&self, ends: &[u64]) -> Result<(), CommandError> {
        loop {
            self.stepped()?;
            let status = self.pipeline.status();
            let reached = |(partition, end): (u32, &u64)| {
                status
                    .iter()
                    .any(|status| status.partition == partition && status.next_offset >= *end)
            };
            if (0..).zip(ends).all(reached) {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Samples stepped over so far; tells the progress.
    fn stepped(&self) -> Result<u64, CommandError> {
        if let Some(reason) = broken(self.pipeline) {
            return Err(CommandError::surroundings(reason));
        }
        let read = self.pipeline.status().iter().map(|p| p.counts.read).sum();
        self.progress.reach(read);
        Ok(read)
    }
}

/// Milliseconds, towards the past: the log counts in them.
fn millis(time: Micros) -> i64 {
    time.div_euclid(1_000)
}

/// A record that is ready.
pub(crate) struct Made {
    partition: u32,
    pub(crate) record: Record,
    pub(crate) samples: u64,
}

impl Made {
    /// When it is appended, microseconds.
    pub(crate) fn log_time(&self) -> Micros {
        // Every record made here has a time.
        self.record
            .append_time_ms
            .unwrap_or_default()
            .saturating_mul(1_000)
    }
}

/// The record of one partition that is being filled.
#[derive(Default)]
struct Open {
    /// Its number among all records, from 1; 0 where nothing is in it.
    number: u64,
    builder: BatchBuilder,
    first_time: Micros,
    resource_hash: u64,
    names_bytes: usize,
}

/// Where a series stands in the open record of its partition: the record's number and the keys of its metric and label set.
#[derive(Clone, Copy, Default)]
struct Keys {
    record: u64,
    metric: u32,
    labels: u32,
}

/// Makes records. The step gives the same result whatever shares a record, so only size and span decide where one ends.
pub(crate) struct RecordMaker {
    directory: Arc<Directory>,
    partitions: u32,
    samples_per_record: usize,
    sender: mpsc::Sender<Made>,
    open: Vec<Open>,
    keys: Vec<Keys>,
    records: u64,
}

impl RecordMaker {
    pub(crate) fn new(
        directory: Arc<Directory>,
        partitions: u32,
        samples_per_record: usize,
        sender: mpsc::Sender<Made>,
    ) -> Self {
        RecordMaker {
            keys: vec![Keys::default(); directory.series().len()],
            open: (0..partitions).map(|_| Open::default()).collect(),
            directory,
            partitions,
            samples_per_record,
            sender,
            records: 0,
        }
    }

    /// Blocks while records wait to be appended; ends early if nobody takes them any more.
    pub(crate) fn run(mut self, mut samples: Sorted) -> Result<(), CommandError> {
        let mut chunk = Vec::with_capacity(CHUNK_SAMPLES);
        loop {
            samples
                .next_chunk(&mut chunk, CHUNK_SAMPLES)
                .map_err(|error| CommandError::of("replay", error))?;
            if chunk.is_empty() {
                break;
            }
            for sample in &chunk {
                self.push(*sample)?;
            }
        }
        (0..self.partitions).try_for_each(|partition| self.close(partition))
    }

    #[inline]
    fn push(&mut self, sample: HistorySample) -> Result<(), CommandError> {
        let directory = Arc::clone(&self.directory);
        let series = &directory.series()[sample.series as usize];
        let partition = partition_of(series.resource_hash, self.partitions);
        let open = &self.open[partition as usize];
        if open.number > 0
            && (open.builder.rows() >= self.samples_per_record
                || sample.time - open.first_time >= RECORD_SPAN_MAX
                || open.names_bytes >= RECORD_NAMES_BYTES_MAX)
        {
            self.close(partition)?;
        }
        let open = &mut self.open[partition as usize];
        if open.number == 0 {
            self.records += 1;
            open.number = self.records;
            open.first_time = sample.time;
            open.resource_hash = series.resource_hash;
        }
        let keys = &mut self.keys[sample.series as usize];
        if keys.record != open.number {
            *keys = Keys {
                record: open.number,
                metric: open.builder.metric(&series.series.metric),
                labels: open.builder.label_set(&series.series.labels),
            };
            open.names_bytes += series.series.metric.len() + series.series.labels.canonical().len();
        }
        let kind = series.series.kind;
        open.builder
            .push(keys.metric, keys.labels, kind, sample.time, sample.value);
        Ok(())
    }

    fn close(&mut self, partition: u32) -> Result<(), CommandError> {
        let open = std::mem::take(&mut self.open[partition as usize]);
        if open.number == 0 {
            return Ok(());
        }
        let samples = open.builder.rows() as u64;
        let value = open
            .builder
            .finish()
            .and_then(|batch| batch.encode())
            .map_err(|error| CommandError::of("making a record", error))?;
        let record = Record {
            key: Bytes::copy_from_slice(&open.resource_hash.to_be_bytes()),
            value: value.into(),
            headers: vec![(
                topics::HEADER_FORMAT.into(),
                Bytes::from_static(topics::FORMAT_BATCH),
            )],
            append_time_ms: Some(millis(open.first_time)),
        };
        let made = Made {
            partition,
            record,
            samples,
        };
        self.sender
            .blocking_send(made)
            .map_err(|_| CommandError::surroundings("nobody takes records any more".to_owned()))
    }
}
