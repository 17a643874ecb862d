//! Siblings that live in several partitions are compared in one of them: the odd one is told as if all lived together, once, whatever happens to the
//! records by which partitions tell each other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{HOUR, MINUTE, SECOND, rfc3339};
use schemas::{
    Anomaly, AnomalyKind, BatchBuilder, Guests, Kind, Labels, Micros, NextOffset, Offset,
    SampleBatch,
};

const START: Micros = 500_000 * HOUR;
const MINUTES: i64 = 110;
/// From this minute on, one host is off: `web-3` in its gauge, `web-5` in its counter.
const OFF: i64 = 80;
/// So many minutes pass at the end, in which only clocks go on.
const IDLE: i64 = 15;

/// Noise in −1..1, the same each time.
fn noise(seed: i64) -> f64 {
    let mut mixed = (seed as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 32)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// Three samples a minute of a gauge and a counter of each host, and one of a series that names no instance.
fn batch(hosts: &[i64], minute: i64) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    let nobody = builder.label_set(&Labels::try_new([("service.name", "shop")]).unwrap());
    for host in hosts {
        let labels = [
            ("host.name", format!("web-{host}")),
            ("core", "0".to_owned()),
        ];
        let labels = builder.label_set(&Labels::try_new(labels).unwrap());
        let [cpu, sent, orders] = ["cpu", "sent", "orders"].map(|name| builder.metric(name));
        for part in 0..3 {
            let time = START + minute * MINUTE + part * 20 * SECOND;
            let level =
                40.0 + 10.0 * (minute as f64 / 60.0).sin() + noise(host * 7919 + minute * 3 + part);
            let is_off = |which| minute >= OFF && *host == which;
            let value = level * if is_off(3) { 2.0 } else { 1.0 };
            builder.push(cpu, labels, Kind::Gauge, time, value);
            let seconds = (minute * 60 + part * 20) as f64;
            let more = if is_off(5) {
                seconds - OFF as f64 * 60.0
            } else {
                0.0
            };
            let total = 100.0 * seconds + 200.0 * more + noise(host + minute);
            builder.push(sent, labels, Kind::Counter, time, total);
            builder.push(orders, nobody, Kind::Gauge, time, 9.0);
        }
    }
    builder.finish().unwrap()
}

/// A record of a partition's log.
#[derive(Clone)]
enum Entry {
    Samples(SampleBatch),
    Guests(Vec<u8>),
    Verdict(Anomaly),
    Tick,
}

/// What happens to a fleet's records and to the processes.
#[derive(Clone, Copy)]
struct Story {
    partitions: u32,
    hosts: i64,
    /// How often each record of guests is appended.
    copies: usize,
    /// How many minutes later than it is told.
    delay: i64,
    /// After so many minutes all partitions are restored from a snapshot some minutes old, and step over their logs again from there; 0: never.
    crash_every: i64,
}

const PLAIN: Story = Story {
    partitions: 4,
    hosts: 12,
    copies: 1,
    delay: 0,
    crash_every: 0,
};

/// One partition: its log, its state, and its last snapshot.
struct Partition {
    log: Vec<(Micros, Entry)>,
    state: PartitionState,
    /// Its bytes.
    snapshot: Vec<u8>,
    told: Vec<Anomaly>,
}

/// What came of a story.
struct Outcome {
    /// Events about peers, in order of series and time.
    told: Vec<Anomaly>,
    /// Records of guests, and their rows.
    sent: (usize, usize),
}

impl Story {
    fn state(&self, partition: u32, snapshot: Option<&[u8]>) -> PartitionState {
        let config = ProcessingConfig {
            forecasting: None,
            ..ProcessingConfig::default()
        };
        let state = match snapshot {
            None => PartitionState::new(config),
            Some(bytes) => PartitionState::decode(bytes, config).unwrap(),
        };
        state.with_place(partition, self.partitions)
    }

    fn live(&self) -> Outcome {
        let mut all: Vec<Partition> = (0..self.partitions)
            .map(|partition| Partition {
                log: Vec::new(),
                state: self.state(partition, None),
                snapshot: self.state(partition, None).encode(),
                told: Vec::new(),
            })
            .collect();
        // Due minute, partition, record.
        let mut under_way: Vec<(i64, u32, Entry)> = Vec::new();
        let mut sent = (0, 0);
        for minute in 0..MINUTES + IDLE {
            let now = START + (minute + 1) * MINUTE;
            for (at, partition) in (0..).zip(&mut all) {
                let hosts = 0..self.hosts;
                let hosts: Vec<i64> = hosts
                    .filter(|host| host % i64::from(self.partitions) == at)
                    .collect();
                let entry = if minute < MINUTES && !hosts.is_empty() {
                    Entry::Samples(batch(&hosts, minute))
                } else {
                    Entry::Tick
                };
                partition.log.push((now + at * SECOND, entry));
            }
            let crashes = self.crash_every > 0 && minute % self.crash_every == self.crash_every - 1;
            if crashes {
                for (at, partition) in (0..).zip(&mut all) {
                    partition.state = self.state(at, Some(&partition.snapshot));
                }
            } else if minute % 7 == 0 {
                for partition in &mut all {
                    partition.snapshot = partition.state.encode();
                }
            }
            // Guests are answered by verdicts, and those by nothing.
            for round in 0..3 {
                for partition in &mut all {
                    for (to, record) in partition.catch_up() {
                        if let Entry::Guests(bytes) = &record {
                            sent.0 += 1;
                            sent.1 += Guests::decode(bytes).unwrap().rows().len();
                        }
                        under_way.push((minute + self.delay, to, record));
                    }
                }
                under_way.retain(|(due, to, record)| {
                    let is_due = *due <= minute && round < 2;
                    for copy in 0..if is_due { self.copies } else { 0 } {
                        let at = now + (10 + copy as i64) * SECOND;
                        all[*to as usize].log.push((at, record.clone()));
                    }
                    !is_due
                });
            }
        }
        for (at, partition) in (0..).zip(&all) {
            let mut again = self.state(at, None);
            partition.step_over(&mut again);
            assert!(
                again.encode() == partition.state.encode(),
                "partition {at} is in another state than one that never crashed"
            );
        }
        for (at, partition) in (0_i64..).zip(&all) {
            for event in &partition.told {
                let host = event.labels.get("host.name").unwrap();
                let host: i64 = host.trim_start_matches("web-").parse().unwrap();
                assert_eq!(host % i64::from(self.partitions), at, "{event:?}");
            }
        }
        let mut told: Vec<Anomaly> = all.iter().flat_map(|p| p.told.iter().cloned()).collect();
        told.sort_by_key(|event| (event.series_id, event.time.clone()));
        Outcome { told, sent }
    }
}

impl Partition {
    /// Lets a state step over what the log has more.
    fn step_over(&self, state: &mut PartitionState) {
        let from = state.next_offset().0 as usize;
        for (offset, (time, entry)) in self.log.iter().enumerate().skip(from) {
            let offset = Offset(offset as u64);
            match entry {
                Entry::Samples(batch) => state.step(offset, *time, batch),
                Entry::Guests(bytes) => {
                    state.step_guests(offset, *time, &Guests::decode(bytes).unwrap());
                }
                Entry::Verdict(event) => state.step_verdict(offset, *time, event.clone()),
                Entry::Tick => state.step_empty(offset, *time, false),
            }
        }
    }

    /// Steps over what the log has more; keeps the events that are new, and hands out what others are to be told.
    fn catch_up(&mut self) -> Vec<(u32, Entry)> {
        let mut state = self.state.clone();
        self.step_over(&mut state);
        self.state = state;
        for event in &self.state.pending().anomalies {
            let known = self
                .told
                .iter()
                .find(|known| known.event_id == event.event_id);
            match known {
                // Told again after a crash: it has to be the same event.
                Some(known) => assert_eq!(known, event),
                None if event.kind == AnomalyKind::Peer => self.told.push(event.clone()),
                None => {}
            }
        }
        let pending = self.state.pending();
        let guests = pending.guests.iter();
        let guests = guests.map(|(to, guests)| (*to, Entry::Guests(guests.encode())));
        let verdicts = pending.verdicts.iter();
        let verdicts = verdicts.map(|(to, _, event)| (*to, Entry::Verdict(event.clone())));
        let records = guests.chain(verdicts).collect();
        self.state.settle();
        records
    }
}

/// Whom events are about: metric, host, minute.
fn whom(events: &[Anomaly]) -> Vec<(String, String, String)> {
    let whom = events.iter().map(|event| {
        let host = event.labels.get("host.name").unwrap_or_default();
        (event.metric.clone(), host.to_owned(), event.time.clone())
    });
    whom.collect()
}

#[test]
fn the_odd_one_is_told_as_if_all_lived_together() {
    let together = Story {
        partitions: 1,
        ..PLAIN
    };
    let expected = together.live();
    assert_eq!(expected.sent, (0, 0), "one partition tells nobody anything");
    assert_eq!(expected.told.len(), 2, "{:?}", whom(&expected.told));
    let spread = PLAIN.live();
    assert_eq!(whom(&spread.told), whom(&expected.told));
    let ids = |events: &[Anomaly]| -> BTreeSet<String> {
        events.iter().map(|event| event.event_id.clone()).collect()
    };
    assert_eq!(ids(&spread.told), ids(&expected.told));
    for (spread, expected) in spread.told.iter().zip(&expected.told) {
        assert_eq!(
            (spread.completeness, spread.alarm, &spread.labels),
            (expected.completeness, expected.alarm, &expected.labels)
        );
        // Guests come as singles, and miss the first minute.
        for (spread, expected) in [
            (spread.observed.unwrap(), expected.observed.unwrap()),
            (spread.expected, expected.expected),
            (spread.lower, expected.lower),
            (spread.upper, expected.upper),
        ] {
            assert!(
                (spread / expected - 1.0).abs() < 0.03,
                "{spread} {expected}"
            );
        }
        assert!(
            spread.explanation.contains(", its 11 siblings are at "),
            "{}",
            spread.explanation
        );
    }
    // Of each host and minute two rows from three of four partitions, which tell one record.
    let homes = 3 * (MINUTES + IDLE);
    assert!(spread.sent.0 <= homes as usize, "{:?}", spread.sent);
    assert_eq!(
        spread.sent.1,
        3 * 3 * 2 * MINUTES as usize,
        "{:?}",
        spread.sent
    );
}

#[test]
fn what_comes_twice_late_or_again_is_told_once() {
    let expected = PLAIN.live();
    for story in [
        Story { copies: 2, ..PLAIN },
        Story { delay: 4, ..PLAIN },
        Story {
            crash_every: 10,
            ..PLAIN
        },
        Story {
            copies: 2,
            delay: 2,
            crash_every: 7,
            ..PLAIN
        },
    ] {
        let outcome = story.live();
        let Story {
            copies,
            delay,
            crash_every,
            ..
        } = story;
        let told = whom(&outcome.told);
        assert_eq!(
            told,
            whom(&expected.told),
            "{copies} copies, {delay} min late, a crash every {crash_every} min"
        );
        if delay == 0 {
            assert_eq!(outcome.told, expected.told);
        }
    }
}

#[test]
fn guests_who_come_too_late_are_left_out() {
    let story = Story { delay: 8, ..PLAIN };
    assert_eq!(whom(&story.live().told), []);
}

#[test]
fn a_partition_with_enough_members_keeps_them() {
    let story = Story {
        partitions: 2,
        hosts: 16,
        ..PLAIN
    };
    let outcome = story.live();
    assert_eq!(outcome.sent.1, 0);
    assert_eq!(outcome.told.len(), 2, "{:?}", whom(&outcome.told));
    assert!(outcome.told[0].explanation.contains("its 7 siblings"));
}

/// Six hosts are too few to be certain that they are enough, and enough to be compared.
#[test]
fn those_who_know_their_places_stay_together() {
    let hosts: Vec<i64> = (0..6).collect();
    let labels = Labels::try_new([("host.name", "x"), ("core", "0")]).unwrap();
    let home = (analytics::peers::meeting_hash(&labels).unwrap() % 2) as u32;
    let live = |is_alone: bool, minutes: i64| {
        let story = Story {
            partitions: if is_alone { 1 } else { 2 },
            ..PLAIN
        };
        let mut state = story.state(1 - home, None);
        for minute in 0..minutes {
            let now = START + (minute + 1) * MINUTE;
            state.step(Offset(minute as u64), now, &batch(&hosts, minute));
        }
        state.settle();
        // Now it is one of two.
        let mut state = state.with_place(1 - home, 2);
        for minute in minutes..minutes + 3 {
            let now = START + (minute + 1) * MINUTE;
            state.step(Offset(minute as u64), now, &batch(&hosts, minute));
        }
        state.pending().guests.len()
    };
    assert_eq!([live(true, 5), live(false, 5)], [0, 3]);
}

#[test]
fn who_has_left_is_not_waited_for_longer_than_said() {
    // Of three partitions, one has a single host, which falls silent: the others go on being compared.
    let mut states: Vec<PartitionState> = (0..3).map(|at| PLAIN.state(at, None)).collect();
    let home = {
        let labels = Labels::try_new([("host.name", "x"), ("core", "0")]).unwrap();
        (analytics::peers::meeting_hash(&labels).unwrap() % 3) as usize
    };
    states = (0..3)
        .zip(states)
        .map(|(at, state)| state.with_place(at, 3))
        .collect();
    let others: Vec<usize> = (0..3).filter(|at| *at != home).collect();
    let mut offsets = [0_u64; 3];
    let (mut told, mut silent_from) = (Vec::new(), None);
    for minute in 0..MINUTES {
        let now = START + (minute + 1) * MINUTE;
        let hosts: [&[i64]; 3] = [&[0, 1, 2, 3], &[4, 5, 6], &[7]];
        let (mut guests, mut verdicts) = (Vec::new(), Vec::new());
        for (place, at) in [home, others[0], others[1]].into_iter().enumerate() {
            let is_silent = place == 2 && minute >= 60;
            if is_silent {
                silent_from.get_or_insert(minute);
                continue;
            }
            states[at].step(Offset(offsets[at]), now, &batch(hosts[place], minute));
            offsets[at] += 1;
            guests.extend(states[at].pending().guests.iter().cloned());
            told.extend(states[at].pending().anomalies.iter().cloned());
            states[at].settle();
        }
        for (to, record) in guests {
            let to = to as usize;
            states[to].step_guests(Offset(offsets[to]), now + SECOND, &record);
            offsets[to] += 1;
            told.extend(states[to].pending().anomalies.iter().cloned());
            verdicts.extend(states[to].pending().verdicts.iter().cloned());
            states[to].settle();
        }
        for (to, _, verdict) in verdicts {
            let to = to as usize;
            states[to].step_verdict(Offset(offsets[to]), now + 2 * SECOND, verdict);
            offsets[to] += 1;
            told.extend(states[to].pending().anomalies.iter().cloned());
            states[to].settle();
        }
    }
    told.retain(|event| event.kind == AnomalyKind::Peer);
    let mut whom = whom(&told);
    whom.sort();
    assert_eq!(whom.len(), 2, "{whom:?}");
    assert_eq!(whom[0].1, "web-3");
    // Off since minute 80, told at the end of the fifth or sixth minute, when the silent one is no longer waited for.
    let times = [85, 86].map(|minute| rfc3339(START + minute * MINUTE));
    assert!(
        whom.iter().all(|(_, _, time)| times.contains(time)),
        "{whom:?}"
    );
    assert_eq!(states[home].next_offset(), NextOffset(offsets[home]));
}
