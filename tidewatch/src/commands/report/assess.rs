//! From the levels of a pool to what the report says of it: the forecast, its chart, and how such forecasts did on its own past.

use std::collections::BTreeMap;

use analytics::capacity::{CapacityAnswer, CapacityForecast, CapacityForecaster, LevelBand};
use schemas::Micros;
use schemas::time::DAY;
use schemas::time::rfc3339;
use serde::Serialize;

use super::gather::{Level, Pool};
use super::habits::Habits;
use super::words;

/// Forecasts that are tried on the past, and the share of the history after which the first is made.
const TRIALS: usize = 8;
const TRIALS_FROM: f64 = 0.3;
/// How far ahead they look, days, if the history is long enough for it.
const TRIAL_DAYS: f64 = 7.0;
/// What is no miss, as share of the ceiling.
const OFF_SHARE_MIN: f64 = 0.005;
/// Points of a chart: history, and forecast.
const HISTORY_POINTS: usize = 240;
const BAND_POINTS: usize = 24;
/// How far ahead a chart looks, days: at least, at most, and without a date.
const AHEAD_MIN: f64 = 1.0;
const AHEAD_MAX: f64 = 180.0;
const AHEAD_WITHOUT_DATE: f64 = 30.0;

/// Dates nearer than this are told with their minute, days.
const HOURS_BELOW_DAYS: f64 = 3.0;

/// What the report says of a pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Assessed {
    /// What it is and its labels: the same in every report.
    pub(super) id: String,
    /// What it is called: `disk /data on web-1`.
    pub(super) name: String,
    /// `disk`, `memory`, …
    pub(super) what: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) metrics: Vec<String>,
    /// RFC 3339: from when to when it was seen.
    pub(super) seen_from: String,
    pub(super) seen_to: String,
    /// Used of the ceiling, 0–1.
    pub(super) share: f64,
    pub(super) used: f64,
    pub(super) ceiling: f64,
    pub(super) answer: &'static str,
    pub(super) regime: &'static str,
    /// Probability of being full within `1h`, `4h`, `1d`, `3d`, `14d`, `30d`; empty without enough history.
    pub(super) p_full: BTreeMap<&'static str, f64>,
    /// RFC 3339: before these it is full with a probability of 10, 50, 90 %; null: not within a year.
    pub(super) full_early: Option<String>,
    pub(super) full_median: Option<String>,
    pub(super) full_late: Option<String>,
    /// Days from `seen_to` to `full_median`.
    pub(super) days_to_full: Option<f64>,
    pub(super) growth_per_day: f64,
    pub(super) trust: f64,
    pub(super) sentence: String,
    pub(super) record: Record,
    /// What the last two weeks say of its days; null if too little of them is known.
    pub(super) habits: Option<Habits>,
    /// For sorting: the sum of the probabilities, 0 to 6; 6 if it is full.
    pub(super) risk: f64,
    pub(super) chart: Chart,
}

impl Assessed {
    /// When it will be full, for a table.
    pub(super) fn around(&self) -> String {
        if self.answer == "already_full" {
            return "now".to_owned();
        }
        let date = self.full_median.as_deref();
        date.map_or_else(|| "-".to_owned(), |date| self.date_of(date))
    }

    /// The interval of 80 % of that date, for a table.
    pub(super) fn interval(&self) -> String {
        let (Some(early), Some(_)) = (&self.full_early, &self.full_median) else {
            return "-".to_owned();
        };
        let late = self.full_late.as_deref();
        let late = late.map_or_else(|| "over a year".to_owned(), |late| self.date_of(late));
        format!("{} – {late}", self.date_of(early))
    }

    /// A day; with the minute where it is a matter of hours.
    fn date_of(&self, date: &str) -> String {
        if self
            .days_to_full
            .is_some_and(|days| days < HOURS_BELOW_DAYS)
        {
            words::minute(date)
        } else {
            words::day(date).to_owned()
        }
    }
}

/// How forecasts made on this pool's past, with what was known then, did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Record {
    /// How far ahead they looked, days.
    pub(super) ahead_days: f64,
    /// How many were made, and how often the highest level on the way was within the band of 80 % (or no further from its middle than
    /// half a per cent of the ceiling: the band of what is certain has no width).
    pub(super) made: usize,
    pub(super) inside: usize,
    /// How far the middle of the band was off, as share of the ceiling, on average.
    pub(super) off_share: f64,
}

/// The lines of the chart: shares of the present ceiling, 0–1, over days from now.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Chart {
    pub(super) history: Vec<(f64, f64)>,
    /// The ceiling over time, where it changed.
    pub(super) ceiling: Vec<(f64, f64)>,
    /// Days, lower, median, upper.
    pub(super) band: Vec<(f64, f64, f64, f64)>,
}

/// The names of the horizons, in their order.
pub(super) const WITHIN: [&str; 6] = ["1h", "4h", "1d", "3d", "14d", "30d"];

/// Forecasts a pool. `None` if it has no level.
pub(super) fn assess(pool: &Pool) -> Option<Assessed> {
    let (first, last) = (pool.levels.first()?, pool.levels.last()?);
    let mut forecaster = CapacityForecaster::default();
    let record = try_on_past(&pool.levels, &mut forecaster);
    let forecast = forecaster.forecast();
    let full = forecast.answer == CapacityAnswer::AlreadyFull;
    let p_full: BTreeMap<_, _> = WITHIN
        .into_iter()
        .zip(&forecast.p_full)
        .map(|(name, full)| (name, full.probability))
        .collect();
    let date = |date: Option<Micros>| date.map(rfc3339);
    let days_to_full = forecast
        .median
        .filter(|_| !full)
        .map(|date| days(forecast.made_at, date));
    Some(Assessed {
        id: id(pool),
        name: words::name(pool),
        what: pool.what.clone(),
        labels: pool.labels.clone(),
        metrics: pool.metrics.clone(),
        seen_from: rfc3339(first.time),
        seen_to: rfc3339(last.time),
        share: forecast.share(),
        used: last.used,
        ceiling: last.ceiling,
        answer: forecast.answer.name(),
        regime: forecast.regime.name(),
        risk: if full { 6.0 } else { p_full.values().sum() },
        p_full,
        full_early: date(forecast.early.filter(|_| !full)),
        full_median: date(forecast.median.filter(|_| !full)),
        full_late: date(forecast.late.filter(|_| !full)),
        days_to_full,
        growth_per_day: forecast.growth_per_day,
        trust: forecast.trust,
        sentence: forecast.sentence.clone(),
        record,
        habits: Habits::of(&pool.levels),
        chart: chart(&pool.levels, &forecaster, &forecast),
    })
}

fn id(pool: &Pool) -> String {
    let labels: Vec<String> = pool
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{}{{{}}}", pool.what, labels.join(","))
}

fn days(from: Micros, to: Micros) -> f64 {
    (to - from) as f64 / DAY as f64
}

/// Feeds the whole history, and on the way makes forecasts and sees what came.
fn try_on_past(levels: &[Level], forecaster: &mut CapacityForecaster) -> Record {
    let (Some(first), Some(last)) = (levels.first(), levels.last()) else {
        return Record::default();
    };
    let span = days(first.time, last.time);
    let ahead = TRIAL_DAYS.min(span / 4.0);
    // Trials are spread evenly over what of the past has a future long enough.
    let (from, to) = (TRIALS_FROM * span, span - ahead);
    let due = |trial: usize| from + (to - from) * trial as f64 / (TRIALS - 1) as f64;
    // When it is judged, what was said, and the highest since.
    let mut open: Vec<(f64, LevelBand, f64)> = Vec::new();
    let mut record = Record {
        ahead_days: ahead,
        ..Record::default()
    };
    let (mut trial, mut off) = (0, 0.0);
    for level in levels {
        let now = days(first.time, level.time);
        let reached = level
            .peak
            .map_or(level.used, |(_, peak)| peak.max(level.used));
        open.retain_mut(|(judged_at, band, highest)| {
            *highest = highest.max(reached);
            if now < *judged_at {
                return true;
            }
            // What would go beyond the ceiling stops there.
            let [lower, median, upper] =
                [band.lower, band.median, band.upper].map(|edge| edge.min(level.ceiling));
            let off_share = (*highest - median).abs() / level.ceiling;
            let inside = (lower..=upper).contains(highest) || off_share <= OFF_SHARE_MIN;
            record.made += 1;
            record.inside += usize::from(inside);
            off += off_share;
            false
        });
        if let Some((time, peak)) = level.peak {
            forecaster.observe(time, peak, level.ceiling);
        }
        forecaster.observe(level.time, level.used, level.ceiling);
        if trial < TRIALS && ahead > 0.0 && now >= due(trial) {
            trial += 1;
            let band = forecaster.highest(&[ahead]).first().copied();
            open.extend(band.map(|band| (now + ahead, band, level.used)));
        }
    }
    if record.made > 0 {
        record.off_share = off / record.made as f64;
    }
    record
}

fn chart(levels: &[Level], forecaster: &CapacityForecaster, forecast: &CapacityForecast) -> Chart {
    let now = forecast.made_at;
    let ahead = match (forecast.median, forecast.late) {
        (Some(median), late) if forecast.answer != CapacityAnswer::AlreadyFull => {
            let late = late.map_or(f64::INFINITY, |late| days(now, late));
            (1.2 * late).min(2.0 * days(now, median))
        }
        _ => AHEAD_WITHOUT_DATE,
    }
    .clamp(AHEAD_MIN, AHEAD_MAX);
    // Twice as much past as future, so that its habits can be seen.
    let from = -(2.0 * ahead).max(7.0);
    let share = |used: f64| used / forecast.ceiling;
    let shown: Vec<&Level> = levels
        .iter()
        .filter(|level| days(now, level.time) >= from)
        .collect();
    let history: Vec<(f64, f64)> = shown
        .iter()
        .flat_map(|level| {
            let peak = level
                .peak
                .map(|(time, peak)| (days(now, time), share(peak)));
            peak.into_iter()
                .chain([(days(now, level.time), share(level.used))])
        })
        .collect();
    let mut ceiling: Vec<(f64, f64)> = Vec::new();
    for level in &shown {
        let point = (days(now, level.time), share(level.ceiling));
        if ceiling
            .last()
            .is_none_or(|last| (last.1 - point.1).abs() > 1e-3)
        {
            ceiling.push(point);
        }
    }
    let times: Vec<f64> = (0..=BAND_POINTS)
        .map(|i| ahead * i as f64 / BAND_POINTS as f64)
        .collect();
    let band = times
        .iter()
        .zip(forecaster.levels(&times))
        .map(|(time, band)| {
            // A level stops at its ceiling.
            let edge = |level: f64| share(level).min(1.0);
            (*time, edge(band.lower), edge(band.median), edge(band.upper))
        })
        .collect();
    Chart {
        history: thinned(&history),
        ceiling,
        band,
    }
}

/// At most [`HISTORY_POINTS`]: of each stretch the lowest and the highest, so that no peak is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= HISTORY_POINTS {
        return points.to_vec();
    }
    let mut thin = Vec::with_capacity(HISTORY_POINTS + 1);
    for stretch in points.chunks(points.len().div_ceil(HISTORY_POINTS / 2)) {
        let by_level = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (
            stretch.iter().min_by(by_level),
            stretch.iter().max_by(by_level),
        );
        let (Some(low), Some(high)) = (low, high) else {
            continue;
        };
        thin.push(if low.0 <= high.0 { *low } else { *high });
        if low != high {
            thin.push(if low.0 <= high.0 { *high } else { *low });
        }
    }
    thin.extend(points.last());
    thin
}
