//! Which series are siblings: the same metric, and the same labels but for those that name the instance.

use schemas::{Labels, SeriesId};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

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
    let shared = shared_hash(labels)?;
    let id = SeriesId::of_hashes(SeriesId::metric_hash(metric), shared);
    Some(GroupKey(id))
}

/// Decides where a group meets whose members are in several partitions: the low 64 bits of XXH3-128 of its shared labels' canonical bytes. Without
/// the metric, so that what a label set tells goes to one place. `None` as of [`group_key`].
pub fn meeting_hash(labels: &Labels) -> Option<u64> {
    shared_hash(labels).map(|hash| hash as u64)
}

/// The hash of the labels that siblings have in common; `None` if those are all.
fn shared_hash(labels: &Labels) -> Option<u128> {
    let names_instance = |key: &[u8]| {
        let mut names = INSTANCE_LABELS.iter();
        names.any(|name| name.as_bytes() == key)
    };
    let mut shared = Vec::with_capacity(labels.canonical().len());
    for (key, label) in labels.parts() {
        if !names_instance(key) {
            shared.extend_from_slice(label);
        }
    }
    // Some of a set's canonical bytes, label by label, are those of the set of these labels.
    (shared.len() < labels.canonical().len()).then(|| xxh3_128(&shared))
}
