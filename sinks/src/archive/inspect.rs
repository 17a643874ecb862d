//! What is asked of an archive when someone looks for a fault: whether it can be written, and whether its files are there.

use std::collections::{BTreeSet, HashMap};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::ArchiveFile;

use super::{Archive, ArchiveError, probe_path};

/// A file that is not what the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitFile {
    /// Path below the archive's root.
    pub path: String,
    /// What was expected and what was found.
    pub problem: String,
}

impl Archive {
    /// Writes a probe object and deletes it again: the rights, and the promise of the store that a chain rests on.
    ///
    /// # Errors
    /// `Refused` if a right is missing, `BadConfig` if the store does not honour create-if-absent; `Outage` if it does not answer.
    pub async fn check_writable(&self) -> Result<(), ArchiveError> {
        let nonce = crate::chain::nonce();
        self.probe(&nonce).await?;
        let text = probe_path(&nonce);
        match self.store().head(&Path::from(text.as_str())).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Ok(_) => Err(ArchiveError::BadConfig(format!(
                "archive.url `{}`: the object `{text}` could be written but not deleted; compaction needs the right to delete",
                self.url()
            ))),
            Err(error) => Err(ArchiveError::from_store("reading", &text, error)),
        }
    }

    /// Those of some files that are not there, or not of the size that the chain says. Reads listings, no file.
    ///
    /// # Errors
    /// `Outage`; `BadConfig` if listing is not allowed.
    pub async fn unfit_files(&self, files: &[ArchiveFile]) -> Result<Vec<UnfitFile>, ArchiveError> {
        let tables: BTreeSet<&str> = files.iter().map(|file| file.table.name()).collect();
        let mut sizes: HashMap<String, u64> = HashMap::new();
        for table in tables {
            let store = self.store();
            let mut listed = store.list(Some(&Path::from(table)));
            let failed = |error| ArchiveError::from_store("listing", table, error);
            while let Some(meta) = listed.try_next().await.map_err(failed)? {
                sizes.insert(meta.location.into(), meta.size);
            }
        }
        let problem = |file: &ArchiveFile| match sizes.get(&file.path) {
            None => Some("it is missing".to_owned()),
            Some(size) if *size != file.size => {
                Some(format!("expected {} bytes, found {size}", file.size))
            }
            Some(_) => None,
        };
        Ok(files
            .iter()
            .filter_map(|file| {
                Some(UnfitFile {
                    path: file.path.clone(),
                    problem: problem(file)?,
                })
            })
            .collect())
    }
}
