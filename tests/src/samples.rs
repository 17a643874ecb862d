//! Samples as tests compare them: what an agent was given to send, and what SQL answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::Tidewatch;

/// How long what was sent may take to be seen. A bound for what hangs, not a measure of speed.
const ARRIVAL_MAX: Duration = Duration::from_secs(90);

/// A sample with all that SQL tells of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// Its metric.
    pub metric: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Microseconds since 1970.
    pub time_us: i64,
    /// The bits of its value.
    pub value_bits: u64,
}

impl Sample {
    /// A sample of a series without labels; see [`Sample::with`].
    pub fn new(metric: &str, time_us: i64, value: f64) -> Self {
        Sample {
            metric: metric.to_owned(),
            labels: BTreeMap::new(),
            time_us,
            value_bits: value.to_bits(),
        }
    }

    /// The same with further labels.
    pub fn with(mut self, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter();
        self.labels
            .extend(labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }

    /// One line of JSON, as a row of [`stored`] is.
    pub fn line(&self) -> String {
        json!({"metric": self.metric, "labels": self.labels, "us": self.time_us, "value": f64::from_bits(self.value_bits)})
            .to_string()
    }

    /// Of a row, or of a line of [`Sample::line`].
    ///
    /// # Panics
    /// If it lacks something. A value that is no number is NaN, which JSON does not have.
    pub fn of(row: &Value) -> Self {
        let value = row["value"].as_f64().unwrap_or(f64::NAN);
        Sample {
            metric: row["metric"].as_str().expect("a metric").to_owned(),
            labels: serde_json::from_value(row["labels"].clone()).expect("labels"),
            time_us: row["us"].as_i64().expect("a time"),
            value_bits: value.to_bits(),
        }
    }
}

/// The samples of a process that have a value of a label, sorted.
pub fn stored(process: &Tidewatch, label: &str, value: &str) -> Vec<Sample> {
    let sql = format!(
        "SELECT metric, labels, CAST(time AS BIGINT) AS us, value FROM samples WHERE labels['{label}'] = '{value}'"
    );
    let mut samples: Vec<Sample> = process.sql(&sql).iter().map(Sample::of).collect();
    samples.sort();
    samples
}

/// Waits until the samples of a process that have a value of a label are exactly these.
///
/// # Panics
/// With what is missing and what is too much, if they never are.
pub fn wait_for(process: &mut Tidewatch, label: &str, value: &str, expected: &[Sample]) {
    let mut expected = expected.to_vec();
    expected.sort();
    let without = |these: &[Sample], those: &[Sample]| -> Vec<String> {
        let left = these.iter().filter(|sample| !those.contains(sample));
        left.take(5).map(Sample::line).collect()
    };
    wait_until(process, label, value, |found| {
        (found != expected).then(|| {
            format!(
                "{} were sent\nmissing: {:#?}\ntoo much: {:#?}",
                expected.len(),
                without(&expected, found),
                without(found, &expected),
            )
        })
    });
}

/// Waits until the samples of a process that have a value of a label lack nothing, and answers them.
///
/// # Panics
/// With what they lack, in words, if they always lack something.
pub fn wait_until(
    process: &mut Tidewatch,
    label: &str,
    value: &str,
    lacks: impl Fn(&[Sample]) -> Option<String>,
) -> Vec<Sample> {
    let deadline = Instant::now() + ARRIVAL_MAX;
    loop {
        let found = stored(process, label, value);
        let Some(lack) = lacks(&found) else {
            return found;
        };
        let is_over = process.exited().is_some() || Instant::now() > deadline;
        assert!(
            !is_over,
            "{label}={value}: {} are there, {lack}\n{}",
            found.len(),
            process.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
