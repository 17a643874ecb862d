//! What goes wrong with the archive, by what the caller should do.

use schemas::{ErrorCode, Fault, HasCode, HasFault};

use crate::error_codes;

/// Why the archive did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store is away, full or slow (outage: retry with backoff; nothing was committed).
    #[error("{action} `{path}`: {detail}")]
    Outage {
        /// What was being done.
        action: &'static str,
        /// Path below the archive's root.
        path: String,
        /// What the store answered.
        detail: String,
    },
    /// Stored bytes are not what was written (corruption: they were left in place; restore them from a copy, or rebuild them from the log).
    #[error("`{path}` is damaged: {detail}; it was left in place, restore it from a copy")]
    Corruption {
        /// Path below the archive's root.
        path: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// The settings or the rights are wrong (bad configuration).
    #[error("{0}")]
    BadConfig(String),
    /// A mistake of ours: rows that don't fit their columns, a task that died.
    #[error("archive: {0}")]
    Bug(String),
}

impl HasFault for ArchiveError {
    fn fault(&self) -> Fault {
        match self {
            ArchiveError::Outage { .. } => Fault::Outage,
            ArchiveError::Corruption { .. } => Fault::Corruption,
            ArchiveError::BadConfig(_) => Fault::BadConfig,
            ArchiveError::Bug(_) => Fault::Bug,
        }
    }
}

impl HasCode for ArchiveError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            ArchiveError::Outage { .. } => &error_codes::ARCHIVE_UNAVAILABLE,
            ArchiveError::Corruption { .. } => &error_codes::ARCHIVE_DAMAGED,
            ArchiveError::BadConfig(_) => &error_codes::ARCHIVE_SETTINGS,
            ArchiveError::Bug(_) => &error_codes::ARCHIVE_BUG,
        }
    }
}

impl ArchiveError {
    /// The error of a store's answer. A refusal of rights is a setting, all else may pass.
    pub(crate) fn from_store(action: &'static str, path: &str, error: object_store::Error) -> Self {
        match error {
            object_store::Error::PermissionDenied { source, .. }
            | object_store::Error::Unauthenticated { source, .. } => {
                ArchiveError::BadConfig(format!(
                    "{action} `{path}`: permission denied ({}); check the rights on `archive.url` and its credentials",
                    causes(source.as_ref())
                ))
            }
            error => ArchiveError::Outage {
                action,
                path: path.to_owned(),
                detail: causes(&error),
            },
        }
    }

    /// The error of a file that the chain names and that is not there.
    pub(crate) fn missing(path: &str) -> Self {
        ArchiveError::Corruption {
            path: path.to_owned(),
            detail: "it is missing, though the chain names it".to_owned(),
        }
    }
}

/// An error with its causes, outermost first.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
