//! Hot rows in the public columns of their table.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use schemas::batch::labels_array;
use schemas::columns::table_schema;
use schemas::time::Micros;
use schemas::{Resolution, Series, Table};

use super::StoreError;
use super::block::Row;

/// The rows of one window.
pub(super) fn batch(
    resolution: Resolution,
    start: Micros,
    rows: &[(Arc<Series>, Row)],
) -> Result<RecordBatch, StoreError> {
    let measure = |i: usize| {
        Arc::new(Float64Array::from_iter_values(
            rows.iter().map(|(_, row)| row.measures[i]),
        )) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![start; rows.len()]).with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|(series, _)| &*series.metric),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|(series, _)| series.id.to_string()),
        )),
        Arc::new(labels_array(rows.iter().map(|(series, _)| &series.labels))),
        Arc::new(
            rows.iter()
                .map(|(series, _)| series.host())
                .collect::<StringArray>(),
        ),
        Arc::new(
            rows.iter()
                .map(|(series, _)| series.service())
                .collect::<StringArray>(),
        ),
        Arc::new(Int64Array::from_iter_values(
            rows.iter()
                .map(|(_, row)| i64::try_from(row.count).unwrap_or(i64::MAX)),
        )),
        measure(0),
        measure(1),
        measure(2),
        measure(3),
        measure(4),
        measure(5),
        Arc::new(
            rows.iter()
                .map(|(_, row)| row.rate())
                .collect::<Float64Array>(),
        ),
        measure(7),
        Arc::new(Int32Array::from_iter_values(
            rows.iter()
                .map(|(_, row)| i32::try_from(row.revision).unwrap_or(i32::MAX)),
        )),
    ];
    RecordBatch::try_new(table_schema(Table::Rollups(resolution)), columns)
        .map_err(|error| StoreError::Bug(error.to_string()))
}
