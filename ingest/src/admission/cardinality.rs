//! How many different values each label of each metric has, and which labels had too many. Bounded in labels and in values.

use std::sync::Arc;

use hashbrown::HashMap;
use schemas::time::Micros;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Labels (of a metric) whose values are counted. 65,536: what comes beyond is not guarded, but the limits of series hold for it as for all.
const LABELS_TRACKED_MAX: usize = 65_536;
/// Values of all labels together. 4 million: at most some 70 MB.
const VALUES_TRACKED_MAX: usize = 4_000_000;
/// Labels that may be folded at once. 1,024: with the values that each keeps, what is saved of them stays small.
const FOLDED_MAX: usize = 1_024;
/// Example values of a folded label.
pub const EXAMPLES: usize = 3;
/// Bytes of an example. The names of a label are told in full: it is released by them.
const EXAMPLE_BYTES_MAX: usize = 128;

/// A label of a metric that had too many values: further new ones are stored as `__other__`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldedLabel {
    /// The metric.
    pub metric: String,
    /// The label's name.
    pub label: String,
    /// Different values that are stored as they are.
    pub values: usize,
    /// Some of the last of them.
    pub examples: Vec<String>,
    /// Who sent the one that was too many.
    pub sender: String,
    /// When, microseconds since 1970.
    pub since: Micros,
}

/// A label that has many values, folded or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WideLabel {
    /// The metric.
    pub metric: String,
    /// The label's name.
    pub label: String,
    /// Different values, of those that came lately.
    pub values: usize,
}

/// 32 bits of a value. Of 50,000 values and a new one, two share theirs with a chance of 1 in 90,000: the new one is then taken for known.
pub(super) fn fingerprint(value: &str) -> u32 {
    xxh3_64(value.as_bytes()) as u32
}

/// The first bytes of a text, whole characters.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(EXAMPLE_BYTES_MAX)].to_owned()
}

/// Values of one label of one metric.
#[derive(Debug, Default)]
struct Values {
    /// By fingerprint, with the period in which each was last seen.
    seen: HashMap<u32, u32, foldhash::fast::RandomState>,
    /// The period up to which values that went silent have been forgotten.
    tidied: u32,
    examples: Vec<String>,
    folded: Option<Folded>,
}

#[derive(Debug, Clone)]
struct Folded {
    sender: Arc<str>,
    since: Micros,
}

impl Values {
    /// Forgets the values that were last seen before a period. Those of a folded label stay: what was stored as it is goes on to be.
    fn tidy(&mut self, before: u32) -> usize {
        if self.folded.is_some() || self.tidied >= before {
            return 0;
        }
        self.tidied = before;
        let count = self.seen.len();
        self.seen.retain(|_, period| *period >= before);
        self.seen.shrink_to(self.seen.len() * 2);
        count - self.seen.len()
    }
}

/// What becomes of a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Stored as it is.
    Stays,
    /// Stored as `__other__`.
    Folds,
    /// The same, and it is the first: the label is folded from now on.
    BeginsToFold,
}

/// A label of a metric, by its hash.
type LabelKey = u64;

fn key(metric: &str, label: &str) -> LabelKey {
    xxh3_64(metric.as_bytes()).rotate_left(32) ^ xxh3_64(label.as_bytes())
}

/// The labels whose values are counted.
#[derive(Debug, Default)]
pub(super) struct Cardinality {
    labels: HashMap<LabelKey, Label, foldhash::fast::RandomState>,
    /// Values of all of them.
    values: usize,
    folded: usize,
    /// Values that could not be counted, since the start.
    pub(super) untracked: u64,
}

#[derive(Debug)]
struct Label {
    metric: Box<str>,
    label: Box<str>,
    values: Values,
}

impl Cardinality {
    /// What becomes of a value of a label of which `values_max` may be stored, or as many as `or_more` says, which is asked only then. Takes no note of it but of
    /// a label's beginning to fold.
    pub(super) fn judge(
        &mut self,
        (metric, label, value): (&str, &str, &str),
        (values_max, or_more): (usize, impl FnOnce() -> usize),
        oldest: u32,
        sender: &Arc<str>,
        now: Micros,
    ) -> Verdict {
        let Some(known) = self.labels.get_mut(&key(metric, label)) else {
            return Verdict::Stays;
        };
        let values = &mut known.values;
        if values.seen.contains_key(&fingerprint(value)) {
            return Verdict::Stays;
        }
        if values.folded.is_some() {
            return Verdict::Folds;
        }
        if values.seen.len() < values_max {
            return Verdict::Stays;
        }
        let values_max = values_max.max(or_more());
        if values.seen.len() < values_max {
            return Verdict::Stays;
        }
        self.values -= values.tidy(oldest);
        if values.seen.len() < values_max || self.folded >= FOLDED_MAX {
            return Verdict::Stays;
        }
        values.folded = Some(Folded {
            sender: Arc::clone(sender),
            since: now,
        });
        if values.examples.len() < EXAMPLES {
            values.examples.push(shortened(value));
        }
        self.folded += 1;
        Verdict::BeginsToFold
    }

    /// Takes note of a value that is stored as it is.
    pub(super) fn note(
        &mut self,
        (metric, label, value): (&str, &str, &str),
        values_max: usize,
        period: u32,
    ) {
        let key = key(metric, label);
        if !self.labels.contains_key(&key) && self.labels.len() >= LABELS_TRACKED_MAX {
            self.untracked += 1;
            return;
        }
        let known = self.labels.entry(key).or_insert_with(|| Label {
            metric: metric.into(),
            label: label.into(),
            values: Values::default(),
        });
        let values = &mut known.values;
        let fingerprint = fingerprint(value);
        if let Some(seen) = values.seen.get_mut(&fingerprint) {
            *seen = period;
            return;
        }
        if self.values >= VALUES_TRACKED_MAX {
            self.untracked += 1;
            return;
        }
        values.seen.insert(fingerprint, period);
        self.values += 1;
        // Only the last ones are worth their memory: they are told if one more comes.
        if values.seen.len() + EXAMPLES > values_max && values.folded.is_none() {
            if values.examples.len() >= EXAMPLES {
                values.examples.remove(0);
            }
            values.examples.push(shortened(value));
        }
    }

    /// Forgets the values that were last seen before a period, and labels that have none left.
    pub(super) fn forget_before(&mut self, period: u32) {
        let mut lost = 0;
        self.labels.retain(|_, label| {
            lost += label.values.tidy(period);
            label.values.folded.is_some() || !label.values.seen.is_empty()
        });
        self.values -= lost;
    }

    /// Lets new values of a label be stored as they are again, counted from none; tells whether it was folded.
    pub(super) fn release(&mut self, metric: &str, label: &str) -> bool {
        let key = key(metric, label);
        let is_folded = |known: &Label| known.values.folded.is_some();
        if !self.labels.get(&key).is_some_and(is_folded) {
            return false;
        }
        if let Some(gone) = self.labels.remove(&key) {
            self.values -= gone.values.seen.len();
        }
        self.folded -= 1;
        true
    }

    pub(super) fn folded_count(&self) -> usize {
        self.folded
    }

    /// The folded labels, the latest first.
    pub(super) fn folded(&self) -> Vec<FoldedLabel> {
        let told = |label: &Label| {
            let folded = label.values.folded.as_ref()?;
            Some(FoldedLabel {
                metric: label.metric.to_string(),
                label: label.label.to_string(),
                values: label.values.seen.len(),
                examples: label.values.examples.clone(),
                sender: folded.sender.to_string(),
                since: folded.since,
            })
        };
        let mut folded: Vec<_> = self.labels.values().filter_map(told).collect();
        folded.sort_by(|a, b| (b.since, &a.metric, &a.label).cmp(&(a.since, &b.metric, &b.label)));
        folded
    }

    /// The labels with the most values.
    pub(super) fn widest(&self, count: usize) -> Vec<WideLabel> {
        let mut widest: Vec<&Label> = self.labels.values().collect();
        let order = |a: &&Label, b: &&Label| {
            (b.values.seen.len(), &a.metric, &a.label).cmp(&(
                a.values.seen.len(),
                &b.metric,
                &b.label,
            ))
        };
        if widest.len() > count {
            widest.select_nth_unstable_by(count, order);
            widest.truncate(count);
        }
        widest.sort_by(order);
        let told = |label: &&Label| WideLabel {
            metric: label.metric.to_string(),
            label: label.label.to_string(),
            values: label.values.seen.len(),
        };
        widest.iter().map(told).collect()
    }

    /// What must outlive the process: the folded labels with the fingerprints of the values that are stored as they are.
    pub(super) fn kept(&self) -> Vec<Kept> {
        let keep = |label: &Label| {
            let folded = label.values.folded.as_ref()?;
            let mut fingerprints: Vec<u32> = label.values.seen.keys().copied().collect();
            fingerprints.sort_unstable();
            Some(Kept {
                metric: label.metric.to_string(),
                label: label.label.to_string(),
                examples: label.values.examples.clone(),
                sender: folded.sender.to_string(),
                since: folded.since,
                fingerprints,
            })
        };
        let mut kept: Vec<Kept> = self.labels.values().filter_map(keep).collect();
        kept.sort_by(|a, b| (&a.metric, &a.label).cmp(&(&b.metric, &b.label)));
        kept
    }

    /// Takes up what was kept. Only before anything else.
    pub(super) fn restore(&mut self, kept: Vec<Kept>, period: u32) {
        for one in kept.into_iter().take(FOLDED_MAX) {
            let values = Values {
                seen: one
                    .fingerprints
                    .into_iter()
                    .map(|value| (value, period))
                    .collect(),
                tidied: period,
                examples: one.examples,
                folded: Some(Folded {
                    sender: one.sender.into(),
                    since: one.since,
                }),
            };
            self.values += values.seen.len();
            let before = self.labels.insert(
                key(&one.metric, &one.label),
                Label {
                    metric: one.metric.into(),
                    label: one.label.into(),
                    values,
                },
            );
            match before {
                None => self.folded += 1,
                // A file of ours names each label once.
                Some(before) => self.values -= before.values.seen.len(),
            }
        }
    }
}

/// A folded label as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    metric: String,
    label: String,
    examples: Vec<String>,
    sender: String,
    since: Micros,
    #[serde(with = "super::saved::packed")]
    fingerprints: Vec<u32>,
}
