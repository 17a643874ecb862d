//! Web-service KPIs, one-minute, with labelled segments (WSD, Zhang et al. 2022), with the detectors' defaults and causal input.

use std::collections::BTreeMap;
use std::path::Path;

use analytics::{DetectorConfig, SeriesDetectors};

use crate::{Report, ScoreError, SeriesScore};

mod corpus;
mod recall;
mod vus;

/// At most so many false alarms per series and week, for the recall. 1: what an on-call person still reads.
const FALSE_ALARMS_PER_WEEK_MAX: f64 = 1.0;

/// The calibrated score above which a row is an alarm.
const THRESHOLD: f64 = 1.0;

/// Runs the benchmark on the folder `wsd` of `data`.
///
/// - `vus_pr`: of the raw score, mean over the series with labels;
/// - `recall`: share of all segments found within 7 minutes by the raw score, each series at its own lowest threshold with at most one false
///   alarm a week: how well the raw score ranks at the moment that counts;
/// - `recall_fixed`, `false_alarms_per_week`: the same of the calibrated score above 1, which nobody has tuned, over all series.
///
/// # Errors
/// [`ScoreError`] if a file is missing or of another form.
pub(crate) fn run(data: &Path) -> Result<Report, ScoreError> {
    let corpus = corpus::read(&data.join("wsd"))?;
    let mut per_series = Vec::with_capacity(corpus.len());
    let (mut volumes, mut weeks) = (Vec::new(), 0.0);
    let (mut segments, mut found, mut found_fixed, mut false_alarms) = (0, 0, 0, 0);
    for series in &corpus {
        let (raw, calibrated) = scores(series);
        let fixed = recall::found(series, |row| calibrated[row] > THRESHOLD);
        let mut metrics = BTreeMap::from([
            ("segments".to_owned(), series.segments().len() as f64),
            (
                "false_alarms_per_week".to_owned(),
                fixed.false_alarms as f64 / series.weeks(),
            ),
        ]);
        weeks += series.weeks();
        false_alarms += fixed.false_alarms;
        let count = series.segments().len();
        if count > 0 {
            let volume = vus::vus_pr(&series.labels, &raw, vus::period(&series.values));
            let best = recall::best(series, &raw, FALSE_ALARMS_PER_WEEK_MAX * series.weeks());
            volumes.push(volume);
            segments += count;
            found += best.found;
            found_fixed += fixed.found;
            let share = |found: usize| found as f64 / count as f64;
            metrics.insert("vus_pr".to_owned(), volume);
            metrics.insert("recall".to_owned(), share(best.found));
            metrics.insert("recall_fixed".to_owned(), share(fixed.found));
        }
        per_series.push(SeriesScore {
            series: series.name.clone(),
            metrics,
        });
    }
    // A folder without labels or of no length has nothing to divide by.
    let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let metrics = BTreeMap::from([
        (
            "vus_pr".to_owned(),
            ratio(volumes.iter().sum(), volumes.len() as f64),
        ),
        ("recall".to_owned(), ratio(found as f64, segments as f64)),
        (
            "recall_fixed".to_owned(),
            ratio(found_fixed as f64, segments as f64),
        ),
        (
            "false_alarms_per_week".to_owned(),
            ratio(false_alarms as f64, weeks),
        ),
        ("segments".to_owned(), segments as f64),
    ]);
    Ok(Report {
        benchmark: "wsd",
        metrics,
        per_series,
    })
}

/// The raw and the calibrated score of each row.
fn scores(series: &corpus::LabelledSeries) -> (Vec<f64>, Vec<f64>) {
    let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
    series
        .times
        .iter()
        .zip(&series.values)
        .map(|(time, value)| {
            let observation = detectors.observe(&config, *time, *value);
            (observation.raw_score, observation.score)
        })
        .unzip()
}

/// First and last row (inclusive) of each run of rows of which something is true.
fn runs(rows: usize, is_true: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for row in (0..rows).filter(|row| is_true(*row)) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            _ => runs.push((row, row)),
        }
    }
    runs
}
