//! Series that an earlier process knew: they come back after a restart, and are not new. Also when to save which are known.

use super::saved::{Unreadable, read_known, write_known};
use super::{Admission, State};

/// Which series are known is saved anew when one in so many has changed. 10: a crash before that makes a tenth of them new once more, of a million series as many
/// as one sender may begin within a minute. While a million begin, some 70 files of together 80 MB are written.
const UNSAVED_PART: usize = 10;

/// Until they are forgotten, 8 bytes for each series that was active before the start: the limits of that process bound them.
#[derive(Debug, Default)]
pub(super) struct KnownSeries {
    /// Ascending.
    series: Vec<u64>,
    is_told: bool,
    /// Series that began or were forgotten since all were saved.
    changes: usize,
}

impl KnownSeries {
    /// Whether an earlier process left any.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    pub(super) fn contains(&self, series: u64) -> bool {
        self.series.binary_search(&series).is_ok()
    }

    /// Forgets those that did not come back.
    pub(super) fn forget(&mut self) {
        self.series = Vec::new();
    }

    /// Notes that a series began or was forgotten.
    pub(super) fn note_change(&mut self) {
        self.changes = self.changes.saturating_add(1);
    }
}

impl Admission {
    /// The series that are known, for the next start, if so much of that has changed since this was last asked that it should be kept anew.
    pub fn unsaved_series(&self) -> Option<Vec<u8>> {
        let mut guard = self.state();
        let State {
            register, known, ..
        } = &mut *guard;
        let count = register.len().max(known.series.len());
        if known.changes.saturating_mul(UNSAVED_PART) <= count {
            return None;
        }
        known.changes = 0;
        // Those that have not come back yet may still.
        let mut series = known.series.clone();
        series.extend(register.series());
        drop(guard);
        Some(write_known(series))
    }

    /// Says that what was asked for by [`Admission::unsaved_series`] could not be kept: it is told again.
    pub fn keep_unsaved_series(&self) {
        self.state().known.changes = usize::MAX;
    }

    /// Takes up the series that an earlier process knew; to be called before anything is let in. They are not new when they come again.
    ///
    /// # Errors
    /// `Unreadable` if it is damaged or of another version: set it aside and go on without.
    pub fn restore_series(&self, saved: &[u8]) -> Result<(), Unreadable> {
        let series = read_known(saved)?;
        self.state().known = KnownSeries {
            is_told: !series.is_empty(),
            series,
            changes: 0,
        };
        Ok(())
    }
}
