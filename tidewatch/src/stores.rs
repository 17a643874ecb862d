//! Opens what the settings name: data directory, log, topics, archive, aggregate store. Says which setting is wrong when it can't.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bus::embedded::{Clock, EmbeddedBus, EmbeddedOptions};
use bus::kafka::{ForeignOptions, KafkaBus, KafkaOptions, Secret, Security};
use bus::{Bus, BusError, TopicSpec};
use schemas::{Fault, Topics};
use sinks::Archive;
use sinks::aggregates::AggregateStore;

use crate::config::{BusKind, Config, SourceConfig};
use crate::error::CommandError;
use crate::error_codes;

/// The log that the settings name.
pub(crate) struct Log {
    pub(crate) bus: Arc<dyn Bus>,
    /// The same, if it is embedded.
    pub(crate) embedded: Option<Arc<EmbeddedBus>>,
}

/// The data directory, made if it is missing, as an absolute path; checked to be one we can write to.
pub(crate) fn create_data_dir(config: &Config) -> Result<PathBuf, CommandError> {
    let shown = config.data_dir.display();
    let refused = |error: std::io::Error| {
        let advice = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "free some space on its disk"
            }
            _ => {
                "expected a directory that this user can write to (setting data.dir, flag --data-dir)"
            }
        };
        CommandError::known(
            &error_codes::DATA_DIRECTORY,
            format!("data directory `{shown}`: {error}; {advice}"),
        )
    };
    std::fs::create_dir_all(&config.data_dir).map_err(refused)?;
    let dir = config.data_dir.canonicalize().map_err(refused)?;
    let probe = dir.join(format!(".write-probe-{}", std::process::id()));
    std::fs::write(&probe, b"tidewatch")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(refused)?;
    Ok(dir)
}

/// The data directory as an absolute path, if it exists.
pub(crate) fn existing_data_dir(config: &Config) -> Option<PathBuf> {
    config
        .data_dir
        .canonicalize()
        .ok()
        .filter(|dir| dir.is_dir())
}

/// The file of tokens.
pub(crate) fn tokens_file(config: &Config) -> PathBuf {
    match &config.access.tokens_file {
        file if file.as_os_str().is_empty() => config.data_dir.join("access/tokens.json"),
        file => file.clone(),
    }
}

pub(crate) fn topics(config: &Config) -> Topics {
    Topics::new(&config.bus.topic_prefix)
}

/// Opens the embedded log, or prepares the clients of Kafka. `clock`: the embedded log's, where it is not the machine's.
pub(crate) async fn open_log(
    config: &Config,
    data_dir: &Path,
    clock: Option<Clock>,
) -> Result<Log, CommandError> {
    match config.bus.kind {
        BusKind::Kafka => Ok(Log {
            bus: connect_kafka(config).await?,
            embedded: None,
        }),
        BusKind::Embedded => {
            let topics = topics(config);
            // Only samples wait for the archive; events are in it by the checkpoint that covers their samples.
            let unguarded: BTreeSet<String> = topics
                .all()
                .into_iter()
                .filter(|topic| *topic != topics.samples())
                .collect();
            let mut options = EmbeddedOptions {
                retention_ms_max: Some(retention_ms(config)),
                retention_bytes_max: config.bus.retention_bytes,
                free_bytes_min: config.bus.free_bytes_min,
                unguarded_topics: unguarded,
                ..EmbeddedOptions::default()
            };
            options.clock = clock.unwrap_or(options.clock);
            let dir = data_dir.join("bus");
            let opened =
                tokio::task::spawn_blocking(move || EmbeddedBus::open(&dir, options)).await;
            let opened = opened.unwrap_or_else(|error| {
                Err(BusError::Unavailable {
                    action: "opening the log".into(),
                    detail: error.to_string(),
                })
            });
            let embedded = opened.map_err(|error| CommandError::of("the embedded log", error))?;
            Ok(Log {
                bus: Arc::clone(&embedded) as Arc<dyn Bus>,
                embedded: Some(embedded),
            })
        }
    }
}

/// The settings of Kafka's clients, with the secrets that stand in files.
pub(crate) fn kafka_options(config: &Config) -> Result<KafkaOptions, CommandError> {
    let mut options = KafkaOptions::new(&config.bus.brokers);
    options.session_timeout_ms =
        u32::try_from(config.bus.session_timeout.as_millis()).unwrap_or(u32::MAX);
    options.handover_ms_max = options.handover_ms_max.min(options.session_timeout_ms / 3);
    options.partitions_expected = topics(config)
        .all()
        .into_iter()
        .filter_map(|topic| Some((topic, config.bus.partitions?)))
        .collect();
    let files = (&config.bus.password_file, &config.bus.key_password_file);
    options.security = with_secrets(&config.bus.security, files, "bus.security")?;
    options.extra = config.bus.settings.clone();
    Ok(options)
}

/// The settings of the client that reads a source, with the secrets that stand in files.
pub(crate) fn source_options(
    config: &Config,
    source: &SourceConfig,
) -> Result<ForeignOptions, CommandError> {
    let kafka = match &source.cluster {
        None => KafkaOptions {
            partitions_expected: BTreeMap::new(),
            ..kafka_options(config)?
        },
        Some(cluster) => {
            let section = format!("sources.kafka.{}", source.name);
            let files = (&cluster.password_file, &cluster.key_password_file);
            KafkaOptions {
                security: with_secrets(&cluster.security, files, &section)?,
                extra: config.bus.settings.clone(),
                ..KafkaOptions::new(&cluster.brokers)
            }
        }
    };
    Ok(ForeignOptions {
        kafka,
        topics: source.topics.clone(),
        ignored: topics(config).all().to_vec(),
        group: source.group.clone(),
        start: source.start,
    })
}

/// Security settings of a section, with the passwords in the files of the password and of the key's password.
fn with_secrets(
    security: &Security,
    (password_file, key_password_file): (&Option<PathBuf>, &Option<PathBuf>),
    section: &str,
) -> Result<Security, CommandError> {
    let mut security = security.clone();
    if let (Some(sasl), Some(file)) = (&mut security.sasl, password_file) {
        sasl.password = read_secret(&format!("{section}.password_file"), file)?;
    }
    let tls = security.tls.as_mut();
    if let (Some(own), Some(file)) = (
        tls.and_then(|tls| tls.certificate.as_mut()),
        key_password_file,
    ) {
        own.key_password = read_secret(&format!("{section}.key_password_file"), file)?;
    }
    Ok(security)
}

/// The secret in a file, without the line end that editors leave behind it.
fn read_secret(setting: &str, file: &Path) -> Result<Secret, CommandError> {
    let refused = |what: &str| CommandError::Known {
        message: format!(
            "the file of setting `{setting}`, {}: {what}",
            file.display()
        ),
        fault: Fault::BadConfig,
        code: &error_codes::SECRET_FILE,
    };
    let text = std::fs::read_to_string(file).map_err(|error| refused(&error.to_string()))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() || secret.contains(['\n', '\r']) {
        return Err(refused("expected one line that holds the secret"));
    }
    Ok(Secret::new(secret))
}

pub(crate) async fn connect_kafka(config: &Config) -> Result<Arc<dyn Bus>, CommandError> {
    let bus = KafkaBus::connect(kafka_options(config)?)
        .map_err(|error| CommandError::of("Kafka (section [bus])", error))?;
    Ok(bus)
}

fn retention_ms(config: &Config) -> i64 {
    i64::try_from(config.bus.retention.as_millis()).unwrap_or(i64::MAX)
}

/// The topics as the settings want them, and as they are where the settings leave it to the log.
///
/// # Errors
/// A broken log.
pub(crate) async fn topic_specs(
    config: &Config,
    bus: &dyn Bus,
) -> Result<Vec<TopicSpec>, CommandError> {
    let partitions = match config.bus.partitions {
        Some(wanted) => wanted,
        None => match bus.partitions(&topics(config).samples()).await {
            Ok(found) => found,
            Err(BusError::NoTopic { .. }) => 1,
            Err(error) => return Err(CommandError::of("topics", error)),
        },
    };
    // A topic keeps what it was created with. In the embedded log that is no limit, so that the setting of each start decides.
    let retention_ms = if config.bus.kind == BusKind::Embedded {
        i64::MAX
    } else {
        retention_ms(config)
    };
    let spec = |name| TopicSpec {
        name,
        partitions,
        retention_ms,
        log_append_time: true,
    };
    Ok(topics(config).all().into_iter().map(spec).collect())
}

/// Makes sure that all topics are there: creates the embedded ones, only looks in Kafka. `own_times`: whether records of the embedded
/// ones may bring their append times.
pub(crate) async fn check_topics(
    config: &Config,
    bus: &Arc<dyn Bus>,
    own_times: bool,
) -> Result<(), CommandError> {
    let refused = |error: BusError| CommandError::of("topics", error);
    if config.bus.kind == BusKind::Embedded {
        let mut specs = topic_specs(config, &**bus).await?;
        for spec in &mut specs {
            spec.log_append_time = !own_times;
        }
        return bus.create_topics(&specs).await.map_err(refused);
    }
    for topic in topics(config).all() {
        let found = bus.partitions(&topic).await.map_err(refused)?;
        if let Some(expected) = config.bus.partitions
            && expected != found
        {
            return Err(refused(BusError::PartitionCount {
                topic,
                expected,
                found,
            }));
        }
    }
    Ok(())
}

/// The archive, by its URL or inside the data directory.
pub(crate) fn open_archive(config: &Config, data_dir: &Path) -> Result<Archive, CommandError> {
    let url = if config.archive.url.is_empty() {
        format!("file://{}", data_dir.join("archive").display())
    } else {
        config.archive.url.clone()
    };
    Archive::open(&url, &config.archive.options)
        .map_err(|error| CommandError::of("the archive", error))
}

/// The archive for a command that only reads: a directory that is not there is told, not made.
pub(crate) fn existing_archive(config: &Config) -> Result<Archive, CommandError> {
    if !config.archive.url.is_empty() {
        return open_archive(config, &config.data_dir);
    }
    match existing_data_dir(config).filter(|dir| dir.join("archive").is_dir()) {
        Some(dir) => open_archive(config, &dir),
        None => Err(no_archive(&config.data_dir)),
    }
}

fn no_archive(data_dir: &Path) -> CommandError {
    let shown = data_dir.display();
    // To who may not look, what is there is as if it were not.
    let message = match std::fs::read_dir(data_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            format!("data directory `{shown}`: {error}; ask as a user who may read it")
        }
        _ => format!(
            "no archive in the data directory `{shown}`; name another by --data-dir or --config, or make one with `tidewatch run`"
        ),
    };
    CommandError::Failed {
        message,
        fault: Fault::BadConfig,
    }
}

/// The aggregate store, always in the data directory: it holds what this process owns.
pub(crate) async fn open_aggregates(
    config: &Config,
    data_dir: &Path,
) -> Result<AggregateStore, CommandError> {
    let (dir, retention) = (data_dir.join("aggregates"), config.retention);
    let opened = tokio::task::spawn_blocking(move || AggregateStore::open(&dir, retention)).await;
    match opened {
        Ok(opened) => opened.map_err(|error| CommandError::of("opening", error)),
        Err(error) => Err(CommandError::surroundings(format!(
            "opening the aggregate store: {error}"
        ))),
    }
}
