//! What the demo says: where it is, what it does, and what to try.

use std::time::Duration;

use ingest::collectors::fleet::Fleet;
use schemas::Micros;
use schemas::time::{DAY, HOUR, MINUTE};

use super::progress::number;
use crate::app::App;

/// Weeks of one metric, by day: rollups over all of the history.
const DAYS: &str = "SELECT date_trunc('day', time) AS day, count(DISTINCT host) AS hosts, round(sum(sum) / sum(count), 3) AS busy, max(max) AS peak \
FROM rollups_1h WHERE metric = 'system.cpu.utilization' AND labels['cpu.mode'] IS NULL GROUP BY 1 ORDER BY 1";
/// The latest anomalies, as sentences.
const ANOMALIES: &str = "SELECT time, explanation FROM anomalies ORDER BY time DESC LIMIT 10";
/// What was planted, and what of it was found while it lasts: in the series in which it shows, or of its host as a whole; what shows in no single series also by
/// a series unlike those of the siblings.
const FOUND: &str = "SELECT kind, count(*) AS planted, sum(found) AS found, count(*) - sum(found) AS missed \
FROM (SELECT e.kind, CASE WHEN count(a.time) > 0 THEN 1 ELSE 0 END AS found FROM demo_events AS e LEFT JOIN anomalies AS a \
ON a.host = e.host AND a.time >= e.start_time AND a.time < e.end_time AND (a.series_id = e.series_id OR a.series_id = e.resource_id OR (e.series_id IS NULL AND a.kind = 'peer')) GROUP BY e.kind, e.host, e.metric, e.start_time) GROUP BY kind ORDER BY kind";

/// Where the instance is.
pub(super) fn begin(app: &App, state: &str, fleet: &Fleet, seed: u64) -> String {
    format!(
        "tidewatch {} demo {state}\n  listens on      http://{}\n  data directory  {}\n  fleet           seed {seed}, {} series\n\n",
        env!("CARGO_PKG_VERSION"),
        app.address(),
        app.data_dir().display(),
        fleet.series(),
    )
}

/// What is published first.
pub(super) fn history(from: Micros, until: Micros, again: bool) -> String {
    let what = if again {
        "What was missed since the last time"
    } else {
        "History"
    };
    format!("{what}: {} up to now\n", span(until - from))
}

/// What is there, and what to try. `history`: samples, and how long they took.
pub(super) fn live(
    history: Option<(u64, Duration)>,
    next: Micros,
    speed: f64,
    url: &str,
) -> String {
    let there = match history {
        Some((samples, took)) => format!(
            "There: {} samples in {:.1} s. ",
            number(samples as f64),
            took.as_secs_f64()
        ),
        None => String::new(),
    };
    let from = jiff::Timestamp::from_microsecond(next)
        .map_or_else(|_| String::new(), |time| format!(" from {time}"));
    format!(
        "{there}The fleet lives on at speed {speed}{from}.\n\nTry next:\n\
         {}\n\nThe third tells what was planted and what of it was found. A disk's daily clean_up is normal: what is found there is a false alarm.\n\
         Ctrl-C stops; `tidewatch demo` goes on where this ends.\n",
        [
            format!("  tidewatch sql{url} \"{DAYS}\""),
            format!("  tidewatch sql{url} \"{ANOMALIES}\""),
            format!("  tidewatch sql{url} \"{FOUND}\""),
            format!("  tidewatch tail{url} anomalies"),
        ]
        .join("\n")
    )
}

/// What is published to whom.
pub(super) fn publishing(fleet: &Fleet, topic: &str, brokers: &str) -> String {
    format!(
        "publishing {} simulated series to `{topic}` at {brokers}, each every 10 s; Ctrl-C stops\n",
        fleet.series()
    )
}

/// A length of time as a person says it.
fn span(length: Micros) -> String {
    match length {
        // A week is seven days, and so is said.
        DAY.. => format!("{:.1} days", length as f64 / DAY as f64),
        HOUR.. => format!("{:.1} hours", length as f64 / HOUR as f64),
        _ => format!("{:.1} minutes", length as f64 / MINUTE as f64),
    }
}
