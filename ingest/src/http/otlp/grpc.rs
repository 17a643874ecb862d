//! The gRPC call `MetricsService/Export`: one message in, one out, over HTTP/2 as any other request. No streaming, no reflection.
//!
//! A message stands behind five bytes: whether it is compressed, and its length. The status comes last, in the trailers; where there is no answer,
//! with the headers.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt, Full};

use super::super::body::Encoding;
use super::super::refusal::{ERROR_HEADER, Refusal};
use super::super::take::{Ask, Framing, Receivers, Taken, take};
use super::{answer, decode};
use crate::admission::Sender;
use crate::counters::Intake;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The status code of gRPC that tells a client the same as our HTTP status: above all, whether to send again.
pub(super) fn code(refusal: &Refusal) -> u8 {
    match refusal.status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => 12, // UNIMPLEMENTED
        // RESOURCE_EXHAUSTED means "do not send this again", so it is for what is too large; UNAVAILABLE means "later".
        StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::REQUEST_TIMEOUT => 14,
        StatusCode::INTERNAL_SERVER_ERROR => 13, // INTERNAL
        _ => 3,                                  // INVALID_ARGUMENT
    }
}

pub(in super::super) async fn export(
    State(receivers): State<Arc<Receivers>>,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let is_grpc = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind == b"application/grpc"
            || kind.starts_with(b"application/grpc+proto")
            || kind.starts_with(b"application/grpc;")
    });
    if !is_grpc {
        return Refusal::unsupported("content type; taken here: application/grpc").into_response();
    }
    match call(&receivers, sender, &headers, body).await {
        Ok(taken) => success(&taken),
        Err(refusal) => failure(&refusal),
    }
}

async fn call(
    receivers: &Arc<Receivers>,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
) -> Result<Taken, Refusal> {
    let encoding = match headers.get(ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Encoding::Identity,
        Some(b"gzip") => Encoding::Gzip,
        Some(b"zstd") => Encoding::Zstd,
        Some(other) => {
            return Err(Refusal::unsupported(format!(
                "compression `{}`; taken here: gzip, zstd",
                String::from_utf8_lossy(other)
            )));
        }
    };
    let ask = Ask {
        intake: Intake::Otlp,
        encoding,
        framing: Framing::Grpc,
        partial: true,
        decode,
    };
    take(receivers, sender, headers, body, ask).await
}

fn respond(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(
        ACCEPT_ENCODING,
        HeaderValue::from_static("identity,gzip,zstd"),
    );
    response
}

fn success(taken: &Taken) -> Response {
    let message = answer(taken);
    let mut framed = vec![0];
    // Some kilobytes at most.
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(framed))
        .with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
    respond(Body::new(body))
}

fn failure(refusal: &Refusal) -> Response {
    let mut response = respond(Body::empty());
    let headers = response.headers_mut();
    headers.insert(STATUS, HeaderValue::from(u16::from(code(refusal))));
    headers.insert(
        MESSAGE,
        HeaderValue::from_str(&percent_encoded(&refusal.message))
            .unwrap_or(HeaderValue::from_static("")),
    );
    headers.insert(ERROR_HEADER, HeaderValue::from_static(refusal.page.id));
    response
}

/// A message as gRPC has it in a header: printable ASCII without `%`, the other bytes as `%XX`.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
