//! Functions that can make much out of little, each held to a bound before it allocates.
//!
//! The memory pool counts what operators buffer, not what one function call returns, and constants are computed while planning, outside any
//! pool. So the calls whose result can be far larger than their arguments are wrapped: the size is computed first.

mod call;
mod literals;
pub(crate) mod nesting;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::catalog::TableFunction;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};

pub(crate) use literals::CONCAT_OPERATOR;

use crate::QueryError;
use crate::sandbox::{is_allowed, is_allowed_table_function};

/// The longest value that one function call makes. 64 KiB: a constant is repeated for each of the 8,192 rows of a batch.
pub(crate) const VALUE_BYTES_MAX: u64 = 64 << 10;

/// The most that one function call makes for one batch of rows. 64 MiB: 8 KiB for each of 8,192 rows.
pub(crate) const CALL_BYTES_MAX: u64 = 64 << 20;

/// The most rows of `range` and `generate_series` as tables. 10 million: a year of windows of 10 s, three times over.
pub(crate) const SERIES_ROWS_MAX: u64 = 10_000_000;

/// The allowed scalar functions, guarded where they need it.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let guard = |function: Arc<ScalarUDF>| match call::Growth::of(function.name()) {
        Some(growth) => Arc::new(ScalarUDF::new_from_impl(call::Guarded::new(
            function, growth,
        ))),
        None => function,
    };
    let defaults = SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .filter(|function| is_allowed(function.name()));
    defaults.map(guard).chain([literals::operator()]).collect()
}

static GUARDED: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    scalar_functions()
        .into_iter()
        .map(|function| (function.name().to_owned(), function))
        .collect()
});

/// Puts the guarded functions in place of the plain ones: literals such as `[a, a]` and operators call those directly.
pub(crate) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    let swap = |expression: Expr| match expression {
        Expr::ScalarFunction(mut call) => match GUARDED.get(call.name()) {
            Some(guarded) => {
                call.func = Arc::clone(guarded);
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            None => Ok(Transformed::no(Expr::ScalarFunction(call))),
        },
        other => Ok(Transformed::no(other)),
    };
    let swapped = plan.transform_down_with_subqueries(|node| {
        node.map_expressions(|expression| expression.transform_up(swap))
    })?;
    Ok(swapped.data)
}

/// The allowed table functions, guarded.
pub(crate) fn table_functions() -> Vec<Arc<TableFunction>> {
    let defaults = SessionStateDefaults::default_table_functions()
        .into_iter()
        .filter(|function| is_allowed_table_function(function.name()));
    defaults
        .map(|function| {
            Arc::new(TableFunction::new(
                function.name().to_owned(),
                Arc::new(series::Guarded(function)),
            ))
        })
        .collect()
}

/// Turns operators and literals that make values into guarded calls.
pub(crate) fn expr_planner() -> Arc<dyn ExprPlanner> {
    Arc::new(literals::Planner)
}

/// Refuses a call whose result would be too large: `value` bytes for one row, `all` bytes for all rows.
fn check_growth(function: &str, value: u64, all: u64) -> Result<(), QueryError> {
    let (size, limit, setting) = if value > VALUE_BYTES_MAX {
        (value, VALUE_BYTES_MAX, "VALUE_BYTES_MAX, fixed")
    } else if all > CALL_BYTES_MAX {
        (all, CALL_BYTES_MAX, "CALL_BYTES_MAX, fixed")
    } else {
        return Ok(());
    };
    Err(QueryError::Limit {
        what: format!("`{function}` would make {size} bytes in one go"),
        value: format!("{limit} bytes"),
        setting,
        help: "Make shorter texts and arrays; for long series use generate_series(…) or range(…) in FROM",
    })
}
