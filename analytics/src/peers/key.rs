//! Which series are siblings: the same metric, and the same labels but for those that name the instance.

use schemas::{Labels, SeriesId};
use serde::{Deserialize, Serialize};

/// The labels that name one instance among its like. What names their kind stays (`service.name`, `job`, `k8s.namespace.name`, and what
/// is measured: `cpu`, `device`), so that a web server is not compared with a database.
pub const INSTANCE_LABELS: [&str; 15] = [
    "host.name",
    "host",
    "hostname",
    "host.id",
    "host.ip",
    "instance",
    "service.instance.id",
    "container.id",
    "container.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.pod.ip",
    "k8s.node.name",
    "k8s.node.uid",
    "pod",
];

/// Names a group of siblings: the id of the series that they would be without their instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupKey(pub SeriesId);

/// The group that a series belongs to; `None` if no label names an instance, so that it has no siblings.
pub fn group_key(metric: &str, labels: &Labels) -> Option<GroupKey> {
    let shared = shared_labels(labels)?;
    Some(GroupKey(SeriesId::of(metric, &shared)))
}

/// Decides where a group meets whose members are in several partitions: the low 64 bits of XXH3-128 of its shared labels' canonical bytes. Without
/// the metric, so that what a label set tells goes to one place. `None` as of [`group_key`].
pub fn meeting_hash(labels: &Labels) -> Option<u64> {
    shared_labels(labels).map(|shared| shared.hash128() as u64)
}

/// The labels that siblings have in common; `None` if those are all.
fn shared_labels(labels: &Labels) -> Option<Labels> {
    let names_instance = |key: &str| INSTANCE_LABELS.contains(&key);
    let shared: Vec<(&str, &str)> = labels
        .iter()
        .filter(|(key, _)| !names_instance(key))
        .collect();
    if shared.len() == labels.len() {
        return None;
    }
    // A subset of a valid set is valid.
    Labels::try_new(shared).ok()
}
