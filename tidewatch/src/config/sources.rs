//! Takes the sections `sources.kafka.NAME`: topics of others, how they are reached and read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bus::kafka::{Security, Start, is_pattern};
use ingest::foreign::{Format, Reading, unit_from_name};
use ingest::http::LineUnit;
use schemas::Topics;

use super::BusConfig;
use super::layers::Layers;
use super::security::{SecuritySection, take_security};
use super::texts::{BROKERS, NAME, are_brokers, is_name};

/// The section that holds for all sources, and holds those of each.
const SECTION: &str = "sources.kafka";
/// The longest name of a source.
const NAME_BYTES_MAX: usize = 50;

/// Topics of others as a source of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// Its name.
    pub name: String,
    /// The cluster, if it is not that of the log.
    pub cluster: Option<ClusterConfig>,
    /// Topics: names, and expressions that begin with `^`.
    pub topics: Vec<String>,
    /// What their records are.
    pub reading: Reading,
    /// The group that keeps the offsets.
    pub group: String,
    /// Where the group begins.
    pub start: Start,
}

/// A cluster that is not that of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// TLS and SASL, with the secrets that the settings themselves hold.
    pub security: Security,
    /// The file that holds the password instead.
    pub password_file: Option<PathBuf>,
    /// The file that holds the password of our key instead.
    pub key_password_file: Option<PathBuf>,
}

/// Takes every source, in the order of their names.
pub(super) fn take_sources(layers: &mut Layers, bus: &BusConfig) -> Vec<SourceConfig> {
    // What holds for all is checked though there be none.
    take_source(layers, SECTION, None, bus);
    let sources: Vec<SourceConfig> = layers
        .names(SECTION)
        .iter()
        .map(|name| take_source(layers, &format!("{SECTION}.{name}"), Some(name), bus))
        .collect();
    let shares = |source: &SourceConfig| source.cluster.is_none();
    if sources.iter().any(shares)
        && let Err(error) = bus.security.check(&BTreeMap::new())
    {
        layers.refuse_because("bus.security.protocol", &error);
    }
    sources
}

/// Takes a section; without a `name` it is the one that others fall back on.
fn take_source(
    layers: &mut Layers,
    path: &str,
    name: Option<&str>,
    bus: &BusConfig,
) -> SourceConfig {
    let at = |key: &str| format!("{path}.{key}");
    let may_be_empty =
        |allowed: fn(&str) -> bool| move |text: &String| text.is_empty() || allowed(text);
    let brokers: String = layers.take_if(&at("brokers"), BROKERS, may_be_empty(are_brokers));
    let topics: Vec<String> = layers.take_if(
        &at("topics"),
        "a list of names of topics, and of expressions that begin with ^",
        |topics: &Vec<String>| {
            topics
                .iter()
                .all(|topic| is_pattern(topic) || is_name(topic))
        },
    );
    let formats = Format::ALL.map(|format| format!("\"{format}\"")).join(", ");
    let format: String = layers.take_if(
        &at("format"),
        &format!("one of {formats}"),
        |name: &String| Format::from_name(name).is_some(),
    );
    let precision: String = layers.take_if(
        &at("precision"),
        "\"auto\", \"ns\", \"us\", \"ms\" or \"s\"",
        |name: &String| unit_from_name(name).is_some(),
    );
    let group: String = layers.take_if(&at("group"), NAME, may_be_empty(is_name));
    let start: String = layers.take_if(
        &at("start"),
        "\"earliest\" or \"latest\"",
        |start: &String| [Start::Earliest.name(), Start::Latest.name()].contains(&start.as_str()),
    );
    let has_cluster = !brokers.is_empty();
    let section = SecuritySection {
        path,
        is_complete: name.is_some() && has_cluster,
        is_used: name.is_some() && has_cluster,
    };
    let (security, password_file, key_password_file) =
        take_security(layers, &section, &BTreeMap::new());
    let name = name.unwrap_or_default();
    if !path.ends_with(SECTION) {
        check_name(layers, path, name);
        check_topics(layers, path, &topics, bus);
    }
    SourceConfig {
        name: name.to_owned(),
        cluster: has_cluster.then_some(ClusterConfig {
            brokers,
            security,
            password_file,
            key_password_file,
        }),
        topics,
        reading: Reading {
            format: Format::from_name(&format).unwrap_or(Format::OtlpProto),
            unit: unit_from_name(&precision).unwrap_or(LineUnit::Auto),
        },
        group: match group.as_str() {
            "" => format!("{}.{name}", bus.group),
            group => group.to_owned(),
        },
        start: match start.as_str() {
            "latest" => Start::Latest,
            _ => Start::Earliest,
        },
    }
}

fn check_name(layers: &mut Layers, path: &str, name: &str) {
    let is_right = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
        });
    let expected = if !is_right {
        format!("1 to {NAME_BYTES_MAX} of the characters a-z 0-9 - _")
    } else if layers.is_key(path) {
        // As a variable of the environment may have it; in a file it is told before.
        format!("no key of `[{SECTION}]`")
    } else {
        return;
    };
    layers.refuse(
        &format!("{path}.topics"),
        &format!("a section whose own name is {expected} instead of `{name}`"),
    );
}

/// A source needs topics, and none of our own: what is written because of a record would be read as one more.
fn check_topics(layers: &mut Layers, path: &str, topics: &[String], bus: &BusConfig) {
    let key = format!("{path}.topics");
    if topics.is_empty() {
        layers.refuse(&key, "at least one topic");
    }
    let own = Topics::new(&bus.topic_prefix).all();
    if let Some(topic) = topics.iter().find(|topic| own.contains(topic)) {
        layers.refuse(&key, &format!("topics of others, and `{topic}` is our own"));
    }
}
