//! The report as Markdown: readable as text, and a page on any forge.

use std::fmt::Write as _;

use super::alike::Alike;
use super::assess::Assessed;
use super::document::{CapacityReport, Changes};
use super::words;

/// Resources that get a paragraph of their own; all are in the table.
const TOLD_MAX: usize = 20;

pub(super) fn write(report: &CapacityReport) -> String {
    let mut text = format!(
        "# Capacity\n\nUp to {} UTC. {}\n",
        words::minute(&report.made_at),
        report.summary.sentence()
    );
    for note in &report.notes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\nNote: {}\n", escaped(note));
    }
    if let Some(changes) = &report.changes {
        write_changes(&mut text, changes);
    }
    text.push_str(
        "\n## By risk\n\n| pool | used | answer | full around | 80 % interval | within 1 d | 14 d | 30 d | trust |\n|---|---:|---|---|---|---:|---:|---:|---:|\n",
    );
    for pool in &report.pools {
        let p = |within: &str| {
            pool.p_full
                .get(within)
                .map_or_else(|| "-".to_owned(), |p| words::percent(*p))
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(&pool.name),
            words::percent(pool.share),
            words::answer(pool.answer),
            pool.around(),
            pool.interval(),
            p("1d"),
            p("14d"),
            p("30d"),
            words::percent(pool.trust)
        );
    }
    text.push_str("\n## In words\n\n");
    for pool in report.pools.iter().take(TOLD_MAX) {
        let _ = writeln!(
            text,
            "- **{}**: {}. {}",
            escaped(&pool.name),
            escaped(&pool.sentence),
            remarks(pool)
        );
    }
    let rest = report.pools.len().saturating_sub(TOLD_MAX);
    if rest > 0 {
        let _ = writeln!(text, "- and {rest} more, all at less risk, in the table");
    }
    if !report.alike.is_empty() {
        text.push_str("\n## Which behave alike\n\n");
    }
    for group in &report.alike {
        let _ = writeln!(text, "- {}", escaped(&alike(group)));
    }
    text
}

/// A group of pools that behave alike, as a line.
pub(super) fn alike(group: &Alike) -> String {
    let more = group.pools - group.among.len();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let why = if group.difference.is_empty() {
        String::new()
    } else {
        format!(": {}", group.difference)
    };
    format!("{}{more}{why}", group.among.join(", "))
}

/// What else there is to say of a pool, in sentences.
pub(super) fn remarks(pool: &Assessed) -> String {
    let habits = pool.habits.and_then(|habits| habits.sentence());
    let sentences = habits.into_iter().chain([record(pool)]);
    sentences.collect::<Vec<_>>().join(" ")
}

fn write_changes(text: &mut String, changes: &Changes) {
    let _ = write!(text, "\n## Since {} UTC\n\n", words::minute(&changes.since));
    let all = [
        ("worse", &changes.worse),
        ("better", &changes.better),
        ("new", &changes.appeared),
        ("gone", &changes.gone),
    ];
    if all.iter().all(|(_, lines)| lines.is_empty()) {
        text.push_str("Nothing of note changed.\n");
    }
    for (kind, lines) in all {
        for line in lines {
            let _ = writeln!(text, "- {kind}: {}", escaped(line));
        }
    }
}

/// How forecasts on the pool's past did, as a sentence.
fn record(pool: &Assessed) -> String {
    let record = &pool.record;
    if record.made == 0 {
        return "Too little history to try a forecast on it.".to_owned();
    }
    format!(
        "Tried on its own past, {} ahead: in {} of {} forecasts the highest level was within the 80 % band, on average {} of the ceiling off its middle.",
        words::days(record.ahead_days),
        record.inside,
        record.made,
        words::percent(record.off_share)
    )
}

/// Labels come from strangers: what would end a cell, start a tag or a link is escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
