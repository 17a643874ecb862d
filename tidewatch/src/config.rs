//! The settings: read from all layers, checked once, handed out as types. Every default stands in `config/defaults.toml`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use analytics::calendar::{Calendar, TEXT_BYTES_MAX};
use bus::kafka::Security;
use pipeline::CheckpointPolicy;
use processors::ProcessingConfig;
use schemas::{ErrorCode, Fault, HasCode, HasFault, Resolution};
use sinks::aggregates::Retention;
use sinks::compaction::CompactionPolicy;

mod doubts;
mod layers;
mod limits;
mod named;
mod read;
mod scrape;
mod security;
mod sources;
mod template;
#[cfg(test)]
mod tests;
mod texts;
mod token_limits;
mod units;

pub use layers::FlagValue;
use layers::{Layers, Leaf, Origin, Overridden};
pub use sources::{ClusterConfig, SourceConfig};
pub use template::template;
pub use token_limits::TokenLimits;
pub(crate) use units::parse_duration;

use crate::error_codes;
use crate::tls::TlsConfig;

/// The text of the defaults.
pub const DEFAULTS: &str = include_str!("config/defaults.toml");

/// What stands for a secret where settings are shown.
const MASK: &str = "********";

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// What kind of mistake it is.
    pub code: &'static ErrorCode,
    /// Where it was made, what was expected and what was found.
    pub text: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.text, self.code.id)
    }
}

/// Everything that was wrong with the settings, at least one.
#[derive(Debug, thiserror::Error)]
#[error("{} with the configuration:\n  {}", plural(.0.len()), lines(.0))]
pub struct ConfigErrors(pub Vec<ConfigProblem>);

fn lines(problems: &[ConfigProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ConfigProblem::to_string).collect();
    lines.join("\n  ")
}

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

impl HasCode for ConfigErrors {
    /// That of the first problem.
    fn code(&self) -> &'static ErrorCode {
        self.0
            .first()
            .map_or(Fault::BadConfig.code(), |problem| problem.code)
    }
}

/// How the HTTP server behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether nobody is asked for a token at an address that others can reach.
    pub insecure_listen: bool,
    /// Connections at once; a further one waits to be accepted.
    pub connections_max: usize,
    /// For the head of a request, and between requests.
    pub header_timeout: Duration,
    /// From the head of a request to the head of its answer.
    pub request_timeout: Duration,
    /// Readers of `tail` at once.
    pub tails_max: usize,
    /// TLS, if it is spoken.
    pub tls: Option<TlsConfig>,
}

/// Who may use the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessConfig {
    /// Whether a token is needed at a loopback address too.
    pub required: bool,
    /// The file of tokens; empty: inside the data directory.
    pub tokens_file: PathBuf,
}

/// Where samples come in besides the server's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiversConfig {
    /// OpenTelemetry, gRPC and HTTP alike.
    pub otlp_listen: Vec<SocketAddr>,
    /// StatsD, TCP and UDP alike.
    pub statsd_listen: Vec<SocketAddr>,
    /// How StatsD is gathered.
    pub statsd: ingest::sockets::statsd::StatsdOptions,
    /// Graphite, TCP and UDP alike.
    pub graphite_listen: Vec<SocketAddr>,
    /// What the parts of Graphite's paths mean.
    pub graphite_template: ingest::sockets::graphite::Template,
}

/// Which log is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// In the data directory.
    Embedded,
    /// A Kafka cluster.
    Kafka,
}

impl BusKind {
    /// As the setting is written.
    pub fn name(self) -> &'static str {
        match self {
            BusKind::Embedded => "embedded",
            BusKind::Kafka => "kafka",
        }
    }
}

/// The log.
#[derive(Debug, Clone, PartialEq)]
pub struct BusConfig {
    /// Which one.
    pub kind: BusKind,
    /// Kafka: `host:port`, separated by commas.
    pub brokers: String,
    /// Partitions of each topic; `None`: as many as the embedded log has, one in a new log. Of Kafka it is always said: the number decides where a
    /// series is, and a topic can be given more of them behind our back.
    pub partitions: Option<u32>,
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
    /// Kafka: TLS and SASL, with the secrets that the settings themselves hold.
    pub security: Security,
    /// Kafka: the file that holds the password instead.
    pub password_file: Option<PathBuf>,
    /// Kafka: the file that holds the password of our key instead.
    pub key_password_file: Option<PathBuf>,
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
    /// Whether saved states that are damaged or gone are made anew.
    pub rebuild_damaged_states: bool,
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

impl Config {
    /// Whether everybody who reaches an address of ours may do everything: on this machine alone unless tokens are asked for, elsewhere only if
    /// that was wished.
    pub fn is_anonymous_at(&self, address: SocketAddr) -> bool {
        if address.ip().is_loopback() {
            !self.access.required
        } else {
            self.server.insecure_listen
        }
    }
}

/// The calendar of days unlike others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarConfig {
    /// The file; empty: none.
    pub file: PathBuf,
    /// The zone of times that name none, a name of the IANA database.
    pub time_zone: String,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// Who may use it.
    pub access: AccessConfig,
    /// The data directory, as written.
    pub data_dir: PathBuf,
    /// The log.
    pub bus: BusConfig,
    /// Topics of others.
    pub sources: Vec<SourceConfig>,
    /// The archive.
    pub archive: ArchiveConfig,
    /// What is taken at most of requests, senders and series.
    pub limits: ingest::http::Limits,
    /// The same of one token alone.
    pub token_limits: TokenLimits,
    /// Further receivers.
    pub receivers: ReceiversConfig,
    /// What is scraped.
    pub scrape: Vec<ingest::collectors::scrape::Job>,
    /// How often this host is measured; `None`: not at all.
    pub host_interval: Option<Duration>,
    /// The stream operators.
    pub processing: ProcessingConfig,
    /// Where the calendar in `processing` comes from.
    pub calendar: CalendarConfig,
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
    overridden: Vec<Overridden>,
    /// Variables that look like settings and are none, with what was meant.
    near_misses: Vec<String>,
}

impl Config {
    /// Reads a file (if any) and this process's environment, then lays the flags over them; reads the calendar that they name.
    ///
    /// # Errors
    /// `ConfigErrors` with every problem found, each with where the value was set.
    pub fn load(file: Option<&Path>, flags: &[FlagValue]) -> Result<Config, ConfigErrors> {
        let text = match file {
            None => None,
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Some((path.display().to_string(), text)),
                Err(error) => {
                    return Err(ConfigErrors(vec![ConfigProblem {
                        code: &error_codes::CONFIG_UNREADABLE,
                        text: format!("{}: can't be read: {error}", path.display()),
                    }]));
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
        let mut config = Config::from_layers(
            text.as_ref()
                .map(|(name, text)| (name.as_str(), text.as_str())),
            env,
            flags,
        )?;
        config.processing.calendar = config
            .read_calendar()
            .map_err(|problem| ConfigErrors(vec![problem]))?;
        Ok(config)
    }

    /// The calendar of the file that the settings name, if they do.
    fn read_calendar(&self) -> Result<Option<Arc<Calendar>>, ConfigProblem> {
        const PATH: &str = "calendar.file";
        let CalendarConfig { file, time_zone } = &self.calendar;
        if file.as_os_str().is_empty() {
            return Ok(None);
        }
        let problem = |code, told: String| {
            let origin = self.effective.get(PATH).map(|leaf| leaf.origin.to_string());
            let origin = origin.unwrap_or_default();
            let text = format!("{origin}: `{PATH}`: {}: {told}", file.display());
            ConfigProblem { code, text }
        };
        let text = read_text(file, TEXT_BYTES_MAX)
            .map_err(|error| problem(&error_codes::CONFIG_UNREADABLE, error))?;
        let calendar = Calendar::parse(&text, time_zone)
            .map_err(|error| problem(error.code(), error.to_string()))?;
        Ok(Some(Arc::new(calendar)))
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
        let env: Vec<(String, String)> = env.into_iter().collect();
        let near_misses = doubts::near_misses(&env);
        if let Some((name, text)) = file {
            layers.add_file(name, text);
        }
        layers.add_env(env);
        layers.add_flags(flags);
        Config::read(layers, near_misses)
    }

    fn read(mut layers: Layers, near_misses: Vec<String>) -> Result<Config, ConfigErrors> {
        let mut config = read::take_all(&mut layers);
        let (effective, overridden, problems) = layers.finish();
        if !problems.is_empty() {
            return Err(ConfigErrors(problems));
        }
        config.effective = effective;
        config.overridden = overridden;
        config.near_misses = near_misses;
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

    /// How many settings there are and where they come from: `76 settings: 3 from t.toml, 1 from the environment, 72 defaults`.
    pub fn origins(&self) -> String {
        let mut counts: BTreeMap<(u8, String), usize> = BTreeMap::new();
        for leaf in self.effective.values() {
            let source = match &leaf.origin {
                Origin::File { name, .. } => (0, format!("from {name}")),
                Origin::Env(_) => (1, "from the environment".to_owned()),
                Origin::Flag(_) => (2, "from flags".to_owned()),
                Origin::Default => (3, "defaults".to_owned()),
            };
            *counts.entry(source).or_default() += 1;
        }
        let parts: Vec<String> = counts
            .iter()
            .map(|((_, source), count)| format!("{count} {source}"))
            .collect();
        format!("{} settings: {}", self.effective.len(), parts.join(", "))
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
            let key = texts::toml_key(key);
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

/// A text file of at most so many bytes, or why it can't be read.
fn read_text(file: &Path, bytes_max: usize) -> Result<String, String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|file| {
        let mut limited = file.take(bytes_max as u64 + 1);
        limited.read_to_string(&mut text)
    });
    match read {
        Err(error) => Err(format!("can't be read: {error}")),
        Ok(length) if length > bytes_max => Err(format!("is longer than {bytes_max} bytes")),
        Ok(_) => Ok(text),
    }
}

/// Section and key of a path. The keys of open tables hold dots themselves.
fn split<'a>(path: &'a str, leaf: &'a Leaf) -> (&'a str, &'a str, &'a Leaf) {
    let open = ["bus.settings", "archive.options"]
        .iter()
        .find(|table| path.starts_with(&format!("{table}.")));
    let dot = open.map_or_else(|| path.rfind('.'), |table| Some(table.len()));
    match dot {
        Some(at) => (&path[..at], path.get(at + 1..).unwrap_or_default(), leaf),
        None => ("", path, leaf),
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // Where a secret lies is none.
    if key.ends_with("_file") {
        return false;
    }
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
