//! What is told of a member that stands apart, and the sentence for a person.

use schemas::time::{MINUTE, rfc3339};
use schemas::{Anomaly, AnomalyKind, Direction, Micros, Resolution, Series, Vote};
use xxhash_rust::xxh3::xxh3_128;

use super::INSTANCE_LABELS;
use crate::detection::{number, score_of_times};

/// The rule behind the events, part of each `event_id`. Changes when the comparison changes.
const PEERS_RULE: &str = "peers/2";

/// A member stands apart from its siblings, and has for a while. Told once per story.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerEvent {
    /// Who.
    pub member: u32,
    /// Start of the window that it is told in, microseconds.
    pub window_start: Micros,
    /// Start of the first window of the story, microseconds.
    pub since: Micros,
    /// Its value in the window.
    pub value: f64,
    /// What its siblings' values and its usual place among them let expect.
    pub expected: f64,
    /// Lower edge of the band.
    pub lower: f64,
    /// Upper edge of the band.
    pub upper: f64,
    /// Half-widths of its band that it is from the expectation: the fewest since the story began, above 1, at most 1e6.
    pub times: f64,
    /// Distance from the expectation in σ in this window, ≥ 0.
    pub sigmas: f64,
    /// Which side of the expectation it is on.
    pub direction: Direction,
    /// How many siblings had a value in the window.
    pub siblings: u32,
    /// The smallest value among siblings that do not stand apart themselves.
    pub siblings_low: f64,
    /// The largest of those.
    pub siblings_high: f64,
}

impl PeerEvent {
    /// The event as it is published, of the member's series. Its time is the end of the window of a minute; `completeness`, 0–1, is that of
    /// the member in the window. `event_id` is XXH3-128 (seed 0, 32 hexadecimal digits) of the rule's name, the 16 little-endian bytes of
    /// the series id and the 8 of the time.
    pub fn anomaly(&self, series: &Series, completeness: f64) -> Anomaly {
        let time = self.window_start + MINUTE;
        let score = score_of_times(self.times);
        let window = Resolution::TenSeconds.window(time);
        let mut id = PEERS_RULE.as_bytes().to_vec();
        id.extend_from_slice(&series.id.0.to_le_bytes());
        id.extend_from_slice(&time.to_le_bytes());
        Anomaly {
            event_id: format!("{:032x}", xxh3_128(&id)),
            kind: AnomalyKind::Peer,
            series_id: series.id,
            metric: series.metric.to_string(),
            labels: series.labels.clone(),
            window_start: rfc3339(window.start),
            window_end: rfc3339(window.end),
            time: rfc3339(time),
            observed: Some(self.value),
            expected: self.expected,
            lower: self.lower,
            upper: self.upper,
            raw_score: self.sigmas,
            score,
            alarm: true,
            direction: self.direction,
            votes: vec![Vote {
                detector: "peers".to_owned(),
                score,
                expected: self.expected,
                lower: self.lower,
                upper: self.upper,
                reason: format!(
                    "{} siblings are at {}, for {} min",
                    self.siblings,
                    self.range(),
                    (time - self.since) / MINUTE
                ),
            }],
            trust: 1.0,
            completeness,
            related: Vec::new(),
            contributions: Vec::new(),
            explanation: self.explain(&named(series)),
        }
    }

    /// One sentence: who is where, and where its siblings are.
    pub fn explain(&self, name: &str) -> String {
        // Where it is usually beside or among its siblings: said only if the range does not say it.
        let usual = if (self.siblings_low..=self.siblings_high).contains(&self.value)
            || !(self.siblings_low..=self.siblings_high).contains(&self.expected)
        {
            format!(
                "; by its usual place among them it would be at {}",
                number(self.expected)
            )
        } else {
            String::new()
        };
        format!(
            "{name} is at {}, its {} siblings are at {}{usual}",
            number(self.value),
            self.siblings,
            self.range()
        )
    }

    /// Where the siblings are: `40–47`.
    fn range(&self) -> String {
        let (low, high) = (number(self.siblings_low), number(self.siblings_high));
        if low == high {
            low
        } else {
            format!("{low}–{high}")
        }
    }
}

/// Who a sentence is about: `system.cpu.utilization (cpu=0) on web-3`.
fn named(series: &Series) -> String {
    let instance = INSTANCE_LABELS
        .iter()
        .find_map(|key| series.labels.get(key))
        .unwrap_or_default();
    let own = series.labels.iter().filter(|(key, _)| {
        let says_who = ["service.name", "job"].contains(key) || key.starts_with("k8s.");
        !says_who && !INSTANCE_LABELS.contains(key)
    });
    let own: Vec<String> = own
        .take(3)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let own = if own.is_empty() {
        String::new()
    } else {
        format!(" ({})", own.join(", "))
    };
    format!("{}{own} on {instance}", series.metric)
}
