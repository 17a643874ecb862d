//! Tests of the simulated fleet: the same bytes, no seam, and each planted shape seen in the numbers.

use std::collections::{BTreeMap, BTreeSet};

use schemas::time::{DAY, HOUR, MINUTE};

use super::series::{CPU_TEMPERATURE, DATA_SHARE, MEMORY_USED, Place as SeriesPlace, UP};
use super::*;
use crate::door::PartitionRecord;
use crate::memory_bus::{Row, rows_of_all};

/// 2026-11-02T00:00:00Z.
const START: Micros = 1_793_577_600 * SECOND;
const HOSTS: u32 = 8;

fn span(start: Micros, end: Micros) -> Window {
    Window { start, end }
}

fn records(fleet: &mut Fleet, span: Window, interval: Micros) -> Vec<PartitionRecord> {
    let mut door = Batcher::new(2, 64 << 20, usize::MAX);
    fleet.collect(span, interval, &mut door).unwrap();
    let (records, rejections) = door.finish().unwrap();
    assert_eq!(rejections.samples(), 0);
    records
}

/// All samples of a span, sorted: their order in the log is another matter.
fn rows(fleet: &mut Fleet, span: Window, interval: Micros) -> Vec<Row> {
    let mut rows = rows_of_all(&records(fleet, span, interval));
    rows.sort();
    rows
}

/// Time and value of one series.
fn values(
    fleet: &Fleet,
    host: &str,
    (metric, attributes): SeriesPlace,
    span: Window,
    interval: Micros,
) -> Vec<(Micros, f64)> {
    let labels = event::labels(host, attributes).unwrap().to_string();
    // Only this host, so that a test of weeks takes a moment.
    let mut alone = fleet.clone();
    alone.hosts.retain(|known| known.name == host);
    rows(&mut alone, span, interval)
        .into_iter()
        .filter(|row| row.0 == metric.name && row.1 == labels)
        .map(|row| (row.3, f64::from_bits(row.4)))
        .collect()
}

fn events_of(fleet: &Fleet, kind: EventKind, weeks: i64) -> Vec<PlantedEvent> {
    let mut events = fleet.events(span(START, START + weeks * WEEK));
    events.retain(|event| event.kind == kind);
    assert!(!events.is_empty(), "no {kind} in {weeks} weeks");
    events
}

fn place_of(event: &PlantedEvent) -> SeriesPlace {
    let (metric, labels) = event.series.as_ref().unwrap();
    let found = SERIES.iter().find(|((info, attributes), _)| {
        info.name == *metric && event::labels(&event.host, attributes).unwrap() == *labels
    });
    found
        .unwrap_or_else(|| panic!("{event:?} is in no series"))
        .0
}

fn mean(values: &[(Micros, f64)]) -> f64 {
    values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64
}

#[test]
fn the_same_seed_makes_the_same_bytes_and_another_does_not() {
    let make = |seed| {
        let mut fleet = Fleet::new(seed, HOSTS).unwrap();
        records(&mut fleet, span(START, START + HOUR), MINUTE)
    };
    assert_eq!(make(7), make(7));
    assert_ne!(make(7), make(8));
}

#[test]
fn every_machine_makes_the_same_values() {
    let fleet = Fleet::new(7, HOSTS).unwrap();
    let at = |place| {
        values(
            &fleet,
            "demo-03",
            place,
            span(START, START + 1),
            10 * SECOND,
        )[0]
        .1
    };
    // As made when this test was written; there is no other reference.
    let made = [series::BUSY, series::RECEIVED, CPU_TEMPERATURE, MEMORY_USED].map(at);
    assert_eq!(
        made,
        [0.1185, 272_084_750_804.0, 40.6, 0.325_628_469_086_950_64]
    );
}

#[test]
fn history_and_live_join_without_a_seam_and_any_stretch_stands_alone() {
    let (middle, end) = (START + 3 * HOUR + 17 * MINUTE, START + 6 * HOUR);
    let mut fleet = Fleet::new(7, 3).unwrap();
    let whole = rows(&mut fleet, span(START, end), MINUTE);
    let mut parts = rows(&mut fleet, span(START, middle), MINUTE);
    parts.extend(rows(&mut fleet, span(middle, end), MINUTE));
    parts.sort();
    assert_eq!(whole, parts);
    // By a fleet that has made nothing before, and at a finer interval: what both have is the same.
    let finer = rows(
        &mut Fleet::new(7, 3).unwrap(),
        span(middle, end),
        10 * SECOND,
    );
    let finer: BTreeSet<Row> = finer.into_iter().collect();
    let later = whole.iter().filter(|row| row.3 >= middle);
    assert!(later.clone().count() > 10_000 && later.clone().all(|row| finer.contains(row)));
}

#[test]
fn samples_are_what_the_host_collector_sends() {
    let mut fleet = Fleet::new(7, 2).unwrap();
    let made = rows(&mut fleet, span(START, START + MINUTE), MINUTE);
    // The help of the demo says so.
    assert_eq!((made.len(), fleet.series()), (2 * 38, 2 * 38));
    for (metric, labels, kind, ..) in &made {
        let info = crate::collectors::host::METRICS
            .iter()
            .find(|info| info.name == metric)
            .unwrap_or_else(|| panic!("{metric} is in no table"));
        assert_eq!(*kind, info.kind as u8);
        assert!(labels.contains("host.name=\"demo-0"), "{labels}");
    }
    let distinct: BTreeSet<_> = made.iter().map(|row| (&row.0, &row.1)).collect();
    assert_eq!(distinct.len(), made.len());
}

#[test]
fn numbers_of_one_host_agree_with_each_other() {
    let mut fleet = Fleet::new(3, HOSTS).unwrap();
    let made = rows(&mut fleet, span(START, START + WEEK), 17 * MINUTE);
    let mut sums: BTreeMap<(String, &str, Micros), f64> = BTreeMap::new();
    for (metric, labels, _, time, bits) in &made {
        let value = f64::from_bits(*bits);
        let host = labels[labels.find("demo-").unwrap()..][..7].to_owned();
        assert!(
            value.is_finite() && value >= -1e-9,
            "{metric}{labels} {value}"
        );
        if metric.ends_with("utilization") {
            assert!(value <= 1.0, "{metric}{labels} {value}");
        }
        let part = match metric.as_str() {
            "system.memory.usage" => "memory",
            "system.cpu.utilization" if labels.contains("cpu.mode") => "cpu",
            _ => continue,
        };
        *sums.entry((host, part, *time)).or_default() += value;
    }
    for ((host, part, _), sum) in sums {
        let whole = if part == "memory" {
            vitals::MEMORY
        } else {
            1.0
        };
        assert!((sum / whole - 1.0).abs() < 1e-9, "{part} of {host}: {sum}");
    }
}

#[test]
fn counters_only_fall_at_a_restart() {
    let mut fleet = Fleet::new(7, HOSTS).unwrap();
    let made = rows(&mut fleet, span(START, START + 9 * DAY), 90 * SECOND);
    let restarts = events_of(&fleet, EventKind::Restart, 2);
    let mut falls = 0;
    for pair in made.windows(2) {
        let [before, after] = pair else { continue };
        let same = (&before.0, &before.1) == (&after.0, &after.1);
        if !same || before.2 != Kind::Counter as u8 {
            continue;
        }
        if f64::from_bits(after.4) < f64::from_bits(before.4) {
            falls += 1;
            let explained = restarts.iter().any(|event| {
                after.1.contains(&event.host)
                    && event.when.start >= before.3
                    && event.when.start <= after.3
            });
            assert!(explained, "{before:?} {after:?}");
        }
    }
    assert!(falls > 100, "{falls}");
}

#[test]
fn load_follows_the_day_and_one_host_is_unlike_its_siblings() {
    let fleet = Fleet::new(7, HOSTS).unwrap();
    let odd = events_of(&fleet, EventKind::UnlikeSiblings, 5);
    assert!(odd.iter().all(|event| event.host == odd[0].host), "{odd:?}");
    let hours = |host: &str, days: std::ops::Range<i64>, hour: i64| {
        let values: Vec<(Micros, f64)> = days
            .flat_map(|day| {
                let at = START + day * DAY + hour * HOUR;
                values(&fleet, host, series::BUSY, span(at, at + HOUR), 5 * MINUTE)
            })
            .collect();
        mean(&values)
    };
    for host in 1..=HOSTS {
        let host = format!("demo-{host:02}");
        let (night, day) = (hours(&host, 0..14, 2), hours(&host, 0..14, 14));
        assert!(day > 1.2 * night, "{host}: {night} at night, {day} by day");
    }
    // It turns at the peak of the day: that night it works, and the next day it rests.
    for event in &odd {
        assert_eq!(event.when.start.rem_euclid(DAY), 14 * HOUR);
        let first = (event.when.start - START).div_euclid(DAY) + 1;
        let night = hours(&event.host, first..first + 2, 2);
        let day = hours(&event.host, first..first + 1, 14);
        assert!(night > 1.5 * day, "{night} at night, {day} by day");
    }
}

#[test]
fn spikes_stand_out_of_what_is_around_them() {
    let fleet = Fleet::new(7, HOSTS).unwrap();
    let spikes = events_of(&fleet, EventKind::Spike, 1);
    assert!((200..=336).contains(&spikes.len()), "{}", spikes.len());
    let mut seen = BTreeSet::new();
    for spike in spikes.iter().take(60) {
        let place = place_of(spike);
        let around = span(spike.when.start - HOUR, spike.when.end + HOUR);
        let mut series = values(&fleet, &spike.host, place, around, MINUTE);
        if place.0.kind == Kind::Counter {
            series = series
                .windows(2)
                .map(|pair| (pair[1].0, pair[1].1 - pair[0].1))
                .collect();
        }
        // The rate of a counter is that of the minute before.
        let (inside, outside): (Vec<_>, Vec<_>) = series
            .iter()
            .partition(|(time, _)| span(spike.when.start + MINUTE, spike.when.end).contains(*time));
        let outside: Vec<f64> = outside.into_iter().map(|(_, value)| value).collect();
        let level = mean(&outside.iter().map(|value| (0, *value)).collect::<Vec<_>>());
        let highest = inside.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        assert!(
            highest > 1.3 * level + 0.1,
            "{spike:?}: {highest} beside {level}"
        );
        seen.insert(place.0.name);
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn a_fan_fails_and_is_replaced() {
    let fleet = Fleet::new(7, HOSTS).unwrap();
    let mut shifts = events_of(&fleet, EventKind::LevelShift, 2);
    shifts.retain(|shift| shift.description.contains("fan"));
    assert_eq!(shifts.len(), 4);
    for shift in &shifts {
        let at = shift.when.start;
        let level = |from, to| {
            mean(&values(
                &fleet,
                &shift.host,
                CPU_TEMPERATURE,
                span(from, to),
                MINUTE,
            ))
        };
        let change = level(at, at + HOUR) - level(at - HOUR, at);
        let expected = if shift.description.contains("fails") {
            14.0
        } else {
            -14.0
        };
        assert!((change - expected).abs() < 3.0, "{shift:?}: {change}");
    }
}

#[test]
fn memory_leaks_until_the_restart() {
    let fleet = Fleet::new(7, HOSTS).unwrap();
    let leak = events_of(&fleet, EventKind::Leak, 1).remove(0);
    let around = span(leak.when.start - HOUR, leak.when.end + HOUR);
    let used = values(&fleet, &leak.host, MEMORY_USED, around, 10 * MINUTE);
    let at = |time: Micros| {
        used.iter()
            .rfind(|(found, _)| *found <= time)
            .map(|(_, value)| *value)
            .unwrap()
    };
    let (before, full, after) = (
        at(leak.when.start),
        at(leak.when.end - 1),
        at(leak.when.end + HOUR),
    );
    assert!(
        full - before > 0.4 && full - after > 0.4,
        "{before} {full} {after}"
    );
    let up = values(&fleet, &leak.host, UP, around, 10 * MINUTE);
    assert!(
        up.last().unwrap().1 < 3600.0,
        "restarted at the end of the leak"
    );
}

#[test]
fn one_disk_fills_and_one_is_cleaned_each_day() {
    let fleet = Fleet::new(7, HOSTS).unwrap();
    let filling = events_of(&fleet, EventKind::FillingDisk, 5).remove(0);
    let series = values(&fleet, &filling.host, DATA_SHARE, filling.when, 6 * HOUR);
    assert!(series.is_sorted_by(|a, b| a.1 < b.1));
    assert!(series[0].1 < 0.32 && series.last().unwrap().1 > 0.94);
    let clean_ups = events_of(&fleet, EventKind::CleanUp, 1);
    assert_eq!(clean_ups.len(), 7);
    let week = span(START, START + WEEK);
    let series = values(&fleet, &clean_ups[0].host, DATA_SHARE, week, 10 * MINUTE);
    let falls = series
        .windows(2)
        .filter(|pair| pair[1].1 < pair[0].1 - 0.2)
        .count();
    assert_eq!(falls, 7);
}

#[test]
fn a_dead_collector_sends_nothing_and_its_counters_go_on() {
    let mut fleet = Fleet::new(7, HOSTS).unwrap();
    let silence = events_of(&fleet, EventKind::Silence, 2).remove(0);
    assert!(silence.series.is_none());
    let during = rows(&mut fleet, silence.when, MINUTE);
    let from_host = |row: &&Row| row.1.contains(&silence.host) && row.0 != EVENT_METRIC;
    assert_eq!(during.iter().filter(from_host).count(), 0);
    assert!(!during.is_empty());
    let around = span(silence.when.start - MINUTE, silence.when.end + MINUTE);
    let up = values(&fleet, &silence.host, UP, around, MINUTE);
    assert_eq!(up.len(), 2);
    assert!(up[1].1 > up[0].1);
}

#[test]
fn a_small_fleet_has_every_kind_of_event_but_perhaps_one() {
    for hosts in 1..=3 {
        let fleet = Fleet::new(5, hosts).unwrap();
        let kinds: BTreeSet<EventKind> = fleet
            .events(span(START, START + 5 * WEEK))
            .into_iter()
            .map(|event| event.kind)
            .collect();
        // With one host its one disk fills and is not cleaned.
        assert!(
            kinds.len() >= EventKind::ALL.len() - 1,
            "{hosts}: {kinds:?}"
        );
    }
}

#[test]
fn each_event_is_told_once_as_a_sample_with_the_facts_as_labels() {
    let mut fleet = Fleet::new(7, HOSTS).unwrap();
    let week = span(START, START + WEEK);
    let told: Vec<Row> = rows(&mut fleet, week, DAY)
        .into_iter()
        .filter(|row| row.0 == EVENT_METRIC)
        .collect();
    let events = fleet.events(week);
    assert_eq!(told.len(), events.len());
    for event in &events {
        let labels = event.labels().unwrap();
        let row = told.iter().find(|row| row.1 == labels.to_string()).unwrap();
        let seconds = (event.when.end - event.when.start) / SECOND;
        assert_eq!(
            (row.3, f64::from_bits(row.4)),
            (event.when.start, seconds as f64)
        );
        assert_eq!(labels.get("demo.kind"), Some(event.kind.name()));
        assert_eq!(labels.get("demo.metric").is_some(), event.series.is_some());
    }
    // Who begins to listen in the middle hears of what is under way.
    let mut door = Batcher::new(1, 1 << 20, usize::MAX);
    let leak = events_of(&fleet, EventKind::Leak, 1).remove(0);
    fleet
        .collect_under_way(leak.when.start + HOUR, &mut door)
        .unwrap();
    let (heard, _) = door.finish().unwrap();
    let heard = rows_of_all(&heard);
    let leak_labels = leak.labels().unwrap().to_string();
    assert!(
        heard
            .iter()
            .any(|row| row.1 == leak_labels && row.3 == leak.when.start + HOUR)
    );
    assert!(heard.iter().all(|row| row.0 == EVENT_METRIC));
}
