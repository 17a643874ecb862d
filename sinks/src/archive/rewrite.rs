//! Files become other files of the same table: merged in order, without the rows that are no longer wanted. Streams; never sorts.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection, RowSelector};
use schemas::time::Micros;
use schemas::{ArchiveFile, Kind, Series, SeriesId, Table};

use super::decode::{
    TextColumn, column, damaged, guarded, labels_at, open, series_id, with_added_columns,
};
use super::encode::{CHUNK_ROWS, EncodedFile, LEVEL_CHECKPOINT, SERIES_COLUMNS, TableEncoder};
use super::{Archive, ArchiveError, FileName, blocking, date_in};

/// Decoded batches kept until the next write, at most: 256 of 8,192 rows.
const POOL_BATCHES: usize = 256;

impl Archive {
    /// The file again without the rows of the given (series, time) keys: a new file for a chain link to name. `None` when no row is left.
    ///
    /// # Errors
    /// `Corruption` if the file is missing or damaged; `Outage` (retry).
    pub async fn rewrite_without(
        &self,
        name: &FileName,
        file: &ArchiveFile,
        keys: &HashSet<(SeriesId, Micros)>,
    ) -> Result<Option<ArchiveFile>, ArchiveError> {
        let bytes = self
            .get_checked(&file.path, file.size, &file.sha256)
            .await?;
        let date = date_in(&file.path)
            .ok_or_else(|| ArchiveError::Bug(format!("`{}` names no date", file.path)))?;
        let (input, table, keys) = (vec![(file.path.clone(), bytes)], file.table, keys.clone());
        let merge = move || {
            merge(input, table, LEVEL_CHECKPOINT, usize::MAX, |id, time| {
                !keys.contains(&(id, time))
            })
        };
        match blocking(merge).await?.pop() {
            Some(encoded) => self.store_file(name, table, date, encoded).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Merges files that are each in (metric, series, time) order into one or more such files of about `bytes_max`; equal keys keep the files' order.
pub(crate) fn merge(
    files: Vec<(String, Bytes)>,
    table: Table,
    zstd_level: i32,
    bytes_max: usize,
    keep: impl Fn(SeriesId, Micros) -> bool,
) -> Result<Vec<EncodedFile>, ArchiveError> {
    let sample = match files.iter().max_by_key(|(_, bytes)| bytes.len()) {
        Some((path, bytes)) if table == Table::Samples => {
            guarded(path, || sample_values(bytes.clone(), table, path))?
        }
        _ => Vec::new(),
    };
    let mut output = Output {
        table,
        zstd_level,
        sample,
        encoder: None,
        pool: Vec::new(),
        stretches: Vec::new(),
        finished: Vec::new(),
    };
    let mut cursors = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        let mut cursor = guarded(&path, || Cursor::open(bytes, table, path.clone()))?;
        if cursor.advance_batch(&mut output)? {
            cursors.push(cursor);
        }
    }
    let mut series: Option<Series> = None;
    while let Some(first) = smallest(&cursors, None) {
        let limit = smallest(&cursors, Some(first)).map(|second| cursors[second].key());
        let cursor = &cursors[first];
        let end = cursor.stretch_end(limit.as_ref());
        let id = series_id(cursor.head().ids.text(cursor.row), &cursor.path)?;
        if series.as_ref().is_none_or(|series| series.id != id) {
            // A file is cut only between two series.
            if output.is_full(bytes_max) {
                output.finish_file()?;
                output.adopt_heads(&mut cursors);
                continue;
            }
            series = Some(cursors[first].series(id)?);
        }
        let Some(series) = &series else { continue };
        let cursor = &mut cursors[first];
        output.add(series, cursor, end, &keep)?;
        cursor.row = end;
        if cursor.row == cursor.head().batch.num_rows()
            && !cursors[first].advance_batch(&mut output)?
        {
            cursors.remove(first);
        }
        if output.must_write() {
            output.write()?;
            output.adopt_heads(&mut cursors);
        }
    }
    output.finish_file()?;
    Ok(output.finished)
}

/// The cursor with the smallest key, other than `except`; the first of equals.
fn smallest(cursors: &[Cursor], except: Option<usize>) -> Option<usize> {
    (0..cursors.len())
        .filter(|i| Some(*i) != except)
        .min_by(|a, b| cursors[*a].key().cmp(&cursors[*b].key()).then(a.cmp(b)))
}

/// A stretch of the values of the largest input, by which the output's encoding is chosen.
fn sample_values(bytes: Bytes, table: Table, path: &str) -> Result<Vec<f64>, ArchiveError> {
    const STRETCH: usize = 2048;
    let builder = open(bytes, table, path)?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let value = builder.schema().fields().len() - 1;
    let projection = ProjectionMask::roots(builder.parquet_schema(), [value]);
    let builder = builder.with_projection(projection);
    let builder = if rows > 8 * STRETCH {
        let selectors = (0..8)
            .flat_map(|_| {
                [
                    RowSelector::select(STRETCH),
                    RowSelector::skip(rows / 8 - STRETCH),
                ]
            })
            .collect::<Vec<_>>();
        builder.with_row_selection(RowSelection::from(selectors))
    } else {
        builder
    };
    let mut values = Vec::new();
    for batch in builder.build().map_err(|error| damaged(path, &error))? {
        let batch = batch.map_err(|error| damaged(path, &error))?;
        values.extend_from_slice(batch.column(0).as_primitive::<Float64Type>().values());
    }
    Ok(values)
}

/// A decoded batch with its key columns at hand.
struct Head {
    batch: RecordBatch,
    metrics: TextColumn,
    ids: TextColumn,
    times: arrow::array::TimestampMicrosecondArray,
    /// Its place in the output's pool.
    pooled: usize,
}

/// The order of rows in a file.
type Key<'a> = (&'a str, &'a str, Micros);

/// Reads one input in order.
struct Cursor {
    path: String,
    reader: ParquetRecordBatchReader,
    head: Option<Head>,
    row: usize,
}

impl Cursor {
    fn open(bytes: Bytes, table: Table, path: String) -> Result<Self, ArchiveError> {
        let reader = open(bytes, table, &path)?
            .build()
            .map_err(|error| damaged(&path, &error))?;
        Ok(Cursor {
            path,
            reader,
            head: None,
            row: 0,
        })
    }

    /// Loads the next batch; `false` at the end of the file.
    fn advance_batch(&mut self, output: &mut Output) -> Result<bool, ArchiveError> {
        let Cursor { path, reader, .. } = self;
        let table = output.table;
        let batch = guarded(path, || {
            reader
                .next()
                .transpose()
                .map_err(|error| damaged(path, &error))
        })?;
        let Some(batch) = batch else { return Ok(false) };
        let batch = with_added_columns(batch, table, path)?;
        let times = column(&batch, "time", path)?.as_primitive_opt::<TimestampMicrosecondType>();
        self.head = Some(Head {
            metrics: TextColumn::of(&batch, "metric", path)?,
            ids: TextColumn::of(&batch, "series_id", path)?,
            times: times
                .ok_or_else(|| damaged(path, &"column `time` has another type"))?
                .clone(),
            pooled: output.pool(&batch),
            batch,
        });
        self.row = 0;
        Ok(true)
    }

    #[allow(
        clippy::expect_used,
        reason = "a cursor is kept only while `advance_batch` gave it a head"
    )]
    fn head(&self) -> &Head {
        self.head.as_ref().expect("a cursor in use has a batch")
    }

    fn key(&self) -> Key<'_> {
        let head = self.head();
        (
            head.metrics.text(self.row),
            head.ids.text(self.row),
            head.times.value(self.row),
        )
    }

    /// The end of the rows of the current series that come no later than another cursor's head.
    fn stretch_end(&self, limit: Option<&Key<'_>>) -> usize {
        let head = self.head();
        let id = head.ids.key(self.row);
        let (metric, id_text, _) = self.key();
        let latest = limit
            .filter(|(m, i, _)| (*m, *i) == (metric, id_text))
            .map_or(Micros::MAX, |(_, _, time)| *time);
        let mut end = self.row + 1;
        while end < head.batch.num_rows()
            && head.ids.key(end) == id
            && head.times.value(end) <= latest
        {
            end += 1;
        }
        end
    }

    /// The series of the current row.
    fn series(&self, id: SeriesId) -> Result<Series, ArchiveError> {
        let head = self.head();
        let labels = labels_at(&head.batch, self.row, &self.path)?;
        Ok(Series {
            id,
            metric: Arc::from(head.metrics.text(self.row)),
            labels,
            kind: Kind::Gauge,
        })
    }
}

/// Collects stretches of rows and writes them in chunks.
struct Output {
    table: Table,
    zstd_level: i32,
    sample: Vec<f64>,
    encoder: Option<TableEncoder>,
    /// The batches that stretches refer to.
    pool: Vec<RecordBatch>,
    /// (batch, from, to).
    stretches: Vec<(usize, usize, usize)>,
    finished: Vec<EncodedFile>,
}

impl Output {
    fn pool(&mut self, batch: &RecordBatch) -> usize {
        self.pool.push(batch.clone());
        self.pool.len() - 1
    }

    /// Adds the kept rows of a cursor's stretch.
    fn add(
        &mut self,
        series: &Series,
        cursor: &Cursor,
        end: usize,
        keep: &impl Fn(SeriesId, Micros) -> bool,
    ) -> Result<(), ArchiveError> {
        let head = cursor.head();
        let kept: Vec<usize> = (cursor.row..end)
            .filter(|row| keep(series.id, head.times.value(*row)))
            .collect();
        if kept.is_empty() {
            return Ok(());
        }
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(TableEncoder::new(
                self.table,
                self.zstd_level,
                &self.sample,
            )?),
        };
        encoder.push_run(series, kept.len());
        for run in kept.chunk_by(|a, b| a + 1 == *b) {
            self.stretches
                .push((head.pooled, run[0], run[run.len() - 1] + 1));
        }
        Ok(())
    }

    fn must_write(&self) -> bool {
        self.pool.len() >= POOL_BATCHES
            || self
                .encoder
                .as_ref()
                .is_some_and(|encoder| encoder.pending_rows() >= CHUNK_ROWS)
    }

    fn is_full(&self, bytes_max: usize) -> bool {
        self.encoder
            .as_ref()
            .is_some_and(|encoder| encoder.bytes_written() >= bytes_max)
    }

    /// Writes the pending rows and forgets the batches.
    fn write(&mut self) -> Result<(), ArchiveError> {
        let (pool, stretches) = (
            std::mem::take(&mut self.pool),
            std::mem::take(&mut self.stretches),
        );
        let (Some(encoder), false) = (&mut self.encoder, stretches.is_empty()) else {
            return Ok(());
        };
        let gather = |index: usize| -> Result<ArrayRef, ArchiveError> {
            let arrays: Vec<_> = pool
                .iter()
                .map(|batch| batch.column(index).to_data())
                .collect();
            let mut rows =
                MutableArrayData::new(arrays.iter().collect(), false, encoder.pending_rows());
            for (batch, from, to) in &stretches {
                rows.try_extend(*batch, *from, *to)
                    .map_err(|error| ArchiveError::Bug(error.to_string()))?;
            }
            Ok(make_array(rows.freeze()))
        };
        let time = gather(0)?;
        let own = (SERIES_COLUMNS..pool[0].num_columns())
            .map(gather)
            .collect::<Result<Vec<_>, _>>()?;
        encoder.write(time, own)
    }

    /// Pools the cursors' current batches again after a write.
    fn adopt_heads(&mut self, cursors: &mut [Cursor]) {
        for cursor in cursors {
            if let Some(head) = &mut cursor.head {
                head.pooled = self.pool(&head.batch);
            }
        }
    }

    fn finish_file(&mut self) -> Result<(), ArchiveError> {
        self.write()?;
        if let Some(encoder) = self.encoder.take() {
            self.finished.extend(encoder.finish()?);
        }
        Ok(())
    }
}
