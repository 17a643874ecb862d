//! What was refused at the door: where it stood and why.

use std::fmt;

use schemas::time::{TIME_MAX, TIME_MIN};
use schemas::{LabelsError, METRIC_BYTES_MAX};

use super::{LABEL_SET_BYTES_MAX, TimeUnit};
use crate::admission::Hit;

/// How many rejections of one request are kept with place and reason. 20: enough to see the pattern; all are counted.
pub const REJECTIONS_KEPT_MAX: usize = 20;

/// Where in a body something stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The n-th time series of a message (from 0), at a byte of the decompressed body (from 0).
    Series {
        /// Position of the series.
        index: usize,
        /// Offset of its first byte.
        byte: usize,
    },
    /// A line and a byte column of it, both from 1.
    Line {
        /// Number of the line.
        line: usize,
        /// Byte column where the trouble is.
        column: usize,
    },
    /// The n-th data point of a request of OpenTelemetry, from 0.
    DataPoint {
        /// Position of the data point.
        index: usize,
    },
    /// The n-th object of a body of JSON, from 0.
    Object {
        /// Position of the object.
        index: usize,
    },
    /// Not in a body: collected here.
    Collected,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Series { index, byte } => write!(f, "series {index} (byte {byte})"),
            Place::Line { line, column } => write!(f, "line {line}, column {column}"),
            Place::DataPoint { index } => write!(f, "data point {index}"),
            Place::Object { index } => write!(f, "object {index}"),
            Place::Collected => f.write_str("collected"),
        }
    }
}

/// Why samples were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no metric name.
    #[error("the metric name is empty or missing")]
    NoMetric,
    /// The metric name is too long.
    #[error("a metric name of {0} bytes; at most {METRIC_BYTES_MAX} are taken")]
    MetricTooLong(usize),
    /// The labels are not a label set.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// The label set is too large as a whole.
    #[error("a label set of {0} bytes; at most {LABEL_SET_BYTES_MAX} are taken")]
    LabelSetTooLarge(usize),
    /// A name or value is not text.
    #[error("{0} is not valid UTF-8")]
    NotUtf8(&'static str),
    /// The time cannot be a sample's.
    #[error("time {value} {unit} is outside of 1970-01-01 to 2262-01-01; check the clock and the precision of the sender", unit = unit.name())]
    Time {
        /// As sent.
        value: i64,
        /// In which unit.
        unit: TimeUnit,
    },
    /// A limit of the settings.
    #[error("{0}")]
    Limit(Hit),
    /// The line or element does not follow its protocol.
    #[error("{0}")]
    Syntax(String),
}

impl Reason {
    /// The reason for a time outside of `[TIME_MIN, TIME_MAX)`.
    pub(crate) fn time(value: i64, unit: TimeUnit) -> Self {
        debug_assert!(
            !unit
                .micros(value)
                .is_some_and(|time| (TIME_MIN..TIME_MAX).contains(&time))
        );
        Reason::Time { value, unit }
    }
}

/// Samples that were refused for one reason at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// All rejections of one request: every one counted, the first [`REJECTIONS_KEPT_MAX`] kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejections {
    samples: u64,
    kept: Vec<Rejection>,
}

impl Rejections {
    /// Counts `samples` refused samples.
    pub(crate) fn add(&mut self, samples: u64, place: Place, reason: Reason) {
        self.samples += samples;
        if self.kept.len() < REJECTIONS_KEPT_MAX {
            self.kept.push(Rejection { place, reason });
        }
    }

    /// How many samples were refused. A line that cannot be read counts as one.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The first of them.
    pub fn first(&self) -> &[Rejection] {
        &self.kept
    }

    /// Whether nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
