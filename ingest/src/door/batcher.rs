//! Groups samples by partition into batches and writes those as records. Synchronous; knows no protocol and no bus.

use std::sync::Arc;

use bytes::Bytes;
use schemas::time::{HOUR, MINUTE, SECOND, TIME_MAX, TIME_MIN};
use schemas::topics::{FORMAT_BATCH, HEADER_FORMAT};
use schemas::{BATCH_SAMPLES_MAX, BatchBuilder, BatchError, Kind, Labels, Micros};

use super::memo::{LabelSetId, Memo, MetricId, SeriesRef};
use super::pairs::{Fold, Outcome, Told};
use super::{Place, Reason, Rejections};
use crate::admission::{Admission, Decision, Hit, Limit, Load, Sender};

/// About how many bytes a record may have before the next one is begun. 1 MiB: below every broker's default limit once compressed,
/// and large enough that a record's dictionaries are shared by tens of thousands of samples.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one row: two dictionary keys, kind, time and value.
const ROW_BYTES: usize = 4 + 4 + 1 + 8 + 8;

/// The unit of a sender's timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Nanoseconds; what is below a microsecond is cut off towards the past.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

impl TimeUnit {
    /// A time of this unit in microseconds; `None` if that is beyond 64 bits.
    pub fn micros(self, time: i64) -> Option<Micros> {
        match self {
            TimeUnit::Nanoseconds => Some(time.div_euclid(1000)),
            TimeUnit::Microseconds => Some(time),
            TimeUnit::Milliseconds => time.checked_mul(1000),
            TimeUnit::Seconds => time.checked_mul(SECOND),
            TimeUnit::Minutes => time.checked_mul(MINUTE),
            TimeUnit::Hours => time.checked_mul(HOUR),
        }
    }

    /// Its name, as in messages.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Nanoseconds => "ns",
            TimeUnit::Microseconds => "µs",
            TimeUnit::Milliseconds => "ms",
            TimeUnit::Seconds => "s",
            TimeUnit::Minutes => "min",
            TimeUnit::Hours => "h",
        }
    }
}

/// A request carries more samples than one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.hit())]
pub struct TooManySamples(pub usize);

impl TooManySamples {
    /// As the limit that was met.
    pub(crate) fn hit(self) -> Hit {
        Hit::new(Limit::Samples, self.0, self.0 + 1)
    }
}

/// One record to append to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Where to.
    pub partition: u32,
    /// What: key, value and headers are set.
    pub record: bus::Record,
    /// How many samples it holds.
    pub samples: usize,
}

/// A batch that is being filled.
#[derive(Debug, Default)]
struct OpenBatch {
    /// Its number, from 1; 0 before the first sample.
    number: u64,
    builder: BatchBuilder,
    /// Hash of the first sample's resource.
    resource_hash: u64,
    /// By [`MetricId`]: dictionary key + 1, or 0 where the metric has none yet.
    metric_keys: Vec<u32>,
    bytes: usize,
}

/// Takes samples from a decoder, one request at a time, and gives back one or more records per partition.
///
/// A label set's resource and partition are found once and remembered (see [`Batcher::series_by_raw`]), between requests too, in at most the
/// number of bytes given at the start. A repeated series costs one hash of its raw bytes; no sample allocates.
///
/// ```
/// use ingest::door::{Batcher, Place, TimeUnit};
/// use schemas::{Kind, Labels};
/// let mut batcher = Batcher::new(4, 1 << 20, 1000);
/// let metric = batcher.metric("cpu_usage").unwrap();
/// let labels = batcher.label_set(Labels::try_new([("host", "a")]).unwrap()).unwrap();
/// batcher.push(metric, labels, None, 5, TimeUnit::Seconds, 0.5, Place::Collected).unwrap();
/// let (records, rejections) = batcher.finish().unwrap();
/// assert_eq!((records.len(), rejections.samples()), (1, 0));
/// ```
#[derive(Debug)]
pub struct Batcher {
    memo: Memo,
    open: Vec<OpenBatch>,
    batches: u64,
    closed: Vec<PartitionRecord>,
    failed: Option<BatchError>,
    samples: usize,
    /// Of this request.
    samples_max: usize,
    /// Of the requests of a sender that has no limit of its own.
    samples_max_general: usize,
    rejections: Rejections,
    gate: Option<Gate>,
}

/// Who is asked which series are let in, and for whom.
#[derive(Debug)]
struct Gate {
    admission: Arc<Admission>,
    sender: Arc<Load>,
    now: Micros,
    told: Told,
    /// Why series of this request were refused.
    refusals: Vec<Hit>,
}

impl Batcher {
    /// A batcher for a number of partitions (≥ 1) that remembers label sets in about `memo_bytes_max` bytes and takes at most
    /// `samples_max` samples per request.
    pub fn new(partitions: u32, memo_bytes_max: usize, samples_max: usize) -> Self {
        Batcher {
            memo: Memo::new(partitions.max(1), memo_bytes_max),
            open: (0..partitions.max(1))
                .map(|_| OpenBatch::default())
                .collect(),
            batches: 0,
            closed: Vec::new(),
            failed: None,
            samples: 0,
            samples_max,
            samples_max_general: samples_max,
            rejections: Rejections::default(),
            gate: None,
        }
    }

    /// The same, which asks an admission about every series.
    pub fn with_admission(self, admission: Arc<Admission>) -> Self {
        let gate = Gate {
            sender: admission.sender(&Sender::default()),
            now: 0,
            told: Told {
                epoch: admission.epoch(),
                request: 0,
            },
            refusals: Vec::new(),
            admission,
        };
        Batcher {
            gate: Some(gate),
            ..self
        }
    }

    /// Says who sends what comes from now on, and when. To be called before each request where there is an admission; without one it does nothing.
    pub fn begin(&mut self, sender: &Sender, now: Micros) {
        if let Some(gate) = &mut self.gate {
            if !gate.sender.is_of(sender) {
                gate.sender = gate.admission.sender(sender);
            }
            self.samples_max = gate.sender.max(Limit::Samples, self.samples_max_general);
            gate.now = now;
            gate.told = Told {
                epoch: gate.admission.epoch() ^ gate.sender.label_rules(),
                request: gate.told.request.wrapping_add(1),
            };
            gate.refusals.clear();
        }
    }

    /// The metric of a name.
    ///
    /// # Errors
    /// `Reason` if it is empty or too long: reject its samples.
    pub fn metric(&mut self, name: &str) -> Result<MetricId, Reason> {
        self.memo.metric(name)
    }

    /// The metric that a measurement and a field of it stand for, as sent; `make` puts its name together the first time. Failures are not remembered.
    /// Protocols that use it must mean the same by the same bytes: line protocol does whatever they are, Telegraf's JSON as long as there is no `\\` in them.
    ///
    /// # Errors
    /// What `make` says, or as [`Batcher::metric`]: reject its samples.
    pub fn metric_by_parts(
        &mut self,
        measurement: &[u8],
        field: &[u8],
        make: impl FnOnce() -> Result<String, Reason>,
    ) -> Result<MetricId, Reason> {
        self.memo.metric_by_parts(measurement, field, make)
    }

    /// A label set.
    ///
    /// # Errors
    /// `Reason` if it is too large: reject its samples.
    pub fn label_set(&mut self, labels: Labels) -> Result<LabelSetId, Reason> {
        self.memo.label_set(labels)
    }

    /// The label set that these raw bytes stand for; `make` decodes them the first time. Failures are not remembered.
    /// Only one protocol may use it: equal bytes would mean other labels in another (today: the tag section of line protocol).
    ///
    /// # Errors
    /// What `make` says: reject the samples.
    pub fn label_set_by_raw(
        &mut self,
        raw: &[u8],
        make: impl FnOnce() -> Result<Labels, Reason>,
    ) -> Result<LabelSetId, Reason> {
        self.memo.label_set_by_raw(raw, make)
    }

    /// The metric and label set that these raw bytes stand for, for protocols that name both in one (remote write, OpenTelemetry).
    /// Each begins its bytes with one of its own: remote write 1.0 with 0x0a, a label's tag; 2.0 with 0x01, OpenTelemetry with 0x00.
    ///
    /// # Errors
    /// What `make` says: reject the samples.
    pub fn series_by_raw<'a>(
        &mut self,
        raw: &[u8],
        make: impl FnOnce() -> Result<(&'a str, Labels), Reason>,
    ) -> Result<SeriesRef, Reason> {
        self.memo.series_by_raw(raw, make)
    }

    /// Takes one sample, bit for bit; `kind` `None` is guessed from the name. A time that cannot be a sample's is a rejection, not an error.
    ///
    /// # Errors
    /// `TooManySamples`: give up the request.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a sample; a struct of them would be built and taken apart once per sample"
    )]
    #[inline]
    pub fn push(
        &mut self,
        metric: MetricId,
        labels: LabelSetId,
        kind: Option<Kind>,
        time: i64,
        unit: TimeUnit,
        value: f64,
        place: Place,
    ) -> Result<(), TooManySamples> {
        let Some(micros) = unit
            .micros(time)
            .filter(|micros| (TIME_MIN..TIME_MAX).contains(micros))
        else {
            self.rejections.add(1, place, Reason::time(time, unit));
            return Ok(());
        };
        if self.samples >= self.samples_max {
            return Err(TooManySamples(self.samples_max));
        }
        let (mut labels, mut kind, mut micros) = (labels, kind, micros);
        if let Some(gate) = &self.gate {
            let known = self.memo.pairs.find(metric, labels, gate.told);
            let outcome = match known {
                Some(outcome) => outcome,
                None => self.ask(metric, labels),
            };
            match outcome {
                Outcome::Pass => {}
                Outcome::Fold(fold) => {
                    labels = fold.labels;
                    // Values of many counters in turn would look like one that is reset all the time.
                    kind = Some(Kind::Gauge);
                    micros = self.place(fold, micros);
                }
                Outcome::Refused(number) => {
                    self.refuse(number, place);
                    return Ok(());
                }
            }
        }
        self.samples += 1;
        let set = &self.memo.label_sets[labels.0 as usize];
        let (partition, set_batch, mut set_key) = (set.partition as usize, set.batch, set.key);
        if self.open[partition].builder.rows() >= BATCH_SAMPLES_MAX
            || self.open[partition].bytes >= BATCH_BYTES_MAX
        {
            self.close(partition);
        }
        if self.open[partition].number == 0 || set_batch != self.open[partition].number {
            set_key = self.label_set_key(partition, labels);
        }
        let metric_entry = &self.memo.metrics[metric.0 as usize];
        let batch = &mut self.open[partition];
        let metric_key = match batch.metric_keys.get(metric.0 as usize) {
            Some(key) if *key > 0 => *key - 1,
            _ => {
                let key = batch.builder.metric(&metric_entry.name);
                batch.bytes += metric_entry.name.len() + 4;
                let needed = (metric.0 as usize + 1).max(batch.metric_keys.len());
                batch.metric_keys.resize(needed, 0);
                batch.metric_keys[metric.0 as usize] = key + 1;
                key
            }
        };
        batch.builder.push(
            metric_key,
            set_key,
            kind.unwrap_or(metric_entry.kind),
            micros,
            value,
        );
        batch.bytes += ROW_BYTES;
        Ok(())
    }

    /// Asks what becomes of a series.
    #[cold]
    fn ask(&mut self, metric: MetricId, labels: LabelSetId) -> Outcome {
        let Some(gate) = &mut self.gate else {
            return Outcome::Pass;
        };
        let name = &self.memo.metrics[metric.0 as usize].name;
        let set = &self.memo.label_sets[labels.0 as usize].labels;
        let decision = gate.admission.decide(&gate.sender, name, set, gate.now);
        let outcome = match decision {
            Decision::Pass => Outcome::Pass,
            Decision::Fold {
                labels: stored,
                folded,
                original,
            } => match self.memo.intern(stored) {
                Ok(labels) => Outcome::Fold(Fold {
                    labels,
                    folded,
                    original,
                }),
                // One label set of a mebibyte, and its fold does not fit: as it came, it does.
                Err(_) => Outcome::Pass,
            },
            Decision::Refuse(hit) => {
                gate.refusals.push(hit);
                Outcome::Refused(gate.refusals.len() as u32 - 1)
            }
        };
        if self.memo.pairs.set(metric, labels, gate.told, outcome) {
            self.memo.note_pair();
        }
        outcome
    }

    #[cold]
    fn place(&self, fold: Fold, time: Micros) -> Micros {
        match &self.gate {
            Some(gate) => gate.admission.place(fold.folded, fold.original, time),
            None => time,
        }
    }

    #[cold]
    fn refuse(&mut self, number: u32, place: Place) {
        let hit = self
            .gate
            .as_ref()
            .and_then(|gate| gate.refusals.get(number as usize));
        if let Some(hit) = hit {
            self.rejections.add(1, place, Reason::Limit(hit.clone()));
        }
    }

    /// Gives the label set a key in the open batch of its partition, beginning a batch where there is none or the set no longer fits.
    #[cold]
    fn label_set_key(&mut self, partition: usize, labels: LabelSetId) -> u32 {
        let bytes = self.memo.label_sets[labels.0 as usize]
            .labels
            .canonical()
            .len()
            + 16;
        if self.open[partition].builder.rows() > 0
            && self.open[partition].bytes + bytes > BATCH_BYTES_MAX
        {
            self.close(partition);
        }
        let (set, batch) = (
            &mut self.memo.label_sets[labels.0 as usize],
            &mut self.open[partition],
        );
        if batch.number == 0 {
            self.batches += 1;
            batch.number = self.batches;
            batch.resource_hash = set.resource_hash;
        }
        set.batch = batch.number;
        set.key = batch.builder.label_set(&set.labels);
        batch.bytes += bytes;
        set.key
    }

    /// Counts `samples` samples as refused.
    pub fn reject(&mut self, samples: u64, place: Place, reason: Reason) {
        self.rejections.add(samples, place, reason);
    }

    /// What was refused since this was last asked, for those who put several requests into one.
    pub(crate) fn take_rejections(&mut self) -> Rejections {
        std::mem::take(&mut self.rejections)
    }

    /// What was refused so far in this request.
    pub fn rejections(&self) -> &Rejections {
        &self.rejections
    }

    /// How many samples were taken so far in this request.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Makes the open batch of a partition a record.
    fn close(&mut self, partition: usize) {
        let batch = std::mem::take(&mut self.open[partition]);
        let samples = batch.builder.rows();
        if samples == 0 {
            return;
        }
        match batch.builder.finish().and_then(|batch| batch.encode()) {
            Ok(value) => self.closed.push(PartitionRecord {
                partition: partition as u32,
                record: bus::Record {
                    key: Bytes::copy_from_slice(&batch.resource_hash.to_be_bytes()),
                    value: value.into(),
                    headers: vec![(HEADER_FORMAT.into(), Bytes::from_static(FORMAT_BATCH))],
                    append_time_ms: None,
                },
                samples,
            }),
            Err(error) => self.failed = Some(error),
        }
    }

    /// Ends the request: its records, in log order per partition, and what was refused. The batcher is ready for the next request.
    ///
    /// # Errors
    /// `BatchError` only by a mistake of ours: the door checks what a batch checks.
    pub fn finish(&mut self) -> Result<(Vec<PartitionRecord>, Rejections), BatchError> {
        (0..self.open.len()).for_each(|partition| self.close(partition));
        let records = std::mem::take(&mut self.closed);
        let rejections = std::mem::take(&mut self.rejections);
        let failed = self.failed.take();
        self.discard();
        match failed {
            Some(error) => Err(error),
            None => Ok((records, rejections)),
        }
    }

    /// Ends the request and gives up its samples.
    pub fn discard(&mut self) {
        self.open
            .iter_mut()
            .for_each(|batch| *batch = OpenBatch::default());
        self.closed.clear();
        self.failed = None;
        self.samples = 0;
        self.rejections = Rejections::default();
        if self.memo.is_full() {
            self.memo.forget();
        }
    }
}
