//! The benchmark `forecast`: M4 hourly, 414 series of 700 or 960 hours, 48 hours to forecast, scored as the competition did.

use std::collections::BTreeMap;
use std::path::Path;

use analytics::forecast::{ForecastConfig, Forecaster, SeriesForecast, forecast_by_mstl_ets};

mod accuracy;
mod m4;

pub use accuracy::{Accuracy, AccuracySums, naive_2, seasonal_naive};
pub use m4::{HORIZON, M4Series, read_m4};

use crate::{Report, ScoreError, SeriesScore};

/// An hour in microseconds: the distance of M4's samples.
const HOUR_US: i64 = 3_600_000_000;

/// A forecast of one series: the median and the 95 % band, [`HORIZON`] steps each.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Median by step.
    pub median: Vec<f64>,
    /// Lower end of the 95 % band by step.
    pub lower: Vec<f64>,
    /// Upper end of the 95 % band by step.
    pub upper: Vec<f64>,
}

impl From<SeriesForecast> for Prediction {
    fn from(forecast: SeriesForecast) -> Self {
        let of = |value: fn(&analytics::forecast::ForecastStep) -> f64| {
            forecast.steps.iter().map(value).collect()
        };
        Prediction {
            median: of(|step| step.median),
            lower: of(|step| step.bands[2].lower),
            upper: of(|step| step.bands[2].upper),
        }
    }
}

/// Runs the streaming default and the method of reports on all series of `data/m4`; the metrics of the latter are named `mstl_ets_…`.
///
/// # Errors
/// BadInput: the files are missing or not of M4's form.
pub fn run(data: &Path) -> Result<Report, ScoreError> {
    let series = read_m4(&data.join("m4"))?;
    let mut metrics = BTreeMap::new();
    let mut per_series = Vec::new();
    let baseline = sums(
        &series,
        |history| Some(point_only(naive_2(history))),
        |_, _| {},
    );
    let methods: [(&str, Method); 2] = [("", stream), ("mstl_ets_", mstl_ets)];
    for (prefix, method) in methods {
        let sums = sums(&series, method, |name, accuracy| {
            if prefix.is_empty() {
                per_series.push(series_score(name, accuracy));
            }
        });
        let mut put = |name: &str, value: f64| {
            metrics.insert(format!("{prefix}{name}"), value);
        };
        put("owa", sums.owa(&baseline));
        put("smape", sums.mean().smape);
        put("mase", sums.mean().mase);
        put("msis", sums.mean().msis);
        put("coverage_95", sums.mean().coverage);
    }
    Ok(Report {
        benchmark: "forecast",
        metrics,
        per_series,
    })
}

/// What makes a prediction of a history; `None` if it cannot.
type Method = fn(&[f64]) -> Option<Prediction>;

/// The streaming default, fed sample by sample.
pub fn stream(history: &[f64]) -> Option<Prediction> {
    let mut forecaster = Forecaster::new(&ForecastConfig::default()).ok()?;
    for (hour, value) in history.iter().enumerate() {
        forecaster.observe(hour as i64 * HOUR_US, *value);
    }
    Some(forecaster.forecast(HORIZON as u32)?.into())
}

/// The method of reports.
pub fn mstl_ets(history: &[f64]) -> Option<Prediction> {
    let config = ForecastConfig::default();
    let forecast = forecast_by_mstl_ets(&config, 0, history, HORIZON as u32).ok()?;
    Some(forecast.into())
}

/// The accuracy of a method over all series; one that it cannot forecast counts as Naive 2 without an interval.
fn sums(
    series: &[M4Series],
    method: Method,
    mut each: impl FnMut(&str, &Accuracy),
) -> AccuracySums {
    let mut sums = AccuracySums::default();
    for one in series {
        let prediction = method(&one.history).unwrap_or_else(|| point_only(naive_2(&one.history)));
        let accuracy = Accuracy::of(one, &prediction);
        each(&one.name, &accuracy);
        sums.add(&accuracy);
    }
    sums
}

fn point_only(median: Vec<f64>) -> Prediction {
    Prediction {
        lower: median.clone(),
        upper: median.clone(),
        median,
    }
}

fn series_score(name: &str, accuracy: &Accuracy) -> SeriesScore {
    SeriesScore {
        series: name.to_owned(),
        metrics: BTreeMap::from([
            ("smape".to_owned(), accuracy.smape),
            ("mase".to_owned(), accuracy.mase),
            ("msis".to_owned(), accuracy.msis),
            ("coverage_95".to_owned(), accuracy.coverage),
        ]),
    }
}

#[cfg(test)]
mod tests;
