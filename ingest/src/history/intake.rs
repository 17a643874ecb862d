//! What the reader of one format hands its rows and complaints to.

use super::directory::{Directory, Refused};
use super::error::{HistoryError, RowError, RowPlace};
use super::sort::{HistorySample, TimeSorter};

/// How many skipped rows are kept with place and reason. 5: enough to see the pattern; all are counted.
pub const SKIPPED_NAMED_MAX: usize = 5;

/// Standard input, as a file's name.
pub(super) const STANDARD_INPUT: &str = "-";

/// What a reader of one format hands its rows to.
pub(super) struct Intake<'a> {
    pub(super) file: &'a str,
    pub(super) directory: &'a mut Directory,
    pub(super) sorter: &'a mut TimeSorter,
    pub(super) skip_invalid: bool,
    pub(super) skipped: &'a mut u64,
    pub(super) skipped_named: &'a mut Vec<String>,
    pub(super) heard: &'a mut dyn FnMut(u64),
}

impl Intake<'_> {
    /// Takes a row's sample.
    #[inline]
    pub(super) fn take(&mut self, sample: HistorySample) -> Result<(), HistoryError> {
        self.sorter.push(sample)
    }

    /// Counts a bad row, or makes it the end.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        place: RowPlace,
        problem: RowError,
    ) -> Result<(), HistoryError> {
        let error = HistoryError::Row {
            file: self.file.to_owned(),
            place,
            problem,
        };
        if !self.skip_invalid {
            return Err(error);
        }
        *self.skipped += 1;
        if self.skipped_named.len() < SKIPPED_NAMED_MAX {
            self.skipped_named.push(error.to_string());
        }
        Ok(())
    }

    /// As [`Intake::refuse`], for a series that was not taken. Too many series are always the end.
    #[cold]
    pub(super) fn refuse_series(
        &mut self,
        place: RowPlace,
        refused: Refused,
    ) -> Result<(), HistoryError> {
        match refused {
            Refused::Row(problem) => self.refuse(place, problem),
            Refused::Full => Err(HistoryError::TooManySeries {
                file: self.file.to_owned(),
                place,
                series_max: self.directory.series().len(),
            }),
        }
    }

    /// Tells how many bytes of the file are done.
    pub(super) fn tell(&mut self, bytes: u64) {
        (self.heard)(bytes);
    }
}

pub(super) fn unreadable(file: &str, detail: &str) -> HistoryError {
    HistoryError::Unreadable {
        file: file.to_owned(),
        detail: detail.to_owned(),
    }
}

/// What reading met: an error of the system, or of what unpacks a file, which has no number.
pub(super) fn broken_off(file: &str, error: &std::io::Error) -> HistoryError {
    match error.raw_os_error() {
        Some(_) => unreadable(file, &error.to_string()),
        None => format(
            file,
            "a packed file that is whole",
            &format!("a damaged one: {error}"),
        ),
    }
}

pub(super) fn format(file: &str, expected: &str, found: &str) -> HistoryError {
    HistoryError::Format {
        file: file.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}
