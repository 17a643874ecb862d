//! A forest before it has seen anything.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::IsolationForest;
use super::config::{FEATURES_MAX, ForestConfig, ForestError, check};
use super::grow::grow;

/// A forest whose settings are checked and that has seen no row: it can be fitted, not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct UnfittedForest {
    config: ForestConfig,
}

impl UnfittedForest {
    /// Checks every setting once.
    ///
    /// # Errors
    /// `Setting` (refuse to start) names the setting that is out of range.
    pub fn try_new(config: ForestConfig) -> Result<Self, ForestError> {
        check(&[
            ("trees", f64::from(config.trees), 1.0, 1e4),
            ("samples", f64::from(config.samples), 2.0, 32_768.0),
            ("depth", f64::from(config.depth), 1.0, 15.0),
            ("guided", config.guided, 0.0, 1.0),
            ("features", config.features, f64::MIN_POSITIVE, 1.0),
        ])?;
        Ok(UnfittedForest { config })
    }

    /// The settings.
    pub fn config(&self) -> &ForestConfig {
        &self.config
    }

    /// Grows the forest. rows: n_rows × n_features, in any order and memory layout; NaN = not known, which counts as the feature's median;
    /// infinite values count as the largest there are. Of no rows, or rows without features, grows a forest to which all is alike.
    ///
    /// # Errors
    /// `Width` if a row has more than 65,535 features.
    pub fn fit(&self, rows: ArrayView2<'_, f64>) -> Result<IsolationForest, ForestError> {
        if rows.ncols() > FEATURES_MAX {
            return Err(ForestError::Width {
                found: rows.ncols(),
                expected: FEATURES_MAX,
            });
        }
        Ok(grow(&self.config, rows))
    }
}
