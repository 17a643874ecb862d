//! The settings: read from all layers, checked once, handed out as types. Every default stands in `config/defaults.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::CheckpointPolicy;
use processors::ProcessingConfig;
use schemas::{Fault, HasFault, Resolution};
use sinks::aggregates::Retention;
use sinks::compaction::CompactionPolicy;

mod layers;
mod read;
#[cfg(test)]
mod tests;
mod units;

pub use layers::FlagValue;
use layers::{Layers, Leaf, Origin};
pub(crate) use units::parse_duration;

/// The text of the defaults.
pub const DEFAULTS: &str = include_str!("config/defaults.toml");

/// What stands for a secret where settings are shown.
const MASK: &str = "********";

/// Everything that was wrong with the settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{} with the configuration:\n  {}", plural(.0.len()), .0.join("\n  "))]
pub struct ConfigErrors(pub Vec<String>);

fn plural(count: usize) -> String {
    if count == 1 {
        "1 problem".to_owned()
    } else {
        format!("{count} problems")
    }
}

impl HasFault for ConfigErrors {
    fn fault(&self) -> Fault {
        Fault::BadConfig
    }
}

/// How the HTTP server behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether an address that others can reach is allowed.
    pub insecure_listen: bool,
    /// Connections at once; a further one waits to be accepted.
    pub connections_max: usize,
    /// For the head of a request, and between requests.
    pub header_timeout: Duration,
    /// From the head of a request to the head of its answer.
    pub request_timeout: Duration,
    /// Readers of `tail` at once.
    pub tails_max: usize,
}

/// Which log is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// In the data directory.
    Embedded,
    /// A Kafka cluster.
    Kafka,
}

/// The log.
#[derive(Debug, Clone, PartialEq)]
pub struct BusConfig {
    /// Which one.
    pub kind: BusKind,
    /// Kafka: `host:port`, separated by commas.
    pub brokers: String,
    /// Partitions of each topic.
    pub partitions: u32,
    /// The group that shares the partitions.
    pub group: String,
    /// First part of the topics' names.
    pub topic_prefix: String,
    /// How long records are kept.
    pub retention: Duration,
    /// Embedded: bytes above which the oldest go.
    pub retention_bytes: u64,
    /// Embedded: free bytes below which appends are refused.
    pub free_bytes_min: u64,
    /// Kafka: how long a silent member keeps its partitions.
    pub session_timeout: Duration,
    /// Kafka: further librdkafka settings.
    pub settings: BTreeMap<String, String>,
}

/// The archive.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchiveConfig {
    /// Its URL; empty: inside the data directory.
    pub url: String,
    /// Settings of the object store.
    pub options: BTreeMap<String, String>,
    /// The resolutions it keeps.
    pub rollups: Vec<Resolution>,
    /// How small files are merged.
    pub compaction: CompactionPolicy,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON when standard error is not a terminal.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Levels, as in `RUST_LOG`.
    pub level: String,
    /// How.
    pub format: LogFormat,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// The data directory, as written.
    pub data_dir: PathBuf,
    /// The log.
    pub bus: BusConfig,
    /// The archive.
    pub archive: ArchiveConfig,
    /// What receivers take.
    pub ingest: ingest::http::Limits,
    /// How often this host is measured; `None`: not at all.
    pub host_interval: Option<Duration>,
    /// The stream operators.
    pub processing: ProcessingConfig,
    /// When progress is made final.
    pub checkpoint: CheckpointPolicy,
    /// After so long without a record a tick is appended.
    pub tick_interval: Duration,
    /// How long the aggregate store keeps each resolution.
    pub retention: Retention,
    /// What queries may cost. Its spill directory is set when the data directory is opened.
    pub query: query::Limits,
    /// Logs.
    pub log: LogConfig,
    effective: BTreeMap<String, Leaf>,
}

impl Config {
    /// Reads a file (if any) and this process's environment, then lays the flags over them.
    ///
    /// # Errors
    /// `ConfigErrors` with every problem found, each with where the value was set.
    pub fn load(file: Option<&Path>, flags: &[FlagValue]) -> Result<Config, ConfigErrors> {
        let text = match file {
            None => None,
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Some((path.display().to_string(), text)),
                Err(error) => {
                    return Err(ConfigErrors(vec![format!(
                        "{}: can't be read: {error}",
                        path.display()
                    )]));
                }
            },
        };
        // A variable that is not Unicode can't be one of ours: our names are ASCII, and a value is compared with what is expected.
        let env = std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        Config::from_layers(
            text.as_ref()
                .map(|(name, text)| (name.as_str(), text.as_str())),
            env,
            flags,
        )
    }

    /// As [`Config::load`], from texts: the file's name and content, and variables.
    ///
    /// # Errors
    /// `ConfigErrors` with every problem found.
    pub fn from_layers(
        file: Option<(&str, &str)>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[FlagValue],
    ) -> Result<Config, ConfigErrors> {
        let mut layers = Layers::new(DEFAULTS);
        if let Some((name, text)) = file {
            layers.add_file(name, text);
        }
        layers.add_env(env);
        layers.add_flags(flags);
        Config::read(layers)
    }

    fn read(mut layers: Layers) -> Result<Config, ConfigErrors> {
        let mut config = read::take_all(&mut layers);
        let (effective, problems) = layers.finish();
        if !problems.is_empty() {
            return Err(ConfigErrors(problems));
        }
        config.effective = effective;
        Ok(config)
    }

    /// The built-in settings alone.
    pub fn defaults() -> Option<Config> {
        Config::from_layers(None, [], &[]).ok()
    }

    /// Whether a key was set by a file, the environment or a flag.
    pub fn is_set(&self, path: &str) -> bool {
        self.effective
            .get(path)
            .is_some_and(|leaf| leaf.origin != Origin::Default)
    }

    /// The settings in force as TOML, with where each that is not a default was set. Secrets are masked.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        // Keys before sub-sections, or they would be read as part of one.
        let mut entries: Vec<(&str, &str, &Leaf)> = self
            .effective
            .iter()
            .map(|(path, leaf)| split(path, leaf))
            .collect();
        entries.sort_by_key(|(section, key, _)| (*section, *key));
        for (own_section, key, leaf) in entries {
            if own_section != section {
                section = own_section;
                let _ = writeln!(
                    text,
                    "{}[{section}]",
                    if text.is_empty() { "" } else { "\n" }
                );
            }
            let key = if key.contains('.') {
                toml::Value::from(key).to_string()
            } else {
                key.to_owned()
            };
            let value = if is_secret(&key) {
                toml::Value::from(MASK)
            } else {
                leaf.value.clone()
            };
            let _ = match &leaf.origin {
                Origin::Default => writeln!(text, "{key} = {value}"),
                origin => writeln!(text, "{key} = {value} # {origin}"),
            };
        }
        text
    }
}

/// Section and key of a path. The keys of open tables hold dots themselves.
fn split<'a>(path: &'a str, leaf: &'a Leaf) -> (&'a str, &'a str, &'a Leaf) {
    let open = ["bus.settings", "archive.options"]
        .iter()
        .find(|table| path.starts_with(&format!("{table}.")));
    let at = open.map_or_else(|| path.rfind('.').unwrap_or(0), |table| table.len());
    (&path[..at], path.get(at + 1..).unwrap_or_default(), leaf)
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "secret",
        "token",
        "credential",
        "access_key",
        "sasl.jaas",
        "ssl.key",
        "private",
        "sasl.oauthbearer.config",
    ]
    .iter()
    .any(|part| key.contains(part))
}
