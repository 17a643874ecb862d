//! Rows of a checkpoint become files: sorted, split by UTC date, encoded, stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use foldhash::fast::FixedState;
use schemas::columns::{
    anomaly_columns, forecast_columns, forecast_score_columns, rollup_columns, time_array,
};
use schemas::time::Micros;
use schemas::{
    Anomaly, ArchiveFile, Forecast, ForecastScore, Labels, Resolution, RollupRow, SampleRows,
    Series, SeriesDirectory, SeriesId, Table,
};

use super::encode::{CHUNK_ROWS, EncodedFile, LEVEL_CHECKPOINT, TableEncoder, value_sample};
use super::names::{date_of, day_of};
use super::{Archive, ArchiveError, FileName, blocking};

/// Files in memory: encoded, not stored yet.
#[derive(Debug, Default)]
pub struct EncodedFiles(Vec<(Table, Micros, EncodedFile)>);

impl EncodedFiles {
    /// Samples, one file per UTC date.
    ///
    /// # Errors
    /// `Bug` if a row names a series outside the directory.
    pub async fn samples(
        directory: &SeriesDirectory,
        rows: SampleRows,
    ) -> Result<Self, ArchiveError> {
        let used = UsedSeries::of(directory, &rows.series)?;
        let encoded = blocking(move || encode_samples(&used, rows)).await?;
        Ok(Self::of(Table::Samples, encoded))
    }

    /// Rollups, one file per resolution and UTC date of the window start.
    ///
    /// # Errors
    /// As [`EncodedFiles::samples`].
    pub async fn rollups(
        directory: &SeriesDirectory,
        rows: Vec<RollupRow>,
    ) -> Result<Self, ArchiveError> {
        let mut by_resolution: BTreeMap<Resolution, Vec<RollupRow>> = BTreeMap::new();
        for row in rows {
            by_resolution.entry(row.resolution).or_default().push(row);
        }
        let mut files = EncodedFiles::default();
        for (resolution, rows) in by_resolution {
            let series: Vec<u32> = rows.iter().map(|row| row.series).collect();
            let used = UsedSeries::of(directory, &series)?;
            let table = Table::Rollups(resolution);
            let encoded = blocking(move || encode_rollups(table, &used, &rows)).await?;
            files.0.extend(Self::of(table, encoded).0);
        }
        Ok(files)
    }

    /// Anomaly events, one file per UTC date of the sample.
    ///
    /// # Errors
    /// `Bug` if an event's times are not RFC 3339.
    pub async fn anomalies(events: &[Anomaly]) -> Result<Self, ArchiveError> {
        let events = events.to_vec();
        let encoded = blocking(move || encode_anomalies(&events)).await?;
        Ok(Self::of(Table::Anomalies, encoded))
    }

    /// Forecast events, one file per UTC date of the time forecast for.
    ///
    /// # Errors
    /// `Bug` if the columns do not fit the table.
    pub async fn forecasts(events: Vec<Forecast>) -> Result<Self, ArchiveError> {
        let encoded = blocking(move || encode_forecasts(&events)).await?;
        Ok(Self::of(Table::Forecasts, encoded))
    }

    /// Forecasts beside what came, one file per UTC date of the time forecast for.
    ///
    /// # Errors
    /// As [`EncodedFiles::forecasts`].
    pub async fn forecast_scores(scores: Vec<ForecastScore>) -> Result<Self, ArchiveError> {
        let encoded = blocking(move || encode_forecast_scores(&scores)).await?;
        Ok(Self::of(Table::ForecastScores, encoded))
    }

    /// These files and others.
    #[must_use]
    pub fn and(mut self, others: EncodedFiles) -> Self {
        self.0.extend(others.0);
        self
    }

    fn of(table: Table, encoded: Vec<(Micros, EncodedFile)>) -> Self {
        let named = encoded.into_iter().map(|(time, file)| (table, time, file));
        EncodedFiles(named.collect())
    }
}

impl Archive {
    /// Stores files; each is durable and verified before the return, and not part of the archive until a chain link names it.
    ///
    /// # Errors
    /// `Outage` (retry all: files already written are found again), `Refused` (likewise), `Bug`.
    pub async fn store_files(
        &self,
        name: &FileName,
        files: EncodedFiles,
    ) -> Result<Vec<ArchiveFile>, ArchiveError> {
        let mut stored = Vec::with_capacity(files.0.len());
        for (table, time, file) in files.0 {
            stored.push(self.store_file(name, table, date_of(time)?, file).await?);
        }
        Ok(stored)
    }

    /// Encodes samples and stores them.
    ///
    /// # Errors
    /// As [`EncodedFiles::samples`] and [`Archive::store_files`].
    pub async fn write_samples(
        &self,
        name: &FileName,
        directory: &SeriesDirectory,
        rows: SampleRows,
    ) -> Result<Vec<ArchiveFile>, ArchiveError> {
        let files = EncodedFiles::samples(directory, rows).await?;
        self.store_files(name, files).await
    }

    /// Encodes rollups and stores them.
    ///
    /// # Errors
    /// As [`EncodedFiles::rollups`] and [`Archive::store_files`].
    pub async fn write_rollups(
        &self,
        name: &FileName,
        directory: &SeriesDirectory,
        rows: Vec<RollupRow>,
    ) -> Result<Vec<ArchiveFile>, ArchiveError> {
        let files = EncodedFiles::rollups(directory, rows).await?;
        self.store_files(name, files).await
    }

    /// Encodes anomaly events and stores them.
    ///
    /// # Errors
    /// As [`EncodedFiles::anomalies`] and [`Archive::store_files`].
    pub async fn write_anomalies(
        &self,
        name: &FileName,
        events: &[Anomaly],
    ) -> Result<Vec<ArchiveFile>, ArchiveError> {
        let files = EncodedFiles::anomalies(events).await?;
        self.store_files(name, files).await
    }
}

/// The series of some rows in (metric, id) order.
struct UsedSeries {
    series: Vec<Arc<Series>>,
    /// By directory index: position in `series`.
    rank: Vec<u32>,
}

impl UsedSeries {
    fn of(directory: &SeriesDirectory, indices: &[u32]) -> Result<Self, ArchiveError> {
        let mut rank = vec![u32::MAX; directory.len()];
        let mut used: Vec<(u32, Arc<Series>)> = Vec::new();
        for index in indices {
            let Some(seen) = rank.get_mut(*index as usize) else {
                return Err(ArchiveError::Bug(format!(
                    "row of series {index}; the directory holds {}",
                    directory.len()
                )));
            };
            if *seen == u32::MAX {
                *seen = 0;
                used.push((*index, Arc::clone(&directory[*index as usize])));
            }
        }
        let mut metrics: Vec<&str> = used
            .iter()
            .map(|(_, series)| &*series.metric)
            .collect::<HashSet<_, FixedState>>()
            .into_iter()
            .collect();
        metrics.sort_unstable();
        let metric_rank: HashMap<&str, u32, FixedState> = metrics
            .iter()
            .enumerate()
            .map(|(i, metric)| (*metric, i as u32))
            .collect();
        let mut order: Vec<(u32, u128, u32)> = used
            .iter()
            .enumerate()
            .map(|(i, (_, series))| (metric_rank[&*series.metric], series.id.0, i as u32))
            .collect();
        order.sort_unstable();
        let mut series = Vec::with_capacity(used.len());
        for (position, (_, _, i)) in order.iter().enumerate() {
            let (index, found) = &used[*i as usize];
            rank[*index as usize] = position as u32;
            series.push(Arc::clone(found));
        }
        Ok(UsedSeries { series, rank })
    }

    /// Row numbers ordered by (date, series, time), cut into one stretch per date. Within a series, rows of equal time keep their order.
    fn order(&self, indices: &[u32], time: impl Fn(usize) -> Micros) -> Vec<Vec<u32>> {
        let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let (mut day, mut rows): (i64, Vec<u32>) = (i64::MIN, Vec::new());
        for row in 0..indices.len() {
            let row_day = day_of(time(row));
            if row_day != day {
                if !rows.is_empty() {
                    days.entry(day).or_default().append(&mut rows);
                }
                day = row_day;
            }
            rows.push(row as u32);
        }
        if !rows.is_empty() {
            days.entry(day).or_default().append(&mut rows);
        }
        days.into_values()
            .map(|rows| self.order_day(indices, rows, &time))
            .collect()
    }

    /// A counting sort by series, then by time where a series is not in order yet.
    fn order_day(
        &self,
        indices: &[u32],
        rows: Vec<u32>,
        time: &impl Fn(usize) -> Micros,
    ) -> Vec<u32> {
        let rank_of = |row: u32| self.rank[indices[row as usize] as usize] as usize;
        let mut starts = vec![0u32; self.series.len() + 1];
        for row in &rows {
            starts[rank_of(*row) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut ordered = vec![0u32; rows.len()];
        for row in rows {
            let place = &mut next[rank_of(row)];
            ordered[*place as usize] = row;
            *place += 1;
        }
        for bounds in starts.windows(2) {
            let run = &mut ordered[bounds[0] as usize..bounds[1] as usize];
            if !run.is_sorted_by_key(|row| time(*row as usize)) {
                run.sort_by_key(|row| time(*row as usize));
            }
        }
        ordered
    }

    /// Announces the runs of a stretch of ordered rows.
    fn push_runs(&self, encoder: &mut TableEncoder, indices: &[u32], rows: &[u32]) {
        for run in rows.chunk_by(|a, b| indices[*a as usize] == indices[*b as usize]) {
            let rank = self.rank[indices[run[0] as usize] as usize];
            encoder.push_run(&self.series[rank as usize], run.len());
        }
    }
}

fn encode_samples(
    used: &UsedSeries,
    rows: SampleRows,
) -> Result<Vec<(Micros, EncodedFile)>, ArchiveError> {
    if rows.series.len() != rows.time.len() || rows.value.len() != rows.time.len() {
        return Err(ArchiveError::Bug(
            "sample columns of different lengths".into(),
        ));
    }
    let mut files = Vec::new();
    for day in used.order(&rows.series, |row| rows.time[row]) {
        let values: Vec<f64> = day.iter().map(|row| rows.value[*row as usize]).collect();
        let mut encoder =
            TableEncoder::new(Table::Samples, LEVEL_CHECKPOINT, &value_sample(&values))?;
        for (chunk, values) in day.chunks(CHUNK_ROWS).zip(values.chunks(CHUNK_ROWS)) {
            used.push_runs(&mut encoder, &rows.series, chunk);
            let times = time_array(chunk.iter().map(|row| rows.time[*row as usize]));
            encoder.write(times, vec![Arc::new(Float64Array::from(values.to_vec()))])?;
        }
        files.extend(
            encoder
                .finish()?
                .map(|file| (rows.time[day[0] as usize], file)),
        );
    }
    Ok(files)
}

fn encode_rollups(
    table: Table,
    used: &UsedSeries,
    rows: &[RollupRow],
) -> Result<Vec<(Micros, EncodedFile)>, ArchiveError> {
    let series: Vec<u32> = rows.iter().map(|row| row.series).collect();
    let mut files = Vec::new();
    for day in used.order(&series, |row| rows[row].start) {
        let mut encoder = TableEncoder::new(table, LEVEL_CHECKPOINT, &[])?;
        for chunk in day.chunks(CHUNK_ROWS) {
            used.push_runs(&mut encoder, &series, chunk);
            let chunk: Vec<&RollupRow> = chunk.iter().map(|row| &rows[*row as usize]).collect();
            encoder.write(
                time_array(chunk.iter().map(|row| row.start)),
                rollup_columns(&chunk),
            )?;
        }
        files.extend(
            encoder
                .finish()?
                .map(|file| (rows[day[0] as usize].start, file)),
        );
    }
    Ok(files)
}

/// An event on its way to a file.
struct EventRow<'a, T> {
    time: Micros,
    series_id: SeriesId,
    metric: &'a str,
    labels: &'a Labels,
    /// What tells it from others of its series and time.
    id: &'a str,
    event: &'a T,
}

/// Encodes events of one table, one file per UTC date. `columns` makes those after `service`.
fn encode_events<'a, T: 'a>(
    table: Table,
    events: impl Iterator<Item = Result<EventRow<'a, T>, ArchiveError>>,
    columns: impl Fn(&[&T]) -> Result<Vec<ArrayRef>, ArchiveError>,
) -> Result<Vec<(Micros, EncodedFile)>, ArchiveError> {
    let mut days: BTreeMap<i64, Vec<EventRow<'a, T>>> = BTreeMap::new();
    for event in events {
        let event = event?;
        days.entry(day_of(event.time)).or_default().push(event);
    }
    let mut files = Vec::new();
    for mut day in days.into_values() {
        day.sort_by(|a, b| {
            (a.metric, a.series_id, a.time, a.id).cmp(&(b.metric, b.series_id, b.time, b.id))
        });
        // An event computed again has the same id: it is in the archive once.
        day.dedup_by(|a, b| (a.series_id, a.time, a.id) == (b.series_id, b.time, b.id));
        let mut encoder = TableEncoder::new(table, LEVEL_CHECKPOINT, &[])?;
        for chunk in day.chunks(CHUNK_ROWS) {
            for run in chunk.chunk_by(|a, b| a.series_id == b.series_id) {
                let series = Series {
                    id: run[0].series_id,
                    metric: run[0].metric.into(),
                    labels: run[0].labels.clone(),
                    kind: schemas::Kind::Gauge,
                };
                encoder.push_run(&series, run.len());
            }
            let events: Vec<&T> = chunk.iter().map(|row| row.event).collect();
            encoder.write(
                time_array(chunk.iter().map(|row| row.time)),
                columns(&events)?,
            )?;
        }
        files.extend(encoder.finish()?.map(|file| (day[0].time, file)));
    }
    Ok(files)
}

fn encode_anomalies(events: &[Anomaly]) -> Result<Vec<(Micros, EncodedFile)>, ArchiveError> {
    let micros = |text: &str| {
        let parsed: Result<jiff::Timestamp, _> = text.parse();
        parsed
            .map(|time| time.as_microsecond())
            .map_err(|error| ArchiveError::Bug(format!("event time `{text}`: {error}")))
    };
    let rows = events.iter().map(|event| {
        Ok(EventRow {
            time: micros(&event.time)?,
            series_id: event.series_id,
            metric: &event.metric,
            labels: &event.labels,
            id: &event.event_id,
            event,
        })
    });
    encode_events(Table::Anomalies, rows, |events| {
        let windows = events
            .iter()
            .map(|event| Ok((micros(&event.window_start)?, micros(&event.window_end)?)))
            .collect::<Result<Vec<_>, ArchiveError>>()?;
        Ok(anomaly_columns(events, &windows))
    })
}

fn encode_forecasts(events: &[Forecast]) -> Result<Vec<(Micros, EncodedFile)>, ArchiveError> {
    let rows = events.iter().map(|event| {
        Ok(EventRow {
            time: event.time,
            series_id: event.series_id,
            metric: &event.metric,
            labels: &event.labels,
            id: &event.event_id,
            event,
        })
    });
    encode_events(Table::Forecasts, rows, |events| {
        Ok(forecast_columns(events))
    })
}

fn encode_forecast_scores(
    scores: &[ForecastScore],
) -> Result<Vec<(Micros, EncodedFile)>, ArchiveError> {
    let rows = scores.iter().map(|score| {
        Ok(EventRow {
            time: score.time,
            series_id: score.series_id,
            metric: &score.metric,
            labels: &score.labels,
            id: &score.forecast_id,
            event: score,
        })
    });
    encode_events(Table::ForecastScores, rows, |scores| {
        Ok(forecast_score_columns(scores))
    })
}
