//! Influx line protocol: `/write` (v1), `/api/v2/write`, `/api/v3/write_lp`, `/ping` and `/health`. One decoder; each version has its own words for what was wrong.
//!
//! Databases, buckets, organisations, users and `Authorization` are accepted and mean nothing here.

mod decode;
mod number;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::body::Encoding;
use super::refusal::Refusal;
use super::take::{Ask, Framing, Receivers, Taken, take};
use crate::admission::Sender;
use crate::counters::Intake;
use crate::door::{Place, TimeUnit};

pub use decode::{LineOptions, LineUnit, decode};

/// How many values of an accepted request were left out because they are text.
const SKIPPED_HEADER: HeaderName = HeaderName::from_static("x-tidewatch-skipped-fields");
/// The longest piece of a refused line that is quoted, bytes. 1 KiB: enough to find it.
const QUOTED_BYTES_MAX: usize = 1024;

type Parameters = Query<HashMap<String, String>>;

pub(super) async fn write_v1(
    State(receivers): State<Arc<Receivers>>,
    query: Parameters,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let unit = match query.get("precision").map(String::as_str) {
        None | Some("" | "n" | "ns") => Ok(TimeUnit::Nanoseconds),
        Some("u" | "us" | "µ") => Ok(TimeUnit::Microseconds),
        Some("ms") => Ok(TimeUnit::Milliseconds),
        Some("s") => Ok(TimeUnit::Seconds),
        Some("m") => Ok(TimeUnit::Minutes),
        Some("h") => Ok(TimeUnit::Hours),
        Some(other) => Err(unknown_precision(other, "n, u, ms, s, m, h")),
    };
    answer(
        &write(
            &receivers,
            sender,
            &headers,
            body,
            unit.map(LineUnit::Fixed),
            true,
        )
        .await,
        |refusal, _| json!({ "error": refusal.message, "code": refusal.code }),
    )
}

pub(super) async fn write_v2(
    State(receivers): State<Arc<Receivers>>,
    query: Parameters,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let unit = match query.get("precision").map(String::as_str) {
        None | Some("" | "ns") => Ok(TimeUnit::Nanoseconds),
        Some("us") => Ok(TimeUnit::Microseconds),
        Some("ms") => Ok(TimeUnit::Milliseconds),
        Some("s") => Ok(TimeUnit::Seconds),
        Some(other) => Err(unknown_precision(other, "ns, us, ms, s")),
    };
    answer(
        &write(
            &receivers,
            sender,
            &headers,
            body,
            unit.map(LineUnit::Fixed),
            true,
        )
        .await,
        |refusal, _| {
            let code = match refusal.status.as_u16() {
                413 => "request too large",
                429 => "too many requests",
                503 => "unavailable",
                500 => "internal error",
                _ => "invalid",
            };
            json!({ "code": code, "message": refusal.message })
        },
    )
}

pub(super) async fn write_v3(
    State(receivers): State<Arc<Receivers>>,
    query: Parameters,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let unit = match query.get("precision").map(String::as_str) {
        None | Some("" | "auto") => Ok(LineUnit::Auto),
        Some("nanosecond" | "ns") => Ok(LineUnit::Fixed(TimeUnit::Nanoseconds)),
        Some("microsecond" | "us") => Ok(LineUnit::Fixed(TimeUnit::Microseconds)),
        Some("millisecond" | "ms") => Ok(LineUnit::Fixed(TimeUnit::Milliseconds)),
        Some("second" | "s") => Ok(LineUnit::Fixed(TimeUnit::Seconds)),
        Some(other) => Err(unknown_precision(
            other,
            "auto, second, millisecond, microsecond, nanosecond",
        )),
    };
    let (unit, partial) = match query.get("accept_partial").map(String::as_str) {
        None | Some("" | "true") => (unit, true),
        Some("false") => (unit, false),
        Some(other) => (
            Err(Refusal::malformed(format!(
                "accept_partial `{other}`; expected true or false"
            ))),
            true,
        ),
    };
    answer(
        &write(&receivers, sender, &headers, body, unit, partial).await,
        |refusal, taken| {
            let Some(taken) = taken else {
                return json!({ "error": refusal.message, "data": null });
            };
            let mut lines = refused_lines(taken);
            if partial {
                json!({ "error": "partial write of line protocol occurred", "data": lines })
            } else {
                json!({ "error": "parsing failed for write_lp endpoint", "data": lines.drain(..).next() })
            }
        },
    )
}

pub(super) async fn ping() -> Response {
    let version = [(
        HeaderName::from_static("x-influxdb-version"),
        concat!("tidewatch-", env!("CARGO_PKG_VERSION")),
    )];
    (StatusCode::NO_CONTENT, version).into_response()
}

/// `GET /health`, as clients of v2 ask it: the door is open. Whether all else is well is told by `/readyz`.
pub(super) async fn health() -> Json<Value> {
    Json(json!({
        "name": "influxdb",
        "message": "ready for writes",
        "status": "pass",
        "checks": [],
        "version": concat!("tidewatch-", env!("CARGO_PKG_VERSION")),
    }))
}

fn unknown_precision(found: &str, expected: &str) -> Refusal {
    Refusal::malformed(format!("precision `{found}`; expected one of {expected}"))
}

async fn write(
    receivers: &Arc<Receivers>,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
    unit: Result<LineUnit, Refusal>,
    partial: bool,
) -> Result<Taken, Refusal> {
    let unit = unit?;
    let encoding = Encoding::of(
        headers,
        Encoding::Identity,
        &[Encoding::Identity, Encoding::Gzip, Encoding::Zstd],
    )?;
    let decode =
        move |body: &[u8], now, door: &mut _| decode(body, LineOptions { unit, now }, door);
    take(
        receivers,
        sender,
        headers,
        body,
        Ask {
            intake: Intake::LineProtocol,
            encoding,
            framing: Framing::None,
            partial,
            decode,
        },
    )
    .await
}

fn answer(
    taken: &Result<Taken, Refusal>,
    words: impl FnOnce(&Refusal, Option<&Taken>) -> Value,
) -> Response {
    let mut response = match taken {
        Ok(taken) if taken.rejections.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(taken) => {
            let refusal = Refusal::partial(taken.accepted, &taken.rejections);
            refusal.respond(Json(words(&refusal, Some(taken))))
        }
        Err(refusal) => refusal.respond(Json(words(refusal, None))),
    };
    if let Some(skipped) = taken
        .as_ref()
        .ok()
        .filter(|taken| taken.skipped > 0)
        .map(|taken| taken.skipped)
    {
        response
            .headers_mut()
            .insert(SKIPPED_HEADER, HeaderValue::from(skipped));
    }
    response
}

fn refused_lines(taken: &Taken) -> Vec<Value> {
    let mut lines = taken.body.split(|byte| *byte == b'\n').enumerate();
    let mut refused = Vec::new();
    for rejection in taken.rejections.first() {
        let Place::Line { line, .. } = rejection.place else {
            continue;
        };
        // Rejections come in the order of their lines, so one walk finds them all; a second one of the same line quotes nothing new.
        let text = lines
            .by_ref()
            .find(|(index, _)| index + 1 == line)
            .map(|(_, text)| text)
            .unwrap_or_default();
        let quoted =
            String::from_utf8_lossy(&text[..text.len().min(QUOTED_BYTES_MAX)]).into_owned();
        refused.push(json!({ "original_line": quoted, "line_number": line, "error_message": rejection.reason.to_string() }));
    }
    refused
}

#[cfg(test)]
mod tests;
