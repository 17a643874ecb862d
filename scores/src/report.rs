//! What a benchmark says: its metrics, and the same per series, as JSON and as a table for a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// The result of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name: `nab`, `wsd`, `forest`, `forecast`, `disk`.
    pub benchmark: &'static str,
    /// Its metrics over all series, by name.
    pub metrics: BTreeMap<String, f64>,
    /// The same by series, in the order of their names.
    pub per_series: Vec<SeriesScore>,
}

/// What one series (file, data set, disk) contributed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesScore {
    /// Its name: the path of its file within the data folder, or the id that the data set gives it.
    pub series: String,
    /// Its metrics by name; one that has no value for this series is left out.
    pub metrics: BTreeMap<String, f64>,
}

impl Report {
    /// The report as a table: a line per series, then the metrics of all.
    pub fn table(&self) -> String {
        let mut names: Vec<&str> = self
            .per_series
            .iter()
            .flat_map(|series| series.metrics.keys().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        let width = self
            .per_series
            .iter()
            .map(|series| series.series.chars().count())
            .max()
            .unwrap_or(0)
            .max("series".len());
        let mut text = String::new();
        if !self.per_series.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{:width$}", "series");
            for name in &names {
                let _ = write!(text, "  {name:>12}");
            }
            text.push('\n');
            for series in &self.per_series {
                let _ = write!(text, "{:width$}", series.series);
                for name in &names {
                    let cell = series
                        .metrics
                        .get(*name)
                        .map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
                    let _ = write!(text, "  {cell:>width$}", width = name.len().max(12));
                }
                text.push('\n');
            }
            text.push('\n');
        }
        for (name, value) in &self.metrics {
            let _ = writeln!(text, "{}  {name}  {value:.4}", self.benchmark);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_per_series_and_a_hole_where_a_metric_has_no_value() {
        let series = |name: &str, metrics: &[(&str, f64)]| SeriesScore {
            series: name.to_owned(),
            metrics: metrics
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
        };
        let report = Report {
            benchmark: "disk",
            metrics: BTreeMap::from([("brier_skill_14d".to_owned(), 0.25)]),
            per_series: vec![series("a.csv", &[("recall", 1.0)]), series("b.csv", &[])],
        };
        let table = report.table();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines,
            [
                vec!["series", "recall"],
                vec!["a.csv", "1.0000"],
                vec!["b.csv", "-"],
                vec![],
                vec!["disk", "brier_skill_14d", "0.2500"],
            ]
        );
    }
}
