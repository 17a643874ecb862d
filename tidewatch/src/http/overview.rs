//! `GET /api/v1/status`: what this instance is and does, as one object. `tidewatch status` and `doctor` read it back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use bus::embedded::EmbeddedBus;
use ingest::admission::Admission;
use ingest::{IngestCounters, Intake};
use serde::{Deserialize, Serialize};

use super::Context;
use super::partitions::{PartitionReport, lags, not_ready};
use crate::telemetry;

/// Where [`Overview`] is asked.
pub(crate) const STATUS_PATH: &str = "/api/v1/status";

/// What an instance is and does. Totals only grow while it runs, so that two of them give rates.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Overview {
    pub(crate) version: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) process: ProcessReport,
    pub(crate) bus: BusReport,
    /// URL of the archive.
    pub(crate) archive: String,
    pub(crate) ready: bool,
    /// Why it is not ready.
    pub(crate) reason: Option<String>,
    /// By intake.
    pub(crate) intakes: BTreeMap<String, IntakeReport>,
    /// The partitions that run here.
    pub(crate) partitions: Vec<PartitionReport>,
}

/// The process and what it takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProcessReport {
    pub(crate) id: u32,
    /// Time since it started, seconds.
    pub(crate) uptime_s: f64,
    /// Memory in RAM, bytes; `None` where the system does not tell.
    pub(crate) resident_bytes: Option<u64>,
    /// File descriptors in use.
    pub(crate) open_files: Option<u64>,
    /// File descriptors it may use; `None`: as many as it likes, or not told.
    pub(crate) open_files_max: Option<u64>,
}

/// The log behind it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BusReport {
    /// `embedded` or `kafka`.
    pub(crate) kind: String,
    /// Kafka: the brokers of the settings.
    pub(crate) brokers: Option<String>,
    /// The topic of the samples.
    pub(crate) topic: String,
    /// Partitions of it, also those that run elsewhere.
    pub(crate) partitions: u32,
    /// Embedded: bytes that it holds.
    pub(crate) stored_bytes: Option<u64>,
}

/// What one intake brought since the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct IntakeReport {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) accepted_samples: u64,
    pub(crate) rejected_samples: u64,
    pub(crate) dropped_samples: u64,
}

/// What [`Overview`] tells besides the partitions; fixed when the instance starts, but for the counters.
pub(crate) struct Wiring {
    pub(crate) bus: BusReport,
    /// URL of the archive.
    pub(crate) archive: String,
    pub(crate) counters: Arc<IngestCounters>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) embedded: Option<Arc<EmbeddedBus>>,
}

impl Wiring {
    fn bus(&self) -> BusReport {
        BusReport {
            stored_bytes: self.embedded.as_ref().map(|log| log.stats().stored_bytes),
            ..self.bus.clone()
        }
    }

    fn intakes(&self) -> BTreeMap<String, IntakeReport> {
        let report = |intake: Intake| {
            let totals = self.counters.of(intake);
            let report = IntakeReport {
                requests: totals.requests.load(Ordering::Relaxed),
                failures: totals.failures.load(Ordering::Relaxed),
                accepted_samples: totals.accepted_samples.load(Ordering::Relaxed),
                rejected_samples: totals.rejected_samples.load(Ordering::Relaxed),
                dropped_samples: totals.dropped_samples.load(Ordering::Relaxed),
            };
            (intake.name().to_owned(), report)
        };
        Intake::ALL.into_iter().map(report).collect()
    }
}

/// Always 200: that it is not ready is part of the answer.
pub(super) async fn overview(State(context): State<Arc<Context>>) -> Json<Overview> {
    let partitions = (context.partitions)();
    let reason = not_ready(
        &partitions,
        context.partitions_own,
        context.log.trouble().as_ref(),
        context.stop.is_cancelled(),
    );
    let lags = lags(&context, &partitions).await;
    let files = open_files();
    Json(Overview {
        version: context.instance.version.clone(),
        data_dir: context.instance.data_dir.clone(),
        process: ProcessReport {
            id: std::process::id(),
            uptime_s: context.started.elapsed().as_secs_f64(),
            resident_bytes: telemetry::resident_bytes(),
            open_files: files,
            open_files_max: open_files_max(),
        },
        bus: context.wiring.bus(),
        archive: context.wiring.archive.clone(),
        ready: reason.is_none(),
        reason,
        intakes: context.wiring.intakes(),
        partitions: partitions
            .iter()
            .zip(lags)
            .map(|(status, lag)| PartitionReport::new(status, lag))
            .collect(),
    })
}

/// File descriptors of this process; `None` where the system does not tell.
fn open_files() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the listing's own.
    u64::try_from(entries.count()).ok()?.checked_sub(1)
}

/// File descriptors that this process may use; `None`: no limit.
pub(crate) fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}
