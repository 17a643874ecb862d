//! What is forecast, as events: ids, sentences, scores.

use analytics::capacity::{CapacityAnswer, CapacityForecast};
use analytics::forecast::{ForecastStep, ScoredForecast, SeriesForecast, StatementScore};
use schemas::forecast::{BAND_COVERAGES, FULL_WITHIN_S};
use schemas::time::{SECOND, rfc3339};
use schemas::{
    Band, Forecast, ForecastScore, FullAnswer, FullDates, FullWithin, Micros, Outcome, Outlook,
    Series, TrainedOn,
};
use xxhash_rust::xxh3::xxh3_128;

/// The rule behind the events, part of each `event_id`. Changes when the methods change so that the same history gets another forecast.
const RULE: &str = "forecasts/2";
/// The method of a time to full: random continuations of what the level did before.
const METHOD_FULL: &str = "block_bootstrap";
/// How far a forecast of the time to full looks.
const FULL_HORIZON: Micros = FULL_WITHIN_S[5] as Micros * SECOND;

/// What tells two forecasts of a series apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    TimeToFull,
}

/// The id of a forecast: XXH3-128 (seed 0) of [`RULE`], the kind, the 16 little-endian bytes of the series id and the 8 each of `made_at` and `time`.
pub(super) fn event_id(kind: Kind, series: &Series, made_at: Micros, time: Micros) -> u128 {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(RULE.as_bytes());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&series.id.0.to_le_bytes());
    bytes.extend_from_slice(&made_at.to_le_bytes());
    bytes.extend_from_slice(&time.to_le_bytes());
    xxh3_128(&bytes)
}

/// The event of a step of a series' forecast.
pub(super) fn value_event(
    series: &Series,
    forecast: &SeriesForecast,
    step: &ForecastStep,
) -> Forecast {
    let mut bands = BAND_COVERAGES.map(|coverage| Band {
        coverage,
        lower: step.median,
        upper: step.median,
    });
    for (band, of) in bands.iter_mut().zip(&step.bands) {
        (band.lower, band.upper) = (of.lower, of.upper);
    }
    let explanation = format!(
        "{} is expected to be about {} at {} (80 %: {}–{})",
        named(series),
        number(step.median),
        &rfc3339(step.time)[..16],
        number(bands[1].lower),
        number(bands[1].upper),
    );
    Forecast {
        event_id: format!(
            "{:032x}",
            event_id(Kind::Value, series, forecast.made_at, step.time)
        ),
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels.clone(),
        made_at: forecast.made_at,
        time: step.time,
        horizon_s: Forecast::horizon_s(forecast.made_at, step.time),
        outlook: Outlook::Value {
            median: step.median,
            bands,
        },
        method: forecast.method.name().to_owned(),
        trained_on: TrainedOn {
            span_s: forecast.trained_on.span_s,
            samples: forecast.trained_on.samples,
        },
        trust: forecast.trust,
        explanation,
    }
}

/// The event of a time to full; `None` while too little is known to say anything. `series`: the one that says how much is used.
pub(super) fn full_event(
    series: &Series,
    forecast: &CapacityForecast,
    trained_on: TrainedOn,
) -> Option<Forecast> {
    let answer = match forecast.answer {
        CapacityAnswer::AlreadyFull => FullAnswer::AlreadyFull,
        CapacityAnswer::Shrinking => FullAnswer::Shrinking,
        CapacityAnswer::NoTrend => FullAnswer::NoTrend,
        CapacityAnswer::FullIn => FullAnswer::FullIn,
        CapacityAnswer::NotEnoughHistory => return None,
    };
    let probability = |within_s: u64| {
        forecast
            .probability(within_s as Micros * SECOND)
            .unwrap_or(0.0)
    };
    let (made_at, time) = (forecast.made_at, forecast.made_at + FULL_HORIZON);
    Some(Forecast {
        event_id: format!("{:032x}", event_id(Kind::TimeToFull, series, made_at, time)),
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels.clone(),
        made_at,
        time,
        horizon_s: Forecast::horizon_s(made_at, time),
        outlook: Outlook::TimeToFull {
            answer,
            used: forecast.used,
            ceiling: forecast.ceiling,
            p_full: FULL_WITHIN_S.map(|within_s| FullWithin {
                within_s,
                probability: probability(within_s),
            }),
            dates: FullDates {
                p10: forecast.early,
                p50: forecast.median,
                p90: forecast.late,
            },
        },
        method: METHOD_FULL.to_owned(),
        trained_on,
        trust: forecast.trust,
        explanation: format!("{}: {}", named(series), forecast.sentence),
    })
}

/// A forecast beside what came. `series` is that of the forecast.
pub(super) fn score(series: &Series, scored: &ScoredForecast) -> ForecastScore {
    let made_at = scored.made_at;
    let (forecast_id, method, outcome) = match scored.score {
        StatementScore::Value {
            method,
            median,
            pinball_loss,
            covered,
        } => (
            event_id(Kind::Value, series, made_at, scored.time),
            method.name(),
            Outcome::Value {
                median,
                pinball_loss,
                covered,
            },
        ),
        StatementScore::FullWithin {
            probability,
            full,
            brier,
        } => (
            event_id(Kind::TimeToFull, series, made_at, made_at + FULL_HORIZON),
            METHOD_FULL,
            Outcome::TimeToFull {
                probability,
                full,
                brier,
            },
        ),
    };
    ForecastScore {
        forecast_id: format!("{forecast_id:032x}"),
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels.clone(),
        made_at,
        time: scored.time,
        horizon_s: Forecast::horizon_s(made_at, scored.time),
        method: method.to_owned(),
        observed: scored.observed,
        outcome,
    }
}

/// A series as a sentence names it: `disk_used (device=sda) on web-1`.
fn named(series: &Series) -> String {
    let place = series.host().or_else(|| series.service());
    let own: Vec<String> = series
        .labels
        .iter()
        .filter(|(_, value)| Some(*value) != place)
        .take(3)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let labels = match own.len() {
        0 => String::new(),
        _ => format!(" ({})", own.join(", ")),
    };
    let place = place
        .map(|place| format!(" on {place}"))
        .unwrap_or_default();
    format!("{}{labels}{place}", series.metric)
}

/// A number with about three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e9).contains(&size) => format!("{value:.2e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Whether a multiple of so many units of time, shifted by some units that depend on the id, lies after one time and not after another: spreads
/// what is due over all units.
pub(super) fn falls_due(id: u128, units: u32, unit: Micros, before: Micros, now: Micros) -> bool {
    let units = units.max(1);
    let every = Micros::from(units) * unit;
    // The remainder is below `units`, which is a u32.
    let phase = Micros::from((id % u128::from(units)) as u32) * unit;
    (before - phase).div_euclid(every) != (now - phase).div_euclid(every)
}
