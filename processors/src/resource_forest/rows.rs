//! Where the resources of a class were in a minute, each beside where it usually is among its siblings.

use analytics::forest::{FeatureShare, RowExplained};
use analytics::peers::{Group, PeersConfig};
use schemas::Micros;
use serde::{Deserialize, Serialize};

use super::Member;
use crate::series_table::SeriesTable;

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
    /// Its place among the members.
    at: u32,
    /// Of the resource's labels.
    pub(super) hash: u128,
    pub(super) member: &'a mut Member,
    /// By feature: the mean of the minute; NaN = not known.
    levels: Vec<f64>,
    /// By feature: what was to be expected, and σ of the usual error of that; NaN = no place yet.
    expected: Vec<(f64, f64)>,
    /// By feature, as the forest knows it: how many σ the level is from what was expected, cut where that says nothing more; NaN = not known.
    pub(super) sigmas: Vec<f64>,
}

impl<'a> Row<'a> {
    /// Closes the minute of the member at a place; `None` if it said nothing.
    pub(super) fn close(at: u32, member: &'a mut Member, table: &SeriesTable) -> Option<Self> {
        let levels: Vec<f64> = member.open.iter_mut().map(Mean::close).collect();
        if !levels.iter().any(|level| level.is_finite()) {
            return None;
        }
        Some(Row {
            at,
            hash: table.resources().get(member.resource).labels().hash128(),
            member,
            expected: vec![(f64::NAN, f64::NAN); levels.len()],
            sigmas: vec![f64::NAN; levels.len()],
            levels,
        })
    }

    /// Whether enough is known of it to be judged: the place of at least one feature.
    pub(super) fn is_placed(&self) -> bool {
        self.sigmas.iter().any(|sigmas| sigmas.is_finite())
    }

    /// The share of features that are known.
    pub(super) fn completeness(&self) -> f64 {
        let known = self.levels.iter().filter(|level| level.is_finite()).count();
        known as f64 / self.levels.len().max(1) as f64
    }

    /// By feature: its share of the forest's score and of the distance together, and what was to be expected: by its siblings and its usual place among
    /// them, or, if that adds more, by its other features too.
    pub(super) fn shares<'n>(
        &self,
        names: &'n [String],
        explained: &RowExplained,
    ) -> Vec<FeatureShare<'n>> {
        let whole = |parts: &mut dyn Iterator<Item = f64>| {
            let sum: f64 = parts.map(|part| part.max(0.0)).sum();
            sum.max(f64::MIN_POSITIVE)
        };
        let by_forest = explained.alone.iter().zip(&explained.beside);
        let by_forest = whole(&mut by_forest.map(|(a, b)| a.max(0.0) + b.max(0.0)));
        let by_distance = whole(&mut explained.distances.iter().copied());
        let shares = names.iter().enumerate().map(|(i, feature)| {
            let (alone, beside) = (explained.alone[i].max(0.0), explained.beside[i].max(0.0));
            let (expected, sigma) = self.expected[i];
            FeatureShare {
                feature,
                value: self.levels[i],
                expected: if alone >= beside {
                    expected
                } else {
                    let by_others = self.sigmas[i] - explained.rest[i];
                    expected + by_others * sigma
                },
                contribution: (alone + beside) / by_forest
                    + explained.distances[i].max(0.0) / by_distance,
            }
        });
        shares.collect()
    }
}

/// Finds where each row's features are among those of the others, and lets the places be learned. `start` is that of the minute.
pub(super) fn place(
    rows: &mut [Row<'_>],
    places: &mut [Group],
    config: &PeersConfig,
    start: Micros,
) {
    for (feature, group) in places.iter_mut().enumerate() {
        let values: Vec<(u32, f64)> = rows
            .iter()
            .map(|row| (row.at, row.levels[feature]))
            .collect();
        let mut placed = group.place_window(config, start, &values).into_iter();
        let mut next = placed.next();
        // Both in the order of the members.
        for row in rows.iter_mut() {
            let Some(at) = next.filter(|placed| placed.member == row.at) else {
                continue;
            };
            row.sigmas[feature] = at.sigmas;
            row.expected[feature] = (at.expected, at.sigma);
            next = placed.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use analytics::SCORE_MAX;
    use analytics::forest::ResourceScores;

    use super::*;

    #[test]
    fn what_is_expected_beside_the_other_features_is_near_them_however_far_the_value_is() {
        // The value, where it is expected by its place and its σ, how many σ it is from there, how many of them the others leave unexplained.
        for (value, place, sigma, sigmas, rest, expected) in [
            (20.0, 10.0, 2.0, 5.0, 3.0, 14.0),
            (20.0, 10.0, 2.0, 5.0, 7.0, 6.0),
            (27.7, 0.0, 2e-7, SCORE_MAX, SCORE_MAX - 4.0, 8e-7),
        ] {
            let mut member = Member {
                resource: 0,
                class: 0,
                open: Vec::new(),
                scores: ResourceScores::default(),
            };
            let row = Row {
                at: 0,
                hash: 0,
                member: &mut member,
                levels: vec![value],
                expected: vec![(place, sigma)],
                sigmas: vec![sigmas],
            };
            let explained = RowExplained {
                alone: vec![0.0],
                beside: vec![1.0],
                distances: vec![1.0],
                rest: vec![rest],
            };
            let names = ["a feature".to_owned()];
            let share = &row.shares(&names, &explained)[0];
            assert!(
                (share.expected - expected).abs() < 1e-9,
                "{value}: {}",
                share.expected
            );
        }
    }
}
