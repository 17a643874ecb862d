//! Why a command failed, and the exit code that says so.

use schemas::{Fault, HasFault};

use crate::config::ConfigErrors;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The command line is wrong in a way that its parser can't see.
    #[error("{0}")]
    Usage(String),
    /// What was asked could not be done.
    #[error("{message}")]
    Failed {
        /// What was tried, what was found, what to do.
        message: String,
        /// Whose fault it is.
        fault: Fault,
    },
}

impl CommandError {
    /// A failure with its fault and the action that met it.
    pub(crate) fn of<E: HasFault + std::fmt::Display>(action: &str, error: E) -> Self {
        CommandError::Failed {
            message: format!("{action}: {error}"),
            fault: error.fault(),
        }
    }

    /// A failure of the surroundings: a file, a port, a peer.
    pub(crate) fn surroundings(message: String) -> Self {
        CommandError::Failed {
            message,
            fault: Fault::Outage,
        }
    }

    /// 2 for wrong usage or configuration, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            CommandError::Config(_) | CommandError::Usage(_) => 2,
            CommandError::Failed { .. } => 1,
        }
    }
}

impl HasFault for CommandError {
    fn fault(&self) -> Fault {
        match self {
            CommandError::Config(_) | CommandError::Usage(_) => Fault::BadConfig,
            CommandError::Failed { fault, .. } => *fault,
        }
    }
}
