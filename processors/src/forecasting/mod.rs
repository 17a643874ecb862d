//! Forecasts in the stream: of the values of series ([`values`]) and of when something is full ([`pools`]), each with its ledger.
//!
//! Everything is decided by the samples of the series or pool itself, in the order of their times: a forecast is made with the first sample after it is
//! due, from the samples before. So the same samples give the same forecasts, whatever shares their records.

mod bounded;
mod event;
mod pools;
mod values;

use std::borrow::Cow;

use analytics::calendar::Lesson;
use schemas::{Micros, SeriesDirectory};
use serde::{Deserialize, Serialize};

use crate::calendar::SeriesCalendar;
use crate::pending::Pending;
use bounded::Bounded;
use pools::{Pool, Pools};
use values::{SeriesForecasts, Values};

/// What is forecast, and how much memory that may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastingConfig {
    /// A series is forecast so often, hours, ≥ 1.
    pub interval_h: u32,
    /// How far ahead, hours from the hour in which the forecast is made; each ≥ 1 and at most [`HORIZON_H_MAX`].
    pub horizons_h: Vec<u32>,
    /// Series of a partition that are forecast, some 10 KB each; those that come first, and others when one has been silent for a week.
    pub series_max: usize,
    /// Pools (disks, memories, …) of a partition whose time to full is forecast, some 10 KB each; likewise.
    pub pools_max: usize,
}

/// The furthest horizon, hours. A week: the longest season that a forecaster of hours knows.
pub const HORIZON_H_MAX: u32 = 168;

impl Default for ForecastingConfig {
    fn default() -> Self {
        ForecastingConfig {
            interval_h: 6,
            horizons_h: vec![1, 6, 24],
            series_max: 5_000,
            pools_max: 5_000,
        }
    }
}

/// All forecasters of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forecasting {
    values: Values,
    pools: Pools,
}

/// What is saved of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SavedForecasting<'a> {
    values: Cow<'a, Values>,
    pools: Cow<'a, Bounded<Pool>>,
}

/// A measure of a series, as forecasters take it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) series: u32,
    pub(crate) time: Micros,
    /// The value as sent.
    pub(crate) value: f64,
    /// What is forecast: the value, or a counter's increase per second, if there is one.
    pub(crate) measure: Option<f64>,
    /// What it is to a forecast, by the calendar.
    pub(crate) lesson: Lesson,
}

/// What forecasts need beside a sample.
pub(crate) struct View<'a> {
    pub(crate) config: &'a ForecastingConfig,
    pub(crate) directory: &'a SeriesDirectory,
    pub(crate) calendar: &'a mut SeriesCalendar,
    pub(crate) told: &'a mut Pending,
}

impl Forecasting {
    /// Learns what the new series of the directory tell of.
    pub(crate) fn grow(&mut self, directory: &SeriesDirectory, resource_of: impl Fn(u32) -> u32) {
        self.pools.grow(directory, resource_of);
    }

    /// Takes a finite sample that is newer than all of its series.
    #[inline]
    pub(crate) fn observe(&mut self, view: &mut View<'_>, sample: Measure) {
        if let Some(measure) = sample.measure {
            self.values.observe(view, sample, measure);
        }
        // What is used is used, whatever the calendar says of the day.
        self.pools.observe(
            view.config,
            view.directory,
            sample.series,
            sample.time,
            sample.value,
            view.told,
        );
    }

    /// Whether nothing was ever forecast.
    pub(crate) fn is_unborn(&self) -> bool {
        self.values.0.iter().next().is_none() && self.pools.states.iter().next().is_none()
    }

    /// Forgets the forecasts that wait for their time: they were made of the past, and nobody has read them.
    pub(crate) fn forget_unpublished(&mut self) {
        self.values
            .0
            .iter_mut()
            .for_each(SeriesForecasts::forget_waiting);
        self.pools.states.iter_mut().for_each(Pool::forget_waiting);
    }

    pub(crate) fn save(&self) -> SavedForecasting<'_> {
        SavedForecasting {
            values: Cow::Borrowed(&self.values),
            pools: Cow::Borrowed(&self.pools.states),
        }
    }

    /// `None` if what was saved speaks of other series or pools than there are.
    pub(crate) fn restore(
        saved: SavedForecasting<'_>,
        directory: &SeriesDirectory,
        resource_of: impl Fn(u32) -> u32,
    ) -> Option<Self> {
        let mut forecasting = Forecasting {
            values: saved.values.into_owned(),
            pools: Pools::default(),
        };
        forecasting.grow(directory, resource_of);
        forecasting.pools.states = saved.pools.into_owned();
        let sound = forecasting.values.0.restore(directory.len())
            && forecasting.pools.restore(directory.len());
        sound.then_some(forecasting)
    }
}
