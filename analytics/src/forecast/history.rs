//! The last steps of a series: as long as its longest season, holes filled by what was expected.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What a remembered step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Provenance {
    /// The mean of its samples.
    Seen,
    /// It lay far above what was expected, and is remembered nearer to it.
    CutFromAbove,
    /// It lay far below.
    CutFromBelow,
    /// No sample came; what was expected stands in.
    Filled,
}

/// Values of consecutive steps, oldest first, at most `capacity`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    values: VecDeque<f64>,
    provenances: VecDeque<Provenance>,
    capacity: u32,
}

impl History {
    pub(crate) fn new(capacity: usize) -> Self {
        History {
            values: VecDeque::new(),
            provenances: VecDeque::new(),
            capacity: capacity as u32,
        }
    }

    pub(crate) fn push(&mut self, value: f64, provenance: Provenance) {
        if self.values.len() >= self.capacity as usize {
            self.values.pop_front();
            self.provenances.pop_front();
        }
        self.values.push_back(value);
        self.provenances.push_back(provenance);
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value `lag` ≥ 1 steps before the next one.
    pub(crate) fn lag(&self, lag: usize) -> Option<f64> {
        let at = self.values.len().checked_sub(lag)?;
        self.values.get(at).copied()
    }

    /// What the step `lag` ≥ 1 steps before the next one is.
    pub(crate) fn provenance(&self, lag: usize) -> Option<Provenance> {
        let at = self.provenances.len().checked_sub(lag)?;
        self.provenances.get(at).copied()
    }

    /// The least and the largest value; `None` while there is none.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        let least = self.values.iter().copied().reduce(f64::min)?;
        let most = self.values.iter().copied().reduce(f64::max)?;
        Some((least, most))
    }
}
