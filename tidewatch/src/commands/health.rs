//! `tidewatch health`: one question to a running instance, answered by the exit code. For health checks of containers, which have no curl.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Limited};
use hyper::Method;

use super::client::Peer;
use crate::args::UrlArgs;
use crate::config::Config;
use crate::error::CommandError;
use crate::stores;

/// How long the instance may take to answer: whoever runs health checks kills slow ones, and then nobody learns why.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest answer that is shown.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Flags of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask whether every partition of the instance works, too, and not only whether the process answers.
    #[arg(long)]
    pub ready: bool,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// Asks, and prints what was answered.
pub(crate) async fn run(config: &Config, args: HealthArgs) -> Result<(), CommandError> {
    let peer = match &args.url.url {
        Some(url) => Peer::new(url)?,
        None => {
            let data_dir = stores::existing_data_dir(config);
            Peer::on_this_machine(config.server.listen, data_dir.as_deref())?
        }
    };
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let asking = async {
        let response = peer.ask(Method::GET, path, &[], Bytes::new()).await?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        body.collect().await.map_err(|error| {
            CommandError::surroundings(format!("the answer of {} broke off: {error}", peer.url()))
        })
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, asking).await;
    let answer = answer.map_err(|_| {
        CommandError::surroundings(format!(
            "no answer from {} within {} s; its log says what it is busy with",
            peer.url(),
            ANSWER_TIMEOUT.as_secs()
        ))
    })??;
    super::print(&String::from_utf8_lossy(&answer.to_bytes()))
}
