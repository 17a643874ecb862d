//! The report for a spreadsheet: a line per pool.

use super::assess::WITHIN;
use super::document::CapacityReport;

pub(super) fn write(report: &CapacityReport) -> String {
    let mut header = vec!["name", "what", "answer", "used_share", "used", "ceiling"];
    let within: Vec<String> = WITHIN.iter().map(|name| format!("p_full_{name}")).collect();
    header.extend(within.iter().map(String::as_str));
    header.extend([
        "full_early",
        "full_median",
        "full_late",
        "days_to_full",
        "growth_per_day",
        "regime",
        "trust",
        "record_made",
        "record_inside",
        "seen_from",
        "seen_to",
        "sentence",
        "id",
    ]);
    let mut text = header.join(",");
    text.push_str("\r\n");
    for pool in &report.pools {
        let number = |number: f64| number.to_string();
        let mut cells = vec![
            pool.name.clone(),
            pool.what.clone(),
            pool.answer.to_owned(),
            number(pool.share),
            number(pool.used),
            number(pool.ceiling),
        ];
        cells.extend(WITHIN.iter().map(|within| {
            pool.p_full
                .get(within)
                .map_or_else(String::new, |p| number(*p))
        }));
        cells.extend([
            pool.full_early.clone().unwrap_or_default(),
            pool.full_median.clone().unwrap_or_default(),
            pool.full_late.clone().unwrap_or_default(),
            pool.days_to_full.map_or_else(String::new, number),
            number(pool.growth_per_day),
            pool.regime.to_owned(),
            number(pool.trust),
            pool.record.made.to_string(),
            pool.record.inside.to_string(),
            pool.seen_from.clone(),
            pool.seen_to.clone(),
            pool.sentence.clone(),
            pool.id.clone(),
        ]);
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// As RFC 4180 asks. A text that a spreadsheet would take for a formula gets an apostrophe: labels come from strangers.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '@', '+', '\t', '\r'])
        || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    let apostrophe = if formula { "'" } else { "" };
    if formula || cell.contains([',', '"', '\n', '\r']) {
        format!("\"{apostrophe}{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
