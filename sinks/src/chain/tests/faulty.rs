//! An object store whose answers get lost, as a network's do.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

/// What the faulty store does with the next creations of links.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    /// Writes, then answers with an error.
    WrittenButNotAnswered,
    /// Does not write, answers with an error.
    NotWritten,
}

#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) fates: Mutex<Vec<Fate>>,
    /// No read is answered.
    pub(super) blind: AtomicBool,
    /// Conditions on writes are ignored.
    pub(super) careless: AtomicBool,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn injected() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "injected timeout".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let opts = if self.careless.load(Ordering::SeqCst) {
            PutMode::Overwrite.into()
        } else {
            opts
        };
        let fate = if location.as_ref().contains("/p00003/0") {
            self.fates.lock().unwrap().pop()
        } else {
            None
        };
        match fate {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fate::WrittenButNotAnswered) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(injected())
            }
            Some(Fate::NotWritten) => Err(injected()),
        }
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        if self.blind.load(Ordering::SeqCst) {
            Err(injected())
        } else {
            self.inner.get_opts(location, options).await
        }
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
