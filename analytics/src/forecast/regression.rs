//! A linear regression whose sums are kept up to date and forget, solved when asked, drawn to a prior while it knows little.

use serde::{Deserialize, Serialize};

/// The most coefficients of a regression: nine lags, a mean and the constant.
pub(crate) const COEFFICIENTS_MAX: usize = 11;

/// How many rows the prior counts for. 10: a day of hourly steps speaks louder, a handful of rows does not.
const PRIOR_ROWS: f64 = 10.0;

/// Coefficients of the regressors, then the constant; those past the regression's own are 0.
pub(crate) type Coefficients = [f64; COEFFICIENTS_MAX];

/// Weighted sums of products of (regressors, 1, target).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Regression {
    /// Regressors without the constant.
    regressors: u8,
    /// Upper triangle, row by row, of the matrix of products of (regressors…, 1, target).
    products: Vec<f64>,
    /// Sum of weights of the rows.
    rows: f64,
    /// Weighted sum of |target − its most natural guess|: the scale at which the prior speaks.
    naive_errors: f64,
}

impl Regression {
    pub(crate) fn new(regressors: usize) -> Self {
        let side = regressors + 2;
        Regression {
            regressors: regressors as u8,
            products: vec![0.0; side * (side + 1) / 2],
            rows: 0.0,
            naive_errors: 0.0,
        }
    }

    /// Weight of all rows together.
    pub(crate) fn rows(&self) -> f64 {
        self.rows
    }

    /// Learns a row. `naive_error`: how far the target was from what a naive forecast would have said. `decay`: what the rows before
    /// it are multiplied by.
    pub(crate) fn learn(&mut self, regressors: &[f64], target: f64, naive_error: f64, decay: f64) {
        let mut row = [0.0; COEFFICIENTS_MAX + 1];
        let side = usize::from(self.regressors) + 2;
        row[..side - 2].copy_from_slice(&regressors[..side - 2]);
        row[side - 2] = 1.0;
        row[side - 1] = target;
        let mut products = self.products.iter_mut();
        for (i, left) in row[..side].iter().enumerate() {
            for (right, product) in row[i..side].iter().zip(products.by_ref()) {
                *product = *product * decay + left * right;
            }
        }
        self.rows = self.rows * decay + 1.0;
        self.naive_errors = self.naive_errors * decay + naive_error.abs();
    }

    /// The coefficients that fit the rows best in least squares, with [`PRIOR_ROWS`] rows that say `prior` (of the regressors).
    ///
    /// Each regressor gets its own row of size √[`PRIOR_ROWS`] · scale, which is ridge regression (Hoerl & Kennard 1970) around the prior
    /// instead of around 0; the scale is the mean error of the naive forecast, so that neither unit nor trend weakens it.
    pub(crate) fn solve(&self, prior: &[f64]) -> Coefficients {
        let regressors = usize::from(self.regressors);
        let mut coefficients = [0.0; COEFFICIENTS_MAX];
        coefficients[..regressors].copy_from_slice(&prior[..regressors]);
        let scale = self.naive_errors / self.rows.max(1.0);
        let unit = scale * scale;
        if !unit.is_normal() {
            return coefficients;
        }
        let count = regressors + 1;
        // In units of the scale, the constant too: its row below is of size 1 like the others'.
        let mut matrix = [[0.0; COEFFICIENTS_MAX]; COEFFICIENTS_MAX];
        let mut right = [0.0; COEFFICIENTS_MAX];
        // The triangle's rows: products with the regressors from i on, with 1, and with the target.
        let mut products = self.products.as_slice();
        for i in 0..count {
            let (row, rest) = products.split_at(count + 1 - i);
            products = rest;
            let row_scale = if i == regressors { 1.0 } else { scale };
            for (j, product) in (i..count).zip(row) {
                let column_scale = if j == regressors { 1.0 } else { scale };
                matrix[i][j] = product / row_scale / column_scale;
                matrix[j][i] = matrix[i][j];
            }
            right[i] = row[count - i] / row_scale / scale;
        }
        for i in 0..regressors {
            matrix[i][i] += PRIOR_ROWS;
            right[i] += PRIOR_ROWS * prior[i];
        }
        matrix[regressors][regressors] += 1.0;
        if let Some(mut solution) = solve_positive(&mut matrix, right, count) {
            solution[regressors] *= scale;
            coefficients = solution;
        }
        coefficients
    }
}

/// Solves a positive definite system of `count` equations by Cholesky's decomposition; `None` if rounding has made it indefinite.
fn solve_positive(
    matrix: &mut [[f64; COEFFICIENTS_MAX]; COEFFICIENTS_MAX],
    mut right: Coefficients,
    count: usize,
) -> Option<Coefficients> {
    for j in 0..count {
        for i in j..count {
            let products = matrix[i][..j].iter().zip(&matrix[j][..j]);
            let sum = products.fold(matrix[i][j], |sum, (a, b)| sum - a * b);
            if i == j {
                if !(sum.is_normal() && sum > 0.0) {
                    return None;
                }
                matrix[j][j] = sum.sqrt();
            } else {
                matrix[i][j] = sum / matrix[j][j];
            }
        }
    }
    for i in 0..count {
        for k in 0..i {
            right[i] -= matrix[i][k] * right[k];
        }
        right[i] /= matrix[i][i];
    }
    for i in (0..count).rev() {
        for k in i + 1..count {
            right[i] -= matrix[k][i] * right[k];
        }
        right[i] /= matrix[i][i];
    }
    right.iter().all(|value| value.is_finite()).then_some(right)
}
