//! How a pool behaves beside its fate: what a day does to it, and what is left without that (MSTL).

use analytics::decompose;
use schemas::Micros;
use schemas::time::{DAY, HOUR};
use serde::Serialize;

use super::gather::Level;
use super::words;

/// Hours that are taken apart, the newest: those of which the report knows each.
const HOURS_MAX: usize = 14 * 24;
/// Fewer say little of a day: four days.
const HOURS_MIN: usize = 4 * 24;
/// Hours without a level, as share of all, above which nothing is said.
const HOLES_MAX: f64 = 0.1;
/// A day's rhythm below this strength is hardly there (Wang, Smith & Hyndman 2006), or below this share of the ceiling of no interest.
const STRENGTH_MIN: f64 = 0.4;
const SWING_MIN: f64 = 0.01;

/// What the last two weeks say of a pool, as shares of its ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Habits {
    /// From the lowest to the highest hour of the day.
    pub(super) day_swing: f64,
    /// 0–1: how much of what is left without the trend the hour of the day explains.
    pub(super) day_strength: f64,
    /// What the trend gains a day.
    pub(super) trend_per_day: f64,
    /// Mean distance from trend and day.
    pub(super) remainder: f64,
}

impl Habits {
    /// `None` where too few hours are known.
    pub(super) fn of(levels: &[Level]) -> Option<Habits> {
        let shares = hourly(levels)?;
        let parts = decompose(&shares, &[24]).ok()?;
        let day = parts.seasons.first()?;
        let newest = &day.added[day.added.len() - 24..];
        let (low, high) = newest.iter().fold((f64::MAX, f64::MIN), |(low, high), at| {
            (low.min(*at), high.max(*at))
        });
        let span = (parts.trend.len() - 1) as f64 / 24.0;
        let gained = parts.trend.last()? - parts.trend.first()?;
        let left = parts.remainder.iter().map(|left| left.abs());
        Some(Habits {
            day_swing: high - low,
            day_strength: day.strength,
            trend_per_day: gained / span,
            remainder: left.sum::<f64>() / parts.remainder.len() as f64,
        })
    }

    /// A sentence, if a day's rhythm is worth one.
    pub(super) fn sentence(&self) -> Option<String> {
        let rhythm = self.day_strength >= STRENGTH_MIN && self.day_swing >= SWING_MIN;
        rhythm.then(|| {
            let way = if self.trend_per_day < 0.0 {
                "falls"
            } else {
                "rises"
            };
            format!(
                "A day moves it by {} of its ceiling; without that it {way} by {} a day.",
                words::percent(self.day_swing),
                words::percent(self.trend_per_day.abs())
            )
        })
    }
}

/// Shares of the ceiling of the last hours, each known or filled in evenly; `None` if they are too few or too many are filled.
fn hourly(levels: &[Level]) -> Option<Vec<f64>> {
    let hour = |time: Micros| time.div_euclid(HOUR);
    let last = hour(levels.last()?.time);
    let mut known: Vec<(i64, f64)> = Vec::new();
    for level in levels {
        // Before the last two weeks only days are known.
        if last - hour(level.time) >= HOURS_MAX as i64
            || level.time < levels.last()?.time - 14 * DAY
        {
            continue;
        }
        let share = level.used / level.ceiling;
        match known.last_mut() {
            // The last level of an hour stands for it.
            Some(newest) if newest.0 == hour(level.time) => newest.1 = share,
            _ => known.push((hour(level.time), share)),
        }
    }
    let first = known.first()?.0;
    let mut shares: Vec<f64> = Vec::with_capacity(HOURS_MAX);
    for pair in known.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let hours = to.0 - from.0;
        let at = |step: i64| from.1 + (to.1 - from.1) * step as f64 / hours as f64;
        shares.extend((0..hours).map(at));
    }
    shares.push(known.last()?.1);
    let holes = (last - first + 1) as f64 - known.len() as f64;
    let enough = shares.len() >= HOURS_MIN && holes <= HOLES_MAX * shares.len() as f64;
    enough.then_some(shares)
}
