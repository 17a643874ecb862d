//! What judging one sample costs, in processor time, and what is remembered of a series, in bytes: all detectors of a series, and nothing around them.
//!
//! `cargo bench -p benches --bench detect -- 1000 100000 1000000`: so many series in turn, as samples come, so that a million of them are not in the cache.
//! A few hundred of them live their past by samples an hour apart, each with its own noise; the others are their copies, and go on by themselves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::alloc::System;
use std::hint::black_box;

use analytics::{DetectorConfig, SeriesDetectors};
use benches::process::thread_cpu_ns;
use schemas::Micros;
use schemas::time::{DAY, HOUR, SECOND};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A Monday.
const START: Micros = 20_002 * DAY;
/// Series that live their past.
const LIVED: usize = 256;
/// How far apart samples are in what is measured.
const STEP: Micros = 10 * SECOND;
/// Samples that are measured at a time, at least, and the least of so many times is told.
const SAMPLES_MIN: usize = 2_000_000;
const RUNS: usize = 5;

fn main() {
    let sizes = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    for series in sizes {
        println!("{:>9} {:>9}  {series} series", "ns/sample", "B/series");
        for (name, past, course) in [
            ("without a season", 60 * HOUR, 0.0),
            ("with a daily profile", 60 * HOUR, 20.0),
            ("with a weekly profile", 22 * DAY, 20.0),
        ] {
            measure(series, name, past, course);
        }
    }
}

/// Numbers from 0 to 1 that no branch predictor learns.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }

    /// Of a bell's shape around 0, from −2 to 2.
    fn bell(&mut self) -> f64 {
        (0..4).map(|_| self.next()).sum::<f64>() - 2.0
    }
}

/// What a series is about at a time: on working days it swings by `course`.
fn expected(time: Micros, course: f64) -> f64 {
    let share = (time % DAY) as f64 / DAY as f64;
    let works = (time - START) / DAY % 7 < 5;
    let swing = if works { course } else { 0.3 * course };
    50.0 + swing * (share * std::f64::consts::TAU).sin()
}

fn measure(series: usize, name: &str, past: Micros, course: f64) {
    let config = DetectorConfig::default();
    let mut noise = Noise(1);
    let lived: Vec<SeriesDetectors> = (0..LIVED)
        .map(|_| {
            let mut detectors = SeriesDetectors::default();
            for hour in 0..past / HOUR {
                let time = START + hour * HOUR;
                detectors.observe(&config, time, expected(time, course) + noise.bell());
            }
            detectors
        })
        .collect();
    let region = Region::new(ALLOCATOR);
    let mut fleet: Vec<SeriesDetectors> = lived.iter().cycle().take(series).cloned().collect();
    let change = region.change();
    let bytes = change.bytes_allocated - change.bytes_deallocated;
    let values: Vec<f64> = (0..1 << 16).map(|_| noise.bell()).collect();
    let mut values = values.iter().cycle();
    let scrapes = SAMPLES_MIN.div_ceil(series);
    let mut time = START + past;
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let started = thread_cpu_ns();
        for _ in 0..scrapes {
            time += STEP;
            let expected = expected(time, course);
            for (detectors, value) in fleet.iter_mut().zip(&mut values) {
                black_box(detectors.observe(&config, time, expected + value));
            }
        }
        let spent = thread_cpu_ns() - started;
        least = least.min(spent as f64 / (scrapes * series) as f64);
    }
    let per_series = bytes as f64 / series as f64;
    println!("{least:9.0} {per_series:9.0}  {name}");
}
