//! What the resources of a class were like in a minute, relative to each other.

use analytics::forest::FeatureShare;
use serde::{Deserialize, Serialize};

use super::Member;
use crate::series_table::SeriesTable;

/// The weight of a minute in what is usual for a resource: half is forgotten in an hour, 1 − 2^(−1/60).
const USUAL_WEIGHT: f64 = 0.011_486;

/// The mean of a feature in the open minute.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// The mean, NaN if nothing came; begins the next.
    fn close(&mut self) -> f64 {
        let Mean { sum, count } = std::mem::take(self);
        sum / f64::from(count)
    }
}

/// What a resource was like in a minute.
pub(super) struct Row<'a> {
    /// Of the resource's labels.
    pub(super) hash: u128,
    pub(super) member: &'a mut Member,
    /// By feature: the mean of the minute; NaN = not known.
    levels: Vec<f64>,
    /// The row as the forest knows it, see [`relate`].
    pub(super) values: Vec<f64>,
}

impl<'a> Row<'a> {
    /// Closes a member's minute; `None` if it said nothing.
    pub(super) fn close(member: &'a mut Member, table: &SeriesTable) -> Option<Self> {
        let levels: Vec<f64> = member.open.iter_mut().map(Mean::close).collect();
        if !levels.iter().any(|level| level.is_finite()) {
            return None;
        }
        let mut values = levels.clone();
        let changes = levels.iter().zip(&member.usual);
        values.extend(changes.map(|(level, usual)| level - usual));
        Some(Row {
            hash: table.resources().get(member.resource).labels().hash128(),
            member,
            levels,
            values,
        })
    }

    /// The share of features that are known.
    pub(super) fn completeness(&self) -> f64 {
        let known = self.levels.iter().filter(|level| level.is_finite()).count();
        known as f64 / self.levels.len().max(1) as f64
    }

    /// Learns what is usual for this resource.
    pub(super) fn learn(&mut self) {
        for (usual, level) in self.member.usual.iter_mut().zip(&self.levels) {
            if usual.is_nan() {
                *usual = *level;
            } else if level.is_finite() {
                *usual += USUAL_WEIGHT * (level - *usual);
            }
        }
    }

    /// By feature: what level and change add to the score together, beside what was to be expected: the level of the siblings if the level
    /// adds more, else the resource's own usual one, changed as the siblings' have. `medians` is what [`relate`] took away.
    pub(super) fn shares<'n>(
        &self,
        names: &'n [String],
        contributions: &[f64],
        medians: &[f64],
    ) -> Vec<FeatureShare<'n>> {
        let count = names.len();
        let shares = names.iter().enumerate().map(|(i, feature)| {
            let (level, change) = (contributions[i], contributions[count + i]);
            FeatureShare {
                feature,
                value: self.levels[i],
                expected: if level >= change {
                    medians[i]
                } else {
                    self.member.usual[i] + medians[count + i]
                },
                contribution: level.max(0.0) + change.max(0.0),
            }
        });
        shares.collect()
    }
}

/// Makes the values of rows relative to their siblings: takes from each column its median over the rows, and returns the medians. What moves
/// all of a class, as the hours of the day do, moves no row then.
pub(super) fn relate(rows: &mut [Row<'_>]) -> Vec<f64> {
    let width = rows.first().map_or(0, |row| row.values.len());
    let column = |rows: &mut [Row<'_>], i: usize| {
        let known: Vec<f64> = rows
            .iter()
            .map(|row| row.values[i])
            .filter(|value| value.is_finite())
            .collect();
        let median = median(&known);
        rows.iter_mut().for_each(|row| row.values[i] -= median);
        median
    };
    (0..width).map(|i| column(rows, i)).collect()
}

/// The upper median; 0 of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
