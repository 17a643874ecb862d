//! What the calendar does in the stream: whom it concerns, what is told and counted, and that restarts change nothing of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use analytics::calendar::Calendar;
use processors::{PartitionState, ProcessingConfig};
use schemas::time::{DAY, HOUR, MINUTE, rfc3339};
use schemas::{
    Anomaly, AnomalyKind, BatchBuilder, Forecast, Kind, Labels, Micros, NextOffset, Offset, Outlook,
};

/// Monday, 2026-10-19, 0:00 UTC: the week in which Berlin leaves summer time, on Sunday at 1:00 UTC.
const START: Micros = 1_792_368_000_000_000;
const STEP: Micros = 5 * MINUTE;

/// What a run tells.
struct Told {
    anomalies: Vec<Anomaly>,
    forecasts: Vec<Forecast>,
    skipped: u64,
}

impl Told {
    /// Metric, time and kind of what is told of a host.
    fn of(&self, host: &str) -> Vec<(String, String, AnomalyKind)> {
        let events = self.anomalies.iter();
        events
            .filter(|event| event.labels.get("host.name") == Some(host))
            .map(|event| (event.metric.clone(), event.time.clone(), event.kind))
            .collect()
    }
}

/// Runs hosts `a` and `b` for some days under a calendar. `value`: of host, metric and time; `None`: no sample.
fn run(
    calendar: &str,
    days: i64,
    restart_after: u64,
    value: impl Fn(&str, &str, Micros) -> Option<f64>,
) -> Told {
    let calendar = Calendar::parse(calendar, "UTC").unwrap();
    let config = ProcessingConfig {
        calendar: Some(Arc::new(calendar)),
        ..ProcessingConfig::default()
    };
    let mut state = PartitionState::new(config.clone());
    let mut told = Told {
        anomalies: Vec::new(),
        forecasts: Vec::new(),
        skipped: 0,
    };
    let mut take = |state: &mut PartitionState| {
        let pending = state.pending();
        told.anomalies.extend(pending.anomalies.iter().cloned());
        told.forecasts.extend(pending.forecasts.iter().cloned());
        told.skipped += pending.counts.skipped_alarms;
        state.settle();
    };
    let mut offset = 0;
    for step in 0..days * DAY / STEP {
        let time = START + step * STEP;
        let mut builder = BatchBuilder::default();
        for host in ["a", "b"] {
            for metric in ["load", "queue"] {
                if let Some(value) = value(host, metric, time) {
                    let labels = Labels::try_new([("host.name", host)]).unwrap();
                    let (metric, labels) = (builder.metric(metric), builder.label_set(&labels));
                    builder.push(metric, labels, Kind::Gauge, time, value);
                }
            }
        }
        state.step(Offset(offset), time, &builder.finish().unwrap());
        take(&mut state);
        offset += 1;
        if offset % restart_after == 0 {
            state = PartitionState::decode(&state.encode(), config.clone())
                .unwrap()
                .with_committed_until(NextOffset(offset));
        }
    }
    told
}

/// Numbers that look like noise and are always the same: 0 to 1.
fn noise(time: Micros, salt: i64) -> f64 {
    let mixed =
        (time / STEP * 7_919 + salt * 104_729).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    (mixed as u64 >> 40) as f64 / (1u64 << 24) as f64
}

fn ordinary(host: &str, metric: &str, time: Micros) -> f64 {
    20.0 + noise(
        time,
        (host.len() * 3 + metric.len()) as i64 + i64::from(host == "a"),
    )
}

const BACKUP: &str = r#"
    time_zone = "Europe/Berlin"
    [[event]]
    name = "backup"
    start = 2026-10-01T02:30:00
    duration = "1h"
    repeat = "FREQ=DAILY"
    labels = { "host.name" = "a" }
    metrics = ["lo*"]
    skip_alarms = true
"#;

/// A jump of `load` and `queue` of both hosts for five minutes, from a time on.
fn jump(at: Micros) -> impl Fn(&str, &str, Micros) -> Option<f64> {
    move |host, metric, time| {
        let jumps = (at..at + 5 * MINUTE).contains(&time);
        Some(ordinary(host, metric, time) + if jumps { 200.0 } else { 0.0 })
    }
}

#[test]
fn only_whom_an_event_concerns_is_silent_and_each_is_counted() {
    // 2:40 in Berlin, in summer.
    let at = START + 2 * DAY + 40 * MINUTE;
    let told = run(BACKUP, 3, u64::MAX, jump(at));
    let event = |metric: &str| (metric.to_owned(), rfc3339(at), AnomalyKind::Point);
    assert_eq!(told.of("a"), [event("queue")]);
    assert_eq!(told.of("b"), [event("load"), event("queue")]);
    assert_eq!(told.skipped, 1);
}

#[test]
fn an_event_keeps_the_time_on_the_wall_when_the_clocks_change() {
    // 0:40 UTC is in the backup in summer and before it in winter; 1:40 UTC the other way round.
    for (at, skipped) in [
        (START + 5 * DAY + 40 * MINUTE, 1),
        (START + 5 * DAY + HOUR + 40 * MINUTE, 0),
        (START + 7 * DAY + 40 * MINUTE, 0),
        (START + 7 * DAY + HOUR + 40 * MINUTE, 1),
    ] {
        let told = run(BACKUP, 8, u64::MAX, jump(at));
        assert_eq!(
            (told.skipped, told.of("a").len()),
            (skipped, 2 - skipped as usize),
            "{}",
            rfc3339(at)
        );
    }
}

#[test]
fn a_silence_is_told_when_the_event_ends_or_not_at_all() {
    let maintenance = r#"
        [[event]]
        name = "maintenance"
        start = 2026-10-20T08:00:00Z
        end = 2026-10-20T10:00:00Z
        skip_alarms = true
    "#;
    let from = START + DAY + 8 * HOUR + 10 * MINUTE;
    let silent = |until: Micros| {
        move |host: &str, metric: &str, time: Micros| {
            let silent = host == "b" && metric == "load" && (from..until).contains(&time);
            (!silent).then(|| ordinary(host, metric, time))
        }
    };
    let over = run(maintenance, 2, u64::MAX, silent(from + HOUR));
    assert_eq!((over.of("b"), over.skipped), (vec![], 1));
    let lasting = run(maintenance, 2, u64::MAX, silent(from + 5 * HOUR));
    let end = rfc3339(START + DAY + 10 * HOUR);
    let missing = ("load".to_owned(), end, AnomalyKind::Missing);
    assert_eq!((lasting.of("b"), lasting.skipped), (vec![missing], 0));
}

#[test]
fn what_is_told_names_the_event_of_its_time() {
    let sale = "[[event]]\nname = \"sale\"\ndates = [2026-10-21]\nthreshold_factor = 1.1\n";
    let told = run(sale, 3, u64::MAX, jump(START + 2 * DAY + 9 * HOUR));
    let sentence = &told.anomalies[0].explanation;
    assert!(sentence.contains("; in the calendar: sale"), "{sentence}");
    let told = run(sale, 2, u64::MAX, jump(START + DAY + 9 * HOUR));
    let sentence = &told.anomalies[0].explanation;
    assert!(!sentence.contains("calendar"), "{sentence}");
}

/// Busy on weekdays, idle on weekends and on Thursday the 12th, a holiday.
fn working(host: &str, metric: &str, time: Micros) -> Option<f64> {
    if host == "b" || metric == "queue" || time % (10 * MINUTE) != 0 {
        return None;
    }
    let day = (time - START) / DAY;
    let idle = day % 7 >= 5 || day == 24;
    Some(if idle { 10.0 } else { 100.0 } + noise(time, 9))
}

#[test]
fn forecasts_know_the_holiday_before_it_comes_and_it_teaches_them_nothing() {
    let holiday =
        "[[event]]\nname = \"holiday\"\ndates = [2026-11-12]\nuse_profile_of = \"sunday\"\n";
    let of_day = |told: &Told, day: i64| -> Vec<f64> {
        let day = START + day * DAY;
        let hours = day + 2 * HOUR..day + 22 * HOUR;
        let forecasts = told.forecasts.iter();
        let forecasts = forecasts.filter(|event| hours.contains(&event.time));
        let medians = forecasts.filter_map(|event| match event.outlook {
            Outlook::Value { median, .. } => Some(median),
            Outlook::TimeToFull { .. } => None,
        });
        medians.collect()
    };
    let told = run(holiday, 33, u64::MAX, working);
    let (on_holiday, week_later) = (of_day(&told, 24), of_day(&told, 31));
    assert!(
        !on_holiday.is_empty() && on_holiday.iter().all(|median| *median < 30.0),
        "{on_holiday:?}"
    );
    assert!(
        !week_later.is_empty() && week_later.iter().all(|median| *median > 70.0),
        "{week_later:?}"
    );
    let idle_thursday = told
        .anomalies
        .iter()
        .filter(|event| event.time.starts_with("2026-11-12"));
    assert_eq!(idle_thursday.count(), 0, "{:#?}", told.anomalies);
    let plain = run("", 33, u64::MAX, working);
    assert!(of_day(&plain, 24).iter().any(|median| *median > 70.0));
}

#[test]
fn c5_restarts_change_nothing_of_what_the_calendar_does() {
    let at = START + 2 * DAY + 40 * MINUTE;
    let plain = run(BACKUP, 3, u64::MAX, jump(at));
    for restart_after in [7, 1_000] {
        let again = run(BACKUP, 3, restart_after, jump(at));
        assert_eq!(again.anomalies, plain.anomalies);
        assert_eq!(
            (again.skipped, again.forecasts.len()),
            (plain.skipped, plain.forecasts.len())
        );
    }
}
