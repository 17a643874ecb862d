//! `tidewatch report`: what a person reads on a Monday. So far: capacity, everything with a ceiling and when it will be full.
//!
//! `gather` asks the archive or an instance for rollups and pairs them to levels; `assess` forecasts and tries the forecast on the
//! pool's own past; `habits` says what a day does to it, `alike` which pools are alike; `document` is the report as data (the JSON); `html`, `markdown` and `csv` write it for people and spreadsheets.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use futures::StreamExt;
use futures::stream;

use super::output::Output;
use super::source::Source;
use crate::args::UrlArgs;
use crate::config::Config;
use crate::error::CommandError;
use crate::error_codes;

mod alike;
mod assess;
mod chart;
mod csv;
mod document;
mod escape;
mod gather;
mod habits;
mod html;
mod markdown;
#[cfg(test)]
mod tests;
mod words;

use document::{CapacityReport, Previous};

/// Bytes that a previous report may have. 1 GiB: a hundred thousand pools with their charts.
const PREVIOUS_BYTES_MAX: u64 = 1 << 30;

/// What can be reported.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Tell when everything that has a ceiling (disks, inodes, memory, connections, quotas, certificates) will be full, by risk.
    #[command(
        after_help = "Reads hourly, daily and five-minute rollups. A pool is whatever is used up against a ceiling; it is told by metrics whose names say used, free, limit or utilisation: those of \
OpenTelemetry, node_exporter and Telegraf, and whatever ends in `_utilization`, `_used_percent`, or `_used` beside `_limit`.\n\n\
Examples:\n  tidewatch report capacity\n  tidewatch report capacity --output capacity.html\n  \
tidewatch report capacity --output monday.json --previous last-monday.json"
    )]
    Capacity(CapacityArgs),
}

/// Flags of `report capacity`.
#[derive(Debug, Args)]
pub struct CapacityArgs {
    /// How it is written. Default: what the name of --output ends in, else markdown.
    #[arg(short, long, value_enum)]
    pub format: Option<ReportFormat>,
    /// Write it to this file; it appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Tell what changed since this report, one that was written as JSON.
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Text with tables, readable as it is.
    Markdown,
    /// One page with charts, without anything from elsewhere.
    Html,
    /// A line per pool.
    Csv,
    /// Everything, for programs and for the next report's --previous.
    Json,
}

impl ReportFormat {
    fn of(asked: Option<ReportFormat>, output: Option<&Path>) -> ReportFormat {
        let ending = output.and_then(Path::extension);
        let ending = ending.map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        asked.unwrap_or(match ending.as_deref() {
            Some("html" | "htm") => ReportFormat::Html,
            Some("csv") => ReportFormat::Csv,
            Some("json") => ReportFormat::Json,
            _ => ReportFormat::Markdown,
        })
    }
}

/// Reports.
pub(crate) async fn run(config: &Config, command: ReportCommand) -> Result<(), CommandError> {
    match command {
        ReportCommand::Capacity(args) => capacity(config, args).await,
    }
}

async fn capacity(config: &Config, args: CapacityArgs) -> Result<(), CommandError> {
    let format = ReportFormat::of(args.format, args.output.as_deref());
    let previous = args.previous.as_deref().map(read_previous).transpose()?;
    // Opened before the work: a long report must not end in a file that can't be written.
    let output = Output::open(args.output.as_deref())?;
    let source = Source::find(config, args.url.url.as_deref()).await?;
    eprintln!("{}", source.told());
    let gathered = gather::gather(&source, assess::assess).await?;
    for note in &gathered.notes {
        eprintln!("note: {note}");
    }
    let Some(newest) = gathered.newest.filter(|_| !gathered.pools.is_empty()) else {
        return Err(CommandError::known(
            &error_codes::NOTHING_WITH_A_CEILING,
            "report: expected rollups of something with a ceiling, such as system.filesystem.usage or node_filesystem_avail_bytes, and found none; \
             `tidewatch sql \"SELECT DISTINCT metric FROM rollups_5m\"` shows what is there"
                .to_owned(),
        ));
    };
    let report = CapacityReport::new(newest, gathered.pools, gathered.notes, previous.as_ref());
    let text = match format {
        ReportFormat::Markdown => markdown::write(&report),
        ReportFormat::Html => html::write(&report),
        ReportFormat::Csv => csv::write(&report),
        ReportFormat::Json => report.to_json()?,
    };
    output
        .write_all(stream::iter([Ok(Bytes::from(text))]).boxed())
        .await
}

fn read_previous(path: &Path) -> Result<Previous, CommandError> {
    let wrong = |found: String| {
        CommandError::known(
            &error_codes::PREVIOUS_REPORT,
            format!(
                "--previous `{}`: expected a capacity report as JSON, found {found}",
                path.display()
            ),
        )
    };
    let size = std::fs::metadata(path)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size > PREVIOUS_BYTES_MAX {
        return Err(wrong(format!("a file of {size} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let previous: Previous =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if !previous.is_capacity() {
        return Err(wrong("a report of another kind".to_owned()));
    }
    Ok(previous)
}
