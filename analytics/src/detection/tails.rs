//! The tails of all detectors of a series, column by column: a processor takes several of them at once.

use serde::{Deserialize, Serialize};

use super::tail::{Beginning, SCALE_SCORES, TAIL_DIGITS, TAIL_SHARE, Tail, TailWeight};
use super::{Detector, TAILS};

/// Room for the tails, in a number that fills registers.
pub(super) const LANES: usize = TAILS.next_multiple_of(4);

/// By [`Detector`], what [`Tail`] is of one: 144 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "[Tail; TAILS]", into = "[Tail; TAILS]")]
pub(super) struct Tails {
    quantile: [f32; LANES],
    excess: [f32; LANES],
    mean: [f32; LANES],
    seen: [u16; LANES],
    above: [u16; LANES],
    run: [u16; LANES],
}

impl Tails {
    /// The quantile of a detector's scores, at least `floor`: what 99 of 100 of them stay below.
    pub(super) fn quantile(&self, detector: usize, floor: f32) -> f32 {
        self.quantile[detector].max(floor)
    }

    /// Forgets the scores of a detector.
    pub(super) fn forget(&mut self, detector: Detector) {
        self.put(detector as usize, Tail::default());
    }

    /// [`Tail::digits`] of the detectors that have a score, 0 of the others. `floors` are > 0.
    ///
    /// Nearly all scores of nearly all samples stay below their quantile. These are judged and learned together, and without a branch; to the last bit as
    /// [`Tail::digits`] would.
    #[inline]
    pub(super) fn digits(
        &mut self,
        scores: &[f32; LANES],
        floors: &[f32; LANES],
        has_score: &[bool; LANES],
        weight: TailWeight,
    ) -> [f32; LANES] {
        let before = *self;
        let mut usual = [false; LANES];
        let mut digits = [0.0_f32; LANES];
        for lane in 0..LANES {
            let (floor, quantile, mean) = (floors[lane], before.quantile[lane], before.mean[lane]);
            let score = larger(scores[lane], floor);
            let share = TAIL_DIGITS * score / larger(quantile, floor);
            let seen = before.seen[lane].saturating_add(1);
            let known = 1.0 / f32::from(seen);
            let cut = smaller(score, 8.0 * mean);
            let followed = mean + larger(weight.body, known) * (cut - mean);
            let step = 2.0 * larger(weight.body, 2.0 * known) * larger(followed, 0.2 * quantile);
            let lowered = larger(quantile - step * TAIL_SHARE, 0.0);
            let is_usual = has_score[lane] & (seen > SCALE_SCORES) & (score <= quantile);
            usual[lane] = is_usual;
            digits[lane] = if is_usual & (scores[lane] > floor) {
                share
            } else {
                0.0
            };
            self.seen[lane] = if is_usual { seen } else { before.seen[lane] };
            self.mean[lane] = if is_usual { followed } else { mean };
            self.quantile[lane] = if is_usual { lowered } else { quantile };
            self.run[lane] = if is_usual { 0 } else { before.run[lane] };
        }
        for lane in 0..LANES {
            if has_score[lane] && !usual[lane] {
                let mut tail = self.get(lane);
                digits[lane] = tail.digits(scores[lane], floors[lane], weight, beginning(lane));
                self.put(lane, tail);
            }
        }
        digits
    }

    fn get(&self, lane: usize) -> Tail {
        Tail {
            quantile: self.quantile[lane],
            excess: self.excess[lane],
            mean: self.mean[lane],
            seen: self.seen[lane],
            above: self.above[lane],
            run: self.run[lane],
        }
    }

    fn put(&mut self, lane: usize, tail: Tail) {
        self.quantile[lane] = tail.quantile;
        self.excess[lane] = tail.excess;
        self.mean[lane] = tail.mean;
        self.seen[lane] = tail.seen;
        self.above[lane] = tail.above;
        self.run[lane] = tail.run;
    }
}

/// A profile is believed after two days at the earliest.
fn beginning(lane: usize) -> Beginning {
    if lane == Detector::Seasonal as usize {
        Beginning::AtFloor
    } else {
        Beginning::Doubled
    }
}

/// The larger of two numbers, of which none is NaN: one instruction, where `f32::max` takes five to be right for NaN too.
#[inline]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Likewise the smaller.
#[inline]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

impl From<[Tail; TAILS]> for Tails {
    fn from(tails: [Tail; TAILS]) -> Self {
        let mut columns = Tails::default();
        for (lane, tail) in tails.into_iter().enumerate() {
            columns.put(lane, tail);
        }
        columns
    }
}

impl From<Tails> for [Tail; TAILS] {
    fn from(columns: Tails) -> Self {
        std::array::from_fn(|lane| columns.get(lane))
    }
}
