//! Reads the M4 competition's hourly series as they were published: a line per series, its id first, then its values.

use std::path::Path;

use crate::ScoreError;

/// Steps to forecast.
pub const HORIZON: usize = 48;

/// The shortest history taken: two weeks, twice the longest season.
const HISTORY_MIN: usize = 2 * 168;

/// One series of the competition.
#[derive(Debug, Clone, PartialEq)]
pub struct M4Series {
    /// Its id, such as `H1`.
    pub name: String,
    /// Hourly values, oldest first.
    pub history: Vec<f64>,
    /// The [`HORIZON`] values that followed.
    pub future: Vec<f64>,
}

/// Reads `Hourly-train.csv` and `Hourly-test.csv` of a folder.
///
/// # Errors
/// BadInput: a file is missing, a value is no number, or the two do not hold the same series.
pub fn read_m4(folder: &Path) -> Result<Vec<M4Series>, ScoreError> {
    let train = read_rows(&folder.join("Hourly-train.csv"))?;
    let path = folder.join("Hourly-test.csv");
    let test = read_rows(&path)?;
    let malformed = |expected: String, found: String| ScoreError::Malformed {
        path: path.clone(),
        expected,
        found,
    };
    if train.len() != test.len() {
        return Err(malformed(
            format!("{} series, as in Hourly-train.csv", train.len()),
            format!("{}", test.len()),
        ));
    }
    let mut series = Vec::with_capacity(train.len());
    for ((name, history), (test_name, future)) in train.into_iter().zip(test) {
        if name != test_name {
            return Err(malformed(
                format!("series {name}, as in Hourly-train.csv"),
                test_name,
            ));
        }
        if future.len() != HORIZON || history.len() < HISTORY_MIN {
            return Err(malformed(
                format!("{HORIZON} values after at least {HISTORY_MIN} of series {name}"),
                format!("{} after {}", future.len(), history.len()),
            ));
        }
        series.push(M4Series {
            name,
            history,
            future,
        });
    }
    Ok(series)
}

/// Lines of an id and numbers; shorter ones end in empty cells.
fn read_rows(path: &Path) -> Result<Vec<(String, Vec<f64>)>, ScoreError> {
    let text = std::fs::read_to_string(path).map_err(|cause| ScoreError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        // No cell of these files holds a comma, a quote or a line end of its own.
        let mut cells = line.split(',').map(|cell| cell.trim().trim_matches('"'));
        let name = cells.next().unwrap_or_default().to_owned();
        let mut values = Vec::new();
        for cell in cells.take_while(|cell| !cell.is_empty()) {
            let value = cell.parse().ok().filter(|value: &f64| value.is_finite());
            values.push(value.ok_or_else(|| ScoreError::Malformed {
                path: path.to_owned(),
                expected: format!("a number in line {}", number + 1),
                found: cell.to_owned(),
            })?);
        }
        rows.push((name, values));
    }
    Ok(rows)
}
