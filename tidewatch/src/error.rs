//! Why a command failed, and the exit code that says so.

use schemas::{ErrorCode, Fault, HasCode, HasFault};

use crate::config::ConfigErrors;
use crate::error_codes;

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
    /// What was asked could not be done, for a reason that has a page of its own.
    #[error("{message}")]
    Known {
        /// What was tried, what was found, what to do.
        message: String,
        /// Whose fault it is.
        fault: Fault,
        /// The page.
        code: &'static ErrorCode,
    },
}

impl CommandError {
    /// A failure with its fault, its code and the action that met it.
    pub(crate) fn of<E: HasCode + std::fmt::Display>(action: &str, error: E) -> Self {
        CommandError::Known {
            message: format!("{action}: {error}"),
            fault: error.fault(),
            code: error.code(),
        }
    }

    /// A failure of the surroundings: a file, a port, a peer.
    pub(crate) fn surroundings(message: String) -> Self {
        CommandError::Failed {
            message,
            fault: Fault::Outage,
        }
    }

    /// A failure of the surroundings that has a page.
    pub(crate) fn known(code: &'static ErrorCode, message: String) -> Self {
        CommandError::Known {
            message,
            fault: Fault::Outage,
            code,
        }
    }

    /// The same with more at the end of its message.
    pub(crate) fn followed_by(mut self, more: &str) -> Self {
        match &mut self {
            CommandError::Config(_) => {}
            CommandError::Usage(message)
            | CommandError::Failed { message, .. }
            | CommandError::Known { message, .. } => message.push_str(more),
        }
        self
    }

    /// 2 for wrong usage or configuration, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            CommandError::Config(_) | CommandError::Usage(_) => 2,
            CommandError::Failed { .. } | CommandError::Known { .. } => 1,
        }
    }
}

impl HasFault for CommandError {
    fn fault(&self) -> Fault {
        match self {
            CommandError::Config(_) | CommandError::Usage(_) => Fault::BadConfig,
            CommandError::Failed { fault, .. } | CommandError::Known { fault, .. } => *fault,
        }
    }
}

impl HasCode for CommandError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            CommandError::Config(errors) => errors.code(),
            CommandError::Usage(_) => &error_codes::USAGE,
            CommandError::Failed { fault, .. } => fault.code(),
            CommandError::Known { code, .. } => code,
        }
    }
}
