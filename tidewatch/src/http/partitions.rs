//! What is told of partitions: their phases, whether all that must run does, how far behind each is.

use std::time::Duration;

use pipeline::{PartitionStatus, Phase};
use schemas::Counts;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::log_watch::LogTrouble;

/// How long the log may take to tell where it ends, for the lag alone.
const LAG_TIMEOUT: Duration = Duration::from_secs(2);

/// Names of phases, as labels and in JSON.
pub(super) const PHASES: [&str; 7] = [
    "claiming",
    "replaying",
    "running",
    "retrying",
    "fenced",
    "stopped",
    "closed",
];

/// A partition that runs here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartitionReport {
    pub(crate) partition: u32,
    pub(crate) phase: String,
    pub(crate) reason: Option<String>,
    pub(crate) next_offset: u64,
    pub(crate) committed_offset: u64,
    /// Records between what was processed and the end of the log; `None` where the log does not say.
    pub(crate) lag_records: Option<u64>,
    pub(crate) log_clock: Option<String>,
    pub(crate) series: usize,
    /// Hosts, containers, … that these are of.
    pub(crate) resources: usize,
    pub(crate) pending_samples: usize,
    pub(crate) files: usize,
    pub(crate) counts: Counts,
    pub(crate) checkpoints: u64,
    pub(crate) compactions: u64,
    pub(crate) anomalies: u64,
    /// Time since the last checkpoint by this process, seconds.
    pub(crate) checkpoint_age_s: Option<f64>,
    /// Time since its task last looked for work, seconds; much more than a second means that something holds it.
    pub(crate) turn_age_s: Option<f64>,
}

impl PartitionReport {
    pub(super) fn new(status: &PartitionStatus, lag_records: Option<u64>) -> Self {
        let log_clock = status
            .log_clock
            .and_then(|clock| jiff::Timestamp::from_microsecond(clock).ok());
        PartitionReport {
            partition: status.partition,
            phase: phase_name(&status.phase).to_owned(),
            reason: phase_reason(&status.phase).map(str::to_owned),
            next_offset: status.next_offset,
            committed_offset: status.committed_offset,
            lag_records,
            log_clock: log_clock.map(|clock| clock.to_string()),
            series: status.series,
            resources: status.resources,
            pending_samples: status.pending_samples,
            files: status.files,
            counts: status.counts,
            checkpoints: status.checkpoints,
            compactions: status.compactions,
            anomalies: status.anomalies,
            checkpoint_age_s: status.checkpoint_age.as_ref().map(Duration::as_secs_f64),
            turn_age_s: status.turn_age.as_ref().map(Duration::as_secs_f64),
        }
    }
}

/// Why the instance is not ready; `None` if it is. A partition that was fenced is another's business.
pub(crate) fn not_ready(
    partitions: &[PartitionStatus],
    own: Option<u32>,
    log: Option<&LogTrouble>,
    stopping: bool,
) -> Option<String> {
    if stopping {
        return Some("the program is stopping".to_owned());
    }
    let mut reasons = Vec::new();
    if let Some(trouble) = log {
        reasons.push(format!("the log takes no samples: {}", trouble.message));
    }
    // One outage mostly meets all partitions: it is told once.
    let mut waiting: Vec<(&Phase, Vec<String>)> = Vec::new();
    for partition in partitions
        .iter()
        .filter(|partition| !matches!(partition.phase, Phase::Running | Phase::Fenced))
    {
        let number = partition.partition.to_string();
        match waiting
            .iter_mut()
            .find(|(phase, _)| **phase == partition.phase)
        {
            Some((_, numbers)) => numbers.push(number),
            None => waiting.push((&partition.phase, vec![number])),
        }
    }
    for (phase, numbers) in waiting {
        let (noun, verb) = match numbers.len() {
            1 => ("partition", "is"),
            _ => ("partitions", "are"),
        };
        let reason = phase_reason(phase).map_or_else(String::new, |reason| format!(": {reason}"));
        reasons.push(format!(
            "{noun} {} {verb} {}{reason}",
            numbers.join(", "),
            phase_name(phase)
        ));
    }
    let missing = own.map_or(0, |own| (own as usize).saturating_sub(partitions.len()));
    if reasons.is_empty() && missing > 0 {
        reasons.push(format!("{missing} partitions are not assigned yet"));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// The name of a phase.
pub(super) fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Claiming => "claiming",
        Phase::Replaying => "replaying",
        Phase::Running => "running",
        Phase::Retrying(_) => "retrying",
        Phase::Fenced => "fenced",
        Phase::Stopped(_) => "stopped",
        Phase::Closed => "closed",
    }
}

/// Why a partition is in a phase that has reasons.
fn phase_reason(phase: &Phase) -> Option<&str> {
    match phase {
        Phase::Retrying(reason) | Phase::Stopped(reason) => Some(reason),
        _ => None,
    }
}

/// Records between what was processed and the end of the log; `None` where the log does not say.
pub(super) async fn lags(context: &Context, partitions: &[PartitionStatus]) -> Vec<Option<u64>> {
    let topic = context.topics.samples();
    let one = async |status: &PartitionStatus| {
        let retained =
            tokio::time::timeout(LAG_TIMEOUT, context.bus.retained(&topic, status.partition))
                .await
                .ok()?
                .ok()?;
        Some(retained.end.0.saturating_sub(status.next_offset))
    };
    futures::future::join_all(partitions.iter().map(one)).await
}
