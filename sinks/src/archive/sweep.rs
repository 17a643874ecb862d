//! Removes what no chain names: the leftovers of a crash, and files that a link replaced.

use std::collections::HashSet;
use std::path::{Path as FsPath, PathBuf};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::{ArchiveFile, SnapshotRef, Table};

use super::names::{chain_directory, owner_of, snapshot_directory};
use super::{Archive, ArchiveError, blocking};

impl Archive {
    /// Removes what a crash left of a partition: files that are not `live`, snapshots older than the referenced one. Only what owners up to
    /// `epoch` wrote: a later owner's files are not ours to judge. Says how many objects it removed.
    ///
    /// # Errors
    /// `Outage` (try again later; nothing depends on it).
    pub async fn sweep(
        &self,
        topic: &str,
        partition: u32,
        epoch: u64,
        live: &[ArchiveFile],
        snapshot: Option<&SnapshotRef>,
    ) -> Result<u64, ArchiveError> {
        let live: HashSet<&str> = live
            .iter()
            .map(|file| file.path.as_str())
            .chain(snapshot.map(|at| at.path.as_str()))
            .collect();
        let mut directories: Vec<String> =
            Table::all().map(|table| table.name().to_owned()).collect();
        directories.push(snapshot_directory(topic, partition)?);
        let mut doomed = Vec::new();
        for directory in directories {
            let mut listing = self.inner.store.list(Some(&Path::from(directory.as_str())));
            loop {
                let meta = match listing.try_next().await {
                    Ok(Some(meta)) => meta,
                    Ok(None) | Err(object_store::Error::NotFound { .. }) => break,
                    Err(error) => {
                        return Err(ArchiveError::from_store("listing", &directory, error));
                    }
                };
                let ours = meta
                    .location
                    .filename()
                    .and_then(owner_of)
                    .is_some_and(|(p, e)| p == partition && e <= epoch);
                if ours && !live.contains(meta.location.as_ref()) {
                    doomed.push(meta.location.to_string());
                }
            }
        }
        self.delete_files(&doomed).await?;
        let staged = match self.local_root() {
            Some(root) => {
                let (root, snapshots, chain) = (
                    root.to_owned(),
                    root.join(snapshot_directory(topic, partition)?),
                    root.join(chain_directory(topic, partition)?),
                );
                blocking(move || {
                    let staged = remove_staged(&root, snapshots, partition, epoch);
                    Ok(staged + remove_staged_links(&chain))
                })
                .await?
            }
            None => 0,
        };
        Ok(doomed.len() as u64 + staged)
    }

    /// Gives a damaged object a name by which nobody takes it for ours: `damaged-` before its own, in the same place. One that is already gone is no error.
    ///
    /// # Errors
    /// `Outage` and `Refused` (try again).
    pub async fn set_aside(&self, path: &str) -> Result<(), ArchiveError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let aside = Path::from(format!("{directory}/damaged-{name}"));
        match self.inner.store.rename(&Path::from(path), &aside).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ArchiveError::from_store("setting aside", path, error)),
        }
    }

    /// Removes objects; one that is already gone is no error.
    ///
    /// # Errors
    /// `Outage` and `Refused` (try again later).
    pub async fn delete_files(&self, paths: &[String]) -> Result<(), ArchiveError> {
        let locations: Vec<_> = paths
            .iter()
            .map(|path| Ok(Path::from(path.as_str())))
            .collect();
        let mut deleted = self
            .inner
            .store
            .delete_stream(futures::stream::iter(locations).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(ArchiveError::from_store(
                        "deleting",
                        paths.first().map_or("", |path| path),
                        error,
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Removes the staged files (`….parquet#123`) that a crash left of a partition's owners up to `epoch`.
fn remove_staged(root: &FsPath, snapshots: PathBuf, partition: u32, epoch: u64) -> u64 {
    let mut removed = 0;
    for directory in Table::all()
        .flat_map(|table| read(&root.join(table.name())))
        .chain([snapshots])
    {
        for file in read(&directory) {
            let name = name_of(&file);
            let staged = name.contains('#')
                && owner_of(name).is_some_and(|(p, e)| p == partition && e <= epoch);
            if staged && std::fs::remove_file(&file).is_ok() {
                removed += 1;
            }
        }
    }
    removed
}

/// Removes the staged links (`….json#123`) of places in the chain that are taken: whoever still wanted one of them has lost it.
fn remove_staged_links(chain: &FsPath) -> u64 {
    let files = read(chain);
    let number = |name: &str| {
        name.split('.')
            .next()
            .and_then(|number| number.parse::<u64>().ok())
    };
    let last = files
        .iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter_map(|file| number(name_of(file)))
        .max();
    let mut removed = 0;
    for file in &files {
        let name = name_of(file);
        let lost =
            name.contains(".json#") && number(name).is_some_and(|number| Some(number) <= last);
        if lost && std::fs::remove_file(file).is_ok() {
            removed += 1;
        }
    }
    removed
}

fn read(directory: &FsPath) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

fn name_of(file: &FsPath) -> &str {
    file.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}
