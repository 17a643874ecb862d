//! The hours of a profile, as they are kept and as a sample sees them: the one it is in, and both its neighbours.

use serde::{Deserialize, Serialize};

use super::Hour;

/// Hours of a day.
pub(super) const DAY_HOURS: usize = 24;
/// Hours of a week.
pub(super) const WEEK_HOURS: usize = 168;

/// A visit weighs at least this. 0.35: half of the memory is the last two visits, so a changed habit is learned in a week.
const VISIT_WEIGHT_MIN: f32 = 0.35;

/// What an hour adds that was never visited: nothing that a visited one can.
const UNVISITED: f32 = f32::INFINITY;

/// Hours that repeat: what each adds to the level, and how often it was visited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Hours<const N: usize> {
    #[serde(with = "listed")]
    added: [f32; N],
    #[serde(with = "listed")]
    visits: [u8; N],
}

impl<const N: usize> Hours<N> {
    /// None was visited.
    pub(super) fn new() -> Self {
        Hours {
            added: [0.0; N],
            visits: [0; N],
        }
    }

    /// The same hours over a longer period: until a weekday has shown that it differs, it is taken to be like the day before it was begun.
    pub(super) fn repeated<const M: usize>(&self) -> Hours<M> {
        Hours {
            added: std::array::from_fn(|hour| self.added[hour % N]),
            visits: std::array::from_fn(|hour| self.visits[hour % N].min(1)),
        }
    }

    /// Learns what a visit found on average.
    pub(super) fn learn(&mut self, hour_of_week: usize, mean: f32) {
        let bucket = hour_of_week % N;
        self.visits[bucket] = self.visits[bucket].saturating_add(1);
        let weight = (1.0 / f32::from(self.visits[bucket])).max(VISIT_WEIGHT_MIN);
        self.added[bucket] += weight * (mean - self.added[bucket]);
    }

    /// What a sample in an hour sees.
    pub(super) fn near(&self, hour_of_week: usize) -> Near {
        let added = |hour: usize| match self.visits[hour % N] {
            0 => UNVISITED,
            _ => self.added[hour % N],
        };
        Near {
            before: added(hour_of_week + N - 1),
            own: added(hour_of_week),
            after: added(hour_of_week + 1),
        }
    }
}

/// What an hour and its neighbours add; [`UNVISITED`] if not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Near {
    before: f32,
    own: f32,
    after: f32,
}

impl Near {
    /// Nothing is known.
    pub(super) const NOTHING: Near = Near {
        before: UNVISITED,
        own: UNVISITED,
        after: UNVISITED,
    };

    /// What is left of an offset from the level: by the hour alone or in between it and its neighbour, whichever explains more. A season
    /// may have edges or slopes, and neither is to be called abnormal.
    #[inline]
    pub(super) fn residual(self, hour: Hour, offset: f32) -> Option<f32> {
        if self.own == UNVISITED {
            return None;
        }
        let alone = offset - self.own;
        let (neighbour, share) = if hour.past >= 0.5 {
            (self.after, hour.past - 0.5)
        } else {
            (self.before, 0.5 - hour.past)
        };
        if neighbour == UNVISITED {
            return Some(alone);
        }
        let between = alone - share * (neighbour - self.own);
        Some(if between.abs() < alone.abs() {
            between
        } else {
            alone
        })
    }
}

/// Arrays as lists: serde knows arrays of up to 32.
mod listed {
    use serde::de::{DeserializeOwned, Deserializer, Error};
    use serde::{Deserialize, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer, const N: usize>(
        array: &[T; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(array)
    }

    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[T; N], D::Error> {
        let list = Vec::<T>::deserialize(deserializer)?;
        <[T; N]>::try_from(list)
            .map_err(|list| D::Error::custom(format!("{} hours instead of {N}", list.len())))
    }
}
