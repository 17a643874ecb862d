//! The second gate: the logical plan, node by node. What is not on the list does not run.

use arrow::datatypes::DataType;
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
use crate::ledger::LedgerTable;
use crate::provider::ArchiveTable;

/// Refuses a plan that does anything but read our tables with known functions, also in subqueries and below EXPLAIN.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(plan)?;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => check_source(source_as_provider(&scan.source)?.as_ref(), &scan.table_name.to_string())?,
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
            LogicalPlan::Statement(_) | LogicalPlan::Extension(_) | LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) => {
                return Err(refused("a plan that does more than read").into());
            }
        }
        check_types(node)?;
        node.apply_expressions(|expression| expression.apply(check_expression))
    })?;
    Ok(())
}

fn refused(what: impl Into<String>) -> QueryError {
    QueryError::Forbidden { what: what.into(), help: "SHOW TABLES and SHOW FUNCTIONS list what there is.".to_owned() }
}

fn check_source(provider: &dyn TableProvider, name: &str) -> Result<()> {
    let ours = provider.is::<ArchiveTable>() || provider.is::<LedgerTable>();
    // The engine's own: the rows of a recursive WITH, of `range`, of `information_schema`.
    let engine = provider.is::<CteWorkTable>() || provider.is::<GenerateSeriesTable>() || provider.is::<StreamingTable>();
    if ours || engine { Ok(()) } else { Err(refused(format!("reading `{name}`")).into()) }
}

/// The most types, with all they nest, in the columns of one node. 10,000: 64 tables have 2,000. A struct of a struct twice, forty times over,
/// would have a million million, and whoever walks them all never comes back.
const TYPES_MAX: usize = 10_000;

fn check_types(node: &LogicalPlan) -> Result<()> {
    let mut left = TYPES_MAX;
    if node.schema().fields().iter().all(|field| within(field.data_type(), &mut left)) {
        return Ok(());
    }
    let error = QueryError::Limit {
        what: "the statement nests structs, maps or lists too much".to_owned(),
        value: format!("{TYPES_MAX} types"),
        setting: "TYPES_MAX, fixed",
        help: "Use fewer and flatter ones",
    };
    Err(error.into())
}

/// Counts a type and those inside it off `left`; false once nothing is left.
fn within(data_type: &DataType, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match data_type {
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => within(inner.data_type(), left),
        DataType::Struct(fields) => fields.iter().all(|field| within(field.data_type(), left)),
        DataType::Union(fields, _) => fields.iter().all(|(_, field)| within(field.data_type(), left)),
        DataType::Dictionary(_, value) => within(value, left),
        DataType::RunEndEncoded(_, value) => within(value.data_type(), left),
        _ => true,
    }
}

fn check_expression(expression: &Expr) -> Result<TreeNodeRecursion> {
    match expression {
        Expr::ScalarFunction(call) if !is_allowed(call.name()) => Err(refused(format!("the function `{}`", call.name())).into()),
        Expr::ScalarVariable(..) => Err(refused("a variable").into()),
        Expr::Placeholder(placeholder) => Err(refused(format!("the placeholder `{}`", placeholder.id)).into()),
        _ => Ok(TreeNodeRecursion::Continue),
    }
}
