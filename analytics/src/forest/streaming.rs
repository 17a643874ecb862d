//! A forest over rows that pass once: remembers a bounded sample of the recent ones, and is grown anew from it now and then.

use ndarray::ArrayView2;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::config::{FEATURES_MAX, check};
use super::grow::{below, unit};
use super::relations::Relations;
use super::{ForestConfig, ForestError, IsolationForest, UnfittedForest};

/// How a forest follows a stream of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamingConfig {
    /// How its trees are grown.
    pub forest: ForestConfig,
    /// Rows kept, 2–1,000,000. Default 2048: four times what a tree sees, so that trees differ and one bad stretch does not fill it.
    pub reservoir_rows: u32,
    /// Rows seen before the first forest, 2–`reservoir_rows`. Default 64: the fewest of which a tree tells crowd from emptiness.
    pub warm_up_rows: u32,
    /// Whether the forest also looks at what is left of each feature once the others have told what they let expect, so that it sees combinations that do not
    /// occur. For rows whose usual values are zero, of at most 256 features. Default false.
    pub relations: bool,
}

/// The most features between which relations are looked for: their number grows with the square.
const RELATED_MAX: usize = 256;

impl Default for StreamingConfig {
    fn default() -> Self {
        StreamingConfig {
            forest: ForestConfig::default(),
            reservoir_rows: 2048,
            warm_up_rows: 64,
            relations: false,
        }
    }
}

/// What a row is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowScores {
    /// The forest's score, as [`IsolationForest::score_row`].
    pub isolation: f64,
    /// ln(1 + d), where d is the squared distance of all features together from the usual row, about 1 of a usual one; 0 where relations are not asked for.
    pub distance: f64,
}

/// What the features of a row contribute to its numbers, by feature.
#[derive(Debug, Clone, PartialEq)]
pub struct RowExplained {
    /// To the forest's score, by its value alone.
    pub alone: Vec<f64>,
    /// To that, by its value beside the others'; 0 where relations are not asked for.
    pub beside: Vec<f64>,
    /// To the squared distance; 0 where relations are not asked for.
    pub distances: Vec<f64>,
    /// What is left of its value once the others have told what they let expect.
    pub rest: Vec<f64>,
}

/// A forest and the rows that it will be grown from next. Bounded: `reservoir_rows` rows and one forest. Everything it will ever do follows
/// from what is serialised, so one that was saved and read goes on with the same bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamingForest {
    config: StreamingConfig,
    features: usize,
    /// The rows kept, one after the other, `features` values each.
    rows: Vec<f64>,
    kept: usize,
    random: Xoshiro256PlusPlus,
    /// As of when the forest was grown; `None` where they are not asked for.
    relations: Option<Relations>,
    forest: Option<IsolationForest>,
    /// Rows that [`StreamingForest::observe`] took since the forest was grown.
    since_refit: u32,
    refits: u64,
}

impl StreamingForest {
    /// A forest that has seen no row yet.
    ///
    /// # Errors
    /// `Setting` (refuse to start) names the setting that is out of range; `Width` if a row would have more features than there may be.
    pub fn try_new(config: StreamingConfig, features: usize) -> Result<Self, ForestError> {
        UnfittedForest::try_new(config.forest)?;
        let reservoir_rows = f64::from(config.reservoir_rows);
        check(&[
            ("reservoir_rows", reservoir_rows, 2.0, 1e6),
            (
                "warm_up_rows",
                f64::from(config.warm_up_rows),
                2.0,
                reservoir_rows,
            ),
        ])?;
        let features_max = if config.relations {
            RELATED_MAX
        } else {
            FEATURES_MAX
        };
        if features > features_max {
            return Err(ForestError::Width {
                found: features,
                expected: features_max,
            });
        }
        Ok(StreamingForest {
            config,
            features,
            rows: Vec::new(),
            kept: 0,
            random: Xoshiro256PlusPlus::seed_from_u64(config.forest.seed),
            relations: None,
            forest: None,
            since_refit: 0,
            refits: 0,
        })
    }

    /// The forest as last grown; `None` before the first time.
    pub fn forest(&self) -> Option<&IsolationForest> {
        self.forest.as_ref()
    }

    /// The settings.
    pub fn config(&self) -> &StreamingConfig {
        &self.config
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// 0–1: how much there is of the rows that a tree would see.
    pub fn filled(&self) -> f64 {
        let samples = self.config.forest.samples.min(self.config.reservoir_rows);
        (self.kept as f64 / f64::from(samples)).min(1.0)
    }

    /// Rows in the reservoir.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Whether it hangs together. One that was read from outside may not, and must not be used then.
    pub fn is_sound(&self) -> bool {
        Self::try_new(self.config, self.features).is_ok()
            && self.kept <= self.config.reservoir_rows as usize
            && self.rows.len() == self.kept * self.features
            && self.forest.as_ref().is_none_or(|forest| {
                let related = self.relations.as_ref();
                let width = self.features * if related.is_some() { 2 } else { 1 };
                forest.features() == width
                    && forest.is_sound()
                    && related.is_none_or(|relations| relations.fits(self.features))
            })
    }

    /// Puts a row into the reservoir with probability `share` (0–1) once it is full, in the place of any other row. So each row is forgotten
    /// with the same chance per row that comes, and after n rows 1/e of the reservoir is older than `reservoir_rows` / `share` rows
    /// (Aggarwal 2006, "On biased reservoir sampling in the presence of stream evolution").
    ///
    /// # Errors
    /// `Width` if the row has another number of features.
    pub fn keep(&mut self, row: &[f64], share: f64) -> Result<(), ForestError> {
        if row.len() != self.features {
            return Err(ForestError::Width {
                found: row.len(),
                expected: self.features,
            });
        }
        let most = self.config.reservoir_rows as usize;
        if self.kept < most {
            self.rows.extend_from_slice(row);
            self.kept += 1;
        } else if unit(&mut self.random) < share {
            let from = below(&mut self.random, most) * self.features;
            self.rows[from..from + self.features].copy_from_slice(row);
        }
        Ok(())
    }

    /// Grows the forest anew from the reservoir, with other chances than the one before.
    ///
    /// # Errors
    /// As [`UnfittedForest::fit`]; cannot happen for a forest that [`StreamingForest::try_new`] made.
    pub fn refit(&mut self) -> Result<(), ForestError> {
        let config = ForestConfig {
            seed: self.config.forest.seed.wrapping_add(self.refits),
            ..self.config.forest
        };
        let forest = UnfittedForest::try_new(config)?;
        self.forest = Some(if self.config.relations {
            let relations = Relations::of(self.rows()?);
            let mut wide = Vec::with_capacity(2 * self.rows.len());
            for row in self.rows.chunks_exact(self.features.max(1)) {
                wide.extend_from_slice(row);
                wide.extend(relations.rest(row));
            }
            self.relations = Some(relations);
            forest.fit(shaped(self.kept, 2 * self.features, &wide)?)?
        } else {
            forest.fit(self.rows()?)?
        });
        self.refits += 1;
        self.since_refit = 0;
        Ok(())
    }

    /// The numbers of a row; `None` before the first forest.
    ///
    /// # Errors
    /// `Width` if the row has another number of features.
    pub fn score_row(&self, row: &[f64]) -> Result<Option<RowScores>, ForestError> {
        let Some(forest) = &self.forest else {
            return Ok(None);
        };
        let isolation = match self.wide(row)? {
            Some(wide) => forest.score_row(&wide)?,
            None => forest.score_row(row)?,
        };
        let distances = self.relations.as_ref().map(|known| known.distances(row));
        let distance: f64 = distances.iter().flatten().sum();
        Ok(Some(RowScores {
            isolation,
            distance: libm::log1p(distance.max(0.0)),
        }))
    }

    /// What made the numbers of a row, by feature; `None` before the first forest.
    ///
    /// # Errors
    /// `Width` if the row has another number of features.
    pub fn explain(&self, row: &[f64]) -> Result<Option<RowExplained>, ForestError> {
        let Some(forest) = &self.forest else {
            return Ok(None);
        };
        let Some(wide) = self.wide(row)? else {
            let alone = forest.explain(row)?.contributions;
            return Ok(Some(RowExplained {
                beside: vec![0.0; alone.len()],
                rest: row.to_vec(),
                distances: vec![0.0; alone.len()],
                alone,
            }));
        };
        let mut alone = forest.explain(&wide)?.contributions;
        let distances = self.relations.as_ref().map(|known| known.distances(row));
        Ok(Some(RowExplained {
            beside: alone.split_off(self.features),
            rest: wide[self.features..].to_vec(),
            distances: distances.unwrap_or_default(),
            alone,
        }))
    }

    /// The row with what its relations leave of it; `None` where they are not asked for.
    fn wide(&self, row: &[f64]) -> Result<Option<Vec<f64>>, ForestError> {
        if row.len() != self.features {
            return Err(ForestError::Width {
                found: row.len(),
                expected: self.features,
            });
        }
        Ok(self.relations.as_ref().map(|relations| {
            let mut wide = row.to_vec();
            wide.extend(relations.rest(row));
            wide
        }))
    }

    /// The rows kept. The reservoir has `kept` of `features` values each.
    fn rows(&self) -> Result<ArrayView2<'_, f64>, ForestError> {
        shaped(self.kept, self.features, &self.rows)
    }

    /// Scores a row by what came before it, then learns it: every row goes into the reservoir, and the forest is grown anew when the rows
    /// seen have doubled, later each time half the reservoir has passed. `None` while fewer than `warm_up_rows` were seen.
    ///
    /// # Errors
    /// `Width` if the row has another number of features.
    pub fn observe(&mut self, row: &[f64]) -> Result<Option<f64>, ForestError> {
        let score = self.score_row(row)?.map(|scores| scores.isolation);
        self.keep(row, 1.0)?;
        self.since_refit += 1;
        let most = self.config.reservoir_rows;
        let due = match self.forest {
            None => self.config.warm_up_rows,
            Some(_) if self.kept < most as usize => self.kept as u32 / 2,
            Some(_) => most / 2,
        };
        if self.since_refit >= due {
            self.refit()?;
        }
        Ok(score)
    }
}

/// Values as rows.
fn shaped(rows: usize, width: usize, values: &[f64]) -> Result<ArrayView2<'_, f64>, ForestError> {
    ArrayView2::from_shape((rows, width), values).map_err(|_| ForestError::Width {
        found: values.len(),
        expected: rows * width,
    })
}
