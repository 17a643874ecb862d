//! Prometheus remote write 1.0: `POST /api/v1/write`, a snappy block of protobuf.

mod decode;
mod wire;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::Encoding;
use super::refusal::Refusal;
use super::take::{Ask, Receivers, take};
use crate::counters::Intake;

pub use decode::decode;

pub(super) async fn write(
    State(receivers): State<Arc<Receivers>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match write_samples(&receivers, &headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn write_samples(
    receivers: &Arc<Receivers>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), Refusal> {
    check_content_type(headers)?;
    let encoding = Encoding::of(headers, Encoding::Snappy, &[Encoding::Snappy])?;
    let ask = Ask {
        intake: Intake::RemoteWrite,
        encoding,
        partial: true,
        decode: |body: &[u8], _, door: &mut _| decode(body, door).map(|()| 0),
    };
    let taken = take(receivers, headers, body, ask).await?;
    if taken.rejections.is_empty() {
        Ok(())
    } else {
        Err(Refusal::partial(taken.accepted, &taken.rejections))
    }
}

/// The first version has no parameter, or `proto=prometheus.WriteRequest`. Senders older than the rule send no type at all.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("?");
    let mut parts = text.split(';').map(str::trim);
    let is_protobuf = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-protobuf"));
    let is_first_version = parts
        .filter_map(|part| part.split_once('='))
        .all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("proto")
                || value.trim().trim_matches('"') == "prometheus.WriteRequest"
        });
    if is_protobuf && is_first_version {
        return Ok(());
    }
    Err(Refusal::unsupported(format!(
        "content type `{text}`; taken here: application/x-protobuf, also with proto=prometheus.WriteRequest (remote write 1.0)"
    )))
}

#[cfg(test)]
mod tests;
