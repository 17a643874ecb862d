//! Many small files of a date become few large ones with the same rows. Says what to merge and merges it; the chain publishes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::time::Micros;
use schemas::{ArchiveFile, Table};

use crate::archive::rewrite::merge;
use crate::archive::{Archive, ArchiveError, FileName, LEVEL_COMPACTION, blocking, date_in};

/// When files are worth merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// A file of at least half of this is left alone; outputs are cut at about this, bytes.
    pub target_bytes: u64,
    /// The most files merged at once. Each costs a merge about 10 MB of memory besides its bytes.
    pub files_max: usize,
}

impl Default for CompactionPolicy {
    /// 128 MiB: some hundred million compacted samples, and an input still fits in memory whole. 32 files: a day of checkpoints takes three passes.
    fn default() -> Self {
        CompactionPolicy {
            target_bytes: 128 << 20,
            files_max: 32,
        }
    }
}

/// Files to merge: of one table and date, in the order in which the chain added them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionPlan {
    /// Their table.
    pub table: Table,
    /// Their UTC date, `YYYY-MM-DD`.
    pub date: String,
    /// The files, at least two.
    pub files: Vec<ArchiveFile>,
    /// Outputs are cut at about this, bytes.
    pub target_bytes: u64,
}

/// What to merge, oldest date first. A date that ended before `closed_before` is merged as far as it goes; one that still grows only
/// where a full group has come together, so that its files are not rewritten over and over.
pub fn plan(
    files: &[ArchiveFile],
    policy: &CompactionPolicy,
    closed_before: Micros,
) -> Vec<CompactionPlan> {
    let mut groups: BTreeMap<(Date, Table), Vec<&ArchiveFile>> = BTreeMap::new();
    for file in files
        .iter()
        .filter(|file| file.size < policy.target_bytes / 2)
    {
        if let Some(date) = date_in(&file.path) {
            groups.entry((date, file.table)).or_default().push(file);
        }
    }
    let files_max = policy.files_max.max(2);
    let closed = |date: Date| {
        let end = date
            .tomorrow()
            .ok()
            .and_then(|next| next.to_zoned(TimeZone::UTC).ok())
            .map(|end| Timestamp::from(end).as_microsecond());
        end.is_some_and(|end| end <= closed_before)
    };
    let mut plans = Vec::new();
    for ((date, table), mut small) in groups {
        // The smallest together: merging a large file with a few small ones rewrites it for little.
        small.sort_by_key(|file| file.size.max(1).ilog2() / 3);
        let mut group: Vec<ArchiveFile> = Vec::new();
        let mut flush = |group: &mut Vec<ArchiveFile>, full: bool| {
            if group.len() >= 2 && (full || closed(date)) {
                plans.push(CompactionPlan {
                    table,
                    date: date.to_string(),
                    files: std::mem::take(group),
                    target_bytes: policy.target_bytes,
                });
            }
            group.clear();
        };
        for file in small {
            let bytes: u64 = group.iter().map(|file| file.size).sum();
            if bytes + file.size > policy.target_bytes {
                flush(&mut group, true);
            }
            group.push(file.clone());
            if group.len() == files_max {
                flush(&mut group, true);
            }
        }
        flush(&mut group, false);
    }
    plans
}

impl Archive {
    /// Merges a plan's files: the same rows, sorted by (metric, series, time). The new files are durable and verified; a chain link of kind
    /// `Compaction` that adds them and removes the plan's makes it final.
    ///
    /// # Errors
    /// `Corruption` if a file is missing or damaged (leave it, compact the others); `Outage` (retry).
    pub async fn compact(
        &self,
        plan: &CompactionPlan,
        name: &FileName,
    ) -> Result<Vec<ArchiveFile>, ArchiveError> {
        let date: Date = plan.date.parse().map_err(|error| {
            ArchiveError::Bug(format!("compaction date `{}`: {error}", plan.date))
        })?;
        let mut inputs = Vec::with_capacity(plan.files.len());
        for file in &plan.files {
            inputs.push((
                file.path.clone(),
                self.get_checked(&file.path, file.size, &file.sha256)
                    .await?,
            ));
        }
        let (table, target) = (
            plan.table,
            usize::try_from(plan.target_bytes).unwrap_or(usize::MAX),
        );
        let outputs =
            blocking(move || merge(inputs, table, LEVEL_COMPACTION, target, |_, _| true)).await?;
        let (before, after) = (
            plan.files.iter().map(|file| file.rows).sum::<u64>(),
            outputs.iter().map(|file| file.statistics.rows).sum::<u64>(),
        );
        if before != after {
            return Err(ArchiveError::Bug(format!(
                "compaction of {before} rows gave {after}"
            )));
        }
        let mut files = Vec::with_capacity(outputs.len());
        for (i, output) in outputs.into_iter().enumerate() {
            let name = FileName {
                part: if i == 0 {
                    name.part.clone()
                } else {
                    format!("{}x{i}", name.part)
                },
                ..name.clone()
            };
            files.push(self.store_file(&name, table, date, output).await?);
        }
        Ok(files)
    }
}
