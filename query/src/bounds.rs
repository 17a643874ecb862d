//! Reads from a query's filters which times and metrics it can touch at all. What it does not understand bounds nothing.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use schemas::Micros;
use schemas::time::{DAY, SECOND};

use crate::ScanBounds;

/// 200: enough for any filter a person writes; deeper ones bound nothing, so that a chain of ten thousand ORs can't exhaust the stack.
const DEPTH_MAX: usize = 200;

/// The bounds that all filters together put on a scan.
pub(crate) fn of_filters(filters: &[Expr]) -> ScanBounds {
    filters
        .iter()
        .map(|filter| of(filter, DEPTH_MAX))
        .fold(ScanBounds::default(), both)
}

/// What both bounds allow.
pub(crate) fn both(a: ScanBounds, b: ScanBounds) -> ScanBounds {
    let metrics = match (a.metrics, b.metrics) {
        (Some(a), Some(b)) => Some(a.into_iter().filter(|metric| b.contains(metric)).collect()),
        (a, b) => a.or(b),
    };
    ScanBounds {
        // `None` is smaller than any `Some`, which is right for a lower bound only.
        time_min: a.time_min.max(b.time_min),
        time_max: match (a.time_max, b.time_max) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        },
        metrics,
        // A filter names no columns to be shown.
        columns: None,
    }
}

/// The smallest bounds that allow what either allows.
pub(crate) fn either(a: ScanBounds, b: ScanBounds) -> ScanBounds {
    let either_name = |a: Option<Vec<String>>, b: Option<Vec<String>>| match (a, b) {
        (Some(mut a), Some(b)) => {
            a.extend(b);
            a.sort_unstable();
            a.dedup();
            Some(a)
        }
        _ => None,
    };
    ScanBounds {
        time_min: a.time_min.zip(b.time_min).map(|(a, b)| a.min(b)),
        time_max: a.time_max.zip(b.time_max).map(|(a, b)| a.max(b)),
        metrics: either_name(a.metrics, b.metrics),
        columns: either_name(a.columns, b.columns),
    }
}

fn of(filter: &Expr, depth: usize) -> ScanBounds {
    let Some(depth) = depth.checked_sub(1) else {
        return ScanBounds::default();
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And,
            right,
        }) => both(of(left, depth), of(right, depth)),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => either(of(left, depth), of(right, depth)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (column, Expr::Literal(value, _)) => compare(column, *op, value),
            (Expr::Literal(value, _), column) => op
                .swap()
                .map(|op| compare(column, op, value))
                .unwrap_or_default(),
            _ => ScanBounds::default(),
        },
        Expr::Between(between) if !between.negated => {
            match (between.low.as_ref(), between.high.as_ref()) {
                (Expr::Literal(low, _), Expr::Literal(high, _)) => both(
                    compare(&between.expr, Operator::GtEq, low),
                    compare(&between.expr, Operator::LtEq, high),
                ),
                _ => ScanBounds::default(),
            }
        }
        Expr::InList(list) if !list.negated => {
            let each = list.list.iter().map(|item| match item {
                Expr::Literal(value, _) => compare(&list.expr, Operator::Eq, value),
                _ => ScanBounds::default(),
            });
            each.reduce(either).unwrap_or_default()
        }
        _ => ScanBounds::default(),
    }
}

fn compare(column: &Expr, op: Operator, value: &ScalarValue) -> ScanBounds {
    match name(column) {
        Some("metric") if op == Operator::Eq => {
            let metric = value
                .try_as_str()
                .flatten()
                .map(|metric| vec![metric.to_owned()]);
            ScanBounds {
                metrics: metric,
                ..ScanBounds::default()
            }
        }
        Some("time") => {
            let Some((earliest, latest)) = moment(value) else {
                return ScanBounds::default();
            };
            let (time_min, time_max) = match op {
                Operator::Eq => (Some(earliest), Some(latest)),
                Operator::Gt | Operator::GtEq => (Some(earliest), None),
                Operator::Lt | Operator::LtEq => (None, Some(latest)),
                _ => (None, None),
            };
            ScanBounds {
                time_min,
                time_max,
                ..ScanBounds::default()
            }
        }
        _ => ScanBounds::default(),
    }
}

/// The column's name, also below a cast of a time to another unit or to a day: [`moment`] allows for what such a cast rounds away.
fn name(column: &Expr) -> Option<&str> {
    match column {
        Expr::Column(column) => Some(&column.name),
        Expr::Cast(cast) if is_moment(cast.field.data_type()) => {
            name(&cast.expr).filter(|name| *name == "time")
        }
        _ => None,
    }
}

fn is_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

/// The times, first and last, that compare equal to a literal once cast to its type.
fn moment(value: &ScalarValue) -> Option<(Micros, Micros)> {
    let span = |value: i64, unit: TimeUnit| match unit {
        TimeUnit::Second => (
            value.saturating_mul(SECOND),
            value.saturating_add(1).saturating_mul(SECOND),
        ),
        TimeUnit::Millisecond => (
            value.saturating_mul(1_000),
            value.saturating_add(1).saturating_mul(1_000),
        ),
        TimeUnit::Microsecond => (value, value),
        TimeUnit::Nanosecond => (
            value.div_euclid(1_000),
            value.div_euclid(1_000).saturating_add(1),
        ),
    };
    match value {
        ScalarValue::TimestampSecond(Some(value), _) => Some(span(*value, TimeUnit::Second)),
        ScalarValue::TimestampMillisecond(Some(value), _) => {
            Some(span(*value, TimeUnit::Millisecond))
        }
        ScalarValue::TimestampMicrosecond(Some(value), _) => {
            Some(span(*value, TimeUnit::Microsecond))
        }
        ScalarValue::TimestampNanosecond(Some(value), _) => {
            Some(span(*value, TimeUnit::Nanosecond))
        }
        ScalarValue::Date32(Some(day)) => {
            Some((i64::from(*day) * DAY, (i64::from(*day) + 1) * DAY))
        }
        _ => None,
    }
}
