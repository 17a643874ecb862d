//! Hosts that share a load, with their own sizes, noise and jobs, and what is planted in them: a pure function of a seed.

use std::f64::consts::TAU;

use schemas::time::{HOUR, MINUTE};
use schemas::{BatchBuilder, Kind, Labels, Micros, SampleBatch};

/// Midnight.
pub(crate) const START: Micros = 500_016 * HOUR;
/// How long it lasts, minutes.
const PLANTED_FOR: i64 = 60;

/// What is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Memory is lost over an hour, and pages go to the disk from its third part on.
    Leak,
    /// The disk is slow: waiting, processors and latency are up at the usual load.
    SlowDisk,
    /// Processors are as busy as at the peak of the day, while the network is as idle as at night.
    Combination,
}

/// Where and when something is planted, minutes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planted {
    pub(crate) fault: Fault,
    pub(crate) host: u64,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// A fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fleet {
    pub(crate) seed: u64,
    pub(crate) hosts: u64,
    pub(crate) minutes: i64,
    /// The first minute in which anything is planted.
    pub(crate) planted_from: i64,
    /// How far apart what is planted begins, minutes; `i64::MAX`: nothing is planted.
    pub(crate) planted_every: i64,
}

pub(crate) fn name(host: u64) -> String {
    format!("web-{host}")
}

fn mix(a: u64, b: u64) -> u64 {
    let mut mixed = a
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(b.wrapping_add(1).wrapping_mul(0xD1B5_4A32_D192_ED03));
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Uniform in 0..1.
fn uniform(seed: u64, key: u64) -> f64 {
    (mix(seed, key) >> 11) as f64 / (1_u64 << 53) as f64
}

/// About normal, σ 1: the sum of four uniform numbers.
fn gauss(seed: u64, key: u64) -> f64 {
    let sum: f64 = (0..4).map(|i| uniform(mix(seed, key), i)).sum();
    (sum - 2.0) * 3.0_f64.sqrt()
}

/// A wandering value in about −2..2, smooth over so many minutes.
fn wander(seed: u64, minute: i64, period: i64) -> f64 {
    let (step, rest) = (minute.div_euclid(period), minute.rem_euclid(period));
    let share = rest as f64 / period as f64;
    let share = share * share * (3.0 - 2.0 * share);
    let at = |step: i64| gauss(seed, step as u64);
    at(step) * (1.0 - share) + at(step + 1) * share
}

/// The load that all share at a time of day, as a share of its mean.
fn season(minute: i64) -> f64 {
    1.0 - 0.5 * (TAU * minute as f64 / 1440.0).cos()
}

impl Fleet {
    /// What is planted and ends in time, in turn of each kind, on any host.
    pub(crate) fn planted(&self) -> Vec<Planted> {
        let faults = [Fault::Leak, Fault::SlowDisk, Fault::Combination];
        let starts = (self.planted_from..).step_by(self.planted_every as usize);
        let count = if self.planted_every == i64::MAX {
            0
        } else {
            usize::MAX
        };
        starts
            .enumerate()
            .take(count)
            .map(|(i, start)| Planted {
                fault: faults[i % faults.len()],
                // In turn: an event of yesterday does not silence that of today.
                host: (5 * i as u64 + self.seed) % self.hosts,
                start,
                end: start + PLANTED_FOR,
            })
            .take_while(|planted| planted.end <= self.minutes)
            .collect()
    }

    /// What all hosts report of a minute.
    pub(crate) fn batch(&self, minute: i64) -> SampleBatch {
        let mut builder = BatchBuilder::default();
        let planted = self.planted();
        for host in 0..self.hosts {
            let now = planted.iter().find(|planted| {
                planted.host == host && (planted.start..planted.end).contains(&minute)
            });
            for (metric, label, value) in self.reported(host, minute, now) {
                let pairs = [("host.name", name(host)), (label.0, label.1.to_owned())];
                let pairs = pairs.iter().filter(|(key, _)| !key.is_empty());
                let labels = Labels::try_new(pairs.map(|(key, value)| (*key, value.as_str())));
                let labels = builder.label_set(&labels.unwrap());
                let metric = builder.metric(metric);
                builder.push(metric, labels, Kind::Gauge, START + minute * MINUTE, value);
            }
        }
        builder.finish().unwrap()
    }

    /// Metric, label, value of a host in a minute.
    fn reported(
        &self,
        host: u64,
        minute: i64,
        planted: Option<&Planted>,
    ) -> Vec<(&'static str, (&'static str, &'static str), f64)> {
        let seed = mix(self.seed, 1_000 + host);
        let n = |key: u64| gauss(mix(seed, key), minute as u64);
        let fault = |fault: Fault| planted.filter(|planted| planted.fault == fault);
        // A third of the machines are larger; no two are alike.
        let size = if host % 3 == 2 { 1.6 } else { 1.0 } * (0.85 + 0.3 * uniform(seed, 1));
        let shared = season(minute) * (1.0 + 0.05 * wander(self.seed, minute, 30));
        let own = 1.0 + 0.1 * wander(mix(seed, 2), minute, 20) + 0.04 * n(3);
        let load = (shared * own).max(0.1);
        // Each hour a job, and now and then a burst in one place.
        let job = (minute + 7 * host as i64).rem_euclid(60) < 3;
        let slot = minute.div_euclid(240) as u64;
        let burst_at = (uniform(mix(seed, 4), slot) * 236.0) as i64;
        let bursts = uniform(mix(seed, 5), slot) < 0.3
            && (0..3).contains(&(minute.rem_euclid(240) - burst_at));
        let burst = |place: u64| {
            if bursts && mix(mix(seed, 6), slot) % 4 == place {
                2.5
            } else {
                1.0
            }
        };

        let combined = fault(Fault::Combination).is_some();
        let (cpu_load, net_load) = if combined {
            (1.5 * own, 0.5 * own)
        } else {
            (load, load)
        };
        let mut cpu = 0.08 + 0.28 * cpu_load + 0.01 * n(7) + if job { 0.1 } else { 0.0 };
        let mut wait = 0.01 + 0.003 * n(8).abs();
        let mut latency = 0.05 * (1.0 + 0.4 * load * load) * (1.0 + 0.08 * n(9)) * burst(0);
        let mut disk = 3e6 * size * load * (1.0 + 0.15 * n(10)) * if job { 3.0 } else { burst(1) };
        let mut memory = 0.35
            + 0.2 * uniform(seed, 11)
            + 0.05 * load
            + 0.015 * wander(mix(seed, 12), minute, 360)
            + 0.002 * n(13);
        let mut swap = 0.02 + 0.004 * wander(mix(seed, 14), minute, 720);
        if let Some(leak) = fault(Fault::Leak) {
            let share = (minute - leak.start) as f64 / PLANTED_FOR as f64;
            memory = (memory + 0.45 * share).min(0.98);
            swap += (0.6 * (share - 0.33)).max(0.0);
            disk += (4e6 * (share - 0.33)).max(0.0);
        }
        if fault(Fault::SlowDisk).is_some() {
            cpu += 0.1;
            wait += 0.1 + 0.02 * n(15);
            latency *= 1.8;
            disk *= 1.5;
        }
        cpu = cpu.clamp(0.0, 0.98);
        vec![
            ("system.cpu.utilization", ("", ""), cpu),
            ("system.cpu.utilization", ("cpu.mode", "iowait"), wait),
            (
                "system.cpu.load_average.1m",
                ("", ""),
                8.0 * size * cpu + 0.2 * n(16),
            ),
            ("system.memory.utilization", ("", ""), memory),
            ("system.paging.utilization", ("", ""), swap),
            ("system.disk.io", ("", ""), disk),
            (
                "system.network.io",
                ("network.io.direction", "receive"),
                2.4e6 * size * net_load * (1.0 + 0.06 * n(17)) * burst(2),
            ),
            (
                "system.network.io",
                ("network.io.direction", "transmit"),
                9e6 * size * net_load * (1.0 + 0.06 * n(18)) * burst(3),
            ),
            ("http.server.request.duration", ("", ""), latency),
            (
                "system.process.count",
                ("", ""),
                (190.0 + 12.0 * wander(mix(seed, 19), minute, 60)).round(),
            ),
        ]
    }
}
