//! Slow drift: a level that creeps one way day after day, too slowly for any detector that forgets within days.
//!
//! The means of the last eight days are compared pairwise (Mann 1945, Kendall 1955): of the 28 pairs at least 27 must have risen, or fallen.
//! Without a trend that happens on one day in 2,500 (16 of 40,320 orders).

use serde::{Deserialize, Serialize};

const DAYS: usize = 8;
/// Rising less falling pairs, of 28: at most one pair against the trend.
const PAIRS_MIN: i32 = 26;
/// A drift is over, and a new one may be told, when fewer pairs agree.
const PAIRS_OVER: i32 = 14;

/// The daily means: 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Drift {
    /// Oldest first, `days` of them.
    means: [f32; DAYS],
    /// Of today.
    mean: f64,
    covered_s: f32,
    /// Days since 1970, local time.
    day: i32,
    days: u8,
    telling: Telling,
}

/// Whether the present drift was told.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
enum Telling {
    #[default]
    Nothing,
    Told,
    /// It waits for the next sample.
    Postponed,
}

/// What has crept, and how far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Crept {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Drift {
    /// Adds a sample. At the first one of a day, says whether the days before have crept by at least `least`; told once, or again with the
    /// next sample if it was postponed.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        day: i32,
        value: f64,
        elapsed_s: f32,
        least: f64,
    ) -> Option<Crept> {
        let mut crept = (self.telling == Telling::Postponed).then(|| self.tell());
        if day != self.day {
            // A day of which less than half was seen says little of its mean; the sample after a gap stands for at most an hour.
            if self.covered_s >= 43_200.0 {
                self.push(self.mean as f32);
                crept = self.judge(least).or(crept);
            }
            (self.day, self.mean, self.covered_s) = (day, 0.0, 0.0);
        }
        let covers = elapsed_s.clamp(1e-3, 3600.0);
        self.covered_s += covers;
        self.mean += f64::from(covers / self.covered_s) * (value - self.mean);
        crept
    }

    fn push(&mut self, mean: f32) {
        if usize::from(self.days) < DAYS {
            self.means[usize::from(self.days)] = mean;
            self.days += 1;
        } else {
            self.means.rotate_left(1);
            self.means[DAYS - 1] = mean;
        }
    }

    fn judge(&mut self, least: f64) -> Option<Crept> {
        if usize::from(self.days) < DAYS {
            return None;
        }
        let mut pairs = 0;
        for later in 1..DAYS {
            for earlier in 0..later {
                let change = self.means[later] - self.means[earlier];
                pairs += i32::from(change > 0.0) - i32::from(change < 0.0);
            }
        }
        if pairs.abs() < PAIRS_OVER {
            self.telling = Telling::Nothing;
        }
        let far = f64::from(self.means[DAYS - 1]) - f64::from(self.means[0]);
        let crept = pairs.abs() >= PAIRS_MIN && far.abs() >= least;
        (crept && self.telling != Telling::Told).then(|| self.tell())
    }

    fn tell(&mut self) -> Crept {
        self.telling = Telling::Told;
        Crept {
            from: f64::from(self.means[0]),
            to: f64::from(self.means[DAYS - 1]),
        }
    }

    /// What was just said could not be told.
    pub(crate) fn postpone(&mut self) {
        self.telling = Telling::Postponed;
    }
}
