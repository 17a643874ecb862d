//! Answers that say what went wrong, and answers that are streamed.

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ingest::http::ERROR_HEADER;
use schemas::{ErrorCode, Fault, HasCode};

/// An error answer of which only the fault is known.
pub(crate) fn problem(status: StatusCode, message: &str, fault: Fault) -> Response {
    coded_problem(status, message, fault, fault.code())
}

/// An error answer that says what went wrong.
pub(crate) fn problem_of<E: HasCode + std::fmt::Display>(
    status: StatusCode,
    error: &E,
) -> Response {
    coded_problem(status, &error.to_string(), error.fault(), error.code())
}

/// `{"error":{"message":…,"fault":…,"code":…}}`, with the code in a header too, as the receivers have it.
fn coded_problem(
    status: StatusCode,
    message: &str,
    fault: Fault,
    code: &'static ErrorCode,
) -> Response {
    let body = Json(serde_json::json!({
        "error": { "message": message, "fault": fault.name(), "code": code.id }
    }));
    let mut response = (status, body).into_response();
    response
        .headers_mut()
        .insert(ERROR_HEADER, header::HeaderValue::from_static(code.id));
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// An answer of a type, streamed.
pub(super) fn streamed(content_type: &'static str, body: Body) -> Response {
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
        .into_response()
}
