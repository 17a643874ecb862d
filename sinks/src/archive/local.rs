//! A local directory as an object store that keeps its promises across a power cut. Reading is `object_store`'s own.
//!
//! `object_store`'s local store publishes by link or rename but never syncs. Here a write answers only after: the bytes are synced in
//! a staged file, the staged file is linked (create) or renamed (overwrite) to its name, and every directory whose entries changed is synced.
//! Staged files end in `#` and digits, which listings hide and which no `*.parquet` glob matches.

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

/// The store's name in errors.
const STORE: &str = "local archive";

/// Numbers the staged files of this process.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// A directory whose writes are durable when they are answered.
#[derive(Debug)]
pub(crate) struct DurableLocal {
    inner: Arc<LocalFileSystem>,
    root: PathBuf,
    directories: Arc<Directories>,
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableLocal({})", self.root.display())
    }
}

impl DurableLocal {
    /// Opens a directory; creates it, durably, if it is missing.
    pub(crate) fn open(root: &FsPath) -> io::Result<Self> {
        create_directories(root)?;
        let root = root.canonicalize()?;
        let inner = LocalFileSystem::new_with_prefix(&root).map_err(io::Error::other)?;
        let directories = Arc::new(Directories {
            root: root.clone(),
            durable: Mutex::default(),
        });
        Ok(DurableLocal {
            inner: Arc::new(inner),
            root,
            directories,
        })
    }

    /// The directory.
    pub(crate) fn root(&self) -> &FsPath {
        &self.root
    }
}

/// Creates a directory and the missing ones above it, and syncs each one's parent, topmost first.
fn create_directories(path: &FsPath) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_directories(parent)?;
        create_directory(path)?;
        sync_directory(parent)?;
    }
    Ok(())
}

/// Creates a directory whose parent exists; one that is there already is no error.
fn create_directory(path: &FsPath) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created,
    }
}

/// The most directories remembered; past it the list starts anew, which costs a sync each.
const DIRECTORIES_MAX: usize = 65_536;

/// The directories below a root that are known to be durable.
///
/// That one exists is not enough: another task may have created it a moment ago and not yet synced its parent.
#[derive(Debug)]
struct Directories {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Makes sure that a directory exists and that a power cut can't take it away.
    fn ensure(&self, path: &FsPath) -> io::Result<()> {
        if path == self.root || self.known().contains(path) {
            return Ok(());
        }
        let parent = path
            .parent()
            .filter(|parent| parent.starts_with(&self.root));
        let parent = parent.ok_or_else(|| io::Error::other("a path outside the archive"))?;
        self.ensure(parent)?;
        create_directory(path)?;
        sync_directory(parent)?;
        let mut known = self.known();
        if known.len() >= DIRECTORIES_MAX {
            known.clear();
        }
        known.insert(path.to_owned());
        Ok(())
    }

    /// Forgets what is below the root: someone removed a directory.
    fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the entries of a directory durable.
fn sync_directory(path: &FsPath) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() {
        FsPath::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

/// Creates a staged file beside its destination.
fn stage(destination: &FsPath) -> io::Result<(PathBuf, File)> {
    loop {
        let number = u64::from(std::process::id()) * 1_000_000
            + STAGED.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        let mut staged = destination.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        let staged = PathBuf::from(staged);
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&staged)
        {
            Ok(file) => return Ok((staged, file)),
            // Another host that shares the directory may use the same process id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes, syncs, publishes, syncs the directory. Leaves no staged file behind if it fails.
fn write_durably(
    directories: &Directories,
    destination: &FsPath,
    payload: &PutPayload,
    create: bool,
) -> io::Result<()> {
    let parent = destination
        .parent()
        .ok_or_else(|| io::Error::other("a path without a directory"))?;
    directories.ensure(parent)?;
    let (staged, mut file) = match stage(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            directories.forget();
            directories.ensure(parent)?;
            stage(destination)?
        }
        staged => staged?,
    };
    let written = payload
        .iter()
        .try_for_each(|bytes| file.write_all(bytes))
        .and_then(|()| file.sync_all());
    let published = written.and_then(|()| {
        if create {
            std::fs::hard_link(&staged, destination)
        } else {
            std::fs::rename(&staged, destination)
        }
    });
    if create || published.is_err() {
        // The file lives on under its destination, or is of no use; either way its second name goes.
        let _ = std::fs::remove_file(&staged);
    }
    published?;
    sync_directory(parent).inspect_err(|_| {
        // A name that might not survive a power cut must not be seen as committed by a read-back.
        if create {
            let _ = std::fs::remove_file(destination);
        }
    })
}

/// The store's error for an I/O error at a path.
fn store_error(path: String, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: Box::new(error),
        },
        io::ErrorKind::NotFound => Error::NotFound {
            path,
            source: Box::new(error),
        },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::PermissionDenied {
                path,
                source: Box::new(error),
            }
        }
        _ => Error::Generic {
            store: STORE,
            source: Box::new(error),
        },
    }
}

/// Runs file-system work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Generic {
            store: STORE,
            source: Box::new(error),
        })?
}

/// Collects the files below a directory whose store path is after `offset`; only these are asked for their size.
fn list_after(
    directory: &FsPath,
    prefix: &Path,
    offset: &Path,
    found: &mut Vec<ObjectMeta>,
) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = prefix.clone().join(name);
        if entry.file_type()?.is_dir() {
            list_after(&entry.path(), &path, offset, found)?;
        } else if path > *offset && !name.contains('#') {
            match entry.metadata() {
                Ok(metadata) => found.push(ObjectMeta {
                    location: path,
                    last_modified: metadata.modified()?.into(),
                    size: metadata.len(),
                    e_tag: None,
                    version: None,
                }),
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".into(),
                    implementer: self.to_string(),
                });
            }
        };
        let destination = self.inner.path_to_filesystem(location)?;
        let directories = Arc::clone(&self.directories);
        blocking(move || {
            write_durably(&directories, &destination, &payload, create)
                .map_err(|error| store_error(destination.display().to_string(), error))
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented {
            operation: "upload in parts (archive files are written whole)".into(),
            implementer: self.to_string(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    // A deletion that a power cut undoes leaves a file that no chain names: the next sweep finds it. So nothing is synced here.
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned().unwrap_or_default(), offset.clone());
        let directory = self
            .inner
            .path_to_filesystem(&prefix)
            .unwrap_or_else(|_| self.root.clone());
        let listed = blocking(move || {
            let mut found = Vec::new();
            list_after(&directory, &prefix, &offset, &mut found)
                .map_err(|error| store_error(directory.display().to_string(), error))?;
            Ok(found)
        });
        stream::once(listed)
            .flat_map(|listed| match listed {
                Ok(found) => stream::iter(found.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => stream::iter(vec![Err(error)]),
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.get(from).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.put_opts(to, bytes.into(), mode.into())
            .await
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn create_is_exclusive_and_leaves_nothing_staged() {
        let root = tempfile::tempdir().unwrap();
        let store = DurableLocal::open(&root.path().join("a/b")).unwrap();
        let path = Path::from("x/y/z.json");
        store
            .put_opts(&path, "one".into(), PutMode::Create.into())
            .await
            .unwrap();
        let second = store
            .put_opts(&path, "two".into(), PutMode::Create.into())
            .await;
        assert!(
            matches!(second, Err(Error::AlreadyExists { .. })),
            "{second:?}"
        );
        assert_eq!(
            store.get(&path).await.unwrap().bytes().await.unwrap(),
            "one"
        );
        store
            .put_opts(&path, "three".into(), PutMode::Overwrite.into())
            .await
            .unwrap();
        assert_eq!(
            store.get(&path).await.unwrap().bytes().await.unwrap(),
            "three"
        );
        let names: Vec<_> = std::fs::read_dir(root.path().join("a/b/x/y"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["z.json"]);
    }

    #[tokio::test]
    async fn a_directory_that_was_removed_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let store = DurableLocal::open(root.path()).unwrap();
        let put = async |name: &str| {
            store
                .put_opts(&Path::from(name), "x".into(), PutMode::Create.into())
                .await
        };
        put("a/b/1").await.unwrap();
        std::fs::remove_dir_all(root.path().join("a")).unwrap();
        put("a/b/1").await.unwrap();
        put("a/b/2").await.unwrap();
    }

    #[tokio::test]
    async fn listing_after_an_offset_is_by_path() {
        let root = tempfile::tempdir().unwrap();
        let store = DurableLocal::open(root.path()).unwrap();
        for name in ["d/1", "d/2", "d/e/3", "d/base-1", "f/9"] {
            store
                .put_opts(&Path::from(name), name.into(), PutMode::Create.into())
                .await
                .unwrap();
        }
        let mut found: Vec<String> = store
            .list_with_offset(Some(&Path::from("d")), &Path::from("d/1"))
            .map(|meta| meta.unwrap().location.to_string())
            .collect()
            .await;
        found.sort();
        assert_eq!(found, ["d/2", "d/base-1", "d/e/3"]);
        assert_eq!(
            store
                .list_with_offset(Some(&Path::from("nowhere")), &Path::from("nowhere/1"))
                .count()
                .await,
            0
        );
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_an_error_and_leaves_nothing() {
        // /dev/full answers every write with ENOSPC; it can't be a directory, so the directory itself is made unusable instead.
        let root = tempfile::tempdir().unwrap();
        let store = DurableLocal::open(root.path()).unwrap();
        std::fs::write(
            root.path().join("blocked"),
            b"a file where a directory is needed",
        )
        .unwrap();
        let error = store
            .put_opts(&Path::from("blocked/x"), "y".into(), PutMode::Create.into())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Generic { .. } | Error::AlreadyExists { .. }),
            "{error:?}"
        );
    }
}
