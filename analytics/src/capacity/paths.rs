//! What may happen: random continuations of a pool's level, made of what it did before.

use super::burst::Burst;
use super::cycles::Rhythm;
use super::steps::{Random, Scale};

/// How far ahead anything is said, days: a year.
pub(crate) const HORIZON_DAYS: f64 = 365.0;
/// Steps of a scale from which it is used.
pub(crate) const STEPS_MIN: usize = 6;
/// Days for which hours tell more than days do.
const HOURLY_DAYS: f64 = 3.0;
/// Hours from which they are used for the near future, and days from which for the far one.
const HOURS_MIN: usize = 24;
const DAYS_MIN: usize = 14;
/// Repeats of a scale before its steps are taken twice as long, and again after as many more: what the far future needs is coarse.
const STRIDE_STEPS: usize = 128;

/// A cycle is walked as one of at least this part of the time so far: 64, so that cycles of an hour are not walked nine thousand times in a
/// year, and yet some three hundred peaks have their chance.
const CYCLES_GRAIN: f64 = 64.0;

/// A piece of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Piece {
    /// Its end, days from now.
    pub(crate) until: f64,
    /// The level at its end.
    pub(crate) level: f64,
    /// The highest level within it.
    pub(crate) peak: f64,
}

/// Everything that paths are made of.
pub(crate) struct Paths<'a> {
    /// The finest first: five minutes, hours, days.
    pub(crate) scales: [&'a Scale; 3],
    pub(crate) burst: Option<Burst>,
    pub(crate) rhythm: Option<Rhythm>,
    /// The present level, in units of the pool, as are all levels.
    pub(crate) used: f64,
}

impl Paths<'_> {
    /// Whether there is anything to make a path of.
    pub(crate) fn known(&self) -> bool {
        self.scales
            .iter()
            .any(|scale| scale.recent().len() >= STEPS_MIN)
    }

    /// Walks one path, piece by piece, until `visit` says that it has seen enough or a year is over.
    pub(crate) fn walk(&self, random: &mut Random, mut visit: impl FnMut(Piece) -> bool) {
        let mut at = Piece {
            until: 0.0,
            level: self.used,
            peak: self.used,
        };
        if let Some(burst) = self.burst {
            if !self.walk_burst(burst, random, &mut at, &mut visit) {
                return;
            }
        } else if let Some(rhythm) = &self.rhythm {
            walk_rhythm(rhythm, random, at, visit);
            return;
        }
        let [minutes, hours, days] = self.scales;
        let fine = if hours.recent().len() >= STEPS_MIN.max(HOURS_MIN) {
            Some(hours)
        } else {
            None
        };
        let far = if days.recent().len() >= DAYS_MIN {
            days
        } else if fine.is_some() || hours.recent().len() >= STEPS_MIN {
            hours
        } else if days.recent().len() >= STEPS_MIN {
            days
        } else {
            minutes
        };
        if let Some(hours) = fine
            && !repeat(hours, at.until + HOURLY_DAYS, random, &mut at, &mut visit)
        {
            return;
        }
        repeat(far, HORIZON_DAYS, random, &mut at, &mut visit);
    }

    /// The rise goes on for a while. Returns whether the path does.
    fn walk_burst(
        &self,
        burst: Burst,
        random: &mut Random,
        at: &mut Piece,
        visit: &mut impl FnMut(Piece) -> bool,
    ) -> bool {
        let scale = self.scales[burst.scale];
        let end = burst.remaining(random).min(HORIZON_DAYS);
        let mut drawn = 0;
        while at.until < end {
            let stride = f64::from(1_u32 << (drawn / 16).min(20));
            drawn += 1;
            let days = (scale.step_days() * stride).min(end - at.until);
            let share = days / scale.step_days();
            for step in scale.block(random, Some(burst.steps), None, 1) {
                at.peak = at.level + step.rise() * share;
                at.level += f64::from(step.delta) * share;
            }
            at.until += days;
            if !visit(*at) {
                return false;
            }
        }
        true
    }
}

/// Repeats blocks of a scale until `end`. Returns whether the path goes on.
fn repeat(
    scale: &Scale,
    end: f64,
    random: &mut Random,
    at: &mut Piece,
    visit: &mut impl FnMut(Piece) -> bool,
) -> bool {
    let known = scale.recent().len();
    let step_days = scale.step_days();
    let (day, week) = ((1.0 / step_days) as usize, 7);
    // A path lives either in the near past or in all of it: nobody knows which will be the likelier, so each has half.
    let (window, length) = if step_days >= 1.0 {
        ((random.unit() < 0.5).then_some(known), week)
    } else {
        let near = random.unit() < 0.5 && known >= 2 * day;
        (Some(if near { day } else { known }), day.min(24))
    };
    // Half of the paths keep the rhythm of the day.
    let phase = (step_days < 1.0 && random.unit() < 0.5).then_some(day);
    let mut repeated = 0;
    while at.until < end {
        let stride = f64::from(1_u32 << (repeated / STRIDE_STEPS).min(20));
        let stride = if step_days >= 1.0 { 1.0 } else { stride };
        for step in scale.block(random, window, phase, length) {
            repeated += 1;
            let days = (step_days * stride).min(end - at.until);
            let share = days / step_days;
            at.peak = at.level + f64::from(step.delta).max(0.0) * share + f64::from(step.excess);
            at.level += f64::from(step.delta) * share;
            at.until += days;
            if !visit(*at) {
                return false;
            }
            if at.until >= end {
                break;
            }
        }
    }
    true
}

/// Cycle after cycle: the peaks follow their line and scatter around it as they did.
fn walk_rhythm(
    rhythm: &Rhythm,
    random: &mut Random,
    start: Piece,
    mut visit: impl FnMut(Piece) -> bool,
) {
    let tilt = rhythm.slope_error * random.normal();
    let interval = |random: &mut Random| rhythm.intervals[random.below(rhythm.intervals.len())];
    let mut at = start;
    let mut next = interval(random) - rhythm.since_peak;
    if next <= 0.0 {
        // The peak is overdue; nobody knows by how much.
        next = random.unit() * interval(random);
    }
    while at.until < HORIZON_DAYS {
        let residual = rhythm.residuals[random.below(rhythm.residuals.len())];
        let top = rhythm.level
            + rhythm.slope * next
            + tilt * (next - rhythm.middle_days)
            + residual * (0.75 + 0.5 * random.unit());
        let top = top.max(at.level.min(start.level));
        at = Piece {
            until: next,
            level: top,
            peak: top,
        };
        if !visit(at) {
            return;
        }
        at.level = (top - rhythm.drop).min(top);
        let pause = interval(random).max(at.until / CYCLES_GRAIN);
        next += pause.max(1e-4);
        at = Piece {
            until: at.until,
            level: at.level,
            peak: at.level,
        };
        if !visit(at) {
            return;
        }
    }
}
