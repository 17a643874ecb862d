//! What leaves on the topic of anomalies: JSON, as `schemas/json/anomaly.schema.json` says.

use serde::{Deserialize, Serialize};

use crate::{Labels, SeriesId};

/// The metric of an event about a resource as a whole ([`AnomalyKind::Resource`]). With the labels that name the resource it makes a series
/// of its own, whose id is the event's `series_id`: SQL, files and consumers find such events like all others.
pub const RESOURCE_METRIC: &str = "tidewatch.resource";

/// In what way something is abnormal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// A sample far from what was expected.
    Point,
    /// The series has taken another level, which is normal from now on.
    LevelShift,
    /// The level moves slowly, over days or weeks, in one direction.
    Drift,
    /// The series varies much more, or much less, than it did.
    Variance,
    /// A series that always moves has stopped moving.
    FlatLine,
    /// No sample comes any more. Not a zero: nothing was observed.
    Missing,
    /// A resource as a whole is unlike the others of its kind. Its series is [`RESOURCE_METRIC`] with the resource's labels.
    Resource,
    /// A series is unlike those of the resource's siblings.
    Peer,
    /// A label of a metric has so many values that further ones are folded. Its series is the one that they are stored as.
    Cardinality,
}

impl AnomalyKind {
    /// As it is written: `point`, `level_shift`, `drift`, `variance`, `flat_line`, `missing`, `resource`, `peer`, `cardinality`.
    pub fn name(self) -> &'static str {
        match self {
            AnomalyKind::Point => "point",
            AnomalyKind::LevelShift => "level_shift",
            AnomalyKind::Drift => "drift",
            AnomalyKind::Variance => "variance",
            AnomalyKind::FlatLine => "flat_line",
            AnomalyKind::Missing => "missing",
            AnomalyKind::Resource => "resource",
            AnomalyKind::Peer => "peer",
            AnomalyKind::Cardinality => "cardinality",
        }
    }
}

/// Which side of the expectation a value is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Above the expected band.
    High,
    /// Below the expected band.
    Low,
}

impl Direction {
    /// As it is written: `high` or `low`.
    pub fn name(self) -> &'static str {
        match self {
            Direction::High => "high",
            Direction::Low => "low",
        }
    }
}

/// What one detector thought of the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// The detector's name, in lower case with underscores: `robust_z_score`, `ewma`.
    pub detector: String,
    /// Its score: 0–1 normal, above 1 anomalous.
    pub score: f64,
    /// What it expected.
    pub expected: f64,
    /// Lower edge of its band.
    pub lower: f64,
    /// Upper edge of its band.
    pub upper: f64,
    /// Why, in a few words: `the last four Tuesdays 10:00 were 41–47`.
    pub reason: String,
}

/// Another series of the same resource or service that moved at about the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Related {
    /// The series.
    pub series_id: SeriesId,
    /// Its metric.
    pub metric: String,
    /// Its labels.
    pub labels: Labels,
    /// When it moved, seconds after the event's time; negative: it moved first.
    pub lag_s: f64,
    /// How far it moved, on the scale of all scores: above 1 is anomalous.
    pub score: f64,
    /// To which side it moved.
    pub direction: Direction,
}

/// What one feature adds to the verdict on several features together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The feature's name.
    pub feature: String,
    /// Its value.
    pub value: f64,
    /// The value that is usual for it.
    pub expected: f64,
    /// 0–1: its share in the verdict. All shares of an event add up to at most 1.
    pub share: f64,
}

/// Something abnormal, with all that a person needs to judge it.
///
/// `event_id` is a function of the rule, the series and the time: sent again after a crash, it has the same id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// 32 hexadecimal digits, the same each time this event is computed.
    pub event_id: String,
    /// In what way it is abnormal.
    pub kind: AnomalyKind,
    /// The series; of an event about a resource, see [`RESOURCE_METRIC`].
    pub series_id: SeriesId,
    /// Its metric.
    pub metric: String,
    /// Its labels.
    pub labels: Labels,
    /// Start of the 10 s window that holds `time`, RFC 3339.
    pub window_start: String,
    /// End of that window, RFC 3339.
    pub window_end: String,
    /// Time of the sample, RFC 3339 with microseconds; of a missing one, the time at which it was missed.
    pub time: String,
    /// The value judged; `None` where nothing was observed ([`AnomalyKind::Missing`]).
    pub observed: Option<f64>,
    /// The value that was expected.
    pub expected: f64,
    /// Lower edge of the expected band.
    pub lower: f64,
    /// Upper edge of the expected band.
    pub upper: f64,
    /// How far from the expectation, ≥ 0, on a scale of the detector's own: for ranking, not for alarms.
    pub raw_score: f64,
    /// 0–1 normal, above 1 anomalous.
    pub score: f64,
    /// Whether it is one of the alarms that its series may raise in a month: for whoever is woken by it.
    pub alarm: bool,
    /// Above or below. What is missing is below.
    pub direction: Direction,
    /// What each detector thought.
    pub votes: Vec<Vote>,
    /// 0–1: how much of its warm-up the series has seen.
    pub trust: f64,
    /// 0–1: the share of expected samples that arrived of late.
    pub completeness: f64,
    /// Other series of the resource that moved at about the same time: at most five, those that moved most first.
    pub related: Vec<Related>,
    /// Of a verdict on several features together: what each adds, the largest first; empty for the other kinds.
    pub contributions: Vec<Contribution>,
    /// One sentence for a person.
    pub explanation: String,
}
