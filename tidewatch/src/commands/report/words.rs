//! How things are called in a report.

use super::gather::Pool;

/// Labels that say where within a host something is, the most telling first.
const WHERE: [&str; 9] = [
    "system.filesystem.mountpoint",
    "mountpoint",
    "path",
    "persistentvolumeclaim",
    "k8s.persistentvolumeclaim.name",
    "mount_point",
    "system.device",
    "device",
    "interface",
];
/// Labels that say whose it is.
const WHOSE: [&str; 9] = [
    "host.name",
    "host",
    "hostname",
    "instance",
    "container.id",
    "pod",
    "k8s.pod.name",
    "service.name",
    "job",
];
/// Other labels that are told, at most.
const OTHERS_MAX: usize = 3;

/// What a pool is called: `disk /data on web-1`, `db_pool connections (pool=main) on db-2`.
pub(super) fn name(pool: &Pool) -> String {
    let label = |keys: &[&str]| {
        let found = keys
            .iter()
            .find_map(|key| Some((*key, pool.labels.get(*key)?)));
        found.map(|(key, value)| (key.to_owned(), value.clone()))
    };
    let (place, whose) = (label(&WHERE), label(&WHOSE));
    let mut name = pool.what.clone();
    if let Some((_, place)) = &place {
        name.push(' ');
        name.push_str(place);
    } else {
        let others: Vec<String> = pool
            .labels
            .iter()
            .filter(|(key, _)| !WHOSE.contains(&key.as_str()))
            .map(|(key, value)| format!("{key}={value}"))
            .take(OTHERS_MAX)
            .collect();
        if !others.is_empty() {
            name.push_str(&format!(" ({})", others.join(", ")));
        }
    }
    if let Some((_, whose)) = whose {
        name.push_str(" on ");
        name.push_str(&whose);
    }
    name
}

/// A share in per cent: `83 %`, `0.4 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || (9.95..99.5).contains(&percent) || percent >= 100.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// An amount with a prefix: `1.2 T`, `340`.
pub(super) fn amount(amount: f64) -> String {
    let size = amount.abs();
    for (limit, letter) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= limit {
            let unit = if letter == "k" { 1e3 } else { limit };
            return format!("{:.1} {letter}", amount / unit);
        }
    }
    if size >= 100.0 || amount.fract() == 0.0 {
        format!("{amount:.0}")
    } else {
        format!("{amount:.2}")
    }
}

/// A stretch of time: `9 hours`, `5.2 days`.
pub(super) fn days(days: f64) -> String {
    if days < 1.0 {
        format!("{:.0} hours", days * 24.0)
    } else if days.fract() == 0.0 {
        format!("{days:.0} days")
    } else {
        format!("{days:.1} days")
    }
}

/// The day of a time as RFC 3339.
pub(super) fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

/// Day and minute of a time as RFC 3339, as people write them.
pub(super) fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// The name of a horizon for people: `14 d`.
pub(super) fn within(name: &str) -> String {
    let (number, unit) = name.split_at(name.len().saturating_sub(1));
    format!("{number} {unit}")
}

/// An answer for people.
pub(super) fn answer(name: &str) -> &'static str {
    match name {
        "already_full" => "already full",
        "shrinking" => "shrinking",
        "no_trend" => "no trend",
        "not_enough_history" => "not enough history",
        _ => "filling",
    }
}
