//! The HTTP receivers. One folder per protocol, each of one shape: `mod.rs` (path, query, answer), `decode.rs` (bytes to samples), `tests.rs`.
//!
//! What is common to all is here: reading a bounded body (`body.rs`), the way of a request through door and log (`take.rs`), refusals
//! (`refusal.rs`). One more protocol is one more folder, one more [`Intake`](crate::Intake) and one more line in [`routes`].

mod body;
mod influx;
mod json_lines;
mod otlp;
mod prometheus;
mod refusal;
mod take;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

pub(crate) use body::unsnap_block;
pub use influx::decode as decode_line_protocol;
pub use influx::{LineOptions, LineUnit};
pub use json_lines::decode as decode_json_lines;
pub use otlp::decode as decode_otlp;
pub use otlp::decode_json as decode_otlp_json;
pub use otlp::{EXPORT_PATH, METRICS_PATH};
pub(crate) use otlp::{TEMPORALITY_LABEL, bound_text};
pub use prometheus::decode as decode_remote_write;
pub use prometheus::decode_with_symbols as decode_remote_write_with_symbols;
pub use refusal::{ERROR_HEADER, Malformed, Undecodable};
pub use take::{Limits, Receivers};

/// The routes of all receivers.
///
/// | path | protocol | success |
/// |---|---|---|
/// | `POST /api/v1/write` | Prometheus remote write 1.0 and 2.0 | 204 |
/// | `POST /write`, `/api/v2/write`, `/api/v3/write_lp` | Influx line protocol | 204 |
/// | `GET`, `HEAD /ping` | Influx health | 204 |
/// | `GET /health` | Influx health, v2 | 200 `{"status": "pass", …}` |
/// | `POST /api/v1/samples` | JSON lines | 200 `{"accepted": n}` |
/// | `POST` [`METRICS_PATH`] | OpenTelemetry, protobuf or JSON | 200, with what was rejected |
/// | `POST` [`EXPORT_PATH`] | OpenTelemetry, gRPC | 200, `grpc-status: 0` |
///
/// Every one but OpenTelemetry's (which has its own words, and takes a partly valid body for a success) answers 400 for a malformed body (saying where) and for a partly valid one (the valid part is durable), 408 for a body that does not
/// arrive, 413 for one too large, 415 for an encoding it does not take, 429 with `Retry-After` when too many bytes are being worked on and 503 with
/// `Retry-After` when the log is away.
///
/// Each with its path, so that who serves them can put a guard before them.
pub fn routes(receivers: &Arc<Receivers>) -> Vec<(&'static str, MethodRouter)> {
    let routes: [(_, MethodRouter<Arc<Receivers>>); 7] = [
        ("/api/v1/write", post(prometheus::write)),
        ("/write", post(influx::write_v1)),
        ("/api/v2/write", post(influx::write_v2)),
        ("/api/v3/write_lp", post(influx::write_v3)),
        (PING_PATH, get(influx::ping)),
        (HEALTH_PATH, get(influx::health)),
        ("/api/v1/samples", post(json_lines::write)),
    ];
    let routes = routes
        .into_iter()
        .map(|(path, methods)| (path, methods.with_state(Arc::clone(receivers))));
    routes.chain(otlp_routes(receivers)).collect()
}

/// The routes of OpenTelemetry alone, for its own ports.
pub fn otlp_routes(receivers: &Arc<Receivers>) -> [(&'static str, MethodRouter); 2] {
    [
        (
            METRICS_PATH,
            post(otlp::write).with_state(Arc::clone(receivers)),
        ),
        (
            EXPORT_PATH,
            post(otlp::export).with_state(Arc::clone(receivers)),
        ),
    ]
}

/// The same as one router without a guard.
pub fn router(receivers: Arc<Receivers>) -> Router {
    routes(&receivers)
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
}

/// Influx's health check; with [`HEALTH_PATH`], the routes here that take no samples.
pub const PING_PATH: &str = "/ping";
/// The same of Influx v2.
pub const HEALTH_PATH: &str = "/health";

#[cfg(test)]
mod tests;
