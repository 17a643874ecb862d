//! What others do, in the same run: Prometheus' `predict_linear`, and the plain block bootstrap that this work started from.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::{Outcome, Outcomes, questions};

/// Days of history of the bootstrap, days in a block, continuations that are walked, days ahead.
const WINDOW_DAYS: usize = 180;
const BLOCK_DAYS: usize = 7;
const PATHS: u64 = 100;
const HORIZON_DAYS: usize = 365;

/// Answers all questions about a disk by a method that is told the levels until the origin and the ceiling, and returns days to full,
/// ascending.
pub(super) fn outcomes(levels: &[f64], method: fn(&[f64], f64) -> Vec<f64>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    questions(levels, |origin, ceiling, truth| {
        let days = method(&levels[..=origin], ceiling);
        outcomes.0.push(Outcome::of(truth, &days));
    });
    outcomes
}

/// `predict_linear(level[7d])`: where the least-squares line of the last 7 days crosses the ceiling. One date, no interval.
pub(super) fn predict_linear_7d(history: &[f64], ceiling: f64) -> Vec<f64> {
    let window = &history[history.len().saturating_sub(7)..];
    let times: Vec<f64> = (0..window.len())
        .map(|i| i as f64 + 1.0 - window.len() as f64)
        .collect();
    vec![crossing(&times, window, ceiling)]
}

/// When the least-squares line through `(times, levels)` reaches `ceiling`, from time 0 on; infinite if it does not rise.
pub(super) fn crossing(times: &[f64], levels: &[f64], ceiling: f64) -> f64 {
    let count = levels.len() as f64;
    let (time_mean, level_mean) = (
        times.iter().sum::<f64>() / count,
        levels.iter().sum::<f64>() / count,
    );
    let (mut joint, mut spread) = (0.0, 0.0);
    for (time, level) in times.iter().zip(levels) {
        joint += (time - time_mean) * (level - level_mean);
        spread += (time - time_mean).powi(2);
    }
    let slope = joint / spread;
    if slope > 0.0 {
        ((ceiling - (level_mean - slope * time_mean)) / slope).max(0.0)
    } else {
        f64::INFINITY
    }
}

/// Blocks of 7 daily increments, drawn with equal chances from the last 180 days and put end to end; a block that passes the present goes
/// on at the start of the window.
pub(super) fn block_bootstrap(history: &[f64], ceiling: f64) -> Vec<f64> {
    let increments: Vec<f64> = history.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let window = &increments[increments.len().saturating_sub(WINDOW_DAYS)..];
    let room = ceiling - history.last().copied().unwrap_or(ceiling);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(history.len() as u64);
    let mut days: Vec<f64> = (0..PATHS)
        .map(|_| {
            let (mut level, mut place) = (0.0, 0);
            for day in 0..HORIZON_DAYS {
                if day % BLOCK_DAYS == 0 {
                    place = (random.next_u64() % window.len() as u64) as usize;
                }
                level += window[place];
                place = (place + 1) % window.len();
                if level >= room {
                    return (day + 1) as f64;
                }
            }
            f64::INFINITY
        })
        .collect();
    days.sort_by(f64::total_cmp);
    days
}
