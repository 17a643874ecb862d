//! What a report says of pools whose fate is known, in each of its forms; and what strangers' labels can't do to it.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::Micros;
use schemas::time::{DAY, HOUR};

use super::assess::{Assessed, assess};
use super::document::{CapacityReport, Previous};
use super::gather::{Level, Pool};
use super::{ReportFormat, csv, html, markdown};

const START: Micros = 20_500 * DAY;
const HOURS: i64 = 24 * 30;

/// A disk of 100 over a month of hours.
fn disk(mount: &str, used: impl Fn(f64) -> f64) -> Pool {
    let labels = [("mountpoint", mount), ("host", "web-1")];
    Pool {
        what: "disk".to_owned(),
        metrics: vec!["node_filesystem_avail_bytes".to_owned()],
        labels: labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        levels: (0..HOURS)
            .map(|hour| Level {
                time: START + hour * HOUR,
                used: used(hour as f64),
                ceiling: 100.0,
                peak: None,
            })
            .collect(),
    }
}

fn fleet() -> Vec<Assessed> {
    let pools = [
        disk("/still", |_| 60.0),
        disk("/filling", |hour| 20.0 + hour / 10.0),
        disk("/cleaned", |hour| 30.0 + 50.0 * (hour / 24.0).fract()),
        disk("/full", |hour| (50.0 + hour).min(100.0)),
        disk("/new", |_| 1.0),
    ];
    let mut pools: Vec<Pool> = pools.into();
    pools[4].levels.truncate(3);
    pools.iter().filter_map(assess).collect()
}

fn report(pools: Vec<Assessed>, previous: Option<&Previous>) -> CapacityReport {
    CapacityReport::new(START + HOURS * HOUR, pools, Vec::new(), previous)
}

#[test]
fn the_riskiest_comes_first_and_a_cleaned_disk_does_not_alarm() {
    let report = report(fleet(), None);
    let answers: Vec<(&str, &str)> = report
        .pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.answer))
        .collect();
    assert_eq!(answers[0], ("disk /full on web-1", "already_full"));
    assert_eq!(answers[1], ("disk /filling on web-1", "full_in"));
    for quiet in [
        ("disk /cleaned on web-1", "no_trend"),
        ("disk /still on web-1", "no_trend"),
        ("disk /new on web-1", "not_enough_history"),
    ] {
        assert!(answers.contains(&quiet), "{answers:?}");
    }
    let summary = &report.summary;
    assert_eq!(
        (summary.pools, summary.already_full, summary.full_within_14d),
        (5, 1, 1)
    );
    assert!(report.pools[1].record.made > 0 && report.pools[1].record.inside > 0);
}

#[test]
fn what_changed_since_the_report_before_is_told() {
    let json = |pools: Vec<Assessed>| report(pools, None).to_json().unwrap();
    let read = |text: &str| serde_json::from_str::<Previous>(text).unwrap();
    let same = read(&json(fleet()));
    let changes = report(fleet(), Some(&same)).changes.unwrap();
    assert_eq!(
        (
            changes.worse.len(),
            changes.better.len(),
            changes.appeared.len(),
            changes.gone.len()
        ),
        (0, 0, 0, 0)
    );
    let before: Vec<Assessed> = [
        disk("/filling", |_| 20.0),
        disk("/still", |hour| (hour * 2.0).min(100.0)),
        disk("/removed", |_| 20.0),
    ]
    .iter()
    .filter_map(assess)
    .collect();
    let changes = report(fleet(), Some(&read(&json(before)))).changes.unwrap();
    assert!(
        changes.worse.iter().any(|line| line.contains("/filling")),
        "{changes:?}"
    );
    assert!(
        changes
            .better
            .iter()
            .any(|line| line.contains("/still") && line.contains("no longer full"))
    );
    assert_eq!(changes.gone, ["disk /removed on web-1"]);
    assert!(changes.appeared.contains(&"disk /full on web-1".to_owned()));
}

#[test]
fn a_days_rhythm_is_told_and_pools_that_behave_alike_stand_together() {
    let daily = |hour: f64, low: f64| {
        let day = (std::f64::consts::TAU * hour / 24.0).sin();
        low + 5.0 * day + 0.02 * hour + (hour * 1.7).sin() / 10.0
    };
    let mut pools: Vec<Pool> = (0..6)
        .map(|n| {
            disk(&format!("/daily{n}"), move |hour| {
                daily(hour, 30.0 + f64::from(n) / 5.0)
            })
        })
        .collect();
    pools.extend((0..4).map(|n| {
        let still = move |hour: f64| 80.0 + f64::from(n) / 5.0 + (hour * 1.7).sin() / 100.0;
        disk(&format!("/still{n}"), still)
    }));
    let report = report(pools.iter().filter_map(assess).collect(), None);
    let of = |name: &str| report.pools.iter().find(|pool| pool.name.contains(name));
    let habits = of("/daily0").unwrap().habits.unwrap();
    assert!((habits.day_swing - 0.1).abs() < 0.01, "{habits:?}");
    // 0.02 points an hour.
    assert!((habits.trend_per_day - 0.0048).abs() < 0.001, "{habits:?}");
    assert!(
        habits.day_strength > 0.9 && habits.remainder < 0.005,
        "{habits:?}"
    );
    let text = markdown::write(&report);
    let told = "A day moves it by 10 % of its ceiling; without that it rises by 0.5 % a day.";
    assert_eq!(text.matches(told).count(), 6, "{text}");
    let sizes: Vec<usize> = report.alike.iter().map(|group| group.pools).collect();
    assert_eq!(sizes, [6, 4], "{:?}", report.alike);
    assert!(
        report.alike[0].among[0].contains("/daily"),
        "{:?}",
        report.alike
    );
    assert!(
        text.contains("## Which behave alike") && text.contains(" and 3 more: "),
        "{text}"
    );
    assert!(html::write(&report).contains("<h2>Which behave alike</h2>"));
}

#[test]
fn few_hours_and_holes_say_nothing_of_a_day() {
    let mut pool = disk("/", |hour| 50.0 + hour % 24.0);
    assert!(assess(&pool).unwrap().habits.is_some());
    pool.levels.retain(|level| level.time / HOUR % 3 == 0);
    assert!(
        assess(&pool).unwrap().habits.is_none(),
        "two of three are missing"
    );
    let mut pool = disk("/", |hour| 50.0 + hour % 24.0);
    pool.levels.truncate(95);
    assert!(assess(&pool).unwrap().habits.is_none());
}

#[test]
fn json_says_what_a_program_needs() {
    let json: serde_json::Value =
        serde_json::from_str(&report(fleet(), None).to_json().unwrap()).unwrap();
    assert_eq!(
        (&json["report"], &json["version"]),
        (&"capacity".into(), &1.into())
    );
    let filling = &json["pools"][1];
    assert_eq!(filling["labels"]["mountpoint"], "/filling");
    assert_eq!(filling["p_full"]["30d"], 1.0);
    assert!(
        filling["full_median"]
            .as_str()
            .unwrap()
            .starts_with("2026-"),
        "{filling}"
    );
    assert!(filling["chart"]["band"].as_array().unwrap().len() > 10);
}

#[test]
fn labels_of_strangers_stay_text() {
    let hostile = "</td><script>alert(1)</script>\"'|\n=cmd()";
    let mut pool = disk(hostile, |hour| 20.0 + hour / 10.0);
    pool.what = "=1+1".to_owned();
    let report = report([pool].iter().filter_map(assess).collect(), None);
    let page = html::write(&report);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert_eq!(
        page.matches("<article").count(),
        page.matches("</article>").count()
    );
    let table = markdown::write(&report);
    let row = table.lines().find(|line| line.contains("script")).unwrap();
    let cells = row.replace("\\|", "").matches('|').count();
    assert_eq!(cells, 10, "{row}");
    let sheet = csv::write(&report);
    assert!(sheet.contains("\"'=1+1"), "{sheet}");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = html::write(&report(fleet(), None));
    for elsewhere in ["http://", "https://", "<script", "<link", "src="] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert!(page.contains("prefers-color-scheme:dark"));
}

#[test]
fn every_line_of_the_sheet_has_as_many_cells() {
    let sheet = csv::write(&report(fleet(), None));
    let cells = |line: &str| {
        let mut quoted = false;
        let commas = line.chars().filter(|letter| {
            quoted ^= *letter == '"';
            *letter == ',' && !quoted
        });
        commas.count()
    };
    let counts: Vec<usize> = sheet.split_terminator("\r\n").map(cells).collect();
    assert_eq!(counts.len(), 6);
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn hostile_levels_make_no_nonsense() {
    for used in [0.0, 1e308, 5e-324, -5.0, f64::MAX] {
        let mut pool = disk("/", |hour| if hour > 400.0 { used } else { 50.0 });
        pool.levels[500].ceiling = 1e-300;
        let report = report([pool].iter().filter_map(assess).collect(), None);
        let page = html::write(&report);
        assert!(!page.contains("NaN"), "{used}");
        assert!(report.to_json().is_ok());
    }
}

#[test]
fn the_form_follows_the_name_of_the_file() {
    for (name, format) in [
        ("a.html", ReportFormat::Html),
        ("A.HTM", ReportFormat::Html),
        ("a.csv", ReportFormat::Csv),
        ("a.json", ReportFormat::Json),
        ("a.md", ReportFormat::Markdown),
        ("a", ReportFormat::Markdown),
    ] {
        assert_eq!(
            ReportFormat::of(None, Some(Path::new(name))),
            format,
            "{name}"
        );
    }
    let asked = ReportFormat::of(Some(ReportFormat::Csv), Some(Path::new("a.html")));
    assert_eq!(asked, ReportFormat::Csv);
    assert_eq!(ReportFormat::of(None, None), ReportFormat::Markdown);
}

#[test]
fn a_pool_without_levels_is_not_told_of() {
    let pool = Pool {
        levels: Vec::new(),
        labels: BTreeMap::new(),
        ..disk("/", |_| 1.0)
    };
    assert!(assess(&pool).is_none());
}
