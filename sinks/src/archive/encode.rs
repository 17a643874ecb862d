//! Rows in (metric, series, time) order become Parquet bytes. Knows nothing of where they go.
//!
//! Sorted rows form runs of one series, so the text columns are built per run: a run adds one dictionary entry and repeats its key.
//! The files declare the public types (plain text, `MAP` of text); the dictionaries exist only on the way into the encoder.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, MapArray, RecordBatch, StringArray, StructArray,
    UInt32Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{max, min};
use arrow::datatypes::{
    DataType, Field, Fields, Schema, SchemaRef, TimestampMicrosecondType, UInt32Type,
};
use foldhash::fast::FixedState;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::encode_arrow_schema;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::columns::table_schema;
use schemas::time::Micros;
use schemas::{Labels, Series, Table};

use super::ArchiveError;

/// 1,048,576: fewer, larger groups compress better and cost a reader less; a reader's memory grows with it.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// 131,072 rows go to the encoder at once: enough that a dictionary entry is shared by many, 50 MB of labels at ten per row.
pub(crate) const CHUNK_ROWS: usize = 1 << 17;
/// 16 MiB of distinct text per row group: 460,000 series ids; past it the column goes on without a dictionary.
const DICTIONARY_BYTES: usize = 16 << 20;
/// How many leading columns name the series; `time` is the first of them.
pub(crate) const SERIES_COLUMNS: usize = 6;

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
    writer: ArrowWriter<Vec<u8>>,
    runs: RunColumns,
    statistics: FileStatistics,
}

impl TableEncoder {
    /// A new file. `value_sample`: some values of the table's main column, by which its encoding is chosen.
    pub(crate) fn new(
        table: Table,
        zstd_level: i32,
        value_sample: &[f64],
    ) -> Result<Self, ArchiveError> {
        let schema = encoded_schema(table);
        let options = ArrowWriterOptions::new()
            .with_properties(properties(table, zstd_level, value_sample)?)
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options)
            .map_err(encode_error)?;
        let statistics = FileStatistics {
            rows: 0,
            time_min: Micros::MAX,
            time_max: Micros::MIN,
            metric_min: String::new(),
            metric_max: String::new(),
        };
        Ok(TableEncoder {
            schema,
            writer,
            runs: RunColumns::default(),
            statistics,
        })
    }

    /// Announces the next `rows` rows: they belong to one series, not before the previous one in (metric, series) order.
    pub(crate) fn push_run(&mut self, series: &Series, rows: usize) {
        if self.statistics.rows == 0 && self.runs.rows == 0 {
            self.statistics.metric_min = series.metric.to_string();
        }
        if *series.metric > *self.statistics.metric_max {
            self.statistics.metric_max = series.metric.to_string();
        }
        self.runs.push(series, rows);
    }

    /// Rows announced and not yet written.
    pub(crate) fn pending_rows(&self) -> usize {
        self.runs.rows
    }

    /// Bytes of the file so far, about.
    pub(crate) fn bytes_written(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Writes the announced rows: their `time` and the columns after `service`, in the table's order.
    pub(crate) fn write(&mut self, time: ArrayRef, own: Vec<ArrayRef>) -> Result<(), ArchiveError> {
        let times = time
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| ArchiveError::Bug("`time` is not a timestamp".into()))?;
        let (Some(earliest), Some(latest)) = (min(times), max(times)) else {
            return Ok(());
        };
        self.statistics.time_min = self.statistics.time_min.min(earliest);
        self.statistics.time_max = self.statistics.time_max.max(latest);
        self.statistics.rows += self.runs.rows as u64;
        let mut columns = vec![time];
        columns.extend(std::mem::take(&mut self.runs).finish()?);
        columns.extend(own);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| ArchiveError::Bug(error.to_string()))?;
        self.writer.write(&batch).map_err(encode_error)
    }

    /// The finished file; `None` if no row was written.
    pub(crate) fn finish(self) -> Result<Option<EncodedFile>, ArchiveError> {
        if self.statistics.rows == 0 {
            return Ok(None);
        }
        let bytes = self.writer.into_inner().map_err(encode_error)?;
        Ok(Some(EncodedFile {
            bytes,
            statistics: self.statistics,
        }))
    }
}

fn encode_error(error: parquet::errors::ParquetError) -> ArchiveError {
    ArchiveError::Bug(format!("encoding a Parquet file: {error}"))
}

/// A dictionary type for the way into the encoder.
fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

/// The map of labels with dictionaries for keys and values.
fn encoded_labels() -> (Arc<Field>, Fields) {
    let fields: Fields = vec![
        Field::new("key", dictionary(), false),
        Field::new("value", dictionary(), true),
    ]
    .into();
    (
        Arc::new(Field::new(
            "entries",
            DataType::Struct(fields.clone()),
            false,
        )),
        fields,
    )
}

/// The table's columns as they enter the encoder.
fn encoded_schema(table: Table) -> SchemaRef {
    let public = table_schema(table);
    let fields = public.fields().iter().enumerate().map(|(i, field)| {
        let data_type = match field.name().as_str() {
            "metric" | "series_id" | "host" | "service" if i < SERIES_COLUMNS => dictionary(),
            "labels" if i < SERIES_COLUMNS => DataType::Map(encoded_labels().0, true),
            _ => field.data_type().clone(),
        };
        Field::new(field.name(), data_type, field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// How a table's columns are encoded.
fn properties(
    table: Table,
    zstd_level: i32,
    value_sample: &[f64],
) -> Result<WriterProperties, ArchiveError> {
    let zstd = ZstdLevel::try_new(zstd_level).map_err(encode_error)?;
    let plain_schema = table_schema(table);
    let sorting = [1, 2, 0].map(|column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: false,
    });
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("tidewatch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting.to_vec()))
        // Readers that know Arrow get exactly the public types.
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "ARROW:schema".to_owned(),
            encode_arrow_schema(&plain_schema),
        )]))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES);
    for field in plain_schema.fields() {
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
    for part in ["key", "value"] {
        let column = ColumnPath::new(vec![
            "labels".to_owned(),
            "entries".to_owned(),
            part.to_owned(),
        ]);
        builder = builder.set_column_statistics_enabled(column, EnabledStatistics::None);
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

/// Text by dictionary key.
#[derive(Default)]
struct Texts {
    values: Vec<String>,
    index: HashMap<String, u32, FixedState>,
}

impl Texts {
    fn key(&mut self, text: &str) -> u32 {
        if let Some(key) = self.index.get(text) {
            return *key;
        }
        let key = self.values.len() as u32;
        self.values.push(text.to_owned());
        self.index.insert(text.to_owned(), key);
        key
    }

    fn array(self, keys: UInt32Array) -> Result<ArrayRef, ArchiveError> {
        let values = Arc::new(StringArray::from(self.values));
        Ok(Arc::new(
            DictionaryArray::<UInt32Type>::try_new(keys, values)
                .map_err(|error| ArchiveError::Bug(error.to_string()))?,
        ))
    }
}

/// What one label set adds to the columns.
struct LabelSet {
    keys: Vec<u32>,
    values: Vec<u32>,
    host: Option<u32>,
    service: Option<u32>,
}

/// The columns that name the series, built run by run.
#[derive(Default)]
struct RunColumns {
    rows: usize,
    metrics: Texts,
    metric_keys: Vec<u32>,
    ids: Vec<String>,
    id_keys: Vec<u32>,
    hosts: Texts,
    host_keys: Vec<Option<u32>>,
    services: Texts,
    service_keys: Vec<Option<u32>>,
    label_names: Texts,
    label_values: Texts,
    sets: HashMap<Labels, LabelSet, FixedState>,
    map_keys: Vec<u32>,
    map_values: Vec<u32>,
    map_ends: Vec<i32>,
}

impl RunColumns {
    fn push(&mut self, series: &Series, rows: usize) {
        self.rows += rows;
        let metric = self.metrics.key(&series.metric);
        self.metric_keys.resize(self.rows, metric);
        self.id_keys.resize(self.rows, self.ids.len() as u32);
        self.ids.push(series.id.to_string());
        if !self.sets.contains_key(&series.labels) {
            let set = LabelSet {
                keys: series
                    .labels
                    .iter()
                    .map(|(key, _)| self.label_names.key(key))
                    .collect(),
                values: series
                    .labels
                    .iter()
                    .map(|(_, value)| self.label_values.key(value))
                    .collect(),
                host: series.host().map(|host| self.hosts.key(host)),
                service: series.service().map(|service| self.services.key(service)),
            };
            self.sets.insert(series.labels.clone(), set);
        }
        let Some(set) = self.sets.get(&series.labels) else {
            return;
        };
        self.host_keys.resize(self.rows, set.host);
        self.service_keys.resize(self.rows, set.service);
        for _ in 0..rows {
            self.map_keys.extend_from_slice(&set.keys);
            self.map_values.extend_from_slice(&set.values);
            // A chunk holds 131,072 rows of at most 256 labels: 33 million entries.
            self.map_ends.push(self.map_keys.len() as i32);
        }
    }

    /// `metric`, `series_id`, `labels`, `host`, `service`.
    fn finish(self) -> Result<[ArrayRef; 5], ArchiveError> {
        let bug = |error: arrow::error::ArrowError| ArchiveError::Bug(error.to_string());
        let metrics = self.metrics.array(self.metric_keys.into())?;
        let ids = Texts {
            values: self.ids,
            index: HashMap::default(),
        }
        .array(self.id_keys.into())?;
        let (entries, fields) = encoded_labels();
        let map_columns = vec![
            self.label_names.array(self.map_keys.into())?,
            self.label_values.array(self.map_values.into())?,
        ];
        let structs = StructArray::try_new(fields, map_columns, None).map_err(bug)?;
        let offsets: Vec<i32> = std::iter::once(0).chain(self.map_ends).collect();
        let labels = MapArray::try_new(
            entries,
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            structs,
            None,
            true,
        )
        .map_err(bug)?;
        let hosts = self.hosts.array(self.host_keys.into())?;
        let services = self.services.array(self.service_keys.into())?;
        Ok([metrics, ids, Arc::new(labels), hosts, services])
    }
}
