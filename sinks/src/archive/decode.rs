//! Parquet bytes of ours become Arrow columns again. Damage is an error, never a panic.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, MapArray, RecordBatch, StringArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use schemas::columns::table_schema;
use schemas::{Labels, SeriesId, Table, catch_panic};

use super::ArchiveError;

/// 8,192 rows: a merge of 32 files holds 32 batches of them.
pub(super) const BATCH_ROWS: usize = 8192;

/// The table's columns as they are read: public types, but the repeated texts as dictionaries.
fn decoded_schema(table: Table) -> SchemaRef {
    let fields = table_schema(table)
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.name().as_str() {
                "metric" | "series_id" | "host" | "service" => {
                    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
                }
                _ => field.data_type().clone(),
            };
            Field::new(field.name(), data_type, field.is_nullable())
        })
        .collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

/// A reader of a file in memory. Its batches lack the columns that a later version has added to the table: see [`with_added_columns`].
pub(super) fn open(
    bytes: Bytes,
    table: Table,
    path: &str,
) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, ArchiveError> {
    guarded(path, || {
        let of_file = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())
            .map_err(|error| damaged(path, &error))?;
        let fields = decoded_schema(table).fields().clone();
        let there = fields.into_iter().filter(|field| {
            !field.is_nullable() || of_file.schema().column_with_name(field.name()).is_some()
        });
        let there = Arc::new(Schema::new(there.cloned().collect::<Vec<_>>()));
        let options = ArrowReaderOptions::new().with_schema(there);
        ArrowReaderMetadata::try_new(Arc::clone(of_file.metadata()), options)
            .map_err(|error| damaged(path, &error))
    })
    .map(|metadata| {
        ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
            .with_batch_size(BATCH_ROWS)
    })
}

/// A whole batch of a file, with nulls in the columns that the file was written without.
pub(super) fn with_added_columns(
    batch: RecordBatch,
    table: Table,
    path: &str,
) -> Result<RecordBatch, ArchiveError> {
    let schema = decoded_schema(table);
    if batch.num_columns() == schema.fields().len() {
        return Ok(batch);
    }
    let columns = schema.fields().iter().map(|field| {
        batch
            .column_by_name(field.name())
            .cloned()
            .unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns).map_err(|error| damaged(path, &error))
}

/// Runs a decoder; a panic in it is damage.
pub(super) fn guarded<T>(
    path: &str,
    decode: impl FnOnce() -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    catch_panic(decode)
        .unwrap_or_else(|panic| Err(damaged(path, &format!("the decoder gave up: {panic}"))))
}

/// The error of a file that can't be decoded.
pub(super) fn damaged(path: &str, detail: &dyn std::fmt::Display) -> ArchiveError {
    ArchiveError::Corruption {
        path: path.to_owned(),
        detail: format!("not a Parquet file of this table: {detail}"),
    }
}

/// A text column: keys and distinct texts.
pub(super) struct TextColumn {
    dictionary: DictionaryArray<UInt32Type>,
}

impl TextColumn {
    /// The column of a batch by name.
    pub(super) fn of(batch: &RecordBatch, name: &str, path: &str) -> Result<Self, ArchiveError> {
        let column = column(batch, name, path)?;
        let dictionary = column
            .as_dictionary_opt::<UInt32Type>()
            .filter(|d| d.values().as_string_opt::<i32>().is_some());
        Ok(TextColumn {
            dictionary: dictionary
                .ok_or_else(|| damaged(path, &format!("column `{name}` is no text")))?
                .clone(),
        })
    }

    /// The key of a row.
    pub(super) fn key(&self, row: usize) -> u32 {
        self.dictionary.keys().value(row)
    }

    /// The distinct texts by key.
    pub(super) fn texts(&self) -> &StringArray {
        self.dictionary.values().as_string()
    }

    /// The text of a row.
    pub(super) fn text(&self, row: usize) -> &str {
        self.texts().value(self.key(row) as usize)
    }
}

/// The label set of a row.
pub(super) fn labels_at(
    batch: &RecordBatch,
    row: usize,
    path: &str,
) -> Result<Labels, ArchiveError> {
    let maps: &MapArray = column(batch, "labels", path)?
        .as_map_opt()
        .ok_or_else(|| damaged(path, &"column `labels` is no map"))?;
    let entries = maps.value(row);
    let texts = |i: usize| {
        entries
            .column(i)
            .as_string_opt::<i32>()
            .ok_or_else(|| damaged(path, &"a label is no text"))
    };
    let (keys, values) = (texts(0)?, texts(1)?);
    Labels::try_new((0..entries.len()).map(|i| (keys.value(i), values.value(i))))
        .map_err(|error| damaged(path, &error))
}

/// A column by name.
pub(super) fn column<'a>(
    batch: &'a RecordBatch,
    name: &str,
    path: &str,
) -> Result<&'a ArrayRef, ArchiveError> {
    batch
        .column_by_name(name)
        .ok_or_else(|| damaged(path, &format!("column `{name}` is missing")))
}

/// A series id as files hold it.
pub(super) fn series_id(text: &str, path: &str) -> Result<SeriesId, ArchiveError> {
    SeriesId::from_hex(text).ok_or_else(|| damaged(path, &format!("`{text}` is no series id")))
}
