//! Parquet bytes of ours become Arrow columns again. Damage is an error, never a panic.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use schemas::columns::table_schema;
use schemas::{SeriesId, Table, catch_panic};

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

/// A reader of a file in memory.
pub(super) fn open(
    bytes: Bytes,
    table: Table,
    path: &str,
) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, ArchiveError> {
    let options = ArrowReaderOptions::new().with_schema(decoded_schema(table));
    guarded(path, || {
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
            .map_err(|error| damaged(path, &error))
    })
    .map(|builder| builder.with_batch_size(BATCH_ROWS))
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
