//! What a series is, how it is named for ever, and which resource (host, service, container) it speaks for.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::Labels;

/// The longest metric name, bytes.
pub const METRIC_BYTES_MAX: usize = 1024;

/// The stable 128-bit name of a series.
///
/// Specification: `XXH3-128(H(metric) ‖ H(labels))`, seed 0 everywhere, where `H(x)` is the XXH3-128 of the UTF-8 metric name, or
/// of the labels' canonical bytes, written as 16 little-endian bytes. It is written as 32 lower-case hexadecimal digits, most
/// significant first. The two inner hashes are computed once per dictionary entry of a record, so a series costs 32 bytes of hashing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u128);

impl SeriesId {
    /// The id of a metric with labels.
    pub fn of(metric: &str, labels: &Labels) -> Self {
        Self::of_hashes(xxh3_128(metric.as_bytes()), labels.hash128())
    }

    /// The id from the hashes of its two parts: `metric_hash` of the name, `labels_hash` from [`Labels::hash128`].
    pub fn of_hashes(metric_hash: u128, labels_hash: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&metric_hash.to_le_bytes());
        bytes[16..].copy_from_slice(&labels_hash.to_le_bytes());
        SeriesId(xxh3_128(&bytes))
    }

    /// XXH3-128 (seed 0) of a metric name: the first argument of [`SeriesId::of_hashes`].
    pub fn metric_hash(metric: &str) -> u128 {
        xxh3_128(metric.as_bytes())
    }

    /// Reads 32 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 {
            None
        } else {
            u128::from_str_radix(text, 16).ok().map(SeriesId)
        }
    }
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesId({self})")
    }
}

impl Serialize for SeriesId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SeriesId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits)
    }
}

/// Takes an id from its digits as they stand: a snapshot has very many.
struct Digits;

impl serde::de::Visitor<'_> for Digits {
    type Value = SeriesId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32 hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SeriesId, E> {
        let unexpected = serde::de::Unexpected::Str(text);
        SeriesId::from_hex(text).ok_or_else(|| E::invalid_value(unexpected, &self))
    }
}

/// How a metric behaves. Not part of a series' identity.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// A value that goes up and down.
    #[default]
    Gauge = 0,
    /// A monotonic total that may reset to zero: its rate is rolled up too.
    Counter = 1,
}

impl Kind {
    /// The kind behind its byte in a record.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Kind::Gauge),
            1 => Some(Kind::Counter),
            _ => None,
        }
    }

    /// The kind that Prometheus naming conventions suggest for a metric whose sender does not say it.
    pub fn guess(metric: &str) -> Self {
        let counter = ["_total", "_count", "_sum", "_bucket"]
            .iter()
            .any(|suffix| metric.ends_with(suffix));
        if counter { Kind::Counter } else { Kind::Gauge }
    }
}

/// One series as a directory lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The stable name.
    pub id: SeriesId,
    /// The metric, as its sender named it.
    pub metric: Arc<str>,
    /// The labels, shared by all series of the same set.
    pub labels: Labels,
    /// Gauge or counter.
    pub kind: Kind,
}

impl Series {
    /// A series of a metric with labels.
    pub fn new(metric: &str, labels: Labels, kind: Kind) -> Self {
        Series {
            id: SeriesId::of(metric, &labels),
            metric: Arc::from(metric),
            labels,
            kind,
        }
    }

    /// The host that the labels name: `host.name`, `host`, `hostname`, else `instance`.
    pub fn host(&self) -> Option<&str> {
        ["host.name", "host", "hostname", "instance"]
            .iter()
            .find_map(|key| self.labels.get(key))
    }

    /// The service that the labels name: `service.name`, else `job`.
    pub fn service(&self) -> Option<&str> {
        ["service.name", "job"]
            .iter()
            .find_map(|key| self.labels.get(key))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.metric, self.labels)
    }
}

/// Who speaks: the labels that name a host, a container or a service. Decides the partition, so that all series of one
/// resource share it.
///
/// The labels are, where present, `host.name`, `service.name`, `service.instance.id`, `container.id` and every `k8s.*`; where an agent
/// has none of these, `host`, else `hostname`; else `instance` and `job`; else the resource is empty (all such series share one partition).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Labels);

impl Resource {
    /// The resource that a label set speaks for.
    pub fn of(labels: &Labels) -> Self {
        let mut canonical = Vec::new();
        Self::canonical_of(labels, &mut canonical);
        // A subset of a valid set is valid.
        Resource(Labels::from_canonical(&canonical).unwrap_or_else(Labels::empty))
    }

    /// Appends the canonical form of the resource's labels, by which it is found among others without being made.
    pub fn canonical_of(labels: &Labels, bytes: &mut Vec<u8>) {
        let rank = |key: &[u8]| NAMES_RESOURCE.iter().position(|names| names(key));
        let Some(best) = labels.parts().filter_map(|(key, _)| rank(key)).min() else {
            return;
        };
        for (key, label) in labels.parts() {
            if rank(key) == Some(best) {
                bytes.extend_from_slice(label);
            }
        }
    }

    /// XXH3-64 (seed 0) of the canonical bytes of the resource's labels: the record key and the input of the partitioning.
    pub fn hash64(&self) -> u64 {
        xxh3_64(self.0.canonical())
    }

    /// The labels that name it.
    pub fn labels(&self) -> &Labels {
        &self.0
    }
}

/// Which labels name a resource: those of the first kind that is there.
const NAMES_RESOURCE: [fn(&[u8]) -> bool; 4] = [
    |key| {
        matches!(
            key,
            b"host.name" | b"service.name" | b"service.instance.id" | b"container.id"
        ) || key.starts_with(b"k8s.")
    },
    |key| key == b"host",
    |key| key == b"hostname",
    |key| matches!(key, b"instance" | b"job"),
];

/// The partition of a resource: `hash mod partitions`. Changing the number of partitions moves resources and is a migration.
pub fn partition_of(resource_hash: u64, partitions: u32) -> u32 {
    // The remainder is below a u32, so the cast is exact.
    (resource_hash % u64::from(partitions.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector is also checked by the auditor in Python (package xxhash), which shares no code with this.
    #[test]
    fn series_id_is_stable_for_ever() {
        let labels = Labels::try_new([("host.name", "web-1"), ("cpu", "0")]).unwrap();
        assert_eq!(
            SeriesId::of("system.cpu.utilization", &labels).to_string(),
            SERIES_ID_VECTOR
        );
        assert_eq!(
            SeriesId::from_hex(SERIES_ID_VECTOR),
            Some(SeriesId::of("system.cpu.utilization", &labels))
        );
    }
    const SERIES_ID_VECTOR: &str = "5c13710a9352481bb651fb4d470d7123";

    #[test]
    fn a_resource_is_who_speaks_not_what_is_said() {
        let of =
            |pairs: &[(&str, &str)]| Resource::of(&Labels::try_new(pairs.iter().copied()).unwrap());
        assert_eq!(
            of(&[("host.name", "a"), ("cpu", "0")]),
            of(&[("host.name", "a"), ("cpu", "1")])
        );
        assert_eq!(
            of(&[("host", "a"), ("instance", "x")]),
            of(&[("host", "a"), ("instance", "y")])
        );
        assert_ne!(
            of(&[("instance", "x"), ("job", "j")]),
            of(&[("instance", "y"), ("job", "j")])
        );
        assert!(of(&[("cpu", "0")]).labels().is_empty());
        assert_eq!(
            of(&[("k8s.pod.name", "p"), ("host", "h")])
                .labels()
                .to_string(),
            r#"{k8s.pod.name="p"}"#
        );
    }
}
