//! From votes to alarms: how much evidence the allowed rate of alarms asks for, the rest after an alarm, and what recurs.

use serde::{Deserialize, Serialize};

use super::config::DetectorConfig;
use crate::calendar::Effects;

/// A vote counts from this many digits on. 1.5: one sample in thirty is this unusual to a detector, and nothing is to be learned from it.
pub(crate) const DIGITS_COUNTED_FROM: f32 = 1.5;

/// Digits that the votes must bring together per digit that the allowed rate asks for, less one. 1.4: the votes look at the same samples from
/// several sides, so what they bring adds up faster than the sample is rare; 1.2 to 1.5 do alike, above that faults are missed.
const DIGITS_PER_DIGIT: f32 = 1.4;

/// An alarm makes the next one this much harder, ln(1.1); time makes it easier again, just as fast as the allowed rate makes alarms. So a
/// series cannot alarm more often than allowed for long (an integral controller as in adaptive conformal inference, Gibbs & Candès 2021).
const STRETCH_STEP: f32 = 0.095_31;

/// The stretch never exceeds e^1.5 = 4.5, or a bad week would make a series deaf.
const STRETCH_MAX: f32 = 1.5;

/// In the rest after an alarm, only evidence larger than that alarm's by this is told. 1.2: clearly worse, not just again.
const WORSE: f32 = 1.2;

/// Stories whose distances agree within this share recur.
const RECURRENCE_TOLERANCE: f32 = 0.25;

/// Recurrences after which a story is normal: four stories at three like distances.
const RECURRENCES_MIN: u8 = 2;

const MONTH_S: f32 = 30.0 * 86_400.0;

/// The state between votes and alarms: 28 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct AlarmControl {
    /// Rest left, seconds.
    rest_s: f32,
    /// The evidence of the last alarm, digits.
    told: f32,
    /// ≥ 0, see [`STRETCH_STEP`].
    stretch: f32,
    /// Since the last story began, seconds; means nothing while `stories` is 0.
    since_story_s: f32,
    /// Since evidence was last above the threshold, seconds.
    since_evidence_s: f32,
    /// The distance of the last two stories, seconds.
    spacing_s: f32,
    /// How often the distance was the same.
    recurrences: u8,
    /// Stories seen, 0–2.
    stories: u8,
    /// Whether the calendar has kept back the present story.
    skipped: bool,
}

/// What is made of evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// The calibrated score.
    pub(crate) score: f32,
    /// What a digit of evidence adds to the score before any restraint.
    pub(crate) per_digit: f32,
    /// Whether an alarm is not told because the calendar says so; once per story.
    pub(crate) skipped: bool,
}

/// What is made of a single vote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Single {
    pub(crate) verdict: Verdict,
    /// The digits that an alarm took.
    pub(crate) digits_needed: f64,
}

impl AlarmControl {
    /// Lets time pass.
    #[inline]
    pub(crate) fn pass(&mut self, config: &DetectorConfig, elapsed_s: f32) {
        self.rest_s = (self.rest_s - elapsed_s).max(0.0);
        self.since_story_s = (self.since_story_s + elapsed_s).min(1e9);
        self.since_evidence_s = (self.since_evidence_s + elapsed_s).min(1e9);
        if self.stretch > 0.0 {
            let eases = STRETCH_STEP * config.alarms_per_month as f32 * elapsed_s / MONTH_S;
            self.stretch = (self.stretch - eases).max(0.0);
        }
    }

    /// Whether the calendar has kept back a story, which may go on.
    pub(crate) fn keeps_back(&self) -> bool {
        self.skipped
    }

    /// Judges the sum of what votes bring beyond [`DIGITS_COUNTED_FROM`]. `interval_s`: the series' own. `effects`: of the calendar.
    /// `may_alarm`: whether nothing else speaks against an alarm. `away`: whether the sample itself is far from what was expected, and not only
    /// those before it.
    pub(crate) fn judge(
        &mut self,
        config: &DetectorConfig,
        evidence: f32,
        interval_s: f32,
        effects: &Effects,
        may_alarm: bool,
        away: bool,
    ) -> Verdict {
        let needed = DIGITS_PER_DIGIT
            * (Self::digits_allowed(config, interval_s) - 1.0)
            * libm::expf(self.stretch)
            * effects.threshold_factor as f32;
        let score = evidence / needed;
        let mut verdict = Verdict {
            score,
            per_digit: 1.0 / needed,
            skipped: false,
        };
        if score <= 1.0 {
            return verdict;
        }
        // Who wants no rest wants to hear of everything again.
        let begins = self.note_story(interval_s);
        self.skipped &= !begins;
        let recurs = self.recurrences >= RECURRENCES_MIN && config.rest_s > 0.0;
        let worse = self.rest_s <= 0.0 || evidence > WORSE * self.told;
        // Of a story that was kept back, evidence lingers for an hour after its end. It is told only if it goes on.
        let goes_on = away || !self.skipped;
        let alarm = may_alarm && worse && !recurs && goes_on;
        if alarm && !effects.skip_alarms {
            self.rest_s = config.rest_s as f32;
            self.told = evidence;
            self.stretch = (self.stretch + STRETCH_STEP).min(STRETCH_MAX);
        } else {
            // No rest: what lasts longer than the calendar said is told then.
            verdict.skipped = alarm && begins;
            self.skipped |= alarm;
            verdict.score = restrained(score);
        }
        verdict
    }

    /// An event that votes do not make (a flat line, a drift) was told: it counts as an alarm.
    pub(crate) fn tell(&mut self, config: &DetectorConfig) {
        self.rest_s = self.rest_s.max(config.rest_s as f32);
        self.stretch = (self.stretch + STRETCH_STEP).min(STRETCH_MAX);
    }

    /// So many digits make a sample as rare as alarms may be among the samples of a month. At least 1.5, for series with few samples.
    pub(crate) fn digits_allowed(config: &DetectorConfig, interval_s: f32) -> f32 {
        let allowed = config.alarms_per_month.max(1e-3) as f32;
        libm::log10f(MONTH_S / interval_s.max(1e-3) / allowed).max(1.5)
    }

    /// As [`AlarmControl::judge`] where there is one vote, or the stronger of a few: an alarm takes as many digits as the allowed rate asks for.
    pub(crate) fn judge_single(
        &mut self,
        config: &DetectorConfig,
        digits: f32,
        interval_s: f32,
        effects: &Effects,
        may_alarm: bool,
    ) -> Single {
        let evidence = DIGITS_PER_DIGIT * (digits - 1.0).max(0.0);
        let restraint = libm::expf(self.stretch) * effects.threshold_factor as f32;
        let needed = 1.0 + (Self::digits_allowed(config, interval_s) - 1.0) * restraint;
        Single {
            verdict: self.judge(config, evidence, interval_s, effects, may_alarm, true),
            digits_needed: f64::from(needed),
        }
    }

    /// Takes note that there is evidence now, and says whether a story begins with it.
    fn note_story(&mut self, interval_s: f32) -> bool {
        // Evidence within ten minutes or ten samples goes on with the story.
        let goes_on = self.stories > 0 && self.since_evidence_s <= (10.0 * interval_s).max(600.0);
        self.since_evidence_s = 0.0;
        if !goes_on {
            let distance = self.since_story_s;
            let alike = (distance - self.spacing_s).abs() <= RECURRENCE_TOLERANCE * self.spacing_s;
            if self.stories >= 2 && alike {
                self.recurrences = self.recurrences.saturating_add(1);
            } else {
                self.recurrences = 0;
            }
            if self.stories > 0 {
                self.spacing_s = distance;
            }
            self.since_story_s = 0.0;
            self.stories = (self.stories + 1).min(2);
        }
        !goes_on
    }
}

/// A score above 1 that is not to be an alarm: just below 1, still in order.
fn restrained(score: f32) -> f32 {
    1.0 - 0.01 / score
}
