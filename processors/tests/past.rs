//! Forests and siblings that were off learn the minutes they have not seen: then they know what they would have known, and nothing of it is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fleet::{Fault, Fleet, Planted};
use processors::{MinuteLearner, PartitionState, PastWindow, ProcessingConfig, Unlearned};
use rstest::rstest;
use schemas::time::{DAY, HOUR, MINUTE, SECOND};
use schemas::{
    Anomaly, AnomalyKind, BatchBuilder, Kind, Labels, Micros, Offset, Resolution, SampleBatch,
    SeriesId, Window,
};

#[path = "across/fleet.rs"]
mod fleet;

/// With detection, or without.
fn config(detection: bool) -> ProcessingConfig {
    let on = ProcessingConfig {
        forecasting: None,
        ..ProcessingConfig::default()
    };
    if detection {
        on
    } else {
        ProcessingConfig {
            detection: None,
            ..on
        }
    }
}

/// What an archive holds of a past.
#[derive(Default)]
struct Archived {
    rollups: Vec<(Resolution, SeriesId, PastWindow)>,
    samples: Vec<(SeriesId, Micros, f64)>,
}

impl Archived {
    fn take(&mut self, state: &PartitionState) {
        let id = |series: u32| state.directory()[series as usize].id;
        for row in state.checkpoint_rollups() {
            let past = PastWindow {
                start: row.start,
                count: row.rollup.count,
                mean: row.rollup.mean(),
                last: row.rollup.last,
                rate: row.rate,
            };
            self.rollups.push((row.resolution, id(row.series), past));
        }
        let rows = state.checkpoint_samples();
        for at in 0..rows.len() {
            self.samples
                .push((id(rows.series[at]), rows.time[at], rows.value[at]));
        }
    }
}

/// Lets a state live some minutes; what it tells across series.
fn live(
    state: &mut PartitionState,
    minutes: std::ops::Range<i64>,
    batch: impl Fn(i64) -> SampleBatch,
    mut archived: Option<&mut Archived>,
) -> Vec<Anomaly> {
    let mut told = Vec::new();
    for minute in minutes {
        let log_time = fleet::START + minute * MINUTE + SECOND;
        state.step(Offset(minute as u64), log_time, &batch(minute));
        told.extend(state.pending().anomalies.iter().cloned());
        if let Some(archived) = &mut archived {
            archived.take(state);
        }
        state.settle();
    }
    told.retain(|event| matches!(event.kind, AnomalyKind::Resource | AnomalyKind::Peer));
    for event in &mut told {
        // Which are alarms follows from all events of a series, and of single series only who lived has told.
        if let Some((said, _)) = event.explanation.split_once("; not an alarm") {
            event.explanation = said.to_owned();
        }
        event.alarm = true;
    }
    told
}

/// What tells of minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Rollups(Resolution),
    Samples,
}

const MINUTES: Source = Source::Rollups(Resolution::Minute);

/// How a past comes: from where, how many minutes at once, and whether the last series comes first.
#[derive(Debug, Clone, Copy)]
struct Coming {
    source: Source,
    stretch: i64,
    backwards: bool,
}

const AT_ONCE: Coming = Coming {
    source: MINUTES,
    stretch: 100_000,
    backwards: false,
};

/// Turns detection on in a state that was saved without, and lets it learn what it lacks.
fn turned_on(bytes: &[u8], archived: &Archived, coming: Coming) -> PartitionState {
    let mut state = PartitionState::decode(bytes, config(true)).unwrap();
    let Unlearned { minutes, .. } = state.unlearned().unwrap();
    let lacks = minutes.unwrap();
    let rollups = archived
        .rollups
        .iter()
        .filter(|(resolution, ..)| Source::Rollups(*resolution) == coming.source);
    let mut rollups: Vec<_> = rollups.collect();
    rollups.sort_by_key(|(_, series, past)| (*series, past.start));
    if coming.backwards {
        rollups.reverse();
    }
    let mut learner = MinuteLearner::new(&mut state);
    let mut start = lacks.start;
    while start < lacks.end {
        let end = lacks.end.min(start + coming.stretch * MINUTE);
        learner.begin(Window { start, end });
        for (_, series, past) in &rollups {
            learner.window(*series, *past);
        }
        if coming.source == Source::Samples {
            for (series, time, value) in &archived.samples {
                learner.sample(*series, *time, *value);
            }
        }
        while learner.learn_minute() {}
        start = end;
    }
    assert!(learner.end() > 0);
    assert_eq!(state.pending().anomalies, [], "nothing of the past is told");
    assert_eq!(state.pending().counts.skipped_alarms, 0);
    let left = state.unlearned().and_then(|left| left.minutes);
    assert_eq!(left, None, "what was learned is not lacking any more");
    state
}

const FLEET: Fleet = Fleet {
    seed: 2,
    hosts: 8,
    minutes: 500,
    planted_from: 300,
    planted_every: 80,
};

/// The first that is planted of a fault.
fn planted(fault: Fault) -> Planted {
    let all = FLEET.planted();
    *all.iter().find(|planted| planted.fault == fault).unwrap()
}

/// A state without detection that has lived so many minutes of the fleet, as bytes, and what it has archived.
fn without_detection(minutes: i64, batch: impl Fn(i64) -> SampleBatch) -> (Vec<u8>, Archived) {
    let mut state = PartitionState::new(config(false));
    let mut archived = Archived::default();
    let told = live(&mut state, 0..minutes, batch, Some(&mut archived));
    assert_eq!(told, []);
    (state.encode(), archived)
}

#[test]
fn who_has_learned_tells_what_who_has_lived_tells() {
    let fault = planted(Fault::Leak);
    let (from, to) = (fault.start, fault.start + 30);
    let batch = |minute| FLEET.batch(minute);
    let (bytes, archived) = without_detection(from, batch);

    let mut lived = PartitionState::new(config(true));
    let before = live(&mut lived, 0..from, batch, None);
    assert_eq!(before, [], "an alarm of the past would be skipped");
    let expected = live(&mut lived, from..to, batch, None);
    let name = fleet::name(fault.host);
    let is_planted = |event: &Anomaly| event.labels.get("host.name") == Some(name.as_str());
    assert!(!expected.is_empty() && expected.iter().all(is_planted));

    let mut learned = turned_on(&bytes, &archived, AT_ONCE);
    assert_eq!(live(&mut learned, from..to, batch, None), expected);

    // Who knows nothing of the past tells nothing in this half hour.
    let never = ProcessingConfig {
        warm_start: 0,
        ..config(true)
    };
    let mut cold = PartitionState::decode(&bytes, never).unwrap();
    assert_eq!(cold.unlearned(), None);
    assert_eq!(live(&mut cold, from..to, batch, None), []);
}

#[test]
fn what_goes_on_is_told_when_it_is_seen_and_what_is_over_is_not() {
    let fault = planted(Fault::SlowDisk);
    let (from, to) = (fault.start + 25, fault.start + 37);
    let batch = |minute| FLEET.batch(minute);
    let (bytes, archived) = without_detection(from, batch);
    let mut state = turned_on(&bytes, &archived, AT_ONCE);
    let told = live(&mut state, from..to, batch, None);
    let hosts: Vec<Option<&str>> = told
        .iter()
        .map(|event| event.labels.get("host.name"))
        .collect();
    let name = fleet::name(fault.host);
    assert!(told.iter().any(|event| event.kind == AnomalyKind::Resource));
    assert!(told.iter().any(|event| event.kind == AnomalyKind::Peer));
    assert!(
        hosts.iter().all(|host| *host == Some(name.as_str())),
        "{hosts:?}"
    );
}

#[test]
fn the_same_bytes_however_the_past_comes() {
    let fleet = Fleet {
        hosts: 5,
        planted_every: i64::MAX,
        ..FLEET
    };
    let (bytes, archived) = without_detection(90, |minute| fleet.batch(minute));
    let expected = turned_on(&bytes, &archived, AT_ONCE).encode();
    for coming in [
        Coming {
            stretch: 1,
            ..AT_ONCE
        },
        Coming {
            stretch: 7,
            backwards: true,
            ..AT_ONCE
        },
        // A gauge's sample a minute says the same in all tables.
        Coming {
            source: Source::Rollups(Resolution::TenSeconds),
            ..AT_ONCE
        },
    ] {
        let again = turned_on(&bytes, &archived, coming).encode();
        assert!(again == expected, "{coming:?}");
    }
}

/// Three samples a minute of six hosts: a counter of about 100 a second, of 300 on the fifth from a minute on.
fn counted(minute: i64, off_from: i64) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for host in 0..6 {
        let labels = Labels::try_new([("host.name", fleet::name(host))]).unwrap();
        let labels = builder.label_set(&labels);
        let sent = builder.metric("sent");
        for part in 0..3 {
            let second = 60 * minute + 20 * part;
            let off = if host == 5 { second - 60 * off_from } else { 0 };
            let noise = (second * 7_919 + 31 * host as i64).rem_euclid(101);
            let total = (100 * second + 200 * off.max(0) + noise) as f64;
            let time = fleet::START + second * SECOND;
            builder.push(sent, labels, Kind::Counter, time, total);
        }
    }
    builder.finish().unwrap()
}

#[rstest]
#[case::minutes(MINUTES)]
#[case::ten_seconds(Source::Rollups(Resolution::TenSeconds))]
#[case::samples(Source::Samples)]
fn the_rate_of_a_counter_is_learned_from_what_there_is(#[case] source: Source) {
    const FROM: i64 = 220;
    let batch = |minute| counted(minute, FROM + 3);
    let (bytes, archived) = without_detection(FROM, batch);
    let coming = Coming {
        source,
        stretch: 60,
        backwards: false,
    };
    let mut state = turned_on(&bytes, &archived, coming);
    let told = live(&mut state, FROM..FROM + 15, batch, None);
    let of = |kind| -> Vec<&str> {
        let of_kind = told.iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.explanation.as_str()).collect()
    };
    let (resources, peers) = (of(AnomalyKind::Resource), of(AnomalyKind::Peer));
    assert!(
        matches!(resources[..], [only] if only.starts_with("web-5 is unlike the 5 others")),
        "{resources:?}"
    );
    // About 300 a second.
    assert!(
        matches!(peers[..], [only] if only.starts_with("sent on web-5 is at ") && only.contains(", its 5 siblings are at 98.9–101")),
        "{peers:?}"
    );
}

#[test]
fn only_what_was_not_seen_is_lacking() {
    let batch = |minute| counted(minute, i64::MAX / 120);
    let lacks = |state: &PartitionState| state.unlearned().and_then(|lacks| lacks.minutes);
    let again = |state: &PartitionState, config: ProcessingConfig| {
        PartitionState::decode(&state.encode(), config).unwrap()
    };

    // Seen, and seen again after a restart; idle for a day, and an hour between two samples.
    let mut state = PartitionState::new(config(true));
    live(&mut state, 0..90, batch, None);
    assert_eq!(lacks(&state), None);
    state.step_empty(Offset(90), fleet::START + DAY, false);
    assert_eq!(lacks(&state), None);
    let mut state = again(&state, config(true));
    live(&mut state, 1_500..1_501, batch, None);
    assert_eq!(lacks(&state), None);

    // Off for half an hour is a pause; off for longer, and what came then is lacking.
    let mut off = again(&state, config(false));
    live(&mut off, 1_501..1_530, batch, None);
    assert_eq!(lacks(&again(&off, config(true))), None);
    live(&mut off, 1_530..1_600, batch, None);
    assert_eq!(lacks(&off), None, "nobody wants to know");
    let at = |minute: i64| fleet::START + minute * MINUTE;
    let window = Window {
        start: at(1_498),
        end: at(1_597),
    };
    assert_eq!(lacks(&again(&off, config(true))), Some(window));

    // Siblings alone; no further back than is wanted, nor than two days.
    let without_peers = ProcessingConfig {
        peers: None,
        ..config(true)
    };
    let mut state = PartitionState::new(without_peers);
    live(&mut state, 0..50, batch, None);
    live(&mut state, 3_050..3_100, batch, None);
    assert_eq!(lacks(&state), None);
    let two_days = Window {
        start: at(3_097 - 2_880),
        end: at(3_097),
    };
    assert_eq!(lacks(&again(&state, config(true))), Some(two_days));
    let an_hour = ProcessingConfig {
        warm_start: HOUR,
        ..config(true)
    };
    let hour = Window {
        start: at(3_037),
        ..two_days
    };
    assert_eq!(lacks(&again(&state, an_hour)), Some(hour));
}

#[test]
fn of_many_resources_less_is_learned() {
    let mut state = PartitionState::new(config(false));
    let hosts = |_| {
        let mut builder = BatchBuilder::default();
        let load = builder.metric("load");
        for host in 0..10_000 {
            let labels = Labels::try_new([("host.name", fleet::name(host))]).unwrap();
            let labels = builder.label_set(&labels);
            builder.push(load, labels, Kind::Gauge, fleet::START, 1.0);
        }
        builder.finish().unwrap()
    };
    live(&mut state, 0..1, hosts, None);
    state.step_empty(Offset(1), fleet::START + DAY, false);
    let state = PartitionState::decode(&state.encode(), config(true)).unwrap();
    let end = fleet::START + MINUTE;
    let lacks = state.unlearned().unwrap().minutes;
    let start = end - 300 * MINUTE;
    assert_eq!(lacks, Some(Window { start, end }));
}
