//! The only store a query can reach: the archive, read-only, and of it only the files that the chain gave to this query.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use schemas::ArchiveFile;
use sha2::{Digest, Sha256};
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
}

/// The archive as one query sees it.
#[derive(Debug)]
pub(crate) struct QueryStore {
    archive: Arc<dyn ObjectStore>,
    seen: Mutex<Seen>,
}

impl QueryStore {
    /// A store that grants no file yet.
    pub(crate) fn new(archive: Arc<dyn ObjectStore>) -> Self {
        QueryStore { archive, seen: Mutex::default() }
    }

    /// Lets the query read a file.
    pub(crate) fn grant(&self, location: Path, file: ArchiveFile) {
        self.seen().granted.insert(location, file);
    }

    /// A file that was asked for and is not there.
    pub(crate) fn missing(&self) -> Option<String> {
        self.seen().missing.first().map(ToString::to_string)
    }

    /// Reads every file that the query opened and compares it with the chain; says what is wrong with those that differ.
    pub(crate) async fn find_damage(&self) -> Vec<String> {
        let opened: Vec<(Path, ArchiveFile)> = {
            let seen = self.seen();
            seen.opened.iter().filter_map(|path| Some((path.clone(), seen.granted.get(path)?.clone()))).collect()
        };
        let mut damaged = Vec::new();
        for (location, file) in opened {
            match self.hash(&location).await {
                Ok((size, _)) if size != file.size => {
                    damaged.push(format!("`{}` ({size} bytes, the chain says {})", file.path, file.size));
                }
                Ok((_, sha256)) if sha256 != file.sha256 => {
                    damaged.push(format!("`{}` (its SHA-256 is {sha256}, the chain says {})", file.path, file.sha256));
                }
                // A file that can't be read now says nothing about damage; the first error is told instead.
                _ => {}
            }
        }
        damaged
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
    object_store::Error::NotSupported { source: format!("queries only read the archive; {operation} is refused").into() }
}

#[async_trait]
impl ObjectStore for QueryStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        {
            let mut seen = self.seen();
            if !seen.granted.contains_key(location) {
                let source = "the chain does not name this file".into();
                return Err(object_store::Error::PermissionDenied { path: location.to_string(), source });
            }
            seen.opened.insert(location.clone());
        }
        let result = self.archive.get_opts(location, options).await;
        if let Err(object_store::Error::NotFound { .. }) = &result {
            self.seen().missing.insert(location.clone());
        }
        result
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(refused("a write"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(refused("a write"))
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
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
            Err(DataFusionError::Plan(format!("`{url}` can't be read: queries read the tables of the archive, no files or addresses")))
        }
    }
}
