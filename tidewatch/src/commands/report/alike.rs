//! Which pools behave alike (k-means).

use analytics::clusters::{ClustersConfig, find_clusters};
use ndarray::Array2;
use serde::Serialize;

use super::assess::Assessed;
use super::habits::Habits;

/// Pools that are told by name in a group.
const NAMED_MAX: usize = 3;

/// Pools that behave alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Alike {
    pub(super) pools: usize,
    /// What makes them differ from the others.
    pub(super) difference: String,
    /// Some of them, the riskiest first.
    pub(super) among: Vec<String>,
}

/// The groups of pools that behave alike, the largest first; empty where all do, or nothing is known. `pools`: by risk.
pub(super) fn alike(pools: &[Assessed]) -> Vec<Alike> {
    let known: Vec<(&Assessed, Habits)> = pools
        .iter()
        .filter_map(|pool| Some((pool, pool.habits?)))
        .collect();
    let features = ["used %", "trend %/day", "day's swing %", "restlessness %"];
    let rows = Array2::from_shape_fn((known.len(), features.len()), |(row, feature)| {
        let (pool, habits) = &known[row];
        let shares = [
            pool.share,
            habits.trend_per_day,
            habits.day_swing,
            habits.remainder,
        ];
        100.0 * shares[feature]
    });
    let features = features.map(str::to_owned);
    // A report goes without groups rather than not at all: one is refused for more pools than anybody reads of.
    let Ok(found) = find_clusters(&ClustersConfig::default(), &features, &rows.view()) else {
        return Vec::new();
    };
    if found.clusters.len() < 2 {
        return Vec::new();
    }
    let groups = found.clusters.iter().enumerate();
    groups
        .map(|(index, cluster)| {
            let members = known.iter().zip(&found.of_row);
            let among = members
                .filter(|(_, of)| **of == index)
                .map(|((pool, _), _)| pool.name.clone());
            Alike {
                pools: cluster.size,
                difference: cluster.describe(),
                among: among.take(NAMED_MAX).collect(),
            }
        })
        .collect()
}
