//! JSON: an array of objects, or one object a line.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer, WriterBuilder};
use schemas::HasFault;

use super::{Encoder, Sink};
use crate::QueryError;

fn writer<F: JsonFormat>(sink: Sink) -> Writer<Sink, F> {
    // Nulls are written: a column that is there in one row is there in all.
    WriterBuilder::new().with_explicit_nulls(true).build(sink)
}

fn error_object(error: &QueryError) -> String {
    serde_json::json!({ "error": { "message": error.to_string(), "fault": error.fault().name() } })
        .to_string()
}

/// An array of objects.
pub(super) struct Array {
    writer: Writer<Sink, JsonArray>,
    sink: Sink,
    begun: bool,
}

impl Array {
    /// An array that has not begun.
    pub(super) fn new(sink: Sink) -> Self {
        Array {
            writer: writer(sink.clone()),
            sink,
            begun: false,
        }
    }
}

impl Encoder for Array {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.begun |= batch.num_rows() > 0;
        self.writer.write(batch)
    }

    fn end(&mut self) -> Result<(), ArrowError> {
        self.writer.finish()?;
        // As every other text: a prompt, or what is appended to the file, begins a line of its own.
        self.sink.push(b"\n");
        Ok(())
    }

    fn error(&self, error: &QueryError) -> Vec<u8> {
        format!(
            "{}{}]\n",
            if self.begun { "," } else { "[" },
            error_object(error)
        )
        .into_bytes()
    }
}

/// One object a line.
pub(super) struct Lines {
    writer: Writer<Sink, LineDelimited>,
}

impl Lines {
    /// No line yet.
    pub(super) fn new(sink: Sink) -> Self {
        Lines {
            writer: writer(sink),
        }
    }
}

impl Encoder for Lines {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch)
    }

    fn end(&mut self) -> Result<(), ArrowError> {
        self.writer.finish()
    }

    fn error(&self, error: &QueryError) -> Vec<u8> {
        format!("{}\n", error_object(error)).into_bytes()
    }
}
