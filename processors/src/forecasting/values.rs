//! What each series will do: a forecaster of hours per series, published on a schedule and scored when its time has come.

use analytics::forecast::{
    Claim, ForecastConfig, ForecastLedger, Forecaster, Method, PublishedForecast,
};
use schemas::time::{DAY, HOUR, SECOND};
use schemas::{Micros, Series, SeriesDirectory};
use serde::{Deserialize, Serialize};

use super::ForecastingConfig;
use super::bounded::Bounded;
use super::event::{self, Kind, falls_due};
use crate::state::Pending;

/// A series is forecast once it has been seen for so long. A day: before that every forecast would say "as now".
const SEEN_MIN: Micros = DAY;

/// The forecasters of the series of a partition, by series index.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Values(pub(super) Bounded<SeriesForecasts>);

/// What is remembered of one series: some 10 KB.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SeriesForecasts {
    /// Time of the newest sample.
    last: Micros,
    forecaster: Forecaster,
    ledger: ForecastLedger,
}

impl SeriesForecasts {
    fn new(config: &ForecastingConfig) -> Option<Self> {
        let hours = config.horizons_h.iter().copied().max()? + 1;
        let config = ForecastConfig {
            step_s: (HOUR / SECOND) as u32,
            horizon_steps: hours,
            ..ForecastConfig::default()
        };
        Some(SeriesForecasts {
            last: Micros::MIN,
            forecaster: Forecaster::new(&config).ok()?,
            ledger: ForecastLedger::default(),
        })
    }
}

impl Values {
    /// Takes a measure of a series. With the first sample of an hour, the forecasts of the hour before are scored, and new ones made if they are due:
    /// by the samples before it alone, whatever their records and partitions.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        config: &ForecastingConfig,
        directory: &SeriesDirectory,
        index: u32,
        time: Micros,
        measure: f64,
        told: &mut Pending,
    ) {
        let make = || SeriesForecasts::new(config);
        let Some(state) = self.0.get(index, time, config.series_max, make) else {
            return;
        };
        if time <= state.last {
            return;
        }
        let last = std::mem::replace(&mut state.last, time);
        if last == Micros::MIN || last.div_euclid(HOUR) == time.div_euclid(HOUR) {
            state.forecaster.observe(time, measure);
            return;
        }
        let series = &directory[index as usize];
        let closed = state.forecaster.open_step();
        state.forecaster.observe(time, measure);
        if let Some((start, mean)) = closed {
            let scores = state.ledger.value_came(start, mean);
            told.forecast_scores
                .extend(scores.iter().map(|scored| event::score(series, scored)));
        }
        if falls_due(series.id.0, config.interval_h, HOUR, last, time) {
            state.publish(config, series, told);
        }
    }
}

impl SeriesForecasts {
    fn publish(&mut self, config: &ForecastingConfig, series: &Series, told: &mut Pending) {
        let steps = config.horizons_h.iter().copied().max().unwrap_or(0) + 1;
        let (Some(regression), Some(naive)) = (
            self.forecaster.forecast(steps),
            self.forecaster.naive_forecast(steps),
        ) else {
            return;
        };
        if (regression.trained_on.span_s as Micros).saturating_mul(SECOND) < SEEN_MIN {
            return;
        }
        let methods = [Method::SeasonalRegression, Method::SeasonalNaive];
        let (chosen, other) = match self.ledger.method(&methods) {
            Method::SeasonalNaive => (naive, regression),
            _ => (regression, naive),
        };
        for hours in &config.horizons_h {
            let position = *hours as usize;
            let (Some(step), Some(beside)) =
                (chosen.steps.get(position), other.steps.get(position))
            else {
                continue;
            };
            told.forecasts
                .push(event::value_event(series, &chosen, step));
            self.ledger.publish(PublishedForecast {
                id: event::event_id(Kind::Value, series, chosen.made_at, step.time),
                made_at: chosen.made_at,
                time: step.time,
                claim: Claim::Value(vec![(chosen.method, *step), (other.method, *beside)]),
            });
        }
    }
}
