//! Reads samples back with their metrics and labels: for who does not know which series there are.

use std::collections::HashMap;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use schemas::time::Micros;
use schemas::{ArchiveFile, BatchBuilder, Kind, SampleBatch};
use tokio::sync::mpsc;

use super::decode::{TextColumn, damaged, labels_at, open};
use super::read::primitive;
use super::{Archive, ArchiveError};

impl Archive {
    /// The samples of one file of `Table::Samples` from a time (inclusive) to another (exclusive), as batches of a few thousand in the order of the file. All
    /// are gauges: samples in the archive do not tell whether they count.
    ///
    /// Holds the file in memory; what waits to be received is bounded. Ends after an error.
    ///
    /// # Errors
    /// `Corruption` if the file is missing or damaged; `Outage` (retry).
    pub fn stream_batches(
        &self,
        file: &ArchiveFile,
        from: Micros,
        to: Micros,
    ) -> mpsc::Receiver<Result<SampleBatch, ArchiveError>> {
        self.stream(file, move |bytes, file, send| {
            let path = file.path.as_str();
            let builder = open(bytes, file.table, path)?;
            let schema = builder.parquet_schema();
            let roots = |wanted: &[&str]| {
                let names = schema.root_schema().get_fields().iter();
                let indices = names
                    .enumerate()
                    .filter(|(_, field)| wanted.contains(&field.name()))
                    .map(|(i, _)| i);
                ProjectionMask::roots(schema, indices.collect::<Vec<_>>())
            };
            let all = roots(&["time", "metric", "series_id", "labels", "value"]);
            let file = path.to_owned();
            let in_time = ArrowPredicateFn::new(roots(&["time"]), move |batch| {
                let times = primitive::<TimestampMicrosecondType>(&batch, "time", &file)
                    .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
                let wanted = times.iter().map(|time| (from..to).contains(time));
                Ok(BooleanArray::from(wanted.collect::<Vec<_>>()))
            });
            let reader = builder
                .with_projection(all)
                .with_row_filter(RowFilter::new(vec![Box::new(in_time)]))
                .build()
                .map_err(|error| damaged(path, &error))?;
            for batch in reader {
                let batch = batch.map_err(|error| damaged(path, &error))?;
                send(samples_of(&batch, path)?);
            }
            Ok(())
        })
    }
}

fn samples_of(batch: &RecordBatch, path: &str) -> Result<SampleBatch, ArchiveError> {
    let metrics = TextColumn::of(batch, "metric", path)?;
    let ids = TextColumn::of(batch, "series_id", path)?;
    let times = primitive::<TimestampMicrosecondType>(batch, "time", path)?;
    let values = primitive::<Float64Type>(batch, "value", path)?;
    let mut builder = BatchBuilder::default();
    // Labels are read once per series, not once per sample.
    let mut known: HashMap<u32, (u32, u32)> = HashMap::new();
    for row in 0..batch.num_rows() {
        let (metric, labels) = match known.get(&ids.key(row)) {
            Some(keys) => *keys,
            None => {
                let labels = builder.label_set(&labels_at(batch, row, path)?);
                let keys = (builder.metric(metrics.text(row)), labels);
                known.insert(ids.key(row), keys);
                keys
            }
        };
        builder.push(metric, labels, Kind::Gauge, times[row], values[row]);
    }
    builder.finish().map_err(|error| damaged(path, &error))
}
