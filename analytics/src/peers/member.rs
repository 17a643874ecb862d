//! What is remembered of one member: its usual place among its siblings, and the story that is going on. 64 bytes.

use schemas::Micros;
use schemas::time::SECOND;
use serde::{Deserialize, Serialize};

use super::PeersConfig;

/// What each new story widens a member's band by.
const STRETCH_STEP: f32 = 1.25;
/// Bands are never widened further than this: a hundred σ hold all that is not a fault.
const STRETCH_MAX: f32 = 20.0;
/// Turns the mean absolute error of normal data into its σ: √(π/2).
const MEAN_ERROR_TO_SIGMA: f64 = 1.2533;
/// Errors are cut here, so that they fit a single.
const ERROR_MAX: f64 = 1e36;
/// A silence this long ends a story: what was before it is another one.
const SILENCE_S_MAX: f64 = 4000.0;
/// Windows that a story has at least. Two may be one burst that lies across a boundary.
const STORY_WINDOWS_MIN: u8 = 3;
/// The width of a window, seconds.
const WINDOW_S: f32 = 60.0;
/// Ratios to the level are cut here. Beyond, the level is as good as zero, and the distance is what tells.
const RATIO_MAX: f64 = 1e6;

/// One member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) id: u32,
    /// When it had its first value, and its last one.
    first: Micros,
    last: Micros,
    /// Usual distance from the level, and usual ratio to it.
    offset: f64,
    ratio: f32,
    /// Mean absolute error of the expectation by distance, and by ratio.
    offset_error: f32,
    ratio_error: f32,
    /// 1–20: what the band is widened by, from the stories told of late.
    stretch: f32,
    /// Silence left, seconds.
    rest_s: f32,
    /// The smallest score of the story, above 1; 0 without a story.
    score_min: f32,
    /// How long the story has lasted, and how long the member has been back since, seconds.
    apart_s: f32,
    back_s: f32,
    /// Windows learned from, and windows of the story; each stays at its maximum.
    windows: u16,
    apart_windows: u8,
    /// Whether the story has been told.
    told: bool,
}

impl Member {
    pub(super) fn new(id: u32, time: Micros) -> Self {
        Member {
            id,
            first: time,
            last: time,
            offset: 0.0,
            ratio: 1.0,
            offset_error: 0.0,
            ratio_error: 0.0,
            stretch: 1.0,
            rest_s: 0.0,
            score_min: 0.0,
            apart_s: 0.0,
            back_s: 0.0,
            windows: 0,
            apart_windows: 0,
            told: false,
        }
    }

    fn by_ratio(&self) -> bool {
        self.ratio_error < self.offset_error && self.ratio > 0.0
    }

    /// The level that a value of this member speaks for.
    pub(super) fn level_of(&self, value: f64) -> f64 {
        if self.by_ratio() {
            value / f64::from(self.ratio)
        } else {
            value - self.offset
        }
    }

    /// What this member usually has at a level.
    pub(super) fn expected(&self, level: f64) -> f64 {
        if self.by_ratio() {
            level * f64::from(self.ratio)
        } else {
            level + self.offset
        }
    }

    /// σ of the usual error of its expectation.
    pub(super) fn sigma(&self) -> f64 {
        let error = if self.by_ratio() {
            self.ratio_error
        } else {
            self.offset_error
        };
        MEAN_ERROR_TO_SIGMA * f64::from(error)
    }

    /// What its band is widened by, from its false alarms: 1–20.
    pub(super) fn stretch(&self) -> f64 {
        f64::from(self.stretch)
    }

    /// Whether too little is known of it to believe that its place is its own.
    pub(super) fn is_new(&self, config: &PeersConfig, time: Micros) -> bool {
        seconds(self.first, time) < config.warm_up_s
    }

    pub(super) fn last(&self) -> Micros {
        self.last
    }

    /// Lets time pass up to a window: the rest runs out, the band narrows. Returns the seconds since the last window.
    pub(super) fn keep_time(&mut self, config: &PeersConfig, time: Micros) -> f64 {
        let elapsed_s = seconds(self.last, time).max(0.0);
        self.last = time;
        self.rest_s = (f64::from(self.rest_s) - elapsed_s).max(0.0) as f32;
        if self.stretch > 1.0 {
            // ln(1.25) per story allowed: at that rate of stories the band stays as it is.
            let narrowing = 0.223 * config.alarms_per_month * elapsed_s / (30.0 * 86_400.0);
            self.stretch = (self.stretch * (1.0 - narrowing.min(0.5) as f32)).max(1.0);
        }
        elapsed_s
    }

    /// Learns its place from a window in which it was where it belongs: what the place moves by, in distance and in ratio, before the
    /// group takes off what all moved by alike. Errors are cut at `cut`; `size` is the larger of the level and its usual size, so that
    /// what is seen at night, while all is idle, says little about ratios.
    pub(super) fn learn(&mut self, config: &PeersConfig, seen: Seen, elapsed_s: f64) -> Move {
        let Seen {
            value,
            level,
            size,
            cut,
        } = seen;
        let weight = 1.0 - libm::exp2(-elapsed_s / config.half_life_s);
        // While little is known, each window weighs as much as each one before.
        let weight = weight.max(1.0 / (f64::from(self.windows) + 1.0));
        self.windows = self.windows.saturating_add(1);
        let by_offset = value - (level + self.offset);
        let by_ratio = value - level * f64::from(self.ratio);
        for (error, residual) in [
            (&mut self.offset_error, by_offset),
            (&mut self.ratio_error, by_ratio),
        ] {
            let before = f64::from(*error);
            let size = residual.abs().min(cut).min(ERROR_MAX);
            *error = (before + weight * (size - before)) as f32;
        }
        Move {
            offset: weight * by_offset.clamp(-cut, cut),
            ratio: weight * ratio_step(by_ratio.clamp(-cut, cut), level, size),
        }
    }

    /// Moves its place.
    pub(super) fn shift(&mut self, by: Move) {
        self.offset += by.offset;
        self.ratio = (f64::from(self.ratio) + by.ratio).clamp(-RATIO_MAX, RATIO_MAX) as f32;
    }

    /// Takes note of a window in which it stood apart. True if the story is to be told now; `may_tell`: whether it may.
    pub(super) fn stand_apart(
        &mut self,
        config: &PeersConfig,
        score: f64,
        elapsed_s: f64,
        may_tell: bool,
    ) -> bool {
        if elapsed_s > SILENCE_S_MAX {
            self.end_story();
        }
        let score = score as f32;
        if self.apart_windows == 0 {
            (self.apart_s, self.score_min) = (WINDOW_S, score);
        } else {
            self.apart_s += elapsed_s as f32;
            self.score_min = self.score_min.min(score);
        }
        self.back_s = 0.0;
        self.apart_windows = self.apart_windows.saturating_add(1);
        let lasts =
            f64::from(self.apart_s) >= config.persist_s && self.apart_windows >= STORY_WINDOWS_MIN;
        let tell = may_tell && lasts && !self.told && self.rest_s <= 0.0;
        if tell {
            self.told = true;
            self.rest_s = config.rest_s as f32;
            self.stretch = (self.stretch * STRETCH_STEP).min(STRETCH_MAX);
        }
        tell
    }

    /// Takes note of a window in which it was where it belongs. A story not told ends at once; one told, when that has lasted.
    pub(super) fn stand_among(&mut self, config: &PeersConfig, elapsed_s: f64) {
        if self.apart_windows == 0 {
            return;
        }
        self.back_s += elapsed_s as f32;
        if !self.told || f64::from(self.back_s) >= config.persist_s {
            self.end_story();
        }
    }

    /// How long the story has lasted, seconds; 0 without one.
    pub(super) fn apart_s(&self) -> f64 {
        f64::from(self.apart_s)
    }

    pub(super) fn score_min(&self) -> f64 {
        f64::from(self.score_min)
    }

    /// The place that it has had for long becomes its usual one.
    pub(super) fn accept(&mut self, seen: Seen) {
        let by_ratio = seen.value - seen.level * f64::from(self.ratio);
        self.shift(Move {
            offset: seen.value - seen.level - self.offset,
            ratio: ratio_step(by_ratio, seen.level, seen.size),
        });
        self.end_story();
    }

    fn end_story(&mut self) {
        (self.score_min, self.apart_s, self.back_s) = (0.0, 0.0, 0.0);
        (self.apart_windows, self.told) = (0, false);
    }
}

/// What a member learns from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) value: f64,
    pub(super) level: f64,
    /// The larger of the level and its usual size, ≥ 0.
    pub(super) size: f64,
    /// Where errors are cut.
    pub(super) cut: f64,
}

/// What would take away an error, were it one of the ratio: a step of normalised least mean squares (Widrow & Hoff 1960), which at
/// levels below the usual size is shorter by the square of their share.
fn ratio_step(error: f64, level: f64, size: f64) -> f64 {
    let step = error / size * (level / size);
    if step.is_finite() { step } else { 0.0 }
}

/// What a place moves by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Move {
    pub(super) offset: f64,
    pub(super) ratio: f64,
}

/// Seconds from one time to another, negative if it is before.
fn seconds(from: Micros, to: Micros) -> f64 {
    to.saturating_sub(from) as f64 / SECOND as f64
}
