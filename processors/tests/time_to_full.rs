//! When the time to full of a pool is forecast anew: hourly while it may soon be full, rarely while it is far from that, and at once when that changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use processors::{PartitionState, ProcessingConfig};
use rstest::rstest;
use schemas::forecast::FULL_WITHIN_S;
use schemas::time::{DAY, HOUR, MINUTE, SECOND};
use schemas::{BatchBuilder, Forecast, ForecastScore, Kind, Labels, Micros, Offset, Outlook};

const START: Micros = 20_000 * DAY;
const STEP: Micros = 5 * MINUTE;

/// What is forecast of a disk that is read every five minutes, and how it was scored; `used` is told the hours since the start. Saved and restored each day.
fn run(days: i64, used: impl Fn(f64) -> f64) -> (Vec<Forecast>, Vec<ForecastScore>) {
    let config = ProcessingConfig {
        detection: None,
        peers: None,
        ..ProcessingConfig::default()
    };
    let labels = Labels::try_new([("host.name", "web-1")]).unwrap();
    let mut state = PartitionState::new(config.clone());
    let mut told = (Vec::new(), Vec::new());
    for step in 0..days * DAY / STEP {
        let time = START + step * STEP;
        let mut builder = BatchBuilder::default();
        let (metric, labels) = (
            builder.metric("disk_used_percent"),
            builder.label_set(&labels),
        );
        let value = used((step * STEP) as f64 / HOUR as f64).min(100.0);
        builder.push(metric, labels, Kind::Gauge, time, value);
        state.step(Offset(step as u64), time, &builder.finish().unwrap());
        let pending = state.pending();
        let full = pending.forecasts.iter();
        told.0.extend(
            full.filter(|event| event.outlook.kind() == "time_to_full")
                .cloned(),
        );
        let scores = pending.forecast_scores.iter();
        told.1.extend(
            scores
                .filter(|score| score.method == "block_bootstrap")
                .cloned(),
        );
        state.settle();
        if step % (DAY / STEP) == 0 {
            let bytes = state.encode();
            state = PartitionState::decode(&bytes, config.clone()).unwrap();
        }
    }
    told
}

/// Hours from each forecast to the next, with when it was made and how far away its early date was then, hours.
fn pauses(forecasts: &[Forecast]) -> Vec<(f64, f64, Option<f64>)> {
    let hours = |micros: Micros| micros as f64 / HOUR as f64;
    let pair = |pair: &[Forecast]| {
        let Outlook::TimeToFull { dates, .. } = &pair[0].outlook else {
            panic!("not a time to full")
        };
        let away = dates.p10.map(|date| hours(date - pair[0].made_at));
        let at = hours(pair[0].made_at - START);
        (hours(pair[1].made_at - pair[0].made_at), at, away)
    };
    forecasts.windows(2).map(pair).collect()
}

#[rstest]
#[case::idle(|_: f64| 60.0)]
#[case::full_in_a_year(|hours: f64| 60.0 + hours / 219.0)]
#[case::shrinking(|hours: f64| 90.0 - hours / 24.0)]
fn far_from_full_a_forecast_holds_for_six_hours(#[case] used: fn(f64) -> f64) {
    let (forecasts, _) = run(5, used);
    for (pause, at, away) in pauses(&forecasts) {
        assert!((pause - 6.0).abs() < 0.1, "{pause} h at {at}, {away:?}");
    }
    assert!(forecasts.len() >= 19, "{}", forecasts.len());
}

#[test]
fn the_nearer_the_end_the_more_often_until_it_is_hourly() {
    // One per cent an hour from 30 on: full after 70 hours, and then it stays so.
    let (forecasts, _) = run(4, |hours| 30.0 + hours);
    let mut hourly = 0;
    for (pause, at, away) in pauses(&forecasts) {
        let holds = (away.unwrap_or(24.0) / 4.0).clamp(1.0, 6.0);
        // It is made with the full hour after it is due, and earlier when an eighth of the room is gone.
        assert!(pause <= holds.ceil() + 0.2, "{pause} h at {at}, {away:?}");
        hourly += i32::from(pause < 1.2);
    }
    // From four hours before the end to the end of the run there are 30 hours.
    assert!(
        hourly >= 28 && forecasts.len() < 55,
        "{hourly} of {}",
        forecasts.len()
    );
}

#[test]
fn a_sudden_rise_is_told_when_an_eighth_of_the_room_is_gone() {
    // Idle for three days with 60 free; then 10 an hour, so that an eighth is gone after 45 minutes.
    let begin = 72.0;
    let (forecasts, _) = run(4, |hours| 40.0 + 10.0 * (hours - begin).max(0.0));
    let first = pauses(&forecasts)
        .into_iter()
        .map(|(pause, at, _)| at + pause)
        .find(|at| *at > begin + 0.75);
    let first = first.unwrap() - begin;
    assert!(
        first < 0.75 + 1.0 + 0.2,
        "told {first} hours after it began"
    );
    // And hourly from then on, until it is full after six hours and beyond.
    let then = pauses(&forecasts);
    let then = then.iter().filter(|(_, at, _)| *at > begin + first - 0.1);
    assert!(then.clone().count() > 10 && then.clone().all(|(pause, _, _)| *pause < 1.2));
}

/// However rarely forecasts are made, some of every stretch are held to account, and none twice.
#[test]
fn each_stretch_is_scored_on_its_own_schedule() {
    let (forecasts, scores) = run(40, |hours| 50.0 + (hours / 24.0).fract());
    let mut of_stretch: BTreeMap<u64, BTreeSet<Micros>> = BTreeMap::new();
    for score in &scores {
        let made = of_stretch.entry(score.horizon_s).or_default();
        assert!(made.insert(score.made_at), "scored twice: {score:?}");
        assert!(
            forecasts
                .iter()
                .any(|event| event.event_id == score.forecast_id)
        );
    }
    for within_s in FULL_WITHIN_S {
        let within = within_s as Micros * SECOND;
        let quarter = (within / 4).max(6 * HOUR);
        let most = (40 * DAY - within) / quarter;
        let found = of_stretch.get(&within_s).map_or(0, BTreeSet::len) as Micros;
        assert!(
            (most - 2..=most + 1).contains(&found),
            "{found} of {most} for {within_s} s"
        );
    }
}
