//! Tells a person and a program that a resource as a whole is abnormal.

use schemas::time::rfc3339;
use schemas::{
    Anomaly, AnomalyKind, Contribution, Direction, Kind, Labels, Micros, RESOURCE_METRIC,
    Resolution, Series, Vote,
};
use xxhash_rust::xxh3::xxh3_128;

use super::ResourceVerdict;
use crate::detection::{beside, number};

/// The rule behind the events, part of each `event_id`. Changes when forests change so that the same rows get another score.
pub const RESOURCE_RULE: &str = "isolation_forest/2";

/// Contributions that an event lists.
const LISTED_MAX: usize = 5;
/// Of them, those that the sentence names.
const TOLD_MAX: usize = 3;
/// Digits from which a vote is listed: what one minute in thirty has says nothing.
const DIGITS_COUNTED_FROM: f64 = 1.5;
/// A share from which a contribution is listed. 0.05: twenty equal ones say nothing.
const SHARE_MIN: f64 = 0.05;

/// What a forest says of a resource at one time.
#[derive(Debug, Clone)]
pub struct ResourceFinding<'a> {
    /// The labels that name the resource.
    pub labels: &'a Labels,
    /// What the resource is: `host`, `container`, ….
    pub class: &'a str,
    /// Other resources of the class that were compared.
    pub siblings: usize,
    /// The end of the time that was judged, microseconds.
    pub time: Micros,
    /// What was made of the forest's score.
    pub verdict: ResourceVerdict,
    /// 0–1: the share of features that are known.
    pub completeness: f64,
    /// The features, in any order.
    pub features: Vec<FeatureShare<'a>>,
}

/// What one feature of a resource adds to its score.
#[derive(Debug, Clone, Copy)]
pub struct FeatureShare<'a> {
    /// Its name.
    pub feature: &'a str,
    /// Its value.
    pub value: f64,
    /// The value that is usual for it.
    pub expected: f64,
    /// By how much it shortened the paths; negative where it lengthened them.
    pub contribution: f64,
}

impl ResourceFinding<'_> {
    /// The event. Its series is [`RESOURCE_METRIC`] with the resource's labels; `event_id` is XXH3-128 (seed 0, 32 hexadecimal digits) of
    /// [`RESOURCE_RULE`], the 16 little-endian bytes of the series id and the 8 little-endian bytes of the time.
    pub fn event(&self) -> Anomaly {
        let series = Series::new(RESOURCE_METRIC, self.labels.clone(), Kind::Gauge);
        let window = Resolution::TenSeconds.window(self.time);
        let verdict = self.verdict;
        let contributions = self.contributions();
        let explanation = self.explanation(&series, &contributions);
        let mut id = RESOURCE_RULE.as_bytes().to_vec();
        id.extend_from_slice(&series.id.0.to_le_bytes());
        id.extend_from_slice(&self.time.to_le_bytes());
        Anomaly {
            event_id: format!("{:032x}", xxh3_128(&id)),
            kind: AnomalyKind::Resource,
            series_id: series.id,
            metric: RESOURCE_METRIC.to_owned(),
            labels: series.labels,
            window_start: rfc3339(window.start),
            window_end: rfc3339(window.end),
            time: rfc3339(self.time),
            observed: Some(verdict.digits),
            expected: ResourceVerdict::DIGITS_USUAL,
            lower: 0.0,
            upper: verdict.digits_needed,
            raw_score: verdict.digits,
            score: verdict.score,
            alarm: true,
            direction: Direction::High,
            votes: self.votes(),
            trust: verdict.trust,
            completeness: self.completeness,
            related: Vec::new(),
            contributions,
            explanation,
        }
    }

    /// The votes that count, the forest's first.
    fn votes(&self) -> Vec<Vote> {
        let [forest, distance] = &self.verdict.votes;
        let told = [
            ("isolation_forest", "isolation score", forest),
            (
                "distance",
                "logarithm of the distance of all features together",
                distance,
            ),
        ];
        let counted = told
            .into_iter()
            .filter(|(_, _, vote)| vote.digits > DIGITS_COUNTED_FROM);
        counted
            .map(|(detector, what, vote)| Vote {
                detector: detector.to_owned(),
                score: self.verdict.score * vote.digits / (forest.digits + distance.digits),
                expected: vote.usual,
                lower: 0.0,
                upper: vote.upper,
                reason: format!(
                    "{what} {}, usually {}, 99 of 100 minutes below {}",
                    number(vote.now),
                    number(vote.usual),
                    number(vote.upper)
                ),
            })
            .collect()
    }

    /// The features that made the score, the largest share first.
    fn contributions(&self) -> Vec<Contribution> {
        let total: f64 = self
            .features
            .iter()
            .map(|feature| feature.contribution.max(0.0))
            .sum();
        let mut contributions: Vec<Contribution> = self
            .features
            .iter()
            .filter(|feature| feature.value.is_finite() && feature.expected.is_finite())
            .map(|feature| Contribution {
                feature: feature.feature.to_owned(),
                value: feature.value,
                expected: feature.expected,
                share: feature.contribution.max(0.0) / total.max(f64::MIN_POSITIVE),
            })
            .filter(|contribution| contribution.share >= SHARE_MIN)
            .collect();
        contributions.sort_by(|a, b| {
            let by_share = b.share.total_cmp(&a.share);
            by_share.then_with(|| a.feature.cmp(&b.feature))
        });
        contributions.truncate(LISTED_MAX);
        contributions
    }

    /// `web-7 is unlike the 12 others (host): disk.io 120 instead of 23 (5.2 times)`.
    fn explanation(&self, series: &Series, contributions: &[Contribution]) -> String {
        let name = series
            .host()
            .or_else(|| series.service())
            .map_or_else(|| self.labels.to_string(), str::to_owned);
        let told: Vec<String> = contributions
            .iter()
            .take(TOLD_MAX)
            .map(|contribution| {
                let value = contribution.value;
                let expected = beside(contribution.expected, value);
                let ratio = value / expected;
                let times = if ratio.is_finite() && ratio >= 1.5 {
                    format!(" ({} times)", number(ratio))
                } else {
                    String::new()
                };
                let feature = &contribution.feature;
                format!(
                    "{feature} {} instead of {}{times}",
                    number(value),
                    number(expected)
                )
            })
            .collect();
        let told = if told.is_empty() {
            String::new()
        } else {
            format!(": {}", told.join(", "))
        };
        let (others, class) = (self.siblings, self.class);
        format!("{name} is unlike the {others} others ({class}){told}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::ScoreVote;
    use super::*;

    fn finding<'a>(
        labels: &'a Labels,
        features: &[(&'a str, f64, f64, f64)],
    ) -> ResourceFinding<'a> {
        let features = features
            .iter()
            .map(|&(feature, value, expected, contribution)| FeatureShare {
                feature,
                value,
                expected,
                contribution,
            });
        ResourceFinding {
            labels,
            class: "host",
            siblings: 12,
            time: 60_000_000,
            verdict: ResourceVerdict {
                votes: [(0.8, 0.45, 0.52, 6.1), (0.7, 0.69, 1.1, 1.2)].map(
                    |(now, usual, upper, digits)| ScoreVote {
                        now,
                        usual,
                        upper,
                        digits,
                    },
                ),
                digits: 6.1,
                digits_needed: 4.33,
                score: 1.5,
                trust: 1.0,
                skipped: false,
            },
            completeness: 1.0,
            features: features.collect(),
        }
    }

    #[test]
    fn an_event_says_who_and_what_made_it_odd() {
        let labels = Labels::try_new([("host.name", "web-7")]).unwrap();
        let features = [
            ("cpu", 0.9, 0.3, 0.2),
            ("disk.io", 120.0, 23.0, 0.6),
            ("load", 1.0, 1.0, -0.4),
            ("memory", 5.0, 5.0, 0.01),
            ("unknown", f64::NAN, 5.0, 0.1),
        ];
        let event = finding(&labels, &features).event();
        assert_eq!(
            event.explanation,
            "web-7 is unlike the 12 others (host): disk.io 120 instead of 23.0 (5.22 times), cpu 0.90 instead of 0.30 (3.00 times)"
        );
        let shares: Vec<(&str, f64)> = event
            .contributions
            .iter()
            .map(|contribution| (contribution.feature.as_str(), contribution.share))
            .collect();
        assert_eq!(shares, [("disk.io", 0.6 / 0.91), ("cpu", 0.2 / 0.91)]);
        assert_eq!(event.kind, AnomalyKind::Resource);
        assert_eq!(
            (event.raw_score, event.score, event.votes.len()),
            (6.1, 1.5, 1)
        );
        assert_eq!(
            event.votes[0].reason,
            "isolation score 0.80, usually 0.45, 99 of 100 minutes below 0.52"
        );
        assert_eq!(
            event.series_id,
            schemas::SeriesId::of(RESOURCE_METRIC, &labels)
        );
        assert_eq!(event.event_id, finding(&labels, &[]).event().event_id);
    }

    #[test]
    fn what_is_next_to_nothing_is_0_and_no_ratio() {
        let labels = Labels::try_new([("host.name", "web-7")]).unwrap();
        let features = [("errors", 29.5, 4.19e-7, 0.9), ("drops", 1e-3, 0.0, 0.1)];
        assert_eq!(
            finding(&labels, &features).event().explanation,
            "web-7 is unlike the 12 others (host): errors 29.5 instead of 0, drops 0.0010 instead of 0"
        );
    }

    #[test]
    fn an_event_without_a_name_or_features_is_a_sentence_too() {
        let labels = Labels::try_new([("container.id", "c1")]).unwrap();
        assert_eq!(
            finding(&labels, &[]).event().explanation,
            r#"{container.id="c1"} is unlike the 12 others (host)"#
        );
    }
}
