//! The names a query may use for tables: catalogue, schema, and the tables themselves.

use schemas::Table;

use crate::demo_events::DEMO_EVENTS;
use crate::ledger::Ledger;

/// The catalogue's name in three-part table names.
pub(crate) const CATALOG: &str = "tidewatch";
/// The schema's name in two- and three-part table names.
pub(crate) const SCHEMA: &str = "public";

/// All tables, by name.
pub(crate) fn table_names() -> Vec<&'static str> {
    Table::all()
        .map(Table::name)
        .chain([
            Ledger::Checkpoints.name(),
            Ledger::DeadLetters.name(),
            DEMO_EVENTS,
        ])
        .collect()
}
