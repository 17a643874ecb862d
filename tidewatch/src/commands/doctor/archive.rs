//! The archive: whether it answers and can be written, whether each partition's chain is unbroken, whether the files are there. And the aggregate store.

use std::path::Path;
use std::time::Duration;

use schemas::{ArchiveFile, Fault, HasFault, Micros};
use sinks::{Archive, ChainError, ChainView, list_partitions, load_chain, verify_links};

use super::report::Check;
use super::{samples, within};
use crate::commands::terminal::grouped;
use crate::config::Config;
use crate::http::overview::Overview;
use crate::stores;

/// How long old links are read, all partitions together; the newest are always.
const LINKS_READ_MAX: Duration = Duration::from_secs(15);
/// How long saved states are read, all partitions together: each has some MB.
const STATES_READ_MAX: Duration = Duration::from_secs(5);
/// Unfit files that are named; all are counted.
const FILES_NAMED_MAX: usize = 3;

/// What was found, and the chains that could be read.
pub(super) struct Checked {
    pub(super) checks: Vec<Check>,
    pub(super) chains: Vec<ChainView>,
}

/// The archive and its chains.
pub(super) async fn check(config: &Config) -> Checked {
    const NAME: &str = "archive";
    let only = |check| Checked {
        checks: vec![check],
        chains: Vec::new(),
    };
    let Some(place) = place(config) else {
        let text = "there is none yet; `tidewatch run` makes it";
        return only(Check::ok(NAME, text));
    };
    let archive = match stores::open_archive(config, &place) {
        Ok(archive) => archive,
        Err(error) => {
            return only(Check::failure(
                NAME,
                error.to_string(),
                schemas::HasCode::code(&error),
            ));
        }
    };
    let written = within(NAME, archive.url(), async {
        let written = archive.check_writable().await;
        written.map_err(|error| Check::failed(NAME, &error))
    });
    let mut checks = vec![match written.await {
        Ok(()) => Check::ok(
            NAME,
            format!("{} took a probe object and removed it", archive.url()),
        ),
        // One that can only be read still has chains to look at.
        Err(failure) => failure,
    }];
    let read = match within(NAME, archive.url(), chains(config, &archive)).await {
        Ok(read) => read,
        Err(failure) => {
            checks.push(Check {
                name: "chain",
                ..failure
            });
            return Checked {
                checks,
                chains: Vec::new(),
            };
        }
    };
    checks.extend(read.checks);
    let files: Vec<ArchiveFile> = read
        .chains
        .iter()
        .flat_map(|chain| chain.files.iter().cloned())
        .collect();
    if !files.is_empty() {
        let looked = within("archive files", archive.url(), look_for(&archive, &files));
        checks.push(looked.await.unwrap_or_else(|failure| failure));
    }
    if read.chains.iter().any(|chain| chain.snapshot().is_some()) {
        let looked = within(
            "saved states",
            archive.url(),
            saved_states(&archive, &read.chains),
        );
        checks.push(looked.await.unwrap_or_else(|failure| failure));
    }
    Checked {
        checks,
        chains: read.chains,
    }
}

/// The data directory to open the archive with; `None` if the archive is a directory that is not there yet.
fn place(config: &Config) -> Option<std::path::PathBuf> {
    let dir = stores::existing_data_dir(config);
    match config.archive.url.strip_prefix("file://") {
        Some(path) => Path::new(path).is_dir().then(|| config.data_dir.clone()),
        None if config.archive.url.is_empty() => dir.filter(|dir| dir.join("archive").is_dir()),
        None => Some(config.data_dir.clone()),
    }
}

/// The chains of all partitions, each link of them against the one before as far as there is time.
async fn chains(config: &Config, archive: &Archive) -> Result<Checked, Check> {
    const NAME: &str = "chain";
    let topic = samples(config);
    let failed = |error: &ChainError| Check::failed(NAME, error);
    let partitions = list_partitions(archive, &topic)
        .await
        .map_err(|error| failed(&error))?;
    let (mut checks, mut chains) = (Vec::new(), Vec::new());
    let (mut links, mut unread) = (0, 0);
    for partition in &partitions {
        let started = std::time::Instant::now();
        match load_chain(archive, &topic, *partition).await {
            Ok(Some(view)) => {
                // Each partition gets its share of what is left.
                let share = LINKS_READ_MAX / u32::try_from(partitions.len()).unwrap_or(1);
                let left = share.saturating_sub(started.elapsed());
                match verify_links(archive, &topic, &view, left).await {
                    Ok(verified) => {
                        links += verified.end - verified.start;
                        unread += verified.start;
                    }
                    Err(error) if error.fault() == Fault::Corruption => checks.push(failed(&error)),
                    Err(error) => return Err(failed(&error)),
                }
                chains.push(view);
            }
            Ok(None) => {}
            Err(error) if error.fault() == Fault::Corruption => checks.push(failed(&error)),
            Err(error) => return Err(failed(&error)),
        }
    }
    if checks.is_empty() {
        let mut found = format!(
            "{} links of {} partitions are unbroken",
            grouped(links),
            partitions.len()
        );
        if unread > 0 {
            found = format!(
                "{found}; the {} oldest were not read in {} s",
                grouped(unread),
                LINKS_READ_MAX.as_secs()
            );
        }
        checks.push(Check::ok(NAME, found));
    }
    Ok(Checked { checks, chains })
}

/// Whether the files that the chains name are there, with their sizes.
async fn look_for(archive: &Archive, files: &[ArchiveFile]) -> Result<Check, Check> {
    const NAME: &str = "archive files";
    let unfit = archive
        .unfit_files(files)
        .await
        .map_err(|error| Check::failed(NAME, &error))?;
    if unfit.is_empty() {
        return Ok(Check::ok(
            NAME,
            format!(
                "{} files are there, each of the size that the chain says",
                grouped(files.len() as u64)
            ),
        ));
    }
    let named: Vec<String> = unfit
        .iter()
        .take(FILES_NAMED_MAX)
        .map(|file| format!("`{}`: {}", file.path, file.problem))
        .collect();
    let more = if unfit.len() > named.len() {
        "; …"
    } else {
        ""
    };
    Err(Check::failure(
        NAME,
        format!(
            "{} of {} files are not as the chain says (if a compaction ran just now, look again): {}{more}",
            unfit.len(),
            files.len(),
            named.join("; ")
        ),
        &sinks::error_codes::ARCHIVE_DAMAGED,
    ))
}

/// Whether what each partition starts from is what was saved. Without it the partition stops.
async fn saved_states(archive: &Archive, chains: &[ChainView]) -> Result<Check, Check> {
    const NAME: &str = "saved states";
    let started = std::time::Instant::now();
    let (mut whole, mut unread) = (0, 0);
    for saved in chains.iter().filter_map(ChainView::snapshot) {
        if started.elapsed() > STATES_READ_MAX {
            unread += 1;
            continue;
        }
        match archive.get_snapshot(saved).await {
            Ok(_) => whole += 1,
            Err(error) => {
                let found = format!("{error} (if a checkpoint ran just now, look again)");
                return Err(Check::failure(NAME, found, schemas::HasCode::code(&error)));
            }
        }
    }
    let mut found = format!("{whole} are what was saved");
    if unread > 0 {
        found = format!(
            "{found}; {unread} were not read in {} s",
            STATES_READ_MAX.as_secs()
        );
    }
    Ok(Check::ok(NAME, found))
}

/// The newest log time that a chain holds; `None` before its first record.
pub(super) fn log_clock(chain: &ChainView) -> Option<Micros> {
    chain
        .last()
        .map(|link| link.log_clock)
        .filter(|clock| *clock > 0)
}

/// Whether the aggregate store opens; while an instance runs, it is that one's.
pub(super) async fn aggregates(config: &Config, running: Option<&Overview>) -> Check {
    const NAME: &str = "aggregate store";
    if let Some(overview) = running {
        let text = format!("in use by the instance, process {}", overview.process.id);
        return Check::ok(NAME, text);
    }
    let dir = stores::existing_data_dir(config).filter(|dir| dir.join("aggregates").is_dir());
    let Some(dir) = dir else {
        return Check::ok(NAME, "there is none yet; `tidewatch run` makes it");
    };
    match stores::open_aggregates(config, &dir).await {
        Ok(_) => Check::ok(NAME, "it opens"),
        Err(error) => Check::failure(NAME, error.to_string(), schemas::HasCode::code(&error)),
    }
}
