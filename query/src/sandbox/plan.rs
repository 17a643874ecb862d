//! The second gate: the logical plan, node by node. What is not on the list does not run.

use datafusion::catalog::TableProvider;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::context::SQLOptions;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::is_allowed;
use crate::QueryError;
use crate::guard::nesting;
use crate::ledger::LedgerTable;
use crate::provider::ArchiveTable;

/// Refuses a plan that does anything but read our tables with known functions, also in subqueries and below EXPLAIN.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)?;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => check_source(
                source_as_provider(&scan.source)?.as_ref(),
                &scan.table_name.to_string(),
            )?,
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => {}
            LogicalPlan::Statement(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_) => {
                return Err(refused("a plan that does more than read").into());
            }
        }
        nesting::check_node(node.schema().fields().iter().map(|field| field.data_type()))?;
        node.apply_expressions(|expression| expression.apply(check_expression))
    })?;
    Ok(())
}

fn refused(what: impl Into<String>) -> QueryError {
    QueryError::Forbidden {
        what: what.into(),
        help: "SHOW TABLES and SHOW FUNCTIONS list what there is.".to_owned(),
    }
}

fn check_source(provider: &dyn TableProvider, name: &str) -> Result<()> {
    let ours = provider.is::<ArchiveTable>() || provider.is::<LedgerTable>();
    // The engine's own: the rows of a recursive WITH, of `range`, of `information_schema`.
    let engine = provider.is::<CteWorkTable>()
        || provider.is::<GenerateSeriesTable>()
        || provider.is::<StreamingTable>();
    if ours || engine {
        Ok(())
    } else {
        Err(refused(format!("reading `{name}`")).into())
    }
}

fn check_expression(expression: &Expr) -> Result<TreeNodeRecursion> {
    match expression {
        Expr::ScalarFunction(call) if !is_allowed(call.name()) => {
            Err(refused(format!("the function `{}`", call.name())).into())
        }
        Expr::ScalarVariable(..) => Err(refused("a variable").into()),
        Expr::Placeholder(placeholder) => {
            Err(refused(format!("the placeholder `{}`", placeholder.id)).into())
        }
        _ => Ok(TreeNodeRecursion::Continue),
    }
}
