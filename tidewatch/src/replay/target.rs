//! The data directory that a replay writes to: new, empty, or one that an earlier replay completed. Says of an incomplete one that it is.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::CommandError;
use crate::stores;

/// File in the data directory that tells how far the replay into it came.
const STATE_FILE: &str = "replay";
const UNFINISHED: &str = "unfinished\n";
const COMPLETE: &str = "complete\n";

/// A data directory of a replay.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    /// Whether it was made here, and nothing stands in it yet.
    fresh: std::sync::atomic::AtomicBool,
}

impl Target {
    /// Checks that the directory is one to write to, and makes it if it is missing.
    pub(super) fn open(config: &Config, append: bool) -> Result<Target, CommandError> {
        if !config.is_set("data.dir") {
            return Err(CommandError::Usage(
                "replay writes into a data directory of its own; name a new or empty one by --data-dir DIR".to_owned(),
            ));
        }
        let shown = config.data_dir.display();
        let made = !config.data_dir.exists();
        let path = stores::create_data_dir(config)?;
        let unlisted =
            |error| CommandError::surroundings(format!("data directory `{shown}`: {error}"));
        let mut entries: Vec<String> = std::fs::read_dir(&path)
            .map_err(unlisted)?
            .take(4)
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        entries.sort();
        let state = std::fs::read_to_string(path.join(STATE_FILE)).ok();
        match (entries.is_empty(), append, state.as_deref()) {
            (true, ..) | (false, true, Some(COMPLETE)) => Ok(Target {
                path,
                fresh: made.into(),
            }),
            (false, _, Some(UNFINISHED)) => Err(CommandError::Usage(format!(
                "data directory `{shown}` holds a replay that did not end; remove the directory, or name another by --data-dir DIR"
            ))),
            (false, true, _) => Err(CommandError::Usage(format!(
                "data directory `{shown}` was not made by a replay; --append goes on only where an earlier replay ended"
            ))),
            (false, false, _) => Err(CommandError::Usage(format!(
                "data directory `{shown}` is not empty (`{}`); name a new or empty one by --data-dir DIR, or go on where an earlier replay ended by --append",
                entries.join("`, `")
            ))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// From here on the directory is incomplete.
    pub(super) fn begin(&self) -> Result<(), CommandError> {
        self.fresh
            .store(false, std::sync::atomic::Ordering::Relaxed);
        self.mark(UNFINISHED)
    }

    /// Everything is stored.
    pub(super) fn complete(&self) -> Result<(), CommandError> {
        self.mark(COMPLETE)
    }

    fn mark(&self, state: &str) -> Result<(), CommandError> {
        let file = self.path.join(STATE_FILE);
        std::fs::write(&file, state)
            .map_err(|error| CommandError::surroundings(format!("`{}`: {error}", file.display())))
    }

    /// The error of a replay that could not go on: what broke, and what is left of it here.
    pub(super) fn incomplete(&self, error: CommandError) -> CommandError {
        error.followed_by(&format!(
            "; what `{}` holds is not complete: remove it and replay again",
            self.path.display()
        ))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.fresh.load(std::sync::atomic::Ordering::Relaxed) {
            // Made for nothing: the files could not be read. Fails, as it should, if something stands in it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}
