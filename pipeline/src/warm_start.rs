//! Warm start: lets detectors, forests and forecasts that were off learn their past from the archive, before the first record is stepped over.
//!
//! What was learned is saved by a link of its own before anything follows from it. So a crash before that link leaves nothing behind, and after it
//! every recovery begins with the same state: no event depends on how often the archive was read, or when.
//! `docs/decisions/0024-detectors-learn-the-past-before-the-first-step.md` has the reasons.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bus::crash_point;
use processors::{PartitionState, PastLearner, PastWindow, Unlearned};
use schemas::{ArchiveFile, Counts, LinkKind, Micros, Resolution, SeriesId, Table};
use sinks::{ArchivedRollup, ArchivedSample, Chain, NewLink, Wanted};
use tracing::{info, warn};

use crate::{PipelineError, PipelineOptions};

mod minutes;

/// Rows of a table that are read at most, the newest first; files are taken whole. 50 million take about half a minute.
const ROWS_MAX: u64 = 50_000_000;

/// The resolutions that tell of the past, the best first: five minutes tell of each hour and are thirty times fewer than samples.
const RESOLUTIONS: [Resolution; 4] = [
    Resolution::FiveMinutes,
    Resolution::Minute,
    Resolution::TenSeconds,
    Resolution::Hour,
];

/// Learns what a partition lacks of the past, if anything, and makes it part of the chain; a state that was `rebuilt` also where there is nothing to learn.
///
/// # Errors
/// Outages (try again from the claim on), corruption of an archive file.
pub(crate) async fn learn_past(
    options: &PipelineOptions,
    partition: u32,
    chain: &mut Chain,
    state: &mut PartitionState,
    rebuilt: bool,
) -> Result<(), PipelineError> {
    let unlearned = match state.unlearned() {
        Some(unlearned) => unlearned,
        None if rebuilt => Unlearned::default(),
        None => return Ok(()),
    };
    let started = Instant::now();
    let series = unlearned.until.len();
    let lacks = unlearned.minutes;
    let learned = read_past(options, chain.files(), state, unlearned).await?;
    let minutes = match lacks {
        Some(lacks) => minutes::read(options, chain.files(), state, lacks).await?,
        None => 0,
    };
    crash_point("warm_start.after_past");
    if learned + minutes == 0 && !rebuilt {
        return Ok(());
    }
    let next = state.next_offset();
    let (topic, epoch) = (options.topics.samples(), chain.epoch());
    let bytes = state.encode();
    let put = options
        .archive
        .put_snapshot(&topic, partition, epoch, next, bytes);
    let snapshot = Some(put.await?);
    crash_point("warm_start.after_snapshot");
    let (watermark, log_clock) = (chain.last().watermark, chain.last().log_clock);
    let before = chain.snapshot().map(|at| at.path.clone());
    let link = NewLink {
        kind: LinkKind::Commit,
        end: chain.end(),
        added: Vec::new(),
        removed: Vec::new(),
        counts: Counts::default(),
        watermark,
        log_clock,
        snapshot,
    };
    chain.append(link).await?;
    crash_point("warm_start.after_link");
    if !rebuilt {
        let before: Vec<String> = before.into_iter().collect();
        options.archive.delete_files(&before).await?;
    }
    let elapsed_ms = started.elapsed().as_millis() as u64;
    info!(
        partition,
        series, learned, minutes, elapsed_ms, "the past was learned from the archive"
    );
    Ok(())
}

/// Feeds the past to a state; returns how many values were learned.
async fn read_past(
    options: &PipelineOptions,
    files: &[ArchiveFile],
    state: &mut PartitionState,
    unlearned: Unlearned,
) -> Result<u64, PipelineError> {
    let Unlearned {
        until,
        from,
        samples_from,
        minutes: _,
    } = unlearned;
    if until.is_empty() {
        return Ok(0);
    }
    let mut learner = PastLearner::new(state);
    let windows = wanted(&until, from, samples_from - 1);
    let has = |resolution: &Resolution| {
        let table = Table::Rollups(*resolution);
        files.iter().any(|file| file.table == table)
    };
    if let Some(resolution) = RESOLUTIONS.into_iter().find(has) {
        let table = Table::Rollups(resolution);
        for file in past_files(files, table, from, samples_from - 1) {
            let mut batches = options.archive.stream_rollups(file, &windows);
            while let Some(rows) = batches.recv().await {
                rows?
                    .iter()
                    .for_each(|row| learner.window(row.series, window_of(row)));
                // Others have work to do between two batches.
                tokio::task::yield_now().await;
            }
        }
    }
    let samples = wanted(&until, samples_from.max(from), Micros::MAX);
    for file in past_files(files, Table::Samples, samples_from.max(from), Micros::MAX) {
        let mut batches = options.archive.stream_samples(file, &samples);
        while let Some(rows) = batches.recv().await {
            for ArchivedSample {
                series,
                time,
                value,
                ..
            } in rows?
            {
                learner.sample(series, time, value);
            }
            tokio::task::yield_now().await;
        }
    }
    Ok(learner.end())
}

fn window_of(row: &ArchivedRollup) -> PastWindow {
    PastWindow {
        start: row.start,
        count: row.count,
        mean: row.sum / row.count as f64,
        last: row.last,
        rate: row.rate,
    }
}

/// The stretch of each series from `from` to its newest sample, at most `to`.
fn wanted(until: &HashMap<SeriesId, Micros>, from: Micros, to: Micros) -> Arc<Wanted> {
    let stretches = until.iter();
    let series = stretches
        .map(|(series, last)| (*series, (from, to.min(*last))))
        .collect();
    Arc::new(Wanted { series })
}

/// The files of a table with rows between two times, both inclusive, in the order of their times.
pub(crate) fn files_of(
    files: &[ArchiveFile],
    table: Table,
    from: Micros,
    to: Micros,
) -> Vec<&ArchiveFile> {
    let mut found: Vec<&ArchiveFile> = files
        .iter()
        .filter(|file| file.table == table && file.time_min <= to && from <= file.time_max)
        .collect();
    found.sort_by(|a, b| {
        let oldest = (a.time_min, a.time_max).cmp(&(b.time_min, b.time_max));
        oldest.then_with(|| b.path.cmp(&a.path))
    });
    found
}

/// As [`files_of`]; of more rows than [`ROWS_MAX`], the newest.
fn past_files(files: &[ArchiveFile], table: Table, from: Micros, to: Micros) -> Vec<&ArchiveFile> {
    let mut past = files_of(files, table, from, to);
    past.reverse();
    let mut rows = 0;
    let fitting = past.iter().take_while(|file| {
        rows += file.rows;
        rows <= ROWS_MAX
    });
    let fitting = fitting.count();
    if fitting < past.len() {
        warn!(
            table = table.name(),
            files = past.len() - fitting,
            "the past is too long to be learned in whole; its oldest files are left out"
        );
    }
    past.truncate(fitting);
    past.reverse();
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_files_that_fit_are_read_in_the_order_of_time() {
        let file = |name: &str, time: Micros, rows: u64, table: Table| ArchiveFile {
            path: name.to_owned(),
            table,
            size: 1,
            sha256: String::new(),
            rows,
            time_min: time,
            time_max: time + 9,
            metric_min: String::new(),
            metric_max: String::new(),
        };
        let files = [
            file("d", 30, 10, Table::Samples),
            file("a", 0, ROWS_MAX, Table::Samples),
            file("x", 10, 10, Table::Anomalies),
            file("c", 20, ROWS_MAX - 20, Table::Samples),
            file("b", 10, 20, Table::Samples),
        ];
        let read = |from, to| -> Vec<&str> {
            let past = past_files(&files, Table::Samples, from, to);
            past.iter().map(|file| file.path.as_str()).collect()
        };
        assert_eq!(read(20, 100), ["c", "d"]);
        assert_eq!(read(19, 29), ["b", "c"], "both ends are part of it");
        assert_eq!(read(0, 100), ["c", "d"], "a third one is too many rows");
        assert_eq!(read(0, 9), ["a"]);
        assert!(read(40, 100).is_empty());
    }
}
