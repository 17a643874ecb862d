//! Prometheus scrape: asks endpoints for their metrics at every interval, text format and OpenMetrics alike.
//!
//! ```text
//! discovery ── targets ──▶ one loop per target: fetch ─▶ exposition ─▶ series (relabel, stale markers) ─▶ door ─▶ backlog ─▶ log
//! ```
//!
//! Beside what an endpoint exposes, each scrape brings `up`, `scrape_duration_seconds`, `scrape_samples_scraped`,
//! `scrape_samples_post_metric_relabeling` and `scrape_series_added`. A series that is gone from an endpoint, or whose endpoint is gone, gets one
//! last sample, the stale marker of Prometheus: a NaN of its own bits. A stop of ours brings none, since the next start goes on.
//! Left out: native histograms (protobuf), redirects, proxies, exemplars.

mod discovery;
mod exposition;
mod fetch;
mod relabel;
mod run;
mod series;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use discovery::read_groups;
pub use exposition::{Exposition, Format, Line, Malformed, NamedSeries, read_series};
pub use fetch::{Clients, Credentials, TlsError};
pub use relabel::{Action, Rule, RuleError, RuleText};
pub use run::run;
pub use target::Group;

use fetch::FetchError;
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use series::ScrapeError;
use target::Target;

use crate::error_codes;

/// Why a scrape brought nothing.
#[derive(Debug, thiserror::Error)]
enum ScrapeFailure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Body(#[from] ScrapeError),
}

impl HasFault for ScrapeFailure {
    fn fault(&self) -> Fault {
        match self {
            ScrapeFailure::Fetch(_) => Fault::Outage,
            ScrapeFailure::Body(_) => Fault::BadInput,
        }
    }
}

impl HasCode for ScrapeFailure {
    fn code(&self) -> &'static ErrorCode {
        match self {
            ScrapeFailure::Fetch(_) => &error_codes::SCRAPE_FAILED,
            ScrapeFailure::Body(_) => &error_codes::SCRAPE_MALFORMED,
        }
    }
}

/// Endpoints that are scraped alike.
#[derive(Debug, Clone)]
pub struct Job {
    /// The value of the label `job`.
    pub name: String,
    /// How often, 1 s to 1 h.
    pub interval: Duration,
    /// How long one scrape may take, at most the interval.
    pub timeout: Duration,
    /// `http` or `https`.
    pub scheme: String,
    /// The path, with its slash.
    pub path: String,
    /// Parameters of the query.
    pub params: BTreeMap<String, String>,
    /// Targets of the configuration.
    pub groups: Vec<Group>,
    /// Files that list further ones, as Prometheus' `file_sd` has them.
    pub files: Vec<PathBuf>,
    /// Whether a label that an endpoint gives wins over the target's of the same name; else it is renamed to `exported_…`.
    pub honor_labels: bool,
    /// Whether a time that an endpoint gives is taken.
    pub honor_timestamps: bool,
    /// Bytes of one answer, as sent and decompressed.
    pub body_bytes_max: usize,
    /// Samples of one scrape after relabelling.
    pub samples_max: usize,
    /// What is sent to prove who asks.
    pub credentials: Credentials,
    /// Authorities that the endpoints' certificates must come from, a PEM file; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Rules for targets.
    pub relabel: Vec<Rule>,
    /// Rules for series.
    pub metric_relabel: Vec<Rule>,
}

#[cfg(test)]
mod tests;
