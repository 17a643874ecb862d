//! The Parquet archive in an object store: files, state snapshots, and what a crash leaves of them. The chain alone says which files count.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::Date;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientConfigKey, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode};
use parquet::file::metadata::ParquetMetaDataReader;
use schemas::{ArchiveFile, NextOffset, SnapshotRef, Table};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use encode::EncodedFile;
use local::DurableLocal;

mod decode;
mod encode;
mod error;
mod hybrid;
mod identified;
mod inspect;
mod local;
mod names;
mod read;
pub(crate) mod rewrite;
mod runs;
mod sweep;
#[cfg(test)]
mod tests;
mod write;

pub use error::ArchiveError;
pub use inspect::UnfitFile;
pub use names::FileName;
pub use read::{ArchivedRollup, ArchivedSample, Batches, Wanted};
pub use write::EncodedFiles;

pub(crate) use encode::LEVEL_COMPACTION;
pub(crate) use error::causes;
pub(crate) use names::{chain_directory, checked_topic, date_in};

/// The largest snapshot read back. 4 GiB: the state of 2 million series with weekly seasons; more is a damaged reference.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// How much of the end of a file is read back after it was written. 64 KiB: one request that covers the footer of most files.
const VERIFIED_TAIL_BYTES: usize = 64 * 1024;

/// Tries to name a file before giving up: each earlier name is taken by other bytes of a crashed attempt.
const NAME_ATTEMPTS: u32 = 64;

/// The archive. Cheap to clone; clones share the store.
#[derive(Debug, Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: String,
    store: Arc<dyn ObjectStore>,
    local: Option<PathBuf>,
    probed: OnceCell<()>,
}

impl Archive {
    /// Opens `file:///abs/dir` (created if missing) or `s3://bucket/prefix`.
    ///
    /// S3 takes its settings from the standard `AWS_*` environment, then from `options` (`endpoint`, `region`, `access_key_id`,
    /// `secret_access_key`, `allow_http`, … as `object_store` names them).
    ///
    /// # Errors
    /// `BadConfig` if the URL or an option is not understood, or the directory can't be made.
    pub fn open(url: &str, options: &BTreeMap<String, String>) -> Result<Archive, ArchiveError> {
        let config =
            |detail: String| ArchiveError::BadConfig(format!("archive.url `{url}`: {detail}"));
        if let Some(path) = url.strip_prefix("file://") {
            if !path.starts_with('/') {
                return Err(config("expected an absolute path after file://".into()));
            }
            let store = DurableLocal::open(FsPath::new(path))
                .map_err(|error| config(format!("can't be created or opened: {error}")))?;
            let local = Some(store.root().to_owned());
            return Ok(Self::build(Arc::new(store), url, local));
        }
        let Some((bucket, prefix)) = url
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        else {
            return Err(config(
                "expected file:///absolute/directory or s3://bucket/prefix".into(),
            ));
        };
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        for (key, value) in options {
            let known: AmazonS3ConfigKey = key
                .parse()
                .or_else(|_| format!("aws_{key}").parse())
                .map_err(|_| {
                    config(format!(
                        "option `{key}` is not known; examples: endpoint, region, allow_http"
                    ))
                })?;
            builder = builder.with_config(known, value);
        }
        let setting = |key| builder.get_config_value(&key).unwrap_or_default();
        if setting(AmazonS3ConfigKey::Endpoint).starts_with("http://")
            && setting(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) != "true"
        {
            return Err(config(
                "its endpoint is plain HTTP; set the option allow_http = \"true\" if that is meant"
                    .into(),
            ));
        }
        let s3 = builder.build().map_err(|error| config(causes(&error)))?;
        Ok(Self::build(
            Arc::new(PrefixStore::new(s3, prefix)),
            url,
            None,
        ))
    }

    /// An archive over a given store, whose root is the archive's. For stores that `open` does not know, and for tests that inject faults.
    pub fn over(store: Arc<dyn ObjectStore>, url: &str) -> Archive {
        Self::build(store, url, None)
    }

    fn build(store: Arc<dyn ObjectStore>, url: &str, local: Option<PathBuf>) -> Archive {
        Archive {
            inner: Arc::new(Inner {
                url: url.trim_end_matches('/').to_owned(),
                store,
                local,
                probed: OnceCell::new(),
            }),
        }
    }

    /// The store; paths are relative to the archive's root.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.store)
    }

    /// The URL it was opened with, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// The directory, if it is one.
    pub fn local_root(&self) -> Option<&FsPath> {
        self.inner.local.as_deref()
    }

    /// Saves the state of a partition: durable before the return, used by nobody until a chain link names it.
    ///
    /// # Errors
    /// `Outage` and `Refused` (retry).
    pub async fn put_snapshot(
        &self,
        topic: &str,
        partition: u32,
        epoch: u64,
        next_offset: NextOffset,
        bytes: Vec<u8>,
    ) -> Result<SnapshotRef, ArchiveError> {
        let bytes = Bytes::from(bytes);
        let (sha256, size) = (sha256_of(bytes.clone()).await?, bytes.len() as u64);
        for attempt in 0..NAME_ATTEMPTS {
            let path = names::snapshot_path(topic, partition, epoch, next_offset, attempt)?;
            if self.create(&path, bytes.clone()).await? {
                return Ok(SnapshotRef {
                    path,
                    size,
                    sha256,
                    next_offset,
                });
            }
        }
        Err(ArchiveError::Bug(format!(
            "{NAME_ATTEMPTS} snapshots of partition {partition} at offset {}",
            next_offset.0
        )))
    }

    /// Reads a saved state.
    ///
    /// # Errors
    /// `Corruption` if it is missing, too large, or not the bytes that were saved; `Outage` (retry).
    pub async fn get_snapshot(&self, at: &SnapshotRef) -> Result<Vec<u8>, ArchiveError> {
        if at.size > SNAPSHOT_BYTES_MAX {
            return Err(ArchiveError::Corruption {
                path: at.path.clone(),
                detail: format!("{} bytes; at most {SNAPSHOT_BYTES_MAX} are read", at.size),
            });
        }
        self.get_checked(&at.path, at.size, &at.sha256)
            .await
            .map(Vec::from)
    }

    /// Stores an encoded file and verifies it: the size, the end as it stands in the store, the footer, the rows.
    pub(crate) async fn store_file(
        &self,
        name: &FileName,
        table: Table,
        date: Date,
        file: EncodedFile,
    ) -> Result<ArchiveFile, ArchiveError> {
        let EncodedFile { bytes, statistics } = file;
        let bytes = Bytes::from(bytes);
        let sha256 = sha256_of(bytes.clone()).await?;
        let footer = ParquetMetaDataReader::new()
            .parse_and_finish(&bytes)
            .map_err(|error| {
                ArchiveError::Bug(format!("reading back what was encoded: {error}"))
            })?;
        if u64::try_from(footer.file_metadata().num_rows()).ok() != Some(statistics.rows) {
            return Err(ArchiveError::Bug(format!(
                "{} rows were encoded, the footer says {}",
                statistics.rows,
                footer.file_metadata().num_rows()
            )));
        }
        for attempt in 0..NAME_ATTEMPTS {
            let path = name.path(table, date, attempt)?;
            if !self.create(&path, bytes.clone()).await? {
                continue;
            }
            self.verify_tail(&path, &bytes).await?;
            return Ok(ArchiveFile {
                path,
                table,
                size: bytes.len() as u64,
                sha256,
                rows: statistics.rows,
                time_min: statistics.time_min,
                time_max: statistics.time_max,
                metric_min: statistics.metric_min,
                metric_max: statistics.metric_max,
            });
        }
        Err(ArchiveError::Bug(format!(
            "{NAME_ATTEMPTS} files of the same name `{}`",
            name.path(table, date, 0)?
        )))
    }

    async fn verify_tail(&self, path: &str, bytes: &Bytes) -> Result<(), ArchiveError> {
        let tail = bytes.slice(bytes.len().saturating_sub(VERIFIED_TAIL_BYTES)..);
        let options = GetOptions {
            range: Some(GetRange::Suffix(tail.len() as u64)),
            ..GetOptions::default()
        };
        let failed = |error| ArchiveError::from_store("verifying", path, error);
        let found = self
            .inner
            .store
            .get_opts(&Path::from(path), options)
            .await
            .map_err(failed)?;
        let size = found.meta.size;
        if size != bytes.len() as u64 || found.bytes().await.map_err(failed)? != tail {
            let detail = format!(
                "{} bytes were written, {size} are stored, or their end differs",
                bytes.len()
            );
            return Err(ArchiveError::Corruption {
                path: path.to_owned(),
                detail,
            });
        }
        Ok(())
    }

    /// Creates an object that must not exist yet. `false`: the name is taken by other bytes. A write whose answer was lost counts if it is there.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, ArchiveError> {
        let location = Path::from(path);
        match self
            .inner
            .store
            .put_opts(&location, bytes.clone().into(), PutMode::Create.into())
            .await
        {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => {
                let found = self
                    .inner
                    .store
                    .head(&location)
                    .await
                    .map_err(|error| ArchiveError::from_store("reading back", path, error))?;
                if found.size != bytes.len() as u64 {
                    return Ok(false);
                }
                let found = self.get_bytes(path).await?;
                Ok(found == bytes)
            }
            Err(error) => Err(ArchiveError::from_store("writing", path, error)),
        }
    }

    async fn get_bytes(&self, path: &str) -> Result<Bytes, ArchiveError> {
        let found = match self.inner.store.get(&Path::from(path)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        found.map_err(|error| match error {
            object_store::Error::NotFound { .. } => ArchiveError::missing(path),
            error => ArchiveError::from_store("reading", path, error),
        })
    }

    /// Reads an object and checks its size (before it is read) and its hash.
    pub(crate) async fn get_checked(
        &self,
        path: &str,
        size: u64,
        sha256: &str,
    ) -> Result<Bytes, ArchiveError> {
        let damaged = |detail| ArchiveError::Corruption {
            path: path.to_owned(),
            detail,
        };
        let found = self
            .inner
            .store
            .get(&Path::from(path))
            .await
            .map_err(|error| match error {
                object_store::Error::NotFound { .. } => ArchiveError::missing(path),
                error => ArchiveError::from_store("reading", path, error),
            })?;
        if found.meta.size != size {
            return Err(damaged(format!(
                "expected {size} bytes, found {}",
                found.meta.size
            )));
        }
        let bytes = found
            .bytes()
            .await
            .map_err(|error| ArchiveError::from_store("reading", path, error))?;
        let hash = sha256_of(bytes.clone()).await?;
        if hash == sha256 {
            Ok(bytes)
        } else {
            Err(damaged(format!("expected SHA-256 {sha256}, found {hash}")))
        }
    }

    /// Makes sure, once, that the store honours create-if-absent: without it no chain is safe on it.
    pub(crate) async fn probe(&self, nonce: &str) -> Result<(), ArchiveError> {
        let probe = async || {
            let text = probe_path(nonce);
            let path = Path::from(text.as_str());
            let put = |bytes: &'static str| {
                self.inner
                    .store
                    .put_opts(&path, bytes.into(), PutMode::Create.into())
            };
            put("first")
                .await
                .map_err(|error| ArchiveError::from_store("writing", &text, error))?;
            let second = put("second").await;
            let _ = self.inner.store.delete(&path).await;
            match second {
                Err(
                    object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. },
                ) => Ok(()),
                Ok(_) => Err(ArchiveError::BadConfig(format!(
                    "archive.url `{}`: the store overwrote an object that was to be created only if absent; two owners could overwrite each other, use a store that honours `If-None-Match: *`",
                    self.inner.url
                ))),
                Err(error) => Err(ArchiveError::from_store("writing", &text, error)),
            }
        };
        self.inner.probed.get_or_try_init(probe).await.map(|_| ())
    }
}

/// Where a probe is written: no link's name and no topic's directory.
fn probe_path(nonce: &str) -> String {
    format!("chain/probe-{nonce}")
}

/// SHA-256 of bytes, 64 hexadecimal digits. Large ones are hashed on a blocking thread.
async fn sha256_of(bytes: Bytes) -> Result<String, ArchiveError> {
    const SMALL: usize = 256 * 1024;
    if bytes.len() <= SMALL {
        return Ok(hex::encode(Sha256::digest(&bytes)));
    }
    blocking(move || Ok(hex::encode(Sha256::digest(&bytes)))).await
}

/// Runs work that computes for long on a blocking thread. A panic of a decoder becomes an error there.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ArchiveError::Bug(format!("a blocking task died: {error}")))?
}
