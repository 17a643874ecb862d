//! What is wrong with a history file, where, and what was expected.

use std::fmt;

use schemas::{ErrorCode, Fault, HasCode, HasFault, LabelsError, METRIC_BYTES_MAX};

use crate::door::LABEL_SET_BYTES_MAX;
use crate::error_codes;

/// Why a history can't be taken. Nothing was fed when one of these is met.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file can't be opened or read (surroundings).
    #[error("{file}: {detail}")]
    Unreadable {
        /// Its name as given.
        file: String,
        /// What the system says.
        detail: String,
    },
    /// A file as a whole is not what was expected (bad input).
    #[error("{file}: expected {expected}; found {found}")]
    Format {
        /// Its name as given.
        file: String,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A row is wrong (bad input; can be skipped).
    #[error("{file}, {place}: {problem}")]
    Row {
        /// The file's name as given.
        file: String,
        /// `line 7` of a text, `row 7` of a table; both from 1.
        place: RowPlace,
        /// What is wrong.
        problem: RowError,
    },
    /// There are more series than one run takes (bad input).
    #[error(
        "{file}, {place}: one series more than {series_max}, the limit of processing.series_max; every column besides time, metric and value is a label: is one of them a value?"
    )]
    TooManySeries {
        /// The file's name as given.
        file: String,
        /// Where the first series too many stands.
        place: RowPlace,
        /// The limit.
        series_max: usize,
    },
    /// Samples that wait for their turn can't be kept (surroundings).
    #[error("keeping samples in a temporary file in {directory}: {detail}")]
    Spill {
        /// The directory.
        directory: String,
        /// What the system says.
        detail: String,
    },
}

impl HasFault for HistoryError {
    fn fault(&self) -> Fault {
        match self {
            HistoryError::Unreadable { .. } | HistoryError::Spill { .. } => Fault::Outage,
            HistoryError::Format { .. }
            | HistoryError::Row { .. }
            | HistoryError::TooManySeries { .. } => Fault::BadInput,
        }
    }
}

impl HasCode for HistoryError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            HistoryError::Unreadable { .. } => &error_codes::HISTORY_UNREADABLE,
            HistoryError::Format { .. } => &error_codes::HISTORY_FORMAT,
            HistoryError::Row { .. } => &error_codes::HISTORY_ROW,
            HistoryError::TooManySeries { .. } => &error_codes::HISTORY_SERIES,
            HistoryError::Spill { .. } => &error_codes::HISTORY_SPILL,
        }
    }
}

/// Where a row stands, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPlace {
    /// Of a text file: the line on which it begins, the header's being 1.
    Line(u64),
    /// Of a table without lines.
    Row(u64),
}

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowPlace::Line(line) => write!(f, "line {line}"),
            RowPlace::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// It has more or fewer cells than the header.
    #[error("expected {expected} cells as in the header, found {found}")]
    Cells {
        /// As the header has.
        expected: usize,
        /// As the row has.
        found: usize,
    },
    /// A cell is not what its column holds.
    #[error("column `{column}`: {detail}")]
    Cell {
        /// The column's name.
        column: String,
        /// `expected …, found …`.
        detail: String,
    },
    /// The metric's name is too long.
    #[error("expected a metric name of at most {METRIC_BYTES_MAX} bytes, found {0}")]
    MetricTooLong(usize),
    /// The labels are not a label set.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// The label set is too large as a whole.
    #[error("expected at most {LABEL_SET_BYTES_MAX} bytes of labels, found {0}")]
    LabelSetTooLarge(usize),
}

impl RowError {
    pub(super) fn cell(column: &str, detail: impl Into<String>) -> Self {
        RowError::Cell {
            column: column.to_owned(),
            detail: detail.into(),
        }
    }
}
