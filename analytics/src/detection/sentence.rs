//! Says in words what was found: what, where, how far from what was expected, why.

use schemas::{AnomalyKind, Direction, Kind, Series};

use super::season::Season;
use super::votes::{Detector, DetectorVote, Observation};

/// A distance of more usual deviations than this is not told as a number: the series hardly ever moves, and a person learns nothing from
/// "7958918 times".
const SIGMAS_TOLD_MAX: f64 = 1000.0;

/// A distance of fewer is no reason to tell anybody: what else is unusual is told instead.
const SIGMAS_TOLD_MIN: f64 = 2.0;

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

/// What is smaller than this share of a value is told as 0 beside it.
const NOTHING: f64 = 1e-6;

const WEEKDAYS: [&str; 7] = [
    "Mondays",
    "Tuesdays",
    "Wednesdays",
    "Thursdays",
    "Fridays",
    "Saturdays",
    "Sundays",
];

/// Why one detector finds the sample unusual, in a few words.
pub(super) fn reason(vote: &DetectorVote, observation: &Observation) -> String {
    let band = band(vote.lower, vote.upper);
    match vote.detector {
        Detector::RobustZScore => format!("99 of 100 samples of late were {band}"),
        Detector::Step => format!(
            "99 of 100 times, what comes after {} is {band}",
            number(vote.expected)
        ),
        Detector::Ewma => format!(
            "it has strayed from its recent level {} for several samples",
            number(vote.expected)
        ),
        Detector::LevelShift => format!("its recent level has left {band}"),
        Detector::Seasonal => format!("{} it is {band}", habit(observation)),
        Detector::HourMean => {
            "for about an hour it has been further to one side than it usually is".to_owned()
        }
        Detector::Variance => match observation.direction {
            Direction::High => "it is more restless than it was for two days",
            Direction::Low => "it is less restless than it was for two days",
        }
        .to_owned(),
        Detector::Range => format!("it had never been outside {band}"),
    }
}

/// One sentence for a person: what, where, how far from what was expected, why.
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
    // What is judged of a counter is how fast it grows.
    let rate = match (series.kind, observation.kind) {
        (Kind::Gauge, _) | (_, AnomalyKind::Missing) => "",
        (Kind::Counter, _) => " per second",
    };
    format!(
        "{}{rate}{labels}{place} {}",
        series.metric,
        story(observation, observed)
    )
}

/// What happened, after the name of the series.
pub(super) fn story(observation: &Observation, value: f64) -> String {
    let observed = number(value);
    let level = beside(observation.expected, value);
    // The band of a series that hardly ever moves is the smallest distance that matters, which is no news.
    let expected = if observation.sigmas > SIGMAS_TOLD_MAX {
        number(level)
    } else {
        format!(
            "{} ({})",
            number(level),
            band(observation.lower, observation.upper)
        )
    };
    match observation.kind {
        AnomalyKind::Missing => format!(
            "has sent nothing for {}; its last value was {observed}",
            duration(observation.lasting_s)
        ),
        AnomalyKind::FlatLine => format!(
            "has been exactly {observed} for {}, and it usually changes with each sample",
            duration(observation.lasting_s)
        ),
        AnomalyKind::Drift => {
            let way = match observation.direction {
                Direction::High => "risen",
                Direction::Low => "fallen",
            };
            format!(
                "has {way} day after day for eight days, from about {}, and was {observed} now",
                number(observation.expected)
            )
        }
        AnomalyKind::Variance => {
            let how = match observation.direction {
                Direction::High => "more",
                Direction::Low => "less",
            };
            format!(
                "has become much {how} restless than it was for two days; it was {observed}, expected about {expected}"
            )
        }
        AnomalyKind::LevelShift => format!(
            "has left its level: it was {observed}, expected about {expected}{}",
            why(observation, value)
        ),
        AnomalyKind::Point
        | AnomalyKind::Resource
        | AnomalyKind::Peer
        | AnomalyKind::Cardinality => format!(
            "was {observed}, expected about {expected}{}",
            why(observation, value)
        ),
    }
}

/// What was expected as it is told beside a value: a level that has come down to nothing never quite arrives there.
pub(crate) fn beside(expected: f64, value: f64) -> f64 {
    if expected.abs() < NOTHING * value.abs() {
        0.0
    } else {
        expected
    }
}

/// How far, how new, and on what the expectation rests; of a value that is not far, what else is unusual.
fn why(observation: &Observation, value: f64) -> String {
    let clearest = observation
        .votes
        .iter()
        .max_by(|a, b| a.score.total_cmp(&b.score));
    let within = (observation.lower..=observation.upper).contains(&value);
    if let Some(vote) = clearest
        && (within || observation.sigmas < SIGMAS_TOLD_MIN)
    {
        return format!(": {}", reason(vote, observation));
    }
    let side = match observation.direction {
        Direction::High => "above",
        Direction::Low => "below",
    };
    let mut text = if observation.sigmas > SIGMAS_TOLD_MAX {
        ": it hardly ever moves".to_owned()
    } else {
        format!(
            ": {} times the usual deviation {side} normal",
            number(observation.sigmas)
        )
    };
    if let Some(range) = observation
        .votes
        .iter()
        .find(|vote| vote.detector == Detector::Range && vote.score > 0.0)
    {
        let edge = match observation.direction {
            Direction::High => range.upper,
            Direction::Low => range.lower,
        };
        text.push_str(&format!("; it had never been {side} {}", number(edge)));
    }
    if observation.season != Season::None {
        text.push_str(&format!(
            "; {} it is {}",
            habit(observation),
            band(observation.lower, observation.upper)
        ));
    }
    text
}

/// When the expectation holds: `on Tuesdays at 10:00`, `every day at 10:00`.
fn habit(observation: &Observation) -> String {
    let (day, hour) = (
        usize::from(observation.hour_of_week / 24) % WEEKDAYS.len(),
        observation.hour_of_week % 24,
    );
    match observation.season {
        Season::Week => format!("on {} at {hour:02}:00", WEEKDAYS[day]),
        Season::Day | Season::None => format!("every day at {hour:02}:00"),
    }
}

fn band(lower: f64, upper: f64) -> String {
    format!("{}–{}", number(lower), number(upper))
}

/// A duration in its largest unit that is at least two of them.
fn duration(seconds: f64) -> String {
    let units = [(86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")];
    match units.iter().find(|(unit, _)| seconds >= 2.0 * unit) {
        Some((unit, name)) => format!("{:.0} {name}", seconds / unit),
        None => format!("{seconds:.0} seconds"),
    }
}

/// From here on a number is told in a larger unit: what that is called, and how large it is.
const LARGE: [(f64, &str); 3] = [(1e12, "T"), (1e9, "G"), (1e6, "M")];

/// A number with about three significant digits, as a person would write it: millions as `M`, a thousand of them as `G`, and `T`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e15).contains(&size) {
        return format!("{value:.2e}");
    }
    match LARGE.iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{}{name}", significant(value / unit)),
        None => significant(value),
    }
}

/// A number from a thousandth to a million in at least two significant digits.
fn significant(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use schemas::Labels;

    use super::*;
    use crate::{DetectorConfig, SeriesDetectors};

    #[test]
    fn a_series_that_hardly_ever_moves_is_told_without_a_monstrous_number() {
        let series = Series::new("errors", Labels::empty(), Kind::Gauge);
        let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
        for i in 0..500 {
            detectors.observe(&config, i * 10_000_000, 0.0);
        }
        let observation = detectors.observe(&config, 5_000_000_000, 8.0);
        assert!(observation.announce);
        assert_eq!(
            explain(&observation, &series, 8.0),
            "errors was 8.00, expected about 0: it hardly ever moves; it had never been above 0"
        );
    }

    #[test]
    fn of_a_counter_the_rate_is_told_and_next_to_nothing_is_0() {
        let series = Series::new("errors_total", Labels::empty(), Kind::Counter);
        let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
        for i in 0..500 {
            detectors.observe(&config, i * 10_000_000, 0.0);
        }
        let mut observation = detectors.observe(&config, 5_000_000_000, 8.0);
        observation.expected = 2.57e-8;
        assert_eq!(
            explain(&observation, &series, 8.0),
            "errors_total per second was 8.00, expected about 0: it hardly ever moves; it had never been above 0"
        );
    }

    #[test]
    fn a_value_inside_its_band_is_told_by_what_is_unusual() {
        let series = Series::new("load", Labels::empty(), Kind::Gauge);
        let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
        for i in 0..500 {
            detectors.observe(&config, i * 10_000_000, (i % 7) as f64);
        }
        let mut observation = detectors.observe(&config, 5_000_000_000, 3.0);
        observation.lower = 2.0;
        observation.upper = 4.0;
        observation.expected = 3.5;
        for vote in &mut observation.votes {
            vote.score = if vote.detector == Detector::Ewma {
                1.0
            } else {
                0.0
            };
        }
        let told = explain(&observation, &series, 3.0);
        let expected =
            "load was 3.00, expected about 3.50 (2.00–4.00): it has strayed from its recent level";
        assert!(told.starts_with(expected), "{told}");
        (observation.lower, observation.upper) = (3.2, 3.8);
        let told = explain(&observation, &series, 3.0);
        assert!(told.contains("strayed"), "just outside, not far: {told}");
        observation.sigmas = 2.1;
        let told = explain(&observation, &series, 3.0);
        assert!(told.contains("2.10 times the usual deviation"), "{told}");
    }

    #[test]
    fn a_season_is_named_as_a_person_would() {
        let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
        let mut last = detectors.observe(&config, 0, 0.0);
        // Five weeks of hours; Tuesdays at 10:00 it is 45, else 10.
        for hour in 0..5 * 168_i64 {
            let time = hour * 3_600_000_000;
            // 1970 began on a Thursday.
            let tuesday_10 = (hour + 72) % 168 == 34;
            let value = if tuesday_10 { 45.0 } else { 10.0 } + 0.1 * (hour % 7) as f64;
            last = detectors.observe(&config, time, value);
            if tuesday_10 {
                assert_eq!(last.hour_of_week, 34);
            }
        }
        last.season = Season::Week;
        last.hour_of_week = 34;
        assert_eq!(habit(&last), "on Tuesdays at 10:00");
        last.season = Season::Day;
        assert_eq!(habit(&last), "every day at 10:00");
    }

    #[test]
    fn numbers_are_short_at_every_size() {
        let written = [
            0.0,
            0.97,
            -12.34,
            123_456.0,
            1e-7,
            2.5e12,
            0.05,
            -36_167_773.0,
            2.712e10,
            1e15,
        ]
        .map(number);
        assert_eq!(
            written,
            [
                "0", "0.97", "-12.3", "123456", "1.00e-7", "2.50T", "0.0500", "-36.2M", "27.1G",
                "1.00e15"
            ]
        );
    }
}
