//! Why a query has no answer, by what the asker should do.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use schemas::{ErrorCode, Fault, HasCode, HasFault};

use crate::{ViewError, error_codes};

/// Why a query has no answer, or its answer ends early.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// The statement is not one that reads tables.
    #[error(
        "{what} is not allowed: only queries that read tables run here (SELECT, WITH, VALUES, EXPLAIN, SHOW TABLES, SHOW COLUMNS, DESCRIBE). {help}"
    )]
    Forbidden {
        /// What was found.
        what: String,
        /// What to do instead.
        help: String,
    },
    /// The text is not SQL, or names what is not there.
    #[error("{0}")]
    Sql(String),
    /// A limit was passed.
    #[error("{what}: the limit is {value} (setting `{setting}`). {help}")]
    Limit {
        /// What the query did.
        what: String,
        /// The limit's value, with its unit.
        value: String,
        /// The setting that moves it, or the name of a fixed constant.
        setting: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// Too many queries run and wait.
    #[error("{what}: the limit is {value} (setting `{setting}`). Try again later")]
    Busy {
        /// Which queue is full.
        what: &'static str,
        /// The limit's value, with its unit.
        value: String,
        /// The setting that moves it.
        setting: &'static str,
    },
    /// The query ran into a value it can't compute with: a division by zero, a text that is no number.
    #[error("the query failed on its data: {0}")]
    Data(String),
    /// Files of the archive are not what the chain says they are.
    #[error(
        "damaged archive file: {}. Move it out of the archive (never delete it) and put an intact copy in its place; until then, leave it \
         out with a narrower `time` or `metric` in the query. The reader said: {cause}", .files.join(", ")
    )]
    Damaged {
        /// Path, and what is wrong with it.
        files: Vec<String>,
        /// The error that led to them.
        cause: String,
    },
    /// A committed file is not there, also after the view was refreshed.
    #[error(
        "archive file `{file}` is in the chain but not in the archive. If a compaction just replaced it, run the query again; if it stays away, \
         put it back from a copy, or leave it out with a narrower `time` or `metric` in the query"
    )]
    Missing {
        /// Path below the archive's root.
        file: String,
    },
    /// The tables can't be read now.
    #[error("{0}")]
    View(#[from] ViewError),
    /// The archive's store does not answer.
    #[error(
        "the archive can't be read: {0}. Check that its store is reachable, then run the query again"
    )]
    Store(String),
    /// The engine was stopped while the query ran.
    #[error("the query engine was stopped while the query ran. Run the query again")]
    Stopped,
    /// Our own mistake.
    #[error(
        "the query engine failed, which is a fault of Tidewatch, not of the query: {0}. Please report it with the query"
    )]
    Bug(String),
}

impl HasFault for QueryError {
    fn fault(&self) -> Fault {
        match self {
            QueryError::Forbidden { .. }
            | QueryError::Sql(_)
            | QueryError::Limit { .. }
            | QueryError::Data(_) => Fault::BadInput,
            QueryError::Busy { .. } | QueryError::Store(_) | QueryError::Stopped => Fault::Outage,
            QueryError::Damaged { .. } | QueryError::Missing { .. } => Fault::Corruption,
            QueryError::View(error) => error.fault,
            QueryError::Bug(_) => Fault::Bug,
        }
    }
}

impl HasCode for QueryError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            QueryError::Forbidden { .. } => &error_codes::FORBIDDEN,
            QueryError::Sql(_) => &error_codes::SQL,
            QueryError::Limit { .. } => &error_codes::LIMIT,
            QueryError::Busy { .. } => &error_codes::BUSY,
            QueryError::Data(_) => &error_codes::DATA,
            QueryError::Damaged { .. } => &error_codes::DAMAGED_FILE,
            QueryError::Missing { .. } => &error_codes::MISSING_FILE,
            QueryError::View(error) => error.code(),
            QueryError::Store(_) => &error_codes::STORE,
            QueryError::Stopped => &error_codes::STOPPED,
            QueryError::Bug(_) => &error_codes::QUERY_BUG,
        }
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// What a failure of DataFusion means for us, before it is told to the asker.
pub(crate) enum Failure {
    /// One of our own errors came back through DataFusion.
    Ours(QueryError),
    /// The text is wrong.
    Sql(String),
    /// Memory or spill space ran out.
    Resources(String),
    /// A value could not be computed with.
    Data(String),
    /// A file could not be read or decoded: damage, or the store.
    Read(String),
    /// Something that should not happen, unless a file is damaged.
    Unexpected(String),
}

impl Failure {
    /// Sorts an error by its root cause.
    pub(crate) fn of(error: &DataFusionError) -> Failure {
        let text = message(error);
        match error.find_root() {
            DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Configuration(_)
            | DataFusionError::Diagnostic(..)
            | DataFusionError::Collection(_) => Failure::Sql(text),
            DataFusionError::ResourcesExhausted(_) => Failure::Resources(text),
            DataFusionError::Execution(_) => Failure::Data(text),
            DataFusionError::ArrowError(error, _) => match error.as_ref() {
                ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::InvalidArgumentError(_)
                | ArrowError::OffsetOverflowError(_)
                | ArrowError::NotYetImplemented(_) => Failure::Data(text),
                _ => Failure::Read(text),
            },
            DataFusionError::ParquetError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_) => Failure::Read(text),
            DataFusionError::External(error) => match (
                error.downcast_ref::<QueryError>(),
                error.downcast_ref::<ViewError>(),
            ) {
                (Some(ours), _) => Failure::Ours(ours.clone()),
                (_, Some(ours)) => Failure::Ours(ours.clone().into()),
                _ => Failure::Read(text),
            },
            _ => Failure::Unexpected(text),
        }
    }
}

/// The message without DataFusion's own prefixes and appeals to report to its project.
fn message(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let text = text
        .split("\n\nThis issue was likely caused by a bug in DataFusion")
        .next()
        .unwrap_or_default();
    let mut text = text.trim();
    for prefix in [
        "Error during planning: ",
        "Execution error: ",
        "SQL error: ",
        "Arrow error: ",
        "External error: ",
        "Internal error: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text.trim_end_matches('.').to_owned()
}
