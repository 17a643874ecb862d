//! `tidewatch tail`: follows samples or anomalies of a running instance, one JSON object per line.

use std::io::Write;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper::Method;

use super::client::causes;
use super::{Reader, status, written};
use crate::args::TailArgs;
use crate::config::Config;
use crate::error::CommandError;

/// Follows until Ctrl-C, until nobody reads what is written, or until the instance ends.
pub(crate) async fn run(config: &Config, args: TailArgs) -> Result<(), CommandError> {
    let peer = status::find(config, args.url.url.as_deref()).await?;
    let path = format!("/api/v1/tail/{}", args.what.name());
    let response = peer.ask(Method::GET, &path, &[], Bytes::new()).await?;
    eprintln!(
        "following {} at {}; Ctrl-C ends",
        args.what.name(),
        peer.url()
    );
    let mut chunks = response.into_body().into_data_stream();
    loop {
        let chunk = tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            chunk = chunks.next() => chunk,
        };
        let lines = match chunk {
            Some(Ok(lines)) => lines,
            Some(Err(error)) => {
                return Err(CommandError::surroundings(format!(
                    "{} broke off: {}",
                    peer.url(),
                    causes(&error)
                )));
            }
            None => {
                eprintln!("the instance at {} has ended", peer.url());
                return Ok(());
            }
        };
        let mut out = std::io::stdout().lock();
        if written(out.write_all(&lines).and_then(|()| out.flush()))? == Reader::Left {
            return Ok(());
        }
    }
}
