//! What a pool's used amount did in equal steps of time: the newest steps as they came, and a sample of blocks of older ones.

use std::collections::VecDeque;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use schemas::Micros;
use schemas::time::{DAY, HOUR, MINUTE};
use serde::{Deserialize, Serialize};

/// Days in a block of older days. 3: the length hardly matters (blocks of 3, 7, 14 and 30 days forecast alike on the public disks), and
/// short ones make room for many.
const BLOCK_DAYS: usize = 3;
/// Blocks of older days that are kept. 60: 0.7 kB, half of what the recent days take. With a dozen, whether the one large step of a
/// year is among them is a matter of luck.
const BLOCKS: usize = 60;
/// What happened this many days ago weighs half in the choice of blocks. 730: the habits of a machine last for years, but not for ever.
const BLOCK_HALF_LIFE_DAYS: f64 = 730.0;

/// What one step of time did, in units of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Used at its end minus used at its start.
    pub(crate) delta: f32,
    /// How far the highest sample within the step stood above both of its ends, ≥ 0.
    pub(crate) excess: f32,
}

impl Step {
    /// The highest that was reached, counted from the step's start, ≥ 0.
    pub(crate) fn rise(self) -> f64 {
        f64::from(self.delta.max(0.0)) + f64::from(self.excess)
    }
}

/// The step that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Open {
    /// Steps since 1970.
    index: i64,
    /// Used when it began, now, and at most within it.
    base: f64,
    close: f64,
    peak: f64,
    /// Whether its beginning was seen; the first step after a start was entered in the middle and says nothing.
    whole: bool,
}

/// One scale of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scale {
    /// How long a step is.
    step: Micros,
    /// Steps kept, the newest last.
    capacity: u16,
    /// Steps in a row without a sample that are filled in evenly. Over a longer hole the scale starts anew.
    hole_steps_max: u16,
    open: Option<Open>,
    recent: VecDeque<Step>,
    older: Option<Older>,
}

/// A sample of blocks of steps that left the recent ones: a reservoir biased to the near past (Aggarwal 2006).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Older {
    /// Only what was gained: what stood above both ends of a day long ago is not worth its place.
    blocks: Vec<[f32; BLOCK_DAYS]>,
    /// The block that is being filled.
    filling: Vec<f32>,
    /// Blocks that came by, each weighing half after [`BLOCK_HALF_LIFE_DAYS`].
    weight: f64,
    /// Blocks that came by, which seeds the choice.
    count: u64,
}

impl Scale {
    /// Three hours in steps of five minutes: what fills within the hour.
    pub(crate) fn minutes() -> Self {
        Scale::new(5 * MINUTE, 36, 2, false)
    }

    /// Four days in hours: the daily rhythm, a few times.
    pub(crate) fn hours() -> Self {
        Scale::new(HOUR, 96, 2, false)
    }

    /// Half a year in days, and a sample of what was before. (Half a year: the window of the bootstrap that this grew from; twice
    /// as long or half as long forecasts worse or about as well on the public disks.)
    pub(crate) fn days() -> Self {
        Scale::new(DAY, 180, 31, true)
    }

    fn new(step: Micros, capacity: u16, hole_steps_max: u16, remembers: bool) -> Self {
        Scale {
            step,
            capacity,
            hole_steps_max,
            open: None,
            recent: VecDeque::new(),
            older: remembers.then(Older::default),
        }
    }

    /// The length of a step in days.
    pub(crate) fn step_days(&self) -> f64 {
        self.step as f64 / DAY as f64
    }

    /// Completed steps, oldest first.
    pub(crate) fn recent(&self) -> &VecDeque<Step> {
        &self.recent
    }

    /// The middle one of what the newest thirty steps gained, and its standard error, per day in units of the pool; zero without a step.
    pub(crate) fn middle_gain(&self) -> (f64, f64) {
        let newest = self.recent.iter().rev().take(30);
        let mut gains: Vec<f64> = newest.map(|step| f64::from(step.delta)).collect();
        let count = gains.len();
        if count == 0 {
            return (0.0, 0.0);
        }
        gains.sort_by(f64::total_cmp);
        let middle = gains[count / 2];
        let mut distances: Vec<f64> = gains.iter().map(|gain| (gain - middle).abs()).collect();
        distances.sort_by(f64::total_cmp);
        // 1.4826 median distances are the σ of a normal distribution, whose median is 1.2533 times as uncertain as its mean.
        let error = 1.2533 * 1.4826 * distances[count / 2] / (count as f64).sqrt();
        (middle / self.step_days(), error / self.step_days())
    }

    /// What was gained by the newest steps in all, per day in units of the pool: over whole weeks if there is one, else over whole days, so that the day and
    /// the hour do not matter; zero without a step.
    pub(crate) fn whole_gain(&self) -> f64 {
        let known = self.recent.len();
        let steps = |days: f64| ((days / self.step_days()) as usize).max(1);
        let period = [steps(7.0), steps(1.0), 1]
            .into_iter()
            .find(|period| *period <= known);
        let count = period.map_or(0, |period| known / period * period);
        let newest = self.recent.iter().rev().take(count);
        let gained: f64 = newest.map(|step| f64::from(step.delta)).sum();
        gained / (count.max(1) as f64 * self.step_days())
    }

    /// Takes a sample; `used` in units of the pool. Returns whether a step was completed by it.
    pub(crate) fn observe(&mut self, time: Micros, used: f64) -> bool {
        let index = time.div_euclid(self.step);
        let opened = |base: f64, whole: bool| Open {
            index,
            base,
            close: used,
            peak: used.max(base),
            whole,
        };
        let Some(open) = &mut self.open else {
            self.open = Some(opened(used, false));
            return false;
        };
        if index <= open.index {
            open.close = used;
            open.peak = open.peak.max(used);
            return false;
        }
        let done = *open;
        let holes = index - done.index - 1;
        if holes > i64::from(self.hole_steps_max) {
            self.recent.clear();
            self.open = Some(opened(used, false));
            return false;
        }
        if done.whole {
            self.push(Step {
                delta: (done.close - done.base) as f32,
                excess: (done.peak - done.close.max(done.base)) as f32,
            });
        }
        // What happened in a hole is spread over it and the step after it.
        let share = (used - done.close) / (holes + 1) as f64;
        for _ in 0..holes {
            self.push(Step {
                delta: share as f32,
                excess: 0.0,
            });
        }
        self.open = Some(opened(done.close + share * holes as f64, true));
        true
    }

    fn push(&mut self, step: Step) {
        self.recent.push_back(step);
        if self.recent.len() > usize::from(self.capacity)
            && let (Some(left), Some(older)) = (self.recent.pop_front(), &mut self.older)
        {
            older.take(left);
        }
    }

    /// A block of steps to repeat: one that happened, chosen by `random`. `window` limits it to that many newest steps, and with
    /// `None` the older blocks take part too. At `phase` steps' distance (if given and there is history for it), the block begins where
    /// the present is in that rhythm.
    pub(crate) fn block(
        &self,
        random: &mut Random,
        window: Option<usize>,
        phase: Option<usize>,
        length: usize,
    ) -> impl Iterator<Item = Step> + '_ {
        let known = self.recent.len();
        let older = self
            .older
            .as_ref()
            .filter(|older| window.is_none() && !older.blocks.is_empty());
        if let Some(older) = older {
            let weight = older.weight * BLOCK_DAYS as f64;
            if random.unit() * (weight + known as f64) < weight {
                let block = &older.blocks[random.below(older.blocks.len())];
                return Steps::Older(block.iter());
            }
        }
        let window = window.unwrap_or(known).clamp(1, known.max(1));
        // The age of the first step of the block, 1 for the newest.
        let age = match phase {
            Some(period) if window >= period => period * (1 + random.below(window / period)),
            _ => 1 + random.below(window),
        };
        Steps::Recent {
            steps: &self.recent,
            from: known - window,
            at: known.saturating_sub(age),
            left: if known == 0 { 0 } else { length },
        }
    }
}

/// The steps of a block; past the newest step it goes on at the start of the window.
enum Steps<'a> {
    Older(std::slice::Iter<'a, f32>),
    Recent {
        steps: &'a VecDeque<Step>,
        from: usize,
        at: usize,
        left: usize,
    },
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self {
            Steps::Older(deltas) => deltas.next().map(|delta| Step {
                delta: *delta,
                excess: 0.0,
            }),
            Steps::Recent {
                steps,
                from,
                at,
                left,
            } => {
                *left = left.checked_sub(1)?;
                if *at >= steps.len() {
                    *at = *from;
                }
                let step = steps.get(*at).copied();
                *at += 1;
                step
            }
        }
    }
}

impl Older {
    fn take(&mut self, step: Step) {
        self.filling.push(step.delta);
        let Ok(block) = <[f32; BLOCK_DAYS]>::try_from(self.filling.as_slice()) else {
            return;
        };
        self.filling.clear();
        self.weight *= libm::exp2(-(BLOCK_DAYS as f64) / BLOCK_HALF_LIFE_DAYS);
        self.weight += 1.0;
        self.count += 1;
        if self.blocks.len() < BLOCKS {
            self.blocks.push(block);
            return;
        }
        let mut random = Random::new(self.count);
        if random.unit() * self.weight < BLOCKS as f64 {
            let place = random.below(BLOCKS);
            self.blocks[place] = block;
        }
    }
}

/// Seeded randomness.
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..n; 0 if n is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // The bias of at most n / 2⁵³ is nothing here.
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Normal with mean 0 and variance 1 (Box & Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }
}
