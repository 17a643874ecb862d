//! Hot rows in the columns of the public tables. Leaves out what a query does not ask for before it copies anything.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::error::ArrowError;
use pipeline::{HotRows, PartitionView};
use query::ScanBounds;
use schemas::batch::labels_array;
use schemas::columns::{
    anomaly_columns, forecast_columns, forecast_score_columns, number_array, rollup_columns,
    table_schema, time_array,
};
use schemas::{
    Anomaly, Forecast, ForecastScore, Kind, Labels, Micros, RollupRow, SampleRows, Series,
    SeriesDirectory, SeriesId, Table,
};

/// Rows of one batch. 65,536: small enough that a query's operators share the work, large enough that batches cost nothing.
const BATCH_ROWS: usize = 65_536;

/// The hot rows of some partitions of one table, within bounds.
pub(super) fn hot_batches(
    views: Vec<PartitionView>,
    bounds: &ScanBounds,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut batches = Vec::new();
    for view in views {
        match view.hot {
            HotRows::Samples(directory, rows) => {
                sample_batches(&directory, &rows, bounds, &mut batches)?
            }
            HotRows::Rollups(directory, rows) => {
                rollup_batches(&directory, &rows, bounds, &mut batches)?
            }
            HotRows::Anomalies(events) => anomaly_batches(&events, bounds, &mut batches)?,
            HotRows::Forecasts(events) => forecast_batches(&events, bounds, &mut batches)?,
            HotRows::ForecastScores(scores) => {
                forecast_score_batches(&scores, bounds, &mut batches)?
            }
        }
    }
    Ok(batches)
}

/// Which series of a directory a query asks for, and which times.
struct Wanted<'a> {
    series: Vec<bool>,
    bounds: &'a ScanBounds,
}

impl<'a> Wanted<'a> {
    fn new(directory: &SeriesDirectory, bounds: &'a ScanBounds) -> Self {
        let wanted = |series: &Arc<Series>| wants_metric(bounds, &series.metric);
        Wanted {
            series: directory.iter().map(wanted).collect(),
            bounds,
        }
    }

    fn has(&self, series: u32, time: Micros) -> bool {
        self.series.get(series as usize).copied().unwrap_or(false) && wants_time(self.bounds, time)
    }
}

fn wants_metric(bounds: &ScanBounds, metric: &str) -> bool {
    bounds
        .metrics
        .as_ref()
        .is_none_or(|metrics| metrics.iter().any(|wanted| wanted == metric))
}

fn wants_time(bounds: &ScanBounds, time: Micros) -> bool {
    bounds.time_min.is_none_or(|min| time >= min) && bounds.time_max.is_none_or(|max| time <= max)
}

/// Those of `metric`, `series_id`, `labels`, `host`, `service` of some rows that a query asks for: texts are most of a row.
fn series_columns(series: &[&Series], bounds: &ScanBounds) -> Vec<(&'static str, ArrayRef)> {
    type Make = fn(&[&Series]) -> ArrayRef;
    let makers: [(&str, Make); 5] = [
        ("metric", |series| {
            Arc::new(StringArray::from_iter_values(
                series.iter().map(|series| &*series.metric),
            ))
        }),
        ("series_id", |series| {
            Arc::new(StringArray::from_iter_values(
                series.iter().map(|series| series.id.to_string()),
            ))
        }),
        ("labels", |series| {
            Arc::new(labels_array(series.iter().map(|series| &series.labels)))
        }),
        ("host", |series| {
            let hosts: StringArray = series.iter().map(|series| series.host()).collect();
            Arc::new(hosts)
        }),
        ("service", |series| {
            let services: StringArray = series.iter().map(|series| series.service()).collect();
            Arc::new(services)
        }),
    ];
    makers
        .into_iter()
        .filter(|(name, _)| bounds.wants_column(name))
        .map(|(name, make)| (name, make(series)))
        .collect()
}

/// A batch of the columns of a table that were made: `time`, what a query asks for of the series', and the table's `own`, which are last in it.
fn batch(
    table: Table,
    time: ArrayRef,
    series: Vec<(&'static str, ArrayRef)>,
    own: Vec<ArrayRef>,
) -> Result<RecordBatch, ArrowError> {
    let schema = table_schema(table);
    let first_own = schema.fields().len() - own.len();
    let mut made: Vec<usize> = vec![0];
    for (name, _) in &series {
        made.push(schema.index_of(name)?);
    }
    made.extend(first_own..schema.fields().len());
    let columns = std::iter::once(time)
        .chain(series.into_iter().map(|(_, column)| column))
        .chain(own)
        .collect();
    RecordBatch::try_new(Arc::new(schema.project(&made)?), columns)
}

fn sample_batches(
    directory: &SeriesDirectory,
    rows: &SampleRows,
    bounds: &ScanBounds,
    into: &mut Vec<RecordBatch>,
) -> Result<(), ArrowError> {
    let wanted = Wanted::new(directory, bounds);
    let kept: Vec<usize> = (0..rows.len())
        .filter(|row| wanted.has(rows.series[*row], rows.time[*row]))
        .collect();
    for chunk in kept.chunks(BATCH_ROWS) {
        let series: Vec<&Series> = chunk
            .iter()
            .map(|row| &*directory[rows.series[*row] as usize])
            .collect();
        let own = vec![number_array(chunk.iter().map(|row| rows.value[*row]))];
        into.push(batch(
            Table::Samples,
            time_array(chunk.iter().map(|row| rows.time[*row])),
            series_columns(&series, bounds),
            own,
        )?);
    }
    Ok(())
}

fn rollup_batches(
    directory: &SeriesDirectory,
    rows: &[RollupRow],
    bounds: &ScanBounds,
    into: &mut Vec<RecordBatch>,
) -> Result<(), ArrowError> {
    let wanted = Wanted::new(directory, bounds);
    let kept: Vec<&RollupRow> = rows
        .iter()
        .filter(|row| wanted.has(row.series, row.start))
        .collect();
    for chunk in kept.chunks(BATCH_ROWS) {
        let series: Vec<&Series> = chunk
            .iter()
            .map(|row| &*directory[row.series as usize])
            .collect();
        // All rows of a view are of one table.
        into.push(batch(
            Table::Rollups(chunk[0].resolution),
            time_array(chunk.iter().map(|row| row.start)),
            series_columns(&series, bounds),
            rollup_columns(chunk),
        )?);
    }
    Ok(())
}

fn anomaly_batches(
    events: &[Anomaly],
    bounds: &ScanBounds,
    into: &mut Vec<RecordBatch>,
) -> Result<(), ArrowError> {
    let micros = |text: &str| -> Result<Micros, ArrowError> {
        let time: Result<jiff::Timestamp, _> = text.parse();
        time.map(|time| time.as_microsecond())
            .map_err(|error| ArrowError::ParseError(format!("event time `{text}`: {error}")))
    };
    let mut kept = Vec::new();
    for event in events {
        let (time, start, end) = (
            micros(&event.time)?,
            micros(&event.window_start)?,
            micros(&event.window_end)?,
        );
        if wants_metric(bounds, &event.metric) && wants_time(bounds, time) {
            let series = series_of(event.series_id, &event.metric, &event.labels);
            kept.push((time, start, end, series, event));
        }
    }
    for chunk in kept.chunks(BATCH_ROWS) {
        let series: Vec<&Series> = chunk.iter().map(|(_, _, _, series, _)| series).collect();
        let events: Vec<&Anomaly> = chunk.iter().map(|row| row.4).collect();
        let windows: Vec<_> = chunk.iter().map(|row| (row.1, row.2)).collect();
        into.push(batch(
            Table::Anomalies,
            time_array(chunk.iter().map(|row| row.0)),
            series_columns(&series, bounds),
            anomaly_columns(&events, &windows),
        )?);
    }
    Ok(())
}

fn forecast_batches(
    events: &[Forecast],
    bounds: &ScanBounds,
    into: &mut Vec<RecordBatch>,
) -> Result<(), ArrowError> {
    let kept: Vec<(Series, &Forecast)> = events
        .iter()
        .filter(|event| wants_metric(bounds, &event.metric) && wants_time(bounds, event.time))
        .map(|event| {
            let series = series_of(event.series_id, &event.metric, &event.labels);
            (series, event)
        })
        .collect();
    for chunk in kept.chunks(BATCH_ROWS) {
        let series: Vec<&Series> = chunk.iter().map(|(series, _)| series).collect();
        let events: Vec<&Forecast> = chunk.iter().map(|(_, event)| *event).collect();
        into.push(batch(
            Table::Forecasts,
            time_array(events.iter().map(|event| event.time)),
            series_columns(&series, bounds),
            forecast_columns(&events),
        )?);
    }
    Ok(())
}

fn forecast_score_batches(
    scores: &[ForecastScore],
    bounds: &ScanBounds,
    into: &mut Vec<RecordBatch>,
) -> Result<(), ArrowError> {
    let kept: Vec<(Series, &ForecastScore)> = scores
        .iter()
        .filter(|score| wants_metric(bounds, &score.metric) && wants_time(bounds, score.time))
        .map(|score| {
            let series = series_of(score.series_id, &score.metric, &score.labels);
            (series, score)
        })
        .collect();
    for chunk in kept.chunks(BATCH_ROWS) {
        let series: Vec<&Series> = chunk.iter().map(|(series, _)| series).collect();
        let scores: Vec<&ForecastScore> = chunk.iter().map(|(_, score)| *score).collect();
        into.push(batch(
            Table::ForecastScores,
            time_array(scores.iter().map(|score| score.time)),
            series_columns(&series, bounds),
            forecast_score_columns(&scores),
        )?);
    }
    Ok(())
}

/// The series that an event names. Its kind is not known, and no column asks for it.
fn series_of(id: SeriesId, metric: &str, labels: &Labels) -> Series {
    Series {
        id,
        metric: Arc::from(metric),
        labels: labels.clone(),
        kind: Kind::Gauge,
    }
}

#[cfg(test)]
mod tests {
    use schemas::{
        AnomalyKind, Band, Direction, NextOffset, Outcome, Outlook, Resolution, Rollup, TrainedOn,
    };

    use super::*;

    fn directory() -> SeriesDirectory {
        let series = |metric: &str, host: &str| {
            Arc::new(Series::new(
                metric,
                Labels::try_new([("host", host)]).unwrap(),
                Kind::Gauge,
            ))
        };
        [series("cpu", "a"), series("mem", "b")]
            .into_iter()
            .collect()
    }

    fn view(hot: HotRows) -> PartitionView {
        PartitionView {
            partition: 0,
            files: Arc::default(),
            end: NextOffset(0),
            hot,
        }
    }

    fn show(hot: HotRows, bounds: &ScanBounds) -> String {
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        for batch in hot_batches(vec![view(hot)], bounds).unwrap() {
            writer.write(&batch).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(writer.into_inner()).unwrap()
    }

    fn samples() -> HotRows {
        let mut rows = SampleRows::default();
        rows.push(0, 1_000_000, 1.5);
        rows.push(1, 2_000_000, 2.5);
        rows.push(0, 3_000_000, 3.5);
        HotRows::Samples(directory(), rows)
    }

    #[test]
    fn samples_have_the_public_columns() {
        let id = SeriesId::of("cpu", &Labels::try_new([("host", "a")]).unwrap());
        let bounds = ScanBounds {
            time_max: Some(1_000_000),
            ..ScanBounds::default()
        };
        let expected = format!(
            "{{\"time\":\"1970-01-01T00:00:01Z\",\"metric\":\"cpu\",\"series_id\":\"{id}\",\"labels\":{{\"host\":\"a\"}},\"host\":\"a\",\"value\":1.5}}\n"
        );
        assert_eq!(show(samples(), &bounds), expected);
    }

    #[test]
    fn texts_are_made_only_where_they_are_asked_for() {
        let bounds = ScanBounds {
            metrics: Some(vec!["mem".into()]),
            columns: Some(vec!["host".into(), "value".into()]),
            ..ScanBounds::default()
        };
        assert_eq!(
            show(samples(), &bounds),
            "{\"time\":\"1970-01-01T00:00:02Z\",\"host\":\"b\",\"value\":2.5}\n"
        );
    }

    #[test]
    fn bounds_leave_out_what_is_not_asked() {
        let lines = |bounds: ScanBounds| show(samples(), &bounds).lines().count();
        assert_eq!(lines(ScanBounds::default()), 3);
        assert_eq!(
            lines(ScanBounds {
                time_min: Some(2_000_000),
                time_max: Some(3_000_000),
                ..ScanBounds::default()
            }),
            2
        );
        assert_eq!(
            lines(ScanBounds {
                metrics: Some(vec!["mem".into()]),
                ..ScanBounds::default()
            }),
            1
        );
        assert_eq!(
            lines(ScanBounds {
                metrics: Some(vec!["me".into()]),
                ..ScanBounds::default()
            }),
            0
        );
    }

    #[test]
    fn rollups_and_anomalies_fit_their_tables() {
        let row = RollupRow {
            series: 1,
            resolution: Resolution::Minute,
            start: 0,
            rollup: Rollup::of(5, 2.0),
            rate: None,
            completeness: 0.5,
            revision: 1,
        };
        let text = show(
            HotRows::Rollups(directory(), vec![row]),
            &ScanBounds::default(),
        );
        assert!(
            text.contains("\"metric\":\"mem\"")
                && text.contains("\"count\":1")
                && text.contains("\"revision\":1")
                && !text.contains("rate"),
            "{text}"
        );
        let anomaly = Anomaly {
            event_id: "e".into(),
            kind: AnomalyKind::Drift,
            series_id: SeriesId(7),
            metric: "cpu".into(),
            labels: Labels::empty(),
            window_start: "1970-01-01T00:00:00Z".into(),
            window_end: "1970-01-01T00:00:10Z".into(),
            time: "1970-01-01T00:00:03.000001Z".into(),
            observed: Some(1.0),
            expected: 2.0,
            lower: 1.5,
            upper: 2.5,
            raw_score: 3.0,
            score: 2.0,
            alarm: true,
            direction: Direction::Low,
            votes: Vec::new(),
            trust: 1.0,
            completeness: 1.0,
            related: Vec::new(),
            contributions: Vec::new(),
            explanation: "low".into(),
        };
        let text = show(HotRows::Anomalies(vec![anomaly]), &ScanBounds::default());
        assert!(
            text.contains("\"time\":\"1970-01-01T00:00:03.000001Z\"")
                && text.contains("\"direction\":\"low\"")
                && text.contains("\"votes\":\"[]\"")
                && text.contains("\"kind\":\"drift\""),
            "{text}"
        );
    }

    #[test]
    fn forecasts_and_their_scores_fit_their_tables() {
        let forecast = |time: Micros| Forecast {
            event_id: "f".into(),
            series_id: SeriesId(7),
            metric: "cpu".into(),
            labels: Labels::try_new([("host", "a")]).unwrap(),
            made_at: 0,
            time,
            horizon_s: Forecast::horizon_s(0, time),
            outlook: Outlook::Value {
                median: 0.5,
                bands: [0.5, 0.8, 0.95].map(|coverage| Band {
                    coverage,
                    lower: 0.25,
                    upper: 0.75,
                }),
            },
            method: "seasonal".into(),
            trained_on: TrainedOn {
                span_s: 60,
                samples: 6,
            },
            trust: 1.0,
            explanation: "it goes on".into(),
        };
        let bounds = ScanBounds {
            time_max: Some(2_000_000),
            ..ScanBounds::default()
        };
        let hot = HotRows::Forecasts(vec![forecast(1_000_000), forecast(3_000_000)]);
        let text = show(hot, &bounds);
        assert!(
            text.lines().count() == 1
                && text.contains("\"host\":\"a\"")
                && text.contains("\"horizon_s\":1,\"median\":0.5,\"lower_50\":0.25"),
            "{text}"
        );
        let score = ForecastScore {
            forecast_id: "f".into(),
            series_id: SeriesId(7),
            metric: "cpu".into(),
            labels: Labels::empty(),
            made_at: 0,
            time: 1_000_000,
            horizon_s: 1,
            method: "seasonal".into(),
            observed: 0.5,
            outcome: Outcome::TimeToFull {
                probability: 0.5,
                full: false,
                brier: 0.25,
            },
        };
        let text = show(HotRows::ForecastScores(vec![score]), &bounds);
        assert!(
            text.contains("\"probability\":0.5,\"full\":false,\"brier\":0.25"),
            "{text}"
        );
    }
}
