//! Starts what collects by itself: the host collector, scraping, and what gathers from sockets.

use std::sync::Arc;

use ingest::collectors::host::{HostCollector, HostOptions};
use ingest::collectors::scrape::{self, Clients, Job};
use ingest::sockets::{graphite, statsd};
use ingest::{IngestCounters, Publisher};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::doors::Sockets;

/// Starts what the settings ask for, until `intake` is cancelled.
pub(super) fn start(
    config: &Config,
    sockets: Sockets,
    scraped: Vec<(Job, Clients)>,
    publisher: &Publisher,
    counters: &Arc<IngestCounters>,
    intake: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let mut collectors: Vec<JoinHandle<()>> = Vec::new();
    if let Some(interval) = config.host_interval {
        let host = HostCollector::new(HostOptions::default());
        let (publisher, counters) = (publisher.clone(), Arc::clone(counters));
        collectors.push(tokio::spawn(host.run(
            interval,
            publisher,
            counters,
            intake.clone(),
        )));
    }
    if !scraped.is_empty() {
        collectors.push(tokio::spawn(scrape::run(
            scraped,
            publisher.clone(),
            Arc::clone(counters),
            intake.clone(),
        )));
    }
    if !sockets.statsd.is_empty() {
        collectors.push(tokio::spawn(statsd::run(
            config.receivers.statsd,
            sockets.statsd,
            publisher.clone(),
            Arc::clone(counters),
            intake.clone(),
        )));
    }
    if !sockets.graphite.is_empty() {
        collectors.push(tokio::spawn(graphite::run(
            config.receivers.graphite_template.clone(),
            sockets.graphite,
            publisher.clone(),
            Arc::clone(counters),
            intake.clone(),
        )));
    }
    collectors
}
