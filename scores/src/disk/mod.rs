//! Time to full: real storage growth with clean-ups, and generated fills that an alarm must tell from sawtooth and noise.
//!
//! **Real growth** (`disk/*.csv`: `day,tree_bytes,…`). Every 23 days after half a year of history, a ceiling 1, 3 and 10 % above the present
//! level, and the question when it is reached, with what was known until that day. Only origins with 180 days of future count, so that
//! every outcome is known. 23 is prime to weeks and months.
//!
//! * `median_abs_ln_ttf`, `p90_abs_ln_ttf`: |ln(told days / true days)| of what was full within 180 days. Told is the median date, in whole
//!   days, at least 1, at most 365 ("not within a year" is 365, so no answer is left out). `…_given_full` takes the median under the
//!   condition that it fills within the year instead.
//! * `brier_skill_14d`, `…_30d`: 1 − (Brier score of P(full within)) / (that of the base rate).
//! * `coverage_90`: how often the truth lies from the 5 % to the 95 % date; what was not full in 180 days counts as beyond them.
//! * `precision_…`, `recall_…`: of the alarm P(full within 14, 30 days) ≥ ½.
//!
//! The same for `predict_linear` over 7 days and for the plain block bootstrap (180 days, blocks of 7), with their names in front.
//! **Generated fills** are in [`fills`]; `false_24h_ratio` and its kin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use analytics::capacity::CapacityForecaster;
use schemas::time::DAY;

use crate::{Report, ScoreError, SeriesScore};

mod fills;
mod references;
#[cfg(test)]
mod tests;

/// Days between origins, and days of history before the first.
const ORIGIN_DAYS: usize = 23;
const HISTORY_DAYS: usize = 180;
/// Days within which an outcome is known, and the latest date that is told.
const OUTCOME_DAYS: usize = 180;
const TOLD_DAYS_MAX: f64 = 365.0;
/// The ceilings, as shares of the present level.
const ROOMS: [f64; 3] = [0.01, 0.03, 0.10];

/// Runs the benchmark on `data/disk` and on generated fills.
///
/// # Errors
/// `ScoreError` if the folder has no readable file of the format.
pub(crate) fn run(data: &Path) -> Result<Report, ScoreError> {
    let disks = read(&data.join("disk"))?;
    let mut all = Outcomes::default();
    let mut linear = Outcomes::default();
    let mut bootstrap = Outcomes::default();
    let mut per_series = Vec::new();
    for (name, levels) in &disks {
        let own = outcomes(levels);
        linear.extend(references::outcomes(levels, references::predict_linear_7d));
        bootstrap.extend(references::outcomes(levels, references::block_bootstrap));
        per_series.push(SeriesScore {
            series: format!("disk/{name}"),
            metrics: own.metrics(""),
        });
        all.extend(own);
    }
    let mut metrics = all.metrics("");
    metrics.extend(linear.metrics("predict_linear_7d_"));
    metrics.extend(bootstrap.metrics("block_bootstrap_"));
    metrics.extend(fills::metrics(&fills::SEEDS, &fills::INTERVALS));
    Ok(Report {
        benchmark: "disk",
        metrics,
        per_series,
    })
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    /// Days until the ceiling was reached; `None` if it was not within [`OUTCOME_DAYS`].
    truth: Option<f64>,
    /// Days to the 5, 50 and 95 % date; infinite beyond the horizon.
    days: [f64; 3],
    days_given_full: f64,
    /// P(full within 14, 30 days).
    p_14d: f64,
    p_30d: f64,
}

impl Outcome {
    /// From the days to full of many continuations, ascending.
    fn of(truth: Option<f64>, days: &[f64]) -> Outcome {
        let quantile = |days: &[f64], share: f64| {
            let rank = (share * days.len() as f64).ceil() as usize;
            let day = days.get(rank.saturating_sub(1)).copied();
            day.unwrap_or(f64::INFINITY)
        };
        let within = |limit: f64| {
            days.partition_point(|day| *day <= limit) as f64 / days.len().max(1) as f64
        };
        let finite = &days[..days.partition_point(|day| *day <= TOLD_DAYS_MAX)];
        Outcome {
            truth,
            days: [0.05, 0.5, 0.95].map(|share| quantile(days, share)),
            days_given_full: quantile(finite, 0.5),
            p_14d: within(14.0),
            p_30d: within(30.0),
        }
    }
}

/// Many of them.
#[derive(Debug, Clone, PartialEq, Default)]
struct Outcomes(Vec<Outcome>);

impl Outcomes {
    fn extend(&mut self, others: Outcomes) {
        self.0.extend(others.0);
    }

    /// The metrics, `prefix` before their names. One without a value is left out.
    fn metrics(&self, prefix: &str) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::new();
        let mut put = |name: &str, value: f64| {
            if value.is_finite() {
                metrics.insert(format!("{prefix}{name}"), value);
            }
        };
        put("cases", self.0.len() as f64);
        for (suffix, told) in [
            ("", (|outcome| outcome.days[1]) as fn(&Outcome) -> f64),
            ("_given_full", |outcome| outcome.days_given_full),
        ] {
            let mut errors: Vec<f64> = self
                .0
                .iter()
                .filter_map(|outcome| {
                    let told = told(outcome).ceil().clamp(1.0, TOLD_DAYS_MAX);
                    Some((told / outcome.truth?).ln().abs())
                })
                .collect();
            errors.sort_by(f64::total_cmp);
            put(&format!("median_abs_ln_ttf{suffix}"), middle(&errors, 0.5));
            put(&format!("p90_abs_ln_ttf{suffix}"), middle(&errors, 0.9));
        }
        for (days, probability) in [
            (14.0, (|outcome| outcome.p_14d) as fn(&Outcome) -> f64),
            (30.0, |outcome| outcome.p_30d),
        ] {
            let truth = |outcome: &Outcome| outcome.truth.is_some_and(|truth| truth <= days);
            let base = self.share(|outcome| f64::from(u8::from(truth(outcome))));
            let square =
                |told: f64, outcome: &Outcome| (told - f64::from(u8::from(truth(outcome)))).powi(2);
            let brier = self.share(|outcome| square(probability(outcome), outcome));
            let without = self.share(|outcome| square(base, outcome));
            put(&format!("brier_skill_{days}d"), 1.0 - brier / without);
            let count = |wanted: &dyn Fn(&Outcome) -> bool| {
                self.0.iter().filter(|outcome| wanted(outcome)).count() as f64
            };
            let alarm = |outcome: &Outcome| probability(outcome) >= 0.5;
            let hits = count(&|outcome| alarm(outcome) && truth(outcome));
            put(&format!("precision_{days}d"), hits / count(&alarm));
            put(&format!("recall_{days}d"), hits / count(&truth));
        }
        let covered = self.share(|outcome| {
            let [early, _, late] = outcome.days.map(f64::ceil);
            let inside = match outcome.truth {
                Some(truth) => early <= truth && truth <= late,
                None => late > OUTCOME_DAYS as f64,
            };
            f64::from(u8::from(inside))
        });
        put("coverage_90", covered);
        metrics
    }

    fn share(&self, value: impl Fn(&Outcome) -> f64) -> f64 {
        self.0.iter().map(value).sum::<f64>() / self.0.len() as f64
    }
}

/// A quantile of ascending values, between its neighbours (as numpy does); NaN of none.
fn middle(ascending: &[f64], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let part = place - place.floor();
    ascending[below] + part * (ascending[above] - ascending[below])
}

/// Calls `ask(origin, ceiling, truth)` for each question about one disk, in the order of time.
fn questions(levels: &[f64], mut ask: impl FnMut(usize, f64, Option<f64>)) {
    let last = levels.len().saturating_sub(OUTCOME_DAYS);
    for origin in (HISTORY_DAYS..last).step_by(ORIGIN_DAYS) {
        for room in ROOMS {
            let ceiling = levels[origin] * (1.0 + room);
            let future = &levels[origin + 1..=origin + OUTCOME_DAYS];
            let reached = future.iter().position(|level| *level >= ceiling);
            ask(origin, ceiling, reached.map(|days| (days + 1) as f64));
        }
    }
}

/// What our forecaster says, fed day by day.
fn outcomes(levels: &[f64]) -> Outcomes {
    let mut forecaster = CapacityForecaster::default();
    let mut fed = 0;
    let mut outcomes = Outcomes::default();
    questions(levels, |origin, ceiling, truth| {
        for (day, level) in levels.iter().enumerate().take(origin + 1).skip(fed) {
            forecaster.observe(day as i64 * DAY, *level, levels[origin].max(*level) * 1.1);
        }
        fed = origin + 1;
        let days = forecaster.days_to_full(ceiling);
        outcomes.0.push(Outcome {
            truth,
            days: [0.05, 0.5, 0.95].map(|share| days.at(share)),
            days_given_full: days.median_if_full(),
            p_14d: days.probability_within(14.0),
            p_30d: days.probability_within(30.0),
        });
    });
    outcomes
}

/// The disks of a folder by name, each with its level per day.
fn read(folder: &Path) -> Result<Vec<(String, Vec<f64>)>, ScoreError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| ScoreError::Unreadable { path, cause }
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(ScoreError::Malformed {
            path: folder.to_owned(),
            expected: "files *.csv".to_owned(),
            found: "none".to_owned(),
        });
    }
    let mut disks = Vec::with_capacity(paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let name = path.file_name().unwrap_or_default();
        disks.push((name.to_string_lossy().into_owned(), parse(&path, &text)?));
    }
    Ok(disks)
}

/// The level of each day. A missing day has the level of the day before.
fn parse(path: &Path, text: &str) -> Result<Vec<f64>, ScoreError> {
    let malformed = |line: usize, expected: &str, found: &str| ScoreError::Malformed {
        path: path.to_owned(),
        expected: format!("{expected} in line {line}"),
        found: format!("`{found}`"),
    };
    let mut lines = text.lines().enumerate();
    let header = lines.next().map_or("", |(_, header)| header);
    if !header.starts_with("day,tree_bytes") {
        return Err(malformed(1, "`day,tree_bytes,…`", header));
    }
    let mut levels: Vec<f64> = Vec::new();
    let mut before: Option<jiff::civil::Date> = None;
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let mut cells = line.split(',');
        let date: Option<jiff::civil::Date> = cells.next().and_then(|cell| cell.parse().ok());
        let level: Option<f64> = cells.next().and_then(|cell| cell.parse().ok());
        let (Some(date), Some(level)) = (date, level.filter(|level| level.is_finite())) else {
            return Err(malformed(index + 1, "a date and a number", line));
        };
        let days = before.map_or(1, |before| (date - before).get_days());
        // A hole of ten years is no hole but another file.
        if !(1..3660).contains(&days) {
            return Err(malformed(index + 1, "a later date", line));
        }
        let hold = levels.last().copied().unwrap_or(level);
        levels.extend((1..days).map(|_| hold));
        levels.push(level);
        before = Some(date);
    }
    Ok(levels)
}
