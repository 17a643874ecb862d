//! What an admission tells of itself: what each sender has and may have, folded labels, wide ones.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::senders::Place;
use super::{Admission, FoldedLabel, Limit, OwnLimits, WideLabel};

/// Labels that a report names for their many values.
const WIDEST: usize = 20;

/// What an admission tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionReport {
    /// Series that are active.
    pub active_series: usize,
    /// Who has active series or limits of their own, the most series first.
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
    /// How many it may have.
    pub series_max: usize,
    /// Its requests being worked on.
    pub requests: usize,
    /// Their bytes, as sent and decompressed.
    pub in_flight_bytes: usize,
    /// The section of the settings that holds limits for it alone, where one does.
    pub section: Option<String>,
    /// What is set there, by the names of the settings; sizes in bytes.
    pub own_limits: BTreeMap<String, usize>,
}

impl SenderReport {
    fn of(place: &Place, series_max: usize) -> Self {
        let load = &place.load;
        let own = load.own.as_deref();
        let own_limits: BTreeMap<String, usize> = own
            .into_iter()
            .flat_map(OwnLimits::iter)
            .map(|(limit, max)| (limit.key().to_owned(), max))
            .collect();
        SenderReport {
            sender: load.name.to_string(),
            active_series: place.series,
            series_max: load.max(Limit::SenderSeries, series_max),
            requests: load.in_hand.requests.load(Ordering::Relaxed),
            in_flight_bytes: load.in_hand.bytes.load(Ordering::Relaxed),
            section: own
                .filter(|_| !own_limits.is_empty())
                .map(|own| own.section().to_owned()),
            own_limits,
        }
    }
}

impl Admission {
    /// What it tells of itself.
    pub fn report(&self) -> AdmissionReport {
        let state = self.state();
        let mut senders: Vec<SenderReport> = state
            .senders
            .iter()
            .map(|place| SenderReport::of(place, self.limits.sender_series_max))
            .filter(|sender| sender.active_series > 0 || sender.section.is_some())
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
