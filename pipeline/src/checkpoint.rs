//! One checkpoint: late samples resolved, files written, one link. Files first, then the link; nothing is final before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bus::crash_point;
use processors::late::{ArchivedValue, Resolved, Spans};
use schemas::{
    ArchiveFile, Counts, LinkKind, Micros, NextOffset, Resolution, SeriesDirectory, SeriesId,
    SnapshotRef, Table,
};
use sinks::{Chain, EncodedFiles, FileName, NewLink, Wanted};

use crate::live::Live;
use crate::turns::Turns;
use crate::{PipelineError, PipelineOptions};

/// What a checkpoint did, for the log and the metrics.
pub(crate) struct Committed {
    pub(crate) end: NextOffset,
    pub(crate) counts: Counts,
    pub(crate) removed: Vec<String>,
    pub(crate) with_snapshot: bool,
}

/// Makes everything that was stepped over final.
///
/// # Errors
/// Outages: nothing was committed, or (told by the chain itself) everything was; the caller starts the partition again from the chain.
pub(crate) async fn checkpoint(
    options: &PipelineOptions,
    turns: &Turns,
    chain: &mut Chain,
    live: &Live,
    partition: u32,
    snapshot_due: bool,
) -> Result<Committed, PipelineError> {
    let late = resolve_late(options, live, chain.files()).await?;
    let late_changes = !late.resolved.changes.is_empty();
    // A late change also changes open windows in a way that only the archive tells again, so the state is saved with it.
    let with_snapshot = snapshot_due || late_changes || chain.snapshot().is_none();

    let (directory, end, counts, watermark, log_clock) = {
        let live = live.lock();
        let state = &live.state;
        (
            state.directory().clone(),
            state.next_offset(),
            state.pending().counts,
            state.watermark(),
            state.log_clock(),
        )
    };
    if !counts.balances() {
        return Err(PipelineError::Invariant {
            invariant: "INV-COMMIT",
            detail: format!("partition {partition}: counts do not balance: {counts:?}"),
        });
    }
    let name = |part: &str| FileName {
        partition,
        start: chain.end(),
        end,
        epoch: chain.epoch(),
        part: part.to_owned(),
    };
    crash_point("checkpoint.before_files");
    // The rows are copied and encoded in turn, table by table; the state stays as it is until this task steps on. What waits for the store is
    // small: the encoded files.
    let (samples, rollups, anomalies, forecasts) = {
        let _turn = turns.take().await;
        let rows = live.lock().state.checkpoint_samples();
        let samples = EncodedFiles::samples(&directory, rows).await?;
        let mut rows = live.lock().state.checkpoint_rollups();
        rows.retain(|row| options.archived_rollups.contains(&row.resolution));
        let rollups = EncodedFiles::rollups(&directory, rows).await?;
        let events = live.lock().state.pending().anomalies.clone();
        let anomalies = EncodedFiles::anomalies(&events).await?;
        let (forecasts, scores) = {
            let live = live.lock();
            let pending = live.state.pending();
            (pending.forecasts.clone(), pending.forecast_scores.clone())
        };
        let forecasts = EncodedFiles::forecasts(forecasts).await?;
        let scores = EncodedFiles::forecast_scores(scores).await?;
        (samples, rollups, anomalies, forecasts.and(scores))
    };
    let mut added = options.archive.store_files(&name("s"), samples).await?;
    crash_point("checkpoint.after_samples");
    added.extend(options.archive.store_files(&name("r"), rollups).await?);
    added.extend(options.archive.store_files(&name("a"), anomalies).await?);
    added.extend(options.archive.store_files(&name("f"), forecasts).await?);
    let removed = rewrite(options, &late, &mut added, &name).await?;
    crash_point("checkpoint.after_files");
    let snapshot: Option<SnapshotRef> = if with_snapshot {
        let bytes = {
            let _turn = turns.take().await;
            live.lock().state.encode()
        };
        let (topic, epoch) = (options.topics.samples(), chain.epoch());
        let put = options
            .archive
            .put_snapshot(&topic, partition, epoch, end, bytes);
        Some(put.await?)
    } else {
        chain.snapshot().cloned()
    };
    crash_point("checkpoint.after_snapshot");
    crash_point("checkpoint.before_link");
    commit(
        chain,
        live,
        NewLink {
            kind: LinkKind::Commit,
            end,
            added,
            removed: removed.clone(),
            counts,
            watermark,
            log_clock,
            snapshot,
        },
    )
    .await?;
    crash_point("checkpoint.after_link");
    Ok(Committed {
        end,
        counts,
        removed,
        with_snapshot,
    })
}

/// Appends a link and shows it to queries in the same moment as the hot rows it covers leave.
async fn commit(chain: &mut Chain, live: &Live, link: NewLink) -> Result<(), PipelineError> {
    let settles = link.kind == LinkKind::Commit;
    chain.append(link).await?;
    let mut live = live.lock();
    live.files = std::sync::Arc::clone(chain.files());
    live.end = chain.end();
    if settles {
        live.state.settle();
    }
    Ok(())
}

/// Appends a link that replaces files without new records.
pub(crate) async fn commit_compaction(
    chain: &mut Chain,
    live: &Live,
    added: Vec<ArchiveFile>,
    removed: Vec<String>,
) -> Result<(), PipelineError> {
    let (watermark, log_clock) = (chain.last().watermark, chain.last().log_clock);
    let (end, snapshot) = (chain.end(), chain.snapshot().cloned());
    let link = NewLink {
        kind: LinkKind::Compaction,
        end,
        added,
        removed,
        counts: Counts::default(),
        watermark,
        log_clock,
        snapshot,
    };
    commit(chain, live, link).await
}

/// What the late samples change in files that are committed already.
#[derive(Default)]
struct Late {
    resolved: Resolved,
    /// Rows that leave a file, by its path.
    samples_gone: BTreeMap<String, HashSet<(SeriesId, Micros)>>,
    rollups_gone: BTreeMap<String, HashSet<(SeriesId, Micros)>>,
    files: HashMap<String, ArchiveFile>,
}

async fn resolve_late(
    options: &PipelineOptions,
    live: &Live,
    files: &[ArchiveFile],
) -> Result<Late, PipelineError> {
    let (spans, directory) = {
        let live = live.lock();
        (live.state.late_spans(), live.state.directory().clone())
    };
    if spans.is_empty() {
        return Ok(Late::default());
    }
    let samples = read_samples(options, files, &directory, &spans).await?;
    let resolved = {
        let values: Vec<ArchivedValue> = samples.iter().map(|(value, _)| *value).collect();
        live.lock().state.resolve_late(&values)
    };
    let mut late = Late::default();
    for (value, path) in &samples {
        if resolved.overwritten.contains(&(value.series, value.time)) {
            let gone = late.samples_gone.entry(path.clone()).or_default();
            gone.insert((directory[value.series as usize].id, value.time));
        }
    }
    if !resolved.changes.is_empty() {
        let raw = read_samples(options, files, &directory, &resolved.spans).await?;
        let values: Vec<ArchivedValue> = raw.into_iter().map(|(value, _)| value).collect();
        let stored = read_rollups(options, files, &directory, &resolved.spans).await?;
        let revisions = stored
            .iter()
            .map(|(key, (revision, _))| (*key, *revision))
            .collect();
        let replaced: BTreeSet<_> = live.lock().state.revise(&resolved, &values, &revisions);
        for key in replaced {
            if let Some((_, path)) = stored.get(&key) {
                late.rollups_gone
                    .entry(path.clone())
                    .or_default()
                    .insert((directory[key.1 as usize].id, key.2));
            }
        }
    }
    let touched: HashSet<&String> = late
        .samples_gone
        .keys()
        .chain(late.rollups_gone.keys())
        .collect();
    late.files = files
        .iter()
        .filter(|file| touched.contains(&file.path))
        .map(|file| (file.path.clone(), file.clone()))
        .collect();
    late.resolved = resolved;
    Ok(late)
}

/// Writes the files anew that lose rows; returns the paths that they replace.
async fn rewrite(
    options: &PipelineOptions,
    late: &Late,
    added: &mut Vec<ArchiveFile>,
    name: &impl Fn(&str) -> FileName,
) -> Result<Vec<String>, PipelineError> {
    let mut removed = Vec::new();
    for (number, (path, gone)) in late
        .samples_gone
        .iter()
        .chain(&late.rollups_gone)
        .enumerate()
    {
        let Some(file) = late.files.get(path) else {
            continue;
        };
        added.extend(
            options
                .archive
                .rewrite_without(&name(&format!("w{number}")), file, gone)
                .await?,
        );
        removed.push(path.clone());
    }
    Ok(removed)
}

fn wanted(directory: &SeriesDirectory, spans: &Spans) -> (Wanted, HashMap<SeriesId, u32>) {
    let series = spans
        .iter()
        .map(|(series, span)| (directory[*series as usize].id, *span))
        .collect();
    let index = spans
        .keys()
        .map(|series| (directory[*series as usize].id, *series))
        .collect();
    (Wanted { series }, index)
}

async fn read_samples(
    options: &PipelineOptions,
    files: &[ArchiveFile],
    directory: &SeriesDirectory,
    spans: &Spans,
) -> Result<Vec<(ArchivedValue, String)>, PipelineError> {
    let (wanted, index) = wanted(directory, spans);
    let files: Vec<ArchiveFile> = files
        .iter()
        .filter(|file| file.table == Table::Samples)
        .cloned()
        .collect();
    let rows = options.archive.read_samples(&files, &wanted).await?;
    let rows = rows.into_iter().filter_map(|row| {
        let series = *index.get(&row.series)?;
        Some((
            ArchivedValue {
                series,
                time: row.time,
                value: row.value,
            },
            files[row.file].path.clone(),
        ))
    });
    Ok(rows.collect())
}

type StoredRollups = HashMap<(Resolution, u32, Micros), (u32, String)>;

async fn read_rollups(
    options: &PipelineOptions,
    files: &[ArchiveFile],
    directory: &SeriesDirectory,
    spans: &Spans,
) -> Result<StoredRollups, PipelineError> {
    let (wanted, index) = wanted(directory, spans);
    let mut stored = StoredRollups::new();
    for resolution in Resolution::ALL {
        let files: Vec<ArchiveFile> = files
            .iter()
            .filter(|file| file.table == Table::Rollups(resolution))
            .cloned()
            .collect();
        for row in options.archive.read_rollups(&files, &wanted).await? {
            if let Some(series) = index.get(&row.series) {
                stored.insert(
                    (resolution, *series, row.start),
                    (row.revision, files[row.file].path.clone()),
                );
            }
        }
    }
    Ok(stored)
}
