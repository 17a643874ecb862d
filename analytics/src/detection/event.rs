//! Tells a program what was found: the event, its votes, its id.

use schemas::time::rfc3339;
use schemas::{Anomaly, AnomalyKind, Direction, Micros, Resolution, Series, Vote};
use xxhash_rust::xxh3::xxh3_128;

use super::Silence;
use super::sentence::{explain, reason, story};
use super::votes::Observation;

/// The rule behind the events, part of each `event_id`. Changes when the detectors change so that the same sample gets another score.
pub const RULE: &str = "detectors/5";

/// The event of an abnormal sample. `completeness` is 0–1; `observation` is what `observe` returned for this sample.
///
/// `event_id` is XXH3-128 (seed 0, 32 hexadecimal digits) of [`RULE`], the 16 little-endian bytes of the series id and the 8
/// little-endian bytes of the time: the same sample gives the same id each time it is read.
pub fn anomaly_event(
    series: &Series,
    time: Micros,
    observed: f64,
    observation: &Observation,
    completeness: f64,
) -> Anomaly {
    let mut event = event(series, time, observation, completeness);
    event.observed = Some(observed);
    event.explanation = explain(observation, series, observed);
    event.votes = observation
        .votes
        .iter()
        .filter(|vote| vote.score > 0.0)
        .map(|vote| Vote {
            detector: vote.detector.name().to_owned(),
            score: vote.score,
            expected: vote.expected,
            lower: vote.lower,
            upper: vote.upper,
            reason: reason(vote, observation),
        })
        .collect();
    // Flat lines and drifts are found beside the votes.
    if matches!(observation.kind, AnomalyKind::FlatLine | AnomalyKind::Drift) {
        event.votes.insert(0, own_vote(observation, observed));
    }
    event
}

/// The event of a series that fell silent. `now` is the log clock at which that was noticed.
pub fn silence_event(series: &Series, now: Micros, silence: &Silence) -> Anomaly {
    let observation = &silence.observation;
    let mut event = event(series, now, observation, observation.completeness);
    // What does not come is below whatever was expected.
    event.direction = Direction::Low;
    event.explanation = explain(observation, series, silence.last_value);
    event.votes = vec![own_vote(observation, silence.last_value)];
    event
}

/// What all events have; nothing observed, no votes, no sentence yet.
fn event(series: &Series, time: Micros, observation: &Observation, completeness: f64) -> Anomaly {
    let window = Resolution::TenSeconds.window(time);
    Anomaly {
        event_id: event_id(series, time),
        kind: observation.kind,
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels.clone(),
        window_start: rfc3339(window.start),
        window_end: rfc3339(window.end),
        time: rfc3339(time),
        observed: None,
        expected: observation.expected,
        lower: observation.lower,
        upper: observation.upper,
        raw_score: observation.raw_score,
        score: observation.score,
        alarm: true,
        direction: observation.direction,
        votes: Vec::new(),
        trust: observation.trust,
        completeness,
        related: Vec::new(),
        contributions: Vec::new(),
        explanation: String::new(),
    }
}

fn event_id(series: &Series, time: Micros) -> String {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(RULE.as_bytes());
    bytes.extend_from_slice(&series.id.0.to_le_bytes());
    bytes.extend_from_slice(&time.to_le_bytes());
    format!("{:032x}", xxh3_128(&bytes))
}

/// The vote of a finding that no single sample shows.
fn own_vote(observation: &Observation, observed: f64) -> Vote {
    Vote {
        detector: observation.kind.name().to_owned(),
        score: observation.score,
        expected: observation.expected,
        lower: observation.lower,
        upper: observation.upper,
        reason: story(observation, observed),
    }
}

#[cfg(test)]
mod tests {
    use schemas::{AnomalyKind, Kind, Labels};

    use super::*;
    use crate::{DetectorConfig, SeriesDetectors};

    fn spike(labels: &[(&str, &str)]) -> Anomaly {
        let series = Series::new(
            "system.cpu.utilization",
            Labels::try_new(labels.iter().copied()).unwrap(),
            Kind::Gauge,
        );
        let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
        for i in 0..200 {
            detectors.observe(&config, i * 10_000_000, 0.31 + 0.01 * (i % 7 - 3) as f64);
        }
        let observation = detectors.observe(&config, 2_000_000_000, 0.97);
        assert!(observation.announce);
        anomaly_event(&series, 2_000_000_000, 0.97, &observation, 1.0)
    }

    #[test]
    fn an_event_says_who_what_and_how_far() {
        let event = spike(&[("host.name", "web-1"), ("cpu", "0")]);
        assert!(
            event.explanation.starts_with(
                "system.cpu.utilization (cpu=0) on web-1 was 0.97, expected about 0.31 (0.2"
            ),
            "{}",
            event.explanation
        );
        assert!(
            event
                .explanation
                .ends_with("times the usual deviation above normal; it had never been above 0.34"),
            "{}",
            event.explanation
        );
        assert_eq!(
            (event.window_start.as_str(), event.window_end.as_str()),
            ("1970-01-01T00:33:20.000000Z", "1970-01-01T00:33:30.000000Z")
        );
        let voted: Vec<&str> = event
            .votes
            .iter()
            .map(|vote| vote.detector.as_str())
            .collect();
        assert!(
            voted.contains(&"robust_z_score") && voted.contains(&"range"),
            "{voted:?}"
        );
        let sum: f64 = event.votes.iter().map(|vote| vote.score).sum();
        assert!((sum - event.score).abs() < 1e-5, "{sum} {}", event.score);
        assert!(event.votes.iter().all(|vote| !vote.reason.is_empty()));
    }

    #[test]
    fn silence_is_told_with_its_length_and_without_a_value() {
        let series = Series::new("up", Labels::empty(), Kind::Gauge);
        let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
        for i in 0..500 {
            detectors.observe(&config, i * 10_000_000, 1.0);
        }
        let now = 4_990_000_000 + 900_000_000;
        let silence = detectors.overdue(&config, now).unwrap();
        let event = silence_event(&series, now, &silence);
        assert_eq!((event.kind, event.observed), (AnomalyKind::Missing, None));
        assert_eq!(
            event.explanation,
            "up has sent nothing for 15 minutes; its last value was 1.00"
        );
        assert_eq!(event.votes.len(), 1);
    }

    #[test]
    fn the_event_id_is_a_function_of_series_and_time() {
        let a = spike(&[("host.name", "web-1")]);
        assert_eq!(a, spike(&[("host.name", "web-1")]));
        assert_ne!(a.event_id, spike(&[("host.name", "web-2")]).event_id);
        assert_eq!(a.event_id.len(), 32);
    }
}
