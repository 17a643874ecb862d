//! What can be wrong with a data folder.

use std::path::PathBuf;

use schemas::{ErrorCode, Fault, HasCode, HasFault};

/// A benchmark that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file or folder of the data folder cannot be read.
    #[error("cannot read {}: {cause}; --data names the folder that holds the benchmark's files", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file holds something else than its benchmark's format says.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What its format asks for, with the line where there is one.
        expected: String,
        /// What stands there.
        found: String,
    },
}

impl HasFault for ScoreError {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

impl HasCode for ScoreError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::DATA
    }
}
