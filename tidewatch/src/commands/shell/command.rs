//! The commands of the shell, which begin with `\`. Reads them; does none.

use clap::ValueEnum;

use crate::args::SqlFormat;

/// Each command, its argument, and what it does.
pub(super) const NAMES: [(&str, &str, &str); 9] = [
    ("\\d", "[TABLE]", "list the tables, or the columns of one"),
    (
        "\\f",
        "[FORMAT]",
        "how answers are written: table, csv, json, ndjson, parquet",
    ),
    ("\\limit", "[N]", "rows of an answer that are shown; 0: all"),
    (
        "\\o",
        "[FILE]",
        "write the next answer, all of it, to a file",
    ),
    ("\\q", "", "leave, as Ctrl-D does"),
    ("\\s", "", "say who answers"),
    (
        "\\timing",
        "",
        "show the time that an answer took, or no longer",
    ),
    (
        "\\x",
        "",
        "show a row as lines of a name and a value, or no longer",
    ),
    ("\\?", "", "this help"),
];
/// The formats by name.
pub(super) const FORMATS: [&str; 5] = ["table", "csv", "json", "ndjson", "parquet"];

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Tables,
    Columns(String),
    ShowFormat,
    Format(SqlFormat),
    ShowLimit,
    Limit(usize),
    /// `None`: to the terminal after all.
    Output(Option<String>),
    Leave,
    Who,
    Timing,
    Expanded,
    Help,
}

impl Command {
    /// Reads a line that begins with `\`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn read(line: &str) -> Result<Command, String> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        let command = match (name, argument) {
            ("\\d", "") => Command::Tables,
            ("\\d", table) => Command::Columns(table.to_owned()),
            ("\\f", "") => Command::ShowFormat,
            ("\\f", format) => {
                Command::Format(SqlFormat::from_str(format, true).map_err(|_| {
                    format!("format `{format}`: expected one of {}", FORMATS.join(", "))
                })?)
            }
            ("\\limit", "") => Command::ShowLimit,
            ("\\limit", rows) => Command::Limit(rows.parse().map_err(|_| {
                format!("\\limit `{rows}`: expected a number of rows; 0 shows all")
            })?),
            ("\\o", "") => Command::Output(None),
            ("\\o", file) => Command::Output(Some(file.to_owned())),
            ("\\q", "") => Command::Leave,
            ("\\s", "") => Command::Who,
            ("\\timing", "") => Command::Timing,
            ("\\x", "") => Command::Expanded,
            ("\\?", "") => Command::Help,
            (name, _) if NAMES.iter().any(|(known, ..)| *known == name) => {
                return Err(format!("{name} takes no argument"));
            }
            (name, _) => return Err(format!("{name} is no command; \\? lists them")),
        };
        Ok(command)
    }
}

/// A format as people name it.
pub(super) fn name_of(format: SqlFormat) -> String {
    let value = format.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What `\?` shows.
pub(super) fn help() -> String {
    let mut text = "A statement ends with a semicolon and may have several lines.\n\n".to_owned();
    for (name, argument, does) in NAMES {
        let usage = format!("{name} {argument}");
        text.push_str(&format!("  {usage:<16}{does}\n"));
    }
    text.push_str(
        "\n  Tab completes, Ctrl-R searches earlier statements, Ctrl-C stops a running query or empties the line.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands_and_refuses_what_is_none() {
        for (line, command) in [
            ("\\d", Command::Tables),
            ("\\d  samples ;", Command::Columns("samples".to_owned())),
            ("\\f CSV", Command::Format(SqlFormat::Csv)),
            ("\\limit 0", Command::Limit(0)),
            (
                "\\o my file.csv",
                Command::Output(Some("my file.csv".to_owned())),
            ),
            ("\\o", Command::Output(None)),
            ("\\x", Command::Expanded),
        ] {
            assert_eq!(Command::read(line), Ok(command), "`{line}`");
        }
        for (line, part) in [
            ("\\dt", "no command"),
            ("\\", "no command"),
            ("\\f xml", "expected one of table, csv"),
            ("\\limit -1", "expected a number"),
            ("\\q now", "takes no argument"),
        ] {
            let refused = Command::read(line).unwrap_err();
            assert!(refused.contains(part), "`{line}`: {refused}");
        }
    }

    #[test]
    fn formats_and_commands_are_told_completely() {
        let formats: Vec<String> = SqlFormat::value_variants()
            .iter()
            .map(|format| name_of(*format))
            .collect();
        assert_eq!(formats, FORMATS);
        for (name, ..) in NAMES {
            assert!(
                help().contains(name) && Command::read(name).is_ok(),
                "{name}"
            );
        }
    }
}
