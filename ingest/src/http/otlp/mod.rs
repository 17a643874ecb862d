//! OpenTelemetry metrics: `POST /v1/metrics` (protobuf or JSON) and the gRPC call `MetricsService/Export`.
//!
//! A request of which some data points can't be taken is answered with success and tells how many, as OTLP has it; the others are durable.

mod attributes;
mod decode;
mod grpc;
mod histogram;
mod json;
mod naming;
mod unnamed;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemas::Micros;
use serde_json::json;

use super::body::Encoding;
use super::refusal::{Refusal, Undecodable, partial_message};
use super::take::{Ask, Framing, Receivers, Taken, take};
use crate::admission::Sender;
use crate::counters::Intake;
use crate::door::Batcher;

pub use decode::decode;
pub(super) use grpc::export;
pub(crate) use naming::{TEMPORALITY_LABEL, bound_text};

/// Path of the gRPC call.
pub const EXPORT_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Path of OTLP over HTTP.
pub const METRICS_PATH: &str = "/v1/metrics";

/// How a request is written, and therefore its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let named = headers
            .get(header::CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or("?"));
        let kind = named.and_then(|text| text.split(';').next()).map(str::trim);
        match kind {
            Some(kind) if kind.eq_ignore_ascii_case("application/x-protobuf") => Ok(Form::Protobuf),
            Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(Form::Json),
            _ => Err(Refusal::unsupported(format!(
                "content type `{}`; taken here: application/x-protobuf, application/json",
                named.unwrap_or_default()
            ))),
        }
    }

    /// An answer without an error.
    fn success(self, taken: &Taken) -> Response {
        match self {
            Form::Json => Json(if taken.rejections.is_empty() {
                json!({})
            } else {
                json!({ "partialSuccess": {
                    "rejectedDataPoints": taken.rejections.samples().to_string(),
                    "errorMessage": partial_message(taken.accepted, &taken.rejections),
                }})
            })
            .into_response(),
            Form::Protobuf => (
                [(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/x-protobuf"),
                )],
                answer(taken),
            )
                .into_response(),
        }
    }

    /// An answer that says what was wrong, as a `google.rpc.Status`.
    fn failure(self, refusal: &Refusal) -> Response {
        let code = grpc::code(refusal);
        match self {
            Form::Json => refusal.respond(Json(json!({
                "code": code,
                "message": refusal.message,
            }))),
            Form::Protobuf => {
                let mut status = vec![1 << 3, code];
                add_bytes(&mut status, 2, refusal.message.as_bytes());
                let kind = [(header::CONTENT_TYPE, "application/x-protobuf")];
                refusal.respond((kind, status))
            }
        }
    }
}

pub(super) async fn write(
    State(receivers): State<Arc<Receivers>>,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&headers) {
        Ok(form) => form,
        Err(refusal) => {
            debug_assert_eq!(refusal.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            return Form::Json.failure(&refusal);
        }
    };
    match write_samples(&receivers, form, sender, &headers, body).await {
        Ok(taken) => form.success(&taken),
        Err(refusal) => form.failure(&refusal),
    }
}

/// As [`decode`], from JSON.
///
/// # Errors
/// `Undecodable` if the body is no such JSON (it says where) or holds too many samples: discard the batcher.
pub fn decode_json(body: &[u8], now: Micros, door: &mut Batcher) -> Result<usize, Undecodable> {
    decode(&json::to_protobuf(body)?, now, door)
}

async fn write_samples(
    receivers: &Arc<Receivers>,
    form: Form,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
) -> Result<Taken, Refusal> {
    let encoding = Encoding::of(
        headers,
        Encoding::Identity,
        &[Encoding::Identity, Encoding::Gzip, Encoding::Zstd],
    )?;
    let decode = move |body: &[u8], now, door: &mut _| match form {
        Form::Protobuf => decode(body, now, door),
        Form::Json => decode_json(body, now, door),
    };
    let ask = Ask {
        intake: Intake::Otlp,
        encoding,
        framing: Framing::None,
        partial: true,
        decode,
    };
    take(receivers, sender, headers, body, ask).await
}

/// An `ExportMetricsServiceResponse`: empty, or with what was rejected.
fn answer(taken: &Taken) -> Vec<u8> {
    let mut response = Vec::new();
    if !taken.rejections.is_empty() {
        let mut partial = vec![1 << 3];
        add_varint(&mut partial, taken.rejections.samples());
        let message = partial_message(taken.accepted, &taken.rejections);
        add_bytes(&mut partial, 2, message.as_bytes());
        add_bytes(&mut response, 1, &partial);
    }
    response
}

fn add_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    add_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Writes a varint.
fn add_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
