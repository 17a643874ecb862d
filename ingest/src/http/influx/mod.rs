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

/// The words of `precision` in v1, of the InfluxDB 1.x API.
const PRECISIONS_V1: &[(&str, LineUnit)] = &[
    ("n", LineUnit::Fixed(TimeUnit::Nanoseconds)),
    ("ns", LineUnit::Fixed(TimeUnit::Nanoseconds)),
    ("u", LineUnit::Fixed(TimeUnit::Microseconds)),
    ("us", LineUnit::Fixed(TimeUnit::Microseconds)),
    ("µ", LineUnit::Fixed(TimeUnit::Microseconds)),
    ("ms", LineUnit::Fixed(TimeUnit::Milliseconds)),
    ("s", LineUnit::Fixed(TimeUnit::Seconds)),
    ("m", LineUnit::Fixed(TimeUnit::Minutes)),
    ("h", LineUnit::Fixed(TimeUnit::Hours)),
];
/// The words of `precision` in v2.
const PRECISIONS_V2: &[(&str, LineUnit)] = &[
    ("ns", LineUnit::Fixed(TimeUnit::Nanoseconds)),
    ("us", LineUnit::Fixed(TimeUnit::Microseconds)),
    ("ms", LineUnit::Fixed(TimeUnit::Milliseconds)),
    ("s", LineUnit::Fixed(TimeUnit::Seconds)),
];
/// The words of `precision` in v3.
const PRECISIONS_V3: &[(&str, LineUnit)] = &[
    ("auto", LineUnit::Auto),
    ("nanosecond", LineUnit::Fixed(TimeUnit::Nanoseconds)),
    ("ns", LineUnit::Fixed(TimeUnit::Nanoseconds)),
    ("microsecond", LineUnit::Fixed(TimeUnit::Microseconds)),
    ("us", LineUnit::Fixed(TimeUnit::Microseconds)),
    ("millisecond", LineUnit::Fixed(TimeUnit::Milliseconds)),
    ("ms", LineUnit::Fixed(TimeUnit::Milliseconds)),
    ("second", LineUnit::Fixed(TimeUnit::Seconds)),
    ("s", LineUnit::Fixed(TimeUnit::Seconds)),
];

pub(super) async fn write_v1(
    State(receivers): State<Arc<Receivers>>,
    query: Parameters,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let unit = precision(
        &query,
        PRECISIONS_V1,
        LineUnit::Fixed(TimeUnit::Nanoseconds),
    );
    let taken = write(&receivers, sender, &headers, body, unit, true).await;
    answer(
        &taken,
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
    let unit = precision(
        &query,
        PRECISIONS_V2,
        LineUnit::Fixed(TimeUnit::Nanoseconds),
    );
    let taken = write(&receivers, sender, &headers, body, unit, true).await;
    answer(&taken, |refusal, _| {
        let code = match refusal.status.as_u16() {
            413 => "request too large",
            429 => "too many requests",
            503 => "unavailable",
            500 => "internal error",
            _ => "invalid",
        };
        json!({ "code": code, "message": refusal.message })
    })
}

pub(super) async fn write_v3(
    State(receivers): State<Arc<Receivers>>,
    query: Parameters,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let unit = precision(&query, PRECISIONS_V3, LineUnit::Auto);
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
    let taken = write(&receivers, sender, &headers, body, unit, partial).await;
    answer(&taken, |refusal, taken| {
        let Some(taken) = taken else {
            return json!({ "error": refusal.message, "data": null });
        };
        let mut lines = refused_lines(taken);
        if partial {
            json!({ "error": "partial write of line protocol occurred", "data": lines })
        } else {
            json!({ "error": "parsing failed for write_lp endpoint", "data": lines.drain(..).next() })
        }
    })
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

/// The unit that `precision` names; `unsaid` where it is absent or empty.
fn precision(
    query: &Parameters,
    words: &[(&str, LineUnit)],
    unsaid: LineUnit,
) -> Result<LineUnit, Refusal> {
    let found = match query.get("precision").map(String::as_str) {
        None | Some("") => return Ok(unsaid),
        Some(found) => found,
    };
    let unit = words.iter().find(|(word, _)| *word == found);
    unit.map(|(_, unit)| *unit).ok_or_else(|| {
        let expected: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let expected = expected.join(", ");
        Refusal::malformed(format!("precision `{found}`; expected one of {expected}"))
    })
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
