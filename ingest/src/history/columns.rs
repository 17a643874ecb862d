//! What the columns of a history file mean, from their names alone.

use super::error::HistoryError;
use super::intake::STANDARD_INPUT;
use super::timestamp::shortened;

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    Metric,
    Value,
    Label,
}

/// The columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    pub(super) roles: Vec<Role>,
    pub(super) time: usize,
    pub(super) value: usize,
    pub(super) metric: Option<usize>,
}

/// What a file must have, for messages.
pub(super) const EXPECTED: &str =
    "columns `timestamp` (or `time`) and `value`, perhaps `metric`, and labels";

impl Columns {
    /// Reads the names: `timestamp` or `time`, `metric`, `value` in any case of letters; all others are labels.
    pub(super) fn of(file: &str, names: Vec<String>) -> Result<Columns, HistoryError> {
        let wrong = |expected: String, found: String| HistoryError::Format {
            file: file.to_owned(),
            expected,
            found,
        };
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
        for (position, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(wrong(
                    "a name for every column".into(),
                    format!("column {} without one", position + 1),
                ));
            }
            if let Some(first) = names[..position].iter().position(|other| other == name) {
                return Err(wrong(
                    "each column once".into(),
                    format!(
                        "`{}` as columns {} and {}",
                        shortened(name),
                        first + 1,
                        position + 1
                    ),
                ));
            }
        }
        let find = |wanted: &[&str]| -> Result<Option<usize>, HistoryError> {
            let found: Vec<usize> = (0..names.len())
                .filter(|i| wanted.iter().any(|wanted| is(&names[*i], wanted)))
                .collect();
            match found[..] {
                [] => Ok(None),
                [one] => Ok(Some(one)),
                [a, b, ..] => Err(wrong(
                    format!("one column `{}`", wanted.join("` or `")),
                    format!("`{}` and `{}`", names[a], names[b]),
                )),
            }
        };
        let missing = |name: &str| {
            let shown: Vec<String> = names.iter().take(12).map(|name| shortened(name)).collect();
            wrong(
                EXPECTED.to_owned(),
                format!("no `{name}` among `{}`", shown.join("`, `")),
            )
        };
        let time = find(&["timestamp", "time"])?.ok_or_else(|| missing("timestamp"))?;
        let value = find(&["value"])?.ok_or_else(|| missing("value"))?;
        let metric = find(&["metric"])?;
        let roles = (0..names.len())
            .map(|i| match i {
                i if i == time => Role::Time,
                i if i == value => Role::Value,
                i if Some(i) == metric => Role::Metric,
                _ => Role::Label,
            })
            .collect();
        Ok(Columns {
            names,
            roles,
            time,
            value,
            metric,
        })
    }
}

/// Endings of packed files, which say nothing of what is in them.
const PACKED: [&str; 2] = ["gz", "zst"];

/// The metric of what comes by standard input without a column for it.
const METRIC_OF_STANDARD_INPUT: &str = "stdin";

/// The metric of a file without a column for it: its name without directory and ending.
pub(super) fn metric_of_file(file: &str) -> Result<String, HistoryError> {
    if file == STANDARD_INPUT {
        return Ok(METRIC_OF_STANDARD_INPUT.to_owned());
    }
    let path = std::path::Path::new(file);
    let packed = path.extension().is_some_and(|ending| {
        PACKED
            .iter()
            .any(|packed| ending.eq_ignore_ascii_case(packed))
    });
    // `cpu.csv.gz` holds `cpu.csv`.
    let path = match packed {
        true => path.with_extension(""),
        false => path.to_owned(),
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned)
        .filter(|stem| !stem.is_empty())
        .ok_or_else(|| HistoryError::Format {
            file: file.to_owned(),
            expected: "a column `metric`, or a file name that can be the metric's".to_owned(),
            found: "neither".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Result<Columns, String> {
        Columns::of(
            "f.csv",
            names.iter().map(|name| (*name).to_owned()).collect(),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn all_but_three_are_labels() {
        let found = columns(&["host", "Time", "metric", "VALUE", "cpu"]).unwrap();
        assert_eq!((found.time, found.value, found.metric), (1, 3, Some(2)));
        assert_eq!(
            found.roles,
            [
                Role::Label,
                Role::Time,
                Role::Metric,
                Role::Value,
                Role::Label
            ]
        );
    }

    #[test]
    fn a_file_is_called_what_it_holds() {
        for (file, metric) in [
            ("/a/cpu.csv", Some("cpu")),
            ("cpu.csv.gz", Some("cpu")),
            ("cpu.load.csv.ZST", Some("cpu.load")),
            ("cpu.gz", Some("cpu")),
            ("cpu", Some("cpu")),
            ("-", Some("stdin")),
            ("", None),
        ] {
            assert_eq!(metric_of_file(file).ok().as_deref(), metric, "{file}");
        }
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for (names, said) in [
            (&["time", "val"][..], "no `value` among `time`, `val`"),
            (&["when", "value"], "no `timestamp` among"),
            (
                &["time", "value", "host", "host"],
                "`host` as columns 3 and 4",
            ),
            (&["time", "timestamp", "value"], "`time` and `timestamp`"),
            (&["time", "value", "Value"], "`value` and `Value`"),
            (&["time", "", "value"], "column 2 without one"),
        ] {
            let error = columns(names).unwrap_err();
            assert!(error.contains(said), "{names:?}: {error}");
        }
    }
}
