//! The only store a query can reach: the archive, read-only, and of it only the files that the chain gave to this query.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use schemas::ArchiveFile;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use url::Url;

/// The address under which plans name the archive. It exists nowhere else.
const ARCHIVE_URL: &str = "tidewatch-archive://archive/";

/// The address under which plans name the archive.
///
/// # Errors
/// Never in practice: the address is a constant.
pub(crate) fn archive_url() -> DataFusionResult<ObjectStoreUrl> {
    ObjectStoreUrl::parse(ARCHIVE_URL)
}

#[derive(Debug, Default)]
struct Seen {
    /// What the chain gave to this query: location, and what the chain says of it.
    granted: BTreeMap<Path, ArchiveFile>,
    opened: BTreeSet<Path>,
    missing: BTreeSet<Path>,
    damaged: BTreeSet<String>,
}

/// 100,000 files are remembered as verified; then all are forgotten and verified anew when next read.
const VERIFIED_MAX: usize = 100_000;

/// The files whose bytes were found to be what the chain says, by SHA-256. Parquet as we and others write it has no checksums: without this,
/// a flipped bit in a page can pass as another value.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<HashMap<String, Arc<OnceCell<()>>>>);

impl Verified {
    /// The cell of a file, filled once it is verified. Shared, so that several readers of a file verify it once.
    fn cell(&self, sha256: &str) -> Arc<OnceCell<()>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= VERIFIED_MAX {
            cells.clear();
        }
        Arc::clone(cells.entry(sha256.to_owned()).or_default())
    }
}

/// The archive as one query sees it.
#[derive(Debug)]
pub(crate) struct QueryStore {
    archive: Arc<dyn ObjectStore>,
    verified: Option<Arc<Verified>>,
    seen: Mutex<Seen>,
}

impl QueryStore {
    /// A store that grants no file yet. With `verified`, each file is compared with the chain before its first byte is used.
    pub(crate) fn new(archive: Arc<dyn ObjectStore>, verified: Option<Arc<Verified>>) -> Self {
        QueryStore {
            archive,
            verified,
            seen: Mutex::default(),
        }
    }

    /// Lets the query read a file.
    pub(crate) fn grant(&self, location: Path, file: ArchiveFile) {
        self.seen().granted.insert(location, file);
    }

    /// A file that was asked for and is not there.
    pub(crate) fn missing(&self) -> Option<String> {
        self.seen().missing.first().map(ToString::to_string)
    }

    /// What is wrong with the files that were found damaged when they were opened.
    pub(crate) fn damaged(&self) -> Vec<String> {
        self.seen().damaged.iter().cloned().collect()
    }

    /// Reads every file that the query opened and compares it with the chain; says what is wrong with those that differ.
    pub(crate) async fn find_damage(&self) -> Vec<String> {
        let known = self.damaged();
        if !known.is_empty() {
            return known;
        }
        let opened: Vec<(Path, ArchiveFile)> = {
            let seen = self.seen();
            seen.opened
                .iter()
                .filter_map(|path| Some((path.clone(), seen.granted.get(path)?.clone())))
                .collect()
        };
        let mut damaged = Vec::new();
        for (location, file) in opened {
            // A file that can't be read now says nothing about damage; the first error is told instead.
            damaged.extend(self.compare(&location, &file).await.ok().flatten());
        }
        damaged
    }

    /// What is wrong with a file.
    async fn compare(&self, location: &Path, file: &ArchiveFile) -> Result<Option<String>> {
        let (size, sha256) = self.hash(location).await?;
        Ok(if size != file.size {
            Some(format!(
                "`{}` ({size} bytes, the chain says {})",
                file.path, file.size
            ))
        } else if sha256 != file.sha256 {
            Some(format!(
                "`{}` (its SHA-256 is {sha256}, the chain says {})",
                file.path, file.sha256
            ))
        } else {
            None
        })
    }

    async fn verify(&self, location: &Path, file: &ArchiveFile) -> Result<()> {
        let Some(verified) = &self.verified else {
            return Ok(());
        };
        let check = || async {
            match self.compare(location, file).await? {
                None => Ok(()),
                Some(damage) => {
                    self.seen().damaged.insert(damage.clone());
                    Err(object_store::Error::Generic {
                        store: "archive",
                        source: damage.into(),
                    })
                }
            }
        };
        verified
            .cell(&file.sha256)
            .get_or_try_init(check)
            .await
            .map(|_| ())
    }

    async fn hash(&self, location: &Path) -> Result<(u64, String)> {
        let mut bytes = self.archive.get(location).await?.into_stream();
        let (mut size, mut hash) = (0, Sha256::new());
        while let Some(chunk) = bytes.try_next().await? {
            size += chunk.len() as u64;
            hash.update(&chunk);
        }
        Ok((size, hex::encode(hash.finalize())))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        // Plain sets: a panic elsewhere leaves them whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for QueryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read-only archive")
    }
}

fn refused(operation: &'static str) -> object_store::Error {
    object_store::Error::NotSupported {
        source: format!("queries only read the archive; {operation} is refused").into(),
    }
}

#[async_trait]
impl ObjectStore for QueryStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let file = {
            let mut seen = self.seen();
            let Some(file) = seen.granted.get(location).cloned() else {
                let source = "the chain does not name this file".into();
                return Err(object_store::Error::PermissionDenied {
                    path: location.to_string(),
                    source,
                });
            };
            seen.opened.insert(location.clone());
            file
        };
        let result = match self.verify(location, &file).await {
            Ok(()) => self.archive.get_opts(location, options).await,
            Err(error) => Err(error),
        };
        if let Err(object_store::Error::NotFound { .. }) = &result {
            self.seen().missing.insert(location.clone());
        }
        result
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(refused("a write"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(refused("a write"))
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { Err(refused("a removal")) }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { Err(refused("a listing")) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(refused("a listing"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(refused("a copy"))
    }
}

/// Knows one store under one address and takes no other.
#[derive(Debug)]
pub(crate) struct OneStore(pub(crate) Arc<QueryStore>);

impl ObjectStoreRegistry for OneStore {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        if url.as_str() == ARCHIVE_URL {
            Ok(Arc::clone(&self.0) as Arc<dyn ObjectStore>)
        } else {
            Err(DataFusionError::Plan(format!(
                "`{url}` can't be read: queries read the tables of the archive, no files or addresses"
            )))
        }
    }
}
