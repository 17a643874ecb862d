//! Targets: what is scraped, and the labels that its series get. Made of groups of addresses by relabelling.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Uri;
use schemas::{Labels, LabelsError, Micros};

use super::Job;
use super::relabel::{LabelMap, apply};

/// What leads to the metric of a series among its labels, and marks labels that are gone once a target is made.
const RESERVED: &str = "__";

/// Addresses that share labels, as a list in a file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// `host:port`.
    pub targets: Vec<String>,
    /// Labels of all of them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) uri: Uri,
    /// What its series get: `job`, `instance` and what the configuration adds.
    pub(super) labels: Labels,
}

/// Why an address is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("`{0}` is no address; expected `host:port`")]
    Address(String),
    #[error("the scheme `{0}` is not supported; expected http or https")]
    Scheme(String),
    #[error("target `{0}`: {1}")]
    Labels(String, LabelsError),
}

impl Target {
    /// The target of one address of a group; `None` where the job's rules drop it.
    pub(super) fn of(job: &Job, group: &Group, address: &str) -> Result<Option<Self>, TargetError> {
        let mut labels: LabelMap = group.labels.clone();
        let mut default = |name: &str, value: &str| {
            labels
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        };
        default("job", &job.name);
        default("__address__", address);
        default("__scheme__", &job.scheme);
        default("__metrics_path__", &job.path);
        for (name, value) in &job.params {
            default(&format!("__param_{name}"), value);
        }
        if !apply(&job.relabel, &mut labels) {
            return Ok(None);
        }
        let uri = uri(&labels)?;
        let address = labels.get("__address__").cloned().unwrap_or_default();
        let instance = labels.entry("instance".to_owned()).or_default();
        if instance.is_empty() {
            instance.clone_from(&address);
        }
        labels.retain(|name, _| !name.starts_with(RESERVED));
        let labels =
            Labels::try_new(labels).map_err(|error| TargetError::Labels(address, error))?;
        Ok(Some(Target { uri, labels }))
    }

    /// How long after each whole interval since 1970 it is scraped: the same after a restart, and spread, so that not all are scraped at once.
    pub(super) fn offset(&self, interval: Duration) -> Micros {
        let interval_ms = interval.as_millis().max(1);
        // Below an hour in milliseconds.
        (self.labels.hash128() % interval_ms) as Micros * 1000
    }
}

fn uri(labels: &LabelMap) -> Result<Uri, TargetError> {
    let get = |name: &str| labels.get(name).map_or("", String::as_str);
    let address = get("__address__");
    let no_address = || TargetError::Address(address.to_owned());
    let scheme = get("__scheme__");
    if !["http", "https"].contains(&scheme) {
        return Err(TargetError::Scheme(scheme.to_owned()));
    }
    if address.is_empty() || address.contains(['/', '@', '?', '#']) {
        return Err(no_address());
    }
    let path = get("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut url =
        url::Url::parse(&format!("{scheme}://{address}{slash}{path}")).map_err(|_| no_address())?;
    let params = labels
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value)));
    for (name, value) in params {
        url.query_pairs_mut().append_pair(name, value);
    }
    url.as_str().parse().map_err(|_| no_address())
}
