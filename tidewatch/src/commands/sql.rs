//! `tidewatch sql`: asks a running instance, or answers from the data directory when none runs; says on standard error which.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::Method;
use query::{ChainTables, Engine};

use super::client::{Peer, causes};
use super::{Reader, written};
use crate::cli::{SqlArgs, SqlFormat};
use crate::config::Config;
use crate::error::CommandError;
use crate::stores;

pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, CommandError>> + Send>>;

/// Asks, and writes the answer.
pub(crate) async fn run(config: &Config, args: SqlArgs) -> Result<(), CommandError> {
    let query = match args.query {
        Some(query) => query,
        None => read_query()?,
    };
    if args.format == SqlFormat::Parquet && args.output.is_none() && std::io::stdout().is_terminal()
    {
        return Err(CommandError::Usage(
            "a Parquet file is not for the terminal; name a file by -o FILE".to_owned(),
        ));
    }
    // Opened before the question is asked: a long query must not end in a file that can't be written.
    let output = Output::open(args.output.as_deref())?;
    let asked = match &args.url.url {
        Some(url) => Some(Peer::new(url)?),
        None => find_instance(config).await?,
    };
    match asked {
        Some(peer) => {
            eprintln!("asking the instance at {}", peer.url());
            output
                .write_all(ask(&peer, &query, args.format).await?)
                .await
        }
        None => {
            let archive = stores::existing_archive(config)?;
            eprintln!(
                "no instance answers; reading the archive at {} (what is not in it yet is left out)",
                archive.url()
            );
            let topic = stores::topics(config).samples();
            let engine = Engine::new(
                archive.store(),
                Arc::new(ChainTables::new(archive.clone(), &topic)),
                config.query.clone(),
            );
            let answer = engine
                .query(&query)
                .await
                .map_err(|error| CommandError::of("sql", error))?;
            let chunks = query::encode(answer, args.format.encoding());
            output
                .write_all(
                    chunks
                        .map(|chunk| chunk.map_err(|error| CommandError::of("sql", error)))
                        .boxed(),
                )
                .await
        }
    }
}

fn read_query() -> Result<String, CommandError> {
    if std::io::stdin().is_terminal() {
        return Err(CommandError::Usage("no question; give it as an argument, such as `tidewatch sql \"SHOW TABLES\"`, or on standard input".to_owned()));
    }
    let mut query = String::new();
    let limit = query::SQL_BYTES_MAX as u64 + 1;
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut query)
        .map_err(|error| CommandError::surroundings(format!("standard input: {error}")))?;
    Ok(query)
}

/// The instance of our data directory if it runs; where no data directory was named, any that listens at the address of the settings.
pub(crate) async fn find_instance(config: &Config) -> Result<Option<Peer>, CommandError> {
    let data_dir = stores::existing_data_dir(config);
    let told = data_dir
        .as_ref()
        .and_then(|dir| crate::app::read_address(dir));
    let named = config.is_set("data.dir");
    for address in told.into_iter().chain([config.server.listen.to_string()]) {
        let peer = Peer::new(&format!("http://{address}"))?;
        if let Some(instance) = peer.instance().await
            && (!named || Some(&instance.data_dir) == data_dir.as_ref())
        {
            return Ok(Some(peer));
        }
    }
    Ok(None)
}

async fn ask(peer: &Peer, query: &str, format: SqlFormat) -> Result<Chunks, CommandError> {
    let body =
        serde_json::json!({ "query": query, "format": format.encoding().name() }).to_string();
    let response = peer
        .ask(
            Method::POST,
            "/api/v1/sql",
            &[("content-type", "application/json")],
            body.into(),
        )
        .await?;
    if let Some(notes) = response
        .headers()
        .get(crate::http::NOTES_HEADER)
        .and_then(|notes| notes.to_str().ok())
    {
        eprintln!("note: {notes}");
    }
    let url = peer.url();
    let chunks = response.into_body().into_data_stream().map(move |chunk| {
        chunk.map_err(|error| {
            CommandError::surroundings(format!(
                "the answer of {url} broke off: {}; its log says why",
                causes(&error)
            ))
        })
    });
    Ok(chunks.boxed())
}

/// Where an answer goes.
pub(crate) enum Output {
    Standard,
    /// Written beside its place and moved there when it is complete, so that a cut answer is never taken for a whole one.
    File {
        file: std::fs::File,
        part: PathBuf,
        place: PathBuf,
    },
}

impl Output {
    pub(crate) fn open(place: Option<&Path>) -> Result<Output, CommandError> {
        let Some(place) = place else {
            return Ok(Output::Standard);
        };
        let mut part = place.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = std::fs::File::create(&part).map_err(|error| {
            CommandError::surroundings(format!("can't write `{}`: {error}", place.display()))
        })?;
        Ok(Output::File {
            file,
            part,
            place: place.to_owned(),
        })
    }

    pub(crate) async fn write_all(mut self, mut chunks: Chunks) -> Result<(), CommandError> {
        while let Some(chunk) = chunks.next().await {
            match &mut self {
                Output::Standard => {
                    let mut out = std::io::stdout().lock();
                    if written(out.write_all(&chunk?).and_then(|()| out.flush()))? == Reader::Left {
                        return Ok(());
                    }
                }
                Output::File { file, place, .. } => {
                    file.write_all(&chunk?).map_err(|error| {
                        CommandError::surroundings(format!("`{}`: {error}", place.display()))
                    })?;
                }
            }
        }
        if let Output::File { file, part, place } = &self {
            let moved = file.sync_all().and_then(|()| std::fs::rename(part, place));
            moved.map_err(|error| {
                CommandError::surroundings(format!("`{}`: {error}", place.display()))
            })?;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Output::File { part, .. } = self {
            // Gone if the answer is complete; what is left of a cut one is of no use.
            let _ = std::fs::remove_file(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    async fn write(
        place: &Path,
        chunks: Vec<Result<Bytes, CommandError>>,
    ) -> Result<(), CommandError> {
        Output::open(Some(place))?
            .write_all(stream::iter(chunks).boxed())
            .await
    }

    #[tokio::test]
    async fn a_file_appears_when_it_is_complete_and_a_cut_answer_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("a.csv");
        write(&place, vec![Ok("a,".into()), Ok("b\n".into())])
            .await
            .unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "a,b\n");
        let cut = vec![
            Ok("c".into()),
            Err(CommandError::surroundings("cut".to_owned())),
        ];
        assert_eq!(write(&place, cut).await.unwrap_err().exit_code(), 1);
        assert_eq!(
            std::fs::read_to_string(&place).unwrap(),
            "a,b\n",
            "the old file stays"
        );
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no part is left"
        );
    }
}
