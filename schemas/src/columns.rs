//! The Arrow columns of the public tables, as SQL and Parquet files show them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::Table;
use crate::batch::labels_type;

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
