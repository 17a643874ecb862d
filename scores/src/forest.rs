//! The benchmark `forest`: isolation forests on labelled tables of outliers (ADBench), all rows at once and in one pass.
//!
//! As the benchmark's authors do, the forest is fitted to all rows of a set, outliers included, without labels, and then ranks them. One
//! default for all sets; a set's figure is the mean over seeds. In one pass (`auroc_streaming`) the rows come in an order drawn by the seed,
//! and each is scored by a forest that has seen only earlier ones; those of the warm-up wait for the first forest and are scored by it.

use std::collections::BTreeMap;
use std::path::Path;

use analytics::forest::{
    ForestConfig, ForestError, StreamingConfig, StreamingForest, UnfittedForest,
};
use ndarray::{Array2, ArrayView2};

use crate::{Report, ScoreError, SeriesScore};

mod ranking;
mod table;

#[cfg(test)]
mod tests;

use ranking::{average_precision, roc_area};
use table::{Table, tables};

/// Seeds per set.
const SEEDS: u64 = 5;
/// Seeds for sets above `ROWS_LARGE` rows, on which seeds differ by less than 1 %.
const SEEDS_LARGE: u64 = 2;
const ROWS_LARGE: usize = 150_000;

/// Runs the default forest on every set of the folder `adbench` in a data folder.
///
/// # Errors
/// `ScoreError` if a set cannot be read.
pub(crate) fn run(data: &Path) -> Result<Report, ScoreError> {
    let mut per_series = Vec::new();
    for path in tables(&data.join("adbench"))? {
        let table = Table::read(&path)?;
        let seeds = if table.rows.nrows() > ROWS_LARGE {
            SEEDS_LARGE
        } else {
            SEEDS
        };
        let malformed = |error: ForestError| ScoreError::Malformed {
            path: path.clone(),
            expected: "a table that a forest takes".to_owned(),
            found: error.to_string(),
        };
        let run =
            |score: fn(ArrayView2<'_, f64>, ForestConfig) -> Result<Vec<f64>, ForestError>| {
                (0..seeds)
                    .map(|seed| {
                        let config = ForestConfig {
                            seed,
                            ..ForestConfig::default()
                        };
                        score(table.rows.view(), config).map_err(malformed)
                    })
                    .collect::<Result<Vec<_>, _>>()
            };
        let mut metrics = BTreeMap::new();
        for (suffix, scores) in [
            ("", run(batch_scores)?),
            ("_streaming", run(streaming_scores)?),
        ] {
            let mean = |measure: fn(&[f64], &[bool]) -> f64| {
                let measured = scores.iter().map(|one| measure(one, &table.outlier));
                measured.sum::<f64>() / scores.len() as f64
            };
            metrics.insert(format!("auroc{suffix}"), mean(roc_area));
            metrics.insert(format!("ap{suffix}"), mean(average_precision));
        }
        per_series.push(SeriesScore {
            series: table.name,
            metrics,
        });
    }
    let mean = |name: &str| {
        let sum: f64 = per_series
            .iter()
            .filter_map(|set| set.metrics.get(name))
            .sum();
        (format!("{name}_mean"), sum / per_series.len() as f64)
    };
    Ok(Report {
        benchmark: "forest",
        metrics: ["auroc", "ap", "auroc_streaming", "ap_streaming"]
            .map(mean)
            .into(),
        per_series,
    })
}

/// The scores of all rows by a forest fitted to them.
fn batch_scores(rows: ArrayView2<'_, f64>, config: ForestConfig) -> Result<Vec<f64>, ForestError> {
    let forest = UnfittedForest::try_new(config)?.fit(rows)?;
    Ok(forest.score(rows)?.to_vec())
}

/// The scores of all rows, which pass once, in an order drawn by the seed.
fn streaming_scores(
    rows: ArrayView2<'_, f64>,
    config: ForestConfig,
) -> Result<Vec<f64>, ForestError> {
    let seed = config.seed;
    let config = StreamingConfig {
        forest: config,
        ..StreamingConfig::default()
    };
    let mut forest = StreamingForest::try_new(config, rows.ncols())?;
    let mut scores = vec![0.0; rows.nrows()];
    let order = shuffled(rows.nrows(), seed);
    // Row by row in memory, for the row by row reading below.
    let rows: Array2<f64> = rows.as_standard_layout().into_owned();
    let mut waiting = Vec::new();
    for &i in &order {
        let row = rows.row(i);
        let row = row.as_slice().unwrap_or_default();
        match forest.observe(row)? {
            Some(score) => scores[i] = score,
            None => waiting.push(i),
        }
        if !waiting.is_empty()
            && let Some(first) = forest.forest()
        {
            for i in waiting.drain(..) {
                scores[i] = first.score_row(rows.row(i).as_slice().unwrap_or_default())?;
            }
        }
    }
    Ok(scores)
}

/// The numbers below n in an order that only the seed decides (Fisher and Yates).
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    // SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to shuffle.
    let mut state = seed;
    for i in (1..n).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        order.swap(i, ((u128::from(mixed) * (i as u128 + 1)) >> 64) as usize);
    }
    order
}
