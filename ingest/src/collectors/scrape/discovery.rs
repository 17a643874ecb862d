//! Finds targets: those of the configuration, and those in files, which are read again whenever they change.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Job;
use super::target::{Group, Target};

/// How often files are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The largest file of targets. 16 MiB: some 100,000 targets with labels.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Targets of one job; further ones are left out, which is logged. Each costs a task and a connection.
const TARGETS_MAX: usize = 10_000;

/// What is known of the targets of a job.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// What each file held when it could last be read.
    files: BTreeMap<PathBuf, Vec<Group>>,
    /// What was wrong when it was last looked: said once, not every time.
    complaints: HashSet<String>,
}

impl Discovery {
    /// Looks at all files and answers the targets there are. A file that can't be read keeps the targets that it had. Reads files: not for a task that
    /// others wait for.
    pub(super) fn look(&mut self, job: &Job) -> HashSet<Target> {
        let mut complaints = HashSet::new();
        for file in &job.files {
            match read(file) {
                Ok(groups) => {
                    self.files.insert(file.clone(), groups);
                }
                Err(problem) => {
                    complaints.insert(format!("{}: {problem}", file.display()));
                }
            }
        }
        let (mut targets, mut left_out) = (HashSet::new(), 0usize);
        for group in job.groups.iter().chain(self.files.values().flatten()) {
            for address in &group.targets {
                match Target::of(job, group, address) {
                    Ok(None) => {}
                    Ok(Some(target)) if targets.len() < TARGETS_MAX => {
                        targets.insert(target);
                    }
                    Ok(Some(target)) => left_out += usize::from(!targets.contains(&target)),
                    Err(error) => {
                        complaints.insert(error.to_string());
                    }
                }
            }
        }
        if left_out > 0 {
            complaints.insert(format!(
                "more than {TARGETS_MAX} targets; {left_out} are left out: split the job"
            ));
        }
        for complaint in complaints.difference(&self.complaints) {
            tracing::warn!(job = %job.name, problem = %complaint, "targets to scrape are missing");
        }
        self.complaints = complaints;
        targets
    }
}

/// The groups that a file lists: JSON, `[{"targets": ["host:port"], "labels": {"name": "value"}}]`.
fn read(path: &Path) -> Result<Vec<Group>, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("can't be read: {error}"))?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("can't be read: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    read_groups(&text)
}

/// Reads the text of a file of targets.
///
/// # Errors
/// What was expected, with line and column.
pub fn read_groups(text: &[u8]) -> Result<Vec<Group>, String> {
    serde_json::from_slice(text).map_err(|error| {
        format!(
            "expected JSON such as [{{\"targets\": [\"host:9100\"], \"labels\": {{\"env\": \"prod\"}}}}]: {error}"
        )
    })
}
