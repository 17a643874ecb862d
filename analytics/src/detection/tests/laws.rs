//! Laws: any input, any restart, any order of magnitude.

use proptest::prelude::*;
use schemas::time::{MINUTE, SECOND};

use super::*;

/// Bytes of a series: 430 without a season is what a million series may cost, 1,800 with a weekly one.
#[test]
fn a_series_stays_small() {
    let mut detectors = SeriesDetectors::default();
    assert!(
        size_of::<SeriesDetectors>() <= 430,
        "{} bytes",
        size_of::<SeriesDetectors>()
    );
    let (config, mut noise) = (DetectorConfig::default(), Noise(1));
    for i in 0..3000 {
        detectors.observe(&config, MONDAY + i * MINUTE, 5.0 + noise.normal());
    }
    assert!(detectors.seasons.is_begun(), "it moves");
    let bytes = size_of::<SeriesDetectors>() + detectors.seasons.heap_bytes();
    assert!(bytes <= 1800, "{bytes} bytes");
}

#[test]
fn a_snapshot_at_any_time_changes_no_bit() {
    let config = DetectorConfig::default();
    let (mut straight, mut restored) = (SeriesDetectors::default(), SeriesDetectors::default());
    let mut noise = Noise(2);
    for i in 0..6000_i64 {
        let day = (i as f64 / 720.0 * std::f64::consts::TAU).sin();
        let spike = if i % 1777 == 0 { 40.0 } else { 0.0 };
        let value = 50.0 + 10.0 * day + noise.heavy_tailed() + spike;
        let time = MONDAY + i * 2 * MINUTE;
        if i % 97 == 0 {
            let bytes = postcard::to_stdvec(&restored).unwrap();
            restored = postcard::from_bytes(&bytes).unwrap();
        }
        let (a, b) = (
            straight.observe(&config, time, value),
            restored.observe(&config, time, value),
        );
        assert_eq!(a, b, "sample {i}");
        assert_eq!(a.score.to_bits(), b.score.to_bits());
    }
    assert_eq!(straight, restored);
}

/// Nothing, the first sample of whatever value, and all that can happen before and with the second one.
#[test]
fn what_is_saved_of_a_beginning_is_all_of_it() {
    let config = DetectorConfig::default();
    let forgotten = Effects {
        learn: false,
        ..Effects::default()
    };
    type Step = fn(&mut SeriesDetectors, &DetectorConfig, &Effects);
    let steps: [Step; 6] = [
        |_, _, _| {},
        |detectors, config, _| {
            detectors.observe(config, MONDAY, 9.0);
        },
        |detectors, config, _| {
            detectors.observe(config, MONDAY + MINUTE, f64::NAN);
        },
        |detectors, config, _| {
            detectors.overdue(config, MONDAY + 20 * DAY);
        },
        |detectors, config, _| {
            detectors.observe(config, MONDAY + MINUTE, -0.0);
        },
        |detectors, config, forgotten| {
            let time = MONDAY + 2 * MINUTE;
            detectors.observe_during(config, time, 0, forgotten, 1.0);
        },
    ];
    let mut sizes = Vec::new();
    for first in [None, Some(-0.0), Some(0.0), Some(1e300), Some(f64::NAN)] {
        for step in steps {
            let mut detectors = SeriesDetectors::default();
            if let Some(value) = first {
                detectors.observe(&config, MONDAY, value);
            }
            step(&mut detectors, &config, &forgotten);
            let bytes = postcard::to_stdvec(&detectors).unwrap();
            let mut restored: SeriesDetectors = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(format!("{restored:?}"), format!("{detectors:?}"));
            assert_eq!(postcard::to_stdvec(&restored).unwrap(), bytes);
            for i in 3..9 {
                let (time, value) = (MONDAY + i * MINUTE, (i % 4) as f64);
                let said = detectors.observe(&config, time, value);
                assert_eq!(restored.observe(&config, time, value), said);
            }
            sizes.push(bytes.len());
        }
    }
    let small = sizes.iter().filter(|size| **size < 24).count();
    assert!(small > 12 && small < sizes.len(), "{sizes:?}");
}

#[test]
fn feeding_history_first_is_the_same_as_having_seen_it() {
    // What a warm start relies on: the state knows nothing but samples.
    let config = DetectorConfig::default();
    let mut noise = Noise(3);
    let values: Vec<f64> = (0..2000).map(|_| 10.0 + noise.normal()).collect();
    let mut primed = SeriesDetectors::default();
    for (i, value) in values.iter().enumerate() {
        primed.observe(&config, MONDAY + i as Micros * MINUTE, *value);
    }
    let observation = primed.observe(&config, MONDAY + 2000 * MINUTE, 40.0);
    assert!(observation.trust >= 1.0 && observation.announce);
}

#[test]
fn a_late_sample_and_one_that_is_no_number_change_nothing() {
    let config = DetectorConfig::default();
    let (mut detectors, mut noise) = (SeriesDetectors::default(), Noise(4));
    for i in 0..500 {
        detectors.observe(&config, MONDAY + i * SECOND, noise.normal());
    }
    let before = detectors.clone();
    for (time, value) in [
        (MONDAY + 499 * SECOND, 9.0),
        (MONDAY, 9.0),
        (MONDAY + 500 * SECOND, f64::NAN),
        (MONDAY + 500 * SECOND, f64::INFINITY),
    ] {
        assert!(!detectors.observe(&config, time, value).announce);
    }
    assert_eq!(before, detectors);
}

#[test]
fn a_series_with_a_long_memory_of_alarms_is_not_deaf() {
    // An alarm every other day for two months, then one as never before.
    let mut noise = Noise(5);
    let values = (0..20_000).map(|i| {
        let spike = match i {
            19_000 => 500.0,
            _ if i % 577 == 0 => 30.0 + 10.0 * noise.uniform(),
            _ => 0.0,
        };
        50.0 + noise.normal() + spike
    });
    let observations = run(&DetectorConfig::default(), 5 * MINUTE, values);
    assert!(observations[19_000].announce, "{:?}", observations[19_000]);
}

/// What detectors say may change only where it is meant to: a change that is to make them faster or smaller leaves every bit as it was. One that is to make
/// them better writes down the hash that the failure tells. The last one is of the state, so of the form of snapshots.
#[test]
fn every_bit_that_was_said_is_said_again() {
    use xxhash_rust::xxh3::Xxh3;

    let config = DetectorConfig::default();
    let mut noise = Noise(6);
    let mut bell = |size: f64| size * ((0..4).map(|_| noise.uniform()).sum::<f64>() - 2.0);
    let (mut said, mut kept) = (Xxh3::new(), Xxh3::new());
    for shape in 0..8_i64 {
        let mut detectors = SeriesDetectors::default();
        let mut time = MONDAY;
        for i in 0..4000_i64 {
            // Hours for three weeks, minutes for two days, then every ten seconds; now and then a pause.
            time += match i {
                0..504 => 60 * MINUTE,
                504..3384 => MINUTE,
                3500 => 20 * MINUTE,
                _ => 10 * SECOND,
            };
            let hour = time.div_euclid(60 * MINUTE);
            let works = (hour - MONDAY / (60 * MINUTE)).rem_euclid(168) < 120;
            let noon = (hour.rem_euclid(24) - 12).abs() as f64;
            let value = match shape {
                0 => 7.0,
                1 => bell(1.0),
                2 => 50.0 + 4.0 * noon + bell(1.0),
                3 if works => 50.0 + 4.0 * noon + bell(1.0),
                3 => 20.0 + bell(1.0),
                4 => 1e6 + 10.0 * i as f64 + bell(30.0),
                5 if i > 3500 => 90.0 + bell(9.0),
                6 if i % 613 == 0 => 400.0,
                7 if i > 2000 && i < 2400 => 12.5,
                _ => 60.0 + bell(1.0) + bell(1.0) * bell(1.0).powi(4),
            };
            let observation = detectors.observe_local(&config, time, 7200, value);
            said.update(format!("{observation:?}").as_bytes());
            if i == 3000 {
                detectors.overdue(&config, time + 60 * MINUTE);
            }
        }
        kept.update(&postcard::to_stdvec(&detectors).unwrap());
    }
    assert_eq!(
        (said.digest(), kept.digest()),
        (9_432_918_789_194_942_853, 13_255_113_680_731_632_599)
    );
}

fn is_sane(observation: &Observation) -> bool {
    let votes = observation.votes.iter().all(|vote| {
        vote.score.is_finite()
            && vote.score >= 0.0
            && vote.expected.is_finite()
            && vote.lower.is_finite()
            && vote.upper.is_finite()
    });
    let numbers = [
        observation.raw_score,
        observation.score,
        observation.sigmas,
        observation.expected,
        observation.lower,
        observation.upper,
        observation.trust,
        observation.completeness,
    ];
    votes
        && numbers.iter().all(|number| number.is_finite())
        && observation.raw_score >= 0.0
        && (0.0..=SCORE_MAX).contains(&observation.score)
        && observation.lower <= observation.upper
        && (0.0..=1.0).contains(&observation.trust)
        && (0.0..=1.0).contains(&observation.completeness)
        && observation.announce == (observation.score > 1.0)
}

fn hostile() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e3..1e3,
        1 => prop::sample::select(vec![
            0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e308, -1e308, 5e-324, 1e-310,
            f64::MIN_POSITIVE, f64::EPSILON,
        ]),
        1 => any::<f64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_numbers_at_any_times_give_a_sane_answer(
        steps in prop::collection::vec((prop_oneof![8 => 1_i64..4_000_000_000, 1 => any::<i64>()], hostile()), 1..400),
        rel in 0.0..1.0_f64,
        abs in prop::sample::select(vec![0.0, 1e-6, 1.0]),
    ) {
        let config = DetectorConfig { band_relative_min: rel, band_absolute_min: abs, ..DetectorConfig::default() };
        let mut detectors = SeriesDetectors::default();
        let mut time = 0_i64;
        for (step, value) in steps {
            time = time.saturating_add(step);
            let observation = detectors.observe(&config, time, value);
            prop_assert!(is_sane(&observation), "{observation:?}");
            if let Some(silence) = detectors.overdue(&config, time.saturating_add(3_600_000_000)) {
                prop_assert!(is_sane(&silence.observation), "{silence:?}");
            }
        }
    }

    #[test]
    fn one_value_again_and_again_is_normal_whatever_it_is(value in hostile(), interval in 1_000_000_i64..3_600_000_000) {
        let observations = run(&DetectorConfig::default(), interval, std::iter::repeat_n(value, 200));
        prop_assert!(observations.iter().all(|observation| is_sane(observation) && observation.score <= 1.0));
    }
}
