//! The Arrow columns of the public tables, as SQL and Parquet files show them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::batch::labels_type;
use crate::time::Micros;
use crate::{Anomaly, Forecast, ForecastScore, FullDates, Outcome, Outlook, RollupRow, Table};

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
    let maybe = |name: &str| field(name, DataType::Float64, true);
    let text = |name: &str| field(name, DataType::Utf8, false);
    let whole = |name: &str| field(name, DataType::Int64, false);
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
            text("event_id"),
            text("kind"),
            field("window_start", time_type(), false),
            field("window_end", time_type(), false),
            maybe("observed"),
            number("expected"),
            number("lower"),
            number("upper"),
            number("raw_score"),
            number("score"),
            field("alarm", DataType::Boolean, true),
            text("direction"),
            text("votes"),
            number("trust"),
            number("completeness"),
            text("related"),
            text("contributions"),
            text("explanation"),
        ],
        Table::Forecasts => vec![
            text("event_id"),
            text("kind"),
            field("made_at", time_type(), false),
            whole("horizon_s"),
            maybe("median"),
            maybe("lower_50"),
            maybe("upper_50"),
            maybe("lower_80"),
            maybe("upper_80"),
            maybe("lower_95"),
            maybe("upper_95"),
            field("answer", DataType::Utf8, true),
            maybe("used"),
            maybe("ceiling"),
            maybe("p_full_1h"),
            maybe("p_full_4h"),
            maybe("p_full_24h"),
            maybe("p_full_3d"),
            maybe("p_full_14d"),
            maybe("p_full_30d"),
            field("full_p10", time_type(), true),
            field("full_p50", time_type(), true),
            field("full_p90", time_type(), true),
            text("method"),
            whole("trained_span_s"),
            whole("trained_samples"),
            number("trust"),
            text("explanation"),
        ],
        Table::ForecastScores => vec![
            text("forecast_id"),
            text("kind"),
            field("made_at", time_type(), false),
            whole("horizon_s"),
            text("method"),
            number("observed"),
            maybe("median"),
            maybe("pinball_loss"),
            field("covered_50", DataType::Boolean, true),
            field("covered_80", DataType::Boolean, true),
            field("covered_95", DataType::Boolean, true),
            maybe("probability"),
            field("full", DataType::Boolean, true),
            maybe("brier"),
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

/// A column of texts without nulls.
fn text_array<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// A column of numbers, null where there is none.
fn maybe_array(numbers: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(numbers.collect::<Float64Array>())
}

/// A column of times, null where there is none.
fn maybe_time_array(times: impl Iterator<Item = Option<Micros>>) -> ArrayRef {
    Arc::new(
        times
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
    )
}

/// A column of counts. Those past the end of `i64` are cut to it.
fn whole_array(counts: impl Iterator<Item = u64>) -> ArrayRef {
    let cut = counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    Arc::new(Int64Array::from_iter_values(cut))
}

/// The columns of the anomalies table after `service`; `windows`: start and end of each event's window.
pub fn anomaly_columns(events: &[&Anomaly], windows: &[(Micros, Micros)]) -> Vec<ArrayRef> {
    let number = |of: fn(&Anomaly) -> f64| number_array(events.iter().map(|event| of(event)));
    let text = |of: fn(&Anomaly) -> &str| text_array(events.iter().map(|event| of(event)));
    // Lists of plain numbers and names: they always serialise.
    let json = |of: fn(&Anomaly) -> serde_json::Result<String>| {
        text_array(events.iter().map(|event| of(event).unwrap_or_default()))
    };
    vec![
        text(|event| &event.event_id),
        text(|event| event.kind.name()),
        time_array(windows.iter().map(|(start, _)| *start)),
        time_array(windows.iter().map(|(_, end)| *end)),
        maybe_array(events.iter().map(|event| event.observed)),
        number(|event| event.expected),
        number(|event| event.lower),
        number(|event| event.upper),
        number(|event| event.raw_score),
        number(|event| event.score),
        Arc::new(
            events
                .iter()
                .map(|event| Some(event.alarm))
                .collect::<BooleanArray>(),
        ),
        text(|event| event.direction.name()),
        json(|event| serde_json::to_string(&event.votes)),
        number(|event| event.trust),
        number(|event| event.completeness),
        json(|event| serde_json::to_string(&event.related)),
        json(|event| serde_json::to_string(&event.contributions)),
        text(|event| &event.explanation),
    ]
}

/// The columns of the forecasts table after `service`.
pub fn forecast_columns(events: &[&Forecast]) -> Vec<ArrayRef> {
    let text = |of: fn(&Forecast) -> &str| text_array(events.iter().map(|event| of(event)));
    let whole = |of: fn(&Forecast) -> u64| whole_array(events.iter().map(|event| of(event)));
    let outlook = |of: &dyn Fn(&Outlook) -> Option<f64>| {
        maybe_array(events.iter().map(|event| of(&event.outlook)))
    };
    let date = |of: fn(&FullDates) -> Option<Micros>| {
        maybe_time_array(events.iter().map(|event| match &event.outlook {
            Outlook::TimeToFull { dates, .. } => of(dates),
            Outlook::Value { .. } => None,
        }))
    };
    let mut columns = vec![
        text(|event| &event.event_id),
        text(|event| event.outlook.kind()),
        time_array(events.iter().map(|event| event.made_at)),
        whole(|event| event.horizon_s),
        outlook(&|outlook| match outlook {
            Outlook::Value { median, .. } => Some(*median),
            Outlook::TimeToFull { .. } => None,
        }),
    ];
    for i in 0..3 {
        let band = |outlook: &Outlook| match outlook {
            Outlook::Value { bands, .. } => Some(bands[i]),
            Outlook::TimeToFull { .. } => None,
        };
        columns.push(outlook(&|of| band(of).map(|band| band.lower)));
        columns.push(outlook(&|of| band(of).map(|band| band.upper)));
    }
    let answers = events.iter().map(|event| match &event.outlook {
        Outlook::TimeToFull { answer, .. } => Some(answer.name()),
        Outlook::Value { .. } => None,
    });
    columns.push(Arc::new(answers.collect::<StringArray>()));
    columns.push(outlook(&|outlook| match outlook {
        Outlook::TimeToFull { used, .. } => Some(*used),
        Outlook::Value { .. } => None,
    }));
    columns.push(outlook(&|outlook| match outlook {
        Outlook::TimeToFull { ceiling, .. } => Some(*ceiling),
        Outlook::Value { .. } => None,
    }));
    for i in 0..6 {
        columns.push(outlook(&|outlook| match outlook {
            Outlook::TimeToFull { p_full, .. } => Some(p_full[i].probability),
            Outlook::Value { .. } => None,
        }));
    }
    columns.extend([
        date(|dates| dates.p10),
        date(|dates| dates.p50),
        date(|dates| dates.p90),
        text(|event| &event.method),
        whole(|event| event.trained_on.span_s),
        whole(|event| event.trained_on.samples),
        number_array(events.iter().map(|event| event.trust)),
        text(|event| &event.explanation),
    ]);
    columns
}

/// The columns of the table of forecast scores after `service`.
pub fn forecast_score_columns(scores: &[&ForecastScore]) -> Vec<ArrayRef> {
    let text = |of: fn(&ForecastScore) -> &str| text_array(scores.iter().map(|score| of(score)));
    let number = |of: fn(&Outcome) -> Option<f64>| {
        maybe_array(scores.iter().map(|score| of(&score.outcome)))
    };
    let truth = |of: &dyn Fn(&Outcome) -> Option<bool>| -> ArrayRef {
        let truths = scores.iter().map(|score| of(&score.outcome));
        Arc::new(truths.collect::<BooleanArray>())
    };
    let covered = |i: usize| {
        truth(&|outcome| match outcome {
            Outcome::Value { covered, .. } => Some(covered[i]),
            Outcome::TimeToFull { .. } => None,
        })
    };
    vec![
        text(|score| &score.forecast_id),
        text(|score| score.outcome.kind()),
        time_array(scores.iter().map(|score| score.made_at)),
        whole_array(scores.iter().map(|score| score.horizon_s)),
        text(|score| &score.method),
        number_array(scores.iter().map(|score| score.observed)),
        number(|outcome| match outcome {
            Outcome::Value { median, .. } => Some(*median),
            Outcome::TimeToFull { .. } => None,
        }),
        number(|outcome| match outcome {
            Outcome::Value { pinball_loss, .. } => Some(*pinball_loss),
            Outcome::TimeToFull { .. } => None,
        }),
        covered(0),
        covered(1),
        covered(2),
        number(|outcome| match outcome {
            Outcome::TimeToFull { probability, .. } => Some(*probability),
            Outcome::Value { .. } => None,
        }),
        truth(&|outcome| match outcome {
            Outcome::TimeToFull { full, .. } => Some(*full),
            Outcome::Value { .. } => None,
        }),
        number(|outcome| match outcome {
            Outcome::TimeToFull { brier, .. } => Some(*brier),
            Outcome::Value { .. } => None,
        }),
    ]
}
