//! What is answered over HTTP: one server, loopback unless told otherwise. Receivers of samples come from `ingest`; this adds questions and health.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bus::Bus;
use ingest::foreign::Replayer;
use ingest::http::{HEALTH_PATH, PING_PATH, Receivers};
use metrics_exporter_prometheus::PrometheusHandle;
use pipeline::PartitionStatus;
use query::Engine;
use schemas::{Fault, Topics};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Need, Route, Scope};
use crate::log_watch::LogWatch;
use crate::telemetry::{self, Metric};

use cardinality::{CARDINALITY_PATH, RELEASE_PATH};
pub(crate) use partitions::{PartitionReport, not_ready};
use problem::problem;
pub(crate) use sql::NOTES_HEADER;
pub(crate) use status::next_commands;

pub(crate) mod cardinality;
pub(crate) mod dead_letters;
pub(crate) mod overview;
mod partitions;
pub(crate) mod problem;
pub(crate) mod server;
mod sql;
mod status;
mod tail;
#[cfg(test)]
pub(crate) mod tests;

/// What handlers work with.
pub(crate) struct Context {
    pub(crate) instance: Instance,
    pub(crate) engine: Engine,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) topics: Topics,
    /// Partitions that must run here before the instance is ready; `None` in a group, where others may have them.
    pub(crate) partitions_own: Option<u32>,
    /// What each partition of ours is doing.
    pub(crate) partitions: Box<dyn Fn() -> Vec<PartitionStatus> + Send + Sync>,
    /// What the instance tells of itself besides.
    pub(crate) wiring: overview::Wiring,
    /// What keeps samples out of the log.
    pub(crate) log: LogWatch,
    /// Brings the gauges of other rooms up to date.
    pub(crate) record: Box<dyn Fn() + Send + Sync>,
    /// What decodes dead letters again.
    pub(crate) replayer: Replayer,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) started: Instant,
    /// Readers of `tail` that may still come.
    pub(crate) tails: Arc<Semaphore>,
    /// Ends what would otherwise never end.
    pub(crate) stop: CancellationToken,
    pub(crate) request_timeout: Duration,
}

/// Who answers: so that a client knows whether this is the instance of its data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) version: String,
    pub(crate) data_dir: PathBuf,
}

/// Where [`Instance`] is asked.
pub(crate) const INSTANCE_PATH: &str = "/api/v1/instance";

/// All routes with what each needs: ours, and the receivers', which take samples.
pub(crate) fn routes(
    context: &Arc<Context>,
    receivers: Vec<(&'static str, MethodRouter)>,
) -> Vec<Route> {
    const QUERY: Need = Need::Scope(Scope::Query);
    const ADMIN: Need = Need::Scope(Scope::Admin);
    let own: [(_, _, MethodRouter<Arc<Context>>); 11] = [
        ("/", Need::Nothing, get(status::front_page)),
        ("/healthz", Need::Nothing, get(status::healthz)),
        ("/readyz", Need::Nothing, get(status::readyz)),
        ("/metrics", QUERY, get(status::metrics)),
        (INSTANCE_PATH, QUERY, get(status::instance)),
        (overview::STATUS_PATH, QUERY, get(overview::overview)),
        (CARDINALITY_PATH, QUERY, get(cardinality::report)),
        (RELEASE_PATH, ADMIN, post(cardinality::release)),
        ("/api/v1/sql", QUERY, post(sql::sql)),
        ("/api/v1/tail/{what}", QUERY, get(tail::tail)),
        (
            dead_letters::REPLAY_PATH,
            Need::Scope(Scope::Admin),
            post(dead_letters::replay),
        ),
    ];
    let own = own.into_iter().map(|(path, need, methods)| {
        Route::new(path, need, methods.with_state(Arc::clone(context)))
    });
    own.chain(receivers.into_iter().map(receiving)).collect()
}

/// The routes of OpenTelemetry alone, for its own ports.
pub(crate) fn otlp_routes(receivers: &Arc<Receivers>) -> Vec<Route> {
    let routes = ingest::http::otlp_routes(receivers);
    routes.into_iter().map(receiving).collect()
}

/// A receiver's route, which takes samples unless it only tells that somebody is there.
fn receiving((path, methods): (&'static str, MethodRouter)) -> Route {
    let need = match path {
        PING_PATH | HEALTH_PATH => Need::Nothing,
        _ => Need::Scope(Scope::Ingest),
    };
    Route::new(path, need, methods)
}

/// The routes behind their guards, counted and bounded in time.
pub(crate) fn router(context: Arc<Context>, access: &Arc<Access>, routes: Vec<Route>) -> Router {
    routes
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.guarded(access))
        })
        .fallback(unknown_route)
        .layer(middleware::from_fn_with_state(context, watch))
}

async fn unknown_route(request: Request) -> Response {
    let message = format!(
        "nothing is at `{} {}`; `/` lists what is",
        request.method(),
        request.uri().path()
    );
    problem(StatusCode::NOT_FOUND, &message, Fault::BadInput)
}

/// Bounds the time until the head of the answer, and counts the request.
async fn watch(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = route_of(request.uri().path());
    let response = match tokio::time::timeout(context.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!(
                "no answer within {} s (setting `server.request_timeout`)",
                context.request_timeout.as_secs_f64()
            );
            problem(StatusCode::SERVICE_UNAVAILABLE, &message, Fault::Outage)
        }
    };
    telemetry::count(
        Metric::HttpRequestsTotal,
        &[("route", route), ("status", response.status().as_str())],
        1,
    );
    telemetry::observe(
        Metric::HttpRequestDurationSeconds,
        &[("route", route)],
        begun.elapsed().as_secs_f64(),
    );
    response
}

/// A path as a label: made-up paths must not make series.
fn route_of(path: &str) -> &'static str {
    const ROUTES: [&str; 21] = [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/ping",
        "/health",
        "/write",
        "/api/v1/write",
        "/api/v2/write",
        "/api/v3/write_lp",
        "/api/v1/samples",
        ingest::http::METRICS_PATH,
        ingest::http::EXPORT_PATH,
        "/api/v1/sql",
        "/api/v1/tail/samples",
        "/api/v1/tail/anomalies",
        INSTANCE_PATH,
        overview::STATUS_PATH,
        CARDINALITY_PATH,
        RELEASE_PATH,
        dead_letters::REPLAY_PATH,
    ];
    ROUTES
        .into_iter()
        .find(|route| *route == path)
        .unwrap_or("other")
}
