//! The front page, health, readiness and metrics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ingest::admission::FoldedLabel;
use pipeline::{PartitionStatus, Phase};
use serde_json::json;

use super::overview::PartitionReport;
use super::{Context, Instance};
use crate::access::MayAsk;
use crate::log_watch::LogTrouble;
use crate::telemetry::{self, Metric, record_process};

/// How long the log may take to tell where it ends, for the lag alone.
const LAG_TIMEOUT: Duration = Duration::from_secs(2);

/// Names of phases, as labels and in JSON.
const PHASES: [&str; 7] = [
    "claiming",
    "replaying",
    "running",
    "retrying",
    "fenced",
    "stopped",
    "closed",
];

/// `GET /`: what one can do next.
pub(super) async fn front_page(State(context): State<Arc<Context>>) -> String {
    format!(
        "Tidewatch {}\ndata directory: {}\n\nTry:\n{}\n\nRead: /readyz?verbose  /metrics  /healthz  /api/v1/status\nAsk:  POST /api/v1/sql   GET /api/v1/tail/samples  /api/v1/tail/anomalies\n\
         Send: POST /api/v1/write (Prometheus remote write)  /api/v2/write (line protocol)  /api/v1/samples (JSON lines)  /v1/metrics (OpenTelemetry, also gRPC)\n",
        context.instance.version,
        context.instance.data_dir.display(),
        next_commands(""),
    )
}

/// The three commands to try next. `arguments` follow each.
pub(crate) fn next_commands(arguments: &str) -> String {
    [
        format!("tidewatch sql{arguments} \"SELECT metric, count(*) FROM samples GROUP BY 1 ORDER BY 2 DESC\""),
        format!("tidewatch tail{arguments} samples"),
        format!("tidewatch tail{arguments} anomalies"),
    ]
    .map(|command| format!("  {command}"))
    .join("\n")
}

/// `GET /healthz`: the process answers, and no restart would mend it.
pub(super) async fn healthz(State(context): State<Arc<Context>>) -> (StatusCode, String) {
    match context
        .log
        .trouble()
        .filter(|trouble| trouble.needs_restart)
    {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(trouble) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", trouble.message),
        ),
    }
}

/// `GET /api/v1/instance`: who answers.
pub(super) async fn instance(State(context): State<Arc<Context>>) -> Json<Instance> {
    Json(context.instance.clone())
}

/// `GET /readyz`: whether the log takes samples and every partition of ours runs; `?verbose` tells of each, and of labels that are folded.
pub(super) async fn readyz(
    State(context): State<Arc<Context>>,
    Query(parameters): Query<HashMap<String, String>>,
    may_ask: Option<Extension<MayAsk>>,
) -> Response {
    let partitions = (context.partitions)();
    let waiting = not_ready(
        &partitions,
        context.partitions_own,
        context.log.trouble().as_ref(),
        context.stop.is_cancelled(),
    );
    let status = if waiting.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if !parameters.contains_key("verbose") {
        return (
            status,
            waiting.map_or_else(
                || "ready\n".to_owned(),
                |reason| format!("not ready: {reason}\n"),
            ),
        )
            .into_response();
    }
    let lags = lags(&context, &partitions).await;
    let told: Vec<PartitionReport> = partitions
        .iter()
        .zip(lags)
        .map(|(partition, lag)| PartitionReport::new(partition, lag))
        .collect();
    (
        status,
        Json(json!({
            "ready": waiting.is_none(),
            "reason": waiting,
            "partitions": told,
            "folded_labels": folded_labels(&context, may_ask.is_some()),
        })),
    )
        .into_response()
}

/// The labels that have too many values. Values may be anybody's names: examples are for who may ask for the samples themselves.
fn folded_labels(context: &Context, with_examples: bool) -> Vec<FoldedLabel> {
    let mut folded = context.wiring.admission.report().folded;
    if !with_examples {
        for label in &mut folded {
            label.examples.clear();
        }
    }
    folded
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

pub(super) fn phase_reason(phase: &Phase) -> Option<&str> {
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

/// `GET /metrics`: all metrics in Prometheus' text format.
pub(super) async fn metrics(State(context): State<Arc<Context>>) -> Response {
    let partitions = (context.partitions)();
    let lags = lags(&context, &partitions).await;
    for (status, lag) in partitions.iter().zip(lags) {
        record_partition(status, lag);
    }
    let up = context.log.trouble().is_none();
    telemetry::set(Metric::LogUp, &[], f64::from(u8::from(up)));
    (context.record)();
    record_process(context.started);
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        context.metrics.render(),
    )
        .into_response()
}

fn record_partition(status: &PartitionStatus, lag: Option<u64>) {
    let partition = status.partition.to_string();
    let label = [("partition", partition.as_str())];
    for phase in PHASES {
        let is = phase == phase_name(&status.phase);
        telemetry::set(
            Metric::PartitionPhase,
            &[label[0], ("phase", phase)],
            f64::from(u8::from(is)),
        );
    }
    if let Some(lag) = lag {
        telemetry::set(Metric::PartitionLagRecords, &label, lag as f64);
    }
    for (metric, value) in [
        (Metric::PartitionSeries, status.series),
        (Metric::PartitionPendingSamples, status.pending_samples),
        (Metric::PartitionFiles, status.files),
    ] {
        telemetry::set(metric, &label, value as f64);
    }
    let counts = &status.counts;
    for (outcome, total) in [
        ("read", counts.read),
        ("accepted", counts.accepted),
        ("duplicate", counts.duplicate),
        ("late", counts.late),
        ("invalid", counts.invalid),
        ("replaced", counts.replaced),
        ("revised", counts.revised),
    ] {
        telemetry::reached(
            Metric::SamplesTotal,
            &[label[0], ("outcome", outcome)],
            total,
        );
    }
    for (metric, total) in [
        (Metric::DeadLettersTotal, counts.dead_letters),
        (Metric::CheckpointsTotal, status.checkpoints),
        (Metric::CompactionsTotal, status.compactions),
        (Metric::AnomaliesTotal, status.anomalies),
        (Metric::ForecastsTotal, status.forecasts),
        (Metric::SkippedAlarmsTotal, counts.skipped_alarms),
    ] {
        telemetry::reached(metric, &label, total);
    }
}
