//! Lays the defaults, a file, the environment and flags over each other, remembering where each value came from. Knows no setting by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::units::{parse_duration, parse_size};

/// Tables whose keys are free: what they hold goes on to a library. With each: what stands for `_` of an environment variable.
const OPEN_TABLES: [(&str, &str); 2] = [("bus.settings", "."), ("archive.options", "_")];

/// Prefix of the environment variables that are settings.
pub(super) const ENV_PREFIX: &str = "TIDEWATCH__";

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File { name: String, line: usize },
    Env(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the built-in defaults"),
            Origin::File { name, line } => write!(f, "{name}, line {line}"),
            Origin::Env(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it was set.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A value that a flag sets.
#[derive(Debug, Clone)]
pub struct FlagValue {
    /// The flag, as written: `--listen`.
    pub flag: &'static str,
    /// The key it stands for: `server.listen`.
    pub path: &'static str,
    /// Its value.
    pub value: Value,
}

/// All settings by their dotted path, and everything that was wrong with them.
#[derive(Debug)]
pub(super) struct Layers {
    defaults: BTreeMap<String, Value>,
    leaves: BTreeMap<String, Leaf>,
    taken: BTreeSet<String>,
    problems: Vec<String>,
}

impl Layers {
    /// Starts with the text of the defaults, which also says what keys there are.
    pub(super) fn new(defaults: &str) -> Self {
        let mut layers = Layers {
            defaults: BTreeMap::new(),
            leaves: BTreeMap::new(),
            taken: BTreeSet::new(),
            problems: Vec::new(),
        };
        match defaults.parse::<Table>() {
            Ok(table) => flatten("", &table, &mut layers.defaults),
            Err(error) => layers
                .problems
                .push(format!("the built-in defaults: {error}")),
        }
        let leaves = layers.defaults.iter().map(|(path, value)| {
            (
                path.clone(),
                Leaf {
                    value: value.clone(),
                    origin: Origin::Default,
                },
            )
        });
        layers.leaves = leaves.collect();
        layers
    }

    /// Lays the text of a file over what is there.
    pub(super) fn add_file(&mut self, name: &str, text: &str) {
        let (spanned, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            self.problems
                .push(format!("{name}, line {line}: {}", error.message()));
        }
        if !errors.is_empty() {
            return;
        }
        match text.parse::<Table>() {
            Ok(values) => self.add_table("", name, text, spanned.get_ref(), &values),
            Err(error) => self.problems.push(format!("{name}: {}", error.message())),
        }
    }

    fn add_table(
        &mut self,
        prefix: &str,
        name: &str,
        text: &str,
        spanned: &DeTable<'_>,
        values: &Table,
    ) {
        let mut entries: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = spanned.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let path = join(prefix, key.get_ref());
            let origin = Origin::File {
                name: name.to_owned(),
                line: line_of(text, key.span().start),
            };
            let Some(plain) = values.get(key.get_ref().as_ref()) else {
                continue;
            };
            match (value.get_ref(), plain) {
                (DeValue::Table(inner), Value::Table(plain)) if self.is_section(&path) => {
                    self.add_table(&path, name, text, inner, plain)
                }
                (_, plain) if self.is_section(&path) => {
                    self.problems.push(format!(
                        "{origin}: `{path}` is a section: expected a table `[{path}]`, found {}",
                        describe(plain)
                    ));
                }
                _ => self.set(path, plain.clone(), origin),
            }
        }
    }

    /// Lays environment variables `TIDEWATCH__SECTION__KEY` over what is there; others are ignored.
    pub(super) fn add_env(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut variables: Vec<_> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(ENV_PREFIX))
            .collect();
        variables.sort();
        for (name, text) in variables {
            let path = name[ENV_PREFIX.len()..]
                .split("__")
                .map(str::to_ascii_lowercase)
                .collect::<Vec<_>>()
                .join(".");
            let path = match OPEN_TABLES
                .iter()
                .find(|(table, _)| path.starts_with(&format!("{table}.")))
            {
                Some((table, separator)) => format!(
                    "{table}.{}",
                    path[table.len() + 1..].replace('_', separator)
                ),
                None => path,
            };
            let value = from_text(self.defaults.get(&path), &text);
            self.set(path, value, Origin::Env(name));
        }
    }

    /// Lays what flags say over what is there.
    pub(super) fn add_flags(&mut self, flags: &[FlagValue]) {
        for flag in flags {
            self.set(
                flag.path.to_owned(),
                flag.value.clone(),
                Origin::Flag(flag.flag),
            );
        }
    }

    fn set(&mut self, path: String, value: Value, origin: Origin) {
        let open = OPEN_TABLES
            .iter()
            .any(|(table, _)| path.starts_with(&format!("{table}.")));
        if open || self.defaults.contains_key(&path) {
            self.leaves.insert(path, Leaf { value, origin });
            return;
        }
        let nearest = self.nearest(&path, matches!(value, Value::Table(_)));
        let as_written = |path: &str| match &origin {
            Origin::Env(_) => format!(
                "{ENV_PREFIX}{}",
                path.to_ascii_uppercase().replace('.', "__")
            ),
            _ => path.to_owned(),
        };
        let what = if matches!(value, Value::Table(_)) {
            "section"
        } else {
            "key"
        };
        let found = match &origin {
            Origin::Env(name) => name.clone(),
            _ => path.clone(),
        };
        self.problems.push(format!(
            "{origin}: unknown {what} `{found}`; the nearest valid one is `{}`",
            as_written(&nearest)
        ));
    }

    /// The known key, or section, whose path takes the fewest edits; on a tie the one that shares the section.
    fn nearest(&self, path: &str, section: bool) -> String {
        let candidates: BTreeSet<String> = match section {
            true => self.sections(),
            false => self.defaults.keys().cloned().collect(),
        };
        let own_section = path.rsplit_once('.').map_or("", |(section, _)| section);
        let own_key = path.rsplit('.').next().unwrap_or(path);
        let distance = |candidate: &String| {
            let same_section = candidate
                .rsplit_once('.')
                .map_or("", |(section, _)| section)
                == own_section;
            let same_key = candidate.rsplit('.').next() == Some(own_key);
            // A right key in a wrong section is nearer than any other key of that section.
            (
                if same_key {
                    0
                } else {
                    strsim::damerau_levenshtein(path, candidate)
                },
                !same_section,
            )
        };
        candidates
            .into_iter()
            .min_by_key(distance)
            .unwrap_or_default()
    }

    fn sections(&self) -> BTreeSet<String> {
        let mut sections: BTreeSet<String> = OPEN_TABLES
            .iter()
            .map(|(table, _)| (*table).to_owned())
            .collect();
        for path in self.defaults.keys() {
            let mut rest = path.as_str();
            while let Some((section, _)) = rest.rsplit_once('.') {
                sections.insert(section.to_owned());
                rest = section;
            }
        }
        sections
    }

    fn is_section(&self, path: &str) -> bool {
        self.sections().contains(path)
    }

    /// The value of a key. A value of a wrong type is a problem, noted; then the type's own default stands in.
    pub(super) fn take<T: Setting>(&mut self, path: &str) -> T {
        self.taken.insert(path.to_owned());
        let Some(leaf) = self.leaves.get(path) else {
            self.problems
                .push(format!("the built-in defaults lack `{path}`"));
            return T::default();
        };
        match T::read(&leaf.value) {
            Some(value) => value,
            None => {
                self.problems.push(format!(
                    "{}: `{path}`: expected {}, found {}",
                    leaf.origin,
                    T::EXPECTED,
                    describe(&leaf.value)
                ));
                T::default()
            }
        }
    }

    /// The value of a key that must lie within limits; `expected` says which.
    pub(super) fn take_if<T: Setting>(
        &mut self,
        path: &str,
        expected: &str,
        allowed: impl Fn(&T) -> bool,
    ) -> T {
        let before = self.problems.len();
        let value = self.take(path);
        if self.problems.len() == before && !allowed(&value) {
            self.refuse(path, expected);
        }
        value
    }

    /// Notes that the value of a key is not what is expected.
    pub(super) fn refuse(&mut self, path: &str, expected: &str) {
        if let Some(leaf) = self.leaves.get(path) {
            self.problems.push(format!(
                "{}: `{path}`: expected {expected}, found {}",
                leaf.origin,
                describe(&leaf.value)
            ));
        }
    }

    /// The entries of an open table, as text.
    pub(super) fn take_open(&mut self, table: &str) -> BTreeMap<String, String> {
        let prefix = format!("{table}.");
        let mut entries = BTreeMap::new();
        for (path, leaf) in self
            .leaves
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
        {
            match &leaf.value {
                Value::String(text) => {
                    entries.insert(path[prefix.len()..].to_owned(), text.clone())
                }
                value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => {
                    entries.insert(path[prefix.len()..].to_owned(), value.to_string())
                }
                other => {
                    let found = describe(other);
                    self.problems.push(format!("{}: `{path}`: expected text, a number, or true or false, found {found}; quote a key that holds dots", leaf.origin));
                    None
                }
            };
        }
        entries
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Default keys that nobody took: each would be a setting without effect.
    #[cfg(test)]
    pub(super) fn untaken(&self) -> Vec<&String> {
        self.defaults
            .keys()
            .filter(|path| !self.taken.contains(*path))
            .collect()
    }

    /// All values with their origins, and all problems, in the order they were found.
    pub(super) fn finish(self) -> (BTreeMap<String, Leaf>, Vec<String>) {
        (self.leaves, self.problems)
    }
}

/// A type that a setting may have.
pub(super) trait Setting: Default {
    /// What a person should write: "a duration such as \"10s\"".
    const EXPECTED: &'static str;
    /// The value, if it is one of these.
    fn read(value: &Value) -> Option<Self>;
}

impl Setting for String {
    const EXPECTED: &'static str = "text in quotes";
    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Setting for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";
    fn read(value: &Value) -> Option<Self> {
        value
            .as_integer()
            .and_then(|number| u32::try_from(number).ok())
    }
}

impl Setting for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
    fn read(value: &Value) -> Option<Self> {
        value
            .as_integer()
            .and_then(|number| u64::try_from(number).ok())
    }
}

impl Setting for f64 {
    const EXPECTED: &'static str = "a number";
    fn read(value: &Value) -> Option<Self> {
        value
            .as_float()
            .or_else(|| value.as_integer().map(|number| number as f64))
            .filter(|number| number.is_finite())
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str =
        "a duration with a unit, such as \"250ms\", \"10s\", \"2m\", \"6h\", \"14d\"";
    fn read(value: &Value) -> Option<Self> {
        parse_duration(value.as_str()?)
    }
}

impl Setting for Vec<String> {
    const EXPECTED: &'static str = "a list of texts, such as [\"a\", \"b\"]";
    fn read(value: &Value) -> Option<Self> {
        value
            .as_array()?
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect()
    }
}

/// A size in bytes, written with a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

impl Setting for Size {
    const EXPECTED: &'static str = "a size with a unit, such as \"512KiB\", \"16MiB\", \"1GB\"";
    fn read(value: &Value) -> Option<Self> {
        parse_size(value.as_str()?).map(Size)
    }
}

/// The text of an environment variable as a value of the type that the default has; text where it is not one, so that the reader says what it expected.
fn from_text(default: Option<&Value>, text: &str) -> Value {
    let text_value = || Value::String(text.to_owned());
    match default {
        Some(Value::Integer(_)) => text
            .trim()
            .parse()
            .map_or_else(|_| text_value(), Value::Integer),
        Some(Value::Float(_)) => text
            .trim()
            .parse()
            .map_or_else(|_| text_value(), Value::Float),
        Some(Value::Boolean(_)) => text
            .trim()
            .parse()
            .map_or_else(|_| text_value(), Value::Boolean),
        Some(Value::Array(_)) => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => text_value(),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text \"{text}\""),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Datetime(time) => format!("the time {time}"),
        Value::Array(_) => format!("the list {value}"),
        Value::Table(_) => "a table".to_owned(),
    }
}

fn flatten(prefix: &str, table: &Table, into: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let path = join(prefix, key);
        match value {
            Value::Table(inner) => flatten(&path, inner, into),
            value => {
                into.insert(path, value.clone());
            }
        }
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

fn line_of(text: &str, position: usize) -> usize {
    text.bytes()
        .take(position)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}
