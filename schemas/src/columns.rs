//! The Arrow columns of the public tables, as SQL and Parquet files show them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::batch::labels_type;
use crate::time::Micros;
use crate::{Anomaly, RollupRow, Table};

/// `TIMESTAMP(us, UTC)`: the type of every time column.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns of a table. `series_id` is 32 hexadecimal digits; `host` and `service` are promoted from the labels and may be null.
pub fn table_schema(table: Table) -> SchemaRef {
    let field =
        |name: &str, data_type: DataType, nullable: bool| Field::new(name, data_type, nullable);
    let series = vec![
        field("time", time_type(), false),
        field("metric", DataType::Utf8, false),
        field("series_id", DataType::Utf8, false),
        field("labels", labels_type(), false),
        field("host", DataType::Utf8, true),
        field("service", DataType::Utf8, true),
    ];
    let number = |name: &str| field(name, DataType::Float64, false);
    let own = match table {
        Table::Samples => vec![number("value")],
        Table::Rollups(_) => vec![
            field("count", DataType::Int64, false),
            number("sum"),
            number("min"),
            number("max"),
            number("first"),
            number("last"),
            number("sum_squares"),
            field("rate", DataType::Float64, true),
            number("completeness"),
            field("revision", DataType::Int32, false),
        ],
        Table::Anomalies => vec![
            field("event_id", DataType::Utf8, false),
            field("window_start", time_type(), false),
            field("window_end", time_type(), false),
            number("observed"),
            number("expected"),
            number("lower"),
            number("upper"),
            number("score"),
            field("direction", DataType::Utf8, false),
            field("votes", DataType::Utf8, false),
            number("trust"),
            number("completeness"),
            field("explanation", DataType::Utf8, false),
        ],
        Table::Forecasts => vec![
            field("event_id", DataType::Utf8, false),
            field("made_at", time_type(), false),
            number("expected"),
            number("lower"),
            number("upper"),
            number("coverage"),
            field("model", DataType::Utf8, false),
            field("explanation", DataType::Utf8, false),
        ],
    };
    Arc::new(Schema::new(
        series.into_iter().chain(own).collect::<Vec<_>>(),
    ))
}

/// A column of times.
pub fn time_array(times: impl Iterator<Item = Micros>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
}

/// A column of numbers without nulls.
pub fn number_array(numbers: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(numbers))
}

/// The columns of a rollups table after `service`.
pub fn rollup_columns(rows: &[&RollupRow]) -> Vec<ArrayRef> {
    let number = |of: fn(&RollupRow) -> f64| number_array(rows.iter().map(|row| of(row)));
    let counts = rows
        .iter()
        .map(|row| i64::try_from(row.rollup.count).unwrap_or(i64::MAX));
    let revisions = rows
        .iter()
        .map(|row| i32::try_from(row.revision).unwrap_or(i32::MAX));
    vec![
        Arc::new(Int64Array::from_iter_values(counts)),
        number(|row| row.rollup.sum),
        number(|row| row.rollup.min),
        number(|row| row.rollup.max),
        number(|row| row.rollup.first),
        number(|row| row.rollup.last),
        number(|row| row.rollup.sum_squares),
        Arc::new(rows.iter().map(|row| row.rate).collect::<Float64Array>()),
        number(|row| row.completeness),
        Arc::new(Int32Array::from_iter_values(revisions)),
    ]
}

/// The columns of the anomalies table after `service`; `windows`: start and end of each event's window.
pub fn anomaly_columns(events: &[&Anomaly], windows: &[(Micros, Micros)]) -> Vec<ArrayRef> {
    let number = |of: fn(&Anomaly) -> f64| number_array(events.iter().map(|event| of(event)));
    let text = |of: fn(&Anomaly) -> &str| -> ArrayRef {
        let texts = events.iter().map(|event| of(event));
        Arc::new(StringArray::from_iter_values(texts))
    };
    // Votes are plain numbers and names: they always serialise.
    let votes = events
        .iter()
        .map(|event| serde_json::to_string(&event.votes).unwrap_or_default());
    vec![
        text(|event| &event.event_id),
        time_array(windows.iter().map(|(start, _)| *start)),
        time_array(windows.iter().map(|(_, end)| *end)),
        number(|event| event.observed),
        number(|event| event.expected),
        number(|event| event.lower),
        number(|event| event.upper),
        number(|event| event.score),
        text(|event| event.direction.name()),
        Arc::new(StringArray::from_iter_values(votes)),
        number(|event| event.trust),
        number(|event| event.completeness),
        text(|event| &event.explanation),
    ]
}
