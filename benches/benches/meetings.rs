//! What it costs that siblings of several partitions meet: processor time per sample and bytes of the log, of fleets of 12 and 30 hosts on four partitions.
//!
//! `cargo bench -p benches --bench meetings`. Each host tells 100 metrics every ten seconds: 40 of itself, 60 of twenty disks and processors; constants,
//! counters, gauges with two decimals and noise. After 40 minutes the cheapest of three times 20 is told, with meetings and without, in the processor time of
//! the steps of all partitions together. Records are compressed one by one, as the embedded log does, and all of a minute and partition together, about as Kafka's
//! producers do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use benches::process::thread_cpu_ns;
use processors::{PartitionState, ProcessingConfig};
use schemas::time::{DAY, MINUTE, SECOND};
use schemas::{BatchBuilder, Guests, Kind, Labels, Micros, Offset, SampleBatch};

const START: Micros = 20_000 * DAY;
const PARTITIONS: u32 = 4;
const METRICS: usize = 100;
const STEP: Micros = 10 * SECOND;
const WARM_UP_MINUTES: i64 = 40;
const MEASURED_MINUTES: i64 = 20;
const RUNS: i64 = 3;

fn main() {
    println!(
        "{:>6} {:>9} {:>12} {:>12} {:>14} {:>14}",
        "hosts", "meetings", "ns/sample", "rows/sample", "bytes one by one", "bytes together"
    );
    for hosts in [12, 30] {
        for meetings in [false, true] {
            let figures = live(hosts, meetings);
            println!(
                "{hosts:>6} {meetings:>9} {:>12.0} {:>12.3} {:>14} {:>14}",
                figures.ns as f64 / figures.samples as f64 * RUNS as f64,
                figures.rows as f64 / figures.samples as f64,
                format!("{} + {}", figures.single[0], figures.single[1]),
                format!("{} + {}", figures.together[0], figures.together[1]),
            );
        }
    }
}

/// What was measured: the processor time of the cheapest run, all else of all runs. Bytes: of records of samples, and of guests.
#[derive(Default)]
struct Figures {
    ns: u64,
    samples: usize,
    rows: usize,
    single: [usize; 2],
    together: [usize; 2],
}

fn live(hosts: usize, meetings: bool) -> Figures {
    let config = ProcessingConfig {
        forecasting: None,
        siblings_across_partitions: meetings,
        ..ProcessingConfig::default()
    };
    let mut states: Vec<(PartitionState, u64)> = (0..PARTITIONS)
        .map(|at| PartitionState::new(config.clone()).with_place(at, PARTITIONS))
        .map(|state| (state, 0))
        .collect();
    let mut figures = Figures::default();
    let (mut random, mut runs) = (1, [0; RUNS as usize]);
    for minute in 0..WARM_UP_MINUTES + RUNS * MEASURED_MINUTES {
        let is_measured = minute >= WARM_UP_MINUTES;
        let run = ((minute - WARM_UP_MINUTES) / MEASURED_MINUTES).max(0) as usize;
        let mut told: Vec<(u32, Guests)> = Vec::new();
        for (at, (state, offset)) in states.iter_mut().enumerate() {
            let here: Vec<usize> = (0..hosts).filter(|host| host % 4 == at).collect();
            let records: Vec<(Micros, SampleBatch)> = (0..MINUTE / STEP)
                .map(|step| START + minute * MINUTE + step * STEP)
                .map(|time| (time, scrape(&here, time, &mut random)))
                .collect();
            if is_measured {
                figures.weigh(0, records.iter().map(|(_, b)| b.encode().unwrap()));
                figures.samples += records.iter().map(|(_, b)| b.rows()).sum::<usize>();
            }
            let started = thread_cpu_ns();
            for (time, batch) in &records {
                state.step(Offset(*offset), *time, batch);
                *offset += 1;
            }
            told.extend(state.pending().guests.iter().cloned());
            state.settle();
            runs[run] += u64::from(is_measured) * (thread_cpu_ns() - started);
        }
        for home in 0..PARTITIONS {
            let values: Vec<Vec<u8>> = told
                .iter()
                .filter(|(to, _)| *to == home)
                .map(|(_, guests)| guests.encode())
                .collect();
            let (state, offset) = &mut states[home as usize];
            let started = thread_cpu_ns();
            for value in &values {
                let guests = Guests::decode(value).unwrap();
                let now = START + (minute + 1) * MINUTE - SECOND;
                state.step_guests(Offset(*offset), now, &guests);
                *offset += 1;
                figures.rows += usize::from(is_measured) * guests.rows().len();
            }
            state.settle();
            runs[run] += u64::from(is_measured) * (thread_cpu_ns() - started);
            if is_measured {
                figures.weigh(1, values.into_iter());
            }
        }
    }
    figures.ns = runs.into_iter().min().unwrap_or_default();
    figures
}

impl Figures {
    /// Adds the sizes of the records of a minute and partition.
    fn weigh(&mut self, kind: usize, values: impl Iterator<Item = Vec<u8>>) {
        let mut all = Vec::new();
        for value in values {
            self.single[kind] += zstd::bulk::compress(&value, 1).unwrap().len();
            all.extend(value);
        }
        if !all.is_empty() {
            self.together[kind] += zstd::bulk::compress(&all, 1).unwrap().len();
        }
    }
}

/// One value of each series of some hosts.
fn scrape(hosts: &[usize], time: Micros, random: &mut u64) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    let seconds = (time - START) / SECOND;
    for host in hosts {
        let name = format!("host-{host}");
        for metric in 0..METRICS {
            // Three metrics of each of twenty parts, forty of the host.
            let part = (metric >= 40).then(|| format!("part-{}", (metric - 40) / 3));
            let tags = [
                ("host.name", name.as_str()),
                ("service.name", "shop"),
                ("deployment.environment.name", "production"),
                ("cloud.region", "eu-central-1"),
                ("device", part.as_deref().unwrap_or_default()),
            ];
            let labels = builder.label_set(&Labels::try_new(tags).unwrap());
            *random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let noise = (*random >> 40) as f64 / (1_u64 << 24) as f64;
            let (kind, value) = match metric % 10 {
                0..4 => (Kind::Gauge, [0.0, 1.0, 4096.0, 65_536.0][metric % 4]),
                4..7 => (
                    Kind::Counter,
                    (seconds as f64 * 20.0 + 50.0 * noise).floor(),
                ),
                7..9 => (Kind::Gauge, (5_000.0 + 1_000.0 * noise).round() / 100.0),
                _ => (Kind::Gauge, noise),
            };
            let metric = match part {
                None => format!("system.group{}.metric{metric}", metric / 10),
                Some(_) => format!("system.part.metric{}", metric % 3),
            };
            let metric = builder.metric(&metric);
            builder.push(metric, labels, kind, time, value);
        }
    }
    builder.finish().unwrap()
}
