//! CSV. Maps, lists and structs stand in it as JSON text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use arrow::csv::{Writer, WriterBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

use super::{Encoder, Sink};
use crate::QueryError;

/// A header, then rows.
pub(super) struct Csv {
    writer: Writer<Sink>,
    schema: SchemaRef,
}

impl Csv {
    /// Writes the header, so that an answer without rows still names its columns.
    pub(super) fn begin(schema: &SchemaRef, sink: Sink) -> Result<Self, ArrowError> {
        let flat = |field: &FieldRef| match field.data_type().is_nested() {
            true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            false => Arc::clone(field),
        };
        let schema = Arc::new(Schema::new(
            schema.fields().iter().map(flat).collect::<Vec<_>>(),
        ));
        let mut writer = WriterBuilder::new().with_header(true).build(sink);
        writer.write(&RecordBatch::new_empty(Arc::clone(&schema)))?;
        Ok(Csv { writer, schema })
    }
}

impl Encoder for Csv {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| match column.data_type().is_nested() {
            true => json_text(field, column),
            false => Ok(Arc::clone(column)),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        self.writer
            .write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn end(&mut self) -> Result<(), ArrowError> {
        Ok(())
    }

    fn error(&self, _: &QueryError) -> Vec<u8> {
        Vec::new()
    }
}

/// A nested column as JSON text; null stays null.
pub(super) fn json_text(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let (mut texts, mut json) = (StringBuilder::new(), Vec::new());
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        json.clear();
        encoder.encode(row, &mut json);
        texts.append_value(String::from_utf8_lossy(&json));
    }
    Ok(Arc::new(texts.finish()))
}
