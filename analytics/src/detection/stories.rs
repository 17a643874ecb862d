//! What no single sample shows: a silence, a flat line, a drift, a level that has come to stay.

use schemas::time::{DAY, SECOND};
use schemas::{AnomalyKind, Direction, Micros};

use super::level::Levels;
use super::votes::score_of_times;
use super::{DetectorConfig, Observation, SeriesDetectors};

/// A residual of so many times the present noise, on one side for so long, is the new level.
const SHIFT_DEVIATIONS: f64 = 3.0;
/// 12 hours: longer than a working day's plateau, which a season learns within two days.
const SHIFT_S: f32 = 43_200.0;
const SHIFT_SAMPLES: f32 = 30.0;

/// A series that should have had samples by now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silence {
    /// Time of its last sample.
    pub since: Micros,
    /// The value of that.
    pub last_value: f64,
    /// The finding, of [`AnomalyKind::Missing`]; told by [`silence_event`](crate::silence_event).
    pub observation: Observation,
}

impl SeriesDetectors {
    /// Whether the series is silent for longer than it ever is: ten of its intervals, twice its longest gap of late that was no silence, and
    /// [`DetectorConfig::silence_s`]. `now` is the log clock. A silence is told once, and not at all before the warm-up ends.
    pub fn overdue(&mut self, config: &DetectorConfig, now: Micros) -> Option<Silence> {
        let silence_s = now.saturating_sub(self.time) as f64 / SECOND as f64;
        let limit_s = f64::from(self.presence.silence_limit_s(config)?);
        if self.time == Micros::MIN
            || silence_s <= limit_s
            || self.trust(config) < 1.0
            || !self.presence.tell_silence()
        {
            return None;
        }
        let last_value = self.levels.last();
        let mut observation = self.unjudged(config, last_value);
        observation.kind = AnomalyKind::Missing;
        observation.score = score_of_times(silence_s / limit_s);
        observation.lasting_s = silence_s;
        observation.announce = true;
        Some(Silence {
            since: self.time,
            last_value,
            observation,
        })
    }

    /// The time after which silence is longer than it ever is, as [`SeriesDetectors::overdue`] judges it; `None` before the warm-up ends.
    pub fn due(&self, config: &DetectorConfig) -> Option<Micros> {
        if self.trust(config) < 1.0 {
            return None;
        }
        let limit_s = self.presence.silence_limit_s(config)?;
        Some(
            self.time
                .saturating_add((f64::from(limit_s) * SECOND as f64) as Micros),
        )
    }

    /// A flat line or a drift, which no single sample shows.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a local of the one caller; a struct for them would only move the list"
    )]
    pub(super) fn look_for_stories(
        &mut self,
        config: &DetectorConfig,
        observation: &mut Observation,
        local: Micros,
        elapsed: f32,
        value: f64,
        before: &Levels,
        may_alarm: bool,
        skip: bool,
    ) {
        // Below this a change is rounding, and above it a creeping level has left its usual noise.
        let least = self.floor(config).max(f64::from(before.scale()));
        let day = local.div_euclid(DAY) as i32;
        let crept = self.drift.observe(day, value, elapsed, least);
        let standing = self.presence.move_or_stand(value != before.last(), elapsed);
        if !may_alarm || observation.score > 1.0 {
            return;
        }
        if skip {
            if crept.is_some() {
                self.drift.postpone();
            }
            return;
        }
        if let Some(standing_s) = standing {
            self.presence.told_standing();
            observation.kind = AnomalyKind::FlatLine;
            observation.score = 1.5;
            observation.lasting_s = f64::from(standing_s);
        } else if let Some(crept) = crept {
            observation.kind = AnomalyKind::Drift;
            observation.score = score_of_times((crept.to - crept.from).abs() / least);
            observation.expected = crept.from;
            observation.direction = if crept.to < crept.from {
                Direction::Low
            } else {
                Direction::High
            };
        } else {
            return;
        }
        self.alarms.tell(config);
    }

    /// A level that has lasted for half a day is the usual one from now on.
    pub(super) fn take_over_level(&mut self, residual: f64, elapsed: f32, floor: f64) {
        let far = SHIFT_DEVIATIONS * f64::from(self.levels.smooth()).max(floor);
        if residual.abs() > far {
            let side = elapsed.copysign(residual as f32);
            self.away_s = if self.away_s * side >= 0.0 {
                self.away_s + side
            } else {
                side
            };
        } else if self.away_s != 0.0 {
            // Now and then a sample comes back even from a new level.
            let back = (2.0 * elapsed).min(self.away_s.abs());
            self.away_s -= back.copysign(self.away_s);
        }
        let least = SHIFT_S.max(SHIFT_SAMPLES * self.presence.interval_s());
        if self.away_s.abs() >= least {
            self.away_s = 0.0;
            let level = self.levels.slow() + f64::from(self.levels.hour());
            self.levels.move_to(level);
        }
    }
}
