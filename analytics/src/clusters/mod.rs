//! Clusters of behaviour, for reports: which resources are alike, and what makes each kind of them differ from the others.
//!
//! k-means (linfa, seeded) over a row of features per resource. Each feature is counted in its own spread, that of the closest third of its
//! values, so that two modes far apart do not hide each other, and then compressed (asinh), so that one wild resource is not the measure of all. The number of clusters is the one with the best *silhouette*
//! (Rousseeuw 1987): how much nearer each row is to the rows of its own cluster than to those of the next one, −1 to 1. Below 0.5 there is one cluster: what Kaufman & Rousseeuw (1990) call no reasonable structure is not reported as one.
//!
//! ```
//! use analytics::clusters::{ClustersConfig, find_clusters};
//! let features = ["cpu".to_owned(), "disk.io".to_owned()];
//! let rows = ndarray::Array2::from_shape_fn((30, 2), |(row, feature)| {
//!     let noise = ((row * 7 + feature * 3) % 5) as f64;
//!     if row < 10 && feature == 1 { 900.0 + noise } else { 20.0 + noise }
//! });
//! let found = find_clusters(&ClustersConfig::default(), &features, &rows.view()).unwrap();
//! assert_eq!((found.clusters.len(), found.clusters[1].size), (2, 10));
//! assert_eq!(found.clusters[1].describe(), "disk.io 902 (others 22.0)");
//! ```

use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_clustering::KMeans;
use ndarray::{Array2, ArrayView2, Axis};
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde::{Deserialize, Serialize};

use crate::detection::number;

/// Rows that are clustered at most. A hundred thousand rows of tens of features take seconds.
pub const ROWS_MAX: usize = 100_000;
/// Features that a row may have.
pub const FEATURES_MAX: usize = 256;
/// The least silhouette that counts as structure (Kaufman & Rousseeuw 1990, table 4).
const SILHOUETTE_MIN: f64 = 0.5;
/// Rows that a silhouette is computed from, at most: it compares each with each, a million pairs.
const SILHOUETTE_ROWS_MAX: usize = 1_000;
/// Features that differ by less, in σ of all rows, are not what makes a cluster.
const DIFFERENCE_MIN: f64 = 1.0;
/// Features that a cluster is described by.
const DIFFERENCES_MAX: usize = 3;
/// Starts of k-means, of which the best is taken: it finds a local optimum only.
const RUNS: usize = 8;

/// How clusters are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClustersConfig {
    /// The most clusters tried, 1–32. Default 8: more kinds than a reader holds in mind.
    pub clusters_max: usize,
    /// The seed: the same rows and seed give the same clusters.
    pub seed: u64,
}

impl Default for ClustersConfig {
    fn default() -> Self {
        ClustersConfig {
            clusters_max: 8,
            seed: 1,
        }
    }
}

/// Why rows can't be clustered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClustersError {
    /// Too many rows or features, or other features than the rows have (a mistake of the caller).
    #[error(
        "{rows} rows of {columns} values for {features} features: expected as many values as features, at most {FEATURES_MAX}, and at most {ROWS_MAX} rows; take fewer of them"
    )]
    Shape {
        /// Rows given.
        rows: usize,
        /// Values in each.
        columns: usize,
        /// Names of features given.
        features: usize,
    },
    /// The library refused the fit.
    #[error("k-means with {clusters} clusters: {reason}; report it with the data")]
    Fit {
        /// Clusters tried.
        clusters: usize,
        /// What it said.
        reason: String,
    },
}

impl HasFault for ClustersError {
    fn fault(&self) -> Fault {
        match self {
            ClustersError::Shape { .. } => Fault::BadInput,
            ClustersError::Fit { .. } => Fault::Bug,
        }
    }
}

impl HasCode for ClustersError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::CLUSTERS
    }
}

/// Rows in clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clusters {
    /// By row: the index of its cluster.
    pub of_row: Vec<usize>,
    /// The largest first.
    pub clusters: Vec<Cluster>,
    /// 0–1: how clearly they are apart; 0 if there is one.
    pub silhouette: f64,
}

/// Rows that are alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// How many rows.
    pub size: usize,
    /// By feature, in its own unit: the median of the rows; NaN if none of them has it.
    pub centre: Vec<f64>,
    /// What makes it differ from the rest, the clearest first; none if there is one cluster.
    pub differences: Vec<Difference>,
}

/// A feature by which a cluster differs from all other rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name.
    pub feature: String,
    /// The median in the cluster.
    pub value: f64,
    /// The median of the other rows.
    pub others: f64,
    /// How far they are apart, in σ of all rows.
    pub sigmas: f64,
}

impl Cluster {
    /// What makes it differ: `disk.io 902 (others 22.0), cpu 0.91 (others 0.30)`.
    pub fn describe(&self) -> String {
        let differences = self.differences.iter().map(|difference| {
            format!(
                "{} {} (others {})",
                difference.feature,
                number(difference.value),
                number(difference.others)
            )
        });
        differences.collect::<Vec<_>>().join(", ")
    }
}

/// Finds the clusters of rows (resources × features; a value that is not finite is not known, and counts as the median).
///
/// # Errors
/// `Shape` if there are too many rows or features; `Fit` if the library fails (a bug).
pub fn find_clusters(
    config: &ClustersConfig,
    features: &[String],
    rows: &ArrayView2<'_, f64>,
) -> Result<Clusters, ClustersError> {
    if rows.ncols() != features.len() || features.len() > FEATURES_MAX || rows.nrows() > ROWS_MAX {
        return Err(ClustersError::Shape {
            rows: rows.nrows(),
            columns: rows.ncols(),
            features: features.len(),
        });
    }
    let (scaled, scales) = scaled(rows);
    let (mut of_row, mut best) = (vec![0; rows.nrows()], SILHOUETTE_MIN);
    let mut silhouette_found = 0.0;
    // Each cluster of at least two rows, or a row of its own would be a cluster.
    for clusters in 2..=config.clusters_max.clamp(1, 32).min(rows.nrows() / 2) {
        let rng = Xoshiro256Plus::seed_from_u64(config.seed);
        let dataset = DatasetBase::from(scaled.view());
        let fit = KMeans::params_with_rng(clusters, rng)
            .n_runs(RUNS)
            .fit(&dataset);
        let model = fit.map_err(|error| ClustersError::Fit {
            clusters,
            reason: error.to_string(),
        })?;
        let found: Vec<usize> = model.predict(&scaled).to_vec();
        let silhouette = silhouette(&scaled, &found, clusters);
        if silhouette > best {
            (of_row, best, silhouette_found) = (found, silhouette, silhouette);
        }
    }
    Ok(described(of_row, silhouette_found, features, rows, &scales))
}

/// Features on one scale, see the module, with half of each one's σ; 0 where a value is not known.
fn scaled(rows: &ArrayView2<'_, f64>) -> (Array2<f64>, Vec<f64>) {
    let (mut scaled, mut scales) = (Array2::zeros(rows.raw_dim()), Vec::new());
    for (column, mut into) in rows.axis_iter(Axis(1)).zip(scaled.axis_iter_mut(Axis(1))) {
        // Halved, so that the distance of the two largest numbers is one, too.
        let known = column.iter().copied().filter(|value| value.is_finite());
        let mut halves: Vec<f64> = known.map(|value| 0.5 * value).collect();
        let Some(centre) = median(&mut halves) else {
            scales.push(f64::INFINITY);
            continue;
        };
        let sigma = spread(&mut halves, centre);
        scales.push(sigma);
        for (value, into) in column.iter().zip(&mut into) {
            let distance = (0.5 * value - centre) / sigma;
            if distance.is_finite() {
                *into = libm::asinh(distance);
            }
        }
    }
    (scaled, scales)
}

/// σ of what is close together: of the shortest stretch that holds a third of the values (after the shortest half of Rousseeuw & Leroy
/// 1988; a third, so that a feature of two equal modes has the spread of one). Where a third are the same, from the mean distance to the
/// centre. 0 if all are. Sorts the values; there is at least one.
fn spread(values: &mut [f64], centre: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let third = values.len() / 3 + 1;
    let stretches = values
        .windows(third.max(2))
        .map(|part| part[part.len() - 1] - part[0]);
    let shortest = stretches.fold(f64::INFINITY, f64::min);
    if shortest > 0.0 && shortest.is_finite() {
        // A third of normal data lies within ±0.4307 σ.
        return shortest / (2.0 * 0.4307);
    }
    // √(π/2) makes the mean absolute deviation agree with σ for normal data.
    let share = 1.2533 / values.len() as f64;
    values
        .iter()
        .map(|value| (value - centre).abs() * share)
        .sum()
}

/// The mean silhouette of rows (Rousseeuw 1987): (b − a) / max(a, b), where a is the mean distance to the rows of the own cluster and b
/// that to the rows of the nearest other one; 0 for a row that is alone. Of many rows every so-many-th is taken.
fn silhouette(rows: &Array2<f64>, of_row: &[usize], clusters: usize) -> f64 {
    let picked: Vec<usize> = (0..of_row.len())
        .step_by(of_row.len().div_ceil(SILHOUETTE_ROWS_MAX).max(1))
        .collect();
    let mut sizes = vec![0_u32; clusters];
    for row in &picked {
        sizes[of_row[*row]] += 1;
    }
    let mut sum = 0.0;
    for row in &picked {
        let own = of_row[*row];
        let mut distances = vec![0.0; clusters];
        for other in &picked {
            let pairs = rows.row(*row).into_iter().zip(rows.row(*other));
            let squares: f64 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
            distances[of_row[*other]] += squares.sqrt();
        }
        if sizes[own] < 2 {
            continue;
        }
        let near = distances[own] / f64::from(sizes[own] - 1);
        let others = (0..clusters).filter(|other| *other != own && sizes[*other] > 0);
        let next = others
            .map(|other| distances[other] / f64::from(sizes[other]))
            .fold(f64::INFINITY, f64::min);
        if next.is_finite() && near.max(next) > 0.0 {
            sum += (next - near) / near.max(next);
        }
    }
    sum / picked.len().max(1) as f64
}

/// Sorts clusters by size and says what makes each differ.
fn described(
    of_row: Vec<usize>,
    silhouette: f64,
    features: &[String],
    rows: &ArrayView2<'_, f64>,
    scales: &[f64],
) -> Clusters {
    let count = of_row.iter().max().map_or(0, |last| last + 1);
    let mut order: Vec<(usize, usize)> = (0..count)
        .map(|cluster| (cluster, of_row.iter().filter(|of| **of == cluster).count()))
        .filter(|(_, size)| *size > 0)
        .collect();
    // Equal sizes in the order of their first rows.
    let first = |cluster: usize| of_row.iter().position(|of| *of == cluster);
    order.sort_by(|a, b| b.1.cmp(&a.1).then(first(a.0).cmp(&first(b.0))));
    let mut place = vec![0; count];
    for (index, (cluster, _)) in order.iter().enumerate() {
        place[*cluster] = index;
    }
    let of_row: Vec<usize> = of_row.into_iter().map(|cluster| place[cluster]).collect();
    let middle = |values: ndarray::ArrayView1<'_, f64>, wanted: &dyn Fn(usize) -> bool| {
        let picked = values.iter().zip(&of_row).filter(|(_, of)| wanted(**of));
        let mut picked: Vec<f64> = picked
            .map(|(value, _)| *value)
            .filter(|v| v.is_finite())
            .collect();
        median(&mut picked).unwrap_or(f64::NAN)
    };
    let clusters = order.iter().enumerate().map(|(index, (_, size))| {
        let own = |of: usize| of == index;
        let other = |of: usize| of != index;
        let named = features.iter().zip(rows.columns()).zip(scales);
        let mut differences: Vec<Difference> = named
            .map(|((name, column), scale)| {
                let (value, others) = (middle(column, &own), middle(column, &other));
                Difference {
                    feature: name.clone(),
                    value,
                    others,
                    sigmas: (0.5 * value - 0.5 * others).abs() / scale,
                }
            })
            .filter(|d| d.sigmas >= DIFFERENCE_MIN && d.sigmas.is_finite())
            .collect();
        // Stable: of equal ones the first feature stays first.
        differences.sort_by(|a, b| b.sigmas.total_cmp(&a.sigmas));
        differences.truncate(DIFFERENCES_MAX);
        Cluster {
            size: *size,
            centre: rows
                .columns()
                .into_iter()
                .map(|c| middle(c, &own))
                .collect(),
            differences,
        }
    });
    let clusters = clusters.collect();
    Clusters {
        clusters,
        of_row,
        silhouette,
    }
}

/// The upper median of values that are not NaN; `None` of none. Reorders them.
fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests;
