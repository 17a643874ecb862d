//! What forecasts must do on known shapes, on hostile input, and across restarts.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

mod mstl_ets;

const HOUR: i64 = 3_600_000_000;

/// Numbers from −0.5 to 0.5 that look random: the generator of the C standard's example, so that others can repeat them.
fn noise(count: usize) -> Vec<f64> {
    let mut state: u64 = 1;
    (0..count)
        .map(|_| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            state as f64 / (1_u64 << 31) as f64 - 0.5
        })
        .collect()
}

/// A forecaster that was fed a value per hour; `None` is an hour without a sample.
fn fed(values: &[Option<f64>]) -> Forecaster {
    let mut forecaster = Forecaster::new(&ForecastConfig::default()).unwrap();
    for (hour, value) in values.iter().enumerate() {
        if let Some(value) = value {
            forecaster.observe(hour as i64 * HOUR, *value);
        }
    }
    forecaster
}

/// Finite, ordered, nested, and one step after the other.
fn assert_sound(forecast: &SeriesForecast) {
    assert!((0.0..=1.0).contains(&forecast.trust), "{}", forecast.trust);
    for (ahead, step) in forecast.steps.iter().enumerate() {
        let mut inner = Band {
            lower: step.median,
            upper: step.median,
        };
        for band in step.bands {
            assert!(
                band.lower.is_finite() && band.upper.is_finite(),
                "step {ahead}: {step:?}"
            );
            assert!(
                band.lower <= inner.lower && inner.upper <= band.upper,
                "step {ahead}: {step:?}"
            );
            inner = band;
        }
    }
    for pair in forecast.steps.windows(2) {
        assert!(pair[0].time < pair[1].time);
    }
}

/// The shape by hour: what a series does, and goes on to do.
type Shape = fn(usize) -> f64;

fn daily(hour: usize) -> f64 {
    100.0
        + if (8..18).contains(&(hour % 24)) {
            50.0
        } else {
            0.0
        }
}

fn weekly(hour: usize) -> f64 {
    if hour / 24 % 7 >= 5 {
        100.0
    } else {
        daily(hour)
    }
}

#[rstest]
#[case::constant("constant", |_| 42.0, 0.0, 400, 1e-9)]
#[case::zero("zero", |_| 0.0, 0.0, 400, 1e-9)]
#[case::large_constant("large constant", |_| 1e15, 0.0, 400, 1e-3)]
#[case::trend("trend", |hour| 5.0 * hour as f64, 1.0, 400, 24.0)]
#[case::daily("daily", daily, 1.0, 200, 2.0)]
#[case::weekly("daily, other weekends", weekly, 1.0, 24 * 7 * 5 - 12, 5.0)]
#[case::shift("level shift", |hour| if hour < 300 { 10.0 } else { 110.0 }, 1.0, 340, 10.0)]
#[case::daytime_only("a rate that is zero at night", |hour| daily(hour) - 100.0, 0.0, 400, 2.0)]
#[case::backup("a backup at three", |hour| if hour % 24 == 3 { 500.0 } else { 10.0 }, 1.0, 400, 25.0)]
#[case::spike("one spike", |hour| if hour == 395 { 1e6 } else { 20.0 }, 1.0, 400, 3.0)]
#[case::factor("a season that grows with the level", |hour| (1.0 + hour as f64 / 400.0) * daily(hour), 1.0, 600, 6.0)]
fn known_shapes_are_continued(
    #[case] name: &str,
    #[case] shape: Shape,
    #[case] noise_size: f64,
    #[case] hours: usize,
    #[case] error_max: f64,
) {
    let noise = noise(hours);
    let values: Vec<Option<f64>> = (0..hours)
        .map(|hour| Some(shape(hour) + noise_size * noise[hour]))
        .collect();
    let forecast = fed(&values).forecast(48).unwrap();
    assert_sound(&forecast);
    let errors: Vec<f64> = forecast
        .steps
        .iter()
        .enumerate()
        .map(|(ahead, step)| (step.median - shape(hours + ahead)).abs())
        .collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    assert!(mean <= error_max, "{name}: mean error {mean}: {errors:.2?}");
}

#[test]
fn holes_are_not_zeros() {
    let noise = noise(400);
    let values: Vec<Option<f64>> = (0..400)
        .map(|hour| {
            // A day and six hours, five days before the end, and every seventh hour.
            let hole = (250..280).contains(&hour) || hour % 7 == 0;
            (!hole).then_some(daily(hour) + noise[hour])
        })
        .collect();
    let forecast = fed(&values).forecast(24).unwrap();
    assert_sound(&forecast);
    for (ahead, step) in forecast.steps.iter().enumerate() {
        let expected = daily((step.time / HOUR) as usize);
        assert!(
            (step.median - expected).abs() < 15.0,
            "{ahead}: {} {expected}",
            step.median
        );
    }
    // The last sample, of hour 398, ends what is known: hour 399 is a multiple of 7.
    assert_eq!(forecast.made_at, 399 * HOUR);
}

#[test]
fn a_long_silence_starts_anew() {
    let mut forecaster = fed(&vec![Some(7.0); 400]);
    forecaster.observe(5_000 * HOUR, 90.0);
    forecaster.observe(5_001 * HOUR, 90.0);
    let forecast = forecaster.forecast(3).unwrap();
    assert_eq!(forecast.steps[2].median, 90.0);
    assert!(forecast.trust < 0.1);
    assert_eq!(
        forecast.trained_on,
        TrainedOn {
            span_s: 7_200,
            samples: 2
        }
    );
}

#[test]
fn few_samples_give_a_forecast_without_trust() {
    let mut forecaster = Forecaster::new(&ForecastConfig::default()).unwrap();
    assert_eq!(forecaster.forecast(5), None);
    for (samples, value) in [(1, 3.0), (2, 5.0)] {
        forecaster.observe(samples * HOUR, value);
        let forecast = forecaster.forecast(5).unwrap();
        assert_sound(&forecast);
        assert_eq!(forecast.steps.len(), 5);
        assert_eq!(forecast.steps[4].median, value);
        assert!(forecast.trust < 0.1);
        assert_sound(&forecaster.naive_forecast(5).unwrap());
    }
}

#[test]
fn samples_finer_than_a_step_are_averaged_and_an_unfinished_step_is_forecast() {
    let mut forecaster = Forecaster::new(&ForecastConfig::default()).unwrap();
    // Minutes that alternate: a mean of 15.
    for minute in 0..60 * 100 {
        forecaster.observe(
            minute * 60_000_000,
            if minute % 2 == 0 { 10.0 } else { 20.0 },
        );
    }
    let forecast = forecaster.forecast(2).unwrap();
    assert_eq!(forecast.made_at, 100 * HOUR);
    assert!((forecast.steps[0].median - 15.0).abs() < 1e-6);
    // Half an hour of another value says nothing yet of the hour.
    for minute in 6_000..6_030 {
        forecaster.observe(minute * 60_000_000, 900.0);
    }
    let forecast = forecaster.forecast(2).unwrap();
    assert_eq!(forecast.steps[0].time, 100 * HOUR);
    assert!((forecast.steps[0].median - 15.0).abs() < 1e-6);
}

#[test]
fn what_never_left_its_bounds_is_forecast_within_them() {
    let noise = noise(600);
    let utilisation: Vec<Option<f64>> = (0..600)
        .map(|hour| {
            Some((0.5 + 0.45 * (daily(hour) - 125.0) / 25.0 + 0.2 * noise[hour]).clamp(0.0, 1.0))
        })
        .collect();
    for step in fed(&utilisation).forecast(200).unwrap().steps {
        assert!(
            step.bands[2].lower >= 0.0 && step.bands[2].upper <= 1.0,
            "{step:?}"
        );
    }
    let mut percent = Forecaster::new(&ForecastConfig {
        bounds: Bounds::of_metric("cpu_usage_percent"),
        ..ForecastConfig::default()
    })
    .unwrap();
    for (hour, value) in utilisation.iter().enumerate() {
        percent.observe(hour as i64 * HOUR, 100.0 * value.unwrap());
    }
    for step in percent.forecast(200).unwrap().steps {
        assert!(
            step.bands[2].lower >= 0.0 && step.bands[2].upper <= 100.0,
            "{step:?}"
        );
    }
    // A temperature may be negative again.
    let temperature: Vec<Option<f64>> = noise.iter().map(|noise| Some(10.0 * noise)).collect();
    assert!(fed(&temperature).forecast(1).unwrap().steps[0].bands[2].lower < 0.0);
}

#[rstest]
#[case("cpu_usage_percent", Bounds::Percent)]
#[case("disk.used.pct", Bounds::Percent)]
#[case("percentile_95", Bounds::Seen)]
#[case("http_requests", Bounds::Seen)]
fn a_name_tells_of_percent(#[case] metric: &str, #[case] bounds: Bounds) {
    assert_eq!(Bounds::of_metric(metric), bounds);
}

#[test]
fn a_snapshot_continues_to_the_last_bit() {
    let noise = noise(900);
    let value = |hour: usize| weekly(hour) + 20.0 * noise[hour];
    let mut whole = fed(&[]);
    for hour in 0..900 {
        whole.observe(hour as i64 * HOUR, value(hour));
    }
    let mut parts = fed(&[]);
    for hour in 0..900 {
        parts.observe(hour as i64 * HOUR, value(hour));
        if hour % 37 == 0 {
            let bytes = postcard::to_allocvec(&parts).unwrap();
            parts = postcard::from_bytes(&bytes).unwrap();
        }
    }
    assert_eq!(parts, whole);
    let bytes = postcard::to_allocvec(&whole).unwrap();
    assert_eq!(postcard::to_allocvec(&parts).unwrap(), bytes);
    assert_eq!(parts.forecast(48), whole.forecast(48));
    assert!(bytes.len() < 8_192, "{} bytes", bytes.len());
}

#[test]
fn the_state_of_five_minute_steps_is_bounded() {
    let config = ForecastConfig {
        step_s: 300,
        horizon_steps: 576,
        ..ForecastConfig::default()
    };
    let mut forecaster = Forecaster::new(&config).unwrap();
    for step in 0..5_000_i64 {
        forecaster.observe(step * 300_000_000, (step % 288) as f64);
    }
    assert!(postcard::to_allocvec(&forecaster).unwrap().len() < 30_000);
    assert_sound(&forecaster.forecast(576).unwrap());
}

/// Forty series of a day's season, noise with memory and a few outliers; forecasts of two days at the end of each.
#[test]
fn bands_hold_what_they_promise() {
    let draws = noise(40 * 800 * 4);
    let mut draws = draws.chunks(4).map(|four| four.iter().sum::<f64>());
    let mut held = [0.0; 3];
    let mut count = 0.0;
    for series in 0..40 {
        let mut forecaster = fed(&[]);
        let mut deviation = 0.0;
        let mut forecast = None;
        for hour in 0..600 + series {
            deviation = 0.7 * deviation + 10.0 * draws.next().unwrap();
            let value = daily(hour) + deviation;
            if hour == 550 + series {
                forecast = forecaster.forecast(48);
            }
            forecaster.observe(hour as i64 * HOUR, value);
            for step in forecast.iter().flat_map(|forecast| &forecast.steps) {
                if step.time == hour as i64 * HOUR {
                    count += 1.0;
                    for (held, band) in held.iter_mut().zip(step.bands) {
                        *held += f64::from(u8::from((band.lower..=band.upper).contains(&value)));
                    }
                }
            }
        }
    }
    for (held, promised) in held.into_iter().zip(COVERAGES) {
        let share = held / count;
        assert!(
            (share - promised).abs() < 0.05,
            "promised {promised}, held {share} of {count}"
        );
    }
}

/// The line of [`noise`] on a trend and a triangular day: 480 hours of 100 + 0.05 t + 3 |t mod 24 − 12| + 4 noise.
#[test]
fn the_stream_agrees_with_holt_winters() {
    let noise = noise(480);
    let values: Vec<Option<f64>> = (0..480)
        .map(|hour| {
            let season = 3.0 * ((hour % 24) as f64 - 12.0).abs();
            Some(100.0 + 0.05 * hour as f64 + season + 4.0 * noise[hour])
        })
        .collect();
    // statsmodels 0.15.0: ExponentialSmoothing(y, trend="add", damped_trend=True, seasonal="add", seasonal_periods=24).fit().forecast(24),
    // its parameters fitted to all of the 480 values.
    let holt_winters = [
        159.82, 156.81, 154.12, 150.91, 148.3, 145.47, 141.94, 139.29, 135.92, 133.3, 130.19,
        127.13, 124.68, 127.5, 131.09, 133.72, 136.61, 140.2, 143.16, 145.98, 149.25, 152.04,
        155.06, 158.08,
    ];
    let forecast = fed(&values).forecast(24).unwrap();
    for (step, reference) in forecast.steps.iter().zip(holt_winters) {
        // The noise has a standard deviation of 1.15; they agree to half of that in the mean and to 2 everywhere.
        assert!(
            (step.median - reference).abs() < 2.0,
            "{} {reference}",
            step.median
        );
    }
    let difference: f64 = forecast
        .steps
        .iter()
        .zip(holt_winters)
        .map(|(step, reference)| (step.median - reference).abs())
        .sum();
    assert!(difference / 24.0 < 0.6, "{}", difference / 24.0);
}

#[rstest]
#[case(1.0, 3_600.0, 300, 12)]
#[case(60.0, 172_800.0, 300, 576)]
#[case(300.0, 86_400.0, 300, 288)]
#[case(900.0, 86_400.0, 900, 96)]
#[case(3_600.0, 172_800.0, 3_600, 48)]
#[case(60.0, 30.0 * 86_400.0, 7_200, 360)]
#[case(1e9, 1e9, 86_400, HORIZON_STEPS_MAX)]
#[case(f64::NAN, 1.0, 86_400, 1)]
fn a_grid_is_found_for_every_interval(
    #[case] interval_s: f64,
    #[case] horizon_s: f64,
    #[case] step_s: u32,
    #[case] horizon_steps: u32,
) {
    let config = ForecastConfig::for_interval(interval_s, horizon_s);
    assert_eq!(
        (config.step_s, config.horizon_steps),
        (step_s, horizon_steps)
    );
    assert_eq!(config.validate(), Ok(()));
}

#[rstest]
#[case(0, 48)]
#[case(7, 48)]
#[case(3_600, 0)]
#[case(3_600, HORIZON_STEPS_MAX + 1)]
fn settings_out_of_range_are_refused(#[case] step_s: u32, #[case] horizon_steps: u32) {
    let config = ForecastConfig {
        step_s,
        horizon_steps,
        ..ForecastConfig::default()
    };
    assert!(Forecaster::new(&config).is_err());
}

#[rstest]
#[case(1)]
#[case(45)]
#[case(60)]
#[case(43_200)]
#[case(86_400)]
fn any_step_gives_an_answer(#[case] step_s: u32) {
    let config = ForecastConfig {
        step_s,
        horizon_steps: 10,
        ..ForecastConfig::default()
    };
    let mut forecaster = Forecaster::new(&config).unwrap();
    for step in 0..300 {
        forecaster.observe(i64::from(step_s) * 1_000_000 * step, (step % 5) as f64);
    }
    let forecast = forecaster.forecast(20).unwrap();
    assert_sound(&forecast);
    assert!(
        forecast
            .steps
            .iter()
            .all(|step| (0.0..=4.5).contains(&step.median))
    );
}

fn hostile_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e3..1e3_f64,
        1 => prop::sample::select(vec![
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e308, -1e308, 5e-324, -5e-324, 0.0, -0.0, 1e-300,
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_samples_give_a_sound_forecast(
        samples in prop::collection::vec((-2_i64..40, hostile_value()), 1..300),
        start in prop::sample::select(vec![0, -HOUR, i64::MIN, i64::MAX - 200 * HOUR]),
    ) {
        let config = ForecastConfig { horizon_steps: 7, ..ForecastConfig::default() };
        let mut forecaster = Forecaster::new(&config).unwrap();
        let mut time = start;
        let mut usable = false;
        for (quarters, value) in samples {
            time = time.saturating_add(quarters * HOUR / 4);
            forecaster.observe(time, value);
            usable |= value.is_finite();
        }
        let forecast = forecaster.forecast(30);
        prop_assert_eq!(forecast.is_some(), usable);
        for forecast in forecast.into_iter().chain(forecaster.naive_forecast(30)) {
            for step in &forecast.steps {
                prop_assert!(step.median.is_finite());
                prop_assert!(step.bands[2].lower <= step.bands[1].lower && step.bands[1].lower <= step.bands[0].lower);
                prop_assert!(step.bands[0].lower <= step.median && step.median <= step.bands[0].upper);
                prop_assert!(step.bands[0].upper <= step.bands[1].upper && step.bands[1].upper <= step.bands[2].upper);
                prop_assert!(step.bands[2].upper.is_finite() && step.bands[2].lower.is_finite());
            }
        }
    }
}
