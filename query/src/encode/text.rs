//! Aligned columns for people. Widths come from the first rows, so that a long answer streams too; a later, longer cell only shifts its line.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::lines::json_text;
use super::{Encoder, Sink};
use crate::QueryError;

/// A table with a header, a rule and rows.
pub(super) struct Table {
    sink: Sink,
    schema: SchemaRef,
    widths: Option<Vec<usize>>,
}

impl Table {
    /// A table whose widths are not known yet.
    pub(super) fn begin(schema: &SchemaRef, sink: Sink) -> Self {
        Table {
            sink,
            schema: Arc::clone(schema),
            widths: None,
        }
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        let widths = self.widths.iter().flatten();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let gap = if index == 0 { "" } else { "  " };
            let right = self.schema.field(index).data_type().is_numeric();
            // Writing to a String can't fail.
            let _ = if right {
                write!(line, "{gap}{cell:>width$}")
            } else {
                write!(line, "{gap}{cell:<width$}")
            };
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    fn header(&mut self, rows: &[Vec<String>]) {
        let names: Vec<String> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let widest = |index: usize| {
            rows.iter()
                .filter_map(|row| row.get(index))
                .chain(names.get(index))
                .map(|cell| cell.chars().count())
                .max()
        };
        self.widths = Some(
            (0..names.len())
                .map(|index| widest(index).unwrap_or(0))
                .collect(),
        );
        let rule: Vec<String> = self
            .widths
            .iter()
            .flatten()
            .map(|width| "-".repeat(*width))
            .collect();
        self.sink.push(self.line(&names).as_bytes());
        self.sink.push(self.line(&rule).as_bytes());
    }
}

/// The rows of a batch as texts: maps, lists and structs as JSON, null as nothing.
///
/// # Errors
/// If a value has no text, which no type that a query answers with is known for.
pub fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null("");
    let schema = batch.schema();
    let flat = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| match column.data_type().is_nested() {
            true => json_text(field, column),
            false => Ok(Arc::clone(column)),
        });
    let flat = flat.collect::<Result<Vec<ArrayRef>, _>>()?;
    let formatters = flat
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref() as &dyn Array, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let row = |row: usize| {
        formatters
            .iter()
            .map(|column| column.value(row).try_to_string())
            .collect::<Result<Vec<_>, _>>()
    };
    (0..batch.num_rows()).map(row).collect()
}

impl Encoder for Table {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let rows = cells(batch)?;
        if self.widths.is_none() {
            self.header(&rows);
        }
        for row in &rows {
            self.sink.push(self.line(row).as_bytes());
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArrowError> {
        if self.widths.is_none() {
            self.header(&[]);
        }
        Ok(())
    }

    fn error(&self, error: &QueryError) -> Vec<u8> {
        format!("error: {error}\n").into_bytes()
    }
}
