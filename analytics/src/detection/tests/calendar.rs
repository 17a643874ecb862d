//! What the calendar's effects do to the detectors of a series.

use rstest::rstest;
use schemas::time::{HOUR, MINUTE};

use super::shapes::working_day;
use super::*;

const SKIP: Effects = Effects {
    skip_alarms: true,
    ..ORDINARY
};
const ORDINARY: Effects = Effects {
    skip_alarms: false,
    threshold_factor: 1.0,
    learn: true,
    use_profile_of: None,
    profile_days_ahead: 0,
};

/// A day of a quiet series every minute; returns the time of the next sample.
fn quiet(detectors: &mut SeriesDetectors, noise: &mut Noise) -> Micros {
    let config = DetectorConfig::default();
    for minute in 0..1440 {
        let value = 50.0 + noise.normal();
        detectors.observe(&config, MONDAY + minute * MINUTE, value);
    }
    MONDAY + DAY
}

/// What is made of a jump from 50 to `to` that lasts for so many minutes of which the first `during` are under these effects.
fn jump(effects: &Effects, to: f64, during: i64, minutes: i64) -> Vec<Observation> {
    let (mut detectors, mut noise) = (SeriesDetectors::default(), Noise(1));
    let from = quiet(&mut detectors, &mut noise);
    (0..minutes)
        .map(|minute| {
            let (time, value) = (from + minute * MINUTE, to + noise.normal());
            let effects = if minute < during { effects } else { &ORDINARY };
            detectors.observe_during(&DetectorConfig::default(), time, 0, effects, value)
        })
        .collect()
}

#[test]
fn skipped_alarms_are_scored_counted_once_and_told_if_they_outlast_the_event() {
    let plain = jump(&ORDINARY, 150.0, 0, 1);
    assert!(plain[0].announce && !plain[0].skipped);
    let over = jump(&SKIP, 150.0, 20, 20);
    assert_eq!(announced(&over), []);
    assert_eq!(over.iter().filter(|seen| seen.skipped).count(), 1);
    assert!(over[0].skipped && (0.9..=1.0).contains(&over[0].score));
    assert_eq!(over[0].raw_score, plain[0].raw_score);
    // It is over before the event is: what lingers of it is no news.
    let (mut detectors, mut noise) = (SeriesDetectors::default(), Noise(1));
    let from = quiet(&mut detectors, &mut noise);
    for minute in 0..300 {
        let value = if minute < 3 { 250.0 } else { 50.0 } + noise.normal();
        let effects = if minute < 30 { &SKIP } else { &ORDINARY };
        let time = from + minute * MINUTE;
        let config = DetectorConfig::default();
        let seen = detectors.observe_during(&config, time, 0, effects, value);
        assert!(!seen.announce, "after {minute} minutes: {seen:?}");
    }
    let lasting = jump(&SKIP, 150.0, 5, 20);
    assert_eq!(announced(&lasting).first().map(|told| told.0), Some(5));
}

#[test]
fn a_threshold_factor_divides_the_score() {
    let plain = jump(&ORDINARY, 60.0, 0, 1)[0];
    assert!(plain.announce && plain.score < 10.0, "{plain:?}");
    let twice = Effects {
        threshold_factor: 10.0,
        ..ORDINARY
    };
    let raised = jump(&twice, 60.0, 1, 1)[0];
    assert!(!raised.announce && !raised.skipped);
    assert!((raised.score * 10.0 / plain.score - 1.0).abs() < 1e-5);
}

#[test]
fn what_is_not_to_be_learned_leaves_no_trace() {
    let ignore = Effects {
        learn: false,
        ..ORDINARY
    };
    let config = DetectorConfig::default();
    let (mut detectors, mut noise) = (SeriesDetectors::default(), Noise(2));
    // Of a new series nothing is remembered at all.
    let seen = detectors.observe_during(&config, MONDAY, 0, &ignore, 1.0);
    assert!(!seen.announce && detectors == SeriesDetectors::default());
    let from = quiet(&mut detectors, &mut noise);
    let before = detectors.clone();
    let mut told = 0;
    for minute in 0..180 {
        let value = 400.0 + noise.normal();
        let time = from + minute * MINUTE;
        let seen = detectors.observe_during(&config, time, 0, &ignore, value);
        told += u32::from(seen.announce);
    }
    assert_eq!(told, 1, "not to be learned is not to be silent");
    let after = SeriesDetectors {
        time: before.time,
        alarms: before.alarms,
        ..detectors.clone()
    };
    assert!(after == before);
    // Nothing is missing, and back to normal is no news.
    assert_eq!(detectors.last_time(), from + 179 * MINUTE);
    for minute in 180..300 {
        let value = 50.0 + noise.normal();
        let seen = detectors.observe(&config, from + minute * MINUTE, value);
        assert!(!seen.announce, "{seen:?}");
    }
}

#[rstest]
fn a_holiday_alarms_unless_it_is_judged_by_the_day_that_it_is_like(
    #[values(MINUTE, 5 * MINUTE)] interval: Micros,
    #[values(10, 20, 30)] seed: u64,
) {
    // At work from Monday to Friday, idle on weekends; five weeks, then a Thursday that is idle, too. Nights are as idle: no value is new.
    let holiday = MONDAY + 38 * DAY;
    let like_sunday = Effects {
        use_profile_of: Some(crate::calendar::DayOfWeek::Sunday),
        profile_days_ahead: 3,
        ..ORDINARY
    };
    let run = |effects: &Effects| {
        let (mut detectors, mut noise) = (SeriesDetectors::default(), Noise(seed));
        let (mut time, mut told, mut days) = (MONDAY, 0, Vec::new());
        while time < holiday + DAY {
            let (day, hour) = ((time - MONDAY) / DAY, (time - MONDAY) % DAY);
            let at_work = day % 7 < 5 && time < holiday;
            let height = if at_work {
                working_day(hour as f64 / HOUR as f64)
            } else {
                0.0
            };
            let value = 100.0 + 50.0 * height + 3.0 * noise.normal();
            let effects = if time < holiday { &ORDINARY } else { effects };
            let config = DetectorConfig::default();
            let seen = detectors.observe_during(&config, time, 0, effects, value);
            if time >= holiday {
                told += u32::from(seen.announce);
                days.push(seen.hour_of_week / 24);
            }
            time += interval;
        }
        days.dedup();
        (told, days)
    };
    let (told, days) = run(&ORDINARY);
    assert!(
        (1..=4).contains(&told),
        "an idle Thursday, told {told} times"
    );
    assert_eq!(days, [3]);
    assert_eq!(run(&like_sunday), (0, vec![6]), "judged as a Sunday");
}

#[test]
fn a_drift_and_a_flat_line_wait_for_the_end_of_the_event() {
    // A level that creeps by 3 % of itself each day, with a maintenance from midnight to two.
    let (mut detectors, mut noise) = (SeriesDetectors::default(), Noise(4));
    let mut told = Vec::new();
    for minute in (0..12 * 1440).step_by(10) {
        let (day, hour) = (minute / 1440, minute % 1440 / 60);
        let value = 100.0 + 3.0 * day as f64 + noise.normal();
        let effects = if hour < 2 { &SKIP } else { &ORDINARY };
        let time = MONDAY + minute * MINUTE;
        let config = DetectorConfig::default();
        let seen = detectors.observe_during(&config, time, 0, effects, value);
        if seen.announce {
            told.push((hour, seen.kind));
        }
    }
    assert_eq!(told, [(2, AnomalyKind::Drift)]);

    let (mut detectors, mut noise) = (SeriesDetectors::default(), Noise(5));
    let from = quiet(&mut detectors, &mut noise);
    let mut told = Vec::new();
    for minute in 0..600 {
        let effects = if minute < 300 { &SKIP } else { &ORDINARY };
        let time = from + minute * MINUTE;
        let config = DetectorConfig::default();
        let seen = detectors.observe_during(&config, time, 0, effects, 50.0);
        if seen.announce {
            told.push((minute, seen.kind));
        }
    }
    assert_eq!(told, [(300, AnomalyKind::FlatLine)]);
}
