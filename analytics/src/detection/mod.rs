//! Detection on one series: what is remembered of it, and what that makes of its next sample. O(1) per sample, any interval from 1 s to 1 h.
//!
//! ```text
//! sample ─▶ presence ─▶ levels ─▶ season ─▶ eight scores ─▶ tails: how improbable ─▶ votes ─▶ alarm control ─▶ Observation
//!          (does it     (fast,    (what the   (votes.rs)      for this series?         summed    (allowed rate,
//!           come?)       slow)     hour adds)                 (tail.rs)                           rest, recurrence)
//! ```

mod alarm;
mod config;
mod counter_rate;
mod describe;
mod drift;
mod event;
mod level;
mod presence;
mod saved;
mod season;
mod sentence;
mod stories;
mod tail;
mod tails;
mod votes;

#[cfg(test)]
mod tests;

pub use config::{DetectorConfig, DetectorConfigError, Watch};
pub use counter_rate::CounterRate;
pub use event::{RULE, anomaly_event, silence_event};
pub use season::Season;
pub use sentence::explain;
pub(crate) use sentence::{beside, number};
pub use stories::Silence;
pub(crate) use votes::score_of_times;
pub use votes::{DETECTORS, Detector, DetectorVote, Observation, SCORE_MAX};

use schemas::time::{DAY, SECOND};
use schemas::{Direction, Micros};

use crate::calendar::Effects;
pub(crate) use alarm::AlarmControl;
use alarm::DIGITS_COUNTED_FROM;
use drift::Drift;
use level::{Distances, Levels, VARIANCE_FLOOR};
use presence::Presence;
use season::{Hour, Seasonal, Seasons};
use tail::TailWeight;
use tails::{LANES, Tails};

/// Values are cut here before they are judged. 1e36: no metric is larger, and distances between such values still fit a single.
const VALUE_MAX: f64 = 1e36;

/// Never divide by less: the smallest distance that matters when the level is zero and no smallest band is set. The smallest normal single
/// is 1.2e-38.
const FLOOR_TINY: f64 = 1e-36;

/// Of the smallest distance that matters, what counts for a mean of an hour once a season is taken off: half. It lasts, and is less noisy than a sample; a
/// third does alike. Before, the hours of a first day are all unlike those before them.
fn hour_mean_floor(believed: Season) -> f32 {
    match believed {
        Season::None => 1.0,
        Season::Day | Season::Week => 0.5,
    }
}

/// How long a series' tails remember: about a day, so that a daily habit is known; at least 333 samples, or the 99 % quantile would rest on
/// fewer than three.
const TAIL_MEMORY_S: f32 = 100_000.0;
const TAIL_WEIGHT_MAX: f32 = 0.003;
/// What one score beyond the quantile weighs in the tail, for a sample of full weight: twenty of them make a tail.
const TAIL_EXCESS_WEIGHT: f32 = 0.05;

/// A series that was silent for this long is learned anew.
const FORGET: Micros = 14 * DAY;

/// Until so much is learned, seconds, nobody knows what a day brings: two days, when a season can be believed. Till then what creeps may be the course of
/// the first day, and only a jump is told.
const COURSE_UNKNOWN_S: f32 = 172_800.0;
/// A jump: a change of so many times the mean change of late. Without noise, any change is one; of normal noise, 5 are 5.6 σ. In 36 hours of 192 simulated
/// series with a course of the day it lets 29 events pass where there is nothing to tell (5.5: 9; 4.5: 58; without this rule: 471), and 134 of 144 jumps,
/// and spikes of 8 σ, of a first day (5.5: 132; without: 132).
const JUMP: f32 = 5.0;

/// Detectors with a tail: all but the range.
const TAILS: usize = DETECTORS - 1;

/// All detectors of one series, and what stands between them and an alarm.
///
/// To prime it (a restart without a snapshot, a new rule), feed it the series' history in order of time, and pass over what it says.
///
/// Save it in a binary format: not every JSON reader returns a decimal number to the last bit.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesDetectors {
    /// Of the newest sample; `Micros::MIN` before the first.
    time: Micros,
    levels: Levels,
    tails: Tails,
    /// Begun when the series first moves.
    seasons: Seasons,
    presence: Presence,
    alarms: AlarmControl,
    drift: Drift,
    /// How long residuals have been far on one side, seconds; negative = below.
    away_s: f32,
    /// Event time learned from, seconds.
    learned_s: f32,
}

/// Nothing has been seen.
impl Default for SeriesDetectors {
    fn default() -> Self {
        SeriesDetectors::begun(Micros::MIN, 0.0)
    }
}

impl SeriesDetectors {
    /// After a single sample.
    fn begun(time: Micros, value: f64) -> Self {
        SeriesDetectors {
            time,
            levels: Levels::new(value),
            tails: Tails::default(),
            seasons: Seasons::new(),
            presence: Presence::new(),
            alarms: AlarmControl::default(),
            drift: Drift::default(),
            away_s: 0.0,
            learned_s: 0.0,
        }
    }

    /// Judges a sample by what was learned before it, then learns from it. Seasons are those of UTC.
    ///
    /// A value that is not finite passes as the expected one; it, and a sample that is not after the last one, changes nothing.
    /// `config` has passed [`DetectorConfig::validate`].
    pub fn observe(&mut self, config: &DetectorConfig, time: Micros, value: f64) -> Observation {
        self.observe_local(config, time, 0, value)
    }

    /// As [`SeriesDetectors::observe`], with the seasons of a time zone: `utc_offset_s` is what its local time is ahead of UTC at `time`, in
    /// seconds, daylight saving included.
    pub fn observe_local(
        &mut self,
        config: &DetectorConfig,
        time: Micros,
        utc_offset_s: i32,
        value: f64,
    ) -> Observation {
        self.observe_during(config, time, utc_offset_s, &Effects::default(), value)
    }

    /// As [`SeriesDetectors::observe_local`], under what the calendar says of this time:
    /// - `skip_alarms`: what would be announced is [`Observation::skipped`] instead; a flat line or a drift waits for the end of the event.
    /// - `threshold_factor`: so much more evidence is needed.
    /// - not `learn`: the sample is judged and forgotten; what lasts as long as the event (a flat line, a drift) is not looked for.
    /// - `use_profile_of`: the day is judged by the seasons of that day of the week, and learned as one.
    pub fn observe_during(
        &mut self,
        config: &DetectorConfig,
        time: Micros,
        utc_offset_s: i32,
        effects: &Effects,
        value: f64,
    ) -> Observation {
        let local = time
            .saturating_add(Micros::from(utc_offset_s) * SECOND)
            .saturating_add(Micros::from(effects.profile_days_ahead) * DAY);
        if effects.learn {
            return self.judge(config, time, local, effects, value);
        }
        if self.is_unknown_at(time) {
            // Of this series nothing is known, and nothing is to become known.
            let mut unknown = SeriesDetectors::default();
            return unknown.judge(config, time, local, effects, value);
        }
        let before = self.clone();
        let observation = self.judge(config, time, local, effects, value);
        let (time, alarms) = (self.time, self.alarms);
        *self = SeriesDetectors {
            time,
            alarms,
            ..before
        };
        self.presence.end_silence();
        observation
    }

    /// Whether a sample at this time would be the first one that is remembered.
    fn is_unknown_at(&self, time: Micros) -> bool {
        self.time == Micros::MIN || time.saturating_sub(self.time) > FORGET
    }

    /// `local`: the time by which seasons are told.
    fn judge(
        &mut self,
        config: &DetectorConfig,
        time: Micros,
        local: Micros,
        effects: &Effects,
        value: f64,
    ) -> Observation {
        let usable = value.is_finite();
        let value = if usable {
            value.clamp(-VALUE_MAX, VALUE_MAX)
        } else {
            self.levels.fast()
        };
        if usable && self.is_unknown_at(time) {
            *self = SeriesDetectors::begun(time, value);
            return self.unjudged(config, value);
        }
        let elapsed = time.saturating_sub(self.time);
        if !usable || elapsed <= 0 {
            return self.unjudged(config, value);
        }
        self.time = time;
        let elapsed_s = elapsed as f64 / SECOND as f64;
        self.step(config, local, elapsed_s, effects, value)
    }

    /// Time of the newest sample; `Micros::MIN` before the first.
    pub fn last_time(&self) -> Micros {
        self.time
    }

    /// The smallest distance that matters at the present level.
    fn floor(&self, config: &DetectorConfig) -> f64 {
        (config.band_relative_min * self.levels.slow().abs())
            .max(config.band_absolute_min)
            .max(FLOOR_TINY)
    }

    fn trust(&self, config: &DetectorConfig) -> f64 {
        // The sample at hand is not learned yet: the share is of those before it.
        let samples = f64::from(self.levels.samples()) / f64::from(config.warm_up_samples.max(1));
        let learned_s = f64::from(self.learned_s);
        let time = if learned_s >= config.warm_up_s {
            1.0
        } else {
            learned_s / config.warm_up_s
        };
        samples.min(time).min(1.0)
    }

    fn step(
        &mut self,
        config: &DetectorConfig,
        local: Micros,
        elapsed_s: f64,
        effects: &Effects,
        value: f64,
    ) -> Observation {
        let elapsed = elapsed_s as f32;
        let trust = self.trust(config);
        let floor = self.floor(config);
        self.presence.arrive(config, elapsed, trust >= 1.0);
        self.alarms.pass(config, elapsed);
        let before = self.levels;
        let distances = self.levels.observe(value, elapsed_s, floor);
        let seasonal = self.take_off_season(local, elapsed, &distances, before.cut(floor), floor);
        let residual = f64::from(seasonal.residual);
        let raw_score = self.levels.rank(distances.fast, residual, elapsed_s);
        let body = (elapsed / TAIL_MEMORY_S).min(TAIL_WEIGHT_MAX);
        let weight = TailWeight {
            body,
            tail: TAIL_EXCESS_WEIGHT / TAIL_WEIGHT_MAX * body,
        };
        let floor_single = floor as f32;
        let digits = self.digits(&distances, &seasonal, floor_single, weight);
        let evidence: f32 = digits
            .iter()
            .map(|digits| (digits - DIGITS_COUNTED_FROM).max(0.0))
            .sum::<f32>()
            + distances.novelty;
        let mut observation = self.describe(&before, value, &seasonal, floor_single);
        observation.raw_score = raw_score;
        observation.trust = trust;
        observation.hour_of_week = Hour::of(local).of_week as u8;
        let watched = match config.watch {
            Watch::Both => true,
            Watch::High => observation.direction == Direction::High,
            Watch::Low => observation.direction == Direction::Low,
        };
        let may_alarm = trust >= 1.0 && observation.completeness >= config.completeness_min;
        if evidence > 0.0 {
            let jumps = distances.change > f64::from(JUMP * before.restless());
            let may_creep = self.learned_s >= COURSE_UNKNOWN_S || self.alarms.keeps_back();
            let interval_s = self.presence.interval_s();
            let counts = |detector: Detector| digits[detector as usize] > DIGITS_COUNTED_FROM;
            let verdict = self.alarms.judge(
                config,
                evidence,
                interval_s,
                effects,
                may_alarm && watched && (jumps || may_creep),
                counts(Detector::RobustZScore) || counts(Detector::Seasonal),
            );
            observation.score = f64::from(verdict.score);
            observation.skipped = verdict.skipped;
            self.fill_votes(
                &mut observation,
                &before,
                &digits,
                distances.novelty,
                verdict.per_digit,
                floor_single,
            );
        }
        self.look_for_stories(
            config,
            &mut observation,
            local,
            elapsed,
            value,
            &before,
            may_alarm,
            effects.skip_alarms,
        );
        self.take_over_level(residual, elapsed, floor);
        self.learned_s = (self.learned_s + elapsed).min(1e9);
        observation.score = observation.score.min(SCORE_MAX);
        observation.announce = observation.score > 1.0;
        observation
    }

    /// How improbable each detector's distance is, digits, in the order of [`Detector::ALL`]; the range has no tail, and 0.
    #[inline]
    fn digits(
        &mut self,
        distances: &Distances,
        seasonal: &Seasonal,
        floor: f32,
        weight: TailWeight,
    ) -> [f32; LANES] {
        let mut scores = [0.0; LANES];
        let mut floors = [floor; LANES];
        let mut has_score = [false; LANES];
        has_score[..TAILS].fill(true);
        has_score[Detector::Seasonal as usize] = seasonal.believed != Season::None;
        for (detector, score) in [
            (Detector::RobustZScore, distances.slow.abs() as f32),
            (Detector::Step, distances.change as f32),
            (Detector::Ewma, distances.smooth as f32),
            (Detector::LevelShift, distances.shift as f32),
            (Detector::Seasonal, seasonal.residual.abs()),
            (Detector::HourMean, self.levels.hour().abs()),
            (Detector::Variance, distances.variance as f32),
        ] {
            scores[detector as usize] = score;
        }
        floors[Detector::HourMean as usize] = hour_mean_floor(seasonal.believed) * floor;
        floors[Detector::Variance as usize] = VARIANCE_FLOOR;
        self.tails.digits(&scores, &floors, &has_score, weight)
    }

    fn take_off_season(
        &mut self,
        local: Micros,
        elapsed: f32,
        distances: &Distances,
        cut: f64,
        floor: f64,
    ) -> Seasonal {
        let offset = distances.slow as f32;
        let moves = || distances.slow.abs() > floor && self.levels.samples() > 20;
        if !self.seasons.is_begun() {
            if !moves() {
                return Seasonal {
                    residual: offset,
                    believed: Season::None,
                };
            }
            self.seasons.begin(self.time);
        }
        let seasons = &mut self.seasons;
        let seasonal = seasons.observe(self.time, local, elapsed, offset, cut as f32);
        if seasons.take_progress() {
            // What a better profile leaves is another quantity. A tail that has learned each weekend as large errors of the daily profile forgets
            // them in months only, and would call an idle Thursday usual. Once for each profile: what is doubted and believed again is known.
            for detector in [Detector::Seasonal, Detector::HourMean] {
                self.tails.forget(detector);
            }
        }
        seasonal
    }
}
