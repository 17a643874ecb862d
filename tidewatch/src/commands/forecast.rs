//! `tidewatch forecast`: what the series of history files will do next, step by step, with the bands that each step should stay in.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use analytics::CounterRate;
use analytics::calendar::{Calendar, CalendarClock, Effects, Lesson, ScopeId};
use analytics::forecast::{
    ForecastConfig, Forecaster, HORIZON_STEPS_MAX, SeriesForecast, forecast_by_mstl_ets,
    forecast_by_profiles,
};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use clap::{Args, ValueEnum};
use futures::{StreamExt, stream};
use ingest::history::{Directory, Sorted};
use query::{Answer, Format, Notes};
use schemas::batch::{labels_array, labels_type};
use schemas::columns::{number_array, time_array, time_type};
use schemas::time::SECOND;
use schemas::{Fault, Kind, Micros, Series};

use super::output::Output;
use crate::config::{Config, parse_duration};
use crate::error::CommandError;
use crate::replay::files::{self, HistoryFiles};
use crate::replay::progress::{Progress, Unit};
use crate::replay::results::Place;

/// Samples of a series from whose distances its interval is told. 64: a gap or two among them change nothing.
const INTERVAL_SAMPLES: usize = 64;
/// How many series without a forecast are named. 5: enough to see why; all are counted.
const REFUSED_TOLD_MAX: usize = 5;
/// The furthest horizon, days: as many steps of a day as a forecaster looks ahead.
const HORIZON_DAYS_MAX: u64 = HORIZON_STEPS_MAX as u64;
/// Significant digits of the table for people; files have all of them.
const SHOWN_DIGITS: usize = 6;
/// Samples taken from the sorter at once.
const CHUNK_SAMPLES: usize = 65_536;

/// Flags of `forecast`.
#[derive(Debug, Args)]
pub struct ForecastArgs {
    /// The files, and how they are read.
    #[command(flatten)]
    pub history: HistoryFiles,
    /// How far ahead, such as 6h, 48h, 14d; at most 8784d.
    #[arg(long, value_name = "DURATION", value_parser = parse_horizon)]
    pub horizon: Duration,
    /// How: as the stream does, or by the slower method of reports.
    #[arg(long, value_enum, default_value_t = ForecastMethod::Streaming)]
    pub method: ForecastMethod,
    /// Write the steps to this file: .csv, .ndjson or .parquet. Without it they are a table on standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Holidays, maintenance and other days unlike others: iCalendar or TOML (setting calendar.file).
    #[arg(long, value_name = "FILE")]
    pub calendar: Option<PathBuf>,
    /// Tell nothing but the forecasts and errors.
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a forecast is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ForecastMethod {
    /// One pass, as in the stream.
    Streaming,
    /// Seasons, trend and rest taken apart (MSTL), the trend continued by exponential smoothing (ETS).
    MstlEts,
}

fn parse_horizon(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(1)..=Duration::from_secs(HORIZON_DAYS_MAX * 86_400);
    parse_duration(text)
        .filter(|horizon| range.contains(horizon))
        .ok_or_else(|| {
            format!("expected a duration from 1s to {HORIZON_DAYS_MAX}d, such as 6h, 48h or 14d")
        })
}

/// Forecasts the files.
///
/// # Errors
/// `Failed` with the file and line of what is wrong, where there is no sample, or where no series could be forecast.
pub(crate) async fn run(config: Config, args: ForecastArgs) -> Result<(), CommandError> {
    tokio::select! {
        done = forecast(config, args) => done,
        _ = tokio::signal::ctrl_c() => Err(CommandError::surroundings("interrupted".to_owned())),
    }
}

async fn forecast(config: Config, args: ForecastArgs) -> Result<(), CommandError> {
    let named = [("--output", args.output.as_deref())];
    args.history.keep_apart(args.calendar.as_deref(), &named)?;
    let place = match &args.output {
        Some(file) => Place::open("--output", file)?,
        None => Place {
            output: Output::open(None)?,
            format: Format::Text,
        },
    };
    let progress = Progress::new(args.quiet);
    let (history, _) = args
        .history
        .read(&config, &std::env::temp_dir(), &progress)
        .await?;
    progress.stage("learning", history.samples.samples(), Unit::Samples);
    let directory = Arc::new(history.directory);
    let learning = Learning {
        directory: Arc::clone(&directory),
        horizon: args.horizon,
        method: args.method,
        calendar: config.processing.calendar.clone().unwrap_or_default(),
        progress: progress.clone(),
    };
    let learned = tokio::task::spawn_blocking(move || learning.run(history.samples));
    let (forecasts, refused) = learned
        .await
        .map_err(|error| CommandError::surroundings(format!("learning the series: {error}")))??;
    progress.end();
    if !args.quiet {
        files::tell_skipped(&history.skipped_named, history.skipped);
    }
    if !refused.is_empty() {
        let all = refused.len() + forecasts.len();
        let message = left_out(&refused, all);
        if forecasts.is_empty() {
            return Err(CommandError::Known {
                message,
                fault: Fault::BadInput,
                code: &analytics::error_codes::FORECAST_HISTORY,
            });
        }
        if !args.quiet {
            eprintln!("{message}");
        }
    }
    let number = match args.output {
        Some(_) => |value| value,
        None => rounded,
    };
    let batches = forecasts.into_iter().map(move |(series, forecast)| {
        rows(
            &directory.series()[series as usize].series,
            &forecast,
            number,
        )
        .map_err(|error| query::QueryError::Store(error.to_string()))
    });
    let answer = Answer {
        schema: schema(),
        notes: Notes::default(),
        rows: stream::iter(batches).boxed(),
    };
    place.write(answer).await
}

/// Which series have no forecast, and why: how many, and the first of them.
fn left_out(refused: &[String], series: usize) -> String {
    let shown = refused.len().min(REFUSED_TOLD_MAX);
    let mut text = format!("{} of {series} series have no forecast", refused.len());
    if shown < refused.len() {
        text.push_str(&format!("; the first {shown}"));
    }
    text.push_str(":\n  ");
    text.push_str(&refused[..shown].join("\n  "));
    text
}

/// The columns of the answer: one row per series and step.
fn schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Float64, false);
    Arc::new(Schema::new(vec![
        Field::new("time", time_type(), false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("labels", labels_type(), false),
        number("median"),
        number("lower_50"),
        number("upper_50"),
        number("lower_80"),
        number("upper_80"),
        number("lower_95"),
        number("upper_95"),
        Field::new("method", DataType::Utf8, false),
        number("trust"),
    ]))
}

/// A number with as many digits as people read.
fn rounded(value: f64) -> f64 {
    let text = format!("{value:.*e}", SHOWN_DIGITS - 1);
    text.parse().unwrap_or(value)
}

/// The rows of a series, each number as `shown` says.
fn rows(
    series: &Series,
    forecast: &SeriesForecast,
    shown: fn(f64) -> f64,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let steps = &forecast.steps;
    let repeated = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(steps.iter().map(|_| text)))
    };
    let mut columns: Vec<ArrayRef> = vec![
        time_array(steps.iter().map(|step| step.time)),
        repeated(&series.metric),
        Arc::new(labels_array(steps.iter().map(|_| &series.labels))),
        number_array(steps.iter().map(|step| shown(step.median))),
    ];
    for band in 0..3 {
        columns.push(number_array(
            steps.iter().map(|step| shown(step.bands[band].lower)),
        ));
        columns.push(number_array(
            steps.iter().map(|step| shown(step.bands[band].upper)),
        ));
    }
    columns.push(repeated(forecast.method.name()));
    columns.push(Arc::new(Float64Array::from(vec![
        shown(forecast.trust);
        steps.len()
    ])));
    RecordBatch::try_new(schema(), columns)
}

/// The forecast of each series that has one, by index, and why others have none.
type Learned = (Vec<(u32, SeriesForecast)>, Vec<String>);

/// Takes all samples in the order of time.
struct Learning {
    directory: Arc<Directory>,
    horizon: Duration,
    method: ForecastMethod,
    calendar: Arc<Calendar>,
    progress: Progress,
}

impl Learning {
    fn run(self, mut samples: Sorted) -> Result<Learned, CommandError> {
        let mut learners: Vec<Learner> = Vec::new();
        learners.resize_with(self.directory.series().len(), Learner::default);
        let mut clock = CalendarClock::new(Arc::clone(&self.calendar));
        let known = self.directory.series().iter();
        let scopes: Vec<ScopeId> = known
            .map(|known| clock.scope(&known.series.metric, &known.series.labels))
            .collect();
        let (mut chunk, mut done) = (Vec::with_capacity(CHUNK_SAMPLES), 0);
        loop {
            samples
                .next_chunk(&mut chunk, CHUNK_SAMPLES)
                .map_err(|error| CommandError::of("history", error))?;
            if chunk.is_empty() {
                break;
            }
            for sample in &chunk {
                let kind = self.directory.series()[sample.series as usize].series.kind;
                let lesson = clock
                    .effects(scopes[sample.series as usize], sample.time)
                    .lesson();
                let learner = &mut learners[sample.series as usize];
                learner.take(&self, kind, sample.time, sample.value, lesson)?;
            }
            done += chunk.len() as u64;
            self.progress.reach(done);
        }
        let (mut forecasts, mut refused) = (Vec::new(), Vec::new());
        for (index, learner) in (0..).zip(learners) {
            let effects = |time| clock.effects(scopes[index as usize], time);
            match learner.finish(&self, effects)? {
                Ok(forecast) => forecasts.push((index, forecast)),
                Err(why) => {
                    let series = &self.directory.series()[index as usize].series;
                    refused.push(format!("{series}: {why}"));
                }
            }
        }
        Ok((forecasts, refused))
    }
}

/// What is learned of one series.
#[derive(Default)]
struct Learner {
    rate: CounterRate,
    last: Option<Micros>,
    /// The first samples, until the series' interval is known.
    first: Vec<(Micros, f64, Lesson)>,
    known: Option<Known>,
}

/// A series whose grid is known.
enum Known {
    Streaming {
        forecaster: Box<Forecaster>,
        steps: u32,
    },
    MstlEts(Grid),
}

impl Learner {
    fn take(
        &mut self,
        learning: &Learning,
        kind: Kind,
        time: Micros,
        value: f64,
        lesson: Lesson,
    ) -> Result<(), CommandError> {
        if self.last.is_some_and(|last| time <= last) {
            return Ok(());
        }
        self.last = Some(time);
        let measure = match kind {
            Kind::Gauge => Some(value),
            Kind::Counter => self.rate.observe(time, value),
        };
        let Some(measure) = measure.filter(|measure| measure.is_finite()) else {
            return Ok(());
        };
        match &mut self.known {
            Some(known) => known.take(time, measure, lesson),
            None => {
                self.first.push((time, measure, lesson));
                if self.first.len() == INTERVAL_SAMPLES {
                    self.begin(learning)?;
                }
            }
        }
        Ok(())
    }

    /// Chooses the grid by the usual distance of the first samples, and feeds them.
    fn begin(&mut self, learning: &Learning) -> Result<(), CommandError> {
        let mut distances: Vec<Micros> = self
            .first
            .windows(2)
            .map(|pair| pair[1].0 - pair[0].0)
            .collect();
        distances.sort_unstable();
        let interval = distances.get(distances.len() / 2).copied();
        let interval_s = interval.unwrap_or(3_600 * SECOND) as f64 / SECOND as f64;
        let config = ForecastConfig::for_interval(interval_s, learning.horizon.as_secs_f64());
        let mut known = Known::new(learning.method, config)
            .map_err(|error| CommandError::of("forecast", error))?;
        for (time, measure, lesson) in self.first.drain(..) {
            known.take(time, measure, lesson);
        }
        self.known = Some(known);
        Ok(())
    }

    /// The forecast, or why there is none.
    fn finish(
        mut self,
        learning: &Learning,
        effects: impl FnMut(Micros) -> Effects,
    ) -> Result<Result<SeriesForecast, String>, CommandError> {
        if self.known.is_none() && !self.first.is_empty() {
            self.begin(learning)?;
        }
        Ok(match self.known {
            None => Err("no finite sample to forecast from".to_owned()),
            Some(Known::Streaming { forecaster, steps }) => {
                forecast_by_profiles(steps, |steps| forecaster.forecast(steps), effects)
                    .ok_or_else(|| "no finite sample to forecast from".to_owned())
            }
            Some(Known::MstlEts(grid)) => grid.forecast(effects),
        })
    }
}

impl Known {
    fn new(
        method: ForecastMethod,
        config: ForecastConfig,
    ) -> Result<Self, analytics::forecast::ForecastConfigError> {
        Ok(match method {
            ForecastMethod::MstlEts => Known::MstlEts(Grid {
                config,
                first: 0,
                values: VecDeque::new(),
                samples: 0,
            }),
            ForecastMethod::Streaming => Known::Streaming {
                forecaster: Box::new(Forecaster::new(&config)?),
                steps: config.horizon_steps,
            },
        })
    }

    fn take(&mut self, time: Micros, measure: f64, lesson: Lesson) {
        match self {
            Known::Streaming { forecaster, .. } => forecaster.observe_as(time, measure, lesson),
            // What is not to be learned is a hole.
            Known::MstlEts(grid) if lesson == Lesson::Learn => grid.take(time, measure),
            Known::MstlEts(_) => {}
        }
    }
}

/// The mean of each of the last [`HORIZON_STEPS_MAX`] steps.
struct Grid {
    config: ForecastConfig,
    /// Number of the first step kept, from 1970.
    first: i64,
    /// NaN: a step without a sample.
    values: VecDeque<f64>,
    /// Samples of the last step.
    samples: u32,
}

impl Grid {
    fn take(&mut self, time: Micros, measure: f64) {
        let step = time.div_euclid(self.step_us());
        let next = self.first + self.values.len() as i64;
        if self.values.is_empty() || step >= next + i64::from(HORIZON_STEPS_MAX) {
            self.values.clear();
            self.first = step;
        }
        if let Some(last) = self.values.back_mut()
            && step + 1 == next
        {
            self.samples = self.samples.saturating_add(1);
            *last += (measure - *last) / f64::from(self.samples);
            return;
        }
        while self.first + (self.values.len() as i64) < step {
            self.values.push_back(f64::NAN);
        }
        self.values.push_back(measure);
        self.samples = 1;
        while self.values.len() > HORIZON_STEPS_MAX as usize {
            self.values.pop_front();
            self.first += 1;
        }
    }

    fn step_us(&self) -> i64 {
        i64::from(self.config.step_s) * SECOND
    }

    fn forecast(
        mut self,
        effects: impl FnMut(Micros) -> Effects,
    ) -> Result<SeriesForecast, String> {
        let first = self.first * self.step_us();
        let config = &self.config;
        let values = &*self.values.make_contiguous();
        let refused = RefCell::new(None);
        let forecast = |steps| match forecast_by_mstl_ets(config, first, values, steps) {
            Ok(forecast) => Some(forecast),
            Err(error) => {
                refused.replace(Some(error.to_string()));
                None
            }
        };
        let forecast = forecast_by_profiles(config.horizon_steps, forecast, effects);
        forecast.ok_or_else(|| refused.into_inner().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizons_are_durations() {
        assert_eq!(parse_horizon("48h"), Ok(Duration::from_secs(48 * 3_600)));
        assert_eq!(
            parse_horizon("8784d"),
            Ok(Duration::from_secs(8_784 * 86_400))
        );
        for wrong in ["0s", "999ms", "48", "8785d", "99999d", ""] {
            let said = parse_horizon(wrong).unwrap_err();
            assert!(said.contains("from 1s to 8784d"), "{wrong}: {said}");
        }
    }

    #[test]
    fn people_read_six_digits() {
        for (value, shown) in [
            (48.535_407_838, 48.5354),
            (-1_234_567.8, -1_234_570.0),
            (0.173_611_111, 0.173_611),
            (0.0, 0.0),
            (1e308, 1e308),
            (5e-324, 5e-324),
        ] {
            assert_eq!(rounded(value), shown);
        }
        assert!(rounded(f64::NAN).is_nan());
    }

    #[test]
    fn all_that_is_left_out_is_counted() {
        let why: Vec<String> = (0..7).map(|i| format!("s{i}: why")).collect();
        assert_eq!(
            left_out(&why[..1], 3),
            "1 of 3 series have no forecast:\n  s0: why"
        );
        let many = left_out(&why, 9);
        assert!(many.starts_with("7 of 9 series have no forecast; the first 5:\n  s0"));
        assert!(many.ends_with("s4: why"));
    }

    #[test]
    fn a_grid_has_means_and_holes_and_an_end() {
        let mut grid = Grid {
            config: ForecastConfig {
                step_s: 60,
                ..ForecastConfig::default()
            },
            first: 0,
            values: VecDeque::new(),
            samples: 0,
        };
        for (second, value) in [(60, 1.0), (90, 3.0), (200, 7.0)] {
            grid.take(second * SECOND, value);
        }
        assert_eq!(grid.first, 1);
        assert_eq!((grid.values[0], grid.values[2]), (2.0, 7.0));
        assert!(grid.values[1].is_nan() && grid.values.len() == 3);
        for step in 0..10_000 {
            grid.take((300 + 60 * step) * SECOND, 1.0);
        }
        assert_eq!(grid.values.len(), HORIZON_STEPS_MAX as usize);
        grid.take(100_000_000 * SECOND, 5.0);
        assert_eq!(
            grid.values,
            [5.0],
            "what is that long ago is nothing to forecast from"
        );
    }
}
