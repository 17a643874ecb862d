//! The table `demo_events`: what a demo planted, read out of the samples that tell of it. A view like any query; it stores nothing.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::catalog::view::ViewTable;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{LogicalPlanBuilder, col, lit, try_cast};
use schemas::Table;
use schemas::columns::time_type;
use schemas::demo::{
    EVENT_DESCRIPTION, EVENT_END, EVENT_KIND, EVENT_LABELS, EVENT_METRIC, EVENT_METRIC_NAME,
    EVENT_RESOURCE, EVENT_RESOURCE_ID, EVENT_SERIES_ID, EVENT_START,
};

use crate::provider::ArchiveTable;
use crate::snapshot::Snapshot;

/// Its name in SQL.
pub(crate) const DEMO_EVENTS: &str = "demo_events";

/// The table within a snapshot: `kind, host, resource, resource_id, metric, series_id, labels, start_time, end_time, description`. What is
/// found of a resource as a whole has the series `resource_id`, and `resource` is its labels as text. Metric, series and labels (as text) are null where an event
/// shows in no single series; times are null where a sender wrote none that can be read.
pub(crate) fn demo_events(snapshot: Arc<Snapshot>) -> Result<Arc<dyn TableProvider>> {
    let samples: Arc<dyn TableProvider> = Arc::new(ArchiveTable::new(Table::Samples, snapshot));
    let label = |key: &str| get_field(col("labels"), key);
    let text = |key: &str, name: &str| try_cast(label(key), DataType::Utf8).alias(name);
    let time = |key: &str, name: &str| try_cast(label(key), time_type()).alias(name);
    let plan = LogicalPlanBuilder::scan(Table::Samples.name(), provider_as_source(samples), None)?
        .filter(col("metric").eq(lit(EVENT_METRIC)))?
        .project([
            text(EVENT_KIND, "kind"),
            col("host"),
            text(EVENT_RESOURCE, "resource"),
            text(EVENT_RESOURCE_ID, "resource_id"),
            text(EVENT_METRIC_NAME, "metric"),
            text(EVENT_SERIES_ID, "series_id"),
            text(EVENT_LABELS, "labels"),
            time(EVENT_START, "start_time"),
            time(EVENT_END, "end_time"),
            text(EVENT_DESCRIPTION, "description"),
        ])?
        // What is under way is told again by each demo that begins to publish without a log of its own.
        .distinct()?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
