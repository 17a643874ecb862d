//! Shapes of filling, the edges of numbers, the laws: the same state, the same answer; a snapshot changes nothing.

use proptest::prelude::*;
use rstest::rstest;
use schemas::Micros;
use schemas::time::{DAY, HOUR, MINUTE};

use super::ceilings::{Part, level, role};
use super::*;

const START: Micros = 20_000 * DAY;

/// Feeds `count` samples of a shape, `step` apart; the shape is told the hours since the start.
fn fed(count: i64, step: Micros, ceiling: f64, shape: impl Fn(f64) -> f64) -> CapacityForecaster {
    let mut disk = CapacityForecaster::default();
    for i in 0..count {
        let hours = (i * step) as f64 / HOUR as f64;
        disk.observe(START + i * step, shape(hours), ceiling);
    }
    disk
}

fn days_to_median(forecast: &CapacityForecast) -> f64 {
    (forecast.median.unwrap() - forecast.made_at) as f64 / DAY as f64
}

/// A repeatable jitter in −0.5..0.5.
fn jitter(hours: f64) -> f64 {
    Random::new(hours.to_bits()).unit() - 0.5
}

#[rstest]
#[case::five_minutes(5 * MINUTE, 600)]
#[case::ten_minutes(10 * MINUTE, 300)]
#[case::hours(HOUR, 300)]
#[case::six_hours(6 * HOUR, 60)]
#[case::days(DAY, 40)]
fn a_line_is_full_when_the_line_says_so(#[case] step: Micros, #[case] count: i64) {
    let rate = 50.0 / ((count * step) as f64 / HOUR as f64);
    let forecast = fed(count, step, 100.0, |hours| 20.0 + rate * hours).forecast();
    assert_eq!(forecast.answer, CapacityAnswer::FullIn);
    let true_days = (forecast.ceiling - forecast.used) / rate / 24.0;
    let told = days_to_median(&forecast);
    assert!(
        (told / true_days - 1.0).abs() < 0.03,
        "{told} of {true_days}"
    );
    assert!(forecast.early <= forecast.median && forecast.median <= forecast.late);
}

#[rstest]
#[case::six_hours(6.0)]
#[case::a_day(24.0)]
#[case::a_week(168.0)]
fn a_sawtooth_that_is_cleaned_up_below_its_ceiling_does_not_alarm(#[case] period: f64) {
    let disk = fed(24 * 40 + 20, HOUR, 100.0, |hours| {
        40.0 + 50.0 * (hours / period).fract() + jitter(hours)
    });
    for cut in [0.0, 0.3] {
        let forecast = disk.forecast();
        assert_eq!(forecast.regime, CapacityRegime::Cycling, "{cut}");
        assert!(forecast.probability(DAY).unwrap() < 0.05, "{forecast:?}");
        assert_eq!(forecast.answer, CapacityAnswer::NoTrend, "{forecast:?}");
    }
}

#[test]
fn a_sawtooth_whose_peaks_rise_is_full_when_a_peak_is() {
    // Peaks rise by 1 a day from 60: 100 is reached after 40 days; here are 30.
    let disk = fed(24 * 30, HOUR, 100.0, |hours| {
        40.0 + hours / 24.0 + 20.0 * (hours / 24.0).fract() + 0.2 * jitter(hours)
    });
    let forecast = disk.forecast();
    assert_eq!(forecast.regime, CapacityRegime::Cycling);
    let told = days_to_median(&forecast);
    assert!((8.0..13.0).contains(&told), "{forecast:?}");
}

#[test]
fn a_rise_unlike_all_before_is_told_within_the_hour() {
    let idle = 24 * 12 * 5;
    let disk = fed(idle + 9, 5 * MINUTE, 100.0, |hours| {
        let since = hours - idle as f64 / 12.0;
        40.0 + 0.05 * jitter(hours) + 20.0 * since.max(0.0)
    });
    let forecast = disk.forecast();
    assert_eq!(forecast.regime, CapacityRegime::Bursting, "{forecast:?}");
    assert!(
        forecast.probability(4 * HOUR).unwrap() > 0.1,
        "{forecast:?}"
    );
}

#[rstest]
#[case::idle(CapacityAnswer::NoTrend, |_: f64| 60.0)]
#[case::noise(CapacityAnswer::NoTrend, |hours: f64| 60.0 + jitter(hours))]
#[case::shrinking(CapacityAnswer::Shrinking, |hours: f64| 90.0 - hours / 24.0)]
#[case::full(CapacityAnswer::AlreadyFull, |hours: f64| (60.0 + hours).min(100.0))]
#[case::full_and_stays(CapacityAnswer::AlreadyFull, |_: f64| 100.0)]
#[case::over_full(CapacityAnswer::AlreadyFull, |_: f64| 120.0)]
fn a_shape_has_its_answer(#[case] answer: CapacityAnswer, #[case] shape: fn(f64) -> f64) {
    let forecast = fed(24 * 30, HOUR, 100.0, shape).forecast();
    assert_eq!(forecast.answer, answer, "{forecast:?}");
    let soon = forecast.probability(DAY).unwrap();
    assert_eq!(
        soon,
        f64::from(u8::from(answer == CapacityAnswer::AlreadyFull))
    );
}

/// What only varies is not called shrinking, whatever the hour and the day that it is asked at.
#[rstest]
#[case::a_day_and_a_week(|hours: f64| {
    let swing = |period: f64| (hours / period * std::f64::consts::TAU).sin();
    1.5 * swing(24.0) + 0.5 * swing(168.0)
})]
#[case::wandering(|hours: f64| {
    let (half_day, share) = ((hours / 12.0).floor(), (hours / 12.0).fract());
    2.0 * ((1.0 - share) * jitter(half_day) + share * jitter(half_day + 1.0))
})]
fn a_level_that_stays_does_not_shrink(#[case] swing: fn(f64) -> f64) {
    for hours in (24 * 21..24 * 35).step_by(5) {
        let memory = fed(hours, HOUR, 100.0, |hours| {
            30.0 + swing(hours) + 0.2 * jitter(hours)
        });
        let forecast = memory.forecast();
        assert_eq!(
            forecast.answer,
            CapacityAnswer::NoTrend,
            "after {hours} hours: {}",
            forecast.sentence
        );
    }
}

/// A leak that weekly restarts give back: whatever the day, it is not called shrinking, neither before a rhythm is believed nor after.
#[test]
fn a_leak_with_weekly_restarts_does_not_shrink() {
    for begins_at in [0.0, 60.0, 120.0] {
        for days in (4..36).step_by(3) {
            let memory = fed(24 * days + 9, HOUR, 100.0, |hours| {
                30.0 + 45.0 * ((hours + begins_at) / 168.0).fract() + jitter(hours)
            });
            let forecast = memory.forecast();
            assert_ne!(
                forecast.answer,
                CapacityAnswer::Shrinking,
                "after {days} days: {}",
                forecast.sentence
            );
        }
    }
}

#[test]
fn a_larger_ceiling_moves_the_date_at_once_and_is_told() {
    let mut disk = fed(24 * 20, HOUR, 100.0, |hours| 50.0 + hours / 12.0);
    let before = days_to_median(&disk.forecast());
    disk.observe(START + 24 * 20 * HOUR, 90.0, 200.0);
    let forecast = disk.forecast();
    assert!(days_to_median(&forecast) > 10.0 * before, "{forecast:?}");
    assert!(
        forecast.sentence.contains("raised"),
        "{}",
        forecast.sentence
    );
}

#[rstest]
#[case(0)]
#[case(1)]
#[case(2)]
#[case(5)]
fn few_samples_are_not_enough(#[case] count: i64) {
    let forecast = fed(count, HOUR, 100.0, |hours| 50.0 + hours).forecast();
    assert_eq!(forecast.answer, CapacityAnswer::NotEnoughHistory);
    assert!(forecast.p_full.is_empty() && forecast.median.is_none());
}

#[test]
fn what_is_no_sample_changes_nothing() {
    let mut disk = fed(100, HOUR, 100.0, |hours| 30.0 + 0.1 * hours);
    let before = disk.clone();
    let last = START + 99 * HOUR;
    for (time, used, ceiling) in [
        (last, 1.0, 100.0),
        (last - DAY, 1.0, 100.0),
        (last + 1, f64::NAN, 100.0),
        (last + 1, f64::INFINITY, 100.0),
        (last + 1, 1.0, f64::NAN),
        (last + 1, 1.0, 0.0),
        (last + 1, 1.0, -5.0),
        (Micros::MAX, 1.0, 100.0),
        (Micros::MIN, 1.0, 100.0),
    ] {
        assert!(!disk.observe(time, used, ceiling));
        assert_eq!(disk, before);
    }
    for ceiling in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        let answer = disk.forecast_to(ceiling).answer;
        assert_eq!(answer, CapacityAnswer::NotEnoughHistory, "{ceiling}");
    }
}

#[test]
fn the_state_is_bounded() {
    let noisy = |hours: f64| 40.0 + 20.0 * jitter(hours) + hours / 1000.0;
    let disk = fed(24 * 900, HOUR, 100.0, noisy);
    let bytes = postcard::to_allocvec(&disk).unwrap().len();
    assert!(bytes <= 4096, "{bytes}");
}

#[test]
fn a_snapshot_in_the_middle_changes_nothing() {
    let shape = |hours: f64| 20.0 + 30.0 * (hours / 100.0).fract() + hours / 400.0 + jitter(hours);
    let whole = fed(24 * 400, HOUR, 100.0, shape);
    let mut disk = fed(24 * 200, HOUR, 100.0, shape);
    disk = postcard::from_bytes(&postcard::to_allocvec(&disk).unwrap()).unwrap();
    for i in 24 * 200..24 * 400 {
        disk.observe(START + i * HOUR, shape(i as f64), 100.0);
    }
    assert_eq!(disk, whole);
    assert_eq!(disk.forecast(), whole.forecast());
    assert_eq!(disk.levels(&[1.0, 30.0]), whole.levels(&[1.0, 30.0]));
}

#[test]
fn earlier_forecasts_are_judged() {
    let disk = fed(24 * 400, HOUR, 1e6, |hours| 100.0 + hours + jitter(hours));
    let forecast = disk.forecast();
    assert!(forecast.judged > 10, "{forecast:?}");
    assert!(forecast.inside * 10 >= forecast.judged * 8, "{forecast:?}");
}

#[test]
fn levels_fan_out_around_the_trend() {
    let disk = fed(24 * 60, HOUR, 100.0, |hours| {
        10.0 + hours / 48.0 + jitter(hours)
    });
    let levels = disk.levels(&[0.0, 7.0, 30.0]);
    for (band, expected) in levels.iter().zip([40.0, 43.5, 55.0]) {
        assert!(band.lower <= band.median && band.median <= band.upper);
        assert!((band.median - expected).abs() < 2.0, "{levels:?}");
    }
    assert!(CapacityForecaster::default().levels(&[1.0]).is_empty());
}

proptest! {
    #[test]
    fn no_numbers_make_it_panic_or_lie(
        samples in prop::collection::vec(
            (
                prop_oneof![Just(1_i64), Just(MINUTE), Just(HOUR), Just(DAY), Just(200 * DAY)],
                prop_oneof![Just(0.0), Just(1e308), Just(5e-324), Just(f64::MAX), 0.0..1e3],
                prop_oneof![Just(1e308), Just(5e-324), Just(1.0), Just(100.0)],
            ),
            0..80,
        )
    ) {
        let mut disk = CapacityForecaster::default();
        let mut time = START;
        for (step, used, ceiling) in samples {
            time += step;
            disk.observe(time, used, ceiling);
        }
        let forecast = disk.forecast();
        for full in &forecast.p_full {
            prop_assert!((0.0..=1.0).contains(&full.probability));
        }
        prop_assert!(forecast.p_full.is_sorted_by(|a, b| a.probability <= b.probability));
        prop_assert!((0.0..=1.0).contains(&forecast.trust));
        for band in disk.levels(&[1.0, 100.0]) {
            prop_assert!(band.lower <= band.median && band.median <= band.upper);
        }
        if disk.used >= disk.ceiling && disk.unit > 0.0 {
            prop_assert_eq!(forecast.answer, CapacityAnswer::AlreadyFull);
        }
    }
}

#[rstest]
#[case("node_filesystem_avail_bytes", "", "disk", Part::Free)]
#[case("node_filesystem_files", "", "inodes", Part::Ceiling)]
#[case("disk_inodes_used", "", "inodes", Part::Used)]
#[case("system.filesystem.usage", "reserved", "disk", Part::UsedToo)]
#[case("system.memory.usage", "cached", "memory", Part::Free)]
#[case("system.memory.utilization", "used", "memory", Part::Ratio)]
#[case("pg_stat_database_numbackends", "", "connections", Part::UsedToo)]
#[case("system.filesystem.utilization", "", "disk", Part::Ratio)]
#[case("k8s.volume.utilization", "", "k8s_volume", Part::Ratio)]
#[case("db_pool_connections_used", "", "db_pool_connections", Part::Used)]
#[case("db.pool.connections.max", "", "db_pool_connections", Part::Ceiling)]
#[case("jvm_memory_used_bytes", "", "jvm_memory", Part::Used)]
#[case("jvm_memory_max_bytes", "", "jvm_memory", Part::Ceiling)]
#[case("queue_used_percent", "", "queue", Part::Percent)]
#[case("probe_ssl_earliest_cert_expiry", "", "certificate", Part::Until)]
fn a_metric_has_its_role(
    #[case] metric: &str,
    #[case] state: &'static str,
    #[case] pool: &str,
    #[case] part: Part,
) {
    let told = role(metric, |key| {
        (key == "state" && !state.is_empty()).then_some(state)
    })
    .unwrap();
    assert_eq!((told.pool.as_str(), told.part), (pool, part));
}

#[rstest]
#[case("system.cpu.utilization")]
#[case("cpu_usage_user")]
#[case("network.utilization")]
#[case("node_load1")]
#[case("system.filesystem.usage")]
#[case("used")]
#[case("_used")]
#[case("")]
fn what_has_no_ceiling_has_no_role(#[case] metric: &str) {
    assert_eq!(role(metric, |_| None), None);
}

#[test]
fn an_image_is_no_disk_that_fills() {
    let image = |key: &str| (key == "fstype").then_some("squashfs");
    assert_eq!(role("node_filesystem_avail_bytes", image), None);
    let free = |key: &str| (key == "system.memory.state").then_some("free");
    assert_eq!(role("system.memory.utilization", free), None);
}

#[rstest]
#[case(&[(Part::Used, 5.0), (Part::UsedToo, 1.0), (Part::Free, 4.0)], Some((6.0, 10.0)))]
#[case(&[(Part::UsedToo, 3.0), (Part::UsedToo, 4.0), (Part::Ceiling, 100.0)], Some((7.0, 100.0)))]
#[case(&[(Part::Percent, 71.0), (Part::Free, 29.0)], Some((71.0, 100.0)))]
#[case(&[(Part::Ratio, 0.5), (Part::Used, 1.0), (Part::Ceiling, 4.0)], Some((1.0, 4.0)))]
#[case(&[(Part::Used, 5.0), (Part::Ceiling, 0.0)], None)]
#[case(&[(Part::Used, f64::NAN), (Part::Ceiling, 10.0)], None)]
#[case(&[(Part::Ceiling, 10.0)], None)]
#[case(&[], None)]
fn parts_make_a_level(#[case] parts: &[(Part, f64)], #[case] told: Option<(f64, f64)>) {
    assert_eq!(level(0.0, parts), told);
}

#[test]
fn a_certificate_is_full_when_it_ends() {
    let issued = START as f64 / 1e6;
    let ends = issued + 90.0 * 86_400.0;
    for since in [Some((Part::Since, issued)), None] {
        let mut certificate = CapacityForecaster::default();
        for i in 0..24 * 30 {
            let time = START + i * HOUR;
            let parts: Vec<_> = since.into_iter().chain([(Part::Until, ends)]).collect();
            let (used, ceiling) = level(time as f64 / 1e6, &parts).unwrap();
            certificate.observe(time, used, ceiling);
        }
        let median = certificate.forecast().median.unwrap();
        assert!((median as f64 / 1e6 - ends).abs() < 3600.0);
    }
}
