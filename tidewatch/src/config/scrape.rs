//! Reads `[[scrape]]`: tables whose keys have their defaults here, since there is no such table until someone writes one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ingest::collectors::scrape::{Action, Credentials, Group, Job, Rule, RuleText};
use toml::{Table, Value};

use super::layers::{Layers, Setting, Size};
use super::texts::describe;
use crate::error_codes;

/// Where the tables stand.
const PATH: &str = "scrape";
/// Every key of a job.
const JOB_KEYS: [&str; 19] = [
    "job",
    "targets",
    "labels",
    "files",
    "interval",
    "timeout",
    "scheme",
    "path",
    "params",
    "honor_labels",
    "honor_timestamps",
    "body_max",
    "samples_max",
    "username",
    "password_file",
    "bearer_token_file",
    "ca_file",
    "relabel",
    "metric_relabel",
];
/// Every key of a rule.
const RULE_KEYS: [&str; 6] = [
    "source_labels",
    "separator",
    "regex",
    "target_label",
    "replacement",
    "action",
];

impl Setting for Vec<Table> {
    const EXPECTED: &'static str = "tables, each headed by [[scrape]]";
    fn read(value: &Value) -> Option<Self> {
        let tables = value
            .as_array()?
            .iter()
            .map(|item| item.as_table().cloned());
        tables.collect()
    }
}

/// Texts by free keys: labels, parameters.
type Texts = BTreeMap<String, String>;

impl Setting for Texts {
    const EXPECTED: &'static str = "a table of texts, such as { env = \"prod\" }";
    fn read(value: &Value) -> Option<Self> {
        let entries = value.as_table()?.iter();
        entries
            .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }
}

/// One table, and where it stands.
struct Reader<'a> {
    layers: &'a mut Layers,
    table: &'a Table,
    /// `scrape[2]`, `scrape[2].relabel[1]`: numbered from 1.
    place: String,
}

impl Reader<'_> {
    /// The value of a key, or its default; what is wrong with it is noted.
    fn take<T: Setting>(
        &mut self,
        key: &str,
        default: T,
        expected: &str,
        allowed: impl Fn(&T) -> bool,
    ) -> T {
        let Some(value) = self.table.get(key) else {
            return default;
        };
        let (code, expected) = match T::read(value) {
            Some(read) if allowed(&read) => return read,
            Some(_) => (&error_codes::CONFIG_RANGE, expected),
            None => (&error_codes::CONFIG_TYPE, T::EXPECTED),
        };
        let text = format!(
            "`{}.{key}`: expected {expected}, found {}",
            self.place,
            describe(value)
        );
        self.layers.note_at(PATH, code, &text);
        default
    }

    fn text(&mut self, key: &str, default: &str) -> String {
        self.take(key, default.to_owned(), "", |_| true)
    }

    fn file(&mut self, key: &str) -> Option<PathBuf> {
        let file = self.text(key, "");
        (!file.is_empty()).then(|| PathBuf::from(file))
    }

    fn refuse(&mut self, key: &str, problem: &str) {
        let text = format!("`{}.{key}`: {problem}", self.place);
        self.layers.note_at(PATH, &error_codes::CONFIG_RANGE, &text);
    }

    fn refuse_unknown(&mut self, keys: &[&str]) {
        for key in self
            .table
            .keys()
            .filter(|key| !keys.contains(&key.as_str()))
        {
            let nearest = keys
                .iter()
                .min_by_key(|known| strsim::damerau_levenshtein(key, known));
            let text = format!(
                "unknown key `{key}` in `{}`; the nearest valid one is `{}`",
                self.place,
                nearest.unwrap_or(&"")
            );
            self.layers
                .note_at(PATH, &error_codes::CONFIG_UNKNOWN, &text);
        }
    }
}

/// Takes all jobs.
pub(super) fn take_scrape(layers: &mut Layers) -> Vec<Job> {
    let tables: Vec<Table> = layers.take(PATH);
    let mut names: Vec<String> = Vec::new();
    let mut jobs = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let mut reader = Reader {
            layers,
            table,
            place: format!("{PATH}[{}]", index + 1),
        };
        let job = take_job(&mut reader);
        if names.contains(&job.name) {
            reader.refuse(
                "job",
                &format!("another table has the name \"{}\"", job.name),
            );
        }
        names.push(job.name.clone());
        jobs.push(job);
    }
    jobs
}

fn take_job(reader: &mut Reader<'_>) -> Job {
    reader.refuse_unknown(&JOB_KEYS);
    let name: String = reader.take("job", String::new(), "a name", |name: &String| {
        !name.is_empty()
    });
    if !reader.table.contains_key("job") {
        reader.refuse("job", "expected a name: it becomes the label `job`");
    }
    let interval = reader.take(
        "interval",
        Duration::from_secs(15),
        "a duration from \"1s\" to \"1h\"",
        |interval: &Duration| (1..=3_600).contains(&interval.as_secs()),
    );
    let timeout = reader.take(
        "timeout",
        interval.min(Duration::from_secs(10)),
        "a duration of at least \"10ms\" and at most `interval`",
        |timeout: &Duration| (Duration::from_millis(10)..=interval).contains(timeout),
    );
    let files: Vec<String> = reader.take(
        "files",
        Vec::new(),
        "names of files, none empty",
        |files: &Vec<String>| files.iter().all(|file| !file.is_empty()),
    );
    let targets: Vec<String> = reader.take("targets", Vec::new(), "", |_| true);
    if targets.is_empty() && files.is_empty() {
        reader.refuse(
            "targets",
            "expected at least one `host:port` here, or `files`",
        );
    }
    let body_bytes_max = reader.take(
        "body_max",
        Size(16 << 20),
        "a size from \"1KiB\" to \"1GiB\"",
        |size: &Size| (1 << 10..=1 << 30).contains(&size.0),
    );
    let samples_max = reader.take(
        "samples_max",
        1_000_000u64,
        "a whole number from 1 to 5000000",
        |count: &u64| (1..=5_000_000).contains(count),
    );
    Job {
        name,
        interval,
        timeout,
        scheme: reader.take(
            "scheme",
            "http".to_owned(),
            "\"http\" or \"https\"",
            |scheme: &String| ["http", "https"].contains(&scheme.as_str()),
        ),
        path: reader.take(
            "path",
            "/metrics".to_owned(),
            "a path that begins with `/`",
            |path: &String| path.starts_with('/'),
        ),
        params: reader.take("params", Texts::new(), "", |_| true),
        groups: vec![Group {
            targets,
            labels: reader.take(
                "labels",
                Texts::new(),
                "labels with names",
                |labels: &Texts| !labels.contains_key(""),
            ),
        }],
        files: files.into_iter().map(PathBuf::from).collect(),
        honor_labels: reader.take("honor_labels", false, "", |_| true),
        honor_timestamps: reader.take("honor_timestamps", true, "", |_| true),
        body_bytes_max: usize::try_from(body_bytes_max.0).unwrap_or(usize::MAX),
        samples_max: usize::try_from(samples_max).unwrap_or(usize::MAX),
        credentials: take_credentials(reader),
        ca_file: reader.file("ca_file"),
        relabel: take_rules(reader, "relabel"),
        metric_relabel: take_rules(reader, "metric_relabel"),
    }
}

fn take_credentials(reader: &mut Reader<'_>) -> Credentials {
    let username = reader.text("username", "");
    let (password_file, token_file) = (
        reader.file("password_file"),
        reader.file("bearer_token_file"),
    );
    match (username.is_empty(), password_file, token_file) {
        (true, None, None) => Credentials::None,
        (true, None, Some(token_file)) => Credentials::Bearer { token_file },
        (false, Some(password_file), None) => Credentials::Basic {
            username,
            password_file,
        },
        (_, _, Some(_)) => {
            reader.refuse(
                "bearer_token_file",
                "expected either this or `username` and `password_file`",
            );
            Credentials::None
        }
        (_, _, None) => {
            reader.refuse("username", "expected both `username` and `password_file`");
            Credentials::None
        }
    }
}

fn take_rules(reader: &mut Reader<'_>, key: &str) -> Vec<Rule> {
    let tables: Vec<Table> = match reader.table.get(key) {
        None => Vec::new(),
        Some(value) => match Vec::<Table>::read(value) {
            Some(tables) => tables,
            None => {
                let text = format!(
                    "`{}.{key}`: expected a list of tables, each a rule such as {{ action = \"drop\", source_labels = [\"__name__\"], regex = \"go_.*\" }}, found {}",
                    reader.place,
                    describe(value)
                );
                let code = &error_codes::CONFIG_TYPE;
                reader.layers.note_at(PATH, code, &text);
                Vec::new()
            }
        },
    };
    let mut rules = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let mut inner = Reader {
            layers: &mut *reader.layers,
            table,
            place: format!("{}.{key}[{}]", reader.place, index + 1),
        };
        rules.extend(take_rule(&mut inner));
    }
    rules
}

fn take_rule(reader: &mut Reader<'_>) -> Option<Rule> {
    reader.refuse_unknown(&RULE_KEYS);
    let defaults = RuleText::default();
    let named = |name: &str| Action::ALL.into_iter().find(|action| action.name() == name);
    let expected = Action::ALL.map(Action::name).join(", ");
    let action: String = reader.take(
        "action",
        defaults.action.name().to_owned(),
        &format!("one of {expected}"),
        |name: &String| named(name).is_some(),
    );
    let text = RuleText {
        source_labels: reader.take("source_labels", Vec::new(), "", |_| true),
        separator: reader.text("separator", &defaults.separator),
        regex: reader.text("regex", &defaults.regex),
        target_label: reader.text("target_label", ""),
        replacement: reader.text("replacement", &defaults.replacement),
        action: named(&action).unwrap_or(defaults.action),
    };
    let written = reader.table.get("action");
    if written.is_some_and(|value| value.as_str() != Some(&action)) {
        // Told already; what else is missing depends on it.
        return None;
    }
    match Rule::try_new(text) {
        Ok(rule) => Some(rule),
        Err(error) => {
            let text = format!("`{}`: {error}", reader.place);
            reader
                .layers
                .note_at(PATH, &error_codes::CONFIG_RANGE, &text);
            None
        }
    }
}

#[cfg(test)]
mod tests;
