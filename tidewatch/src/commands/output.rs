//! Where an answer goes: standard output, or a file that appears when it is complete.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::{Reader, written};
use crate::error::CommandError;

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
