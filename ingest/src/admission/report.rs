//! What an admission tells of itself: active series by sender, folded labels, wide ones.

use serde::{Deserialize, Serialize};

use super::{Admission, FoldedLabel, WideLabel};

/// Labels that a report names for their many values.
const WIDEST: usize = 20;

/// What an admission tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionReport {
    /// Series that are active.
    pub active_series: usize,
    /// Active series by who brought them first, the most first.
    pub senders: Vec<SenderReport>,
    /// The folded labels, the latest first.
    pub folded: Vec<FoldedLabel>,
    /// The labels with the most values.
    pub widest: Vec<WideLabel>,
    /// Samples that were stored with a folded label, since the start.
    pub folded_samples: u64,
    /// Values that could not be counted, since the start, because too many labels or values were.
    pub untracked_values: u64,
}

/// A sender, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderReport {
    /// Its name.
    pub sender: String,
    /// Active series that it brought first.
    pub active_series: usize,
}

impl Admission {
    /// What it tells of itself.
    pub fn report(&self) -> AdmissionReport {
        let state = self.state();
        let mut senders: Vec<SenderReport> = state
            .senders
            .iter()
            .filter(|place| place.series > 0)
            .map(|place| SenderReport {
                sender: place.load.name.to_string(),
                active_series: place.series,
            })
            .collect();
        senders.sort_by(|a, b| (b.active_series, &a.sender).cmp(&(a.active_series, &b.sender)));
        AdmissionReport {
            active_series: state.register.len(),
            senders,
            folded: state.cardinality.folded(),
            widest: state.cardinality.widest(WIDEST),
            folded_samples: self.folded_samples(),
            untracked_values: state.cardinality.untracked,
        }
    }
}
