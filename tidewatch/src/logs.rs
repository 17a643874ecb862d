//! Where log lines go: standard error, as JSON for machines and as text for people.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogConfig, LogFormat};

/// Starts logging. A second call changes nothing.
pub(crate) fn start(config: &LogConfig) {
    let terminal = std::io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    // The configuration has checked that it can be read.
    let wanted: Targets = config
        .level
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    // The embedded store tells of every file it makes; who wants that says so in the configuration.
    let quiet = Targets::new().with_targets([
        ("fjall", tracing::Level::WARN),
        ("lsm_tree", tracing::Level::WARN),
    ]);
    let filter = quiet
        .with_targets(
            wanted
                .iter()
                .map(|(target, level)| (target.to_owned(), level)),
        )
        .with_default(
            wanted
                .default_level()
                .unwrap_or(tracing::level_filters::LevelFilter::INFO),
        );
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = if json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.with_ansi(terminal).boxed()
    };
    // Fails only if a subscriber is there already: then that one goes on.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
}
