//! The tables as the chains alone tell them: no pipeline needed, no hot rows.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use schemas::{Checkpoint, Fault, HasFault, Table};
use sinks::{Archive, ChainError, ChainView, list_partitions, load_chain, read_links};
use tokio::sync::Mutex;

use crate::{ScanBounds, TableView, Tables, ViewError};

type Keep = Box<dyn Fn(u32) -> bool + Send + Sync>;

/// Reads the chains of one topic. For SQL over a data directory or bucket while no instance runs, and for the partitions that other
/// processes own. Every view is of one moment: all chains are read anew, once for all tables of a query.
pub struct ChainTables {
    archive: Archive,
    topic: String,
    keep: Keep,
    /// The last view of each chain, so that the next one reads only what was appended since.
    known: Mutex<BTreeMap<u32, ChainView>>,
}

impl ChainTables {
    /// The tables of a topic (`tidewatch.samples`) in an archive, of all partitions.
    pub fn new(archive: Archive, topic: &str) -> Self {
        ChainTables {
            archive,
            topic: topic.to_owned(),
            keep: Box::new(|_| true),
            known: Mutex::default(),
        }
    }

    /// Leaves out the partitions that `keep` denies; it is asked anew for each view.
    pub fn only(mut self, keep: impl Fn(u32) -> bool + Send + Sync + 'static) -> Self {
        self.keep = Box::new(keep);
        self
    }

    async fn chains(&self) -> Result<Vec<ChainView>, ViewError> {
        let mut known = self.known.lock().await;
        let mut views = Vec::new();
        for partition in list_partitions(&self.archive, &self.topic)
            .await
            .map_err(|error| trouble(&error))?
        {
            if !(self.keep)(partition) {
                continue;
            }
            let view = match known.get(&partition) {
                Some(view) => Some(
                    view.refresh(&self.archive, &self.topic)
                        .await
                        .map_err(|error| trouble(&error))?,
                ),
                None => load_chain(&self.archive, &self.topic, partition)
                    .await
                    .map_err(|error| trouble(&error))?,
            };
            if let Some(view) = view {
                known.insert(partition, view.clone());
                views.push(view);
            }
        }
        Ok(views)
    }
}

impl fmt::Debug for ChainTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainTables")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

fn trouble(error: &ChainError) -> ViewError {
    ViewError {
        message: error.to_string(),
        fault: error.fault(),
    }
}

fn view_of(chains: &[ChainView], table: Table, bounds: &ScanBounds) -> TableView {
    let files = chains.iter().flat_map(|chain| chain.files.iter());
    TableView {
        files: files
            .filter(|file| file.table == table && bounds.may_hold(file))
            .cloned()
            .collect(),
        hot: Vec::new(),
        partitions_without_hot_rows: chains.iter().map(|chain| chain.partition).collect(),
    }
}

#[async_trait]
impl Tables for ChainTables {
    async fn view(&self, table: Table, bounds: &ScanBounds) -> Result<TableView, ViewError> {
        Ok(view_of(&self.chains().await?, table, bounds))
    }

    async fn views(&self, wanted: &[(Table, ScanBounds)]) -> Result<Vec<TableView>, ViewError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let chains = self.chains().await?;
        Ok(wanted
            .iter()
            .map(|(table, bounds)| view_of(&chains, *table, bounds))
            .collect())
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, ViewError> {
        let mut links = Vec::new();
        for chain in self.chains().await? {
            let end = chain.last().map_or(0, |link| link.sequence + 1);
            links.extend(
                read_links(&self.archive, &self.topic, chain.partition, 0..end)
                    .await
                    .map_err(|error| trouble(&error))?,
            );
        }
        Ok(links)
    }

    async fn dead_letters(&self) -> Result<Vec<RecordBatch>, ViewError> {
        Err(ViewError {
            message: "dead letters are in the log, which only a running instance reads; ask one, or start one with `tidewatch run`".to_owned(),
            fault: Fault::Outage,
        })
    }
}
