//! The Numenta Anomaly Benchmark v1.1, with the detectors' defaults and causal input: they see each sample once, in order, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use analytics::{DetectorConfig, SeriesDetectors};

use crate::{Report, ScoreError, SeriesScore};

mod corpus;
mod scorer;

#[cfg(test)]
mod tests;

use scorer::{LabelledSeries, PROFILES};

/// The threshold, fixed before any data was seen: the calibrated score says of itself that above 1 is anomalous.
const THRESHOLD: f64 = 1.0;

/// Runs the benchmark on the folder `nab` of `data`.
///
/// # Errors
/// [`ScoreError`] if a file is missing or of another form.
pub(crate) fn run(data: &Path) -> Result<Report, ScoreError> {
    let corpus = corpus::read(&data.join("nab"))?;
    let scores: Vec<Vec<f64>> = corpus.iter().map(calibrated_scores).collect();
    let mut metrics = BTreeMap::new();
    for (profile, optimised) in PROFILES
        .into_iter()
        .zip(scorer::optimised(&corpus, &scores))
    {
        metrics.insert(
            profile.name.to_owned(),
            scorer::fixed(&corpus, &scores, profile, THRESHOLD),
        );
        metrics.insert(format!("{}_optimised", profile.name), optimised);
    }
    let mut per_series = Vec::with_capacity(corpus.len());
    for (series, scores) in corpus.iter().zip(&scores) {
        let (hit, false_rows) = series.hits(|row| scores[row] > THRESHOLD);
        let counts = [
            ("windows", series.windows),
            ("windows_hit", hit),
            ("false_rows", false_rows),
        ];
        for (name, count) in counts {
            *metrics.entry(name.to_owned()).or_insert(0.0) += count as f64;
        }
        per_series.push(SeriesScore {
            series: series.name.clone(),
            metrics: counts
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count as f64))
                .collect(),
        });
    }
    Ok(Report {
        benchmark: "nab",
        metrics,
        per_series,
    })
}

fn calibrated_scores(series: &LabelledSeries) -> Vec<f64> {
    let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
    series
        .times
        .iter()
        .zip(&series.values)
        .map(|(time, value)| detectors.observe(&config, *time, *value).score)
        .collect()
}
