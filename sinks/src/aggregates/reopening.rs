//! What the clones of a store share: the open database, and a new one after a write has failed.
//!
//! The database refuses everything after a failed write in the background (a full disk is enough). Nothing in it is the only copy, so it is closed and
//! opened again by the next use, instead of by a person who restarts the process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::store::Inner;
use super::{Retention, StoreError};

/// A database that is opened anew when it can't go on.
pub(super) struct Reopening {
    directory: PathBuf,
    retention: Retention,
    /// `None` between a failed write and the next use.
    inner: Mutex<Option<Arc<Inner>>>,
}

impl Reopening {
    pub(super) fn new(directory: &Path, retention: Retention, inner: Inner) -> Self {
        Reopening {
            directory: directory.to_owned(),
            retention,
            inner: Mutex::new(Some(Arc::new(inner))),
        }
    }

    /// Works on the open database. Blocks.
    ///
    /// # Errors
    /// What the work says; `Outage` while the database can't be opened anew.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let inner = self.open()?;
        let done = work(&inner);
        // The write that fails says why, and only those after it that the database is closed: neither is worth another attempt on it.
        if matches!(done, Err(StoreError::Closed | StoreError::Outage(_))) {
            self.close(&inner);
        }
        done
    }

    /// The open database; opened anew if a failed write closed it.
    pub(super) fn open(&self) -> Result<Arc<Inner>, StoreError> {
        let mut place = self.place();
        if let Some(inner) = &*place {
            return Ok(Arc::clone(inner));
        }
        // Whoever still works on the closed one holds its lock; that and a disk that is still full pass.
        let opened = Inner::open(&self.directory, self.retention).map_err(|error| {
            StoreError::Outage(format!(
                "it can't be opened anew after a failed write: {error}"
            ))
        })?;
        tracing::info!(directory = %self.directory.display(), "the aggregate store was opened anew after a failed write");
        Ok(Arc::clone(place.insert(Arc::new(opened))))
    }

    /// Forgets a database that can't go on, unless another caller has done so.
    fn close(&self, failed: &Arc<Inner>) {
        let mut place = self.place();
        if place
            .as_ref()
            .is_some_and(|inner| Arc::ptr_eq(inner, failed))
        {
            *place = None;
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Arc<Inner>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
