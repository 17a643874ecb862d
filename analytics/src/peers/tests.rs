//! Groups of siblings in all shapes: what must be told and what must not, who comes and goes, and the same bits after a restart.

use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use rstest::rstest;
use schemas::time::{DAY, MINUTE};
use schemas::{Direction, Fault, HasFault, Labels, Micros};

use super::*;

/// Noise that is the same on each run: uniform in −1..1, variance ⅓.
struct Noise(Xoshiro256PlusPlus);

impl Noise {
    fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

const START: Micros = 1_790_000_000_000_000 / MINUTE * MINUTE;

/// Lets a group live for some minutes; `value` gives each of `members` a value at a minute, or none. What was told, with its minute.
fn live(
    group: &mut Group,
    minutes: std::ops::Range<i64>,
    members: u32,
    mut value: impl FnMut(i64, u32, f64) -> Option<f64>,
) -> Vec<(i64, PeerEvent)> {
    let mut noise = Noise(Xoshiro256PlusPlus::seed_from_u64(7));
    let config = PeersConfig::default();
    let mut told = Vec::new();
    for minute in minutes {
        let values: Vec<(u32, f64)> = (0..members)
            .filter_map(|member| Some((member, value(minute, member, noise.next())?)))
            .collect();
        let events = group.observe_window(&config, START + minute * MINUTE, &values);
        told.extend(events.into_iter().map(|event| (minute, event)));
    }
    told
}

/// The load of a day: 30–70.
fn daily(minute: i64) -> f64 {
    50.0 + 20.0 * (minute as f64 * std::f64::consts::TAU / 1440.0).sin()
}

type Shape = fn(i64, u32, f64) -> f64;

/// Two days of twelve siblings, in which nothing is to be told.
#[rstest]
#[case::alike(|m, _, n| daily(m) + 3.0 * n)]
#[case::primary_and_replicas(|m, i, n| daily(m) * if i == 0 { 3.0 } else { 1.0 } + 3.0 * n)]
#[case::two_sizes_of_machines(|m, i, n| daily(m) * if i % 2 == 0 { 1.6 } else { 1.0 } + 3.0 * n)]
#[case::each_its_own_size(|m, i, n| daily(m) * (0.4 + 0.15 * f64::from(i)) + 3.0 * n)]
#[case::constant(|_, _, _| 7.0)]
#[case::all_zero(|_, _, _| 0.0)]
#[case::constant_places(|_, i, _| f64::from(i))]
#[case::tiny(|m, _, n| 1e-300 * (daily(m) + n))]
#[case::huge(|_, _, n| 1e308 * n)]
#[case::all_step_together(|m, _, n| if m < 1500 { 10.0 } else { 90.0 } + n)]
#[case::half_steps(|m, i, n| if m < 1500 || i < 6 { 10.0 } else { 90.0 } + n)]
#[case::jobs_of_four_minutes(|m, i, n| daily(m) + if (m + 97 * i64::from(i)) % 500 < 4 { 60.0 } else { 0.0 } + 3.0 * n)]
#[case::bursts(|m, _, n| daily(m) + if n > 0.97 { 60.0 } else { 0.0 })]
#[case::idle_but_for_one(|m, i, n| if m % 1440 < 1000 { 50.0 } else { 0.3 } + 0.1 * n + if m % 1440 > 1200 && i == 4 { 2.0 } else { 0.0 })]
#[case::alternating_sign(|m, i, n| (f64::from(i) - 5.5) * (m as f64 * 0.05).sin() + n)]
fn stays_quiet(#[case] shape: Shape) {
    let mut group = Group::default();
    let told = live(&mut group, 0..2880, 12, |m, i, n| Some(shape(m, i, n)));
    assert_eq!(told, [], "{:?}", told.first().map(|(_, e)| e.explain("it")));
}

/// After a day of the shape, member 5 is off from minute 1700 on: it is told once, about five minutes later, and as what it is.
#[rstest]
#[case::alike(|m, _, n| daily(m) + 3.0 * n, 1.8, Direction::High)]
#[case::falls(|m, _, n| daily(m) + 3.0 * n, 0.3, Direction::Low)]
#[case::stops(|m, _, n| daily(m) + 3.0 * n, 0.0, Direction::Low)]
#[case::replica_of_a_primary(|m, i, n| daily(m) * if i == 0 { 3.0 } else { 1.0 } + 3.0 * n, 1.8, Direction::High)]
#[case::small_among_two_sizes(|m, i, n| daily(m) * if i % 2 == 0 { 1.6 } else { 1.0 } + 3.0 * n, 1.6, Direction::High)]
#[case::each_its_own_size(|m, i, n| daily(m) * (0.4 + 0.15 * f64::from(i)) + 3.0 * n, 1.6, Direction::High)]
#[case::constant(|_, _, _| 7.0, 1.2, Direction::High)]
fn tells_of_the_one_that_is_off(
    #[case] shape: Shape,
    #[case] factor: f64,
    #[case] direction: Direction,
) {
    let mut group = Group::default();
    let told = live(&mut group, 0..2000, 12, |m, i, n| {
        let value = shape(m, i, n);
        Some(if i == 5 && m >= 1700 {
            value * factor
        } else {
            value
        })
    });
    assert_eq!(told.len(), 1, "{told:?}");
    let (minute, event) = told[0];
    assert!((1704..1712).contains(&minute), "told at {minute}");
    assert_eq!(
        (event.member, event.direction, event.siblings),
        (5, direction, 11)
    );
    assert!(event.times > 1.0 && event.lower < event.expected && event.expected < event.upper);
    let since = (event.since - START) / MINUTE;
    assert!((1700..=1707).contains(&since), "since {since}");
}

#[test]
fn a_place_that_lasts_is_told_once_and_then_usual() {
    let mut group = Group::default();
    let off = |m: i64, i: u32, n: f64| {
        let back = m >= 3000;
        Some(
            40.0 + n
                + if i == 2 && m >= 1000 && !back {
                    30.0
                } else {
                    0.0
                },
        )
    };
    let told = live(&mut group, 0..4000, 8, off);
    let minutes: Vec<i64> = told.iter().map(|(minute, _)| *minute).collect();
    // Off, accepted after six hours; its return is news of the other side.
    assert_eq!(minutes, [1004, 3004]);
    assert_eq!(told[0].1.direction, Direction::High);
    assert_eq!(told[1].1.direction, Direction::Low);
    let sentence = told[0].1.explain("web-3");
    assert!(
        sentence.starts_with("web-3 is at 7") && sentence.contains(", its 7 siblings are at 39."),
        "{sentence}"
    );
    assert!(!sentence.contains("usual"), "{sentence}");
    let sentence = told[1].1.explain("web-3");
    assert!(
        sentence.contains("by its usual place among them it would be at 7"),
        "{sentence}"
    );
}

#[test]
fn what_is_only_learned_is_told_when_it_goes_on() {
    let off = |minute, member, noise| {
        let apart = (100..130).contains(&minute) || minute >= 200;
        let is_off = member == 3 && apart;
        Some(daily(minute) * if is_off { 1.6 } else { 1.0 } + noise)
    };
    let told_from = |observed_from: i64| {
        let (mut group, mut noise) = (
            Group::default(),
            Noise(Xoshiro256PlusPlus::seed_from_u64(7)),
        );
        let config = PeersConfig::default();
        let mut told = Vec::new();
        for minute in 0..240 {
            let value = |member| Some((member, off(minute, member, noise.next())?));
            let values: Vec<(u32, f64)> = (0..12).filter_map(value).collect();
            let start = START + minute * MINUTE;
            if minute < observed_from {
                group.learn_window(&config, start, &values);
            } else {
                let events = group.observe_window(&config, start, &values);
                told.extend(events.iter().map(|_| minute));
            }
        }
        told
    };
    assert_eq!(told_from(0), [104, 204]);
    assert_eq!(told_from(190), [204], "what is over is not told");
    assert_eq!(told_from(220), [220], "what goes on is");
}

#[test]
fn members_come_and_go() {
    let mut group = Group::default();
    let told = live(&mut group, 0..4000, 20, |m, i, n| {
        let there = match i {
            0..10 => true,
            // Comes later and is like the others; comes later and is not; leaves; flickers.
            10 => m >= 500,
            11 => m >= 600,
            12 => m < 700,
            13 => m % 7 == 0,
            _ => false,
        };
        there.then_some(40.0 + n + if i == 11 { 25.0 } else { 0.0 })
    });
    let who: Vec<(i64, u32)> = told
        .iter()
        .map(|(minute, event)| (*minute, event.member))
        .collect();
    assert_eq!(who, [(604, 11)], "a newcomer unlike all others is told");
    assert_eq!(group.len(), 13, "who has been away for a day is forgotten");
}

#[test]
fn a_large_newcomer_among_members_of_all_sizes_is_no_news() {
    let mut group = Group::default();
    let told = live(&mut group, 0..4000, 12, |m, i, n| {
        let there = i < 11 || m >= 2000;
        there.then_some(daily(m) * (0.4 + 0.15 * f64::from(i)) + 3.0 * n)
    });
    assert_eq!(told, []);
}

#[test]
fn too_few_are_not_compared_and_coarse_series_are() {
    let mut group = Group::default();
    let told = live(&mut group, 0..3000, 4, |m, i, n| {
        Some(if i == 0 && m > 2000 { 99.0 } else { 10.0 + n })
    });
    assert_eq!((told, group.len()), (vec![], 0));
    // A value every five minutes: three windows in a row.
    let mut group = Group::default();
    let told = live(&mut group, 0..3000, 6, |m, i, n| {
        let value = if i == 0 && m >= 2000 { 99.0 } else { 10.0 + n };
        (m % 5 == 0).then_some(value)
    });
    let minutes: Vec<i64> = told.iter().map(|(minute, _)| *minute).collect();
    assert_eq!(minutes, [2010]);
}

#[test]
fn flapping_is_not_told_again_and_again() {
    let mut group = Group::default();
    let told = live(&mut group, 0..5 * 1440, 10, |m, i, n| {
        let apart = i == 3 && m > 1440 && m % 40 < 12;
        Some(40.0 + n + if apart { 8.0 } else { 0.0 })
    });
    assert!((1..=6).contains(&told.len()), "{}", told.len());
}

#[test]
fn the_same_bits_after_a_restart_and_in_any_order() {
    let shape = |m: i64, i: u32, n: f64| {
        let gone = (m / 50 + i64::from(i)) % 9 == 0;
        (!gone).then_some({
            daily(m) * (1.0 + 0.1 * f64::from(i))
                + 9.0 * n
                + if m % 300 > 280 && i < 2 { 70.0 } else { 0.0 }
        })
    };
    let config = PeersConfig::default();
    let mut noise = Noise(Xoshiro256PlusPlus::seed_from_u64(3));
    let (mut straight, mut broken) = (Group::default(), Group::default());
    let mut told = 0;
    for minute in 0..1500 {
        let mut values: Vec<(u32, f64)> = (0..9)
            .filter_map(|i| Some((i, shape(minute, i, noise.next())?)))
            .collect();
        let first = straight.observe_window(&config, START + minute * MINUTE, &values);
        if minute % 100 == 50 {
            let bytes = postcard::to_stdvec(&broken).unwrap();
            broken = postcard::from_bytes(&bytes).unwrap();
        }
        values.reverse();
        let second = broken.observe_window(&config, START + minute * MINUTE, &values);
        // The same window again is not taken twice.
        assert_eq!(
            broken.observe_window(&config, START + minute * MINUTE, &values),
            []
        );
        told += first.len();
        assert_eq!(first, second);
    }
    assert_eq!(
        postcard::to_stdvec(&straight).unwrap(),
        postcard::to_stdvec(&broken).unwrap()
    );
    assert!(told > 0, "a test of silence proves little");
}

#[test]
fn siblings_differ_only_in_what_names_the_instance() {
    let key = |metric: &str, pairs: &[(&str, &str)]| {
        group_key(metric, &Labels::try_new(pairs.iter().copied()).unwrap())
    };
    let web = |host| [("host.name", host), ("service.name", "shop"), ("cpu", "0")];
    assert_eq!(key("cpu", &web("a")), key("cpu", &web("b")));
    assert_ne!(key("cpu", &web("a")), key("mem", &web("a")));
    assert_ne!(
        key("cpu", &web("a")),
        key(
            "cpu",
            &[("host.name", "a"), ("service.name", "db"), ("cpu", "0")]
        )
    );
    assert_ne!(
        key("cpu", &web("a")),
        key(
            "cpu",
            &[("host.name", "a"), ("service.name", "shop"), ("cpu", "1")]
        )
    );
    assert_eq!(key("cpu", &[("service.name", "shop")]), None);
    assert_eq!(key("cpu", &[]), None);
}

#[test]
fn settings_are_checked_at_the_door() {
    assert_eq!(PeersConfig::default().validate(), Ok(()));
    let config = PeersConfig {
        apart_max: f64::NAN,
        ..PeersConfig::default()
    };
    let error = config.validate().unwrap_err();
    assert_eq!(
        (error.setting, error.fault()),
        ("apart_max", Fault::BadConfig)
    );
}

proptest! {
    /// Whatever comes, every number told is finite and the memory is bounded.
    #[test]
    fn no_value_hurts(
        windows in prop::collection::vec((0_i64..5 * DAY, prop::collection::vec((0_u32..12, prop::num::f64::ANY), 0..14)), 1..40)
    ) {
        let config = PeersConfig { warm_up_s: 0.0, persist_s: 0.0, ..PeersConfig::default() };
        let (mut group, mut time) = (Group::default(), -DAY);
        for (step, values) in windows {
            time += step % (2 * MINUTE) + step / 1000;
            for event in group.observe_window(&config, time, &values) {
                let numbers = [event.value, event.expected, event.lower, event.upper, event.times, event.sigmas, event.siblings_low, event.siblings_high];
                prop_assert!(numbers.iter().all(|number| number.is_finite()), "{event:?}");
                prop_assert!(event.times > 1.0 && event.since <= event.window_start);
            }
            prop_assert!(group.len() <= 12);
            for time in [Micros::MIN, Micros::MAX] {
                let _ends_of_time = group.clone().observe_window(&config, time, &values);
            }
        }
        let bytes = postcard::to_stdvec(&group).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Group>(&bytes).unwrap(), group);
    }
}
