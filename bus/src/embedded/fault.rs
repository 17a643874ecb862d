//! Turns fjall's and the system's errors into ours, by what the caller should do.

use std::path::Path;

use crate::{BusError, lacks_a_part};

/// The log's writer has ended.
pub(super) fn closed(dir: &Path) -> BusError {
    BusError::Unavailable {
        action: format!("using the log in {}", dir.display()),
        detail: "it is closed or its writer has stopped; restart the process".into(),
    }
}

/// An I/O error on a path.
pub(super) fn io(action: &str, path: &Path, error: &std::io::Error) -> BusError {
    BusError::Unavailable {
        action: format!("{action} {}", path.display()),
        detail: error.to_string(),
    }
}

/// An error of the store while it is opened or written.
pub(super) fn store(action: &str, dir: &Path, error: fjall::Error) -> BusError {
    if matches!(error, fjall::Error::Poisoned) {
        return BusError::Unavailable {
            action: format!("{action} {}", dir.display()),
            detail: "a write in the background failed before, as on a full or failing disk".into(),
        };
    }
    match damage(&error) {
        Some(detail) => BusError::DamagedLog {
            path: dir.display().to_string(),
            detail,
        },
        None => BusError::Unavailable {
            action: format!("{action} {}", dir.display()),
            detail: error.to_string(),
        },
    }
}

/// What is damaged, if an error says so.
pub(super) fn damage(error: &fjall::Error) -> Option<String> {
    use fjall::{Error, LsmError};
    if lacks_a_part(error) {
        return Some(format!("a file of it is gone: {error}"));
    }
    match error {
        Error::Storage(LsmError::Io(_)) => None,
        Error::Storage(_)
        | Error::JournalRecovery(_)
        | Error::InvalidVersion(_)
        | Error::Unrecoverable => Some(error.to_string()),
        _ => None,
    }
}
