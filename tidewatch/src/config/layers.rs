//! Lays the defaults, a file, the environment and flags over each other, remembering where each value came from. Knows no setting by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use schemas::{ErrorCode, HasCode};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::named::{self, general, join};
use super::texts::{self, describe};
use super::units::{parse_duration, parse_size};
use super::{ConfigProblem, MASK, is_secret};
use crate::error_codes;

/// Tables whose keys are free: what they hold goes on to a library. With each: what stands for `_` of an environment variable.
const OPEN_TABLES: [(&str, &str); 2] = [("bus.settings", "."), ("archive.options", "_")];

/// Sections that had another name in an earlier version: that, and the present one.
const RENAMED_SECTIONS: [(&str, &str); 1] = [("ingest", "limits")];

/// Prefix of the environment variables that are settings.
pub(super) const ENV_PREFIX: &str = "TIDEWATCH__";

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// Line and column from 1, the column in characters.
    File {
        name: String,
        line: usize,
        column: usize,
    },
    Env(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the built-in defaults"),
            Origin::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Origin::Env(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it was set.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl fmt::Debug for Leaf {
    /// Without the value: it may be a secret, and which key it belongs to is not known here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value from {}", self.origin)
    }
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
    /// Keys whose values are problems already: a stand-in must not be blamed once more.
    blamed: BTreeSet<String>,
    overridden: Vec<Overridden>,
    problems: Vec<ConfigProblem>,
}

/// A value that was set and has no effect, because a later layer set it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overridden {
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) by: Origin,
}

impl Layers {
    /// Starts with the text of the defaults, which also says what keys there are.
    pub(super) fn new(defaults: &str) -> Self {
        let mut layers = Layers {
            defaults: BTreeMap::new(),
            leaves: BTreeMap::new(),
            taken: BTreeSet::new(),
            blamed: BTreeSet::new(),
            overridden: Vec::new(),
            problems: Vec::new(),
        };
        match defaults.parse::<Table>() {
            Ok(table) => flatten("", &table, &mut layers.defaults),
            Err(error) => layers.note(
                &error_codes::CONFIG_SYNTAX,
                format!("the built-in defaults: {error}"),
            ),
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
            let origin = place(name, text, error.span().map_or(0, |span| span.start));
            self.note(
                &error_codes::CONFIG_SYNTAX,
                format!("{origin}: {}", error.message()),
            );
        }
        if !errors.is_empty() {
            return;
        }
        match text.parse::<Table>() {
            Ok(values) => self.add_table("", name, text, spanned.get_ref(), &values),
            Err(error) => self.note(
                &error_codes::CONFIG_SYNTAX,
                format!("{name}: {}", error.message()),
            ),
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
            let key_origin = place(name, text, key.span().start);
            let origin = place(name, text, value.span().start);
            let Some(plain) = values.get(key.get_ref().as_ref()) else {
                continue;
            };
            match (value.get_ref(), plain) {
                (DeValue::Table(inner), Value::Table(plain))
                    if self.is_section(&path) || self.is_named_section(&path) =>
                {
                    if inner.is_empty() && self.is_named_section(&path) {
                        self.note(
                            &error_codes::CONFIG_RANGE,
                            format!(
                                "{key_origin}: `[{path}]` is empty: expected its keys below it"
                            ),
                        );
                    }
                    self.add_table(&path, name, text, inner, plain)
                }
                (_, Value::Table(_)) if named::is_right_below(&path) => {
                    let text = format!(
                        "{origin}: `{path}`: expected a value of this key, or a section of another name, one that is no key of `[{prefix}]`, found a table"
                    );
                    self.note(&error_codes::CONFIG_TYPE, text);
                }
                (_, plain) if self.is_section(&path) => {
                    self.note(
                        &error_codes::CONFIG_TYPE,
                        format!(
                            "{origin}: `{path}` is a section: expected a table `[{path}]`, found {}",
                            describe(plain)
                        ),
                    );
                }
                _ if !self.knows(&path) => self.note_unknown(&path, plain, &key_origin),
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
                .fold(String::new(), |path, part| join(&path, &part));
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
            let value = from_text(self.defaults.get(&general(&path)), &text);
            let origin = Origin::Env(name);
            if self.knows(&path) {
                self.set(path, value, origin);
            } else {
                self.note_unknown(&path, &value, &origin);
            }
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

    /// Whether a key is one of ours, or stands in a table whose keys are free.
    fn knows(&self, path: &str) -> bool {
        self.defaults.contains_key(&general(path))
            || OPEN_TABLES
                .iter()
                .any(|(table, _)| path.starts_with(&format!("{table}.")))
    }

    fn set(&mut self, path: String, value: Value, origin: Origin) {
        let by = origin.clone();
        let replaced = self.leaves.insert(path.clone(), Leaf { value, origin });
        if let Some(replaced) = replaced.filter(|leaf| leaf.origin != Origin::Default) {
            self.overridden.push(Overridden {
                path,
                origin: replaced.origin,
                by,
            });
        }
    }

    fn note(&mut self, code: &'static ErrorCode, text: String) {
        self.problems.push(ConfigProblem { code, text });
    }

    fn note_unknown(&mut self, path: &str, value: &Value, origin: &Origin) {
        let renamed = RENAMED_SECTIONS.iter().find_map(|(before, now)| {
            let rest = path.strip_prefix(before)?;
            (rest.is_empty() || rest.starts_with('.')).then(|| format!("{now}{rest}"))
        });
        let is_table = matches!(value, Value::Table(_));
        let mut nearest = self.nearest(path, is_table);
        if let Some((section, name, _)) = named::parts(path)
            && let Some(key) = nearest.strip_prefix(section)
        {
            nearest = format!("{section}.{name}{key}");
        }
        let as_written = |path: &str| match origin {
            Origin::Env(_) => format!(
                "{ENV_PREFIX}{}",
                path.to_ascii_uppercase().replace('.', "__")
            ),
            _ => path.to_owned(),
        };
        let what = if is_table { "section" } else { "key" };
        let found = match origin {
            Origin::Env(name) => name,
            _ => path,
        };
        let renamed = renamed.map(|now| format!("it is called `{}` now", as_written(&now)));
        let instead = match renamed.or_else(|| named::meant(path, is_table)) {
            Some(told) => told,
            None if texts::is_unlike(path, &nearest) => texts::ALL_SETTINGS.to_owned(),
            None => format!("the nearest valid one is `{}`", as_written(&nearest)),
        };
        self.note(
            &error_codes::CONFIG_UNKNOWN,
            format!("{origin}: unknown {what} `{found}`; {instead}"),
        );
    }

    /// The known key, or section, whose path takes the fewest edits; on a tie the one that shares the section.
    fn nearest(&self, path: &str, section: bool) -> String {
        let candidates: BTreeSet<String> = match section {
            true => self.sections(),
            false => {
                let further = named::further_keys(path);
                self.defaults.keys().cloned().chain(further).collect()
            }
        };
        let path = &general(path);
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
            .map(|(table, _)| *table)
            .chain(named::SECTIONS)
            .map(str::to_owned)
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

    /// Whether a path is a section of the user's own: not a key, and right below a section that holds such.
    fn is_named_section(&self, path: &str) -> bool {
        named::is_right_below(path) && !self.is_key(path)
    }

    /// Whether a path is a key of ours.
    pub(super) fn is_key(&self, path: &str) -> bool {
        self.defaults.contains_key(path)
    }

    /// Whether a key has a value of its own, be it the default.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.leaves.contains_key(path)
    }

    /// The names below a section that holds named ones, in order, as TOML writes them.
    pub(super) fn names(&self, section: &str) -> Vec<String> {
        let names: BTreeSet<&str> = self
            .leaves
            .keys()
            .filter_map(|path| named::parts(path))
            .filter(|(of, _, _)| *of == section)
            .map(|(_, name, _)| name)
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// What is in force for a key: its own value, or that of the section around a named one.
    fn leaf(&self, path: &str) -> Option<&Leaf> {
        self.leaves
            .get(path)
            .or_else(|| self.leaves.get(&general(path)))
    }

    /// The value of a key. A value of a wrong type is a problem, noted; then the type's own default stands in.
    pub(super) fn take<T: Setting>(&mut self, path: &str) -> T {
        let general = general(path);
        let path = match self.leaves.contains_key(path) {
            true => path,
            false => &general,
        };
        self.taken.insert(path.to_owned());
        let Some(leaf) = self.leaves.get(path) else {
            self.note(
                &error_codes::CONFIG_UNKNOWN,
                format!("the built-in defaults lack `{path}`"),
            );
            return T::default();
        };
        match T::read(&leaf.value) {
            Some(value) => value,
            None => {
                let text = format!(
                    "{}: `{path}`: expected {}, found {}",
                    leaf.origin,
                    T::EXPECTED,
                    describe_at(path, &leaf.value)
                );
                // What holds for several sections is taken as often, and told once.
                if self.blamed.insert(path.to_owned()) {
                    self.note(&error_codes::CONFIG_TYPE, text);
                }
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
        let value = self.take(path);
        if !allowed(&value) {
            // What is wrong with what holds for several sections is told once, of where it stands.
            match self.leaves.contains_key(path) {
                true => self.refuse(path, expected),
                false => self.refuse(&general(path), expected),
            }
        }
        value
    }

    /// Notes that the value of a key is not what is expected; once for each key.
    pub(super) fn refuse(&mut self, path: &str, expected: &str) {
        if let Some(leaf) = self.leaf(path).cloned()
            && self.blamed.insert(path.to_owned())
        {
            let text = format!(
                "{}: `{path}`: expected {expected}, found {}",
                leaf.origin,
                describe_at(path, &leaf.value)
            );
            self.note(&error_codes::CONFIG_RANGE, text);
        }
    }

    /// Notes what is wrong inside of the value of a key.
    pub(super) fn note_at(&mut self, path: &str, code: &'static ErrorCode, text: &str) {
        let origin = self
            .leaves
            .get(path)
            .map_or(Origin::Default, |leaf| leaf.origin.clone());
        self.note(code, format!("{origin}: {text}"));
    }

    /// Notes that the value of a key can't be used, for a reason that is told elsewhere; once for each key.
    pub(super) fn refuse_because<E: HasCode + fmt::Display>(&mut self, path: &str, error: &E) {
        if let Some(leaf) = self.leaf(path).cloned()
            && self.blamed.insert(path.to_owned())
        {
            let text = format!("{}: {error}", leaf.origin);
            self.note(error.code(), text);
        }
    }

    /// The entries of an open table, as text.
    pub(super) fn take_open(&mut self, table: &str) -> BTreeMap<String, String> {
        let prefix = format!("{table}.");
        let (mut entries, mut wrong) = (BTreeMap::new(), Vec::new());
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
                    let found = describe_at(path, other);
                    wrong.push(format!("{}: `{path}`: expected text, a number, or true or false, found {found}; quote a key that holds dots", leaf.origin));
                    None
                }
            };
        }
        for text in wrong {
            self.note(&error_codes::CONFIG_TYPE, text);
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

    /// All values with their origins, those that have no effect, and all problems in the order they were found.
    pub(super) fn finish(self) -> (BTreeMap<String, Leaf>, Vec<Overridden>, Vec<ConfigProblem>) {
        (self.leaves, self.overridden, self.problems)
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

/// The value of a key, as a message may show it.
fn describe_at(path: &str, value: &Value) -> String {
    // No limit is a secret, whatever the token is called.
    if is_secret(path) && !path.starts_with("limits.") {
        return format!("another value ({MASK})");
    }
    describe(value)
}

/// The dotted paths of all keys in the text of the defaults.
pub(super) fn known_paths(defaults: &str) -> Vec<String> {
    let mut paths = BTreeMap::new();
    if let Ok(table) = defaults.parse::<Table>() {
        flatten("", &table, &mut paths);
    }
    paths.into_keys().collect()
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

/// Where a byte of a file stands.
fn place(name: &str, text: &str, position: usize) -> Origin {
    let before = text.get(..position).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Origin::File {
        name: name.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
