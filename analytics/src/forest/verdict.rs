//! From the numbers that a forest gives a row to alarms: how improbable they are among those of a class of resources, and how many alarms one may raise.
//!
//! A resource's own history is short: what is to happen to it once a month at most it has never seen. All resources of a class together live months in a
//! day, and since a row tells how far a resource is from its own usual place, their rows are of one kind. So the tails are those of the class
//! ([`ClassScores`]); a resource has its usual numbers, its rest and its own restraint ([`ResourceScores`]).

use serde::{Deserialize, Serialize};

use super::RowScores;
use crate::DetectorConfig;
use crate::calendar::Effects;
use crate::detection::AlarmControl;

/// The weight of a minute in what is judged: three minutes of a job or a restart hardly move it, ten say it.
const SMOOTHING: f32 = 0.1;
/// The weight of a minute in what is usual for a resource: half is forgotten in a day.
const USUAL_WEIGHT: f32 = 4.8e-4;
/// Numbers no further above a resource's usual ones than this are never unusual, by vote: forests of other seeds differ by as much; and a row that is a
/// fifth further away, squared, is not worth a word.
const LEAST: [f32; VOTES] = [0.03, 0.2];
/// Tails are held to fall off no faster than by e within this share of [`LEAST`]: below, the estimate is chance.
const FALL_MIN: f32 = 0.25;
/// Rows that a tail remembers for each resource: a day of minutes.
const REMEMBERED_MINUTES: f32 = 1440.0;
/// No row weighs more in a tail, or its 99 % quantile would rest on fewer than three.
const WEIGHT_MAX: f32 = 0.003;
/// How much more a row beyond the quantile weighs in what is known of the tail: about twenty of them make it where rows have their full weight.
const TAIL_WEIGHT: f32 = 16.7;
/// The share of rows beyond the quantile, and its digits.
const TAIL_SHARE: f32 = 0.01;
const TAIL_DIGITS: f32 = 2.0;
/// A number beyond the quantile moves the tail like one at most so many falls out, or one fault would make all later ones look usual. In a tail that
/// falls exponentially one in fifty is further out.
const FALLS_CUT: f32 = 4.0;
/// Numbers beyond the quantile from which on they are cut.
const TAIL_KNOWN: u32 = 20;
/// No history supports more than so many digits.
const DIGITS_MAX: f32 = 12.0;
/// Rows that a class's tails are made of before anything is told, and minutes of a resource.
const CLASS_ROWS_MIN: u32 = 1000;
const RESOURCE_MINUTES_MIN: u32 = 30;
/// So many minutes of a lasting story teach nothing; then what lasts is usual. 6 h, as for siblings.
const STORY_MINUTES_MAX: u16 = 360;
/// What more than this share of a class's resources do is a change of the class, not of a resource; as for siblings.
const APART_MAX: f64 = 0.25;
/// The digits of half of all rows: as usual as can be.
const DIGITS_USUAL: f64 = 0.301;
/// How far apart rows are, seconds.
const MINUTE_S: f32 = 60.0;

/// Numbers are cut here: no logarithm of a distance is larger.
const SCORE_MAX: f32 = 1000.0;

/// The forest, and the distance of all features together.
const VOTES: usize = 2;

/// How one number is distributed over the rows of a class: its 99 % quantile by stochastic approximation (Tierney 1983), and above it an exponential
/// tail, `P(X > x) = 0.01 · exp(−(x − q) / fall)`: isolation scores end at 1, and logarithms of distances fall off no slower.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct ScoreTail {
    mean: f32,
    quantile: f32,
    /// The mean excess over the quantile.
    fall: f32,
    seen: u32,
    above: u32,
}

impl ScoreTail {
    fn quantile(&self, least: f32) -> f32 {
        self.quantile.max(least)
    }

    /// −log10 of the probability of a number of at least this size, 0–12.
    fn digits(&self, number: f32, least: f32) -> f32 {
        let quantile = self.quantile(least);
        let digits = if number <= quantile {
            TAIL_DIGITS * number.max(0.0) / quantile
        } else {
            let fall = self.fall.max(FALL_MIN * least);
            TAIL_DIGITS + std::f32::consts::LOG10_E * (number - quantile) / fall
        };
        if number > least {
            digits.min(DIGITS_MAX)
        } else {
            0.0
        }
    }

    /// Learns a number; `weight`: of a row once many are known.
    fn learn(&mut self, number: f32, weight: f32) {
        let number = number.max(0.0);
        self.seen = self.seen.saturating_add(1);
        let known = 1.0 / self.seen as f32;
        self.mean += weight.max(known) * (number - self.mean);
        let step = 2.0 * weight.max(2.0 * known) * self.mean.max(0.2 * self.quantile);
        if number > self.quantile {
            self.above = self.above.saturating_add(1);
            let weight = (TAIL_WEIGHT * weight).max(1.0 / (self.above as f32 + 1.0));
            let excess = number - self.quantile;
            let excess = if self.above > TAIL_KNOWN {
                excess.min(FALLS_CUT * self.fall)
            } else {
                excess
            };
            self.fall += weight * (excess - self.fall);
            self.quantile += step * (1.0 - TAIL_SHARE);
        } else {
            self.quantile = (self.quantile - step * TAIL_SHARE).max(0.0);
        }
    }
}

/// How the numbers of a class's rows are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ClassScores {
    tails: [ScoreTail; VOTES],
}

/// What is remembered of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ResourceScores {
    /// Smoothed; means nothing while `seen` is 0.
    now: [f32; VOTES],
    usual: [f32; VOTES],
    seen: u32,
    /// Minutes that the present story has lasted.
    story: u16,
    /// Whether it was told.
    told: bool,
    alarms: AlarmControl,
}

/// One of the two numbers of a row, smoothed, and what is made of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreVote {
    /// The number.
    pub now: f64,
    /// What it usually is of this resource.
    pub usual: f64,
    /// What it stays below in 99 of 100 minutes of the class.
    pub upper: f64,
    /// How improbable it is, −log10 of its probability among all rows of the class, 0–12.
    pub digits: f64,
}

/// What is made of the numbers of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResourceVerdict {
    /// By the forest, and by the distance of all features together.
    pub votes: [ScoreVote; VOTES],
    /// Digits of both votes together: their mean.
    pub digits: f64,
    /// Digits from which a row is abnormal.
    pub digits_needed: f64,
    /// 0–1 normal, above 1 abnormal.
    pub score: f64,
    /// 0–1: how much of the warm-up has been seen.
    pub trust: f64,
    /// Whether it is not told because the calendar says so.
    pub skipped: bool,
}

impl ResourceVerdict {
    /// The digits that are usual.
    pub const DIGITS_USUAL: f64 = DIGITS_USUAL;
}

/// The digits of both votes together. Their mean: what only one of them finds odd is more often its own noise. In simulated fleets the largest of 1.5 months
/// of ordinary minutes was 4.3, that of the stronger vote 4.8, and what was planted had 4.4 to 9.
fn together(votes: [ScoreVote; VOTES]) -> f64 {
    votes.iter().map(|vote| vote.digits).sum::<f64>() / VOTES as f64
}

impl ClassScores {
    /// Of so many resources in a minute, how many may be abnormal: with more, it is the class that changes. One always may.
    pub fn apart_max(resources: usize) -> usize {
        ((APART_MAX * resources as f64) as usize).max(1)
    }
}

impl ResourceScores {
    /// Takes the numbers of a minute in, and returns how improbable they are now, digits.
    pub fn take(&mut self, class: &ClassScores, scores: RowScores) -> f64 {
        let scores = [scores.isolation as f32, scores.distance as f32];
        for (vote, score) in scores.into_iter().enumerate() {
            if score.is_nan() {
                continue;
            }
            let score = score.clamp(0.0, SCORE_MAX);
            if self.seen == 0 {
                (self.now[vote], self.usual[vote]) = (score, score);
            } else {
                self.now[vote] += SMOOTHING * (score - self.now[vote]);
            }
        }
        together([0, 1].map(|vote| self.vote(class, vote)))
    }

    fn vote(&self, class: &ClassScores, vote: usize) -> ScoreVote {
        let (tail, least) = (&class.tails[vote], LEAST[vote]);
        ScoreVote {
            now: f64::from(self.now[vote]),
            usual: f64::from(self.usual[vote]),
            upper: f64::from(self.usual[vote] + tail.quantile(least)),
            digits: f64::from(tail.digits(self.now[vote] - self.usual[vote], least)),
        }
    }

    /// Digits from which a minute is abnormal, this resource's restraint left out.
    pub fn digits_needed(config: &DetectorConfig) -> f64 {
        f64::from(AlarmControl::digits_allowed(config, MINUTE_S))
    }

    /// Judges what was taken in by those before, then learns it. `resources`: how many of the class have a row in this minute. `may_alarm`: whether nothing
    /// else speaks against an alarm.
    pub fn judge(
        &mut self,
        class: &mut ClassScores,
        config: &DetectorConfig,
        effects: &Effects,
        resources: usize,
        may_alarm: bool,
    ) -> ResourceVerdict {
        let votes = [0, 1].map(|vote| self.vote(class, vote));
        let digits = together(votes);
        let seen = class.tails[0].seen;
        let trust = (f64::from(seen) / f64::from(CLASS_ROWS_MIN))
            .min(f64::from(self.seen) / f64::from(RESOURCE_MINUTES_MIN))
            .min(1.0);
        self.alarms.pass(config, MINUTE_S);
        let may_alarm = may_alarm && trust >= 1.0 && !self.told;
        let judged = self
            .alarms
            .judge_single(config, digits as f32, MINUTE_S, effects, may_alarm);
        // What has begun is over when it is as usual as what one minute in a hundred is.
        let abnormal = if self.story == 0 {
            may_alarm && digits > judged.digits_needed
        } else {
            digits > f64::from(TAIL_DIGITS)
        };
        self.story = if abnormal {
            self.story.saturating_add(1)
        } else {
            0
        };
        self.told = (self.told || (may_alarm && judged.verdict.score > 1.0)) && abnormal;
        let mut score = judged.verdict.score;
        if !may_alarm {
            score = score.min(1.0);
        }
        let verdict = ResourceVerdict {
            votes,
            digits,
            digits_needed: judged.digits_needed,
            score: f64::from(score),
            trust,
            skipped: judged.verdict.skipped,
        };
        if effects.learn && self.teaches() {
            self.learn(class, resources);
        }
        verdict
    }

    /// Whether the row that was judged last is one to learn from: what lasts teaches nothing before it has lasted, or it would be usual before it is over.
    pub fn teaches(&self) -> bool {
        !(1..=STORY_MINUTES_MAX).contains(&self.story)
    }

    fn learn(&mut self, class: &mut ClassScores, resources: usize) {
        self.seen = self.seen.saturating_add(1);
        let known = 1.0 / self.seen as f32;
        let weight = (1.0 / (REMEMBERED_MINUTES * resources.max(1) as f32)).min(WEIGHT_MAX);
        for vote in 0..VOTES {
            class.tails[vote].learn(self.now[vote] - self.usual[vote], weight);
            self.usual[vote] += USUAL_WEIGHT.max(known) * (self.now[vote] - self.usual[vote]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of an ordinary minute of one of ten resources: isolation 0.4–0.5, distance 0.3–1.1.
    fn ordinary(minute: u64, resource: u64) -> RowScores {
        let mut mixed = (minute * 10 + resource + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let noise = (mixed >> 40) as f64 / (1 << 24) as f64;
        RowScores {
            isolation: 0.4 + 0.1 * noise,
            distance: 0.3 + 0.8 * noise,
        }
    }

    /// Lets ten resources live, `odd` says what resource 3 has instead; the minutes in which it was told and in which others were.
    fn live(minutes: u64, odd: impl Fn(u64) -> Option<RowScores>) -> (Vec<u64>, Vec<u64>) {
        let config = DetectorConfig::default();
        let mut class = ClassScores::default();
        let mut all = [ResourceScores::default(); 10];
        let (mut told, mut others) = (Vec::new(), Vec::new());
        for minute in 0..minutes {
            for (at, scores) in (0_u64..).zip(&mut all) {
                let row = odd(minute).filter(|_| at == 3);
                scores.take(&class, row.unwrap_or_else(|| ordinary(minute, at)));
                let verdict = scores.judge(&mut class, &config, &Effects::default(), 10, true);
                if verdict.score > 1.0 {
                    assert!(verdict.digits > verdict.digits_needed && verdict.trust >= 1.0);
                    if at == 3 { &mut told } else { &mut others }.push(minute);
                }
            }
        }
        (told, others)
    }

    const ODD: RowScores = RowScores {
        isolation: 0.7,
        distance: 2.5,
    };

    #[test]
    fn what_lasts_is_told_once_and_others_never() {
        let (told, others) = live(3000, |minute| (2000..2100).contains(&minute).then_some(ODD));
        assert!(
            matches!(told[..], [minute] if (2001..2012).contains(&minute)),
            "{told:?}"
        );
        assert_eq!(others, [0; 0]);
    }

    #[test]
    fn who_has_always_been_odd_and_whom_a_single_minute_makes_odd_are_not_told() {
        assert_eq!(live(3000, |_| Some(ODD)).0, [0; 0]);
        assert_eq!(
            live(3000, |minute| (minute % 500 == 499).then_some(ODD)).0,
            [0; 0]
        );
    }

    #[test]
    fn one_fault_does_not_hide_the_next() {
        let faults = |minute: u64| {
            let begins = [2000, 4000, 6500].into_iter();
            let on = begins
                .clone()
                .any(|from| (from..from + 120).contains(&minute));
            on.then_some(ODD)
        };
        assert_eq!(live(7000, faults).0.len(), 3);
    }

    #[test]
    fn extremes_are_no_panic_and_no_alarm_for_others() {
        let wild = [f64::NAN, f64::INFINITY, 1e308, -1.0, 0.0];
        let (_, others) = live(2000, |minute| {
            let value = wild[(minute % 5) as usize];
            (minute > 1500).then_some(RowScores {
                isolation: value,
                distance: value,
            })
        });
        assert_eq!(others, [0; 0]);
    }
}
