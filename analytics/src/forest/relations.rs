//! What each number of a row is by the others: what is left of it then is what no single number shows, a combination that does not occur.
//!
//! Cuts along the axes hardly see a busy processor beside an idle network while each of the two is as it often is. What is left of a number once the
//! others have told what they let expect shows it at once.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Numbers count up to this many of their mean sizes when they tell of others: one that is wild says nothing of its neighbours.
const CUT: f64 = 4.0;
/// Where they are cut for the distance of a row: ten σ of a normal distribution say enough.
const DISTANCE_CUT: f64 = 12.0;
/// What is added to each variance, as a share of it, before the relations are solved for (ridge: Hoerl & Kennard 1970). 0.1: of two numbers that are
/// always the same, each is then still told for the most part by the other.
const RIDGE: f64 = 0.1;

/// The linear relations between the numbers of rows whose usual value is zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Relations {
    /// By number: its usual size; 0 = it never moves, and tells nothing.
    sizes: Vec<f64>,
    /// width × width, by row: what each number lets expect of this one, both in their usual sizes.
    weights: Vec<f64>,
    /// width × width: Λ, of numbers in their usual sizes.
    inverse: Vec<f64>,
}

impl Relations {
    /// The relations in rows: n_rows × n_numbers; NaN counts as zero. The regression of each number on all others follows from the inverse Λ of
    /// their correlations: the weight of number k for number j is −Λ_jk / Λ_jj.
    pub(super) fn of(rows: ArrayView2<'_, f64>) -> Self {
        let width = rows.ncols();
        let sizes: Vec<f64> = rows
            .columns()
            .into_iter()
            .map(|column| {
                let known = column.iter().filter(|value| value.is_finite());
                let (sum, count) = known.fold((0.0, 0.0), |(sum, count), value| {
                    (sum + value.abs().min(f64::MAX / 1e9), count + 1.0)
                });
                if sum > 0.0 { sum / count } else { 0.0 }
            })
            .collect();
        let mut relations = Relations {
            sizes,
            weights: Vec::new(),
            inverse: Vec::new(),
        };
        let mut matrix = Array2::<f64>::zeros((width, width));
        for row in rows.rows() {
            let scaled: Vec<f64> = (0..width).map(|i| relations.scaled(i, row[i])).collect();
            for i in 0..width {
                for j in 0..=i {
                    matrix[[i, j]] += scaled[i] * scaled[j];
                }
            }
        }
        let variances: Vec<f64> = (0..width).map(|i| matrix[[i, i]]).collect();
        for i in 0..width {
            for j in 0..i {
                let both = (variances[i] * variances[j]).sqrt();
                let correlation = if both > 0.0 {
                    matrix[[i, j]] / both
                } else {
                    0.0
                };
                (matrix[[i, j]], matrix[[j, i]]) = (correlation, correlation);
            }
            matrix[[i, i]] = 1.0 + RIDGE;
        }
        let inverse = inverted(matrix);
        relations.weights = (0..width * width)
            .map(|at| {
                let (i, k) = (at / width, at % width);
                let spread = variances[i] / variances[k];
                if i == k || !spread.is_normal() {
                    0.0
                } else {
                    -inverse[[i, k]] / inverse[[i, i]] * spread.sqrt()
                }
            })
            .collect();
        // Numbers that never move have variance 0, and their part of Λ is that of a ridge alone.
        let scale = |at: usize| {
            let both = variances[at / width] * variances[at % width];
            let count = rows.nrows().max(1) as f64;
            if both > 0.0 { count / both.sqrt() } else { 0.0 }
        };
        relations.inverse = inverse
            .iter()
            .enumerate()
            .map(|(at, value)| value * scale(at))
            .collect();
        relations
    }

    /// Whether it is of rows of so many numbers.
    pub(super) fn fits(&self, width: usize) -> bool {
        self.sizes.len() == width
            && self.weights.len() == width * width
            && self.inverse.len() == width * width
    }

    /// By number: what is left of it once the others have told what they let expect. NaN where the number is.
    pub(super) fn rest(&self, row: &[f64]) -> Vec<f64> {
        let width = self.sizes.len();
        let scaled: Vec<f64> = row
            .iter()
            .enumerate()
            .map(|(i, value)| self.scaled(i, *value))
            .collect();
        row.iter()
            .enumerate()
            .map(|(i, value)| {
                let weights = &self.weights[i * width..(i + 1) * width];
                let told = weights.iter().zip(&scaled);
                let told: f64 = told.map(|(weight, value)| weight * value).sum();
                value - told * self.sizes[i]
            })
            .collect()
    }

    /// By number: what it adds to the squared distance of the row from the usual one (Mahalanobis 1936), divided by how many numbers there are: together
    /// they are about 1 of a usual row. Negative where the number is as the others let expect.
    pub(super) fn distances(&self, row: &[f64]) -> Vec<f64> {
        let width = self.sizes.len();
        let scaled = row.iter().enumerate();
        let scaled: Vec<f64> = scaled.map(|(i, v)| self.cut(i, *v, DISTANCE_CUT)).collect();
        (0..width)
            .map(|i| {
                let inverse = &self.inverse[i * width..(i + 1) * width];
                let sum: f64 = inverse.iter().zip(&scaled).map(|(a, b)| a * b).sum();
                scaled[i] * sum / width as f64
            })
            .collect()
    }

    fn scaled(&self, i: usize, value: f64) -> f64 {
        self.cut(i, value, CUT)
    }

    /// A number in its usual size, cut; 0 if it is not known or never moves.
    fn cut(&self, i: usize, value: f64, cut: f64) -> f64 {
        let scaled = value / self.sizes[i];
        if scaled.is_nan() || self.sizes[i] == 0.0 {
            0.0
        } else {
            scaled.clamp(-cut, cut)
        }
    }
}

/// The inverse of a symmetric matrix whose least eigenvalue is at least [`RIDGE`], so that no pivot comes near zero (Gauss and Jordan).
fn inverted(mut matrix: Array2<f64>) -> Array2<f64> {
    let width = matrix.nrows();
    for pivot in 0..width {
        let by = 1.0 / matrix[[pivot, pivot]];
        matrix[[pivot, pivot]] = 1.0;
        for j in 0..width {
            matrix[[pivot, j]] *= by;
        }
        for i in (0..width).filter(|i| *i != pivot) {
            let factor = matrix[[i, pivot]];
            matrix[[i, pivot]] = 0.0;
            for j in 0..width {
                matrix[[i, j]] -= factor * matrix[[pivot, j]];
            }
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of three numbers: two move together, up to a tenth; the third never moves.
    fn rows() -> Array2<f64> {
        Array2::from_shape_fn((200, 3), |(i, j)| {
            let shared = ((i * 37) % 101) as f64 - 50.0;
            let own = ((i * (17 + j) + 5 * j) % 11) as f64 - 5.0;
            if j == 2 { 0.0 } else { shared + own }
        })
    }

    #[test]
    fn what_moves_together_leaves_nothing_and_what_parts_leaves_much() {
        let relations = Relations::of(rows().view());
        let together = relations.rest(&[40.0, 40.0, 0.0]);
        let apart = relations.rest(&[40.0, -40.0, 0.0]);
        assert!(together[0].abs() < 8.0, "{together:?}");
        assert!(apart[0] > 70.0 && apart[1] < -70.0, "{apart:?}");
        assert_eq!(relations.rest(&[1.0, 2.0, 7.0])[2], 7.0);
    }

    #[test]
    fn a_row_that_does_not_occur_is_far_away() {
        let relations = Relations::of(rows().view());
        let distance = |row: &[f64]| relations.distances(row).iter().sum::<f64>();
        assert!((0.1..1.0).contains(&distance(&[40.0, 40.0, 0.0])));
        let apart = relations.distances(&[40.0, -40.0, 0.0]);
        assert!(
            apart[0] > 3.0 && apart[1] > 3.0 && apart[2] == 0.0,
            "{apart:?}"
        );
        assert_eq!(distance(&[0.0; 3]), 0.0);
    }

    #[test]
    fn an_inverse_is_one() {
        let matrix = Array2::from_shape_vec((2, 2), vec![1.1, 0.9, 0.9, 1.1]).unwrap();
        let product = matrix.dot(&inverted(matrix.clone()));
        let identity = Array2::<f64>::eye(2);
        assert!((product - identity).iter().all(|rest| rest.abs() < 1e-12));
    }

    #[test]
    fn holes_and_extremes_give_numbers() {
        let mut rows = rows();
        (rows[[0, 0]], rows[[1, 1]]) = (f64::NAN, f64::INFINITY);
        (rows[[2, 0]], rows[[3, 1]]) = (1e308, -1e308);
        let relations = Relations::of(rows.view());
        assert!(relations.fits(3) && !relations.fits(2));
        let rest = relations.rest(&[f64::NAN, 1.0, 1e300]);
        assert!(
            rest[0].is_nan() && rest[1].is_finite() && rest[2].is_finite(),
            "{rest:?}"
        );
        let nothing = Relations::of(Array2::<f64>::zeros((0, 2)).view());
        assert_eq!(nothing.rest(&[3.0, 4.0]), [3.0, 4.0]);
    }
}
