//! The front page, health, readiness and metrics.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ingest::admission::FoldedLabel;
use pipeline::PartitionStatus;
use serde_json::json;

use super::partitions::{PHASES, PartitionReport, lags, not_ready, phase_name};
use super::{Context, Instance};
use crate::access::MayAsk;
use crate::telemetry::{self, Metric, record_process};

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
        (Metric::GuestsTotal, status.guests),
        (Metric::SkippedAlarmsTotal, counts.skipped_alarms),
    ] {
        telemetry::reached(metric, &label, total);
    }
}
