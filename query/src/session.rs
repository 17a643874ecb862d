//! The DataFusion session of one query: our tables, our functions, our one store, its share of memory.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider, TableProvider,
};
use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::prelude::SessionConfig;
use schemas::Table;

use crate::demo_events::{DEMO_EVENTS, demo_events};
use crate::ledger::{Ledger, LedgerTable};
use crate::memory::NestedPool;
use crate::names::{CATALOG, SCHEMA, table_names};
use crate::provider::ArchiveTable;
use crate::snapshot::Snapshot;
use crate::store::OneStore;
use crate::{Limits, guard, sandbox};

/// What all sessions share: functions and rules, the memory of all queries, the disk of all spills, the cache of Parquet footers.
#[derive(Debug)]
pub(crate) struct Sessions {
    base: SessionState,
    runtime: Arc<RuntimeEnv>,
    memory_bytes: usize,
    spills: bool,
}

/// A session, and the pool it draws from.
pub(crate) struct QuerySession {
    /// Plans and runs the query.
    pub(crate) state: SessionState,
    /// Says which bound refused memory.
    pub(crate) pool: Arc<NestedPool>,
}

impl Sessions {
    /// Builds what all sessions share.
    ///
    /// # Errors
    /// If the spill directory can't be made (bad configuration).
    pub(crate) fn new(limits: &Limits) -> Result<Self> {
        let disk = disk_manager(limits.spill_directory.clone(), limits.spill_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes_total)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_target_partitions(limits.threads.max(1));
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.schema_force_view_types = false;
        if limits.spill_directory.is_none() {
            // Sorts set this aside for merging what they spilled.
            options.execution.sort_spill_reservation_bytes = 0;
        }
        let mut planners = vec![guard::expr_planner()];
        planners.extend(SessionStateDefaults::default_expr_planners());
        let base = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&runtime))
            .with_expr_planners(planners)
            .with_scalar_functions(guard::scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_aggregate_functions(sandbox::allowed_aggregates())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(guard::table_functions())
            .build();
        Ok(Sessions {
            base,
            runtime,
            memory_bytes: limits.memory_bytes,
            spills: limits.spill_directory.is_some(),
        })
    }

    /// A session that sees one snapshot.
    pub(crate) fn open(&self, snapshot: &Arc<Snapshot>) -> Result<QuerySession> {
        // Fair: operators that can spill share what is there. Where nothing spills, first come, first served wastes least.
        let own: Arc<dyn MemoryPool> = if self.spills {
            Arc::new(FairSpillPool::new(self.memory_bytes))
        } else {
            Arc::new(GreedyMemoryPool::new(self.memory_bytes))
        };
        let pool = Arc::new(NestedPool::new(own, Arc::clone(&self.runtime.memory_pool)));
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.runtime)
            .with_memory_pool(Arc::clone(&pool) as Arc<dyn MemoryPool>)
            .with_object_store_registry(Arc::new(OneStore(Arc::clone(&snapshot.store))))
            .build_arc()?;
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(TablesSchema(Arc::clone(snapshot))))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let mut state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_runtime_env(runtime)
            .with_catalog_list(Arc::new(catalogs))
            .build();
        // `now()` is this moment throughout the query.
        state.mark_start_execution();
        Ok(QuerySession { state, pool })
    }
}

fn disk_manager(directory: Option<PathBuf>, bytes_max: u64) -> DiskManagerBuilder {
    match directory {
        Some(directory) => DiskManager::builder()
            .with_mode(DiskManagerMode::Directories(vec![directory]))
            .with_max_temp_directory_size(bytes_max),
        None => DiskManager::builder().with_mode(DiskManagerMode::Disabled),
    }
}

/// The read-only schema of our tables.
#[derive(Debug)]
struct TablesSchema(Arc<Snapshot>);

#[async_trait]
impl SchemaProvider for TablesSchema {
    fn table_names(&self) -> Vec<String> {
        table_names().into_iter().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let snapshot = || Arc::clone(&self.0);
        if name == DEMO_EVENTS {
            return demo_events(snapshot()).map(Some);
        }
        let archive = Table::from_name(name)
            .map(|table| Arc::new(ArchiveTable::new(table, snapshot())) as Arc<dyn TableProvider>);
        Ok(archive.or_else(|| {
            Ledger::from_name(name).map(|ledger| {
                Arc::new(LedgerTable::new(ledger, snapshot())) as Arc<dyn TableProvider>
            })
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        table_names().contains(&name)
    }
}
