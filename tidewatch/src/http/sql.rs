//! `POST /api/v1/sql`: a question as JSON or plain text, the answer streamed in the format asked for.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures::TryStreamExt;
use query::{Format, QueryError, SQL_BYTES_MAX};
use schemas::{Fault, HasCode, HasFault};
use serde::Deserialize;
use tracing::warn;

use super::Context;
use super::problem::{problem, problem_of, streamed};
use crate::telemetry::{self, Metric};

/// Header that says what an answer lacks: rows that another process holds.
pub(crate) const NOTES_HEADER: HeaderName = HeaderName::from_static("tidewatch-notes");

/// Largest body, bytes: the longest statement there may be, with every character escaped.
const BODY_BYTES_MAX: usize = 6 * SQL_BYTES_MAX + 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    query: String,
    format: Option<String>,
}

/// Answers one question.
pub(super) async fn sql(State(context): State<Arc<Context>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        let message = format!("the body broke off, or is longer than {BODY_BYTES_MAX} bytes");
        return problem(StatusCode::PAYLOAD_TOO_LARGE, &message, Fault::BadInput);
    };
    let (query, format) = match read_question(&head.headers, &body) {
        Ok(question) => question,
        Err((status, message)) => return problem(status, &message, Fault::BadInput),
    };
    match context.engine.query(&query).await {
        Err(error) => {
            telemetry::count(
                Metric::QueriesTotal,
                &[("outcome", error.fault().name())],
                1,
            );
            problem_of(status_of(&error), &error)
        }
        Ok(answer) => {
            telemetry::count(Metric::QueriesTotal, &[("outcome", "answered")], 1);
            let notes = (!answer.notes.is_empty())
                .then(|| HeaderValue::from_str(&answer.notes.to_string()).ok())
                .flatten();
            // The client sees a cut answer (see `query::encode`); the log says why.
            let bytes = query::encode(answer, format).inspect_err(
                |error| warn!(%error, code = error.code().id, "an answer ended early"),
            );
            let mut response = streamed(format.content_type(), Body::from_stream(bytes));
            if let Some(notes) = notes {
                response.headers_mut().insert(NOTES_HEADER, notes);
            }
            response
        }
    }
}

fn status_of(error: &QueryError) -> StatusCode {
    match (error, error.fault()) {
        (QueryError::Forbidden { .. }, _) => StatusCode::FORBIDDEN,
        (_, Fault::BadInput) => StatusCode::BAD_REQUEST,
        (_, Fault::Outage) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The statement and the format: from a JSON body, whose `format` wins over `Accept`, or from a body that is the statement.
pub(super) fn read_question(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(String, Format), (StatusCode, String)> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let (query, named) = if text(CONTENT_TYPE)
        .is_some_and(|media_type| media_type_of(media_type) == "application/json")
    {
        let question: Question = serde_json::from_slice(body)
            .map_err(|error| (StatusCode::BAD_REQUEST, format!("expected {{\"query\": \"SELECT …\", \"format\": \"json\"}}, found other JSON: {error}")))?;
        (question.query, question.format)
    } else {
        let query = std::str::from_utf8(body).map_err(|error| {
            (
                StatusCode::BAD_REQUEST,
                format!("the statement is not UTF-8: {error}"),
            )
        })?;
        (query.to_owned(), None)
    };
    let format = match named {
        Some(name) => Format::from_name(&name).ok_or_else(|| {
            let names = Format::ALL.map(Format::name).join(", ");
            (StatusCode::BAD_REQUEST, format!("format `{name}`: expected one of {names}"))
        })?,
        None => accepted(text(ACCEPT).unwrap_or("*/*")).ok_or_else(|| {
            let types = Format::ALL.map(|format| media_type_of(format.content_type())).join(", ");
            (StatusCode::NOT_ACCEPTABLE, format!("the Accept header names no media type that can be written; expected one of {types}"))
        })?,
    };
    Ok((query, format))
}

/// The media type without its parameters.
fn media_type_of(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// The format that an Accept header likes most; JSON where it takes anything.
fn accepted(accept: &str) -> Option<Format> {
    let mut best: Option<(f32, Format)> = None;
    for range in accept.split(',') {
        let weight = range
            .split(';')
            .skip(1)
            .find_map(|parameter| parameter.trim().strip_prefix("q="))
            .map_or(Some(1.0), |q| q.trim().parse().ok())?;
        let format = match media_type_of(range) {
            "*/*" | "application/*" => Some(Format::Json),
            "text/*" => Some(Format::Csv),
            wanted => Format::ALL
                .into_iter()
                .find(|format| media_type_of(format.content_type()).eq_ignore_ascii_case(wanted)),
        };
        if let Some(format) = format
            && weight > best.map_or(0.0, |(best, _)| best)
        {
            best = Some((weight, format));
        }
    }
    best.map(|(_, format)| format)
}
