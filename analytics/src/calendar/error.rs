//! What is wrong with the text of a calendar, and on which line.

use schemas::{ErrorCode, Fault, HasCode, HasFault};

/// A calendar that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("calendar, line {line}: found {found}; expected {expected}. {fix}")]
pub struct CalendarError {
    /// The line, from 1. Of a folded line: the first.
    pub line: usize,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: String,
    /// What to do about it: a sentence.
    pub fix: String,
}

impl CalendarError {
    pub(super) fn new(
        line: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        CalendarError {
            line,
            found: found.into(),
            expected: expected.into(),
            fix: fix.into(),
        }
    }
}

impl HasFault for CalendarError {
    fn fault(&self) -> Fault {
        Fault::BadConfig
    }
}

impl HasCode for CalendarError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::CALENDAR
    }
}

/// What a part of a calendar's text says in place of what was expected; the caller knows the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) found: String,
    pub(super) expected: String,
    pub(super) fix: String,
}

impl Complaint {
    pub(super) fn new(
        found: impl Into<String>,
        expected: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Complaint {
            found: found.into(),
            expected: expected.into(),
            fix: fix.into(),
        }
    }

    pub(super) fn on_line(self, line: usize) -> CalendarError {
        CalendarError::new(line, self.found, self.expected, self.fix)
    }
}
