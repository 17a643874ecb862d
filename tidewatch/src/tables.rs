//! What SQL sees while the pipeline runs: its partitions with their hot rows, everything else as the chains tell it. Decides nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use async_trait::async_trait;
use bus::Bus;
use pipeline::{PartitionView, Pipeline};
use query::{ChainTables, ScanBounds, TableView, Tables, ViewError};
use schemas::time::Micros;
use schemas::{Checkpoint, Fault, HasFault, NextOffset, Resolution, Table, Topics};
use sinks::Archive;
use sinks::aggregates::AggregateStore;

mod dead_letters;
mod rows;

/// The pipeline, until it is shut down.
pub(crate) type Running = Arc<RwLock<Option<Pipeline>>>;

/// Looks at all tables of a query until no checkpoint came between two of them. 8: checkpoints are seconds apart, looks milliseconds.
const LOOKS_MAX: usize = 8;

/// The tables of a running instance.
pub(crate) struct PipelineTables {
    running: Running,
    bus: Arc<dyn Bus>,
    topics: Topics,
    aggregates: Arc<AggregateStore>,
    /// Resolutions that live in the aggregate store alone.
    hot_only: BTreeSet<Resolution>,
    /// The chains of all partitions.
    chains: ChainTables,
    /// The chains of the partitions that do not run here, which `ours` names while the lock is held.
    others: tokio::sync::Mutex<ChainTables>,
    ours: Arc<Mutex<BTreeSet<u32>>>,
}

impl PipelineTables {
    pub(crate) fn new(
        running: Running,
        archive: &Archive,
        aggregates: Arc<AggregateStore>,
        archived: &[Resolution],
        bus: Arc<dyn Bus>,
        topics: Topics,
    ) -> Self {
        let ours: Arc<Mutex<BTreeSet<u32>>> = Arc::default();
        let known = Arc::clone(&ours);
        let others = ChainTables::new(archive.clone(), &topics.samples()).only(move |partition| {
            !known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&partition)
        });
        PipelineTables {
            running,
            bus,
            aggregates,
            hot_only: Resolution::ALL
                .into_iter()
                .filter(|resolution| !archived.contains(resolution))
                .collect(),
            chains: ChainTables::new(archive.clone(), &topics.samples()),
            others: tokio::sync::Mutex::new(others),
            ours,
            topics,
        }
    }

    /// The partitions that run here, for each table, at one place of the log; and how many partitions there are.
    fn look(
        &self,
        wanted: &[(Table, ScanBounds)],
    ) -> Result<(Vec<Vec<PartitionView>>, u32), ViewError> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let pipeline = running.as_ref().ok_or_else(|| ViewError {
            message: "the program is stopping; ask again when it runs".to_owned(),
            fault: Fault::Outage,
        })?;
        let mut looks = 0;
        loop {
            let views: Vec<Vec<PartitionView>> = wanted
                .iter()
                .map(|(table, _)| pipeline.views(*table))
                .collect();
            looks += 1;
            if at_one_place(&views) {
                return Ok((views, pipeline.partitions()));
            }
            if looks == LOOKS_MAX {
                return Err(ViewError { message: "checkpoints came faster than the tables could be looked at; run the query again".to_owned(), fault: Fault::Outage });
            }
        }
    }
}

/// Whether all tables were seen between the same checkpoints.
fn at_one_place(views: &[Vec<PartitionView>]) -> bool {
    let places = |views: &[PartitionView]| -> Vec<(u32, NextOffset)> {
        views
            .iter()
            .map(|view| (view.partition, view.end))
            .collect()
    };
    views
        .windows(2)
        .all(|pair| places(&pair[0]) == places(&pair[1]))
}

fn bug(error: &ArrowError) -> ViewError {
    ViewError {
        message: format!("hot rows do not fit their columns: {error}"),
        fault: Fault::Bug,
    }
}

#[async_trait]
impl Tables for PipelineTables {
    async fn view(&self, table: Table, bounds: &ScanBounds) -> Result<TableView, ViewError> {
        let mut views = self.views(&[(table, bounds.clone())]).await?;
        Ok(views.pop().unwrap_or_default())
    }

    async fn views(&self, wanted: &[(Table, ScanBounds)]) -> Result<Vec<TableView>, ViewError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        // Held from the look to the end of the reading of the others' chains, so that `ours` stays what it was.
        let others = self.others.lock().await;
        let (views, partitions) = self.look(wanted)?;
        let here: BTreeSet<u32> = views
            .first()
            .map(|views| views.iter().map(|view| view.partition).collect())
            .unwrap_or_default();
        let all_here = (0..partitions).all(|partition| here.contains(&partition));
        *self.ours.lock().unwrap_or_else(PoisonError::into_inner) = here;
        let mut tables = match all_here {
            true => vec![TableView::default(); wanted.len()],
            false => others.views(wanted).await?,
        };
        drop(others);
        for (position, ours) in views.into_iter().enumerate() {
            let ((name, bounds), view) = (&wanted[position], &mut tables[position]);
            for partition in &ours {
                view.files.extend(
                    partition
                        .files
                        .iter()
                        .filter(|file| file.table == *name && bounds.may_hold(file))
                        .cloned(),
                );
            }
            match name {
                Table::Rollups(resolution) if self.hot_only.contains(resolution) => {
                    let starts = bounds.time_min.unwrap_or(Micros::MIN)
                        ..bounds
                            .time_max
                            .map_or(Micros::MAX, |max| max.saturating_add(1));
                    let found = self
                        .aggregates
                        .rows(*resolution, starts, None, NextOffset(0))
                        .await;
                    let found = found.map_err(|error| ViewError {
                        message: error.to_string(),
                        fault: error.fault(),
                    })?;
                    for damage in &found.damaged {
                        tracing::error!(error = %damage, "hot rows are left out of an answer");
                    }
                    view.hot.extend(found.batches);
                }
                _ => {
                    let bounds = bounds.clone();
                    // Copying millions of rows must not hold up requests.
                    let built =
                        tokio::task::spawn_blocking(move || rows::hot_batches(ours, &bounds)).await;
                    let built = built.map_err(|error| ViewError {
                        message: format!("copying hot rows: {error}"),
                        fault: Fault::Bug,
                    })?;
                    view.hot.extend(built.map_err(|error| bug(&error))?);
                }
            }
        }
        Ok(tables)
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, ViewError> {
        self.chains.checkpoints().await
    }

    async fn dead_letters(&self) -> Result<Vec<RecordBatch>, ViewError> {
        let letters = dead_letters::read(&self.bus, &self.topics.dead_letters()).await;
        letters
            .map_err(|error| ViewError {
                message: error.to_string(),
                fault: error.fault(),
            })?
            .into_batches()
            .map_err(|error| bug(&error))
    }
}
