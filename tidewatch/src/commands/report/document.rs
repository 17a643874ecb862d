//! The report as data: sorted by risk, summed up, and compared with the one before.

use std::collections::{BTreeMap, BTreeSet};

use schemas::time::rfc3339;
use schemas::{Fault, Micros};
use serde::{Deserialize, Serialize};

use super::alike::{Alike, alike};
use super::assess::Assessed;
use super::words;
use crate::error::CommandError;

/// Changes of the probability of being full within 30 days that are told, and of the date, as factor.
const PROBABILITY_CHANGE_MIN: f64 = 0.2;
const DATE_CHANGE_MIN: f64 = 1.5;

/// What `--format json` writes. Version 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CapacityReport {
    pub(super) report: &'static str,
    pub(super) version: u32,
    /// End of the newest data, from which all times are counted, RFC 3339.
    pub(super) made_at: String,
    pub(super) summary: Summary,
    /// What the data lacks.
    pub(super) notes: Vec<String>,
    /// Since the previous report; `null` without one.
    pub(super) changes: Option<Changes>,
    /// Groups of pools that behave alike, the largest first; empty if all do.
    pub(super) alike: Vec<Alike>,
    /// The riskiest first.
    pub(super) pools: Vec<Assessed>,
}

/// The fleet in a few numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Summary {
    pub(super) pools: usize,
    pub(super) already_full: usize,
    /// Expected to be full, with a probability of at least ½, within a day, 14 and 30 days (each counts the one before too, and none is
    /// full now).
    pub(super) full_within_1d: usize,
    pub(super) full_within_14d: usize,
    pub(super) full_within_30d: usize,
    /// By answer.
    pub(super) answers: BTreeMap<&'static str, usize>,
    /// How many forecasts on the past were made, and held.
    pub(super) record_made: usize,
    pub(super) record_inside: usize,
}

/// What is different from the report before.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Changes {
    /// When that one was made.
    pub(super) since: String,
    pub(super) appeared: Vec<String>,
    pub(super) gone: Vec<String>,
    /// A sentence each.
    pub(super) worse: Vec<String>,
    pub(super) better: Vec<String>,
}

/// What is read of an earlier report.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Previous {
    report: String,
    made_at: String,
    pools: Vec<PreviousPool>,
}

#[derive(Debug, Clone, Deserialize)]
struct PreviousPool {
    id: String,
    name: String,
    answer: String,
    share: f64,
    days_to_full: Option<f64>,
    p_full: BTreeMap<String, f64>,
}

impl Previous {
    /// Whether it says of itself that it is a capacity report.
    pub(super) fn is_capacity(&self) -> bool {
        self.report == NAME
    }
}

const NAME: &str = "capacity";

impl CapacityReport {
    pub(super) fn new(
        newest: Micros,
        mut pools: Vec<Assessed>,
        notes: Vec<String>,
        previous: Option<&Previous>,
    ) -> CapacityReport {
        pools.sort_by(|a, b| {
            let date = |pool: &Assessed| pool.days_to_full.unwrap_or(f64::INFINITY);
            b.risk
                .total_cmp(&a.risk)
                .then(date(a).total_cmp(&date(b)))
                .then(b.share.total_cmp(&a.share))
                .then_with(|| a.id.cmp(&b.id))
        });
        CapacityReport {
            report: NAME,
            version: 1,
            made_at: rfc3339(newest),
            summary: Summary::of(&pools),
            notes,
            changes: previous.map(|previous| Changes::between(previous, &pools)),
            alike: alike(&pools),
            pools,
        }
    }

    pub(super) fn to_json(&self) -> Result<String, CommandError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| CommandError::Failed {
            message: format!("report: {error}"),
            fault: Fault::Bug,
        })?;
        Ok(text + "\n")
    }
}

impl Summary {
    fn of(pools: &[Assessed]) -> Summary {
        let mut summary = Summary {
            pools: pools.len(),
            ..Summary::default()
        };
        for pool in pools {
            *summary.answers.entry(pool.answer).or_default() += 1;
            summary.record_made += pool.record.made;
            summary.record_inside += pool.record.inside;
            if pool.answer == "already_full" {
                summary.already_full += 1;
                continue;
            }
            let likely =
                |within: &str| usize::from(pool.p_full.get(within).is_some_and(|p| *p >= 0.5));
            summary.full_within_1d += likely("1d");
            summary.full_within_14d += likely("14d");
            summary.full_within_30d += likely("30d");
        }
        summary
    }

    /// For people: a sentence.
    pub(super) fn sentence(&self) -> String {
        let things = if self.pools == 1 { "pool" } else { "pools" };
        format!(
            "{} {things} with a ceiling: {} full now, {} likely to be full within a day, {} within 14 days, {} within 30 days.",
            self.pools,
            self.already_full,
            self.full_within_1d,
            self.full_within_14d,
            self.full_within_30d
        )
    }
}

impl Changes {
    fn between(previous: &Previous, now: &[Assessed]) -> Changes {
        let before: BTreeMap<&str, &PreviousPool> = previous
            .pools
            .iter()
            .map(|pool| (pool.id.as_str(), pool))
            .collect();
        let present: BTreeSet<&str> = now.iter().map(|pool| pool.id.as_str()).collect();
        let mut changes = Changes {
            since: previous.made_at.clone(),
            ..Changes::default()
        };
        for pool in now {
            let Some(before) = before.get(pool.id.as_str()) else {
                changes.appeared.push(pool.name.clone());
                continue;
            };
            match change(before, pool) {
                Some((true, sentence)) => changes.worse.push(sentence),
                Some((false, sentence)) => changes.better.push(sentence),
                None => {}
            }
        }
        for pool in &previous.pools {
            if !present.contains(pool.id.as_str()) {
                changes.gone.push(pool.name.clone());
            }
        }
        changes
    }
}

/// What changed for a pool, if it matters: whether for the worse, and a sentence.
fn change(before: &PreviousPool, now: &Assessed) -> Option<(bool, String)> {
    let month = |p: Option<&f64>| p.copied().unwrap_or(0.0);
    let (p_before, p_now) = (
        month(before.p_full.get("30d")),
        month(now.p_full.get("30d")),
    );
    let name = &now.name;
    let used = format!(
        "{} used, before {}",
        words::percent(now.share),
        words::percent(before.share)
    );
    let full = "already_full";
    if before.answer != full && now.answer == full {
        return Some((true, format!("{name} is full now ({used})")));
    }
    if before.answer == full && now.answer != full {
        return Some((false, format!("{name} is no longer full ({used})")));
    }
    if (p_now - p_before).abs() >= PROBABILITY_CHANGE_MIN {
        let (p_before, now_text) = (words::percent(p_before), words::percent(p_now));
        let sentence =
            format!("{name}: full within 30 days is {now_text} likely, before {p_before} ({used})");
        return Some((p_now > month(before.p_full.get("30d")), sentence));
    }
    let days = |days: f64| format!("{days:.0} days");
    match (before.days_to_full, now.days_to_full) {
        (Some(then), Some(today))
            if then.max(1.0) / today.max(1.0) >= DATE_CHANGE_MIN
                || today.max(1.0) / then.max(1.0) >= DATE_CHANGE_MIN =>
        {
            let sentence = format!(
                "{name}: full in {}, before {} ({used})",
                days(today),
                days(then)
            );
            Some((today < then, sentence))
        }
        (None, Some(today)) => Some((
            true,
            format!(
                "{name}: now expected to be full in {} ({used})",
                days(today)
            ),
        )),
        (Some(_), None) => Some((
            false,
            format!("{name}: no longer expected to be full within a year ({used})"),
        )),
        _ => None,
    }
}
