//! Guests: values of one minute that a partition tells another one, in which their siblings are compared. The value of a record `guests/1`.
//!
//! Layout (postcard 1: numbers are variable-length unless a size is given, lengths come first):
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `sender` | u32 | the partition that the series are in |
//! | `minute` | u64 | minutes since 1970: the minute that begins there |
//! | `is_last` | u8 | 1: the sender has told all that it has to tell this partition of this minute |
//! | `metrics` | list of utf8 | names of metrics |
//! | `label_sets` | list of bytes | label sets in canonical form |
//! | `metric`, `labels` | lists of u32 | of each row: its place in those |
//! | `values` | list of f32 LE | of each row: the mean of the minute; of a counter, its mean rate |
//! | `completeness` | list of f32 LE | of each row: samples found over samples expected, 0 to 1 |
//!
//! What comes back is a *verdict*, the value of a record `verdict/1`: an [`Anomaly`] as on its own topic, JSON.
//!
//! Neither is Arrow, on purpose: a program that does not know the format of the record's header can't take it for samples.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::series::METRIC_BYTES_MAX;
use crate::time::{MINUTE, Micros, TIME_MAX, TIME_MIN};
use crate::{
    Anomaly, AnomalyKind, ErrorCode, Fault, HasCode, HasFault, Labels, Series, error_codes,
};

/// Rows of one record. 8,192: some 100 KB with the labels of a usual fleet; what is more goes into a further record.
const ROWS_MAX: usize = 8_192;
/// Text of one record, after which the next begins, bytes. A quarter of the largest record: one label set more always fits.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Metric and labels of a guest together, bytes. Longer ones are no guests: they would be sent each minute.
const SERIES_BYTES_MAX: usize = 16 * 1024;

/// Why bytes are no guests, or no verdict (bad input: dead-letter the record).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a record by which partitions tell each other of siblings: {0}; see docs/record-format.md"
)]
pub struct GuestsError(String);

/// Reads the value of a record `verdict/1`.
///
/// # Errors
/// `GuestsError` (bad input: dead-letter the record) if it is no event, or of another kind than what is found among siblings.
pub fn decode_verdict(bytes: &[u8]) -> Result<Anomaly, GuestsError> {
    let event: Anomaly =
        serde_json::from_slice(bytes).map_err(|error| GuestsError(error.to_string()))?;
    if event.kind == AnomalyKind::Peer {
        Ok(event)
    } else {
        Err(GuestsError(
            "a verdict of another kind than peer".to_owned(),
        ))
    }
}

impl HasFault for GuestsError {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

impl HasCode for GuestsError {
    fn code(&self) -> &'static ErrorCode {
        &error_codes::RECORD_GUESTS
    }
}

/// What one series had in the minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuestRow {
    /// Its metric's place among [`Guests::metrics`].
    pub metric: u32,
    /// Its labels' place among [`Guests::label_sets`].
    pub labels: u32,
    /// The mean of the minute, finite; of a counter, its mean rate.
    pub value: f32,
    /// Samples found over samples expected, 0 to 1.
    pub completeness: f32,
}

/// Series of one partition with their values of one minute. Checked once: whoever holds one need not check again.
#[derive(Debug, Clone, PartialEq)]
pub struct Guests {
    sender: u32,
    minute: Micros,
    is_last: bool,
    metrics: Vec<Arc<str>>,
    label_sets: Vec<Labels>,
    rows: Vec<GuestRow>,
}

impl Guests {
    /// The partition that they are in.
    pub fn sender(&self) -> u32 {
        self.sender
    }

    /// Start of the minute, microseconds.
    pub fn minute(&self) -> Micros {
        self.minute
    }

    /// Whether the sender has told all of the minute by this record and those before it.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// The names of metrics that rows refer to.
    pub fn metrics(&self) -> &[Arc<str>] {
        &self.metrics
    }

    /// The label sets that rows refer to.
    pub fn label_sets(&self) -> &[Labels] {
        &self.label_sets
    }

    /// A series each, in the order of the sender.
    pub fn rows(&self) -> &[GuestRow] {
        &self.rows
    }

    /// Reads the value of a record.
    ///
    /// # Errors
    /// `GuestsError` (bad input: dead-letter the record).
    pub fn decode(bytes: &[u8]) -> Result<Self, GuestsError> {
        let wrong = |what: &str| GuestsError(what.to_owned());
        let form: Form<'_> =
            postcard::from_bytes(bytes).map_err(|error| GuestsError(error.to_string()))?;
        let minute = i64::try_from(form.minute).ok();
        let minute = minute
            .and_then(|minute| minute.checked_mul(MINUTE))
            .filter(|minute| (TIME_MIN..TIME_MAX).contains(minute))
            .ok_or_else(|| wrong("its minute is no time"))?;
        let names = 1..=METRIC_BYTES_MAX;
        if !form.metrics.iter().all(|name| names.contains(&name.len())) {
            return Err(wrong("a metric's name is empty or too long"));
        }
        let label_sets = form
            .label_sets
            .iter()
            .map(|set| Labels::from_canonical(set));
        let label_sets: Vec<Labels> = label_sets
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("a label set is not canonical"))?;
        let count = form.metric.len();
        let lengths = [
            form.labels.len(),
            form.values.len(),
            form.completeness.len(),
        ];
        if count > ROWS_MAX || lengths.iter().any(|length| *length != count) {
            return Err(wrong("its columns differ in length, or are too long"));
        }
        let keys = form.metric.iter().zip(&form.labels);
        let figures = form.values.iter().zip(&form.completeness);
        let rows = keys.zip(figures).map(|((metric, labels), figures)| {
            let (value, completeness) = (*figures.0, *figures.1);
            let is_sound = (*metric as usize) < form.metrics.len()
                && (*labels as usize) < label_sets.len()
                && value.is_finite()
                && (0.0..=1.0).contains(&completeness);
            is_sound.then_some(GuestRow {
                metric: *metric,
                labels: *labels,
                value,
                completeness,
            })
        });
        let rows: Vec<GuestRow> = rows
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("a row refers to nothing, or has no value"))?;
        Ok(Guests {
            sender: form.sender,
            minute,
            is_last: form.is_last,
            metrics: form.metrics.into_iter().map(Arc::from).collect(),
            label_sets,
            rows,
        })
    }

    /// Writes the value of a record.
    pub fn encode(&self) -> Vec<u8> {
        let form = Form {
            sender: self.sender,
            // No sample is older than 1970.
            minute: u64::try_from(self.minute / MINUTE).unwrap_or_default(),
            is_last: self.is_last,
            metrics: self.metrics.iter().map(|name| &**name).collect(),
            label_sets: self.label_sets.iter().map(Labels::canonical).collect(),
            metric: self.rows.iter().map(|row| row.metric).collect(),
            labels: self.rows.iter().map(|row| row.labels).collect(),
            values: self.rows.iter().map(|row| row.value).collect(),
            completeness: self.rows.iter().map(|row| row.completeness).collect(),
        };
        // Lists of numbers and texts always serialise.
        postcard::to_stdvec(&form).unwrap_or_default()
    }
}

/// As it lies in a record: by column, which compresses better.
#[derive(Serialize, Deserialize)]
struct Form<'a> {
    sender: u32,
    minute: u64,
    is_last: bool,
    #[serde(borrow)]
    metrics: Vec<&'a str>,
    label_sets: Vec<&'a [u8]>,
    metric: Vec<u32>,
    labels: Vec<u32>,
    values: Vec<f32>,
    completeness: Vec<f32>,
}

/// Gathers the guests of one sender, minute and receiver, as many records as they need.
///
/// ```
/// use schemas::{Guests, GuestsBuilder, Kind, Labels, Series};
/// let labels = Labels::try_new([("host.name", "web-1")]).unwrap();
/// let mut builder = GuestsBuilder::new(3, 0);
/// builder.push(&Series::new("load", labels, Kind::Gauge), 0.5, 1.0);
/// let told: Vec<Guests> = builder.finish();
/// assert_eq!(Guests::decode(&told[0].encode()).unwrap(), told[0]);
/// ```
#[derive(Debug)]
pub struct GuestsBuilder {
    sender: u32,
    minute: Micros,
    full: Vec<Guests>,
    metrics: (Vec<Arc<str>>, HashMap<Arc<str>, u32, RandomState>),
    label_sets: (Vec<Labels>, HashMap<Labels, u32, RandomState>),
    rows: Vec<GuestRow>,
    text_bytes: usize,
}

impl GuestsBuilder {
    /// Of a partition, and of the minute that begins at a time, microseconds.
    pub fn new(sender: u32, minute: Micros) -> Self {
        GuestsBuilder {
            sender,
            minute,
            full: Vec::new(),
            metrics: Default::default(),
            label_sets: Default::default(),
            rows: Vec::new(),
            text_bytes: 0,
        }
    }

    /// Adds a series with its mean and its completeness. One whose mean is not finite as a single, or whose text is too long, is left out.
    pub fn push(&mut self, series: &Series, value: f64, completeness: f64) {
        let (value, completeness) = (value as f32, completeness.clamp(0.0, 1.0) as f32);
        let text_bytes = series.metric.len() + series.labels.canonical().len();
        if !value.is_finite() || completeness.is_nan() || text_bytes > SERIES_BYTES_MAX {
            return;
        }
        if self.rows.len() >= ROWS_MAX || self.text_bytes >= TEXT_BYTES_MAX {
            self.close(false);
        }
        let (names, places) = &mut self.metrics;
        let metric = *places
            .entry(Arc::clone(&series.metric))
            .or_insert_with_key(|name| {
                self.text_bytes += name.len();
                names.push(Arc::clone(name));
                names.len() as u32 - 1
            });
        let (sets, places) = &mut self.label_sets;
        let labels = *places
            .entry(series.labels.clone())
            .or_insert_with_key(|set| {
                self.text_bytes += set.canonical().len();
                sets.push(set.clone());
                sets.len() as u32 - 1
            });
        self.rows.push(GuestRow {
            metric,
            labels,
            value,
            completeness,
        });
    }

    /// The records, at least one, of which the last one says so.
    pub fn finish(mut self) -> Vec<Guests> {
        self.close(true);
        self.full
    }

    fn close(&mut self, is_last: bool) {
        self.text_bytes = 0;
        self.full.push(Guests {
            sender: self.sender,
            minute: self.minute,
            is_last,
            metrics: std::mem::take(&mut self.metrics).0,
            label_sets: std::mem::take(&mut self.label_sets).0,
            rows: std::mem::take(&mut self.rows),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Kind;

    fn series(metric: &str, host: &str) -> Series {
        let labels = Labels::try_new([("host.name", host)]).unwrap();
        Series::new(metric, labels, Kind::Gauge)
    }

    /// What a record tells: metric, host, value, completeness.
    fn told(guests: &Guests) -> Vec<(String, String, f32, f32)> {
        let tell = |row: &GuestRow| {
            let labels = &guests.label_sets()[row.labels as usize];
            let metric = guests.metrics()[row.metric as usize].to_string();
            let host = labels.get("host.name").unwrap_or_default().to_owned();
            (metric, host, row.value, row.completeness)
        };
        guests.rows().iter().map(tell).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let mut builder = GuestsBuilder::new(7, 3 * MINUTE);
        for (metric, host, value) in [("cpu", "a", 0.5), ("load", "a", -1e30), ("cpu", "b", 3.0)] {
            builder.push(&series(metric, host), value, 0.25);
        }
        // What is no number of a single, and what has too much text.
        builder.push(&series("cpu", "c"), 1e300, 1.0);
        builder.push(&series("cpu", &"c".repeat(16_384)), 1.0, 1.0);
        let records = builder.finish();
        assert_eq!(records.len(), 1);
        let read = Guests::decode(&records[0].encode()).unwrap();
        assert_eq!(read, records[0]);
        assert_eq!(
            (read.sender(), read.minute(), read.is_last()),
            (7, 3 * MINUTE, true)
        );
        let expected = [
            ("cpu", "a", 0.5),
            ("load", "a", -1e30_f32),
            ("cpu", "b", 3.0),
        ];
        let expected = expected.map(|(m, h, value)| (m.to_owned(), h.to_owned(), value, 0.25));
        assert_eq!(told(&read), expected);
        assert_eq!((read.metrics().len(), read.label_sets().len()), (2, 2));
    }

    #[test]
    fn many_need_several_records_and_none_are_told_too() {
        let mut builder = GuestsBuilder::new(0, 0);
        for host in 0..20_000 {
            builder.push(&series("cpu", &host.to_string()), 1.0, 1.0);
        }
        let records = builder.finish();
        let figures = records.iter().map(|r| (r.rows().len(), r.is_last()));
        assert_eq!(
            figures.collect::<Vec<_>>(),
            [(8192, false), (8192, false), (3616, true)]
        );
        let long: Vec<Guests> = {
            let mut builder = GuestsBuilder::new(0, 0);
            for host in 0..200 {
                builder.push(&series("cpu", &format!("{host:016000}")), 1.0, 1.0);
            }
            builder.finish()
        };
        assert!(long.len() > 1 && long.iter().all(|record| record.encode().len() < 2 << 20));
        let none = GuestsBuilder::new(0, 0).finish();
        let read = Guests::decode(&none[0].encode()).unwrap();
        assert!(read.rows().is_empty() && read.is_last());
    }

    #[test]
    fn what_is_no_record_of_guests_is_refused() {
        let sound = Form {
            sender: 1,
            minute: 30_000_000,
            is_last: true,
            metrics: vec!["cpu"],
            label_sets: vec![b"host.name\xffa\xff"],
            metric: vec![0],
            labels: vec![0],
            values: vec![1.0],
            completeness: vec![1.0],
        };
        let read = |form: &Form<'_>| Guests::decode(&postcard::to_stdvec(form).unwrap());
        assert!(read(&sound).is_ok());
        type Change = fn(&mut Form<'static>);
        let changes: [(Change, &str); 9] = [
            (|form| form.minute = u64::MAX, "no time"),
            (|form| form.minute = (i64::MAX / MINUTE) as u64, "no time"),
            (|form| form.metrics = vec![""], "metric's name"),
            (
                |form| form.label_sets = vec![b"b\xff1\xffa\xff1\xff"],
                "canonical",
            ),
            (|form| form.metric = vec![1], "refers to nothing"),
            (|form| form.labels = vec![7], "refers to nothing"),
            (|form| form.values = vec![f32::NAN], "no value"),
            (|form| form.completeness = vec![1.5], "no value"),
            (|form| form.values = vec![], "differ in length"),
        ];
        for (change, why) in changes {
            let mut form = Form {
                metrics: sound.metrics.clone(),
                label_sets: sound.label_sets.clone(),
                metric: sound.metric.clone(),
                labels: sound.labels.clone(),
                values: sound.values.clone(),
                completeness: sound.completeness.clone(),
                ..sound
            };
            change(&mut form);
            let error = read(&form).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Guests::decode(b"").is_err());
    }

    /// What older programs do with a record whose header they don't know is to read it as samples.
    #[test]
    fn guests_are_never_taken_for_samples() {
        let mut builder = GuestsBuilder::new(1, 0);
        builder.push(&series("cpu", "a"), 1.0, 1.0);
        for record in builder.finish() {
            assert!(crate::SampleBatch::decode(&record.encode().into()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(guests) = Guests::decode(&bytes) {
                prop_assert_eq!(Guests::decode(&guests.encode()).unwrap(), guests);
            }
        }
    }
}
