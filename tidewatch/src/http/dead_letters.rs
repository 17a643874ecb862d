//! `POST /api/v1/dead-letters/replay`: decodes dead letters again and answers what came of it.

use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ingest::foreign::{Format, LetterId, Replay};
use schemas::{Fault, HasFault};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::Context;
use super::problem::{problem, problem_of};

/// Where a replay is asked for.
pub(crate) const REPLAY_PATH: &str = "/api/v1/dead-letters/replay";
/// Ids of one request. Far more than a person names.
const IDS_MAX: usize = 10_000;
/// Largest body, bytes: so many of the longest ids.
const BODY_BYTES_MAX: usize = 40 * IDS_MAX;

/// What is to be replayed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReplayRequest {
    /// These letters; none: all that were not replayed yet.
    pub(crate) ids: Vec<String>,
    /// Only those that came from this topic.
    pub(crate) topic: Option<String>,
    /// As this format; without: as the one that their source has now.
    #[serde(rename = "as")]
    pub(crate) format: Option<String>,
    /// Only what comes after this letter: `stopped_at` of the answer before.
    pub(crate) after: Option<String>,
}

impl ReplayRequest {
    fn read(self) -> Result<Replay, String> {
        if self.ids.len() > IDS_MAX {
            return Err(format!(
                "{} ids; at most {IDS_MAX} are taken",
                self.ids.len()
            ));
        }
        let id = |text: &String| {
            LetterId::parse(text).ok_or_else(|| {
                format!("id `{text:.40}`: expected PARTITION-OFFSET, such as 2-117, as the table dead_letters has it")
            })
        };
        let format = |name: &String| {
            Format::from_name(name)
                .ok_or_else(|| format!("format `{name:.40}`: expected one of {}", Format::names()))
        };
        Ok(Replay {
            after: self.after.as_ref().map(id).transpose()?,
            ids: self.ids.iter().map(id).collect::<Result<_, _>>()?,
            topic: self.topic,
            format: self.format.as_ref().map(format).transpose()?,
        })
    }
}

pub(super) async fn replay(State(context): State<Arc<Context>>, request: Request) -> Response {
    let bad = |message: &str| problem(StatusCode::BAD_REQUEST, message, Fault::BadInput);
    let Ok(body) = to_bytes(request.into_body(), BODY_BYTES_MAX).await else {
        return bad(&format!(
            "the body broke off, or is longer than {BODY_BYTES_MAX} bytes"
        ));
    };
    let asked = serde_json::from_slice::<ReplayRequest>(&body)
        .map_err(|error| format!("expected {{\"ids\": [\"2-117\"], \"topic\": …, \"as\": …, \"after\": …}}, each of them optional: {error}"))
        .and_then(ReplayRequest::read);
    let asked = match asked {
        Ok(asked) => asked,
        Err(message) => return bad(&message),
    };
    match context.replayer.replay(&asked).await {
        Ok(done) => {
            info!(
                replayed = done.replayed,
                samples = done.samples,
                failed = done.failed,
                "dead letters were replayed"
            );
            Json(done).into_response()
        }
        Err(error) => {
            let status = match error.fault() {
                Fault::Outage => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            problem_of(status, &error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Replay, String> {
        let request: ReplayRequest =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        request.read()
    }

    #[test]
    fn a_request_names_letters_a_topic_and_a_format_or_none_of_them() {
        assert_eq!(read("{}"), Ok(Replay::default()));
        let asked = read(r#"{"ids":["2-117"],"topic":"t","as":"influx"}"#).unwrap();
        assert_eq!(asked.ids, [LetterId::parse("2-117").unwrap()]);
        assert_eq!(
            (asked.topic.as_deref(), asked.format),
            (Some("t"), Some(Format::Influx))
        );
        for (wrong, expected) in [
            (r#"{"ids":["2"]}"#, "expected PARTITION-OFFSET"),
            (r#"{"as":"xml"}"#, "expected one of otlp_proto, otlp_json"),
            (r#"{"format":"influx"}"#, "unknown field `format`"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
