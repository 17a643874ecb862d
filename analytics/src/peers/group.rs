//! A group of siblings: its level, who stands apart from it, and what each member learns of its place.

use schemas::time::{HOUR, MINUTE, SECOND};
use schemas::{Direction, Micros};
use serde::{Deserialize, Serialize};

use super::member::{Member, Move, Seen};
use super::{PeerEvent, PeersConfig};

/// Members that a group may have; newcomers beyond are not compared. 10,000 of 64 bytes are 640 KB, and a window of them takes 1 ms.
pub const MEMBERS_MAX: usize = 10_000;

/// Makes the median absolute deviation agree with σ for normal data (Rousseeuw & Croux 1993).
const MAD_TO_SIGMA: f64 = 1.4826;

/// Values are cut here: no metric is larger, and distances of such values still fit a single.
const VALUE_MAX: f64 = 1e36;

/// The largest score told.
const SCORE_MAX: f64 = 1e6;

/// The siblings of one metric and what is remembered of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// Start of the first window and of the latest one; `None` before any.
    windows: Option<(Micros, Micros)>,
    /// The usual size of the level.
    level_usual: f64,
    /// By id, ascending.
    members: Vec<Member>,
}

/// A member with a value in the window.
struct Present {
    /// Its place in the list of members.
    at: usize,
    value: f64,
    expected: f64,
    /// Of its usual error or its siblings', and of the smallest band.
    sigma: f64,
    half_width: f64,
    score: f64,
    /// Whether it and the group are known well enough for it to have a place.
    settled: bool,
}

/// Where a member is in a window, beside where it usually is among its siblings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Who.
    pub member: u32,
    /// What its siblings' values and its usual place among them let expect.
    pub expected: f64,
    /// σ of the usual error of that, > 0.
    pub sigma: f64,
    /// How many of those its value is from the expectation; negative below it.
    pub sigmas: f64,
}

impl Group {
    /// Compares the members in the window of a minute that begins at `start`; each has a number and its value in the window (a counter:
    /// its rate). Returns who is to be told of, by number.
    ///
    /// A window that is not after the last one, and values that are not finite, change nothing; of a member given twice the last
    /// value counts. With fewer members than `members_min` nobody is judged and nothing learned.
    pub fn observe_window(
        &mut self,
        config: &PeersConfig,
        start: Micros,
        values: &[(u32, f64)],
    ) -> Vec<PeerEvent> {
        self.take_window(config, start, values, true).1
    }

    /// As [`Group::observe_window`], but that nobody is told of: who stands apart is told of when that goes on in a window that is observed.
    pub fn learn_window(&mut self, config: &PeersConfig, start: Micros, values: &[(u32, f64)]) {
        self.take_window(config, start, values, false);
    }

    /// As [`Group::observe_window`], for who wants to know where all are instead of who is to be told of. Members who are new, or all while the group is, have
    /// no place yet.
    pub fn place_window(
        &mut self,
        config: &PeersConfig,
        start: Micros,
        values: &[(u32, f64)],
    ) -> Vec<Placed> {
        let (present, _) = self.take_window(config, start, values, true);
        present
            .iter()
            .filter(|p| p.settled)
            .map(|p| Placed {
                member: self.members[p.at].id,
                expected: p.expected,
                sigma: p.sigma,
                sigmas: ((p.value - p.expected) / p.sigma).clamp(-SCORE_MAX, SCORE_MAX),
            })
            .collect()
    }

    fn take_window(
        &mut self,
        config: &PeersConfig,
        start: Micros,
        values: &[(u32, f64)],
        tell: bool,
    ) -> (Vec<Present>, Vec<PeerEvent>) {
        let (first, before) = self.windows.unwrap_or((start, Micros::MIN));
        if self.windows.is_some() && start <= before {
            return (Vec::new(), Vec::new());
        }
        self.windows = Some((first, start));
        if before.div_euclid(HOUR) != start.div_euclid(HOUR) {
            self.forget(config, start);
        }
        let mut present = self.find(config, start, values);
        if present.len() < (config.members_min as usize).max(3) {
            return (Vec::new(), Vec::new());
        }
        let mut scratch: Vec<f64> = Vec::with_capacity(present.len());
        scratch.extend(present.iter().map(|p| self.members[p.at].level_of(p.value)));
        let level = median(&mut scratch);
        self.judge(config, start, level, &mut present, &mut scratch);

        let apart = present.iter().filter(|p| p.score > 1.0).count();
        // A share of at most a half of what fits a vector.
        let apart_max = ((config.apart_max * present.len() as f64) as usize).max(1);
        let (range, siblings) = (siblings_range(&present), present.len() as u32 - 1);
        let warm = seconds_between(first, start) >= config.warm_up_s;
        self.learn_level(config, seconds_between(before.max(first), start), level);

        let (mut events, mut moves) = (Vec::new(), Vec::with_capacity(present.len()));
        for p in &mut present {
            let member = &mut self.members[p.at];
            let elapsed_s = member.keep_time(config, start);
            p.settled = warm && !member.is_new(config, start);
            let cut = if p.settled { p.half_width } else { f64::MAX };
            let seen = Seen {
                value: p.value,
                level,
                size: level.abs().max(self.level_usual),
                cut,
            };
            if p.score <= 1.0 || !warm {
                member.stand_among(config, elapsed_s);
                let by = member.learn(config, seen, elapsed_s);
                // A newcomer finds its place beside those who have one, and moves nobody else's.
                if p.settled || !warm {
                    moves.push((p.at, by));
                } else {
                    member.shift(by);
                }
                continue;
            }
            // Where too many stand apart, the group changes, and it is nobody's story: until most are back, or have come along.
            let may_tell = tell && apart <= apart_max;
            if member.stand_apart(config, p.score, elapsed_s, may_tell) {
                let (low, high) = range;
                events.push(PeerEvent {
                    member: member.id,
                    window_start: start,
                    since: start + MINUTE - (member.apart_s() * SECOND as f64) as Micros,
                    value: p.value,
                    expected: p.expected,
                    lower: p.expected - p.half_width,
                    upper: p.expected + p.half_width,
                    times: member.score_min(),
                    sigmas: p.score * config.threshold_sigmas,
                    direction: if p.value < p.expected {
                        Direction::Low
                    } else {
                        Direction::High
                    },
                    siblings,
                    siblings_low: low,
                    siblings_high: high,
                });
            }
            if member.apart_s() >= config.accept_s {
                member.accept(seen);
            }
        }
        self.learn(&moves);
        (present, events)
    }

    /// How many members are remembered.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no member is remembered.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Start of the latest window, microseconds; `None` before any.
    pub fn last_window(&self) -> Option<Micros> {
        self.windows.map(|(_, last)| last)
    }

    fn forget(&mut self, config: &PeersConfig, now: Micros) {
        self.members
            .retain(|member| seconds_between(member.last(), now) < config.forget_s);
    }

    /// The members that have a value, by number; newcomers are added.
    fn find(&mut self, config: &PeersConfig, start: Micros, values: &[(u32, f64)]) -> Vec<Present> {
        let usable = values.iter().filter(|(_, value)| value.is_finite());
        let mut values: Vec<(u32, f64)> = usable.copied().collect();
        // Stable: of values for the same member the last one stays last.
        values.sort_by_key(|(id, _)| *id);
        let known = self.members.len();
        // Newcomers of a window that is too small would never be looked at.
        if values.len() >= config.members_min as usize {
            for (id, _) in &values {
                let is_known = self.members[..known]
                    .binary_search_by_key(id, |m| m.id)
                    .is_ok();
                let is_added = self.members[known..].last().is_some_and(|m| m.id == *id);
                if !is_known && !is_added && self.members.len() < MEMBERS_MAX {
                    self.members.push(Member::new(*id, start));
                }
            }
            if self.members.len() > known {
                self.members.sort_unstable_by_key(|member| member.id);
            }
        }
        let mut present: Vec<Present> = Vec::with_capacity(values.len());
        for (id, value) in values {
            let Ok(at) = self.members.binary_search_by_key(&id, |m| m.id) else {
                continue;
            };
            let value = value.clamp(-VALUE_MAX, VALUE_MAX);
            match present.last_mut() {
                Some(last) if last.at == at => last.value = value,
                _ => present.push(Present {
                    at,
                    value,
                    expected: value,
                    sigma: 0.0,
                    half_width: 0.0,
                    score: 0.0,
                    settled: false,
                }),
            }
        }
        present
    }

    /// Gives each member present its expectation, its band and its score.
    fn judge(
        &self,
        config: &PeersConfig,
        start: Micros,
        level: f64,
        present: &mut [Present],
        scratch: &mut Vec<f64>,
    ) {
        for p in present.iter_mut() {
            p.expected = self.members[p.at]
                .expected(level)
                .clamp(-VALUE_MAX, VALUE_MAX);
        }
        scratch.clear();
        scratch.extend(present.iter().map(|p| (p.value - p.expected).abs()));
        let spread = MAD_TO_SIGMA * median(scratch);
        // A newcomer has no place yet: it may be as far from the level as its siblings' places are.
        scratch.clear();
        scratch.extend(present.iter().map(|p| (p.expected - level).abs()));
        let places = MAD_TO_SIGMA * median(scratch);
        for p in present.iter_mut() {
            let member = &self.members[p.at];
            let mut sigma = spread.max(member.sigma());
            if member.is_new(config, start) {
                sigma = sigma.max(places);
            }
            let size = p.expected.abs().max(level.abs()).max(self.level_usual);
            let smallest = (config.band_relative_min * size).max(config.band_absolute_min);
            p.sigma = sigma.max(smallest / config.threshold_sigmas);
            p.half_width = (config.threshold_sigmas * sigma * member.stretch()).max(smallest);
            p.score = ((p.value - p.expected).abs() / p.half_width).min(SCORE_MAX);
        }
    }

    /// Learns the usual size of the level; the first window sets it.
    fn learn_level(&mut self, config: &PeersConfig, elapsed_s: f64, level: f64) {
        let weight = if self.level_usual == 0.0 {
            1.0
        } else {
            1.0 - libm::exp2(-elapsed_s / config.half_life_s)
        };
        self.level_usual += weight * (level.abs().min(VALUE_MAX) - self.level_usual);
    }

    /// Moves places, less what all of them move by alike: that belongs to the level. Without it, level and places could wander off in
    /// opposite directions, since only their sum is seen.
    fn learn(&mut self, moves: &[(usize, Move)]) {
        let count = moves.len().max(1) as f64;
        // Sorted, so that the sum's last bit does not depend on who came first.
        let mean = |part: fn(&Move) -> f64| {
            let mut parts: Vec<f64> = moves.iter().map(|(_, m)| part(m) / count).collect();
            parts.sort_unstable_by(f64::total_cmp);
            parts.iter().sum::<f64>()
        };
        let (offset, ratio) = (mean(|m| m.offset), mean(|m| m.ratio));
        for (at, by) in moves {
            self.members[*at].shift(Move {
                offset: by.offset - offset,
                ratio: by.ratio - ratio,
            });
        }
    }
}

/// The smallest and largest value of those that do not stand apart; of all, if all do.
fn siblings_range(present: &[Present]) -> (f64, f64) {
    let range = |wanted: &dyn Fn(&Present) -> bool| {
        let values = present.iter().filter(|p| wanted(p)).map(|p| p.value);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let among = range(&|p| p.score <= 1.0);
    if among.0 <= among.1 {
        among
    } else {
        range(&|_| true)
    }
}

/// The median of values that are not NaN, at least one; the mean of the middle two of an even number. Reorders them.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if even => 0.5 * lower + 0.5 * upper,
        _ => upper,
    }
}

fn seconds_between(from: Micros, to: Micros) -> f64 {
    to.saturating_sub(from) as f64 / SECOND as f64
}
