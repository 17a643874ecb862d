//! Reads the series: one gzip file each, `timestamp` in Unix seconds, `value` (empty = no sample), `label` (1 = abnormal).

use std::path::Path;

use schemas::Micros;
use schemas::time::SECOND;

use crate::ScoreError;
use crate::read::{malformed, number, rows, text};

/// A series with its labels, oldest sample first; minutes without a value are left out.
#[derive(Debug, Clone)]
pub(super) struct LabelledSeries {
    pub(super) name: String,
    pub(super) times: Vec<Micros>,
    pub(super) values: Vec<f64>,
    pub(super) labels: Vec<bool>,
}

impl LabelledSeries {
    /// First and last row (inclusive) of each labelled segment.
    pub(super) fn segments(&self) -> Vec<(usize, usize)> {
        super::runs(self.labels.len(), |row| self.labels[row])
    }

    /// How long it is.
    pub(super) fn weeks(&self) -> f64 {
        match (self.times.first(), self.times.last()) {
            (Some(first), Some(last)) => (last - first) as f64 / (7.0 * 86_400.0 * SECOND as f64),
            _ => 0.0,
        }
    }
}

/// All series of the folder in the order of their names.
pub(super) fn read(folder: &Path) -> Result<Vec<LabelledSeries>, ScoreError> {
    let unreadable = |cause| ScoreError::Unreadable {
        path: folder.to_owned(),
        cause,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".csv.gz")) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        return Err(malformed(folder, "files named *.csv.gz".to_owned(), "none"));
    }
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| read_one(folder, name))
        .collect()
}

fn read_one(folder: &Path, name: String) -> Result<LabelledSeries, ScoreError> {
    let path = folder.join(&name);
    let text = text(&path)?;
    let mut series = LabelledSeries {
        name,
        times: Vec::new(),
        values: Vec::new(),
        labels: Vec::new(),
    };
    for (line, [at, value, label]) in rows(&path, &text, ["timestamp", "value", "label"])? {
        if value.is_empty() {
            continue;
        }
        let time = at
            .parse::<i64>()
            .ok()
            .and_then(|seconds| seconds.checked_mul(SECOND))
            .ok_or_else(|| malformed(&path, format!("Unix seconds in line {line}"), at))?;
        series.times.push(time);
        series.values.push(number(&path, line, value)?);
        series.labels.push(number(&path, line, label)? != 0.0);
    }
    Ok(series)
}
