//! What a forest is asked, and what it refuses.

use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde::{Deserialize, Serialize};

use crate::error_codes;

/// The most features a row may have: a cut remembers its feature in 16 bits.
pub(crate) const FEATURES_MAX: usize = u16::MAX as usize;

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForestConfig {
    /// Trees, 1–10,000. Default 100: fewer make scores depend on the seed, more cost time in proportion and rank hardly better.
    pub trees: u32,
    /// Rows that a tree sees, drawn without replacement, 2–32,768; all if there are fewer. Default 512: with 64, small clusters go
    /// unseen; with many thousands, outliers become so many that they hide each other.
    pub samples: u32,
    /// Cuts on a path at most, 1–15; never more than ⌈log₂ samples⌉. Default 8: a tree then fits in the 4 KiB next to the processor, and
    /// two of the 512 samples share a leaf on average, so that a leaf's count says something.
    pub depth: u32,
    /// The share of cuts that are guided, 0–1. Default 0.5: neither kind does without the other.
    pub guided: f64,
    /// The share of features that a tree may cut, drawn anew for each, above 0 and at most 1; one at least. Default 0.5: guided trees that all
    /// see the one feature with the widest gap are all alike (feature bagging: Lazarevic and Kumar 2005).
    pub features: f64,
    /// Whether features with heavier tails among a tree's samples are cut more often: in proportion to ln(1 + kurtosis). Default true: an
    /// outlier is more often found where values stray far, and the logarithm keeps one wild feature from taking all cuts.
    pub tails: bool,
    /// Whether steps count by density. Default true. Without it, `tails` and guidance, with all features and a depth of
    /// ⌈log₂ samples⌉ this is the forest of Liu, Ting and Zhou, as scikit-learn has it.
    pub density: bool,
    /// Where chance starts. The same seed and rows give the same forest, bit for bit, on every machine.
    pub seed: u64,
}

impl Default for ForestConfig {
    fn default() -> Self {
        ForestConfig {
            trees: 100,
            samples: 512,
            depth: 8,
            guided: 0.5,
            features: 0.5,
            tails: true,
            density: true,
            seed: 0,
        }
    }
}

/// What a forest can't be asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ForestError {
    /// A setting that no forest can be grown with (bad configuration).
    #[error("forest setting `{setting}` is {found}; expected a number from {least} to {most}")]
    Setting {
        /// The field's name.
        setting: &'static str,
        /// Its value.
        found: f64,
        /// The smallest value taken.
        least: f64,
        /// The largest value taken.
        most: f64,
    },
    /// Rows with more features than a forest takes, or with another number than the forest was fitted to (a bug of the caller).
    #[error("a row has {found} features; expected {expected}")]
    Width {
        /// The features of the row.
        found: usize,
        /// The features that the forest knows, or the most it takes.
        expected: usize,
    },
}

impl HasFault for ForestError {
    fn fault(&self) -> Fault {
        match self {
            ForestError::Setting { .. } => Fault::BadConfig,
            ForestError::Width { .. } => Fault::Bug,
        }
    }
}

impl HasCode for ForestError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            ForestError::Setting { .. } => &error_codes::FOREST_SETTING,
            ForestError::Width { .. } => &error_codes::FOREST_WIDTH,
        }
    }
}

/// Checks that each number is within its limits (setting, found, least, most).
pub(super) fn check(settings: &[(&'static str, f64, f64, f64)]) -> Result<(), ForestError> {
    for &(setting, found, least, most) in settings {
        // `contains` is false for NaN.
        if !(least..=most).contains(&found) {
            return Err(ForestError::Setting {
                setting,
                found,
                least,
                most,
            });
        }
    }
    Ok(())
}
