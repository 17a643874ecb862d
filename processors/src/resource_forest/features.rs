//! The rule by which features are chosen: what a resource is, what its series tell, and which of that a forest looks at.
//!
//! 1. **Class**: `database postgresql` and the like, if its metrics say so (databases.rs); else the first of: `job …` (Prometheus: what is scraped together is alike), `container` (`container.id`, `k8s.container.name`), `pod`
//!    (`k8s.pod.name`), `node` (`k8s.node.name`), `service` (`service.name`), `host`.
//! 2. **Feature**: a metric, and of its labels those that say what is counted (`state`, `mode`, `direction`, …). Series that differ in other
//!    labels (which processor, which disk) are instances, and the feature is their mean. A counter's feature is its rate.
//! 3. **Choice**: features that at least half of the class's resources have and that are more than an age (`uptime`), in turn from each family (processor, memory, disk, network, …) by
//!    words in the metric's name; within a family the shortest names first, since the basic metrics have the short names. At most 16, so
//!    that chance finds each of them often.

use std::collections::{BTreeMap, VecDeque};

use schemas::{Labels, Series};

/// Features of a class at most: a path of 8 cuts meets a fair part of them.
pub(super) const FEATURES_MAX: usize = 16;

/// The last words of labels that say what is counted, not which instance it is of: `state`, as in `system.memory.state`.
const WHAT_WORDS: [&str; 6] = ["state", "mode", "direction", "status", "operation", "code"];

/// The words by which a metric's family is known. The first family with a word in the name has it; those that say how well come before those
/// that say where.
const FAMILIES: [&[&str]; 9] = [
    &["error", "fail", "drop", "timeout", "retrans"],
    &["latency", "duration", "response_time", "wait"],
    &["load"],
    &["cpu", "processor"],
    &["mem", "swap", "heap"],
    &["disk", "filesystem", "blkio", "volume"],
    &["net", "tcp", "udp", "socket"],
    &["connection", "session", "thread", "process", "client"],
    &[
        "request",
        "query",
        "queries",
        "transaction",
        "operation",
        "message",
        "command",
    ],
];

/// What a resource is; `None` if it has no name.
pub(super) fn class_of(resource: &Labels) -> Option<String> {
    if let Some(job) = resource.get("job") {
        return Some(format!("job {job}"));
    }
    let has = |keys: &[&str]| keys.iter().any(|key| resource.get(key).is_some());
    let class = if has(&["container.id", "k8s.container.name"]) {
        "container"
    } else if has(&["k8s.pod.name"]) {
        "pod"
    } else if has(&["k8s.node.name"]) {
        "node"
    } else if has(&["service.name"]) {
        "service"
    } else if has(&["host.name", "host", "hostname", "instance"]) {
        "host"
    } else {
        return None;
    };
    Some(class.to_owned())
}

/// Words in the names of metrics that only say how old something is. A restart would make each resource odd, for as long as the others are older.
const AGE_WORDS: [&str; 4] = ["uptime", "boot_time", "start_time", "timestamp"];

/// Whether a label says what is counted. `type` does where it stands alone; `system.filesystem.type` says which instance.
fn says_what(key: &str) -> bool {
    let word = key.rsplit(['.', '_']).next().unwrap_or(key);
    WHAT_WORDS.contains(&word) || key == "type"
}

/// The feature that a series tells: `system.cpu.time{state=idle}`.
pub(super) fn name_of(series: &Series) -> String {
    let what: Vec<String> = series
        .labels
        .iter()
        .filter(|(key, _)| says_what(key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if what.is_empty() {
        series.metric.to_string()
    } else {
        format!("{}{{{}}}", series.metric, what.join(","))
    }
}

/// The resources that have a feature. They are noted in any order, those of one resource mostly together.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    members: Vec<u32>,
}

impl Owners {
    pub(super) fn note(&mut self, member: u32) {
        if self.members.last() != Some(&member) {
            self.members.push(member);
        }
    }

    fn count(mut self) -> usize {
        self.members.sort_unstable();
        self.members.dedup();
        self.members.len()
    }
}

/// The family of a feature: its place in [`FAMILIES`], or the place after the last.
fn family_of(feature: &str) -> usize {
    let metric = feature.split('{').next().unwrap_or(feature).to_lowercase();
    let known = |words: &&[&str]| words.iter().any(|word| metric.contains(word));
    let found = FAMILIES.iter().position(known);
    found.unwrap_or(FAMILIES.len())
}

/// The features that a forest looks at, out of those that `members` resources have.
pub(super) fn choose(owners: BTreeMap<String, Owners>, members: usize) -> Vec<String> {
    let mut families = vec![Vec::new(); FAMILIES.len() + 1];
    for (feature, owners) in owners {
        let is_age = AGE_WORDS.iter().any(|word| feature.contains(word));
        if !is_age && 2 * owners.count() >= members {
            families[family_of(&feature)].push(feature);
        }
    }
    let mut families: Vec<VecDeque<String>> = families
        .into_iter()
        .map(|mut family| {
            family.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            family.into()
        })
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < FEATURES_MAX && families.iter().any(|family| !family.is_empty()) {
        let round = families.iter_mut().filter_map(VecDeque::pop_front);
        chosen.extend(round.take(FEATURES_MAX - chosen.len()));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use schemas::Kind;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::try_new(pairs.iter().copied()).unwrap()
    }

    #[rstest]
    #[case::otel_host(&[("host.name", "a")], Some("host"))]
    #[case::service_on_a_host(&[("host.name", "a"), ("service.name", "s")], Some("service"))]
    #[case::pod(&[("k8s.pod.name", "p"), ("k8s.node.name", "n")], Some("pod"))]
    #[case::container(&[("k8s.pod.name", "p"), ("container.id", "c")], Some("container"))]
    #[case::prometheus(&[("instance", "a:9100"), ("job", "node")], Some("job node"))]
    #[case::nobody(&[], None)]
    fn a_resource_has_a_class(#[case] pairs: &[(&str, &str)], #[case] class: Option<&str>) {
        assert_eq!(class_of(&labels(pairs)).as_deref(), class);
    }

    #[test]
    fn instances_are_one_feature_and_states_are_several() {
        let name = |pairs: &[(&str, &str)]| {
            name_of(&Series::new("cpu.time", labels(pairs), Kind::Counter))
        };
        assert_eq!(name(&[("host", "a"), ("cpu", "0")]), "cpu.time");
        assert_eq!(name(&[("host", "b"), ("cpu", "7")]), "cpu.time");
        assert_eq!(
            name(&[("cpu", "7"), ("state", "idle")]),
            "cpu.time{state=idle}"
        );
        // As the semantic conventions of OpenTelemetry write it.
        assert_eq!(
            name(&[("cpu.mode", "user"), ("cpu.logical_number", "3")]),
            "cpu.time{cpu.mode=user}"
        );
        assert_eq!(
            name(&[("network.io.direction", "receive"), ("device.id", "1")]),
            "cpu.time{network.io.direction=receive}"
        );
        assert_eq!(name(&[("system.filesystem.type", "ext4")]), "cpu.time");
    }

    #[test]
    fn what_most_have_is_chosen_in_turn_from_each_family() {
        let mut owners: BTreeMap<String, Owners> = BTreeMap::new();
        let mut have = |feature: &str, members: &[u32]| {
            let owners = owners.entry(feature.to_owned()).or_default();
            members.iter().for_each(|member| owners.note(*member));
        };
        for i in 0..30 {
            have(&format!("disk_of_many_words_{i:02}"), &[0, 1, 2, 3]);
        }
        have("cpu", &[0, 1, 0, 1, 2]);
        have("net_errors", &[0, 1]);
        have("memory_of_one", &[3, 3, 3]);
        have("system.uptime", &[0, 1, 2, 3]);
        have("something", &[0, 1, 2, 3]);
        let chosen = choose(owners, 4);
        assert_eq!(chosen.len(), FEATURES_MAX);
        assert_eq!(
            chosen[..5],
            [
                "net_errors",
                "cpu",
                "disk_of_many_words_00",
                "something",
                "disk_of_many_words_01"
            ]
        );
        assert!(choose(BTreeMap::new(), 0).is_empty());
    }
}
