//! A table of the archive as DataFusion scans it: the committed files that can matter, beside the hot rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::catalog::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectStore;
use object_store::path::Path;
use schemas::columns::table_schema;
use schemas::{ArchiveFile, Table};

use crate::snapshot::Snapshot;
use crate::store::archive_url;
use crate::{QueryError, ScanBounds, bounds};

/// One table of the archive, as one query sees it.
#[derive(Debug)]
pub(crate) struct ArchiveTable {
    table: Table,
    schema: SchemaRef,
    snapshot: Arc<Snapshot>,
}

impl ArchiveTable {
    /// The table within a snapshot.
    pub(crate) fn new(table: Table, snapshot: Arc<Snapshot>) -> Self {
        ArchiveTable {
            table,
            schema: table_schema(table),
            snapshot,
        }
    }

    /// The scan of committed files, spread evenly by size over the plan's partitions.
    fn cold(
        &self,
        state: &dyn Session,
        files: Vec<&ArchiveFile>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut scanned = Vec::with_capacity(files.len());
        for file in files {
            let location = Path::parse(&file.path).map_err(|error| QueryError::Damaged {
                files: vec![format!("`{}`", file.path)],
                cause: format!("the chain names an impossible path: {error}"),
            })?;
            self.snapshot.store.grant(location.clone(), file.clone());
            let mut part = PartitionedFile::new(file.path.clone(), file.size)
                .with_statistics(Arc::new(self.statistics(file)));
            part.object_meta.location = location;
            scanned.push(part);
        }
        let statistics = Statistics::try_merge_iter(
            scanned.iter().filter_map(|file| file.statistics.as_deref()),
            &self.schema,
        )?;
        let groups_max = state.config().target_partitions().max(1);
        scanned.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> =
            vec![(0, Vec::new()); groups_max.min(scanned.len())];
        for file in scanned {
            if let Some((bytes, group)) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                *bytes += file.object_meta.size.max(1);
                group.push(file);
            }
        }
        let store = Arc::clone(&self.snapshot.store) as Arc<dyn ObjectStore>;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let mut options = state.table_options().parquet.clone();
        options.global = state.config_options().execution.parquet.clone();
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                store, cache,
            )));
        let config = FileScanConfigBuilder::new(archive_url()?, Arc::new(source))
            .with_file_groups(
                groups
                    .into_iter()
                    .map(|(_, files)| FileGroup::new(files))
                    .collect(),
            )
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// What the chain knows of a file, so that counts and extremes of time need no file at all.
    fn statistics(&self, file: &ArchiveFile) -> Statistics {
        let mut statistics = Statistics::new_unknown(&self.schema)
            .with_num_rows(usize::try_from(file.rows).map_or(Precision::Absent, Precision::Exact))
            .with_total_byte_size(Precision::Absent);
        let time = |value| {
            Precision::Exact(ScalarValue::TimestampMicrosecond(
                Some(value),
                Some("UTC".into()),
            ))
        };
        let metric = |value: &String| Precision::Exact(ScalarValue::Utf8(Some(value.clone())));
        for (field, column) in self
            .schema
            .fields()
            .iter()
            .zip(&mut statistics.column_statistics)
        {
            let known = ColumnStatistics::new_unknown().with_null_count(Precision::Exact(0));
            match field.name().as_str() {
                "time" => {
                    *column = known
                        .with_min_value(time(file.time_min))
                        .with_max_value(time(file.time_max))
                }
                "metric" => {
                    *column = known
                        .with_min_value(metric(&file.metric_min))
                        .with_max_value(metric(&file.metric_max))
                }
                _ => {}
            }
        }
        statistics
    }
}

#[async_trait]
impl TableProvider for ArchiveTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Inexact: every filter is shown to the scan, which skips what it can, and stays above it.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let view = self.snapshot.view(self.table).await?;
        let bounds = bounds::of_filters(filters);
        let files: Vec<_> = view
            .files
            .iter()
            .filter(|file| bounds.may_hold(file))
            .collect();
        let mut inputs = Vec::new();
        if !files.is_empty() {
            inputs.push(self.cold(state, files, projection, limit)?);
        }
        if view.hot.iter().any(|batch| batch.num_rows() > 0) {
            inputs.push(memory_scan(
                self.table.name(),
                &view.hot,
                &self.schema,
                projection,
            )?);
        }
        if inputs.is_empty() {
            inputs.push(Arc::new(EmptyExec::new(projected(
                &self.schema,
                projection,
            )?)));
        }
        UnionExec::try_new(inputs)
    }
}

/// A scan of rows in memory, which hold at least the columns of the projection.
pub(crate) fn memory_scan(
    table: &str,
    batches: &[RecordBatch],
    schema: &SchemaRef,
    projection: Option<&Vec<usize>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let wanted = projected(schema, projection)?;
    let broken = |what: String| {
        DataFusionError::Internal(format!(
            "rows in memory do not have the columns of `{table}`: {what}"
        ))
    };
    let conform = |batch: &RecordBatch| {
        let columns = wanted.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name()).cloned();
            column.ok_or_else(|| broken(format!("`{}` is missing", field.name())))
        });
        // Without a column, the number of rows is all there is.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(
            Arc::clone(&wanted),
            columns.collect::<Result<Vec<_>>>()?,
            &options,
        )
        .map_err(|error| broken(error.to_string()))
    };
    let batches = batches.iter().map(conform).collect::<Result<Vec<_>>>()?;
    Ok(MemorySourceConfig::try_new_exec(
        &[batches],
        Arc::clone(&wanted),
        None,
    )?)
}

fn projected(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
    Ok(match projection {
        Some(columns) => Arc::new(schema.project(columns)?),
        None => Arc::clone(schema),
    })
}

/// The tables of the archive that a plan scans, each once, with the bounds of all its scans together.
pub(crate) fn scanned(plan: &LogicalPlan) -> Result<Vec<(Table, ScanBounds)>> {
    let mut wanted: BTreeMap<Table, ScanBounds> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(archive) = source_as_provider(&scan.source)?.downcast_ref::<ArchiveTable>()
        {
            let schema = scan.source.schema();
            let asked = ScanBounds {
                columns: scan.projection.as_ref().map(|projection| {
                    let names = projection.iter().map(|i| schema.field(*i).name().clone());
                    names.collect()
                }),
                ..bounds::of_filters(&scan.filters)
            };
            let hull = match wanted.remove(&archive.table) {
                Some(known) => bounds::either(known, asked),
                None => asked,
            };
            wanted.insert(archive.table, hull);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(wanted.into_iter().collect())
}
