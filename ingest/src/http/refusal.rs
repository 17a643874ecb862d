//! Why a request was not taken, and the answer that says so.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus::BusError;
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde_json::json;

use crate::admission::{Hit, Limit, OwnLimits};
use crate::door::{Rejections, TooManySamples};
use crate::error_codes;

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

impl HasCode for Malformed {
    fn code(&self) -> &'static ErrorCode {
        &error_codes::MALFORMED
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
    /// The body is too large in the form that it is decoded from.
    #[error(
        "the body has more than {0} bytes in its binary form, and no setting allows more; send it in several requests"
    )]
    TooLarge(usize),
}

impl HasFault for Undecodable {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

impl HasCode for Undecodable {
    fn code(&self) -> &'static ErrorCode {
        match self {
            Undecodable::Malformed(error) => error.code(),
            Undecodable::TooManySamples(_) | Undecodable::TooLarge(_) => &error_codes::TOO_LARGE,
        }
    }
}

/// Header that names the error's page, whatever form the protocol gives to the body.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("tidewatch-error");

/// A request that was not taken, before it is put into the words of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// Stable, for programs.
    pub(super) code: &'static str,
    /// Its page.
    pub(super) page: &'static ErrorCode,
    /// For people; begins with the page's id.
    pub(super) message: String,
    pub(super) retry_after_s: Option<u32>,
    /// The limit that was met, if it was one.
    pub(super) limit: Option<Limit>,
}

impl Refusal {
    fn new(
        status: StatusCode,
        code: &'static str,
        page: &'static ErrorCode,
        message: impl fmt::Display,
    ) -> Self {
        Refusal {
            status,
            code,
            page,
            message: format!("{}: {message}", page.id),
            retry_after_s: None,
            limit: None,
        }
    }

    pub(super) fn malformed(message: impl fmt::Display) -> Self {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            &error_codes::MALFORMED,
            message,
        )
    }

    pub(super) fn unsupported(message: impl fmt::Display) -> Self {
        Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported",
            &error_codes::UNSUPPORTED,
            message,
        )
    }

    pub(super) fn too_large(message: impl fmt::Display) -> Self {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            &error_codes::TOO_LARGE,
            message,
        )
    }

    /// A body that could not be decoded, of a sender that has, or may have, limits of its own.
    pub(super) fn undecodable(error: Undecodable, own: &Option<Arc<OwnLimits>>) -> Self {
        match error {
            Undecodable::Malformed(malformed) => Refusal::malformed(malformed),
            Undecodable::TooManySamples(too_many) => Refusal::limit(too_many.hit().by(own)),
            Undecodable::TooLarge(_) => Refusal::too_large(error),
        }
    }

    pub(super) fn timeout(message: impl fmt::Display) -> Self {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            &error_codes::TIMEOUT,
            message,
        )
    }

    /// A request that is too large by one of the limits.
    pub(super) fn limit(hit: Hit) -> Self {
        Refusal {
            limit: Some(hit.limit),
            ..Refusal::too_large(hit)
        }
    }

    /// A request that needs more than may be in flight at all: told as too large, for it would be sent for ever.
    pub(super) fn never_fits(hit: &Hit) -> Self {
        let (found, max, setting, advice) = (hit.found, hit.max, hit.setting(), hit.advice());
        Refusal {
            limit: Some(hit.limit),
            ..Refusal::too_large(format!(
                "the request needs {found} bytes or more, as sent and decompressed, and `{setting}` allows {max} for all that is being worked on; \
                 send it in several requests, or raise the setting{advice}"
            ))
        }
    }

    /// What fits when others are done.
    pub(super) fn busy(hit: Hit) -> Self {
        let limit = Some(hit.limit);
        let message = hit;
        Refusal {
            limit,
            retry_after_s: Some(1),
            ..Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "busy",
                &error_codes::BUSY,
                message,
            )
        }
    }

    pub(super) fn bug(message: impl fmt::Display) -> Self {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bug",
            &error_codes::REQUEST_BUG,
            message,
        )
    }

    /// The answer to a partly valid request of which `accepted` samples are durable.
    pub(super) fn partial(accepted: usize, rejections: &Rejections) -> Self {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "partial",
            &error_codes::PARTIAL,
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
        response
            .headers_mut()
            .insert(ERROR_HEADER, HeaderValue::from_static(self.page.id));
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What became of a partly valid request, for people.
pub(super) fn partial_message(accepted: usize, rejections: &Rejections) -> String {
    let mut message = format!(
        "{accepted} samples were stored, {} rejected",
        rejections.samples()
    );
    // A limit that is met is met again by what follows: it is told once.
    let alike = rejections.first().chunk_by(|a, b| a.reason == b.reason);
    for (position, alike) in alike.enumerate() {
        message.push_str(if position == 0 { ": " } else { "; " });
        let [first, more @ ..] = alike else { continue };
        message.push_str(&first.place.to_string());
        if let Some(last) = more.last() {
            message.push_str(&format!(" and {} more up to {}", more.len(), last.place));
        }
        message.push_str(&format!(": {}", first.reason));
    }
    if rejections.samples() > rejections.first().len() as u64 {
        message.push_str("; …");
    }
    message
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        match error.fault() {
            Fault::BadInput => Refusal::too_large(error),
            Fault::Outage => Refusal {
                retry_after_s: Some(5),
                ..Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    &error_codes::UNAVAILABLE,
                    error,
                )
            },
            fault => Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                fault.name(),
                error.code(),
                error,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::{Place, Reason};

    #[test]
    fn what_was_refused_for_one_reason_is_told_once() {
        let mut rejections = Rejections::default();
        let full = || Reason::Limit(Hit::new(Limit::NewSeries, 5, 5));
        let reasons = [Reason::NoMetric, full(), full(), full(), Reason::NoMetric];
        for (index, reason) in reasons.into_iter().enumerate() {
            rejections.add(1, Place::DataPoint { index }, reason);
        }
        let no_metric = Reason::NoMetric;
        assert_eq!(
            partial_message(7, &rejections),
            format!(
                "7 samples were stored, 5 rejected: data point 0: {no_metric}; data point 1 and 2 more up to data point 3: {}; data point 4: {no_metric}",
                full()
            )
        );
        for index in 5..30 {
            rejections.add(1, Place::DataPoint { index }, full());
        }
        let told = partial_message(0, &rejections);
        assert!(told.contains("data point 5 and 14 more up to data point 19: "));
        assert!(told.ends_with("; …"), "{told}");
    }
}
