//! Reads the rows of wanted series back from archive files. Every file's hash is checked before it is parsed (promise C6).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use schemas::time::Micros;
use schemas::{ArchiveFile, SeriesId, Table};
use tokio::sync::mpsc;

use super::decode::{TextColumn, column, damaged, guarded, open, series_id};
use super::{Archive, ArchiveError, blocking};

/// Which rows are wanted: per series a stretch of time, both ends inclusive.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// By series: earliest and latest time wanted.
    pub series: HashMap<SeriesId, (Micros, Micros)>,
}

impl Wanted {
    /// Earliest and latest time wanted of any series.
    fn bounds(&self) -> Option<(Micros, Micros)> {
        self.series
            .values()
            .copied()
            .reduce(|(min, max), (from, to)| (min.min(from), max.max(to)))
    }
}

/// A sample found in the archive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArchivedSample {
    /// Its series.
    pub series: SeriesId,
    /// Its time, microseconds.
    pub time: Micros,
    /// Its value, bit for bit.
    pub value: f64,
    /// Which of the files it stands in.
    pub file: usize,
}

/// A rollup found in the archive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArchivedRollup {
    /// Its series.
    pub series: SeriesId,
    /// Start of the window, microseconds.
    pub start: Micros,
    /// Samples.
    pub count: u64,
    /// Sum of values.
    pub sum: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Earliest value.
    pub first: f64,
    /// Latest value.
    pub last: f64,
    /// Sum of squared values.
    pub sum_squares: f64,
    /// Increase per second; `None` where the window had a single sample time.
    pub rate: Option<f64>,
    /// 0–1: samples found over samples expected.
    pub completeness: f64,
    /// How many late samples changed the window.
    pub revision: u32,
    /// Which of the files it stands in.
    pub file: usize,
}

impl Archive {
    /// The wanted samples of these files (all of `Table::Samples`), in any order. Files outside the wanted time are not opened.
    ///
    /// Holds one file at a time in memory.
    ///
    /// # Errors
    /// `Corruption` if a file is missing or damaged; `Outage` (retry).
    pub async fn read_samples(
        &self,
        files: &[ArchiveFile],
        wanted: &Wanted,
    ) -> Result<Vec<ArchivedSample>, ArchiveError> {
        self.read_rows(files, wanted, samples_of).await
    }

    /// The wanted rollups of these files (all of one resolution's table), by window start, in any order; as [`Archive::read_samples`].
    ///
    /// # Errors
    /// As [`Archive::read_samples`].
    pub async fn read_rollups(
        &self,
        files: &[ArchiveFile],
        wanted: &Wanted,
    ) -> Result<Vec<ArchivedRollup>, ArchiveError> {
        self.read_rows(files, wanted, rollups_of).await
    }

    /// The wanted samples of one file of `Table::Samples`, a few thousand at a time, in the order of the file: by metric, series and time.
    ///
    /// Holds the file in memory; what waits to be received is bounded. Ends after an error, as [`Archive::read_samples`] has them.
    pub fn stream_samples(
        &self,
        file: &ArchiveFile,
        wanted: &Arc<Wanted>,
    ) -> Batches<ArchivedSample> {
        self.stream_rows(file, wanted, samples_of)
    }

    /// The wanted rollups of one file of a resolution's table; as [`Archive::stream_samples`].
    pub fn stream_rollups(
        &self,
        file: &ArchiveFile,
        wanted: &Arc<Wanted>,
    ) -> Batches<ArchivedRollup> {
        self.stream_rows(file, wanted, rollups_of)
    }

    fn stream_rows<T: Send + 'static>(
        &self,
        file: &ArchiveFile,
        wanted: &Arc<Wanted>,
        rows_of: RowsOf<T>,
    ) -> Batches<T> {
        let wanted = Arc::clone(wanted);
        self.stream(file, move |bytes, file, send| {
            scan(bytes, file.table, &file.path, &wanted, |batch| {
                let mut found = Vec::with_capacity(batch.num_rows());
                rows_of(batch, 0, &file.path, &mut found)?;
                send(found);
                Ok(())
            })
        })
    }

    /// Reads a checked file on a thread that may block, which sends what it finds until the receiver has gone.
    pub(super) fn stream<T: Send + 'static>(
        &self,
        file: &ArchiveFile,
        read: impl FnOnce(Bytes, &ArchiveFile, &dyn Fn(T)) -> Result<(), ArchiveError> + Send + 'static,
    ) -> mpsc::Receiver<Result<T, ArchiveError>> {
        let (sender, found) = mpsc::channel(BATCHES_WAITING);
        let (archive, file) = (self.clone(), file.clone());
        tokio::spawn(async move {
            let bytes = match archive
                .get_checked(&file.path, file.size, &file.sha256)
                .await
            {
                Ok(bytes) => bytes,
                Err(error) => {
                    // Who has gone does not want to know.
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            let rows = sender.clone();
            let done = blocking(move || {
                guarded(&file.path, || {
                    read(bytes, &file, &|found| {
                        // After the receiver has gone there is nothing to do but to end.
                        let _ = rows.blocking_send(Ok(found));
                    })
                })
            });
            if let Err(error) = done.await {
                let _ = sender.send(Err(error)).await;
            }
        });
        found
    }

    async fn read_rows<T: Send + 'static>(
        &self,
        files: &[ArchiveFile],
        wanted: &Wanted,
        rows_of: RowsOf<T>,
    ) -> Result<Vec<T>, ArchiveError> {
        let Some((from, to)) = wanted.bounds() else {
            return Ok(Vec::new());
        };
        let wanted = Arc::new(wanted.clone());
        let mut rows = Vec::new();
        for (index, file) in files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.time_min <= to && from <= file.time_max)
        {
            let bytes = self
                .get_checked(&file.path, file.size, &file.sha256)
                .await?;
            let (wanted, table, path) = (Arc::clone(&wanted), file.table, file.path.clone());
            let found = blocking(move || {
                guarded(&path, || {
                    let mut found = Vec::new();
                    scan(bytes, table, &path, &wanted, |batch| {
                        rows_of(batch, index, &path, &mut found)
                    })?;
                    Ok(found)
                })
            });
            rows.extend(found.await?);
        }
        Ok(rows)
    }
}

/// Rows of a file as they are read.
pub type Batches<T> = mpsc::Receiver<Result<Vec<T>, ArchiveError>>;

/// Batches of rows that wait to be received: the reader goes on while they are worked on.
const BATCHES_WAITING: usize = 4;

/// Turns a batch of matching rows into values.
type RowsOf<T> = fn(&RecordBatch, usize, &str, &mut Vec<T>) -> Result<(), ArchiveError>;

/// Visits the batches of wanted rows. The other columns of unwanted rows are not decoded.
fn scan(
    bytes: Bytes,
    table: Table,
    path: &str,
    wanted: &Arc<Wanted>,
    mut visit: impl FnMut(&RecordBatch) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let builder = open(bytes, table, path)?;
    let schema = builder.parquet_schema();
    let names = |names: &[&str]| {
        let indices = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| names.contains(&field.name().as_str()))
            .map(|(i, _)| i);
        ProjectionMask::roots(schema, indices.collect::<Vec<_>>())
    };
    let text_columns = ["metric", "labels", "host", "service"];
    let own: Vec<&str> = builder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !text_columns.contains(name))
        .collect();
    let (projection, keys) = (names(&own), names(&["time", "series_id"]));
    let (wanted, file) = (Arc::clone(wanted), path.to_owned());
    let predicate = ArrowPredicateFn::new(keys, move |batch| {
        is_wanted(&batch, &wanted, &file)
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))
    });
    let reader = builder
        .with_projection(projection)
        .with_row_filter(RowFilter::new(vec![Box::new(predicate)]))
        .build()
        .map_err(|error| damaged(path, &error))?;
    for batch in reader {
        visit(&batch.map_err(|error| damaged(path, &error))?)?;
    }
    Ok(())
}

/// Per row: whether its series is wanted at its time.
fn is_wanted(
    batch: &RecordBatch,
    wanted: &Wanted,
    path: &str,
) -> Result<BooleanArray, ArchiveError> {
    let ids = TextColumn::of(batch, "series_id", path)?;
    let times = primitive::<TimestampMicrosecondType>(batch, "time", path)?;
    let ranges = (0..ids.texts().len())
        .map(|key| {
            Ok(wanted
                .series
                .get(&series_id(ids.texts().value(key), path)?)
                .copied())
        })
        .collect::<Result<Vec<_>, ArchiveError>>()?;
    Ok((0..batch.num_rows())
        .map(|row| {
            Some(
                ranges[ids.key(row) as usize]
                    .is_some_and(|(from, to)| (from..=to).contains(&times[row])),
            )
        })
        .collect())
}

/// The numbers of a column.
pub(super) fn primitive<'a, T: arrow::datatypes::ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
    path: &str,
) -> Result<&'a [T::Native], ArchiveError> {
    let array: &ArrayRef = column(batch, name, path)?;
    Ok(array
        .as_primitive_opt::<T>()
        .ok_or_else(|| damaged(path, &format!("column `{name}` has another type")))?
        .values())
}

fn samples_of(
    batch: &RecordBatch,
    file: usize,
    path: &str,
    found: &mut Vec<ArchivedSample>,
) -> Result<(), ArchiveError> {
    let ids = TextColumn::of(batch, "series_id", path)?;
    let times = primitive::<TimestampMicrosecondType>(batch, "time", path)?;
    let values = primitive::<Float64Type>(batch, "value", path)?;
    for row in 0..batch.num_rows() {
        found.push(ArchivedSample {
            series: series_id(ids.text(row), path)?,
            time: times[row],
            value: values[row],
            file,
        });
    }
    Ok(())
}

fn rollups_of(
    batch: &RecordBatch,
    file: usize,
    path: &str,
    found: &mut Vec<ArchivedRollup>,
) -> Result<(), ArchiveError> {
    let ids = TextColumn::of(batch, "series_id", path)?;
    let starts = primitive::<TimestampMicrosecondType>(batch, "time", path)?;
    let counts = primitive::<Int64Type>(batch, "count", path)?;
    let revisions = primitive::<Int32Type>(batch, "revision", path)?;
    let number = |name: &str| primitive::<Float64Type>(batch, name, path);
    let (sums, mins, maxs, firsts, lasts) = (
        number("sum")?,
        number("min")?,
        number("max")?,
        number("first")?,
        number("last")?,
    );
    let (squares, rates, completeness) = (
        number("sum_squares")?,
        number("rate")?,
        number("completeness")?,
    );
    let rate_column = column(batch, "rate", path)?;
    for row in 0..batch.num_rows() {
        found.push(ArchivedRollup {
            series: series_id(ids.text(row), path)?,
            start: starts[row],
            count: u64::try_from(counts[row]).map_err(|_| damaged(path, &"a negative count"))?,
            sum: sums[row],
            min: mins[row],
            max: maxs[row],
            first: firsts[row],
            last: lasts[row],
            sum_squares: squares[row],
            rate: rate_column.is_valid(row).then(|| rates[row]),
            completeness: completeness[row],
            revision: u32::try_from(revisions[row])
                .map_err(|_| damaged(path, &"a negative revision"))?,
            file,
        });
    }
    Ok(())
}
