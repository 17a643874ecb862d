//! What `tidewatch status` shows, as lines: a pure function of an answer and the room there is.

use super::Tone;
use super::rates::{Rates, Totals};
use crate::commands::terminal::{duration_text, grouped, size_text};
use crate::http::PartitionReport;
use crate::http::overview::Overview;

/// A line and how it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    tone: Tone,
    text: String,
}

impl Line {
    pub(super) fn new(tone: Tone, text: &str) -> Line {
        // A reason may hold several lines.
        let text = text.replace(['\n', '\r', '\x1b'], " ");
        Line { tone, text }
    }

    /// The first so many characters; where something is lost, the last one says so.
    pub(super) fn cut(&self, columns: usize) -> Line {
        let mut text: String = self.text.chars().take(columns).collect();
        if self.text.chars().count() > columns && text.pop().is_some() {
            text.push('…');
        }
        Line {
            tone: self.tone,
            text,
        }
    }

    pub(super) fn painted(&self, colour: bool) -> String {
        self.tone.paint(&self.text, colour)
    }
}

/// The page for a terminal of so many columns and lines; partitions in trouble come first, and those that have no room are counted.
pub(super) fn page(
    url: &str,
    overview: &Overview,
    rates: Option<&Rates>,
    columns: usize,
    lines: usize,
) -> Vec<Line> {
    let mut page = head(url, overview);
    page.extend(flow(overview, rates));
    page.push(Line::new(Tone::Plain, ""));
    page.push(Line::new(
        Tone::Faint,
        "partition  phase          lag    series   pending  checkpoint   files anomalies",
    ));
    let mut partitions: Vec<&PartitionReport> = overview.partitions.iter().collect();
    partitions.sort_by_key(|partition| {
        (
            partition.phase == "running",
            std::cmp::Reverse(partition.lag_records),
            partition.partition,
        )
    });
    let room = lines.saturating_sub(page.len());
    let rows: Vec<Vec<Line>> = partitions.iter().map(|partition| row(partition)).collect();
    let all: usize = rows.iter().map(Vec::len).sum();
    // One line tells of those that have no room.
    let room = if all > room {
        room.saturating_sub(1)
    } else {
        room
    };
    let (mut used, mut shown) = (0, 0);
    for row in rows {
        if used + row.len() > room {
            break;
        }
        used += row.len();
        shown += 1;
        page.extend(row);
    }
    let rest = partitions.len() - shown;
    if rest > 0 {
        page.push(Line::new(Tone::Faint, &format!("… and {rest} more")));
    }
    page.iter().map(|line| line.cut(columns)).collect()
}

/// Who it is and how it is.
fn head(url: &str, overview: &Overview) -> Vec<Line> {
    let process = &overview.process;
    let state = if overview.ready { "ready" } else { "not ready" };
    let mut lines = vec![Line::new(
        if overview.ready {
            Tone::Good
        } else {
            Tone::Bad
        },
        &format!(
            "tidewatch {}  {state}  up {}  pid {}  {url}",
            overview.version,
            duration_text(process.uptime_s),
            process.id
        ),
    )];
    if let Some(reason) = &overview.reason {
        lines.push(Line::new(Tone::Bad, &format!("reason   {reason}")));
    }
    let bus = &overview.bus;
    let plural = if bus.partitions == 1 { "" } else { "s" };
    let mut log = format!(
        "log      {}, {} partition{plural} of {}",
        bus.kind, bus.partitions, bus.topic
    );
    if let Some(brokers) = &bus.brokers {
        log = format!("{log}, at {brokers}");
    }
    if let Some(bytes) = bus.stored_bytes {
        log = format!("{log}, {}", size_text(bytes));
    }
    lines.push(Line::new(Tone::Plain, &log));
    lines.push(Line::new(
        Tone::Plain,
        &format!("data     {}", overview.data_dir.display()),
    ));
    lines.push(Line::new(
        Tone::Plain,
        &format!("archive  {}", overview.archive),
    ));
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    let partitions = &overview.partitions;
    lines.push(Line::new(
        Tone::Plain,
        &format!(
            "memory   {}   open files {} of {}   series {}   files {}",
            or_unknown(process.resident_bytes.map(size_text)),
            or_unknown(process.open_files.map(grouped)),
            or_unknown(process.open_files_max.map(grouped)),
            grouped(
                partitions
                    .iter()
                    .map(|partition| partition.series as u64)
                    .sum()
            ),
            grouped(
                partitions
                    .iter()
                    .map(|partition| partition.files as u64)
                    .sum()
            ),
        ),
    ));
    lines
}

/// Rates and totals of samples.
fn flow(overview: &Overview, rates: Option<&Rates>) -> Vec<Line> {
    let totals = Totals::of(overview);
    let row = |name: &str, rate: Option<f64>, total: u64, what: &str| {
        let rate = rate.map_or_else(|| "-".to_owned(), |rate| grouped(rate.round() as u64));
        format!("{name:<10} {rate:>12} {:>18}  {what}", grouped(total))
    };
    let refused = row(
        "refused",
        rates.map(|rates| rates.refused_per_s),
        totals.refused,
        "at the door, told to the sender",
    );
    let left_out = (totals.left_out > 0).then(|| {
        let what = "too late or too early, not stored: is a clock wrong?";
        let text = row("left out", None, totals.left_out, what);
        Line::new(Tone::Doubtful, &text)
    });
    let lines = vec![
        Line::new(Tone::Plain, ""),
        Line::new(
            Tone::Faint,
            "samples     each second              total  since the start",
        ),
        Line::new(
            Tone::Plain,
            &row(
                "in",
                rates.map(|rates| rates.accepted_per_s),
                totals.accepted,
                "durable in the log",
            ),
        ),
        Line::new(
            Tone::Plain,
            &row(
                "processed",
                rates.map(|rates| rates.processed_per_s),
                totals.processed,
                "from the log into windows",
            ),
        ),
        Line::new(
            if totals.refused > 0 {
                Tone::Doubtful
            } else {
                Tone::Plain
            },
            &refused,
        ),
    ];
    lines.into_iter().chain(left_out).collect()
}

fn row(partition: &PartitionReport) -> Vec<Line> {
    let lag = partition
        .lag_records
        .map_or_else(|| "?".to_owned(), grouped);
    // How long ago.
    let checkpoint = partition
        .checkpoint_age_s
        .map_or_else(|| "none yet".to_owned(), duration_text);
    let tone = match partition.phase.as_str() {
        "running" => Tone::Plain,
        "stopped" => Tone::Bad,
        _ => Tone::Doubtful,
    };
    let text = format!(
        "{:>9}  {:<9} {lag:>8} {:>9} {:>9}  {checkpoint:<11} {:>6} {:>9}",
        partition.partition,
        partition.phase,
        grouped(partition.series as u64),
        grouped(partition.pending_samples as u64),
        grouped(partition.files as u64),
        grouped(partition.anomalies),
    );
    let mut lines = vec![Line::new(tone, &text)];
    if let Some(reason) = &partition.reason {
        lines.push(Line::new(tone, &format!("           {reason}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use schemas::Counts;

    use super::*;
    use crate::http::overview::{BusReport, IntakeReport, ProcessReport};

    fn partition(number: u32, phase: &str, lag: u64) -> PartitionReport {
        PartitionReport {
            partition: number,
            phase: phase.to_owned(),
            reason: (phase == "stopped").then(|| "gap\nin the \x1b[31mlog".to_owned()),
            next_offset: 9,
            committed_offset: 5,
            lag_records: Some(lag),
            log_clock: None,
            series: 1_234,
            resources: 56,
            pending_samples: 77,
            files: 12,
            counts: Counts {
                read: 1_000,
                ..Counts::default()
            },
            checkpoints: 1,
            compactions: 0,
            anomalies: 3,
            checkpoint_age_s: Some(12.0),
            turn_age_s: Some(0.1),
        }
    }

    fn overview(partitions: Vec<PartitionReport>, accepted: u64, uptime_s: f64) -> Overview {
        let intake = IntakeReport {
            accepted_samples: accepted,
            ..IntakeReport::default()
        };
        Overview {
            version: "1.2.3".into(),
            data_dir: "/data".into(),
            process: ProcessReport {
                id: 42,
                uptime_s,
                resident_bytes: Some(100 << 20),
                open_files: Some(99),
                open_files_max: None,
            },
            bus: BusReport {
                kind: "embedded".into(),
                partitions: 4,
                topic: "tidewatch.samples".into(),
                ..BusReport::default()
            },
            archive: "file:///data/archive".into(),
            ready: true,
            reason: None,
            intakes: [("host".to_owned(), intake)].into(),
            partitions,
        }
    }

    fn text(lines: &[Line]) -> String {
        let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    }

    #[test]
    fn what_matters_is_on_the_page() {
        let before = overview(vec![partition(0, "running", 0)], 1_000, 10.0);
        let mut after = overview(vec![partition(0, "running", 0)], 7_000, 12.0);
        after.partitions[0].counts.late = 4;
        after.partitions[0].counts.invalid = 3;
        let rates = Rates::between(&before, &after);
        let shown = text(&page("http://h:1", &after, rates.as_ref(), 80, 24));
        for part in [
            "tidewatch 1.2.3  ready  up 12 s  pid 42  http://h:1",
            "embedded, 4 partitions",
            "memory   100 MiB   open files 99 of ?   series 1,234   files 12",
            "in                3,000              7,000  durable",
            "left out              -                  7  too late",
            "        0  running          0     1,234        77  12 s            12         3",
        ] {
            assert!(shown.contains(part), "`{part}` is not in\n{shown}");
        }
        assert!(
            shown.lines().all(|line| line.chars().count() <= 80),
            "{shown}"
        );
    }

    #[test]
    fn a_restart_between_two_looks_gives_no_rate() {
        let before = overview(Vec::new(), 1_000, 10.0);
        let mut after = overview(Vec::new(), 5, 1.0);
        assert_eq!(Rates::between(&before, &after), None);
        after.process.uptime_s = 20.0;
        after.process.id = 43;
        assert_eq!(Rates::between(&before, &after), None);
    }

    #[test]
    fn many_partitions_fit_and_trouble_comes_first() {
        let mut partitions: Vec<_> = (0..500).map(|n| partition(n, "running", 0)).collect();
        partitions[321] = partition(321, "stopped", 9_000_000);
        partitions[499].lag_records = Some(5);
        let overview = overview(partitions, 1, 1.0);
        for (columns, lines) in [(80, 24), (200, 50), (20, 14), (80, 3)] {
            let shown = page("http://h:1", &overview, None, columns, lines);
            assert!(shown.len() <= lines.max(13), "{} of {lines}", shown.len());
            assert!(
                shown
                    .iter()
                    .all(|line| line.text.chars().count() <= columns),
                "{}",
                text(&shown)
            );
        }
        let shown = text(&page("http://h:1", &overview, None, 80, 24));
        let at = |part: &str| {
            shown
                .find(part)
                .unwrap_or_else(|| panic!("`{part}` in\n{shown}"))
        };
        assert!(at("321  stopped") < at("499  running") && at("499  running") < at("  0  running"));
        assert!(shown.contains("gap in the  [31mlog"), "{shown}");
        assert!(shown.contains("… and 4"), "{shown}");
    }
}
