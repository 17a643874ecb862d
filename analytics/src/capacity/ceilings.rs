//! Which metrics have a ceiling: from a metric's name (and labels) to what it says of a pool. Knows names only.
//!
//! A pool is told by one metric or by several, which agents name in their own ways. [`role`] says what a metric tells and
//! of which; the caller groups the series of one host and place (the labels that remain) by [`Role::pool`] and asks [`level`] for
//! `used` and `ceiling`. The rules, in this order:
//!
//! 1. Names that are known: OpenTelemetry (`system.filesystem.usage{state}`, `system.memory.limit` …), node_exporter
//!    (`node_filesystem_avail_bytes` …), Telegraf (`disk_used` …).
//! 2. Endings that say it all: `…_utilization`, `….utilization` (0–1), `…_used_percent`, `…_usage_percent` (0–100).
//! 3. Pairs by their endings: `…_used` or `…_usage` with `…_limit`, `…_max`, `…_total`, `…_capacity` or `…_quota`, under the same stem.
//!
//! What is loaded and unloaded at once (processors, network, a disk's time) has no time to full and is left out, whatever its name ends in.

/// What one metric tells of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// How much is used.
    Used,
    /// A part of what is used, to be added up: `reserved`.
    UsedToo,
    /// How much is free for those who are not root.
    Free,
    /// How much there is.
    Ceiling,
    /// Used of the ceiling, 0–1.
    Ratio,
    /// Used of the ceiling, 0–100.
    Percent,
    /// When it was made, seconds since 1970: the age is used.
    Since,
    /// When it ends, seconds since 1970.
    Until,
}

/// What a metric tells, and of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role {
    /// Which pool of its place: `disk`, `inodes`, `memory`, `swap`, `connections`, `certificate`, or the stem of its name.
    pub pool: String,
    /// What it tells of the pool.
    pub part: Part,
    /// The labels that tell parts of one place apart (`state`) and not places: left out where series are grouped by their labels.
    pub inner: &'static [&'static str],
}

/// Names that are known whole: name, pool, part.
const KNOWN: &[(&str, &str, Part)] = &[
    ("system.filesystem.utilization", "disk", Part::Ratio),
    ("system.filesystem.limit", "disk", Part::Ceiling),
    ("system.memory.utilization", "memory", Part::Ratio),
    ("system.memory.limit", "memory", Part::Ceiling),
    ("system.paging.utilization", "swap", Part::Ratio),
    ("node_filesystem_size_bytes", "disk", Part::Ceiling),
    ("node_filesystem_avail_bytes", "disk", Part::Free),
    ("node_filesystem_files", "inodes", Part::Ceiling),
    ("node_filesystem_files_free", "inodes", Part::Free),
    ("node_memory_MemTotal_bytes", "memory", Part::Ceiling),
    ("node_memory_MemAvailable_bytes", "memory", Part::Free),
    ("node_memory_SwapTotal_bytes", "swap", Part::Ceiling),
    ("node_memory_SwapFree_bytes", "swap", Part::Free),
    ("node_filefd_allocated", "file handles", Part::Used),
    ("node_filefd_maximum", "file handles", Part::Ceiling),
    ("node_nf_conntrack_entries", "connections", Part::Used),
    (
        "node_nf_conntrack_entries_limit",
        "connections",
        Part::Ceiling,
    ),
    ("process_open_fds", "file handles", Part::Used),
    ("process_max_fds", "file handles", Part::Ceiling),
    ("container_fs_usage_bytes", "disk", Part::Used),
    ("container_fs_limit_bytes", "disk", Part::Ceiling),
    ("container_memory_working_set_bytes", "memory", Part::Used),
    ("container_spec_memory_limit_bytes", "memory", Part::Ceiling),
    ("kubelet_volume_stats_used_bytes", "disk", Part::Used),
    ("kubelet_volume_stats_capacity_bytes", "disk", Part::Ceiling),
    ("kubelet_volume_stats_inodes_used", "inodes", Part::Used),
    ("kubelet_volume_stats_inodes", "inodes", Part::Ceiling),
    ("disk_used", "disk", Part::Used),
    ("disk_free", "disk", Part::Free),
    ("disk_total", "disk", Part::Ceiling),
    ("disk_used_percent", "disk", Part::Percent),
    ("disk_inodes_used", "inodes", Part::Used),
    ("disk_inodes_free", "inodes", Part::Free),
    ("disk_inodes_total", "inodes", Part::Ceiling),
    ("disk_inodes_used_percent", "inodes", Part::Percent),
    ("mem_available", "memory", Part::Free),
    ("mem_total", "memory", Part::Ceiling),
    ("mem_used_percent", "memory", Part::Percent),
    ("swap_used", "swap", Part::Used),
    ("swap_total", "swap", Part::Ceiling),
    ("swap_used_percent", "swap", Part::Percent),
    ("pg_stat_database_numbackends", "connections", Part::UsedToo),
    ("pg_settings_max_connections", "connections", Part::Ceiling),
    (
        "mysql_global_status_threads_connected",
        "connections",
        Part::Used,
    ),
    (
        "mysql_global_variables_max_connections",
        "connections",
        Part::Ceiling,
    ),
    ("redis_memory_used_bytes", "memory", Part::Used),
    ("redis_memory_max_bytes", "memory", Part::Ceiling),
    ("probe_ssl_earliest_cert_expiry", "certificate", Part::Until),
    ("x509_cert_not_after", "certificate", Part::Until),
    ("x509_cert_not_before", "certificate", Part::Since),
    ("x509_cert_enddate", "certificate", Part::Until),
    ("x509_cert_startdate", "certificate", Part::Since),
];

/// Names whose label `state` tells the part: name, pool.
const BY_STATE: &[(&str, &str)] = &[
    ("system.filesystem.usage", "disk"),
    ("system.filesystem.inodes.usage", "inodes"),
    ("system.memory.usage", "memory"),
    ("system.paging.usage", "swap"),
];

/// Labels that tell the state of a part.
const STATES: &[&str] = &[
    "state",
    "system.filesystem.state",
    "system.memory.state",
    "system.paging.state",
];
/// Labels by which the backends of one server are counted.
const DATABASE: &[&str] = &["datname", "datid"];
/// Labels that name the type of a file system, and the types that are images: full from the day they were made.
const FILE_SYSTEM_TYPES: &[&str] = &["system.filesystem.type", "fstype", "type"];
const IMAGES: &[&str] = &["squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs"];

/// What rises and falls with the work of the moment, whatever its name ends in.
const MOMENTARY: &[&str] = &[
    "cpu",
    "processor",
    "network",
    "net",
    "bandwidth",
    "gpu",
    "io",
    "diskio",
    "load",
    "busy",
    "thread",
    "latency",
    "link",
];

/// Endings: of a ratio, a percentage, what is used, and the ceilings.
const RATIO: &[&str] = &["utilization", "utilisation", "used_ratio", "usage_ratio"];
const PERCENT: &[&str] = &["used_percent", "usage_percent", "used_pct", "percent_used"];
const USED: &[&str] = &[
    "used",
    "usage",
    "in_use",
    "used_bytes",
    "usage_bytes",
    "active",
    "open",
];
const CEILING: &[&str] = &[
    "limit",
    "max",
    "maximum",
    "total",
    "capacity",
    "quota",
    "limit_bytes",
    "max_bytes",
    "total_bytes",
    "capacity_bytes",
    "quota_bytes",
];

/// What `metric` tells of a pool with a ceiling; `None` if it has none. `label` gives a label's value by its key.
///
/// ```
/// use analytics::capacity::ceilings::{Part, role};
/// let none = |_: &str| None;
/// assert_eq!(role("disk_used_percent", none).unwrap().part, Part::Percent);
/// let state = |key: &str| (key == "state").then_some("used");
/// assert_eq!(role("system.filesystem.usage", state).unwrap().pool, "disk");
/// assert_eq!(role("system.cpu.utilization", none), None);
/// ```
pub fn role<'a>(metric: &str, label: impl Fn(&str) -> Option<&'a str>) -> Option<Role> {
    if FILE_SYSTEM_TYPES
        .iter()
        .any(|key| label(key).is_some_and(|name| IMAGES.contains(&name)))
    {
        return None;
    }
    let told = |pool: &str, part, inner| Role {
        pool: pool.to_owned(),
        part,
        inner,
    };
    let state = || STATES.iter().find_map(|key| label(key));
    if let Some((_, pool, part)) = KNOWN.iter().find(|known| known.0 == metric) {
        return match part {
            // A ratio that is told for each state: only one of them is what is used.
            Part::Ratio if state().is_some_and(|state| state != "used") => None,
            Part::Ratio => Some(told(pool, *part, STATES)),
            Part::UsedToo => Some(told(pool, *part, DATABASE)),
            _ => Some(told(pool, *part, &[])),
        };
    }
    if let Some((_, pool)) = BY_STATE.iter().find(|known| known.0 == metric) {
        let part = match state()? {
            "used" => Part::Used,
            // What the kernel gives back on demand is not used; a file system's reserve is.
            "reserved" => Part::UsedToo,
            "free" | "cached" | "buffered" | "buffers" | "inactive" | "slab_reclaimable" => {
                Part::Free
            }
            _ => return None,
        };
        return Some(told(pool, part, STATES));
    }
    let lower = metric.to_ascii_lowercase().replace('.', "_");
    let words: Vec<&str> = lower.split('_').collect();
    if words.iter().any(|word| MOMENTARY.contains(word)) {
        return None;
    }
    let stem = |endings: &[&str]| {
        // The longest ending first: `used_bytes` before `bytes`.
        let mut found: Vec<&str> = endings
            .iter()
            .filter_map(|ending| lower.strip_suffix(ending)?.strip_suffix('_'))
            .filter(|stem| !stem.is_empty())
            .collect();
        found.sort_by_key(|stem| stem.len());
        found.first().map(|stem| (*stem).to_owned())
    };
    for (endings, part) in [
        (PERCENT, Part::Percent),
        (RATIO, Part::Ratio),
        (USED, Part::Used),
        (CEILING, Part::Ceiling),
    ] {
        if let Some(stem) = stem(endings) {
            return Some(told(&stem, part, &[]));
        }
    }
    None
}

/// `(used, ceiling)` of a pool at one time, from the parts that were told of it, or `None` if they do not make a pair. `time_s` is the time
/// of the values, seconds since 1970, against which the age of a certificate is counted.
///
/// A pair of amounts comes before a ratio, which comes before a percentage: amounts tell a resize.
///
/// ```
/// use analytics::capacity::ceilings::{Part, level};
/// assert_eq!(level(0.0, &[(Part::Free, 30.0), (Part::Ceiling, 100.0)]), Some((70.0, 100.0)));
/// assert_eq!(level(0.0, &[(Part::Used, 60.0), (Part::Free, 20.0)]), Some((60.0, 80.0)));
/// assert_eq!(level(0.0, &[(Part::Used, 60.0)]), None);
/// ```
pub fn level(time_s: f64, parts: &[(Part, f64)]) -> Option<(f64, f64)> {
    let sum = |wanted: Part| {
        let mut values = parts
            .iter()
            .filter(|(part, value)| *part == wanted && value.is_finite())
            .map(|(_, value)| *value);
        let first = values.next()?;
        Some(values.fold(first, |sum, value| sum + value))
    };
    let used = match (sum(Part::Used), sum(Part::UsedToo)) {
        (Some(used), more) => Some(used + more.unwrap_or(0.0)),
        (None, more) => more,
    };
    let (free, ceiling) = (sum(Part::Free), sum(Part::Ceiling));
    let amounts = match (used, free, ceiling) {
        // Free counts what an ordinary user gets, so used + free is what there is for them.
        (Some(used), Some(free), _) => Some((used, used + free)),
        (Some(used), None, Some(ceiling)) => Some((used, ceiling)),
        (None, Some(free), Some(ceiling)) => Some((ceiling - free, ceiling)),
        _ => None,
    };
    let certificate = || {
        let until = sum(Part::Until)?;
        // Without the day of issue: the longest life that public certificates may have (398 days, CA/Browser Forum). The date of
        // the end does not depend on it.
        let since = sum(Part::Since).unwrap_or(until - 398.0 * 86_400.0);
        Some((time_s - since, until - since))
    };
    amounts
        .or_else(|| Some((sum(Part::Ratio)?, 1.0)))
        .or_else(|| Some((sum(Part::Percent)?, 100.0)))
        .or_else(certificate)
        .filter(|(used, ceiling)| used.is_finite() && ceiling.is_finite() && *ceiling > 0.0)
}
