//! A forest that has seen rows: scores others, and says which features made the score.

use ndarray::{Array1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::ForestError;
use super::scale::{Reach, Scale};

/// Rows that walk down a tree side by side: while one waits for its cut to be loaded, the others step. 8 hide the wait; 16 run out of registers.
const LANES: usize = 8;
/// Values of a block of rows: 16 KiB stay beside the processor while tree after tree passes over them.
const BLOCK_VALUES: usize = 4096;

/// A cut: a row whose feature is at most the threshold goes left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Cut {
    pub(super) threshold: f32,
    pub(super) feature: u16,
}

impl Cut {
    /// Everything goes left: below a leaf.
    pub(super) const NONE: Cut = Cut {
        threshold: f32::INFINITY,
        feature: 0,
    };
}

/// Isolated rows have short paths: 0.5 is as usual, towards 1 abnormal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IsolationForest {
    /// By feature.
    scales: Vec<Scale>,
    /// By feature: how far the samples of a tree go; empty if there were none.
    reaches: Vec<Reach>,
    /// Cuts on every path.
    depth: u32,
    /// c(samples): the mean length of a path in a tree of that many samples.
    path_length: f64,
    /// Tree after tree, 2^depth − 1 each, level by level.
    cuts: Vec<Cut>,
    /// Tree after tree, 2^(depth + 1) − 1 each: the mean length of path of the samples in a node.
    means: Vec<f32>,
}

/// A row's score and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// As [`IsolationForest::score_row`].
    pub score: f64,
    /// By feature: how much shorter its cuts made the row's path, in mean lengths of a path; negative where they made it longer. They sum
    /// to log₂ of the row's score over the score of a path as long as the samples' mean.
    pub contributions: Vec<f64>,
}

impl IsolationForest {
    pub(super) fn without_trees(depth: u32, path_length: f64, scales: Vec<Scale>) -> Self {
        IsolationForest {
            scales,
            reaches: Vec::new(),
            depth,
            path_length,
            cuts: Vec::new(),
            means: Vec::new(),
        }
    }

    pub(super) fn push_tree(&mut self, cuts: &[Cut], means: &[f32]) {
        self.cuts.extend_from_slice(cuts);
        self.means.extend_from_slice(means);
    }

    /// Takes the mean ends of the features among the samples of a tree.
    pub(super) fn set_reaches(&mut self, ends: &[(f64, f64)]) {
        let ends = ends.iter().zip(&self.scales);
        self.reaches = ends
            .filter(|((low, high), _)| low.is_finite() && high.is_finite())
            .map(|((low, high), scale)| Reach::between(*low, *high, scale))
            .collect();
    }

    pub(super) fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.scales.len()
    }

    /// By feature: the median of the rows that the forest was fitted to.
    pub fn centres(&self) -> impl Iterator<Item = f64> {
        self.scales.iter().map(|scale| scale.centre)
    }

    /// Whether it hangs together. One that was read from outside may not, and must not be asked then.
    pub fn is_sound(&self) -> bool {
        if self.depth > 15 {
            return false;
        }
        let (inner, width) = (self.inner(), self.scales.len().max(1));
        let trees = self.means.len() / (2 * inner + 1);
        [0, self.scales.len()].contains(&self.reaches.len())
            && self.means.len() == trees * (2 * inner + 1)
            && self.cuts.len() == trees * inner
            && self.cuts.iter().all(|cut| usize::from(cut.feature) < width)
            && self.path_length.is_finite()
    }

    fn inner(&self) -> usize {
        (1 << self.depth) - 1
    }

    /// The trees: their cuts and the mean lengths of their nodes.
    fn trees(&self) -> impl Iterator<Item = (&[Cut], &[f32])> {
        let inner = self.inner();
        self.means
            .chunks_exact(2 * inner + 1)
            .enumerate()
            .map(move |(i, means)| (&self.cuts[i * inner..(i + 1) * inner], means))
    }

    fn check_width(&self, found: usize) -> Result<(), ForestError> {
        if found == self.scales.len() {
            Ok(())
        } else {
            Err(ForestError::Width {
                found,
                expected: self.scales.len(),
            })
        }
    }

    /// The chance that the first cut of a tree would part a row from everything that was seen: the mean over the features.
    fn beyond(&self, row: &[f32]) -> f64 {
        let chances = row.iter().zip(&self.reaches);
        let sum: f64 = chances.map(|(value, reach)| reach.beyond(*value)).sum();
        sum / self.reaches.len().max(1) as f64
    }

    /// The mean length of a row's path, out of the sum over the trees. Trees know no place beyond their samples: their path for a row out
    /// there is that of the outermost sample. With a chance q per step of being parted from everything, the path ends after
    /// (1 − (1 − q)^h)/q of h steps in the mean (as in Mondrian forests: Lakshminarayanan, Roy, Teh 2014).
    fn length(&self, sum: f64, beyond: f64) -> f64 {
        let trees = self.means.len() / (2 * self.inner() + 1);
        let length = sum / trees.max(1) as f64;
        if beyond > 0.0 {
            // 1 − (1 − q)^h, without the rounding that small q would suffer.
            -libm::expm1(length * libm::log1p(-beyond)) / beyond
        } else {
            length
        }
    }

    /// s = 2^(−h/c): h the mean length of the row's path, c that of a tree's samples (Liu, Ting, Zhou 2008, equation 2).
    fn score_of(&self, sum: f64, beyond: f64) -> f64 {
        if self.path_length <= 0.0 || self.means.is_empty() {
            return 0.5;
        }
        libm::exp2(-self.length(sum, beyond) / self.path_length)
    }

    /// The scores of rows, each above 0 and at most 1. rows: n_rows × n_features; NaN counts as the feature's median, infinite values as
    /// the largest there are. The same bits as [`IsolationForest::score_row`] gives, whatever the number of rows.
    ///
    /// # Errors
    /// `Width` if the rows have another number of features than those it was fitted to.
    pub fn score(&self, rows: ArrayView2<'_, f64>) -> Result<Array1<f64>, ForestError> {
        self.check_width(rows.ncols())?;
        let width = self.scales.len().max(1);
        let block_rows = (BLOCK_VALUES / width).clamp(1, 512).next_multiple_of(LANES);
        let mut block = vec![0.0_f32; block_rows * width];
        let mut lengths = vec![0.0_f64; block_rows];
        let mut scores = Vec::with_capacity(rows.nrows());
        for from in (0..rows.nrows()).step_by(block_rows) {
            let count = block_rows.min(rows.nrows() - from);
            for (feature, (column, scale)) in
                rows.columns().into_iter().zip(&self.scales).enumerate()
            {
                for row in 0..count {
                    block[row * width + feature] = scale.apply(column[from + row]);
                }
            }
            // The last block is filled up with what stood there before: scored, and left out.
            let used = count.next_multiple_of(LANES);
            lengths.fill(0.0);
            self.add_lengths(&block[..used * width], width, &mut lengths[..used]);
            let sums = lengths[..count].iter().zip(block.chunks_exact(width));
            scores.extend(sums.map(|(sum, row)| self.score_of(*sum, self.beyond(row))));
        }
        Ok(Array1::from_vec(scores))
    }

    /// Adds to each row's sum the length of its path in every tree, tree by tree. The number of rows is a multiple of `LANES`.
    fn add_lengths(&self, block: &[f32], width: usize, lengths: &mut [f64]) {
        let inner = self.inner();
        for (cuts, means) in self.trees() {
            let bottom = &means[inner..];
            for (rows, lengths) in block
                .chunks_exact(LANES * width)
                .zip(lengths.chunks_exact_mut(LANES))
            {
                let mut at = [0_usize; LANES];
                for _ in 0..self.depth {
                    for (lane, at) in at.iter_mut().enumerate() {
                        let cut = &cuts[*at];
                        let value = rows[lane * width + usize::from(cut.feature)];
                        *at = 2 * *at + 1 + usize::from(value > cut.threshold);
                    }
                }
                for (length, at) in lengths.iter_mut().zip(at) {
                    *length += f64::from(bottom[at - inner]);
                }
            }
        }
    }

    fn scaled(&self, row: &[f64]) -> Result<Vec<f32>, ForestError> {
        self.check_width(row.len())?;
        let mut scaled: Vec<f32> = row
            .iter()
            .zip(&self.scales)
            .map(|(value, scale)| scale.apply(*value))
            .collect();
        if scaled.is_empty() {
            // What goes left always looks at a value.
            scaled.push(0.0);
        }
        Ok(scaled)
    }

    /// The score of one row, above 0 and at most 1: 0.5 is as usual; the higher, the easier it is told from the others.
    ///
    /// # Errors
    /// `Width` if the row has another number of features than those it was fitted to.
    pub fn score_row(&self, row: &[f64]) -> Result<f64, ForestError> {
        let row = self.scaled(row)?;
        let mut sum = 0.0;
        for (cuts, means) in self.trees() {
            let mut at = 0;
            for _ in 0..self.depth {
                let cut = &cuts[at];
                at = 2 * at + 1 + usize::from(row[usize::from(cut.feature)] > cut.threshold);
            }
            sum += f64::from(means[at]);
        }
        Ok(self.score_of(sum, self.beyond(&row)))
    }

    /// The score of one row, and what each feature contributed: the means that a path passes, node after node, fall from that of all samples
    /// to that of its leaf, and each fall belongs to the feature that was cut (Saabas 2014, "Interpreting random forests"). What a row gains
    /// by lying beyond everything seen belongs to the features in which it does.
    ///
    /// # Errors
    /// `Width` if the row has another number of features than those it was fitted to.
    pub fn explain(&self, row: &[f64]) -> Result<Explained, ForestError> {
        let score = self.score_row(row)?;
        let row = self.scaled(row)?;
        let mut contributions = vec![0.0; self.scales.len()];
        let (mut trees, mut sum) = (0.0, 0.0);
        for (cuts, means) in self.trees() {
            trees += 1.0;
            let mut at = 0;
            for _ in 0..self.depth {
                let cut = &cuts[at];
                let feature = usize::from(cut.feature);
                let next = 2 * at + 1 + usize::from(row[feature] > cut.threshold);
                if let Some(contribution) = contributions.get_mut(feature) {
                    *contribution += f64::from(means[at]) - f64::from(means[next]);
                }
                at = next;
            }
            sum += f64::from(means[at]);
        }
        let beyond = self.beyond(&row);
        let gain = sum - trees * self.length(sum, beyond);
        let unit = trees * self.path_length;
        if unit > 0.0 {
            contributions.iter_mut().for_each(|sum| *sum /= unit);
            if beyond > 0.0 {
                let share = gain / unit / beyond / self.reaches.len() as f64;
                for ((contribution, value), reach) in
                    contributions.iter_mut().zip(&row).zip(&self.reaches)
                {
                    *contribution += share * reach.beyond(*value);
                }
            }
        }
        Ok(Explained {
            score,
            contributions,
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::forest::{ForestConfig, UnfittedForest};

    #[test]
    fn what_was_saved_and_damaged_is_not_sound() {
        let rows = Array2::from_shape_fn((60, 2), |(i, j)| ((i * (7 + j)) % 23) as f64);
        let config = ForestConfig {
            trees: 4,
            ..ForestConfig::default()
        };
        let forest = UnfittedForest::try_new(config)
            .unwrap()
            .fit(rows.view())
            .unwrap();
        let bytes = postcard::to_stdvec(&forest).unwrap();
        let read: IsolationForest = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(read, forest);
        assert!(read.is_sound());
        type Damage = fn(&mut IsolationForest);
        let damages: [(&str, Damage); 7] = [
            ("no scales", |forest| forest.scales.clear()),
            ("a reach too few", |forest| forest.reaches.truncate(1)),
            ("less depth", |forest| forest.depth -= 1),
            ("absurd depth", |forest| forest.depth = u32::MAX),
            ("no cuts", |forest| forest.cuts.clear()),
            ("a mean too few", |forest| forest.means.truncate(1)),
            ("an unknown feature", |forest| forest.cuts[0].feature = 2),
        ];
        for (what, damage) in damages {
            let mut damaged = forest.clone();
            damage(&mut damaged);
            assert!(!damaged.is_sound(), "{what}");
        }
    }
}
