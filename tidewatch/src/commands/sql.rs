//! `tidewatch sql`: one question and its answer, from a running instance or a data directory; says on standard error which. Without a question, a
//! shell where there is a terminal.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::source::Source;
use super::{Reader, shell, written};
use crate::args::{SqlArgs, SqlFormat};
use crate::config::Config;
use crate::error::CommandError;

/// Asks, and writes the answer.
pub(crate) async fn run(config: &Config, args: SqlArgs) -> Result<(), CommandError> {
    let query = match args.query {
        Some(query) => query,
        None if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() => {
            return shell::run(config, args).await;
        }
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
    let source = Source::find(config, args.url.url.as_deref()).await?;
    eprintln!("{}", source.told());
    let answer = source.chunks(&query, args.format.encoding()).await?;
    if let Some(note) = &answer.note {
        eprintln!("note: {note}");
    }
    output.write_all(answer.bytes).await
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

    pub(crate) async fn write_all(
        mut self,
        mut chunks: BoxStream<'static, Result<Bytes, CommandError>>,
    ) -> Result<(), CommandError> {
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
