//! Whether samples come as they should: the series' own interval, completeness, silence, and a value that no longer moves.

use serde::{Deserialize, Serialize};

use super::config::DetectorConfig;

/// A value that has not moved for this many times its longest standstill, one that moves at most samples, is a flat line.
const FLAT_LINE_TIMES: f32 = 3.0;
/// … and for at least an hour and 30 samples.
const FLAT_LINE_S_MIN: f32 = 3600.0;
const FLAT_LINE_SAMPLES_MIN: f32 = 30.0;
/// The share of samples that must differ from the one before, for a standstill to mean anything.
const MOVING_SHARE_MIN: f32 = 0.5;

/// Silence is told after this many of the series' intervals …
const SILENCE_INTERVALS: f32 = 10.0;
/// … and this many of its longest gap of late that was none.
const SILENCE_GAPS: f32 = 2.0;

/// The longest gap and standstill are forgotten in a month (to a third).
const LONGEST_MEMORY_S: f32 = 30.0 * 86_400.0;

/// A month of allowed alarms, seconds.
const MONTH_S: f32 = 30.0 * 86_400.0;

/// The state: 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Presence {
    /// The series' own interval, seconds; 0 = not known yet.
    interval_s: f32,
    /// 0–1: the share of expected samples that arrived of late.
    completeness: f32,
    /// The longest gap of late that was no silence, seconds.
    gap_s: f32,
    /// How many silences ended of late; forgotten at the rate at which alarms are allowed.
    silences: f32,
    /// How long the value has been the same, seconds.
    standing_s: f32,
    /// The longest standstill of late, seconds.
    standing_longest_s: f32,
    /// The share of samples that differ from the one before, of late.
    moving: f32,
    /// Whether the present silence was told.
    silence_told: bool,
    /// Whether a silence lies right before the newest sample.
    after_silence: bool,
    /// Whether the present standstill was told.
    standing_told: bool,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Presence {
            interval_s: 0.0,
            completeness: 1.0,
            gap_s: 0.0,
            silences: 0.0,
            standing_s: 0.0,
            standing_longest_s: 0.0,
            moving: 0.5,
            silence_told: false,
            after_silence: false,
            standing_told: false,
        }
    }

    /// Seconds; 0 = not known yet.
    pub(crate) fn interval_s(&self) -> f32 {
        self.interval_s
    }

    pub(crate) fn completeness(&self) -> f32 {
        self.completeness
    }

    /// A sample came. `known`: whether enough was seen to tell a silence.
    #[inline]
    pub(crate) fn arrive(&mut self, config: &DetectorConfig, elapsed_s: f32, known: bool) {
        self.end_silence();
        if self.interval_s == 0.0 {
            self.interval_s = elapsed_s;
            return;
        }
        // A sample up to half an interval late is not missing; of the usual series nothing is, and nothing is to be computed.
        if elapsed_s > 1.5 * self.interval_s || self.completeness < 1.0 {
            // The share of this stretch that had its samples, weighed by its length: ten intervals ago weighs about a third.
            let share = (1.5 * self.interval_s / elapsed_s).min(1.0);
            let length = elapsed_s / (10.0 * self.interval_s);
            self.completeness += (share - self.completeness) * (length / (1.0 + length));
            if self.completeness > 0.999 {
                self.completeness = 1.0;
            }
        }
        let fades = (1.0 - elapsed_s / LONGEST_MEMORY_S).max(0.0);
        self.gap_s *= fades;
        self.standing_longest_s *= fades;
        let silence = known
            && self
                .silence_limit_s(config)
                .is_some_and(|limit_s| elapsed_s > limit_s);
        if self.is_habit(config, elapsed_s, silence) {
            self.gap_s = self.gap_s.max(elapsed_s);
        }
        self.after_silence = silence;
        // One gap moves the interval by at most 5 %; a lasting change of interval is followed in some dozen samples.
        let most = 0.05 * self.interval_s;
        self.interval_s =
            (self.interval_s + (elapsed_s - self.interval_s).clamp(-most, most)).max(1e-6);
    }

    /// Whether a gap is one that the series has now and then. A silence is none, or the next one as long would not be told for a month; but more of them
    /// than alarms are allowed are a habit, and two without a sample in between are another interval.
    #[inline]
    fn is_habit(&mut self, config: &DetectorConfig, elapsed_s: f32, silence: bool) -> bool {
        let allowed = config.alarms_per_month as f32;
        if self.silences > 0.0 {
            self.silences = (self.silences - allowed * elapsed_s / MONTH_S).max(0.0);
        }
        if !silence || self.after_silence || self.silences + 1.0 > allowed {
            return true;
        }
        self.silences += 1.0;
        false
    }

    /// A sample came, whatever is learned of it.
    pub(crate) fn end_silence(&mut self) {
        self.silence_told = false;
    }

    /// Takes note whether the value moved. Returns how long it stands still, once, when that becomes a flat line.
    #[inline]
    pub(crate) fn move_or_stand(&mut self, moved: bool, elapsed_s: f32) -> Option<f32> {
        let weight = (elapsed_s / 86_400.0).min(0.01);
        if moved {
            self.moving += weight * (1.0 - self.moving);
            // A flat line that was told is no habit.
            if !self.standing_told {
                self.standing_longest_s = self.standing_longest_s.max(self.standing_s);
            }
            (self.standing_s, self.standing_told) = (0.0, false);
            return None;
        }
        self.standing_s = (self.standing_s + elapsed_s).min(1e9);
        let least = (FLAT_LINE_TIMES * self.standing_longest_s)
            .max(FLAT_LINE_S_MIN)
            .max(FLAT_LINE_SAMPLES_MIN * self.interval_s);
        let flat = self.standing_s > least && self.moving > MOVING_SHARE_MIN;
        if !self.standing_told {
            self.moving -= weight * self.moving;
        }
        (flat && !self.standing_told).then_some(self.standing_s)
    }

    /// The flat line was told.
    pub(crate) fn told_standing(&mut self) {
        self.standing_told = true;
    }

    /// How long silence may last, seconds; `None` while the interval is unknown.
    pub(crate) fn silence_limit_s(&self, config: &DetectorConfig) -> Option<f32> {
        (self.interval_s > 0.0).then(|| {
            (SILENCE_INTERVALS * self.interval_s)
                .max(SILENCE_GAPS * self.gap_s)
                .max(config.silence_s as f32)
        })
    }

    /// Whether the present silence is news; it is told once.
    pub(crate) fn tell_silence(&mut self) -> bool {
        !std::mem::replace(&mut self.silence_told, true)
    }
}
