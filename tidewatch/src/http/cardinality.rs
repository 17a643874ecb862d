//! Series and labels at the door: what is active, wide and folded; and the way to release a folded label.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ingest::admission::AdmissionReport;
use schemas::Fault;
use serde::{Deserialize, Serialize};

use super::Context;
use super::problem::problem;

/// Where [`AdmissionReport`] is asked.
pub(crate) const CARDINALITY_PATH: &str = "/api/v1/cardinality";
/// Where a label is released.
pub(crate) const RELEASE_PATH: &str = "/api/v1/cardinality/release";
/// Longest body that is read. 128 KiB: the longest names, each of their bytes escaped to six.
const BODY_BYTES_MAX: usize = 128 * 1024;

/// Which label to release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    pub(crate) metric: String,
    pub(crate) label: String,
}

/// `GET /api/v1/cardinality`.
pub(super) async fn report(State(context): State<Arc<Context>>) -> Json<AdmissionReport> {
    Json(context.wiring.admission.report())
}

/// `POST /api/v1/cardinality/release`: 204, or 404 if the label is not folded.
pub(super) async fn release(
    State(context): State<Arc<Context>>,
    body: axum::body::Body,
) -> Response {
    let asked = match axum::body::to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => serde_json::from_slice::<Release>(&body).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let message = format!(
                "expected {{\"metric\": \"…\", \"label\": \"…\"}}, the metric and the label to release: {error}"
            );
            return problem(StatusCode::BAD_REQUEST, &message, Fault::BadInput);
        }
    };
    if context
        .wiring
        .admission
        .release(&asked.metric, &asked.label)
    {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = format!(
        "label `{}` of metric `{}` is not folded; `tidewatch cardinality list` names those that are",
        asked.label, asked.metric
    );
    problem(StatusCode::NOT_FOUND, &message, Fault::BadInput)
}
