//! Tells a person and a program what was found: the sentence, the event, its id.

use schemas::time::rfc3339;
use schemas::{Anomaly, AnomalyKind, Direction, Micros, Resolution, Series, Vote};
use xxhash_rust::xxh3::xxh3_128;

use super::Observation;

/// The rule behind the events, part of each `event_id`. Changes when the detectors change so that the same sample gets another score.
pub const RULE: &str = "detectors/2";

/// Labels named elsewhere in the sentence, or said by no person.
const RESOURCE_LABELS: [&str; 8] = [
    "host.name",
    "host",
    "hostname",
    "instance",
    "service.name",
    "job",
    "service.instance.id",
    "container.id",
];

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
    let window = Resolution::TenSeconds.window(time);
    let vote = |vote: &super::DetectorVote| Vote {
        detector: vote.detector.name().to_owned(),
        score: vote.score,
        expected: vote.expected,
        lower: vote.lower,
        upper: vote.upper,
        reason: format!("expected {}–{}", number(vote.lower), number(vote.upper)),
    };
    Anomaly {
        event_id: event_id(series, time),
        kind: observation.kind,
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels.clone(),
        window_start: rfc3339(window.start),
        window_end: rfc3339(window.end),
        time: rfc3339(time),
        observed: (observation.kind != AnomalyKind::Missing).then_some(observed),
        expected: observation.expected,
        lower: observation.lower,
        upper: observation.upper,
        raw_score: observation.raw_score,
        score: observation.score,
        direction: observation.direction,
        votes: observation.votes.iter().map(vote).collect(),
        trust: observation.trust,
        completeness,
        related: Vec::new(),
        contributions: Vec::new(),
        explanation: explain(observation, series, observed),
    }
}

fn event_id(series: &Series, time: Micros) -> String {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(RULE.as_bytes());
    bytes.extend_from_slice(&series.id.0.to_le_bytes());
    bytes.extend_from_slice(&time.to_le_bytes());
    format!("{:032x}", xxh3_128(&bytes))
}

/// One sentence for a person: what, where, how far from what was expected.
pub fn explain(observation: &Observation, series: &Series, observed: f64) -> String {
    let own = series
        .labels
        .iter()
        .filter(|(key, _)| !RESOURCE_LABELS.contains(key) && !key.starts_with("k8s."))
        .collect::<Vec<_>>();
    let shown = own
        .iter()
        .take(3)
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(", ");
    let more = if own.len() > 3 { ", …" } else { "" };
    let labels = if shown.is_empty() {
        String::new()
    } else {
        format!(" ({shown}{more})")
    };
    let place = series
        .host()
        .or_else(|| series.service())
        .map(|name| format!(" on {name}"))
        .unwrap_or_default();
    let side = match observation.direction {
        Direction::High => "above",
        Direction::Low => "below",
    };
    format!(
        "{}{labels}{place} was {}, expected about {} ({}–{}): {} times the usual deviation {side} normal",
        series.metric,
        number(observed),
        number(observation.expected),
        number(observation.lower),
        number(observation.upper),
        number(observation.sigmas),
    )
}

/// A number with about three significant digits, as a person would write it.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e9).contains(&size) {
        format!("{value:.2e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Kind, Labels};

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
        assert!(event.explanation.starts_with("system.cpu.utilization (cpu=0) on web-1 was 0.97, expected about 0.31 (0.16–0.46): "), "{}", event.explanation);
        assert!(
            event
                .explanation
                .ends_with("times the usual deviation above normal"),
            "{}",
            event.explanation
        );
        assert_eq!(
            (event.window_start.as_str(), event.window_end.as_str()),
            ("1970-01-01T00:33:20.000000Z", "1970-01-01T00:33:30.000000Z")
        );
        assert_eq!(
            event
                .votes
                .iter()
                .map(|vote| vote.detector.as_str())
                .collect::<Vec<_>>(),
            ["robust_z_score", "ewma"]
        );
    }

    #[test]
    fn the_event_id_is_a_function_of_series_and_time() {
        let a = spike(&[("host.name", "web-1")]);
        assert_eq!(a, spike(&[("host.name", "web-1")]));
        assert_ne!(a.event_id, spike(&[("host.name", "web-2")]).event_id);
        assert_eq!(a.event_id.len(), 32);
    }

    #[test]
    fn numbers_are_short_at_every_size() {
        let written = [0.0, 0.97, -12.34, 123_456.0, 1e-7, 2.5e12, 0.05].map(number);
        assert_eq!(
            written,
            [
                "0", "0.97", "-12.3", "123456", "1.00e-7", "2.50e12", "0.0500"
            ]
        );
    }
}
