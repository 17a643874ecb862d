//! Series of noise in which nothing happens, for eight weeks from their first sample: how many events they have, and that alarms keep to what is allowed
//! in any 30 days, whatever the noise and across restarts.
//!
//! `cargo test --workspace --test quiet -- --nocapture` prints a table.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{DAY, HOUR, MINUTE};
use schemas::{BatchBuilder, Kind, Labels, Micros, Offset};

const START: Micros = 20_000 * DAY;
const STEP: Micros = 5 * MINUTE;
const DAYS: i64 = 56;
const MONTH: Micros = 30 * DAY;
/// Of each kind.
const SERIES: u64 = 4;

/// Seeded: splitmix64 and Box–Muller.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * u.ln()).sqrt() * (TAU * v).cos()
    }

    /// Student's t with 3 degrees of freedom.
    fn heavy_tailed(&mut self) -> f64 {
        let chi_squared: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (chi_squared / 3.0).sqrt()
    }
}

/// A kind of noise: the next value from the state so far (0 at first) and the share of the day.
type Next = fn(&mut Noise, &mut f64, f64) -> f64;

const KINDS: [(&str, Next); 8] = [
    ("normal", |noise, _, _| 100.0 + 10.0 * noise.normal()),
    ("heavy-tailed", |noise, _, _| {
        100.0 + 10.0 * noise.heavy_tailed()
    }),
    ("lognormal", |noise, _, _| noise.normal().exp()),
    ("sparse counts", |noise, _, _| {
        f64::from(noise.uniform() < 0.02)
    }),
    ("wandering", |noise, state, _| {
        *state = 0.98 * *state + noise.normal();
        100.0 + 3.0 * *state
    }),
    ("daily", |noise, _, day| {
        100.0 + 20.0 * (TAU * day).sin() + noise.normal()
    }),
    ("daily, heavy-tailed", |noise, _, day| {
        100.0 + 20.0 * (TAU * day).sin() + 3.0 * noise.heavy_tailed()
    }),
    ("bursts", |noise, state, _| {
        *state *= 0.8;
        if noise.uniform() < 0.002 {
            *state = 5.0 - 5.0 * noise.uniform().max(1e-9).ln();
        }
        10.0 + *state + 0.5 * noise.normal()
    }),
];

/// Days of the events of each series, and whether each is an alarm.
fn told() -> BTreeMap<(String, String), Vec<(f64, bool)>> {
    let config = ProcessingConfig {
        peers: None,
        forecasting: None,
        future_max: 2 * DAY,
        ..ProcessingConfig::default()
    };
    let mut state = PartitionState::new(config.clone());
    let mut told: BTreeMap<(String, String), Vec<(f64, bool)>> = BTreeMap::new();
    let mut series: Vec<(&str, String, Next, Noise, f64)> = KINDS
        .into_iter()
        .flat_map(|(kind, next)| {
            (0..SERIES).map(move |seed| (kind, seed.to_string(), next, Noise(seed), 0.0))
        })
        .collect();
    for (record, start) in (0..DAYS * DAY / HOUR).zip((START..).step_by(HOUR as usize)) {
        let mut batch = BatchBuilder::default();
        for time in (start..start + HOUR).step_by(STEP as usize) {
            let day = time.rem_euclid(DAY) as f64 / DAY as f64;
            for (kind, seed, next, noise, so_far) in &mut series {
                let labels =
                    Labels::try_new([("host.name", "a"), ("seed", seed.as_str())]).unwrap();
                let (metric, labels) = (batch.metric(kind), batch.label_set(&labels));
                batch.push(metric, labels, Kind::Gauge, time, next(noise, so_far, day));
            }
        }
        let batch = batch.finish().unwrap();
        state.step(Offset(record as u64), start, &batch);
        for event in &state.pending().anomalies {
            let of = (
                event.metric.clone(),
                event.labels.get("seed").unwrap().to_owned(),
            );
            let day = (start - START) as f64 / DAY as f64;
            told.entry(of).or_default().push((day, event.alarm));
        }
        state.settle();
        if record % 100 == 0 {
            state = PartitionState::decode(&state.encode(), config.clone()).unwrap();
        }
    }
    told
}

#[test]
fn in_any_month_a_series_has_at_most_the_alarms_allowed() {
    let told = told();
    let month = MONTH as f64 / DAY as f64;
    let mut beyond = 0;
    for (series, events) in &told {
        for (day, alarm) in events {
            let until_now = events
                .iter()
                .filter(|(other, alarm)| *alarm && *other > day - month && other <= day);
            let alarms = until_now.count();
            assert!(alarms <= 2, "{series:?}: {alarms} in a month: {events:?}");
            // A record holds an hour, so an alarm within the hour may be in the one before.
            let goes_on = events
                .iter()
                .any(|(other, alarm)| *alarm && (day - other).abs() * DAY as f64 <= HOUR as f64);
            assert!(
                *alarm || alarms == 2 || goes_on,
                "{series:?}: {day} is none: {events:?}"
            );
            beyond += u32::from(!alarm);
        }
    }
    assert!(beyond > 0, "nothing here needs a budget: {told:?}");
    println!("events (alarms) per series   days 0 to 30   days 26 to 56");
    for (kind, _) in KINDS {
        let of_kind = || {
            told.iter()
                .filter(|((metric, _), _)| metric == kind)
                .flat_map(|(_, e)| e)
        };
        let per_series = |from: f64| {
            let events = of_kind().filter(|(day, _)| (from..from + month).contains(day));
            let (events, alarms) = events.fold((0.0, 0.0), |(events, alarms), (_, alarm)| {
                (events + 1.0, alarms + f64::from(u8::from(*alarm)))
            });
            format!(
                "{:.1} ({:.1})",
                events / SERIES as f64,
                alarms / SERIES as f64
            )
        };
        println!("{kind:24} {:>16} {:>15}", per_series(0.0), per_series(26.0));
    }
}
