//! `tidewatch doctor`: looks at the settings, the machine, the running instance, the log and the stores, and says of each how it is and what mends it.
//!
//! It asks through the same clients that the pipeline uses. It writes nothing but a probe in the data directory and one in the archive, both removed at once.

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::{status, terminal};
use crate::config::{BusKind, Config, ConfigErrors};
use crate::error::CommandError;
use crate::error_codes;
use crate::http::overview::Overview;
use crate::stores;
use report::{Check, Report};

mod archive;
mod embedded;
mod instance;
mod kafka;
mod log;
mod machine;
mod report;
mod tokens;

/// How long one question may take; a store's own client would try for minutes.
const QUESTION_MAX: Duration = Duration::from_secs(20);
/// Columns where there is no terminal.
const COLUMNS: usize = 110;

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Checks everything. Fails if one check did.
pub(crate) async fn run(config: &Config, args: &DoctorArgs) -> Result<(), CommandError> {
    let mut checks = vec![settings(config)];
    checks.extend(tokens::limits(config));
    let overview = find(config).await;
    checks.extend(instance::check(config, &overview));
    let running = overview.ok();
    checks.push(machine::files(config, running.as_ref()));
    checks.extend(machine::data_directory(config));
    let archive = archive::check(config).await;
    checks.extend(archive.checks);
    checks.push(archive::aggregates(config, running.as_ref()).await);
    let log = match config.bus.kind {
        BusKind::Kafka => kafka::check(config, &archive.chains).await,
        BusKind::Embedded => embedded::check(config, running.as_ref(), &archive.chains).await,
    };
    checks.extend(log.checks);
    let newest = archive.chains.iter().filter_map(archive::log_clock);
    checks.push(machine::clock(newest.chain(log.newest).max()));
    tell(&Report::new(checks), args)
}

/// The report where the settings are not valid: nothing else can be looked at.
pub(crate) fn refuse(errors: ConfigErrors, args: &DoctorArgs) -> Result<(), CommandError> {
    let mut checks: Vec<Check> = errors
        .0
        .into_iter()
        .map(|problem| Check::failure("configuration", problem.text, problem.code))
        .collect();
    checks.push(Check::skipped(
        "everything else",
        "the settings say where to look",
    ));
    tell(&Report::new(checks), args)
}

fn tell(report: &Report, args: &DoctorArgs) -> Result<(), CommandError> {
    let text = if args.json {
        report.json()
    } else {
        let columns = terminal::size().map_or(COLUMNS, |(columns, _)| columns);
        report.text(columns, terminal::colour())
    };
    super::print(&text)?;
    match report.failures() {
        0 => Ok(()),
        1 => Err(failed("1 check failed".to_owned())),
        count => Err(failed(format!("{count} checks failed"))),
    }
}

fn failed(message: String) -> CommandError {
    CommandError::known(&error_codes::CHECKS_FAILED, message)
}

fn settings(config: &Config) -> Check {
    let doubts = config.doubts();
    if doubts.is_empty() {
        return Check::ok("configuration", config.origins());
    }
    Check::warning(
        "configuration",
        format!("{}; {}", config.origins(), doubts.join("; ")),
        "change what is hardly meant; `tidewatch check` tells each on a line of its own",
    )
}

/// What the instance of the data directory says of itself.
async fn find(config: &Config) -> Result<Overview, CommandError> {
    let peer = status::find(config, None).await?;
    status::ask(&peer).await
}

/// The answer to a question, or the failure that none came in time.
async fn within<T>(
    name: &'static str,
    what: &str,
    question: impl Future<Output = Result<T, Check>>,
) -> Result<T, Check> {
    match timeout(QUESTION_MAX, question).await {
        Ok(answer) => answer,
        Err(_) => Err(Check::failure(
            name,
            format!("no answer from {what} within {} s", QUESTION_MAX.as_secs()),
            schemas::Fault::Outage.code(),
        )),
    }
}

/// The topic whose partitions are the unit of everything.
fn samples(config: &Config) -> String {
    stores::topics(config).samples()
}
