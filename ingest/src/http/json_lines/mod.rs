//! JSON lines: `POST /api/v1/samples`, one sample per line.
//!
//! `{"metric":"cpu","labels":{"host":"a"},"time":"2026-11-21T10:00:00Z","value":1.5,"kind":"counter"}`. `time` is RFC 3339 or a number of
//! **milliseconds** since 1970, and the time of arrival where it is missing; `labels` may be missing; `kind` is `gauge` or `counter`, and guessed from the name where it is missing;
//! `value` is a number or one of `"NaN"`, `"Infinity"`, `"-Infinity"`. Other keys are refused.

mod decode;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body::Encoding;
use super::refusal::Refusal;
use super::take::{Ask, Framing, Receivers, take};
use crate::admission::Sender;
use crate::counters::Intake;

pub use decode::decode;

pub(super) async fn write(
    State(receivers): State<Arc<Receivers>>,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match write_samples(&receivers, sender, &headers, body).await {
        Ok(accepted) => Json(json!({ "accepted": accepted })).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn write_samples(
    receivers: &Arc<Receivers>,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
) -> Result<usize, Refusal> {
    let encoding = Encoding::of(
        headers,
        Encoding::Identity,
        &[Encoding::Identity, Encoding::Gzip, Encoding::Zstd],
    )?;
    let decode = |body: &[u8], now, door: &mut _| decode(body, now, door).map(|()| 0);
    let taken = take(
        receivers,
        sender,
        headers,
        body,
        Ask {
            intake: Intake::JsonLines,
            encoding,
            framing: Framing::None,
            partial: true,
            decode,
        },
    )
    .await?;
    if taken.rejections.is_empty() {
        Ok(taken.accepted)
    } else {
        Err(Refusal::partial(taken.accepted, &taken.rejections))
    }
}

#[cfg(test)]
mod tests;
