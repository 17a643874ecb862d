//! Arrow IPC and Parquet.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Encoder, Sink};
use crate::QueryError;

/// 16 MiB of rows make a row group of a Parquet answer: so much is held before it is sent.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// An Arrow IPC stream.
pub(super) struct ArrowStream(StreamWriter<Sink>);

impl ArrowStream {
    /// Writes the schema.
    pub(super) fn begin(schema: &SchemaRef, sink: Sink) -> Result<Self, ArrowError> {
        Ok(ArrowStream(StreamWriter::try_new(sink, schema)?))
    }
}

impl Encoder for ArrowStream {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(batch)
    }

    fn end(&mut self) -> Result<(), ArrowError> {
        self.0.finish()
    }

    fn error(&self, _: &QueryError) -> Vec<u8> {
        Vec::new()
    }
}

/// A Parquet file.
pub(super) struct Parquet(Option<ArrowWriter<Sink>>);

impl Parquet {
    /// Writes the magic bytes.
    pub(super) fn begin(schema: &SchemaRef, sink: Sink) -> Result<Self, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .build();
        Ok(Parquet(Some(ArrowWriter::try_new(
            sink,
            SchemaRef::clone(schema),
            Some(properties),
        )?)))
    }
}

impl Encoder for Parquet {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if let Some(writer) = &mut self.0 {
            writer.write(batch)?;
            if writer.in_progress_size() >= ROW_GROUP_BYTES {
                writer.flush()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArrowError> {
        if let Some(writer) = self.0.take() {
            writer.close()?;
        }
        Ok(())
    }

    fn error(&self, _: &QueryError) -> Vec<u8> {
        Vec::new()
    }
}
