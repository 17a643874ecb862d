//! Rows in (metric, series, time) order become Parquet bytes. Knows nothing of where they go.
//!
//! Sorted rows form runs of one series, so the columns that name the series are encoded by runs ([`Runs`]); the others go through the library's own writers.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Field, SchemaRef, TimestampMicrosecondType};
use foldhash::fast::FixedState;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, encode_arrow_schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use schemas::columns::table_schema;
use schemas::time::Micros;
use schemas::{Series, Table};

use super::ArchiveError;
use super::runs::Runs;

/// 1,048,576: fewer, larger groups compress better and cost a reader less; a reader's memory grows with it.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// 131,072 rows go to the encoder at once: few calls, and some megabytes per column.
pub(crate) const CHUNK_ROWS: usize = 1 << 17;
/// 16 MiB of distinct text in a column of a row group: 460,000 series ids. Past it the row group ends.
const DICTIONARY_BYTES: usize = 16 << 20;
/// How many leading columns name the series; `time` is the first of them.
pub(crate) const SERIES_COLUMNS: usize = 6;
/// Parquet columns between `time` and the table's own: `metric`, `series_id`, keys and values of `labels`, `host`, `service`.
const SERIES_LEAVES: usize = 6;

/// zstd for checkpoints: written often, read seldom before compaction.
pub(crate) const LEVEL_CHECKPOINT: i32 = 1;
/// zstd for compaction: written once, kept for years.
pub(crate) const LEVEL_COMPACTION: i32 = 3;

/// What is known of a file besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileStatistics {
    /// Rows.
    pub(crate) rows: u64,
    /// Earliest time.
    pub(crate) time_min: Micros,
    /// Latest time.
    pub(crate) time_max: Micros,
    /// Smallest metric.
    pub(crate) metric_min: String,
    /// Largest metric.
    pub(crate) metric_max: String,
}

/// A file in memory.
#[derive(Debug)]
pub(crate) struct EncodedFile {
    /// The Parquet bytes.
    pub(crate) bytes: Vec<u8>,
    /// What they hold.
    pub(crate) statistics: FileStatistics,
}

/// Writes one file of one table. Runs are announced with [`TableEncoder::push_run`], their other columns follow with [`TableEncoder::write`].
pub(crate) struct TableEncoder {
    schema: SchemaRef,
    zstd_level: i32,
    writer: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    /// The columns that do not name the series, in the open row group.
    own: Vec<ArrowColumnWriter>,
    runs: Runs,
    /// Rows announced and not yet written.
    pending_rows: usize,
    statistics: FileStatistics,
}

impl TableEncoder {
    /// A new file. `value_sample`: some values of the table's main column, by which its encoding is chosen.
    pub(crate) fn new(
        table: Table,
        zstd_level: i32,
        value_sample: &[f64],
    ) -> Result<Self, ArchiveError> {
        let schema = table_schema(table);
        let parquet_schema = ArrowSchemaConverter::new()
            .convert(&schema)
            .map_err(encode_error)?;
        let properties = Arc::new(properties(&schema, zstd_level, value_sample)?);
        let writer =
            SerializedFileWriter::new(Vec::new(), parquet_schema.root_schema_ptr(), properties)
                .map_err(encode_error)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&schema));
        let statistics = FileStatistics {
            rows: 0,
            time_min: Micros::MAX,
            time_max: Micros::MIN,
            metric_min: String::new(),
            metric_max: String::new(),
        };
        Ok(TableEncoder {
            schema,
            zstd_level,
            writer,
            factory,
            own: Vec::new(),
            runs: Runs::default(),
            pending_rows: 0,
            statistics,
        })
    }

    /// Announces the next `rows` rows: they belong to one series, not before the previous one in (metric, series) order.
    pub(crate) fn push_run(&mut self, series: &Series, rows: usize) {
        if self.statistics.rows == 0 && self.pending_rows == 0 {
            self.statistics.metric_min = series.metric.to_string();
        }
        if *series.metric > *self.statistics.metric_max {
            self.statistics.metric_max = series.metric.to_string();
        }
        self.runs.push(series, rows);
        self.pending_rows += rows;
    }

    /// Rows announced and not yet written.
    pub(crate) fn pending_rows(&self) -> usize {
        self.pending_rows
    }

    /// Bytes of the file so far, about.
    pub(crate) fn bytes_written(&self) -> usize {
        let own = self
            .own
            .iter()
            .map(ArrowColumnWriter::get_estimated_total_bytes);
        self.writer.bytes_written() + own.sum::<usize>() + self.runs.dictionary_bytes()
    }

    /// Writes the announced rows: their `time` and the columns after `service`, in the table's order.
    pub(crate) fn write(&mut self, time: ArrayRef, own: Vec<ArrayRef>) -> Result<(), ArchiveError> {
        let times = time
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| ArchiveError::Bug("`time` is not a timestamp".into()))?;
        let (Some(earliest), Some(latest)) = (min(times), max(times)) else {
            return Ok(());
        };
        self.check_columns(&time, &own)?;
        self.statistics.time_min = self.statistics.time_min.min(earliest);
        self.statistics.time_max = self.statistics.time_max.max(latest);
        self.statistics.rows += self.pending_rows as u64;
        self.pending_rows = 0;
        if self.own.is_empty() {
            let mut columns = self
                .factory
                .create_column_writers(self.writer.flushed_row_groups().len())
                .map_err(encode_error)?;
            columns.drain(1..=SERIES_LEAVES);
            self.own = columns;
        }
        let fields = own_fields(&self.schema);
        let arrays = std::iter::once(&time).chain(&own);
        for ((field, array), column) in fields.zip(arrays).zip(&mut self.own) {
            for leaf in compute_leaves(field, array).map_err(encode_error)? {
                column.write(&leaf).map_err(encode_error)?;
            }
        }
        if self.runs.rows() >= ROW_GROUP_ROWS || self.runs.dictionary_bytes() >= DICTIONARY_BYTES {
            self.finish_row_group()?;
        }
        Ok(())
    }

    /// Whether the arrays are what the table's columns ask for.
    fn check_columns(&self, time: &ArrayRef, own: &[ArrayRef]) -> Result<(), ArchiveError> {
        let fields: Vec<_> = own_fields(&self.schema).collect();
        let arrays: Vec<_> = std::iter::once(time).chain(own).collect();
        let fit = fields.len() == arrays.len()
            && fields.iter().zip(&arrays).all(|(field, array)| {
                field.data_type() == array.data_type()
                    && array.len() == self.pending_rows
                    && (field.is_nullable() || array.null_count() == 0)
            });
        if fit {
            return Ok(());
        }
        let found: Vec<_> = arrays
            .iter()
            .map(|array| format!("{} × {}", array.data_type(), array.len()))
            .collect();
        Err(ArchiveError::Bug(format!(
            "columns [{}] for {} rows of a table with {} columns besides its series",
            found.join(", "),
            self.pending_rows,
            fields.len()
        )))
    }

    fn finish_row_group(&mut self) -> Result<(), ArchiveError> {
        let runs = std::mem::take(&mut self.runs);
        let columns = self.writer.schema_descr().columns()[1..=SERIES_LEAVES].to_vec();
        let compression = Compression::ZSTD(zstd(self.zstd_level)?);
        let chunks = runs
            .chunks(&columns, self.zstd_level, compression)
            .map_err(encode_error)?;
        let mut own = std::mem::take(&mut self.own).into_iter();
        let mut group = self.writer.next_row_group().map_err(encode_error)?;
        if let Some(time) = own.next() {
            let chunk = time.close().map_err(encode_error)?;
            chunk
                .append_to_row_group(&mut group)
                .map_err(encode_error)?;
        }
        for chunk in chunks {
            group
                .append_column(&chunk.bytes, chunk.close)
                .map_err(encode_error)?;
        }
        for column in own {
            let chunk = column.close().map_err(encode_error)?;
            chunk
                .append_to_row_group(&mut group)
                .map_err(encode_error)?;
        }
        group.close().map_err(encode_error)?;
        Ok(())
    }

    /// The finished file; `None` if no row was written.
    pub(crate) fn finish(mut self) -> Result<Option<EncodedFile>, ArchiveError> {
        if self.statistics.rows == 0 {
            return Ok(None);
        }
        if self.runs.rows() > 0 {
            self.finish_row_group()?;
        }
        let bytes = self.writer.into_inner().map_err(encode_error)?;
        Ok(Some(EncodedFile {
            bytes,
            statistics: self.statistics,
        }))
    }
}

/// `time` and the columns after `service`.
fn own_fields(schema: &SchemaRef) -> impl Iterator<Item = &Arc<Field>> {
    let fields = schema.fields();
    std::iter::once(&fields[0]).chain(&fields[SERIES_COLUMNS..])
}

fn zstd(level: i32) -> Result<ZstdLevel, ArchiveError> {
    ZstdLevel::try_new(level).map_err(encode_error)
}

fn encode_error(error: parquet::errors::ParquetError) -> ArchiveError {
    ArchiveError::Bug(format!("encoding a Parquet file: {error}"))
}

/// How a table's columns are encoded.
fn properties(
    schema: &SchemaRef,
    zstd_level: i32,
    value_sample: &[f64],
) -> Result<WriterProperties, ArchiveError> {
    let sorting = [1, 2, 0].map(|column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: false,
    });
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("tidewatch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd(zstd_level)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting.to_vec()))
        // Readers that know Arrow get exactly the public types.
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "ARROW:schema".to_owned(),
            encode_arrow_schema(schema),
        )]));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        match field.data_type() {
            DataType::Timestamp(_, _) | DataType::Int64 | DataType::Int32 => {
                builder = builder
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
            DataType::Float64 if field.name() == "value" && dictionary_is_smaller(value_sample) => {
                // Should the dictionary overflow after all, the rest is split.
                builder = builder
                    .set_column_encoding(column.clone(), Encoding::BYTE_STREAM_SPLIT)
                    .set_column_dictionary_page_size_limit(column, 1 << 20);
            }
            DataType::Float64 => {
                builder = builder
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::BYTE_STREAM_SPLIT);
            }
            _ => {}
        }
    }
    Ok(builder.build())
}

/// Whether a dictionary makes these values smaller than splitting their bytes, after zstd. Tries both on the sample.
fn dictionary_is_smaller(sample: &[f64]) -> bool {
    if sample.is_empty() {
        return true;
    }
    let mut keys: HashMap<u64, u32, FixedState> = HashMap::default();
    let indices: Vec<u32> = sample
        .iter()
        .map(|value| {
            let next = keys.len() as u32;
            *keys.entry(value.to_bits()).or_insert(next)
        })
        .collect();
    if keys.len() * 2 > sample.len() {
        return false;
    }
    let packed: Vec<u8> = match keys.len() {
        0..=256 => indices.iter().map(|index| *index as u8).collect(),
        _ => indices
            .iter()
            .flat_map(|index| (*index as u16).to_le_bytes())
            .collect(),
    };
    let split: Vec<u8> = (0..8)
        .flat_map(|byte| sample.iter().map(move |value| value.to_le_bytes()[byte]))
        .collect();
    let size = |bytes: &[u8]| {
        zstd::bulk::compress(bytes, 1).map_or(bytes.len(), |compressed| compressed.len())
    };
    size(&packed) + keys.len() * 8 < size(&split)
}

/// Up to eight stretches of 2,048 values, evenly spread: enough to see what kind of values a file holds.
pub(crate) fn value_sample(values: &[f64]) -> Vec<f64> {
    const STRETCH: usize = 2048;
    if values.len() <= 8 * STRETCH {
        return values.to_vec();
    }
    let step = values.len() / 8;
    (0..8)
        .flat_map(|i| values[i * step..i * step + STRETCH].iter().copied())
        .collect()
}
