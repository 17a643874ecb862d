//! Why a request was not taken, and the answer that says so.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus::BusError;
use schemas::{Fault, HasFault};
use serde_json::json;

use crate::door::{Rejections, TooManySamples};

/// Bytes that do not follow their format, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed body at byte {byte}, {field}: {problem}")]
pub struct Malformed {
    /// Offset in the decompressed body where reading failed, from 0.
    pub byte: usize,
    /// What was being read there.
    pub field: String,
    /// What was expected and found.
    pub problem: String,
}

impl HasFault for Malformed {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

/// Why a whole body could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// The bytes do not follow their format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There are more samples than one request may carry.
    #[error(transparent)]
    TooManySamples(#[from] TooManySamples),
}

impl HasFault for Undecodable {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

/// A request that was not taken, before it is put into the words of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// Stable, for programs.
    pub(super) code: &'static str,
    /// For people.
    pub(super) message: String,
    pub(super) retry_after_s: Option<u32>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Refusal {
            status,
            code,
            message: message.into(),
            retry_after_s: None,
        }
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        Refusal {
            retry_after_s: Some(1),
            ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
        }
    }

    pub(super) fn bug(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "bug", message)
    }

    /// The answer to a partly valid request of which `accepted` samples are durable.
    pub(super) fn partial(accepted: usize, rejections: &Rejections) -> Self {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "partial",
            partial_message(accepted, rejections),
        )
    }

    pub(super) fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.message, "code": self.code }));
        self.respond(body)
    }

    /// The answer with another body.
    pub(super) fn respond(&self, body: impl IntoResponse) -> Response {
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn partial_message(accepted: usize, rejections: &Rejections) -> String {
    let mut message = format!(
        "{accepted} samples were stored, {} rejected",
        rejections.samples()
    );
    for (position, rejection) in rejections.first().iter().enumerate() {
        message.push_str(if position == 0 { ": " } else { "; " });
        message.push_str(&rejection.to_string());
    }
    if rejections.samples() > rejections.first().len() as u64 {
        message.push_str("; …");
    }
    message
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        match error.fault() {
            Fault::BadInput => Refusal::too_large(error.to_string()),
            Fault::Outage => Refusal {
                retry_after_s: Some(5),
                ..Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    error.to_string(),
                )
            },
            fault => Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                fault.name(),
                error.to_string(),
            ),
        }
    }
}

impl From<Undecodable> for Refusal {
    fn from(error: Undecodable) -> Self {
        match error {
            Undecodable::Malformed(malformed) => Refusal::malformed(malformed.to_string()),
            Undecodable::TooManySamples(too_many) => Refusal::too_large(too_many.to_string()),
        }
    }
}
