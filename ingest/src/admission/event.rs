//! The event that tells of a label with too many values: an anomaly about the series that the further ones are stored as.

use schemas::time::rfc3339;
use schemas::{Anomaly, AnomalyKind, Direction, Labels, Resolution, SeriesId, Vote};

use super::{FoldedLabel, OTHER};

/// The rule, as event ids see it. Another rule, or another form of this one, has another name.
const RULE: &str = "tidewatch.cardinality.v1";
/// The voter's name.
const DETECTOR: &str = "cardinality_guard";

impl FoldedLabel {
    /// The event. `values_max`: how many values a label may have, ≥ 1. Sent again, it has the same id.
    pub fn event(&self, values_max: usize) -> Anomaly {
        // A name that no label may have is in the explanation only.
        let labels =
            Labels::try_new([(self.label.as_str(), OTHER)]).unwrap_or_else(|_| Labels::empty());
        let since = rfc3339(self.since);
        let identity = [
            ("metric", self.metric.as_str()),
            ("label", self.label.as_str()),
            ("since", since.as_str()),
        ];
        let identity = Labels::try_new(identity).unwrap_or_else(|_| Labels::empty());
        // Of a label that names a resource it had more.
        let values_max = values_max.max(self.values);
        let (observed, most) = (self.values as f64 + 1.0, values_max.max(1) as f64);
        let score = (observed / most).max(1.01);
        let examples = self.examples.join("`, `");
        let reason = format!(
            "`{}` has {} values, such as `{examples}`",
            self.label, self.values
        );
        let window = Resolution::TenSeconds.window(self.since);
        Anomaly {
            event_id: SeriesId::of(RULE, &identity).to_string(),
            kind: AnomalyKind::Cardinality,
            series_id: SeriesId::of(&self.metric, &labels),
            metric: self.metric.clone(),
            labels,
            window_start: rfc3339(window.start),
            window_end: rfc3339(window.end),
            time: since,
            observed: Some(observed),
            expected: most,
            lower: 0.0,
            upper: most,
            raw_score: observed,
            score,
            alarm: true,
            direction: Direction::High,
            votes: vec![Vote {
                detector: DETECTOR.to_owned(),
                score,
                expected: most,
                lower: 0.0,
                upper: most,
                reason: reason.clone(),
            }],
            trust: 1.0,
            completeness: 1.0,
            related: Vec::new(),
            contributions: Vec::new(),
            explanation: format!(
                "the label {reason}, and {} brought one more: further new ones are stored as `{OTHER}` until `tidewatch cardinality release {} {}`; it may have {values_max} \
                 (`limits.values_max`, or `limits.resource_values_max` if it names a resource)",
                self.sender, self.metric, self.label
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_names_the_label_its_values_and_who_sent_them() {
        let label = |name: &str, since| FoldedLabel {
            metric: "jobs_done".to_owned(),
            label: name.to_owned(),
            values: 100,
            examples: ["a-1", "a-2", "a-3"].map(str::to_owned).to_vec(),
            sender: "token app".to_owned(),
            since,
        };
        let event = label("id", 1_790_000_001_000_000).event(100);
        assert!(event.score > 1.0 && event.observed == Some(101.0));
        assert_eq!(event.labels, Labels::try_new([("id", OTHER)]).unwrap());
        for part in [
            "`id` has 100 values",
            "`a-1`, `a-2`, `a-3`",
            "token app",
            "release jobs_done id",
        ] {
            assert!(event.explanation.contains(part), "{}", event.explanation);
        }
        let id = |name, since| label(name, since).event(100).event_id;
        assert_eq!(event.event_id, id("id", 1_790_000_001_000_000));
        assert_ne!(event.event_id, id("id", 1_790_000_002_000_000));
        assert_ne!(event.event_id, id("job", 1_790_000_001_000_000));
    }
}
