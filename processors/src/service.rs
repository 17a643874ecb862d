//! Which service a series is of: what several resources do together.

use schemas::Labels;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The labels that name a service, the surest first: those of OpenTelemetry, what agents and people write, those of Kubernetes, and what Prometheus scrapes
/// together.
const SERVICE_LABELS: [&str; 9] = [
    "service.name",
    "service_name",
    "service",
    "app.kubernetes.io/name",
    "app_kubernetes_io_name",
    "app",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "job",
];
/// The labels that say in which realm that name means something.
const NAMESPACE_LABELS: [&str; 4] = [
    "service.namespace",
    "service_namespace",
    "k8s.namespace.name",
    "namespace",
];

/// Stands for a service: a hash of its name and its namespace. Two that share one by chance would be named with each other's anomalies, no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ServiceKey(u64);

impl ServiceKey {
    /// The service that a label set names; `None` if it names none.
    pub(crate) fn of(labels: &Labels) -> Option<Self> {
        let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(key));
        let name = first(&SERVICE_LABELS)?;
        let namespace = first(&NAMESPACE_LABELS).unwrap_or_default();
        // A name that holds a line end would be read as two; such a service shares its moves with another, no more.
        Some(ServiceKey(xxh3_64(
            format!("{namespace}\n{name}").as_bytes(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_the_surest_label_within_its_namespace() {
        let key = |pairs: &[(&str, &str)]| {
            ServiceKey::of(&Labels::try_new(pairs.iter().copied()).unwrap())
        };
        let shop = key(&[("service.name", "shop"), ("host.name", "a")]);
        assert!(shop.is_some());
        assert_eq!(shop, key(&[("app", "shop"), ("host", "b")]));
        assert_eq!(shop, key(&[("service.name", "shop"), ("job", "other")]));
        assert_ne!(shop, key(&[("service.name", "cart")]));
        assert_ne!(
            shop,
            key(&[("service.name", "shop"), ("namespace", "test")])
        );
        assert_eq!(key(&[("host.name", "a"), ("cpu", "0")]), None);
    }
}
