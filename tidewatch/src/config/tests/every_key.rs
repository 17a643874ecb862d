//! Every key of the defaults with a wrong type, a wrong unit, a misspelt name, in a file and in the environment: one problem each, at the right place.

use toml::{Table, Value};

use super::super::layers::known_paths;
use super::super::units::{parse_duration, parse_size};
use super::*;
use crate::error_codes::{CONFIG_TYPE, CONFIG_UNKNOWN};

/// Section, key and default of every setting.
fn settings() -> Vec<(String, String, Value)> {
    let defaults: Table = DEFAULTS.parse().unwrap();
    let find = |path: &str| {
        let mut value = &Value::Table(defaults.clone());
        let parts: Vec<&str> = path.split('.').collect();
        for part in parts {
            value = &value.as_table().unwrap()[part];
        }
        value.clone()
    };
    let paths = known_paths(DEFAULTS);
    assert!(paths.len() > 60, "the defaults hold {} keys", paths.len());
    paths
        .iter()
        .map(|path| {
            let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
            (section.to_owned(), key.to_owned(), find(path))
        })
        .collect()
}

/// The one problem of a file with one line in one section.
#[track_caller]
fn only_problem(section: &str, line: &str) -> ConfigProblem {
    let head = match section {
        "" => String::new(),
        section => format!("[{section}]"),
    };
    let file = format!("# a comment\n\n{head}\n  {line}\n");
    let Err(ConfigErrors(problems)) = read(&file, &[]) else {
        panic!("`{line}` in [{section}] was taken")
    };
    assert_eq!(problems.len(), 1, "`{line}` in [{section}]: {problems:#?}");
    problems.into_iter().next().unwrap()
}

/// The path of a key, which may stand in no section.
fn join(section: &str, key: &str) -> String {
    format!("{section}.{key}")
        .trim_start_matches('.')
        .to_owned()
}

fn is_duration(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| parse_duration(text).is_some())
}

fn is_size(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| parse_size(text).is_some())
}

/// Values of every type but the right one.
fn wrong_types(right: &Value) -> Vec<&'static str> {
    let all = [
        ("integer", "7"),
        ("float", "7.5"),
        ("boolean", "true"),
        ("string", "\"seven\""),
        ("array", "[7]"),
        ("datetime", "2026-01-01T00:00:00Z"),
        ("table", "{ a = 1 }"),
    ];
    // Where a float is wanted, a whole number is one.
    let fits = |name: &str| name == right.type_str() || (right.is_float() && name == "integer");
    all.iter()
        .filter(|(name, _)| !fits(name))
        .map(|(_, text)| *text)
        .collect()
}

#[test]
fn a_wrong_type_is_told_for_every_key() {
    for (section, key, default) in settings() {
        for wrong in wrong_types(&default) {
            let problem = only_problem(&section, &format!("{key} = {wrong}"));
            let path = join(&section, &key);
            let place = format!("t.toml:4:{}: `{path}`: ", 6 + key.len());
            assert!(
                problem.text.starts_with(&place)
                    && problem.text.contains("expected ")
                    && problem.text.contains(", found "),
                "`{key} = {wrong}`: {problem}"
            );
            assert_eq!(problem.code, &CONFIG_TYPE, "`{key} = {wrong}`: {problem}");
        }
    }
}

#[test]
fn a_wrong_unit_is_told_for_every_duration_and_size() {
    let mut checked = 0;
    for (section, key, default) in settings() {
        let wrong: &[&str] = if is_duration(&default) {
            &["10", "10 apples", "1.5s", "-1s", "", "10S", "10min", "5KiB"]
        } else if is_size(&default) {
            &["10", "10mb", "1.5GiB", "-1B", "", "10 apples", "5s", "5K"]
        } else {
            continue;
        };
        for text in wrong {
            let problem = only_problem(&section, &format!("{key} = \"{text}\""));
            assert!(
                problem.text.contains(" with a unit, such as ")
                    && problem
                        .text
                        .ends_with(&format!("found the text \"{text}\"")),
                "{section}.{key} = \"{text}\": {problem}"
            );
            checked += 1;
        }
    }
    assert!(checked > 200, "only {checked} were checked");
}

/// A letter left out, one twice, two swapped, one changed.
fn misspelt(key: &str) -> Vec<String> {
    let letters: Vec<char> = key.chars().collect();
    let middle = letters.len() / 2;
    let mut without = letters.clone();
    without.remove(middle);
    let mut twice = letters.clone();
    twice.insert(middle, letters[middle]);
    let mut swapped = letters.clone();
    swapped.swap(middle - 1, middle);
    let mut changed = letters.clone();
    changed[middle] = 'x';
    [without, twice, swapped, changed]
        .iter()
        .map(|letters| letters.iter().collect())
        .filter(|word: &String| word != key)
        .collect()
}

/// The name that a problem suggests.
fn suggested(problem: &ConfigProblem) -> &str {
    assert_eq!(problem.code, &CONFIG_UNKNOWN, "{problem}");
    let (_, rest) = problem
        .text
        .split_once("the nearest valid one is `")
        .unwrap();
    rest.strip_suffix('`').unwrap()
}

#[test]
fn a_misspelt_name_leads_to_the_right_one_for_every_key() {
    let known = known_paths(DEFAULTS);
    for (section, key, default) in settings() {
        for wrong in misspelt(&key) {
            if known.contains(&join(&section, &wrong)) {
                continue;
            }
            let problem = only_problem(&section, &format!("{wrong} = {default}"));
            assert!(
                problem.text.starts_with(&format!(
                    "t.toml:4:3: unknown key `{}`",
                    join(&section, &wrong)
                )),
                "{problem}"
            );
            // `retention_1` is as near to `retention_1m` as to `retention_1h`: no farther than the right one is right.
            let (right, wrong) = (join(&section, &key), join(&section, &wrong));
            let distance = |name: &str| strsim::damerau_levenshtein(name, &wrong);
            let nearest = suggested(&problem);
            assert!(
                nearest == right || distance(nearest) <= distance(&right),
                "`{wrong}` leads to `{nearest}` and not to `{right}`"
            );
        }
    }
}

#[test]
fn a_misspelt_or_wrong_variable_is_told_for_every_key() {
    for (section, key, default) in settings() {
        let variable = |key: &str| {
            let path = join(&section, key).to_ascii_uppercase();
            format!("TIDEWATCH__{}", path.replace('.', "__"))
        };
        let name = variable(&format!("{key}q"));
        let Err(ConfigErrors(problems)) = read("", &[(&name, &default.to_string())]) else {
            panic!("{name} was taken")
        };
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems[0]
                .text
                .starts_with(&format!("environment variable {name}: unknown key")),
            "{}",
            problems[0]
        );
        assert_eq!(suggested(&problems[0]), variable(&key));

        // Any text is a text and a list of one; of the other types none begins so.
        let free = default.is_str() && !is_duration(&default) && !is_size(&default);
        if free || default.is_array() {
            continue;
        }
        let name = variable(&key);
        let Err(ConfigErrors(problems)) = read("", &[(&name, "x y")]) else {
            panic!("{name} was taken")
        };
        assert_eq!(
            (problems.len(), problems[0].code),
            (1, &CONFIG_TYPE),
            "{problems:#?}"
        );
        assert!(
            problems[0].text.starts_with(&format!(
                "environment variable {name}: `{section}.{key}`: expected "
            )) && problems[0].text.ends_with("found the text \"x y\""),
            "{}",
            problems[0]
        );
    }
}

#[test]
fn a_misspelt_section_leads_to_the_right_one() {
    let mut sections: Vec<String> = settings()
        .into_iter()
        .map(|(section, _, _)| section)
        .filter(|section| !section.is_empty())
        .chain(["bus.settings".to_owned(), "archive.options".to_owned()])
        .collect();
    sections.dedup();
    for section in sections {
        // Of a section in another one, its own name.
        let (parent, name) = section.split_at(section.rfind('.').map_or(0, |dot| dot + 1));
        for wrong in misspelt(name) {
            let wrong = format!("{parent}{wrong}");
            let file = format!("\n[{wrong}]\nx = 1\n");
            let Err(ConfigErrors(problems)) = read(&file, &[]) else {
                panic!("[{wrong}] was taken")
            };
            assert_eq!(problems.len(), 1, "[{wrong}]: {problems:#?}");
            assert!(
                problems[0].text.starts_with("t.toml:2:"),
                "[{wrong}]: {}",
                problems[0]
            );
            let nearest = suggested(&problems[0]);
            assert!(
                section == nearest || section.starts_with(&format!("{nearest}.")),
                "[{wrong}] leads to `{nearest}`"
            );
        }
    }
}
