//! What each series will do: a forecaster of hours per series, published on a schedule and scored when its time has come.

use analytics::forecast::{
    ForecastConfig, ForecastLedger, Forecaster, Method, PublishedForecast, SeriesForecast,
    Statement, forecast_by_profiles,
};
use schemas::Micros;
use schemas::time::{DAY, HOUR, SECOND};
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::event::{self, Kind, falls_due};
use super::{ForecastingConfig, Measure, View};

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
    pub(super) fn forget_waiting(&mut self) {
        self.ledger.forget_waiting();
    }

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
    pub(crate) fn observe(&mut self, view: &mut View<'_>, sample: Measure, measure: f64) {
        let Measure {
            series: index,
            time,
            lesson,
            ..
        } = sample;
        let config = view.config;
        let make = || SeriesForecasts::new(config);
        let Some(state) = self.0.get(index, time, config.series_max, make) else {
            return;
        };
        if time <= state.last {
            return;
        }
        let last = std::mem::replace(&mut state.last, time);
        if last == Micros::MIN || last.div_euclid(HOUR) == time.div_euclid(HOUR) {
            state.forecaster.observe_as(time, measure, lesson);
            return;
        }
        let series = &view.directory[index as usize];
        let closed = state.forecaster.open_step();
        state.forecaster.observe_as(time, measure, lesson);
        if let Some((start, mean)) = closed {
            let scores = state.ledger.value_came(start, mean);
            view.told
                .forecast_scores
                .extend(scores.iter().map(|scored| event::score(series, scored)));
        }
        if falls_due(series.id.0, config.interval_h, HOUR, last, time) {
            state.publish(view, index);
        }
    }
}

impl SeriesForecasts {
    /// A forecast, with the days that the calendar measures by another day as that day.
    fn forecast(
        &self,
        view: &mut View<'_>,
        index: u32,
        steps: u32,
        make: impl Fn(&Forecaster, u32) -> Option<SeriesForecast>,
    ) -> Option<SeriesForecast> {
        forecast_by_profiles(
            steps,
            |steps| make(&self.forecaster, steps),
            |time| view.calendar.effects(view.directory, index, time),
        )
    }

    fn publish(&mut self, view: &mut View<'_>, index: u32) {
        let (config, directory) = (view.config, view.directory);
        let series = &directory[index as usize];
        let steps = config.horizons_h.iter().copied().max().unwrap_or(0) + 1;
        let (Some(regression), Some(naive)) = (
            self.forecast(view, index, steps, Forecaster::forecast),
            self.forecast(view, index, steps, Forecaster::naive_forecast),
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
            view.told
                .forecasts
                .push(event::value_event(series, &chosen, step));
            self.ledger.publish(PublishedForecast {
                id: event::event_id(Kind::Value, series, chosen.made_at, step.time),
                made_at: chosen.made_at,
                time: step.time,
                statement: Statement::Value(vec![(chosen.method, *step), (other.method, *beside)]),
            });
        }
    }
}
