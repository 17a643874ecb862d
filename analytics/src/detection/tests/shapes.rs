//! Shapes: what must be flagged, by whom, and what must not.

use rstest::rstest;
use schemas::time::{DAY, HOUR, MINUTE, SECOND};

use super::*;

/// Samples of so many days at an interval.
fn samples(days: i64, interval: Micros) -> usize {
    (days * DAY / interval) as usize
}

/// A working day: high from 9 to 18 o'clock, ramps of an hour, 0 to 1. `hour`: local, 0–24.
pub(super) fn working_day(hour: f64) -> f64 {
    (hour - 8.0).clamp(0.0, 1.0) * (19.0 - hour).clamp(0.0, 1.0)
}

fn hour_of_day(index: usize, interval: Micros) -> f64 {
    (index as Micros * interval).rem_euclid(DAY) as f64 / HOUR as f64
}

#[rstest]
#[case::normal(false)]
#[case::heavy_tailed(true)]
fn noise_alarms_at_most_about_as_often_as_allowed(
    #[case] heavy: bool,
    #[values(10 * SECOND, MINUTE, 5 * MINUTE, HOUR)] interval: Micros,
) {
    // 30,000 samples, at most 90 days.
    let count = samples(90, interval).min(30_000);
    let mut alarms = 0;
    for seed in 0..4 {
        let mut noise = Noise(seed);
        let values = (0..count).map(|_| {
            50.0 + if heavy {
                noise.heavy_tailed()
            } else {
                noise.normal()
            }
        });
        alarms += announced(&run(&DetectorConfig::default(), interval, values)).len();
    }
    let months = 4.0 * (count as Micros * interval) as f64 / (30 * DAY) as f64;
    // Twice the allowed rate, and three per series for the time in which its tails are learned.
    assert!(
        alarms as f64 <= 12.0 + 4.0 * months,
        "{alarms} in {months} months"
    );
}

#[rstest]
#[case::spike(30.0)]
#[case::dip(-30.0)]
fn a_spike_is_announced_at_its_sample_and_only_there(
    #[case] size: f64,
    #[values(SECOND, 10 * SECOND, MINUTE, 5 * MINUTE, HOUR)] interval: Micros,
) {
    let mut noise = Noise(1);
    let values = (0..2000).map(|i| 50.0 + noise.normal() + if i == 1500 { size } else { 0.0 });
    let observations = run(&DetectorConfig::default(), interval, values);
    assert_eq!(announced(&observations), [(1500, AnomalyKind::Point)]);
    let spike = &observations[1500];
    assert_eq!(
        spike.direction,
        if size > 0.0 {
            Direction::High
        } else {
            Direction::Low
        }
    );
    assert!(spike.lower > 40.0 && spike.upper < 60.0, "{spike:?}");
    for detector in [Detector::RobustZScore, Detector::Step, Detector::Range] {
        assert!(spike.votes[detector as usize].score > 0.0, "{detector:?}");
    }
    assert!(
        observations[1600].score < 1.0 && (observations[1600].expected - 50.0).abs() < 1.0,
        "one outlier must not move the band: {:?}",
        observations[1600]
    );
}

#[rstest]
#[case(-40.0)]
#[case(25.0)]
#[case(1e6)]
fn a_level_shift_is_announced_once_and_becomes_normal(
    #[case] shift: f64,
    #[values(10 * SECOND, MINUTE, 5 * MINUTE)] interval: Micros,
) {
    let mut noise = Noise(2);
    let (before, after) = (1000, samples(3, interval));
    let values =
        (0..before + after).map(|i| 100.0 + noise.normal() + if i >= before { shift } else { 0.0 });
    let observations = run(&DetectorConfig::default(), interval, values);
    let alarms = announced(&observations);
    assert!(
        alarms.len() == 1 && (before..before + 5).contains(&alarms[0].0),
        "{alarms:?}"
    );
    let last = &observations[before + after - 1];
    assert!(
        (last.expected - 100.0 - shift).abs() < 0.15 * (100.0 + shift).abs() && last.score < 1.0,
        "{last:?}"
    );
}

#[test]
fn a_lasting_small_shift_is_seen_by_the_levels_though_no_sample_is_far() {
    let mut noise = Noise(3);
    // A third more, three σ: many a sample before was as far.
    let values = (0..4000).map(|i| 10.0 + noise.normal() + if i >= 3000 { 3.0 } else { 0.0 });
    let observations = run(&DetectorConfig::default(), 5 * MINUTE, values);
    let found = observations[3000..3100]
        .iter()
        .find(|observation| observation.announce)
        .expect("the shift is announced within some hours");
    assert!(
        found.votes[Detector::RobustZScore as usize].score < 1.0,
        "no sample is far: {found:?}"
    );
    assert!(
        observations[3000..3300]
            .iter()
            .any(|observation| observation.votes[Detector::LevelShift as usize].score > 0.0)
    );
}

#[test]
fn a_slow_leak_is_a_drift_and_is_told_once() {
    let mut noise = Noise(4);
    let interval = 5 * MINUTE;
    // 1.5 % a day, an eighth of the noise, from the tenth day on.
    let values = (0..samples(30, interval)).map(|i| {
        let days = (i as Micros * interval) as f64 / DAY as f64;
        100.0 + 4.0 * noise.normal() + 1.5 * (days - 10.0).max(0.0)
    });
    let observations = run(&DetectorConfig::default(), interval, values);
    let drifts: Vec<usize> = announced(&observations)
        .into_iter()
        .filter(|(_, kind)| *kind == AnomalyKind::Drift)
        .map(|(index, _)| index)
        .collect();
    assert_eq!(drifts.len(), 1, "{:?}", announced(&observations));
    assert!((samples(14, interval)..samples(21, interval)).contains(&drifts[0]));
    assert_eq!(observations[drifts[0]].direction, Direction::High);
}

#[rstest]
#[case::wilder(1.0, 6.0, Direction::High)]
#[case::calmer(6.0, 0.05, Direction::Low)]
fn a_change_of_variance_is_found(
    #[case] before: f64,
    #[case] after: f64,
    #[case] direction: Direction,
) {
    let mut noise = Noise(5);
    let values = (0..5000).map(|i| noise.normal() * if i < 4000 { before } else { after });
    let observations = run(&DetectorConfig::default(), MINUTE, values);
    let found = observations[4000..4240]
        .iter()
        .filter(|observation| observation.votes[Detector::Variance as usize].score > 0.0)
        .count();
    assert!(found > 30, "{found} samples with a vote for variance");
    let votes_most = observations[4000..4240]
        .iter()
        .filter(|observation| observation.kind == AnomalyKind::Variance);
    assert!(
        votes_most
            .clone()
            .all(|observation| observation.direction == direction)
    );
    // To become calm is less of a story: it may be left to the vote.
    if direction == Direction::High {
        assert!(
            observations[4000..4240]
                .iter()
                .any(|observation| observation.announce)
        );
    }
}

#[test]
fn a_broken_season_is_found_though_no_value_is_unusual_in_itself() {
    let interval = 5 * MINUTE;
    let mut noise = Noise(6);
    // On the twentieth day nobody comes to work.
    let values = (0..samples(22, interval)).map(|i| {
        let at_work = i / samples(1, interval) != 19;
        let height = if at_work {
            working_day(hour_of_day(i, interval))
        } else {
            0.0
        };
        100.0 + 50.0 * height + noise.normal()
    });
    let observations = run(&DetectorConfig::default(), interval, values);
    assert_eq!(observations[samples(19, interval)].season, Season::Day);
    let alarms = announced(&observations);
    let (day_off, day_after) = (samples(19, interval), samples(20, interval));
    let early: Vec<_> = alarms
        .iter()
        .filter(|(index, _)| (samples(3, interval)..day_off).contains(index))
        .collect();
    assert!(early.is_empty(), "{alarms:?}");
    let found = alarms
        .iter()
        .find(|(index, _)| (day_off..day_after).contains(index))
        .unwrap_or_else(|| {
            panic!(
                "{alarms:?} {:#?}",
                observations[day_off..day_after]
                    .iter()
                    .max_by(|a, b| a.score.total_cmp(&b.score))
            )
        });
    assert!(observations[found.0].votes[Detector::Seasonal as usize].score > 0.0);
}

#[test]
fn weekends_are_known_after_two_weeks() {
    let interval = 15 * MINUTE;
    let mut noise = Noise(7);
    let values = (0..samples(42, interval)).map(|i| {
        let weekend = (i / samples(1, interval)) % 7 >= 5;
        let height = if weekend {
            0.0
        } else {
            working_day(hour_of_day(i, interval))
        };
        100.0 + 50.0 * height + noise.normal()
    });
    let observations = run(&DetectorConfig::default(), interval, values);
    assert_eq!(observations.last().unwrap().season, Season::Week);
    let alarms = announced(&observations[samples(28, interval)..]);
    // The season is of the level; how restless a Monday is after a weekend may be told once more.
    assert!(alarms.len() <= 1, "{alarms:?}");
    // Monday of the last week, 12:00.
    let noon = &observations[samples(35, interval) + samples(1, interval) / 2];
    assert_eq!(noon.hour_of_week, 12);
    assert!((noon.expected - 150.0).abs() < 5.0, "{noon:?}");
}

#[test]
fn the_clock_change_is_no_anomaly_in_local_time() {
    let interval = 5 * MINUTE;
    let mut noise = Noise(8);
    let config = DetectorConfig::default();
    let mut detectors = SeriesDetectors::default();
    let mut alarms = Vec::new();
    for i in 0..samples(30, interval) {
        // The clocks go back on the twentieth day: from two hours ahead of UTC to one.
        let offset_s = if i < samples(20, interval) {
            7200
        } else {
            3600
        };
        let time = MONDAY + i as Micros * interval;
        let local = time + offset_s * SECOND;
        let hour = (local - MONDAY).rem_euclid(DAY) as f64 / HOUR as f64;
        let value = 100.0 + 50.0 * working_day(hour) + noise.normal();
        let observation = detectors.observe_local(&config, time, offset_s as i32, value);
        if observation.announce && i > samples(3, interval) {
            alarms.push(i);
        }
    }
    assert!(alarms.is_empty(), "{alarms:?}");
}

#[test]
fn silence_is_told_once_and_its_end_is_no_anomaly() {
    let config = DetectorConfig::default();
    let (mut noise, mut detectors) = (Noise(9), SeriesDetectors::default());
    let mut time = MONDAY;
    for _ in 0..2000 {
        time += 10 * SECOND;
        detectors.observe(&config, time, 5.0 + 0.1 * noise.normal());
    }
    let last = time;
    assert_eq!(detectors.overdue(&config, last + 200 * SECOND), None);
    let silence = detectors
        .overdue(&config, last + 400 * SECOND)
        .expect("ten intervals and five minutes have passed");
    assert_eq!(
        (
            silence.since,
            silence.observation.kind,
            silence.observation.announce
        ),
        (last, AnomalyKind::Missing, true)
    );
    assert_eq!(detectors.overdue(&config, last + DAY), None, "told already");
    time += 2 * HOUR;
    for _ in 0..500 {
        time += 10 * SECOND;
        let observation = detectors.observe(&config, time, 5.0 + 0.1 * noise.normal());
        assert!(!observation.announce, "{observation:?}");
    }
    assert!(
        detectors.overdue(&config, time + HOUR).is_some(),
        "a silence that was told is no habit"
    );
}

/// Feeds a minute's samples over gaps (minutes between two samples, in turn), a day of samples a minute apart before each; returns which gaps were told.
fn told_gaps(config: &DetectorConfig, gaps: &[i64]) -> Vec<bool> {
    let (mut noise, mut detectors) = (Noise(16), SeriesDetectors::default());
    let mut time = MONDAY;
    let mut told = Vec::new();
    for gap in gaps {
        for _ in 0..samples(1, MINUTE) {
            time += MINUTE;
            detectors.observe(config, time, 5.0 + 0.1 * noise.normal());
        }
        time += gap * MINUTE;
        told.push(detectors.overdue(config, time - SECOND).is_some());
        detectors.observe(config, time, 5.0);
    }
    told
}

#[rstest]
#[case::each_of_a_few(2.0, &[90, 200, 90], &[true, true, true])]
#[case::what_comes_every_day_is_a_habit(2.0, &[600; 6], &[true, true, true, false, false, false])]
#[case::longer_than_the_habit(2.0, &[600, 600, 600, 600, 1300], &[true, true, true, false, true])]
#[case::a_short_one_is_no_silence(2.0, &[4, 9, 9, 90], &[false, false, false, true])]
#[case::who_allows_less_than_one_alarm_hears_of_a_longer_one_only(0.5, &[90, 90, 200], &[true, false, true])]
fn a_silence_does_not_hide_the_next(
    #[case] alarms_per_month: f64,
    #[case] gaps: &[i64],
    #[case] told: &[bool],
) {
    let config = DetectorConfig {
        alarms_per_month,
        ..DetectorConfig::default()
    };
    assert_eq!(told_gaps(&config, gaps), told);
}

#[test]
fn another_interval_is_a_silence_twice_at_most() {
    let config = DetectorConfig::default();
    let (mut noise, mut detectors) = (Noise(17), SeriesDetectors::default());
    let mut time = MONDAY;
    for _ in 0..500 {
        time += 10 * SECOND;
        detectors.observe(&config, time, 5.0 + 0.1 * noise.normal());
    }
    let mut told = 0;
    for _ in 0..200 {
        time += 10 * MINUTE;
        told += i32::from(detectors.overdue(&config, time - SECOND).is_some());
        detectors.observe(&config, time, 5.0 + 0.1 * noise.normal());
    }
    assert_eq!(told, 2);
}

#[test]
fn a_series_that_has_only_begun_is_never_overdue() {
    let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
    assert_eq!(detectors.overdue(&config, MONDAY), None);
    for i in 0..10 {
        detectors.observe(&config, MONDAY + i * SECOND, 1.0);
    }
    assert_eq!(detectors.overdue(&config, MONDAY + DAY), None);
}

#[test]
fn a_sensor_that_freezes_is_a_flat_line_and_an_idle_one_is_not() {
    let mut noise = Noise(10);
    let values = (0..4000).map(|i| {
        let value = 20.0 + noise.normal();
        if i < 3000 { value } else { 20.5 }
    });
    let observations = run(&DetectorConfig::default(), MINUTE, values);
    let flat: Vec<_> = announced(&observations)
        .into_iter()
        .filter(|(_, kind)| *kind == AnomalyKind::FlatLine)
        .collect();
    assert_eq!(flat.len(), 1, "{:?}", announced(&observations));
    assert!((3060..3100).contains(&flat[0].0), "{flat:?}");
    assert!(observations[flat[0].0].lasting_s >= 3600.0);
    // Mostly zero, now and then a little: standing still is its habit.
    let values = (0..4000).map(|i| if i % 50 == 0 && i < 3000 { 1.0 } else { 0.0 });
    let observations = run(&DetectorConfig::default(), MINUTE, values);
    assert!(
        announced(&observations)
            .iter()
            .all(|(_, kind)| *kind != AnomalyKind::FlatLine)
    );
}

#[rstest]
#[case(0.0, 0.1)]
#[case(42.0, 50.0)]
#[case(-1e12, -1.2e12)]
fn a_constant_series_has_no_deviation_and_a_change_is_seen(
    #[case] constant: f64,
    #[case] changed: f64,
) {
    let values = (0..1500).map(|i| if i == 1400 { changed } else { constant });
    let observations = run(&DetectorConfig::default(), 10 * SECOND, values);
    assert_eq!(announced(&observations), [(1400, AnomalyKind::Point)]);
    assert!(
        observations[..1400]
            .iter()
            .all(|observation| observation.score == 0.0 && observation.raw_score == 0.0)
    );
    assert_eq!(observations[1399].expected, constant);
}

#[rstest]
#[case::daily(DAY)]
#[case::every_six_hours(6 * HOUR)]
fn regular_clean_ups_become_normal(#[case] period: Micros) {
    let interval = 5 * MINUTE;
    let mut noise = Noise(11);
    let values = (0..samples(30, interval)).map(|i| {
        let filled = (i as Micros * interval).rem_euclid(period) as f64 / period as f64;
        40.0 + 30.0 * filled + 0.05 * noise.normal()
    });
    let observations = run(&DetectorConfig::default(), interval, values);
    let alarms = announced(&observations);
    assert!(
        alarms.len() <= 3
            && alarms
                .iter()
                .all(|(index, _)| *index < samples(10, interval)),
        "{alarms:?}"
    );
}

#[test]
fn a_counter_that_is_reset_shows_nothing() {
    let config = DetectorConfig::default();
    let (mut rate, mut detectors, mut noise) = (
        CounterRate::default(),
        SeriesDetectors::default(),
        Noise(12),
    );
    let mut total = 0.0;
    for i in 0..3000 {
        total += 1000.0 + 20.0 * noise.normal();
        if i == 2000 {
            total = 500.0;
        }
        let time = MONDAY + i * 10 * SECOND;
        if let Some(per_second) = rate.observe(time, total) {
            let observation = detectors.observe(&config, time, per_second);
            // The increase of the interval of a reset is partly lost: half the rate is what is left of it.
            assert!(!observation.announce || i == 2000, "{i}: {observation:?}");
        }
    }
}

#[test]
fn nothing_is_announced_before_the_warm_up_ends() {
    let mut noise = Noise(13);
    let values = (0..29).map(|i| if i % 7 == 6 { 1e6 } else { noise.normal() });
    let observations = run(&DetectorConfig::default(), 10 * SECOND, values);
    assert_eq!(announced(&observations), []);
    assert!(
        observations
            .iter()
            .all(|observation| observation.trust < 1.0)
    );
    assert!(
        observations
            .windows(2)
            .all(|pair| pair[0].trust <= pair[1].trust),
        "trust only grows"
    );
}

#[test]
fn guards_hold_back_what_was_not_asked_for() {
    let spike = |config: &DetectorConfig, size: f64| {
        let mut noise = Noise(14);
        let values =
            (0..1000).map(|i| 100.0 + 0.1 * noise.normal() + if i == 900 { size } else { 0.0 });
        announced(&run(config, 10 * SECOND, values)).len()
    };
    let config = DetectorConfig::default();
    assert_eq!((spike(&config, 50.0), spike(&config, -50.0)), (1, 1));
    assert_eq!(spike(&config, 4.0), 0, "within 5 % of the level");
    let high = DetectorConfig {
        watch: Watch::High,
        ..config.clone()
    };
    assert_eq!((spike(&high, 50.0), spike(&high, -50.0)), (1, 0));
    let wide = DetectorConfig {
        band_absolute_min: 60.0,
        ..config
    };
    assert_eq!(spike(&wide, 50.0), 0);
}

#[test]
fn a_sample_out_of_a_stream_of_gaps_is_not_announced() {
    let config = DetectorConfig::default();
    let (mut noise, mut detectors) = (Noise(15), SeriesDetectors::default());
    let mut time = MONDAY;
    for _ in 0..500 {
        time += 10 * SECOND;
        detectors.observe(&config, time, 50.0 + noise.normal());
    }
    for _ in 0..3 {
        time += 100 * SECOND;
        detectors.observe(&config, time, 50.0 + noise.normal());
    }
    time += 100 * SECOND;
    let observation = detectors.observe(&config, time, 200.0);
    assert!(observation.completeness < 0.5, "{observation:?}");
    assert!(!observation.announce && observation.score <= 1.0);
    assert!(observation.score > 0.9, "held back, not unseen");
}

/// Faults within the range that the day has: a level of 100, which swings by 20, and noise of the given σ. `shift` is how far they are from the hour's
/// expectation, `minutes` how long they last. Of 24 in a series' first three weeks, so many are told within an hour, and within a day.
///
/// `cargo test --workspace --lib faults_within -- --nocapture` prints how many.
#[rstest]
#[case::spike(1.0, Noise::normal, 15.0, 3, 20, 20)]
#[case::spike_in_heavy_tails(3.0, Noise::heavy_tailed, 45.0, 3, 3, 5)]
#[case::lasting_shift(1.0, Noise::normal, 10.0, 2000, 6, 13)]
#[case::lasting_shift_in_heavy_tails(3.0, Noise::heavy_tailed, 30.0, 2000, 11, 20)]
fn faults_within_the_range_of_a_day_are_told(
    #[case] sigma: f64,
    #[case] noise: fn(&mut Noise) -> f64,
    #[case] shift: f64,
    #[case] minutes: usize,
    #[case] within_hour: usize,
    #[case] within_day: usize,
) {
    let day = samples(1, MINUTE);
    let (mut in_hour, mut in_day) = (0, 0);
    for (case, start) in [5.3, 12.6, 20.45].into_iter().cycle().take(24).enumerate() {
        let from = (start * day as f64) as usize;
        let shift = if case % 2 == 0 { shift } else { -shift };
        let mut seeded = Noise(case as u64);
        let values = (0..from + day).map(|i| {
            let swing = 20.0 * (std::f64::consts::TAU * i as f64 / day as f64).sin();
            let fault = if (from..from + minutes).contains(&i) {
                shift
            } else {
                0.0
            };
            100.0 + swing + sigma * noise(&mut seeded) + fault
        });
        let observations = run(&DetectorConfig::default(), MINUTE, values);
        let told = announced(&observations);
        let first = told.iter().map(|(i, _)| *i).find(|i| *i >= from);
        in_hour += usize::from(first.is_some_and(|first| first < from + 60));
        in_day += usize::from(first.is_some());
    }
    println!(
        "{shift} for {minutes} min, noise of {sigma}: {in_hour} within an hour, {in_day} within a day"
    );
    assert!(
        in_hour >= within_hour && in_day >= within_day,
        "{in_hour} and {in_day}"
    );
}
