//! Takes every key of every section out of the layers, as the type and within the limits that it must have.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use analytics::calendar::Zone;
use analytics::peers::PeersConfig;
use analytics::{DetectorConfig, Watch};
use ingest::sockets::graphite::Template;
use ingest::sockets::statsd::StatsdOptions;
use pipeline::CheckpointPolicy;
use processors::{ForecastingConfig, HORIZON_H_MAX, ProcessingConfig};
use schemas::{Micros, Resolution};
use sinks::aggregates::Retention;
use sinks::compaction::CompactionPolicy;

use super::layers::{Layers, Size};
use super::limits::take_limits;
use super::scrape::take_scrape;
use super::security::{SecuritySection, take_security};
use super::sources::take_sources;
use super::texts::{BROKERS, NAME, are_brokers, is_name};
use super::token_limits::take_token_limits;
use super::units::parse_duration;
use super::{
    AccessConfig, ArchiveConfig, BusConfig, BusKind, CalendarConfig, Config, LogConfig, LogFormat,
    ReceiversConfig, ServerConfig,
};
use crate::tls::TlsConfig;

/// Partitions of Kafka's topics where nothing is said.
const KAFKA_PARTITIONS: u32 = 4;

/// Takes every setting. What is wrong with them is noted in the layers, and something harmless stands in.
pub(super) fn take_all(layers: &mut Layers) -> Config {
    let (checkpoint, tick_interval) = take_checkpoint(layers);
    let mut config = Config {
        server: take_server(layers),
        access: take_access(layers),
        data_dir: PathBuf::from(layers.take_if(
            "data.dir",
            "the name of a directory",
            |dir: &String| !dir.is_empty(),
        )),
        sources: Vec::new(),
        bus: take_bus(layers),
        archive: take_archive(layers),
        limits: take_limits(layers),
        token_limits: take_token_limits(layers),
        receivers: take_receivers(layers),
        scrape: take_scrape(layers),
        host_interval: {
            let enabled: bool = layers.take("collectors.host.enabled");
            let interval = layers.take_if(
                "collectors.host.interval",
                "a duration from \"1s\" to \"1h\"",
                within(1_000, 3_600_000),
            );
            enabled.then_some(interval)
        },
        processing: take_processing(layers),
        calendar: take_calendar(layers),
        checkpoint,
        tick_interval,
        retention: take_retention(layers),
        query: take_query(layers),
        log: take_log(layers),
        effective: BTreeMap::new(),
        overridden: Vec::new(),
        near_misses: Vec::new(),
    };
    config.sources = take_sources(layers, &config.bus);
    config
}

/// Whether a duration lies within bounds, milliseconds, both inclusive.
pub(super) fn within(least_ms: u64, most_ms: u64) -> impl Fn(&Duration) -> bool {
    move |duration| {
        (Duration::from_millis(least_ms)..=Duration::from_millis(most_ms)).contains(duration)
    }
}

fn take_server(layers: &mut Layers) -> ServerConfig {
    const LISTEN: &str = "an address and a port, such as \"127.0.0.1:7744\" or \"[::1]:7744\"";
    let listen: String = layers.take("server.listen");
    let listen = address(&listen).unwrap_or_else(|| {
        layers.refuse("server.listen", LISTEN);
        SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0)
    });
    let insecure_listen: bool = layers.take("server.insecure_listen");
    ServerConfig {
        listen,
        insecure_listen,
        connections_max: take_count(layers, "server.connections_max", 1, 1_000_000),
        header_timeout: layers.take_if(
            "server.header_timeout",
            "a duration from \"1s\" to \"1h\"",
            within(1_000, 3_600_000),
        ),
        request_timeout: layers.take_if(
            "server.request_timeout",
            "a duration from \"1s\" to \"1d\"",
            within(1_000, 86_400_000),
        ),
        tails_max: take_count(layers, "server.tails_max", 0, 10_000),
        tls: take_tls(layers),
    }
}

fn take_tls(layers: &mut Layers) -> Option<TlsConfig> {
    let mut file = |path: &str| PathBuf::from(layers.take::<String>(path));
    let (certificate, key) = (
        file("server.tls.certificate_file"),
        file("server.tls.key_file"),
    );
    let self_signed: bool = layers.take("server.tls.self_signed");
    let [named, has_key] = [&certificate, &key].map(|file| !file.as_os_str().is_empty());
    if named != has_key {
        let missing = match named {
            true => "server.tls.key_file",
            false => "server.tls.certificate_file",
        };
        layers.refuse(
            missing,
            "a PEM file: a certificate and its key are given both or neither",
        );
    }
    if self_signed && named {
        layers.refuse(
            "server.tls.self_signed",
            "false, because server.tls.certificate_file names a certificate",
        );
    }
    match (named, self_signed) {
        (true, _) => Some(TlsConfig::Files { certificate, key }),
        (false, true) => Some(TlsConfig::SelfSigned),
        (false, false) => None,
    }
}

fn take_access(layers: &mut Layers) -> AccessConfig {
    AccessConfig {
        required: layers.take("access.required"),
        tokens_file: PathBuf::from(layers.take::<String>("access.tokens_file")),
    }
}

/// An address and a port; `localhost` stands for 127.0.0.1.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => text.parse().ok(),
    }
}

fn take_receivers(layers: &mut Layers) -> ReceiversConfig {
    let template: String = layers.take_if(
        "receivers.graphite.template",
        "words with dots between them, of which one is `metric`, such as \"host.metric*\"",
        |text: &String| text.parse::<Template>().is_ok(),
    );
    ReceiversConfig {
        otlp_listen: take_addresses(layers, "receivers.otlp.listen"),
        statsd_listen: take_open_addresses(layers, "receivers.statsd.listen"),
        statsd: StatsdOptions {
            flush_interval: layers.take_if(
                "receivers.statsd.flush_interval",
                "a duration from \"100ms\" to \"1h\"",
                within(100, 3_600_000),
            ),
            series_max: take_count(layers, "receivers.statsd.series_max", 1, 10_000_000),
        },
        graphite_listen: take_open_addresses(layers, "receivers.graphite.listen"),
        graphite_template: template.parse().unwrap_or_default(),
    }
}

/// Addresses that a receiver listens on.
fn take_addresses(layers: &mut Layers, path: &str) -> Vec<SocketAddr> {
    let texts: Vec<String> = layers.take_if(
        path,
        "a list of addresses with ports, such as [\"127.0.0.1:4317\"]",
        |texts: &Vec<String>| texts.iter().all(|text| address(text).is_some()),
    );
    texts.iter().filter_map(|text| address(text)).collect()
}

/// Addresses of a receiver whose protocol knows no tokens: those that others can reach must be allowed.
fn take_open_addresses(layers: &mut Layers, path: &str) -> Vec<SocketAddr> {
    let addresses = take_addresses(layers, path);
    let is_open = addresses.iter().any(|address| !address.ip().is_loopback());
    if is_open && !layers.take::<bool>("server.insecure_listen") {
        layers.refuse(
            path,
            "loopback addresses, because this protocol knows no tokens; to let every machine that reaches the address write, \
             give --insecure-listen (or server.insecure_listen = true)",
        );
    }
    addresses
}

/// A count within limits, both inclusive.
pub(super) fn take_count(layers: &mut Layers, path: &str, least: u64, most: u64) -> usize {
    let count = layers.take_if(
        path,
        &format!("a whole number from {least} to {most}"),
        |count: &u64| (least..=most).contains(count),
    );
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A size of at least so many bytes.
fn take_bytes(layers: &mut Layers, path: &str, least: u64) -> u64 {
    layers
        .take_if(
            path,
            &format!("a size of at least {least} bytes"),
            |size: &Size| size.0 >= least,
        )
        .0
}

pub(super) fn take_memory(layers: &mut Layers, path: &str, least: u64) -> usize {
    usize::try_from(take_bytes(layers, path, least)).unwrap_or(usize::MAX)
}

fn take_bus(layers: &mut Layers) -> BusConfig {
    let kind: String = layers.take_if("bus.kind", "\"embedded\" or \"kafka\"", |kind: &String| {
        ["embedded", "kafka"].contains(&kind.as_str())
    });
    let partitions = layers.take_if(
        "bus.partitions",
        "a whole number from 0 to 4096",
        |count: &u32| *count <= 4096,
    );
    let brokers = layers.take_if("bus.brokers", BROKERS, |brokers: &String| {
        are_brokers(brokers)
    });
    let kind = if kind == "kafka" {
        BusKind::Kafka
    } else {
        BusKind::Embedded
    };
    let settings = layers.take_open("bus.settings");
    let section = SecuritySection {
        path: "bus.security",
        is_complete: true,
        is_used: kind == BusKind::Kafka,
    };
    let (security, password_file, key_password_file) = take_security(layers, &section, &settings);
    BusConfig {
        kind,
        brokers,
        partitions: match (partitions, kind) {
            (0, BusKind::Embedded) => None,
            (0, BusKind::Kafka) => Some(KAFKA_PARTITIONS),
            (count, _) => Some(count),
        },
        group: layers.take_if("bus.group", NAME, |name: &String| is_name(name)),
        topic_prefix: layers.take_if("bus.topic_prefix", NAME, |name: &String| is_name(name)),
        retention: layers.take_if(
            "bus.retention",
            "a duration of at least \"1m\"",
            |kept: &Duration| kept.as_secs() >= 60,
        ),
        retention_bytes: take_bytes(layers, "bus.retention_size", 16 << 20),
        free_bytes_min: take_bytes(layers, "bus.free_space_min", 0),
        session_timeout: layers.take_if(
            "bus.session_timeout",
            "a duration from \"1s\" to \"30m\"",
            within(1_000, 1_800_000),
        ),
        security,
        password_file,
        key_password_file,
        settings,
    }
}

fn take_archive(layers: &mut Layers) -> ArchiveConfig {
    let url = layers.take_if(
        "archive.url",
        "\"\", \"file:///absolute/directory\" or \"s3://bucket/prefix\"",
        |url: &String| {
            url.is_empty()
                || url.starts_with("file:///")
                || url
                    .strip_prefix("s3://")
                    .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        },
    );
    let named = |name: &String| {
        Resolution::ALL
            .into_iter()
            .find(|resolution| resolution.name() == name)
    };
    let rollups = layers.take_if(
        "archive.rollups",
        "a list of \"10s\", \"1m\", \"5m\", \"1h\", \"1d\"",
        |names: &Vec<String>| names.iter().all(|name| named(name).is_some()),
    );
    ArchiveConfig {
        url,
        options: layers.take_open("archive.options"),
        rollups: rollups.iter().filter_map(named).collect(),
        compaction: CompactionPolicy {
            target_bytes: take_bytes(layers, "archive.compaction_target", 1 << 10),
            files_max: take_count(layers, "archive.compaction_files_max", 2, 10_000),
        },
        rebuild_damaged_states: layers.take("archive.rebuild_damaged_states"),
    }
}

pub(super) fn micros(duration: Duration) -> Micros {
    // Settings reach at most a century: 3e15 microseconds.
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

fn take_processing(layers: &mut Layers) -> ProcessingConfig {
    let enabled: bool = layers.take("detection.enabled");
    let detection = take_detection(layers);
    let peers = take_peers(layers, detection.alarms_per_month);
    let forecasting = take_forecasting(layers);
    let mut time = |path: &str| micros(layers.take(path));
    let (lateness, future_max, late_max, warm_start) = (
        time("processing.lateness"),
        time("processing.future_max"),
        time("processing.late_max"),
        time("detection.warm_start"),
    );
    if late_max < lateness {
        layers.refuse(
            "processing.late_max",
            "at least as long as processing.lateness",
        );
    }
    ProcessingConfig {
        lateness,
        future_max,
        late_max,
        backfill: layers.take("processing.backfill"),
        series_max: take_count(layers, "processing.series_max", 1, 1 << 31),
        detection: enabled.then_some(detection),
        peers: peers.filter(|_| enabled),
        siblings_across_partitions: layers.take("detection.siblings_across_partitions"),
        forecasting,
        warm_start,
        // Read when everything else is known to be right.
        calendar: None,
        time_zone: Zone::named(&layers.take::<String>("calendar.time_zone")).unwrap_or_default(),
    }
}

fn take_calendar(layers: &mut Layers) -> CalendarConfig {
    CalendarConfig {
        file: PathBuf::from(layers.take::<String>("calendar.file")),
        time_zone: layers.take_if(
            "calendar.time_zone",
            "a name of the IANA database, such as \"Europe/Berlin\"",
            |name: &String| Zone::named(name).is_some(),
        ),
    }
}

fn take_forecasting(layers: &mut Layers) -> Option<ForecastingConfig> {
    const HOURS: &str = "whole hours, from \"1h\" to \"7d\"";
    let hours = |duration: &Duration| {
        let hours = u32::try_from(duration.as_secs() / 3_600).ok()?;
        let whole = *duration == Duration::from_secs(3_600 * u64::from(hours));
        (whole && (1..=HORIZON_H_MAX).contains(&hours)).then_some(hours)
    };
    let ahead = |text: &String| hours(&parse_duration(text)?);
    let enabled: bool = layers.take("forecast.enabled");
    let interval = layers.take_if("forecast.interval", HOURS, |interval| {
        hours(interval).is_some()
    });
    let horizons = layers.take_if(
        "forecast.horizons",
        "a list of one to eight durations, each whole hours, from \"1h\" to \"7d\"",
        |horizons: &Vec<String>| {
            (1..=8).contains(&horizons.len()) && horizons.iter().all(|one| ahead(one).is_some())
        },
    );
    let config = ForecastingConfig {
        interval_h: hours(&interval).unwrap_or(1),
        horizons_h: horizons.iter().filter_map(ahead).collect(),
        series_max: take_count(layers, "forecast.series_max", 0, 1 << 24),
        pools_max: take_count(layers, "forecast.pools_max", 0, 1 << 24),
    };
    enabled.then_some(config)
}

fn take_detection(layers: &mut Layers) -> DetectorConfig {
    let watch: String = layers.take_if(
        "detection.watch",
        "\"both\", \"high\" or \"low\"",
        |side: &String| ["both", "high", "low"].contains(&side.as_str()),
    );
    let mut seconds = |path: &str| layers.take::<Duration>(path).as_secs_f64();
    let (warm_up_s, rest_s, silence_s) = (
        seconds("detection.warm_up"),
        seconds("detection.rest"),
        seconds("detection.silence"),
    );
    let config = DetectorConfig {
        alarms_per_month: layers.take("detection.alarms_per_month"),
        band_relative_min: layers.take("detection.band_relative_min"),
        band_absolute_min: layers.take("detection.band_absolute_min"),
        watch: match watch.as_str() {
            "high" => Watch::High,
            "low" => Watch::Low,
            _ => Watch::Both,
        },
        warm_up_samples: u16::try_from(take_count(layers, "detection.warm_up_samples", 2, 60_000))
            .unwrap_or(u16::MAX),
        warm_up_s,
        completeness_min: layers.take("detection.completeness_min"),
        rest_s,
        silence_s,
    };
    // With other problems around, a number here may be a stand-in.
    if layers.is_clean()
        && let Err(error) = config.validate()
    {
        let key = error.setting.strip_suffix("_s").unwrap_or(error.setting);
        let unit = if key == error.setting { "" } else { " seconds" };
        layers.refuse(
            &format!("detection.{key}"),
            &format!("{} to {}{unit}", error.least, error.most),
        );
    }
    config
}

fn take_peers(layers: &mut Layers, alarms_per_month: f64) -> Option<PeersConfig> {
    let compared: bool = layers.take("detection.peers");
    let config = PeersConfig {
        members_min: u32::try_from(take_count(layers, "detection.peers_min", 3, 10_000))
            .unwrap_or(u32::MAX),
        alarms_per_month,
        ..PeersConfig::default()
    };
    if layers.is_clean()
        && let Err(error) = config.validate()
    {
        layers.refuse_because("detection.peers_min", &error);
    }
    compared.then_some(config)
}

fn take_checkpoint(layers: &mut Layers) -> (CheckpointPolicy, Duration) {
    const INTERVAL: &str = "a duration from \"100ms\" to \"1d\"";
    let mut interval = |path: &str| layers.take_if(path, INTERVAL, within(100, 86_400_000));
    let policy = CheckpointPolicy {
        interval: interval("processing.checkpoint_interval"),
        snapshot_interval: interval("processing.snapshot_interval"),
        compaction_interval: interval("archive.compaction_interval"),
        samples_max: 0,
        replaced_files_kept: Duration::ZERO,
    };
    let tick_interval = interval("processing.tick_interval");
    let policy = CheckpointPolicy {
        samples_max: take_count(layers, "processing.checkpoint_samples_max", 1, 1 << 32),
        replaced_files_kept: layers.take("archive.replaced_files_kept"),
        ..policy
    };
    (policy, tick_interval)
}

fn take_retention(layers: &mut Layers) -> Retention {
    let mut kept = |resolution: Resolution| {
        let path = format!("aggregates.retention_{}", resolution.name());
        micros(
            layers.take_if(&path, "a duration of at least \"1h\"", |kept: &Duration| {
                kept.as_secs() >= 3_600
            }),
        )
    };
    Retention {
        ten_seconds: kept(Resolution::TenSeconds),
        minute: kept(Resolution::Minute),
        five_minutes: kept(Resolution::FiveMinutes),
        hour: kept(Resolution::Hour),
        day: kept(Resolution::Day),
    }
}

fn take_query(layers: &mut Layers) -> query::Limits {
    const WAIT: &str = "a duration from \"10ms\" to \"1d\"";
    let threads = take_count(layers, "query.threads", 0, 1_024);
    query::Limits {
        timeout: layers.take_if("query.timeout", WAIT, within(10, 86_400_000)),
        memory_bytes: take_memory(layers, "query.memory", 1 << 20),
        memory_bytes_total: take_memory(layers, "query.memory_total", 1 << 20),
        rows_max: layers.take("query.rows_max"),
        concurrent_max: take_count(layers, "query.concurrent_max", 1, 10_000),
        waiting_max: take_count(layers, "query.waiting_max", 0, 100_000),
        wait: layers.take_if("query.wait", WAIT, within(10, 86_400_000)),
        threads: if threads == 0 {
            query::Limits::default().threads
        } else {
            threads
        },
        verify_files: layers.take("query.verify_files"),
        spill_directory: None,
        spill_bytes: take_bytes(layers, "query.spill", 0),
    }
}

fn take_log(layers: &mut Layers) -> LogConfig {
    const LEVEL: &str =
        "error, warn, info, debug or trace, or levels per module such as \"info,pipeline=debug\"";
    let format: String = layers.take_if(
        "log.format",
        "\"auto\", \"text\" or \"json\"",
        |format: &String| ["auto", "text", "json"].contains(&format.as_str()),
    );
    LogConfig {
        level: layers.take_if("log.level", LEVEL, |level: &String| {
            level.parse::<tracing_subscriber::filter::Targets>().is_ok() && !level.trim().is_empty()
        }),
        format: match format.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
    }
}
