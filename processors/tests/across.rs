//! How much of what is planted in simulated fleets the forests and the siblings find, and how often they cry wolf.
//!
//! `TIDEWATCH_SIMULATED_DAYS=30 cargo test --workspace --test across -- --nocapture` runs longer than the test needs, and prints a table.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use fleet::{Fault, Fleet, Planted};
use processors::{PartitionState, ProcessingConfig};
use schemas::time::{MINUTE, SECOND, rfc3339};
use schemas::{Anomaly, AnomalyKind, Offset};

#[path = "across/fleet.rs"]
mod fleet;

/// So many minutes after the end of something planted, events are still of it.
const ECHO: i64 = 60;

/// What came of a fleet.
#[derive(Debug, Default)]
struct Outcome {
    /// By fault: planted, found by an event of kind `resource`, by one of kind `peer`, by either.
    found: BTreeMap<Fault, [u32; 4]>,
    /// Minutes from the beginning to the first event, of what was found.
    delays: Vec<i64>,
    /// Events of kind `resource` and of kind `peer` about what was not planted.
    false_events: [u32; 2],
    host_minutes: i64,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        for (fault, counts) in other.found {
            let sum = self.found.entry(fault).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        self.delays.extend(other.delays);
        self.false_events[0] += other.false_events[0];
        self.false_events[1] += other.false_events[1];
        self.host_minutes += other.host_minutes;
    }

    /// Events of each kind per host and 30 days.
    fn false_per_month(&self) -> [f64; 2] {
        let months = self.host_minutes as f64 / 43_200.0;
        self.false_events.map(|events| f64::from(events) / months)
    }
}

/// Lets a fleet live, and compares what is told with what was planted.
fn live(fleet: &Fleet) -> Outcome {
    let config = ProcessingConfig {
        forecasting: None,
        ..ProcessingConfig::default()
    };
    let mut state = PartitionState::new(config);
    let mut told: Vec<Anomaly> = Vec::new();
    for minute in 0..fleet.minutes {
        let log_time = fleet::START + minute * MINUTE + SECOND;
        state.step(Offset(minute as u64), log_time, &fleet.batch(minute));
        told.extend(state.pending().anomalies.iter().cloned());
        state.settle();
    }
    let planted = fleet.planted();
    let mut outcome = Outcome {
        host_minutes: fleet.hosts as i64 * fleet.minutes,
        ..Outcome::default()
    };
    let mut first: Vec<[Option<i64>; 2]> = vec![[None; 2]; planted.len()];
    for event in &told {
        let kind = match event.kind {
            AnomalyKind::Resource => 0,
            AnomalyKind::Peer => 1,
            _ => continue,
        };
        let minute = (0..fleet.minutes)
            .find(|minute| rfc3339(fleet::START + minute * MINUTE) >= event.time)
            .unwrap();
        let of = |planted: &&(usize, &Planted)| {
            event.labels.get("host.name") == Some(fleet::name(planted.1.host).as_str())
                && (planted.1.start..planted.1.end + ECHO).contains(&minute)
        };
        match planted.iter().enumerate().find(|planted| of(&planted)) {
            Some((at, planted)) if minute < planted.end + 5 => {
                first[at][kind].get_or_insert(minute - planted.start);
            }
            Some(_) => {}
            None => {
                outcome.false_events[kind] += 1;
                println!("  false: {} {}", event.time, event.explanation);
            }
        }
    }
    for (planted, first) in planted.iter().zip(first) {
        let counts = outcome.found.entry(planted.fault).or_default();
        counts[0] += 1;
        counts[1] += u32::from(first[0].is_some());
        counts[2] += u32::from(first[1].is_some());
        let either = first.into_iter().flatten().min();
        counts[3] += u32::from(either.is_some());
        outcome.delays.extend(either);
    }
    outcome
}

#[test]
fn the_odd_host_of_a_fleet_is_found_and_the_others_stay_quiet() {
    let days = std::env::var("TIDEWATCH_SIMULATED_DAYS").ok();
    let days = days.map(|days| days.parse::<i64>().expect("days: a number"));
    let fleet = |seed, hosts, planted_every| Fleet {
        seed,
        hosts,
        minutes: days.map_or(1500, |days| days * 1440),
        planted_from: 1000,
        planted_every,
    };
    let fleets = match days {
        None => vec![fleet(2, 12, 150)],
        Some(_) => [(1, 8), (2, 12), (3, 24), (4, 40)]
            .into_iter()
            .flat_map(|(seed, hosts)| [500, i64::MAX].map(|every| fleet(seed, hosts, every)))
            .collect(),
    };
    let mut all = Outcome::default();
    for fleet in fleets {
        let outcome = live(&fleet);
        println!("{fleet:?}\n  {outcome:?}");
        all.add(outcome);
    }
    println!(
        "found (planted, by resource, by peer, by either): {:?}",
        all.found
    );
    println!("false per host and month: {:.2?}", all.false_per_month());
    for (fault, [planted, by_resource, _, either]) in &all.found {
        assert!(
            5 * by_resource >= 4 * planted && 5 * either >= 4 * planted,
            "{fault:?}"
        );
    }
    // A day and a half of twelve hosts are not a month of one: there, one event is the most.
    let most = (all.host_minutes as f64 / 43_200.0).max(1.0) as u32;
    assert!(
        all.false_events.iter().all(|events| *events <= most),
        "{all:?}"
    );
}
