//! The report as one HTML page that needs nothing else: styles and charts inside, no script; light and dark by the reader's setting.

use std::fmt::Write as _;

use super::assess::{Assessed, WITHIN};
use super::document::{CapacityReport, Changes};
use super::escape::escaped;
use super::{chart, markdown, words};

/// Resources that get a chart; all are in the table. 200: a page that a browser still opens at once.
const CHARTS_MAX: usize = 200;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2530;--dim:#5d6876;--paper:#fff;--card:#f6f8fa;--edge:#d9dfe6;--line:#1f6feb;--band:#1f6feb26;\
--bad:#c62828;--warn:#b26a00;--good:#2e7d32}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ef;--dim:#98a4b3;--paper:#11161d;--card:#19212b;--edge:#2d3845;--line:#6cb0ff;\
--band:#6cb0ff33;--bad:#ff7b72;--warn:#e3b341;--good:#56d364}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:960px;margin:0 auto;padding:24px 16px 64px}h1{font-size:26px;margin:0}h2{font-size:19px;margin:36px 0 12px}\
h3{font-size:16px;margin:0;overflow-wrap:anywhere}.dim{color:var(--dim)}p{margin:6px 0}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(135px,1fr));gap:12px;margin:20px 0}\
.tile{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:10px 14px}.tile b{display:block;font-size:26px;line-height:1.3}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:left;padding:5px 10px;border-bottom:1px solid var(--edge)}\
th{color:var(--dim);font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
td:first-child{overflow-wrap:anywhere;min-width:180px}a{color:inherit}\
article{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:14px 16px;margin:14px 0;border-left:5px solid var(--edge)}\
article.bad{border-left-color:var(--bad)}article.warn{border-left-color:var(--warn)}article.good{border-left-color:var(--good)}\
.bad b,td.bad{color:var(--bad)}.warn b,td.warn{color:var(--warn)}td.bad,td.warn{font-weight:600}\
.chances{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--dim)}.chances b{color:var(--ink);font-variant-numeric:tabular-nums}\
svg{display:block;width:100%;height:auto;margin:8px 0}svg text{font:11px system-ui,sans-serif;fill:var(--dim)}svg path{fill:none}\
svg .grid{stroke:var(--edge)}svg .history{stroke:var(--ink);stroke-width:1.5;stroke-linejoin:round}svg .median{stroke:var(--line);stroke-width:2}\
svg path.band{fill:var(--band)}svg .ceiling{stroke:var(--bad);stroke-width:1.5}svg .now{stroke:var(--dim);stroke-dasharray:3 3}\
ul{margin:6px 0;padding-left:22px}@media print{article{break-inside:avoid}}";

pub(super) fn write(report: &CapacityReport) -> String {
    let made_at = words::minute(&report.made_at);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Capacity, {made_at} UTC</title><style>{STYLE}</style></head>\n<body><main>\n<h1>Capacity</h1>\n\
         <p class=\"dim\">Up to {made_at} UTC. {}</p>\n",
        escaped(&report.summary.sentence())
    );
    for note in &report.notes {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<p><b>Note:</b> {}</p>", escaped(note));
    }
    write_tiles(&mut page, report);
    if let Some(changes) = &report.changes {
        write_changes(&mut page, changes);
    }
    write_table(&mut page, report);
    page.push_str("<h2>One by one</h2>\n<p class=\"dim\">Black: what was used, as share of the present ceiling. Blue: the middle of what may come, \
        with the band that holds 80 % of it. Red: the ceiling.</p>\n");
    for (index, pool) in report.pools.iter().take(CHARTS_MAX).enumerate() {
        write_pool(&mut page, index, pool);
    }
    let rest = report.pools.len().saturating_sub(CHARTS_MAX);
    if rest > 0 {
        let _ = writeln!(
            page,
            "<p class=\"dim\">And {rest} more, all at less risk, in the table above.</p>"
        );
    }
    if !report.alike.is_empty() {
        page.push_str("<h2>Which behave alike</h2>\n<ul>\n");
        for group in &report.alike {
            let _ = writeln!(page, "<li>{}</li>", escaped(&markdown::alike(group)));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</main></body></html>\n");
    page
}

fn write_tiles(page: &mut String, report: &CapacityReport) {
    let summary = &report.summary;
    let record = if summary.record_made == 0 {
        "-".to_owned()
    } else {
        words::percent(summary.record_inside as f64 / summary.record_made as f64)
    };
    let tile = |count: usize, class: &str| {
        (
            count.to_string(),
            if count > 0 {
                class.to_owned()
            } else {
                String::new()
            },
        )
    };
    page.push_str("<div class=\"tiles\">");
    for ((value, class), label) in [
        (tile(summary.already_full, "bad"), "full now"),
        (
            tile(summary.full_within_1d, "bad"),
            "likely full within a day",
        ),
        (
            tile(summary.full_within_14d, "warn"),
            "likely full within 14 days",
        ),
        (
            tile(summary.full_within_30d, "warn"),
            "likely full within 30 days",
        ),
        ((summary.pools.to_string(), String::new()), "with a ceiling"),
        (
            (record, String::new()),
            "of tried forecasts held their 80 % band",
        ),
    ] {
        let _ = write!(
            page,
            "<div class=\"tile {class}\"><b>{value}</b>{label}</div>"
        );
    }
    page.push_str("</div>\n");
}

fn write_changes(page: &mut String, changes: &Changes) {
    let _ = writeln!(
        page,
        "<h2>Since {} UTC</h2>\n<ul>",
        escaped(&words::minute(&changes.since))
    );
    let all = [
        ("Worse", &changes.worse),
        ("Better", &changes.better),
        ("New", &changes.appeared),
        ("Gone", &changes.gone),
    ];
    if all.iter().all(|(_, lines)| lines.is_empty()) {
        page.push_str("<li>Nothing of note changed.</li>");
    }
    for (kind, lines) in all {
        for line in lines {
            let _ = writeln!(page, "<li><b>{kind}:</b> {}</li>", escaped(line));
        }
    }
    page.push_str("</ul>\n");
}

fn write_table(page: &mut String, report: &CapacityReport) {
    page.push_str(
        "<h2>By risk</h2>\n<div class=\"scroll\"><table><thead><tr><th>pool</th><th class=\"n\">used</th><th>answer</th><th>full around</th>\
         <th>80 % interval</th><th class=\"n\">1 d</th><th class=\"n\">14 d</th><th class=\"n\">30 d</th></tr></thead><tbody>\n",
    );
    for (index, pool) in report.pools.iter().enumerate() {
        let name = escaped(&pool.name);
        let name = if index < CHARTS_MAX {
            format!("<a href=\"#r{index}\">{name}</a>")
        } else {
            name
        };
        let chance = |within: &str| match pool.p_full.get(within) {
            Some(p) => {
                let class = if *p >= 0.5 {
                    " bad"
                } else if *p >= 0.1 {
                    " warn"
                } else {
                    ""
                };
                format!("<td class=\"n{class}\">{}</td>", words::percent(*p))
            }
            None => "<td class=\"n\">-</td>".to_owned(),
        };
        let _ = writeln!(
            page,
            "<tr><td>{name}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td><td>{}</td>{}{}{}</tr>",
            words::percent(pool.share),
            words::answer(pool.answer),
            pool.around(),
            pool.interval(),
            chance("1d"),
            chance("14d"),
            chance("30d")
        );
    }
    page.push_str("</tbody></table></div>\n");
}

fn write_pool(page: &mut String, index: usize, pool: &Assessed) {
    let p = |within: &str| pool.p_full.get(within).copied().unwrap_or(0.0);
    let class = if pool.answer == "already_full" || p("3d") >= 0.5 {
        "bad"
    } else if p("30d") >= 0.1 {
        "warn"
    } else if pool.p_full.is_empty() {
        ""
    } else {
        "good"
    };
    let _ = writeln!(
        page,
        "<article id=\"r{index}\" class=\"{class}\"><h3>{}</h3>\n<p>{}.</p>\n{}",
        escaped(&pool.name),
        escaped(&pool.sentence),
        chart::draw(&pool.chart, &format!("{}: {}", pool.name, pool.sentence))
    );
    page.push_str("<div class=\"chances\">");
    for within in WITHIN {
        if let Some(p) = pool.p_full.get(within) {
            let _ = write!(
                page,
                "<span>full within {} <b>{}</b></span>",
                words::within(within),
                words::percent(*p)
            );
        }
    }
    let _ = write!(
        page,
        "<span>trust <b>{}</b></span></div>",
        words::percent(pool.trust)
    );
    let growth = if pool.growth_per_day == 0.0 {
        "no growth".to_owned()
    } else {
        format!("usually {} a day", words::amount(pool.growth_per_day))
    };
    let _ = writeln!(
        page,
        "<p class=\"dim\">{} of {} used, {growth}. {} Seen since {}.</p></article>",
        words::amount(pool.used),
        words::amount(pool.ceiling),
        escaped(&markdown::remarks(pool)),
        words::day(&pool.seen_from)
    );
}
