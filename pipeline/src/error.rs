//! What can end a partition task, by whose fault it is.

use bus::BusError;
use processors::SnapshotError;
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use sinks::aggregates::StoreError;
use sinks::{ArchiveError, ChainError};

/// Why a partition task, or the pipeline, can't go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The log.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The archive's files.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The checkpoint chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The aggregate store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The saved state.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The saved state can't be used, and nobody said that it may be made anew.
    #[error(
        "{0}; without a copy, start once with archive.rebuild_damaged_states = true (`tidewatch run --rebuild-damaged-states`), and the state is made anew from the archive"
    )]
    DamagedState(Box<PipelineError>),
    /// A rule that must always hold does not.
    #[error(
        "invariant {invariant} is broken: {detail}; this is a bug, please report it with the log"
    )]
    Invariant {
        /// Its name in the design.
        invariant: &'static str,
        /// What was seen.
        detail: String,
    },
}

impl HasFault for PipelineError {
    fn fault(&self) -> Fault {
        match self {
            PipelineError::Bus(error) => error.fault(),
            PipelineError::Archive(error) => error.fault(),
            PipelineError::Chain(error) => error.fault(),
            PipelineError::Store(error) => error.fault(),
            PipelineError::Snapshot(error) => error.fault(),
            PipelineError::DamagedState(cause) => cause.fault(),
            PipelineError::Invariant { .. } => Fault::Bug,
        }
    }
}

impl HasCode for PipelineError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            PipelineError::Bus(error) => error.code(),
            PipelineError::Archive(error) => error.code(),
            PipelineError::Chain(error) => error.code(),
            PipelineError::Store(error) => error.code(),
            PipelineError::Snapshot(error) => error.code(),
            PipelineError::DamagedState(cause) => cause.code(),
            PipelineError::Invariant { .. } => &crate::error_codes::INVARIANT,
        }
    }
}
