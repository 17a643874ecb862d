//! What is told of samples in time order is a function of the samples: neither the records that carry them nor restarts change an event or a forecast.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::OnceLock;

use processors::{PartitionState, ProcessingConfig};
use schemas::event::RESOURCE_METRIC;
use schemas::time::{DAY, HOUR, MINUTE};
use schemas::{
    Anomaly, AnomalyKind, BatchBuilder, Forecast, ForecastScore, FullAnswer, Kind, Labels, Micros,
    NextOffset, Offset, Outcome, Outlook, SampleBatch,
};

/// Host, metric, time, value.
type Sample = (&'static str, &'static str, Micros, f64);

const START: Micros = 20_000 * DAY;
const STEP: Micros = 5 * MINUTE;

/// What a run tells, in no order that depends on the run.
#[derive(Debug, PartialEq)]
struct Told {
    anomalies: Vec<Anomaly>,
    forecasts: Vec<Forecast>,
    scores: Vec<ForecastScore>,
}

/// Numbers that look like noise and are always the same: 0 to 1.
fn noise(step: i64, salt: i64) -> f64 {
    let mixed = (step * 7_919 + salt * 104_729).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    (mixed as u64 >> 40) as f64 / (1u64 << 24) as f64
}

/// Six days of three hosts every five minutes. On the fifth day load and queue of `a` jump, the queue a step earlier; `load` of `b` stops for good on the
/// fourth; `c` as a whole is silent for half of the fifth; `ends` of `a` stops two hours before the end, which no further record shows; the disk of each
/// fills.
fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for step in 0..6 * DAY / STEP {
        let time = START + step * STEP;
        let day = time - START;
        for (number, host) in ["a", "b", "c"].into_iter().enumerate() {
            if host == "c" && (4 * DAY..4 * DAY + 12 * HOUR).contains(&day) {
                continue;
            }
            let salt = 10 * number as i64;
            let busy = if (day / HOUR) % 24 < 12 { 20.0 } else { 40.0 };
            let jump = |from: Micros| {
                let jumps = host == "a" && (from..4 * DAY + 7 * HOUR + 2 * STEP).contains(&day);
                if jumps { 500.0 } else { 0.0 }
            };
            if !(host == "b" && day >= 3 * DAY) {
                let load = busy + noise(step, salt) + jump(4 * DAY + 7 * HOUR);
                samples.push((host, "load", time, load));
            }
            let queue = 5.0 + noise(step, salt + 1) + jump(4 * DAY + 7 * HOUR - STEP);
            samples.push((host, "queue", time, queue));
            if host == "a" && day < 6 * DAY - 2 * HOUR {
                samples.push((host, "ends", time, 7.0 + noise(step, salt + 4)));
            }
            let used = 40.0 + 8.0 * day as f64 / DAY as f64 + 0.01 * noise(step, salt + 2);
            samples.push((host, "disk_used_percent", time, used));
            let total = step as f64 * 300.0 + noise(step, salt + 3);
            samples.push((host, "requests_total", time, total));
        }
    }
    samples
}

fn batch(samples: &[Sample]) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for (host, metric, time, value) in samples {
        let labels = Labels::try_new([("host.name", *host)]).unwrap();
        let (key, labels) = (builder.metric(metric), builder.label_set(&labels));
        builder.push(key, labels, Kind::guess(metric), *time, *value);
    }
    builder.finish().unwrap()
}

/// What is told when so many samples share a record, whose append time is that of its first; the state is saved and restored after every so many records.
fn told(samples: &[Sample], per_record: usize, restart_after: u64) -> Told {
    let config = ProcessingConfig {
        future_max: 2 * DAY,
        ..ProcessingConfig::default()
    };
    let mut state = PartitionState::new(config.clone());
    let mut told = Told {
        anomalies: Vec::new(),
        forecasts: Vec::new(),
        scores: Vec::new(),
    };
    let mut offset = 0;
    let mut take = |state: &mut PartitionState| {
        let pending = state.pending();
        told.anomalies.extend(pending.anomalies.iter().cloned());
        told.forecasts.extend(pending.forecasts.iter().cloned());
        told.scores.extend(pending.forecast_scores.iter().cloned());
        state.settle();
    };
    for record in samples.chunks(per_record) {
        state.step(Offset(offset), record[0].2, &batch(record));
        take(&mut state);
        offset += 1;
        if offset % restart_after == 0 {
            let bytes = state.encode();
            state = PartitionState::decode(&bytes, config.clone())
                .unwrap()
                .with_committed_until(NextOffset(offset));
            assert!(
                state.encode() == bytes,
                "a state that was saved is saved alike"
            );
        }
    }
    state.step_end(Offset(offset), START + 10 * DAY);
    take(&mut state);
    told.anomalies.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    told.forecasts.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    told.scores
        .sort_by(|a, b| (&a.forecast_id, a.time).cmp(&(&b.forecast_id, b.time)));
    told
}

/// The run that the others are compared with: one record per five minutes, no restart.
fn plain() -> &'static Told {
    static PLAIN: OnceLock<Told> = OnceLock::new();
    PLAIN.get_or_init(|| told(&samples(), 12, u64::MAX))
}

#[test]
fn c5_records_and_restarts_change_nothing() {
    let samples = samples();
    for (per_record, restart_after) in [(12, 40), (7, 300), (1_000, 2), (3_000, u64::MAX)] {
        let again = told(&samples, per_record, restart_after);
        assert_eq!(
            &again.anomalies,
            &plain().anomalies,
            "{per_record} a record"
        );
        assert!(
            again == *plain(),
            "{per_record} samples a record: other forecasts"
        );
    }
}

#[test]
fn c5_how_many_samples_share_a_record_decides_no_alarm() {
    // Two spikes spend the two alarms of a month; the third comes an hour before the first of them is a month old, the fourth an hour after the second is.
    let spikes = [
        5 * DAY + 5 * HOUR,
        12 * DAY + 9 * HOUR,
        35 * DAY + 4 * HOUR,
        42 * DAY + 10 * HOUR,
    ];
    let samples: Vec<Sample> = (0..44 * DAY / STEP)
        .map(|step| {
            let place = spikes.iter().position(|spike| *spike == step * STEP);
            let spike = place.map_or(0.0, |place| 100.0 * (place + 1) as f64);
            (
                "a",
                "load",
                START + step * STEP,
                50.0 + noise(step, 5) + spike,
            )
        })
        .collect();
    for per_record in [1, 288, 500] {
        let mut told = told(&samples, per_record, u64::MAX).anomalies;
        told.sort_by(|a, b| a.time.cmp(&b.time));
        let alarms: Vec<(&str, bool)> = told
            .iter()
            .map(|event| (&event.time[..13], event.alarm))
            .collect();
        let expected = spikes.map(|spike| schemas::time::rfc3339(START + spike)[..13].to_owned());
        let expected: Vec<(&str, bool)> = expected
            .iter()
            .map(String::as_str)
            .zip([true, true, false, true])
            .collect();
        assert_eq!(alarms, expected, "{per_record} a record");
    }
}

#[test]
fn c3_every_event_has_an_id_of_its_own() {
    let ids: BTreeSet<&String> = plain()
        .forecasts
        .iter()
        .map(|event| &event.event_id)
        .chain(plain().anomalies.iter().map(|event| &event.event_id))
        .collect();
    assert_eq!(ids.len(), plain().forecasts.len() + plain().anomalies.len());
}

fn anomalies(host: &str, kind: AnomalyKind) -> Vec<&'static Anomaly> {
    plain()
        .anomalies
        .iter()
        .filter(|event| event.kind == kind && event.labels.get("host.name") == Some(host))
        .collect()
}

#[test]
fn what_moved_before_is_named_with_what_moved() {
    let time = schemas::time::rfc3339(START + 4 * DAY + 7 * HOUR);
    let jump = plain().anomalies.iter().find(|event| {
        event.metric == "load" && event.labels.get("host.name") == Some("a") && event.time == time
    });
    let jump = jump.unwrap_or_else(|| panic!("no jump: {:#?}", plain().anomalies));
    let queue = jump
        .related
        .iter()
        .find(|related| related.metric == "queue");
    assert_eq!(queue.map(|queue| queue.lag_s), Some(-300.0), "{jump:#?}");
    assert!(
        jump.explanation
            .contains("; also moved: queue 5 min earlier"),
        "{}",
        jump.explanation
    );
}

#[test]
fn a_series_that_stops_is_told_once_and_a_host_that_stops_as_a_whole() {
    let told = anomalies("b", AnomalyKind::Missing);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((told[0].metric.as_str(), told[0].observed), ("load", None));
    // Ten intervals after its last sample, five minutes before the day began.
    assert_eq!(
        told[0].time,
        schemas::time::rfc3339(START + 3 * DAY + 9 * STEP)
    );
    let told = anomalies("a", AnomalyKind::Missing);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0].metric, "ends");
    let told = anomalies("c", AnomalyKind::Missing);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0].metric, RESOURCE_METRIC);
    assert!(
        told[0]
            .explanation
            .starts_with("c is silent: no sample since "),
        "{}",
        told[0].explanation
    );
}

#[test]
fn each_series_is_forecast_every_six_hours_and_each_forecast_is_scored() {
    let of = |host: &str, metric: &str| -> Vec<&Forecast> {
        let forecasts = plain().forecasts.iter().filter(|event| {
            event.metric == metric
                && event.labels.get("host.name") == Some(host)
                && event.outlook.kind() == "value"
        });
        forecasts.collect()
    };
    // Five of six days, four times a day, three horizons; the last hour of the history is not complete.
    for metric in ["load", "queue", "requests_total"] {
        let count = of("a", metric).len();
        assert!((57..=60).contains(&count), "{metric}: {count}");
    }
    let scored: BTreeSet<&String> = plain()
        .scores
        .iter()
        .map(|score| &score.forecast_id)
        .collect();
    let last = START + 6 * DAY - HOUR;
    for forecast in of("a", "load") {
        assert_eq!(
            scored.contains(&forecast.event_id),
            forecast.time < last,
            "{forecast:#?}"
        );
        assert_eq!(
            forecast.time,
            forecast.made_at + forecast.horizon_s as i64 * 1_000_000
        );
        assert_eq!(forecast.time % HOUR, 0);
    }
    // The counter is forecast by its rate: 300 in five minutes are one a second.
    let Outlook::Value { median, .. } = of("a", "requests_total")[0].outlook else {
        panic!("not a value")
    };
    assert!((median - 1.0).abs() < 0.01, "{median}");
    // What stopped is not forecast any more.
    assert!(
        of("b", "load")
            .iter()
            .all(|forecast| forecast.made_at <= START + 3 * DAY + HOUR)
    );
}

#[test]
fn a_disk_that_fills_says_when_and_is_held_to_it() {
    let full: Vec<&Forecast> = plain()
        .forecasts
        .iter()
        .filter(|event| {
            event.outlook.kind() == "time_to_full" && event.labels.get("host.name") == Some("a")
        })
        .collect();
    assert!(full.len() > 20, "every six hours, but {}", full.len());
    assert!(full.iter().all(|event| event.metric == "disk_used_percent"));
    let newest = full.iter().max_by_key(|event| event.made_at).unwrap();
    let Outlook::TimeToFull {
        answer,
        used,
        ceiling,
        dates,
        ..
    } = &newest.outlook
    else {
        panic!("not a time to full")
    };
    assert_eq!(
        (*answer, *ceiling),
        (FullAnswer::FullIn, 100.0),
        "{newest:#?}"
    );
    // 8 points a day from 40: at 100 after seven and a half days.
    let days = (dates.p50.unwrap() - START) as f64 / DAY as f64;
    assert!(
        (days - 7.5).abs() < 0.5 && (used - 88.0).abs() < 2.1,
        "{newest:#?}"
    );
    let mut briers = Vec::new();
    for score in &plain().scores {
        if let Outcome::TimeToFull { brier, full, .. } = score.outcome {
            assert!(!full, "nothing was full");
            briers.push(brier);
        }
    }
    assert!(
        briers.len() > 40 && briers.iter().all(|brier| *brier < 0.05),
        "{briers:?}"
    );
}
