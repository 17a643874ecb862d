//! Prometheus remote write: `POST /api/v1/write`, a snappy block of protobuf, of version 1.0 or 2.0 as the content type says.
//!
//! Stale markers (a NaN of its own bits) are samples like others: stored bit for bit, left out of rollups and detection as every NaN is.
//! Native histograms are refused, sample by sample; exemplars are left out and counted.

mod decode;
mod symbols;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::Encoding;
use super::refusal::Refusal;
use super::take::{Ask, Framing, Receivers, Taken, take};
use crate::admission::Sender;
use crate::counters::Intake;

pub use decode::decode;
pub use symbols::decode as decode_with_symbols;

/// What a sender of version 2.0 must be told was written. Histograms and exemplars never are.
const SAMPLES_WRITTEN: HeaderName =
    HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName =
    HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName =
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// Which message a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// `prometheus.WriteRequest`.
    Labels,
    /// `io.prometheus.write.v2.Request`.
    Symbols,
}

pub(super) async fn write(
    State(receivers): State<Arc<Receivers>>,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let version = match version(&headers) {
        Ok(version) => version,
        Err(refusal) => return refusal.into_response(),
    };
    let (written, mut response) =
        match write_samples(&receivers, version, sender, &headers, body).await {
            Ok(taken) if taken.rejections.is_empty() => {
                (taken.accepted, StatusCode::NO_CONTENT.into_response())
            }
            Ok(taken) => {
                let refusal = Refusal::partial(taken.accepted, &taken.rejections);
                (taken.accepted, refusal.into_response())
            }
            Err(refusal) => (0, refusal.into_response()),
        };
    if version == Version::Symbols {
        for (name, written) in [
            (SAMPLES_WRITTEN, written),
            (HISTOGRAMS_WRITTEN, 0),
            (EXEMPLARS_WRITTEN, 0),
        ] {
            response
                .headers_mut()
                .insert(name, HeaderValue::from(written));
        }
    }
    response
}

async fn write_samples(
    receivers: &Arc<Receivers>,
    version: Version,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
) -> Result<Taken, Refusal> {
    let encoding = Encoding::of(headers, Encoding::Snappy, &[Encoding::Snappy])?;
    let ask = Ask {
        intake: Intake::RemoteWrite,
        encoding,
        framing: Framing::None,
        partial: true,
        decode: move |body: &[u8], _, door: &mut _| match version {
            Version::Labels => decode(body, door),
            Version::Symbols => decode_with_symbols(body, door),
        },
    };
    take(receivers, sender, headers, body, ask).await
}

/// The first version has no parameter, or `proto=prometheus.WriteRequest`. Senders older than the rule send no type at all.
fn version(headers: &HeaderMap) -> Result<Version, Refusal> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Version::Labels);
    };
    let text = value.to_str().unwrap_or("?");
    let mut parts = text.split(';').map(str::trim);
    let is_protobuf = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-protobuf"));
    let mut messages = parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("proto"))
        .map(|(_, value)| value.trim().trim_matches('"'));
    let version = match (is_protobuf, messages.next()) {
        (true, None | Some("prometheus.WriteRequest")) => Some(Version::Labels),
        (true, Some("io.prometheus.write.v2.Request")) => Some(Version::Symbols),
        _ => None,
    };
    version.ok_or_else(|| {
        Refusal::unsupported(format!(
            "content type `{text}`; taken here: application/x-protobuf, also with proto=prometheus.WriteRequest (remote write 1.0) or \
             proto=io.prometheus.write.v2.Request (2.0)"
        ))
    })
}

#[cfg(test)]
mod tests;
