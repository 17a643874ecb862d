//! Which fleet a data directory belongs to, in the file `demo.json` there. What is not a demo's is left alone.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use schemas::{Fault, Micros};
use serde::{Deserialize, Serialize};

use super::{HOSTS, SEED};
use crate::config::Config;
use crate::error::CommandError;
use crate::stores;

/// The file.
const FILE: &str = "demo.json";
/// What an instance keeps in its data directory.
const STORES: [&str; 3] = ["bus", "archive", "aggregates"];

/// What makes a fleet the same fleet after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) seed: u64,
    pub(super) hosts: u32,
    /// The time of the first sample, microseconds since 1970.
    pub(super) begin_us: Micros,
}

/// The demo's data directory, made if it is missing.
///
/// # Errors
/// If it holds the data of an instance that is no demo.
pub(super) fn own_directory(config: &Config) -> Result<PathBuf, CommandError> {
    let dir = stores::create_data_dir(config)?;
    let foreign = STORES.iter().find(|store| dir.join(store).exists());
    match foreign {
        Some(store) if !dir.join(FILE).exists() => Err(CommandError::Failed {
            message: format!(
                "`{}` holds `{store}` and no `{FILE}`, so it is the data of an instance that is no demo, and simulated samples do not belong there; choose another directory by --data-dir",
                dir.display()
            ),
            fault: Fault::BadConfig,
        }),
        _ => Ok(dir),
    }
}

impl Identity {
    /// The fleet of a directory: the one begun there, or from now on this one.
    ///
    /// # Errors
    /// If another one was begun there, or the file can't be read or written.
    pub(super) fn remember(
        dir: &Path,
        seed: Option<u64>,
        hosts: Option<u32>,
        begin_us: Micros,
    ) -> Result<Identity, CommandError> {
        let path = dir.join(FILE);
        let known = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Identity>(&bytes).map_err(|error| {
                damaged(
                    &path,
                    &format!("{error}; expected seed, hosts and begin_us"),
                )
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let identity = Identity {
                    seed: seed.unwrap_or(SEED),
                    hosts: hosts.unwrap_or(HOSTS),
                    begin_us,
                };
                identity
                    .write(dir, &path)
                    .map_err(|error| damaged(&path, &error.to_string()))?;
                return Ok(identity);
            }
            Err(error) => return Err(damaged(&path, &error.to_string())),
        };
        let other_seed = seed.is_some_and(|seed| seed != known.seed);
        if other_seed || hosts.is_some_and(|hosts| hosts != known.hosts) {
            return Err(CommandError::Usage(format!(
                "the demo in `{}` was begun with --seed {} --hosts {}; go on with these (or leave them out), or begin another fleet in another directory by --data-dir",
                dir.display(),
                known.seed,
                known.hosts
            )));
        }
        Ok(known)
    }

    /// Written whole or not at all.
    fn write(&self, dir: &Path, path: &Path) -> std::io::Result<()> {
        let beside = dir.join(format!("{FILE}.new"));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(dir)?.sync_all()
    }
}

fn damaged(path: &Path, detail: &str) -> CommandError {
    CommandError::surroundings(format!(
        "`{}`, which says which fleet this directory belongs to: {detail}; remove the directory to begin anew, or choose another by --data-dir",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_remembers_its_fleet_and_refuses_another() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::remember(dir.path(), Some(3), None, 60).unwrap();
        assert_eq!((first.seed, first.hosts, first.begin_us), (3, HOSTS, 60));
        for (seed, hosts) in [(None, None), (Some(3), None), (Some(3), Some(HOSTS))] {
            assert_eq!(
                Identity::remember(dir.path(), seed, hosts, 999).unwrap(),
                first
            );
        }
        for (seed, hosts) in [(Some(4), None), (None, Some(1))] {
            let error = Identity::remember(dir.path(), seed, hosts, 60).unwrap_err();
            assert!(error.to_string().contains("--seed 3 --hosts 8"), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        std::fs::write(dir.path().join(FILE), "{\"seed\":3}").unwrap();
        let error = Identity::remember(dir.path(), None, None, 60).unwrap_err();
        assert!(error.to_string().contains("demo.json"), "{error}");
    }
}
