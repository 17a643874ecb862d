//! Real agents that `cargo xtask agents` builds, each by every way that its page names: a known set of samples goes in, and is in SQL, exactly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod collector;
mod kcat;
mod known;
mod prometheus;
mod telegraf;
mod tokens;
mod vector;
mod vmagent;

use tests::agents::settings_below;
use tests::kafka::Cluster;
use tests::process::Launch;

/// A start that takes samples of any time.
fn launch(directory: &std::path::Path) -> Launch {
    Launch::new(directory).env("TIDEWATCH__PROCESSING__BACKFILL", "true")
}

/// The two blocks below a heading about Kafka: the agent's settings, and ours, with a group of this test alone; `changes` are made to both.
fn settings_of_both(
    page: &str,
    heading: &str,
    cluster: &Cluster,
    topic: (&str, &str),
    changes: &[(&str, String)],
) -> (String, String) {
    let (default, topic) = topic;
    let mut replacements = vec![
        ("127.0.0.1:9092", cluster.brokers.clone()),
        (default, topic.to_owned()),
    ];
    replacements.extend_from_slice(changes);
    let mut blocks = settings_below(page, heading, &replacements);
    assert_eq!(blocks.len(), 2, "{page}: {heading}");
    let group = format!("group = \"{}\"\n", cluster.name("group"));
    let ours = blocks.swap_remove(1) + &group;
    (blocks.swap_remove(0), ours)
}
