//! What the word at the cursor may become: names of tables and columns, words of SQL, commands of the shell.

use std::collections::{BTreeMap, BTreeSet};

use super::command;
use super::line::in_word;

/// Words of SQL, as people write them, and the functions that are asked for most.
const WORDS: &str = "SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET AS ON JOIN LEFT RIGHT FULL INNER OUTER CROSS USING UNION ALL \
    INTERSECT EXCEPT DISTINCT WITH RECURSIVE VALUES AND OR NOT IN LIKE ILIKE BETWEEN IS NULL TRUE FALSE CASE WHEN THEN ELSE END CAST \
    INTERVAL OVER PARTITION ROWS RANGE PRECEDING FOLLOWING ASC DESC NULLS FIRST LAST EXISTS EXPLAIN ANALYZE SHOW TABLES COLUMNS FUNCTIONS \
    DESCRIBE count sum min max avg stddev median approx_percentile_cont date_bin date_trunc now round abs coalesce lag lead row_number";
/// Words after which a table stands.
const BEFORE_TABLE: [&str; 4] = ["from", "join", "describe", "into"];

/// Names of the tables, each with those of its columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names(pub(super) BTreeMap<String, Vec<String>>);

/// What the text before the cursor may go on with: how many bytes of it are replaced, and by what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) bytes: usize,
    pub(super) candidates: Vec<String>,
}

impl Completion {
    /// What all candidates begin with.
    pub(super) fn common(&self) -> String {
        let Some((first, others)) = self.candidates.split_first() else {
            return String::new();
        };
        let mut common = first.as_str();
        for other in others {
            let same = common
                .char_indices()
                .zip(other.chars())
                .find(|((_, a), b)| !a.eq_ignore_ascii_case(b));
            let end = same.map_or(common.len().min(other.len()), |((at, _), _)| at);
            common = &common[..end];
        }
        common.to_owned()
    }
}

/// Completes the last word of a text, which began `statement`.
pub(super) fn complete(names: &Names, before_cursor: &str) -> Completion {
    let start = before_cursor.rfind(|c| !in_word(c)).map_or(0, |at| {
        at + before_cursor[at..].chars().next().map_or(0, char::len_utf8)
    });
    let (before, word) = before_cursor.split_at(start);
    let tables = || names.0.keys().map(String::as_str).collect::<Vec<_>>();
    let line = before_cursor.rsplit('\n').next().unwrap_or_default();
    if line.starts_with('\\') {
        let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
        return match (line.contains(' '), name) {
            (false, _) => matching(line, command::NAMES.iter().map(|(name, ..)| *name)),
            (true, "\\d") => matching(argument, tables()),
            (true, "\\f") => matching(argument, command::FORMATS),
            _ => Completion {
                bytes: 0,
                candidates: Vec::new(),
            },
        };
    }
    let columns = |table: &str| names.0.get(table).into_iter().flatten().map(String::as_str);
    if let Some(qualifier) = before.strip_suffix('.') {
        let name = last_word(qualifier);
        let table = table_of(names, before_cursor, name).unwrap_or(name);
        return matching(word, columns(table));
    }
    let previous = last_word(before.trim_end()).to_ascii_lowercase();
    if BEFORE_TABLE.contains(&previous.as_str()) {
        return matching(word, tables());
    }
    if word.is_empty() {
        return matching("", []);
    }
    let mentioned: Vec<&str> = words(before_cursor)
        .filter(|word| names.0.contains_key(*word))
        .collect();
    let offered: Vec<&str> = if mentioned.is_empty() {
        names.0.values().flatten().map(String::as_str).collect()
    } else {
        mentioned.into_iter().flat_map(columns).collect()
    };
    let named = matching(word, offered.into_iter().chain(tables()));
    // What is in the tables is meant more often than a word of the language that begins alike.
    if named.candidates.is_empty() {
        matching(word, WORDS.split_whitespace())
    } else {
        named
    }
}

fn matching<'a>(word: &str, all: impl IntoIterator<Item = &'a str>) -> Completion {
    let begins = |name: &&str| {
        name.get(..word.len())
            .is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
    };
    let candidates: BTreeSet<String> = all.into_iter().filter(begins).map(str::to_owned).collect();
    Completion {
        bytes: word.len(),
        candidates: candidates.into_iter().collect(),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !in_word(c)).filter(|word| !word.is_empty())
}

fn last_word(text: &str) -> &str {
    text.rsplit(|c| !in_word(c)).next().unwrap_or_default()
}

/// The table that an alias stands for: `FROM samples s`, `JOIN samples AS s`.
fn table_of<'a>(names: &'a Names, text: &str, alias: &str) -> Option<&'a str> {
    let words: Vec<&str> = words(text)
        .filter(|word| !word.eq_ignore_ascii_case("as"))
        .collect();
    let named = words
        .windows(2)
        .find(|pair| pair[1] == alias && names.0.contains_key(pair[0]))?;
    names
        .0
        .get_key_value(named[0])
        .map(|(table, _)| table.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before_cursor: &str, bytes: usize, candidates: &[&str]) {
        let table = |name: &str, columns: &[&str]| {
            (
                name.to_owned(),
                columns.iter().map(|&c| c.to_owned()).collect(),
            )
        };
        let names = Names(BTreeMap::from([
            table("samples", &["time", "metric", "value"]),
            table("rollups_1m", &["time", "metric", "sum", "sum_squares"]),
            table("rollups_10s", &["time"]),
        ]));
        let candidates = candidates.iter().map(|&c| c.to_owned()).collect();
        assert_eq!(
            complete(&names, before_cursor),
            Completion { bytes, candidates },
            "`{before_cursor}`"
        );
    }

    #[test]
    fn offers_what_can_stand_there() {
        check("SELECT * FROM sam", 3, &["samples"]);
        check(
            "SELECT * FROM ",
            0,
            &["rollups_10s", "rollups_1m", "samples"],
        );
        check(
            "SELECT * FROM samples JOIN r",
            1,
            &["rollups_10s", "rollups_1m"],
        );
        check("sel", 3, &["SELECT"]);
        check("SELECT me", 2, &["metric"]);
        check("SELECT * FROM samples WHERE va", 2, &["value"]);
        check("SELECT * FROM samples WHERE me", 2, &["metric"]);
        check("SELECT * FROM samples WHERE med", 3, &["median"]);
        check(
            "SELECT x FROM rollups_1m s WHERE s.sum",
            3,
            &["sum", "sum_squares"],
        );
        check(
            "SELECT x FROM rollups_1m AS s WHERE s.",
            0,
            &["metric", "sum", "sum_squares", "time"],
        );
        check("SELECT samples.v", 1, &["value"]);
        check("SELECT ", 0, &[]);
        check("zzz", 3, &[]);
    }

    #[test]
    fn offers_commands_and_their_arguments() {
        check("\\t", 2, &["\\timing"]);
        check("\\d sa", 2, &["samples"]);
        check("\\f nd", 2, &["ndjson"]);
        check("\\o fi", 0, &[]);
    }

    #[test]
    fn several_candidates_have_a_common_beginning() {
        let completion = |candidates: &[&str]| Completion {
            bytes: 0,
            candidates: candidates.iter().map(|&c| c.to_owned()).collect(),
        };
        assert_eq!(
            completion(&["rollups_10s", "rollups_1m"]).common(),
            "rollups_1"
        );
        assert_eq!(completion(&["sum", "sum_squares"]).common(), "sum");
        assert_eq!(completion(&["OR", "value"]).common(), "");
        assert_eq!(completion(&[]).common(), "");
    }
}
