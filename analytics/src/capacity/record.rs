//! What became of earlier forecasts of the same pool, and how much wider that makes the next ones.

use std::collections::VecDeque;

use schemas::Micros;
use schemas::time::DAY;
use serde::{Deserialize, Serialize};

/// Days between two forecasts that are remembered, and after which one that was not reached is judged.
const EVERY_DAYS: i64 = 14;
const JUDGED_DAYS: i64 = 180;
/// Forecasts that can be open: one in [`EVERY_DAYS`] for [`JUDGED_DAYS`].
const OPEN_MAX: usize = 13;
/// How much one outcome moves the width: by 1.8 % if it was outside, by 0.2 % if inside, so that in the
/// long run a tenth is outside. Slow: the outcomes of one pool come every two weeks and are much alike, so a dozen count as a few.
const LEARNING: f64 = 0.02;
/// The share that may be outside of the interval from the 5 % to the 95 % date.
const OUTSIDE: f64 = 0.1;
/// Logarithm of the largest widening: threefold in the logarithm of time.
const WIDENING_MAX: f64 = 1.1;

/// An earlier forecast: when a level would be reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) made_at: Micros,
    /// In units of the pool.
    pub(crate) level: f32,
    /// Days to the 5, 50 and 95 % date; infinite beyond the horizon.
    pub(crate) days: [f32; 3],
}

/// The forecasts that are open, and the account of those that are not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    open: VecDeque<Promise>,
    newest: Option<Micros>,
    /// Logarithm of the factor by which the spread of ln(days) is widened, 0 to [`WIDENING_MAX`].
    widening: f64,
    judged: u32,
    inside: u32,
}

impl Record {
    /// Whether it is time to remember another forecast.
    pub(crate) fn wants(&self, now: Micros) -> bool {
        self.newest
            .is_none_or(|newest| now - newest >= EVERY_DAYS * DAY)
    }

    /// Remembers a forecast.
    pub(crate) fn promise(&mut self, promise: Promise) {
        self.newest = Some(promise.made_at);
        if self.open.len() == OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(promise);
    }

    /// Judges what has come true, or has not in time. `used` in units of the pool.
    pub(crate) fn judge(&mut self, now: Micros, used: f64) {
        let (mut judged, mut inside) = (0, 0);
        self.open.retain(|promise| {
            let days = (now - promise.made_at) as f64 / DAY as f64;
            let reached = used >= f64::from(promise.level);
            if !reached && days < JUDGED_DAYS as f64 {
                return true;
            }
            judged += 1;
            let [early, _, late] = promise.days.map(f64::from);
            // A date counts as hit within the step of a day that it was computed in.
            let good = (!reached || early <= days + 1.0) && days <= late + 1.0;
            inside += u32::from(good);
            false
        });
        self.judged = self.judged.saturating_add(judged);
        self.inside = self.inside.saturating_add(inside);
        let outside = f64::from(judged - inside);
        let step = LEARNING * (outside - OUTSIDE * f64::from(judged));
        self.widening = (self.widening + step).clamp(0.0, WIDENING_MAX);
    }

    /// The factor by which the logarithm of time spreads around the median date, 1 to 3 (adaptive conformal inference, Gibbs & Candès
    /// 2021, on one number). For dates only: moved probabilities of the near future lost more than they gained.
    pub(crate) fn widening(&self) -> f64 {
        libm::exp(self.widening)
    }

    /// How many forecasts were judged, and how many of them held.
    pub(crate) fn account(&self) -> (u32, u32) {
        (self.judged, self.inside)
    }
}
