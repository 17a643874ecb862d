//! Which series are let in, and how: as they are, with a label folded, or not. Decides; knows no protocol, opens no file, asks no clock.
//!
//! ```text
//! Batcher ── a metric with labels that it has not asked for lately ──▶ Admission ──▶ as it is | folded: label="__other__" | refused, by which limit
//! ```
//!
//! A series that is active is let in as it is. Of a new one, each label is looked at: where a label of a metric has had more different values than
//! `limits.values_max` (`limits.resource_values_max` if it names who speaks), a further new one is stored as [`OTHER`], until the label is released. What is then still a new series must fit into the limits of
//! series, all senders' and its own sender's. Memory is bounded by these limits and by those of `cardinality.rs` and `places.rs`; what is refused leaves
//! nothing behind. [The reasons](../../../docs/decisions/0026-new-values-are-folded-into-other.md).

mod cardinality;
mod event;
mod known;
mod limit;
mod own;
mod places;
mod register;
mod report;
mod saved;
mod senders;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::time::{MINUTE, Micros};
use schemas::{Labels, Resource, SeriesId};

use cardinality::{Cardinality, Verdict};
use known::KnownSeries;
use places::Places;
use register::Register;
use senders::Senders;

pub use cardinality::{EXAMPLES, FoldedLabel, WideLabel};
pub use limit::{Hit, Limit, SeriesLimits};
pub use own::OwnLimits;
pub use report::{AdmissionReport, SenderReport};
pub use saved::Unreadable;
pub use senders::Sender;
pub(crate) use senders::{Load, take_up_to};

/// The value that stands for all further values of a folded label.
pub const OTHER: &str = "__other__";

/// How long after a start that knows of no series from before more of them may begin than in other minutes: then every series is new.
/// 5 min: senders report at least once a minute.
const GRACE: Micros = 5 * MINUTE;
/// Labels that wait to be told while the log is away. 1,000: more are on no page that a person reads, and all are in `/readyz?verbose`.
const NEWS_MAX: usize = 1_000;

/// What becomes of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is stored as it is.
    Pass,
    /// It is stored with these labels; the numbers name both series to [`Admission::place`].
    Fold {
        labels: Labels,
        folded: u64,
        original: u64,
    },
    /// Its samples are refused.
    Refuse(Hit),
}

/// Decides what is let in, for all senders of a process. Shared; asked rarely: a decision is remembered by who asked until something that it rests on has changed.
///
/// ```
/// use ingest::admission::{Admission, SeriesLimits};
/// let limits = SeriesLimits { values_max: 2, ..SeriesLimits::default() };
/// let admission = Admission::new(limits, 0);
/// assert_eq!(admission.report().active_series, 0);
/// assert!(!admission.release("requests", "user"));
/// ```
#[derive(Debug)]
pub struct Admission {
    limits: SeriesLimits,
    started: Micros,
    epoch: AtomicU32,
    hits: [AtomicU64; Limit::ALL.len()],
    folded_samples: AtomicU64,
    state: Mutex<State>,
    /// Apart, since it is asked for each folded sample.
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct State {
    register: Register,
    senders: Senders,
    cardinality: Cardinality,
    /// Halves of `idle` since the start.
    period: u32,
    begun: senders::Bucket,
    /// Whether what [`Admission::unsaved`] keeps has changed.
    changed: bool,
    known: KnownSeries,
    /// Labels that have begun to be folded, until they are told; at most [`NEWS_MAX`], the latest.
    news: Vec<FoldedLabel>,
}

impl State {
    fn tell(&mut self, labels: Vec<FoldedLabel>) {
        self.news.extend(labels);
        let too_many = self.news.len().saturating_sub(NEWS_MAX);
        self.news.drain(..too_many);
    }
}

impl Admission {
    /// An admission that starts now.
    pub fn new(limits: SeriesLimits, now: Micros) -> Self {
        Admission {
            limits,
            started: now,
            epoch: AtomicU32::new(0),
            hits: Default::default(),
            folded_samples: AtomicU64::new(0),
            state: Mutex::default(),
            places: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decisions made in another epoch must be asked for anew.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What a sender has in hand; while it is held, the sender has a place.
    pub(crate) fn sender(&self, sender: &Sender) -> Arc<Load> {
        self.state().senders.load(sender)
    }

    /// Counts that a limit was met.
    pub(crate) fn count(&self, limit: Limit) {
        self.hits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often a limit was met since the start: by requests, or by series (each time that one is asked about).
    pub fn hits(&self, limit: Limit) -> u64 {
        self.hits[limit as usize].load(Ordering::Relaxed)
    }

    /// Lets time pass: series and values that have been silent are forgotten. To be called at least once a minute.
    pub fn pass(&self, now: Micros) {
        let half = (self.limits.idle / 2).max(1);
        let period = u32::try_from((now - self.started).max(0) / half).unwrap_or(u32::MAX);
        let mut guard = self.state();
        let state = &mut *guard;
        if period <= state.period {
            return;
        }
        state.period = period;
        // Seen in this period or the last: between a half and a whole `idle` ago.
        let oldest = period.saturating_sub(1);
        let (senders, known) = (&mut state.senders, &mut state.known);
        state.register.forget_before(oldest, |sender| {
            senders.lose_series(sender);
            known.note_change();
        });
        // Who has not come back within `idle` would be forgotten had we never stopped.
        if period >= 2 {
            known.forget();
        }
        state.cardinality.forget_before(oldest);
        state.senders.forget_idle();
        drop(guard);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Decides about a series.
    pub(crate) fn decide(
        &self,
        sender: &Load,
        metric: &str,
        labels: &Labels,
        now: Micros,
    ) -> Decision {
        if let Some(hit) = self.shape(sender, labels) {
            self.count(hit.limit);
            return Decision::Refuse(hit);
        }
        let original = short(SeriesId::of(metric, labels));
        let mut guard = self.state();
        let state = &mut *guard;
        let (period, oldest) = (state.period, state.period.saturating_sub(1));
        if state.register.touch(original, period) {
            self.note(state, metric, labels);
            return Decision::Pass;
        }
        let mut folds: Vec<&str> = Vec::new();
        let mut begun: Vec<&str> = Vec::new();
        for (label, value) in labels.iter().filter(|(_, value)| *value != OTHER) {
            // A host whose name were folded would be one with all further hosts.
            let if_resource = || match Resource::of(labels).labels().get(label) {
                Some(_) => self.limits.resource_values_max,
                None => 0,
            };
            match state.cardinality.judge(
                (metric, label, value),
                (self.limits.values_max, if_resource),
                oldest,
                &sender.name,
                now,
            ) {
                Verdict::Stays => {}
                Verdict::Folds => folds.push(label),
                Verdict::BeginsToFold => {
                    folds.push(label);
                    begun.push(label);
                    state.changed = true;
                }
            }
        }
        let decision = self.let_in(state, sender, metric, labels, &folds, original, now);
        let told: Vec<FoldedLabel> = match begun.is_empty() {
            true => Vec::new(),
            false => {
                let mut folded = state.cardinality.folded();
                folded.retain(|label| {
                    label.metric == metric && begun.contains(&label.label.as_str())
                });
                folded
            }
        };
        state.tell(told.clone());
        drop(guard);
        for label in &told {
            tracing::warn!(
                metric,
                label = label.label,
                values = label.values,
                examples = ?label.examples,
                sender = label.sender,
                "a label has too many values; further new ones are stored as __other__ until `tidewatch cardinality release`"
            );
        }
        if let Decision::Refuse(hit) = &decision {
            self.count(hit.limit);
        }
        decision
    }

    /// What of a label set is beyond the limits.
    fn shape(&self, sender: &Load, labels: &Labels) -> Option<Hit> {
        let limits = &self.limits;
        let name_max = sender.max(Limit::LabelName, limits.label_name_bytes_max);
        let value_max = sender.max(Limit::LabelValue, limits.label_value_bytes_max);
        let labels_max = sender.max(Limit::Labels, limits.labels_max);
        let mut count = 0;
        for (name, value) in labels.iter() {
            count += 1;
            let beginning = || &name[..name.floor_char_boundary(64)];
            let (limit, max, found) = if name.len() > name_max {
                (Limit::LabelName, name_max, name.len())
            } else if value.len() > value_max {
                (Limit::LabelValue, value_max, value.len())
            } else {
                continue;
            };
            return Some(Hit::of(limit, max, found, beginning()).by(&sender.own));
        }
        (count > labels_max).then(|| Hit::new(Limit::Labels, labels_max, count).by(&sender.own))
    }

    /// Lets a series that is not active in, with some labels folded, if the limits of series allow it.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one decision, taken apart for reading only"
    )]
    fn let_in(
        &self,
        state: &mut State,
        sender: &Load,
        metric: &str,
        labels: &Labels,
        folds: &[&str],
        original: u64,
        now: Micros,
    ) -> Decision {
        let (stored, series) = if folds.is_empty() {
            (None, original)
        } else {
            let stored = folded_labels(labels, folds);
            let series = short(SeriesId::of(metric, &stored));
            (Some(stored), series)
        };
        if !state.register.touch(series, state.period) {
            let is_known = state.known.contains(series);
            if let Some(hit) = self.begin(state, sender, is_known, now) {
                return Decision::Refuse(hit);
            }
            state.register.add(series, sender.place, state.period);
            if !is_known {
                state.known.note_change();
            }
        }
        self.note(state, metric, stored.as_ref().unwrap_or(labels));
        match stored {
            None => Decision::Pass,
            Some(labels) => Decision::Fold {
                labels,
                folded: series,
                original,
            },
        }
    }

    /// Counts a series that begins, or that comes back after a restart; the limit that keeps it from that, if one does.
    fn begin(&self, state: &mut State, load: &Load, comes_back: bool, now: Micros) -> Option<Hit> {
        let limits = &self.limits;
        let active = state.register.len();
        let sender = state.senders.get_mut(load.place)?;
        let hit = |limit, max, found| {
            let of = Arc::clone(&load.name);
            Some(Hit::of(limit, max, found, of).by(&load.own))
        };
        let max = load.max(Limit::SenderSeries, limits.sender_series_max);
        if sender.series >= max {
            return hit(Limit::SenderSeries, max, sender.series);
        }
        if active >= limits.series_max {
            return Some(Hit::new(Limit::Series, limits.series_max, active));
        }
        if !comes_back {
            let all_are_new = !state.known.is_told() && now - self.started < GRACE;
            let (mine, ours) = match all_are_new {
                true => (
                    load.max(Limit::SenderFirstSeries, limits.sender_series_first_max),
                    limits.series_first_max,
                ),
                false => (0, 0),
            };
            let max = load.max(Limit::SenderNewSeries, limits.sender_series_new_max);
            if !sender.begun.has_room(now, max, mine) {
                return match all_are_new {
                    true => hit(Limit::SenderFirstSeries, mine, max),
                    false => hit(Limit::SenderNewSeries, max, max),
                };
            }
            let max = limits.series_new_max;
            if !state.begun.has_room(now, max, ours) {
                return Some(match all_are_new {
                    true => Hit::new(Limit::FirstSeries, ours, max),
                    false => Hit::new(Limit::NewSeries, max, max),
                });
            }
            sender.begun.take(mine);
            state.begun.take(ours);
        }
        sender.series += 1;
        None
    }

    /// Takes note of the values of a series that is let in.
    fn note(&self, state: &mut State, metric: &str, labels: &Labels) {
        for (label, value) in labels.iter().filter(|(_, value)| *value != OTHER) {
            let limits = &self.limits;
            state
                .cardinality
                .note((metric, label, value), limits.values_max, state.period);
        }
    }

    /// The time under which a sample of a folded series is stored (see `places.rs`), microseconds. Counts it.
    pub(crate) fn place(&self, folded: u64, original: u64, time: Micros) -> Micros {
        self.folded_samples.fetch_add(1, Ordering::Relaxed);
        self.places().place(folded, original, time)
    }

    /// Lets new values of a label be stored as they are again, counted from none. Tells whether it was folded.
    pub fn release(&self, metric: &str, label: &str) -> bool {
        let mut state = self.state();
        let released = state.cardinality.release(metric, label);
        if released {
            state.changed = true;
            if state.cardinality.folded_count() == 0 {
                self.places().clear();
            }
            drop(state);
            self.epoch.fetch_add(1, Ordering::Release);
            tracing::info!(metric, label, "a folded label was released");
        }
        released
    }

    /// The labels that have begun to be folded since this was last asked, to be told as [`FoldedLabel::event`].
    pub fn take_news(&self) -> Vec<FoldedLabel> {
        std::mem::take(&mut self.state().news)
    }

    /// Takes back what could not be told.
    pub fn keep_news(&self, mut labels: Vec<FoldedLabel>) {
        let mut state = self.state();
        labels.append(&mut state.news);
        state.tell(labels);
    }

    /// How many different values a label of a metric may have.
    pub fn values_max(&self) -> usize {
        self.limits.values_max
    }

    /// Series that are active, and labels that are folded.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.register.len(), state.cardinality.folded_count())
    }

    /// Samples that were stored with a folded label, since the start.
    pub fn folded_samples(&self) -> u64 {
        self.folded_samples.load(Ordering::Relaxed)
    }

    /// What must be kept for the next start, if that has changed since this was last asked.
    pub fn unsaved(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        if !std::mem::take(&mut state.changed) {
            return None;
        }
        let kept = state.cardinality.kept();
        drop(state);
        Some(saved::write(&kept))
    }

    /// Says that what was asked for by [`Admission::unsaved`] could not be kept: it is told again.
    pub fn keep_unsaved(&self) {
        self.state().changed = true;
    }

    /// Takes up what an earlier process kept; to be called before anything is let in.
    ///
    /// # Errors
    /// `Unreadable` if it is damaged or of another version: set it aside and go on without.
    pub fn restore(&self, saved: &[u8]) -> Result<(), Unreadable> {
        let kept = saved::read(saved)?;
        let mut state = self.state();
        let period = state.period;
        state.cardinality.restore(kept, period);
        Ok(())
    }
}

/// The low half of a series' id: what names it here.
fn short(id: SeriesId) -> u64 {
    id.0 as u64
}

/// A label set of which some labels have the value [`OTHER`].
fn folded_labels(labels: &Labels, folds: &[&str]) -> Labels {
    let folded = Labels::try_new(labels.iter().map(|(label, value)| {
        let value = if folds.contains(&label) { OTHER } else { value };
        (label, value)
    }));
    // The same names with shorter values: valid as the set itself.
    folded.unwrap_or_else(|_| labels.clone())
}

#[cfg(test)]
mod tests;
