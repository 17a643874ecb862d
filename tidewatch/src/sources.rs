//! The sources of the configuration: topics of others, each read by a task of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ingest::foreign::{Reading, Sink, Source, SourceCounters};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::CommandError;
use crate::stores;
use crate::telemetry::{self, Metric};

/// The sources that run.
pub(crate) struct Sources {
    pub(crate) tasks: Vec<JoinHandle<()>>,
    /// How the records of each source are read.
    pub(crate) readings: BTreeMap<String, Reading>,
    pub(crate) counters: BTreeMap<String, Arc<SourceCounters>>,
}

impl Sources {
    /// Starts them all; they end when cancelled.
    ///
    /// # Errors
    /// If the file of a secret can't be read.
    pub(crate) fn start(
        config: &Config,
        sink: &Sink,
        cancellation: &CancellationToken,
    ) -> Result<Self, CommandError> {
        let mut sources = Sources {
            tasks: Vec::new(),
            readings: BTreeMap::new(),
            counters: BTreeMap::new(),
        };
        for source in &config.sources {
            let counters = Arc::<SourceCounters>::default();
            let running = Source {
                name: source.name.clone(),
                reading: source.reading,
                samples_max: config.limits.samples_max,
                topics: stores::source_options(config, source)?,
            };
            let (name, reading) = (source.name.clone(), source.reading);
            let running = running.run(sink.clone(), Arc::clone(&counters), cancellation.clone());
            sources.tasks.push(tokio::spawn(running));
            sources.readings.insert(name.clone(), reading);
            sources.counters.insert(name, counters);
        }
        Ok(sources)
    }
}

/// Brings the metrics of the sources up to date.
pub(crate) fn record(counters: &BTreeMap<String, Arc<SourceCounters>>) {
    for (name, totals) in counters {
        let label = [("source", name.as_str())];
        for (metric, total) in [
            (Metric::SourceRecordsTotal, &totals.records),
            (Metric::SourceTombstonesTotal, &totals.tombstones),
            (Metric::SourceDeadLettersTotal, &totals.dead_letters),
        ] {
            telemetry::reached(metric, &label, total.load(Ordering::Relaxed));
        }
    }
}
