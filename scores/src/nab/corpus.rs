//! Reads the corpus: series, and the windows around their labelled anomalies.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemas::Micros;

use super::scorer::LabelledSeries;
use crate::ScoreError;
use crate::read::{malformed, number, rows, text};

/// All series of the corpus in the order of their names: those that `labels/combined_windows.json` lists.
pub(super) fn read(folder: &Path) -> Result<Vec<LabelledSeries>, ScoreError> {
    let labels = folder.join("labels/combined_windows.json");
    let windows: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(&text(&labels)?)
        .map_err(|error| {
            malformed(
                &labels,
                "windows by file name".to_owned(),
                &error.to_string(),
            )
        })?;
    windows
        .into_iter()
        .map(|(name, windows)| {
            let path = folder.join("data").join(&name);
            let text = text(&path)?;
            let rows = rows(&path, &text, ["timestamp", "value"])?;
            let mut times = Vec::with_capacity(rows.len());
            let mut values = Vec::with_capacity(rows.len());
            for (line, [at, value]) in rows {
                times.push(
                    time(at)
                        .ok_or_else(|| malformed(&path, format!("a time in line {line}"), at))?,
                );
                values.push(number(&path, line, value)?);
            }
            let mut ranges = Vec::with_capacity(windows.len());
            for [start, end] in &windows {
                let row = |at: &str| {
                    let at = time(at)?;
                    times.iter().position(|time| *time == at)
                };
                match (row(start), row(end)) {
                    (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
                    _ => {
                        return Err(malformed(
                            &labels,
                            format!("a window from one row of {name} to a later one"),
                            &format!("{start} to {end}"),
                        ));
                    }
                }
            }
            Ok(LabelledSeries::new(name, times, values, &ranges))
        })
        .collect()
}

/// `2014-07-10 00:04:00`, a local time without its zone, taken as UTC.
fn time(text: &str) -> Option<Micros> {
    let local: DateTime = text.parse().ok()?;
    let zoned = local.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_fraction() {
        assert_eq!(time("1970-01-02 00:00:01"), Some(86_401_000_000));
        assert_eq!(time("1970-01-02 00:00:01.000000"), Some(86_401_000_000));
        assert_eq!(time("yesterday"), None);
    }
}
