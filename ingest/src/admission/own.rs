//! Limits that are one sender's own: the section of the settings where they stand, and which of them are set there.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::Limit;

/// The limits that the settings give one sender alone, such as a token. What they leave out is inherited from what holds for every sender.
///
/// ```
/// use ingest::admission::{Limit, OwnLimits};
/// let own = OwnLimits::new("limits.tokens.telegraf", [(Limit::Samples, 5_000)]);
/// assert_eq!(own.get(Limit::Samples), Some(5_000));
/// assert_eq!(own.setting(Limit::Samples), "limits.tokens.telegraf.samples_max");
/// assert_eq!(own.get(Limit::Body), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLimits {
    section: Arc<str>,
    /// By [`Limit`].
    values: [Option<usize>; Limit::ALL.len()],
    label_rules: u32,
}

impl OwnLimits {
    /// The limits of a section of the settings, which may set none yet. Limits of all senders together can't be one's own: they are left out.
    pub fn new(
        section: impl Into<Arc<str>>,
        limits: impl IntoIterator<Item = (Limit, usize)>,
    ) -> Self {
        let mut values = [None; Limit::ALL.len()];
        for (limit, max) in limits {
            if Limit::OF_SENDER.contains(&limit) {
                values[limit as usize] = Some(max);
            }
        }
        OwnLimits {
            section: section.into(),
            values,
            label_rules: label_rules(&values),
        }
    }

    /// Where a limit stands for this sender, if that is set.
    pub fn get(&self, limit: Limit) -> Option<usize> {
        self.values[limit as usize]
    }

    /// The setting that moves a limit for this sender alone, set or not.
    pub fn setting(&self, limit: Limit) -> String {
        format!("{}.{}", self.section, limit.key())
    }

    /// The setting at which a limit stands for this sender: its own if that is set, else the inherited one.
    pub fn setting_in_force(&self, limit: Limit) -> String {
        match self.get(limit) {
            Some(_) => self.setting(limit),
            None => limit.setting().to_owned(),
        }
    }

    /// The section.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// What is set, in the order of [`Limit::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Limit, usize)> {
        Limit::ALL
            .into_iter()
            .filter_map(|limit| Some((limit, self.get(limit)?)))
    }

    /// Tells senders whose labels are bounded alike from others; 0 for those that inherit all of that. A fingerprint of 31 bits.
    pub(super) fn label_rules(&self) -> u32 {
        self.label_rules
    }
}

fn label_rules(values: &[Option<usize>; Limit::ALL.len()]) -> u32 {
    let of_labels = [Limit::Labels, Limit::LabelName, Limit::LabelValue];
    let set = of_labels.map(|limit| values[limit as usize]);
    if set == [None; 3] {
        return 0;
    }
    let bytes = set.map(|max| max.map_or(u64::MAX, |max| max as u64).to_le_bytes());
    xxh3_64(bytes.as_flattened()) as u32 | 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bounds_all_together_is_nobodys_own() {
        let own = OwnLimits::new("s", Limit::ALL.map(|limit| (limit, 7)));
        let set: Vec<Limit> = own.iter().map(|(limit, _)| limit).collect();
        assert_eq!(set, Limit::OF_SENDER);
        assert_eq!(own.get(Limit::Series), None);
    }

    #[test]
    fn senders_have_the_label_rules_of_those_whose_labels_are_bounded_alike() {
        let rules =
            |limits: &[(Limit, usize)]| OwnLimits::new("s", limits.iter().copied()).label_rules();
        let few = rules(&[(Limit::Labels, 5)]);
        assert_eq!(rules(&[(Limit::Body, 5)]), 0);
        assert_eq!(rules(&[(Limit::Labels, 5), (Limit::SenderSeries, 1)]), few);
        let others = [
            rules(&[]),
            rules(&[(Limit::LabelName, 5)]),
            rules(&[(Limit::Labels, 6)]),
        ];
        assert!(!others.contains(&few));
    }
}
