//! `tidewatch cardinality`: which labels have how many values, which of them are folded, and their release.

use std::fmt::Write as _;

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;
use ingest::admission::AdmissionReport;

use super::status;
use crate::args::UrlArgs;
use crate::config::Config;
use crate::error::CommandError;
use crate::http::cardinality::{CARDINALITY_PATH, RELEASE_PATH, Release};

/// Longest answer that is read: 1,024 folded labels with names of up to 17 KiB and their examples, and as many senders; twice that for what JSON escapes.
const ANSWER_BYTES_MAX: usize = 40 << 20;
/// Senders that are shown.
const SENDERS_SHOWN: usize = 20;

/// Commands of `cardinality`.
#[derive(Debug, Subcommand)]
pub enum CardinalityCommand {
    /// Show the labels that are folded, those with the most values, and how many series each sender has and may have.
    #[command(after_help = "Example:\n  tidewatch cardinality list")]
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Which instance.
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Store new values of a folded label as they are again. Its values are counted from none.
    #[command(after_help = "Example:\n  tidewatch cardinality release http_requests_total user_id")]
    Release(ReleaseArgs),
}

/// What to release.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The metric, as `list` shows it.
    pub metric: String,
    /// The label.
    pub label: String,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// Does what was asked.
pub(crate) async fn run(config: &Config, command: CardinalityCommand) -> Result<(), CommandError> {
    match command {
        CardinalityCommand::List { json, url } => {
            let peer = status::find(config, url.url.as_deref()).await?;
            let response = peer
                .ask(Method::GET, CARDINALITY_PATH, &[], Bytes::new())
                .await?;
            let body = peer.body(response, ANSWER_BYTES_MAX).await?;
            let report: AdmissionReport = serde_json::from_slice(&body).map_err(|error| {
                CommandError::surroundings(format!(
                    "{}{CARDINALITY_PATH} is not what this version of tidewatch reads: {error}; are both of the same version?",
                    peer.url()
                ))
            })?;
            if json {
                let text = serde_json::to_string_pretty(&report)
                    .map_err(|error| CommandError::surroundings(error.to_string()))?;
                return super::print(&format!("{text}\n"));
            }
            super::print(&page(&report))
        }
        CardinalityCommand::Release(ReleaseArgs { metric, label, url }) => {
            let peer = status::find(config, url.url.as_deref()).await?;
            let asked = serde_json::to_vec(&Release {
                metric: metric.clone(),
                label: label.clone(),
            })
            .map_err(|error| CommandError::surroundings(error.to_string()))?;
            peer.ask(Method::POST, RELEASE_PATH, &[], Bytes::from(asked))
                .await?;
            super::print(&format!(
                "label {label} of {metric} is released: new values of it are stored as they are\n"
            ))
        }
    }
}

/// The report for people.
fn page(report: &AdmissionReport) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let mut line = |told: String| {
        let _ = writeln!(text, "{told}");
    };
    match report.folded.is_empty() {
        true => line("No label is folded.".to_owned()),
        false => {
            line("Folded labels, whose further new values are stored as __other__:".to_owned())
        }
    }
    for label in &report.folded {
        let since = jiff::Timestamp::from_microsecond(label.since)
            .map_or_else(|_| "?".to_owned(), |time| format!("{time:.0}"));
        line(format!(
            "  {} {}: {} values, such as {}; since {since}, by {}",
            clean(&label.metric),
            clean(&label.label),
            label.values,
            label
                .examples
                .iter()
                .map(|example| clean(example))
                .collect::<Vec<_>>()
                .join(", "),
            clean(&label.sender),
        ));
    }
    if report.folded_samples > 0 {
        line(format!(
            "  {} samples were stored so since the start.",
            report.folded_samples
        ));
    }
    if !report.widest.is_empty() {
        line("\nLabels with the most values:".to_owned());
    }
    for label in &report.widest {
        line(format!(
            "  {:>9}  {} {}",
            label.values,
            clean(&label.metric),
            clean(&label.label)
        ));
    }
    line(format!("\nActive series: {}", report.active_series));
    for sender in report.senders.iter().take(SENDERS_SHOWN) {
        line(format!(
            "  {:>9}  {}, which may have {}",
            sender.active_series,
            clean(&sender.sender),
            sender.series_max
        ));
        if let Some(section) = &sender.section {
            let limits = sender.own_limits.iter();
            let limits: Vec<String> = limits.map(|(key, max)| format!("{key} = {max}")).collect();
            line(format!(
                "             limits of its own: [{}] {}",
                clean(section),
                limits.join(", ")
            ));
        }
    }
    if let Some(more) = report
        .senders
        .len()
        .checked_sub(SENDERS_SHOWN)
        .filter(|more| *more > 0)
    {
        line(format!("             and {more} other senders"));
    }
    if report.untracked_values > 0 {
        line(format!(
            "\n{} values could not be counted: there are too many labels or values to watch. The limits of series hold all the same.",
            report.untracked_values
        ));
    }
    text
}

/// What senders wrote, without what would move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ingest::admission::{FoldedLabel, SenderReport, WideLabel};

    use super::*;

    #[test]
    fn the_page_tells_of_labels_and_senders_and_moves_no_cursor() {
        let mut report = AdmissionReport {
            active_series: 12,
            senders: (0..22)
                .map(|number| SenderReport {
                    sender: format!("token {number}"),
                    active_series: 3,
                    series_max: 500,
                    requests: 0,
                    in_flight_bytes: 0,
                    section: (number == 1).then(|| "limits.tokens.a".into()),
                    own_limits: [("body_max".into(), 1024), ("series_max".into(), 500)].into(),
                })
                .collect(),
            folded: vec![FoldedLabel {
                metric: "requests".into(),
                label: "user".into(),
                values: 5,
                examples: vec!["a\u{1b}[2J".into(), "b".into()],
                sender: "token 7".into(),
                since: 1_700_000_000_000_000,
            }],
            widest: vec![WideLabel {
                metric: "requests".into(),
                label: "user".into(),
                values: 5,
            }],
            folded_samples: 9,
            untracked_values: 1,
        };
        let told = page(&report);
        for part in [
            "requests user: 5 values, such as a\\u{1b}[2J, b; since 2023-11-14T22:13:20Z, by token 7",
            "9 samples",
            "        5  requests user",
            "Active series: 12",
            "        3  token 0, which may have 500\n          3  token 1, which may have 500\n             limits of its own: [limits.tokens.a] body_max = 1024, series_max = 500\n",
            "and 2 other senders",
            "1 values could not be counted",
        ] {
            assert!(told.contains(part), "`{part}` is missing in\n{told}");
        }
        assert!(!told.contains('\u{1b}'));
        report = AdmissionReport::default();
        assert_eq!(page(&report), "No label is folded.\n\nActive series: 0\n");
    }
}
