//! `range` and `generate_series` as tables, held to a number of rows.

use std::sync::Arc;

use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use super::SERIES_ROWS_MAX;
use crate::QueryError;

/// A table function that checks its arguments first.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<TableFunction>);

impl TableFunctionImpl for Guarded {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let literals: Vec<_> = args
            .exprs()
            .iter()
            .filter_map(|argument| match argument {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            })
            .collect();
        if let Some(rows) = rows(&literals)
            && rows > SERIES_ROWS_MAX
        {
            let error = QueryError::Limit {
                what: format!("`{}` would make {rows} rows", self.0.name()),
                value: format!("{SERIES_ROWS_MAX} rows"),
                setting: "SERIES_ROWS_MAX, fixed",
                help: "Choose a shorter range or a wider step",
            };
            return Err(error.into());
        }
        self.0.function().call_with_args(args)
    }
}

/// How many rows a series has, about. `None` if the arguments are not such as make a series; then DataFusion says so itself.
pub(crate) fn rows(args: &[&ScalarValue]) -> Option<u64> {
    let (start, end, step) = match args {
        [end] => (0, position(end)?, 1),
        [start, end] => (position(start)?, position(end)?, unit(start)),
        [start, end, step] => (position(start)?, position(end)?, stride(step)?),
        _ => return None,
    };
    // A step of zero is an error of DataFusion's own.
    let steps = (end - start).checked_div(step)?;
    u64::try_from(steps)
        .ok()
        .map(|steps| steps.saturating_add(1))
}

const DAY_NANOS: i128 = 86_400_000_000_000;

fn unit(start: &ScalarValue) -> i128 {
    if matches!(start, ScalarValue::Int64(_)) {
        1
    } else {
        DAY_NANOS
    }
}

/// A number as it is; a time in nanoseconds.
fn position(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::Int64(value) => value.map(i128::from),
        ScalarValue::Date32(day) => day.map(|day| i128::from(day) * DAY_NANOS),
        ScalarValue::TimestampSecond(value, _) => {
            value.map(|value| i128::from(value) * 1_000_000_000)
        }
        ScalarValue::TimestampMillisecond(value, _) => {
            value.map(|value| i128::from(value) * 1_000_000)
        }
        ScalarValue::TimestampMicrosecond(value, _) => value.map(|value| i128::from(value) * 1_000),
        ScalarValue::TimestampNanosecond(value, _) => value.map(i128::from),
        _ => None,
    }
}

/// A number as it is; an interval in nanoseconds, months counted as the shortest.
fn stride(value: &ScalarValue) -> Option<i128> {
    let of = |months: i32, days: i32, nanos: i128| {
        (i128::from(months) * 28 + i128::from(days)) * DAY_NANOS + nanos
    };
    match value {
        ScalarValue::Int64(value) => value.map(i128::from),
        ScalarValue::IntervalMonthDayNano(value) => {
            value.map(|value| of(value.months, value.days, i128::from(value.nanoseconds)))
        }
        ScalarValue::IntervalDayTime(value) => {
            value.map(|value| of(0, value.days, i128::from(value.milliseconds) * 1_000_000))
        }
        ScalarValue::IntervalYearMonth(months) => months.map(|months| of(months, 0, 0)),
        _ => None,
    }
}
