//! Generated disks, and how often "full within 24 hours" is cried in vain: by us, and by `predict_linear(level[6h])` at the same recall.
//!
//! Twelve shapes, each with several seeds, at 5 minutes and at an hour, four weeks long: amounts, times and noise are drawn. Once an hour,
//! from the fifth day on, and while the disk is not full, both are asked. An alarm is false if the disk is not full 24 hours later.
//!
//! Recall is the mean over the shapes that have true hours, so that the shape that is often full does not decide alone.
//!
//! * `false_24h_ratio`: our false alarms divided by those of `predict_linear`, at the highest threshold of P(full within 24 h) at which our
//!   recall is at least that of `predict_linear`;
//! * `recall_24h_at_equal`, `recall_24h_predict_linear`, `threshold_24h_at_equal`: what was compared;
//! * `precision_24h`, `recall_24h`: ours, at the threshold ½;
//! * `false_24h_hours_per_disk_month`: false hours of ours at the threshold ½, per 30 days of a disk.

use std::collections::BTreeMap;

use analytics::capacity::CapacityForecaster;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use schemas::time::{DAY, HOUR, MINUTE};

use super::references::crossing;

/// Seeds of the generated disks.
pub(super) const SEEDS: [u64; 6] = [1, 2, 3, 4, 5, 6];
/// Their intervals between samples.
pub(super) const INTERVALS: [i64; 2] = [5 * MINUTE, HOUR];
/// How long a generated disk is watched, and from when on it is asked, days.
const DAYS: f64 = 28.0;
const ASKED_FROM: f64 = 4.0;
/// Full is this share of the ceiling.
const FULL: f64 = 0.999;

/// A disk: its used amount and its ceiling at each step.
pub(super) struct Fill {
    shape: Shape,
    /// Samples: day, used, ceiling.
    pub(super) samples: Vec<(f64, f64, f64)>,
    /// Microseconds between samples.
    interval: i64,
}

/// The shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Linear,
    Accelerating,
    Steps,
    SawtoothHours,
    SawtoothDay,
    SawtoothWeek,
    SawtoothRising,
    Resized,
    LogRotation,
    Idle,
    Boot,
    Tmpfs,
    Runaway,
    Full,
}

pub(super) const SHAPES: [Shape; 14] = [
    Shape::Linear,
    Shape::Accelerating,
    Shape::Steps,
    Shape::SawtoothHours,
    Shape::SawtoothDay,
    Shape::SawtoothWeek,
    Shape::SawtoothRising,
    Shape::Resized,
    Shape::LogRotation,
    Shape::Idle,
    Shape::Boot,
    Shape::Tmpfs,
    Shape::Runaway,
    Shape::Full,
];

/// One answer of both methods: ours, whether the other cried, and the truth.
struct Asked {
    shape: Shape,
    probability: f64,
    linear: bool,
    truth: bool,
}

/// The metrics over all shapes, with each seed and interval.
pub(super) fn metrics(seeds: &[u64], intervals: &[i64]) -> BTreeMap<String, f64> {
    let mut asked = Vec::new();
    let mut days = 0.0;
    for seed in seeds {
        for shape in SHAPES {
            for interval in intervals {
                let fill = generate(shape, *seed, *interval);
                let own = ask(&fill);
                days += own.len() as f64 / 24.0;
                asked.extend(own);
            }
        }
    }
    let linear_false = count(&asked, |asked| !asked.truth && asked.linear);
    let linear_recall = recall(&asked, |asked| asked.linear);
    let alarm = |threshold: f64| move |asked: &Asked| asked.probability >= threshold;
    let wrong = |threshold: f64| count(&asked, |a| alarm(threshold)(a) && !a.truth);
    let hits = count(&asked, |asked| alarm(0.5)(asked) && asked.truth);
    // Probabilities are whole 400ths.
    let threshold = (1..=400)
        .rev()
        .map(|step| f64::from(step) / 400.0)
        .find(|threshold| recall(&asked, alarm(*threshold)) >= linear_recall)
        .unwrap_or(0.0);
    BTreeMap::from(
        [
            ("false_24h_ratio", wrong(threshold) / linear_false),
            ("threshold_24h_at_equal", threshold),
            ("recall_24h_at_equal", recall(&asked, alarm(threshold))),
            ("recall_24h_predict_linear", linear_recall),
            ("recall_24h", recall(&asked, alarm(0.5))),
            ("precision_24h", hits / (hits + wrong(0.5))),
            ("false_24h_hours_per_disk_month", wrong(0.5) / days * 30.0),
            (
                "false_24h_hours_per_disk_month_predict_linear",
                linear_false / days * 30.0,
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// The mean over the shapes that have true hours of the share of these that were found.
fn recall(asked: &[Asked], alarm: impl Fn(&Asked) -> bool) -> f64 {
    let (mut sum, mut shapes) = (0.0, 0.0);
    for shape in SHAPES {
        let true_hours = count(asked, |asked| asked.shape == shape && asked.truth);
        if true_hours > 0.0 {
            sum += count(asked, |asked| {
                asked.shape == shape && asked.truth && alarm(asked)
            }) / true_hours;
            shapes += 1.0;
        }
    }
    sum / shapes
}

fn count(asked: &[Asked], wanted: impl Fn(&Asked) -> bool) -> f64 {
    asked.iter().filter(|asked| wanted(asked)).count() as f64
}

/// Asks both methods every hour, with what was known until then.
fn ask(fill: &Fill) -> Vec<Asked> {
    let mut forecaster = CapacityForecaster::default();
    let per_hour = (HOUR / fill.interval) as usize;
    let samples = &fill.samples;
    let mut asked = Vec::new();
    for (index, (day, used, ceiling)) in samples.iter().enumerate() {
        let time = 20_000 * DAY + index as i64 * fill.interval;
        forecaster.observe(time, *used, *ceiling);
        let day_later = index + 24 * per_hour;
        if *day < ASKED_FROM || index % per_hour != 0 || day_later >= samples.len() {
            continue;
        }
        if *used >= FULL * ceiling {
            continue;
        }
        // A ceiling that will be raised is not known before: the question is about the present one.
        let truth = samples[index..=day_later]
            .iter()
            .any(|(_, used, _)| *used >= FULL * ceiling);
        let window = &samples[index.saturating_sub(6 * per_hour)..=index];
        let times: Vec<f64> = window.iter().map(|sample| sample.0 - day).collect();
        let levels: Vec<f64> = window.iter().map(|sample| sample.1).collect();
        asked.push(Asked {
            shape: fill.shape,
            probability: forecaster.probability_within(DAY),
            linear: crossing(&times, &levels, *ceiling) <= 1.0,
            truth,
        });
    }
    asked
}

/// Random numbers of a generated disk.
struct Dice(Xoshiro256PlusPlus);

impl Dice {
    fn between(&mut self, least: f64, most: f64) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        least + unit * (most - least)
    }

    /// Near enough to normal, mean 0 and variance 1: twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.between(-0.5, 0.5)).sum()
    }
}

/// A disk of a shape.
pub(super) fn generate(shape: Shape, seed: u64, interval: i64) -> Fill {
    let mut dice = Dice(Xoshiro256PlusPlus::seed_from_u64(
        seed * 1000 + shape as u64 * 10 + u64::from(interval == HOUR),
    ));
    let step = interval as f64 / DAY as f64;
    let noise = dice.between(0.0, 0.3);
    let start = dice.between(20.0, 50.0);
    let full_at = dice.between(8.0, 40.0);
    let top = dice.between(75.0, 95.0);
    let bottom = top - dice.between(20.0, 50.0);
    let begins = dice.between(6.0, 22.0);
    let takes = dice.between(0.15, 1.5);
    let mut ceiling = 100.0;
    // What a shape remembers from step to step.
    let (mut level, mut goal) = (start, top);
    let mut samples = Vec::new();
    let mut cleaned = false;
    while samples.len() as f64 * step < DAYS {
        let day = samples.len() as f64 * step;
        let wobble = noise * dice.normal();
        let mut sawtooth = |period: f64, rising: f64| {
            // The rise is even but for noise; the clean-up comes when the peak is reached, a little sooner or later.
            level += (goal - bottom).max(1.0) / period * step * dice.between(0.5, 1.5);
            if level >= goal {
                level = bottom + dice.between(-1.0, 1.0) + rising * day;
                goal = top + dice.between(-2.0, 2.0) + rising * day;
            }
            level
        };
        let used = match shape {
            Shape::Linear => start + (100.0 - start) * day / full_at,
            Shape::Accelerating => start + (100.0 - start) * (day / full_at).powi(3),
            Shape::Steps => {
                if dice.between(0.0, 1.0) < 0.15 * step {
                    level += dice.between(3.0, 15.0);
                }
                level
            }
            Shape::SawtoothHours => sawtooth(0.25, 0.0),
            Shape::SawtoothDay => sawtooth(1.0, 0.0),
            Shape::SawtoothWeek => sawtooth(5.0, 0.0),
            Shape::SawtoothRising => sawtooth(1.0, 1.0),
            Shape::Resized => {
                let used = start + (100.0 - start) * day / full_at;
                if used > 0.9 * ceiling {
                    ceiling *= 2.0;
                }
                used
            }
            Shape::LogRotation => {
                level += 8.0 * step * dice.between(0.3, 1.7);
                if day.fract() < step {
                    level -= 7.8;
                }
                level + 35.0
            }
            Shape::Idle => start,
            // Unpacked within hours after a boot in the middle of its life, which empties it.
            Shape::Boot => {
                let since = day - begins;
                let fills = (top - 10.0) * (since / (0.3 * takes)).clamp(0.0, 1.0);
                if since < 0.0 { top } else { 10.0 + fills }
            }
            // Scratch files come and go.
            Shape::Tmpfs => {
                level += (45.0 - level) * 6.0 * step + 40.0 * step.sqrt() * dice.normal();
                if dice.between(0.0, 1.0) < 0.5 * step {
                    level += dice.between(5.0, 25.0);
                }
                level = level.clamp(5.0, 97.0);
                level
            }
            Shape::Runaway => start + (100.0 - start) * ((day - begins) / takes).max(0.0),
            Shape::Full => {
                cleaned |= day > begins;
                if cleaned { 60.0 } else { 100.0 }
            }
        };
        let used = if matches!(shape, Shape::Full) {
            used
        } else {
            used + wobble
        };
        samples.push((day, used.clamp(0.0, ceiling), ceiling));
    }
    Fill {
        shape,
        samples,
        interval,
    }
}
