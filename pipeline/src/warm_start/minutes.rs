//! Reads the past of all series together, minute by minute, for the forests of resources and the groups of siblings.
//!
//! Files are sorted by series. So a stretch of minutes that fits memory is read from all of its files, then learned in the order of time; then the next.
//! A file of a whole day is read once for each stretch of the day: rows that are not wanted cost their time and series alone.

use std::collections::HashMap;
use std::sync::Arc;

use processors::{MinuteLearner, PartitionState};
use schemas::time::{HOUR, MINUTE};
use schemas::{ArchiveFile, Micros, Resolution, SeriesId, Table, Window};
use sinks::Wanted;
use tracing::warn;

use super::{ROWS_MAX, files_of, window_of};
use crate::{PipelineError, PipelineOptions};

/// What tells of a minute, the cheapest first. Longer windows don't: their means are calmer than those of minutes, and it is restlessness that is learned.
const SOURCES: [Table; 3] = [
    Table::Rollups(Resolution::Minute),
    Table::Rollups(Resolution::TenSeconds),
    Table::Samples,
];

/// Feeds the minutes that a state lacks to it; returns how many minutes of series were learned.
pub(super) async fn read(
    options: &PipelineOptions,
    files: &[ArchiveFile],
    state: &mut PartitionState,
    lacks: Window,
) -> Result<u64, PipelineError> {
    let ids: Vec<SeriesId> = state.directory().iter().map(|series| series.id).collect();
    let Some(source) = source_of(files, lacks) else {
        return Ok(0);
    };
    let per_minute = match source {
        Table::Rollups(resolution) => ids.len() as u64 * (MINUTE / resolution.micros()) as u64,
        _ => state.samples_per_minute(),
    };
    let fits = newest_that_fit(lacks, per_minute);
    if fits != lacks {
        let left_out = (fits.start - lacks.start) / MINUTE;
        warn!(
            minutes = left_out,
            "the past across series is too long to be learned in whole; its oldest minutes are left out"
        );
    }
    let mut learner = MinuteLearner::new(state);
    for stretch in stretches(fits, ids.len()) {
        learner.begin(stretch);
        let (from, to) = (stretch.start, stretch.end - 1);
        let series: HashMap<_, _> = ids.iter().map(|id| (*id, (from, to))).collect();
        let wanted = Arc::new(Wanted { series });
        for file in files_of(files, source, from, to) {
            read_file(options, file, &wanted, &mut learner).await?;
        }
        while learner.learn_minute() {
            // Others have work to do between two minutes.
            tokio::task::yield_now().await;
        }
    }
    Ok(learner.end())
}

async fn read_file(
    options: &PipelineOptions,
    file: &ArchiveFile,
    wanted: &Arc<Wanted>,
    learner: &mut MinuteLearner<'_>,
) -> Result<(), PipelineError> {
    if file.table == Table::Samples {
        let mut batches = options.archive.stream_samples(file, wanted);
        while let Some(rows) = batches.recv().await {
            rows?
                .iter()
                .for_each(|row| learner.sample(row.series, row.time, row.value));
            tokio::task::yield_now().await;
        }
        return Ok(());
    }
    let mut batches = options.archive.stream_rollups(file, wanted);
    while let Some(rows) = batches.recv().await {
        rows?
            .iter()
            .for_each(|row| learner.window(row.series, window_of(row)));
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The table that tells of these minutes best: the cheapest that reaches as far as any, an hour more or less. An archive that keeps no rollups of minutes, or
/// had them once, ends with samples.
fn source_of(files: &[ArchiveFile], lacks: Window) -> Option<Table> {
    let reach = |table: Table| {
        let last = files_of(files, table, lacks.start, lacks.end - 1);
        let last = last.iter().map(|file| file.time_max).max()?;
        Some(Resolution::Minute.window(last.min(lacks.end - HOUR)).start)
    };
    let furthest = SOURCES.into_iter().filter_map(reach).max()?;
    SOURCES
        .into_iter()
        .find(|table| reach(*table) == Some(furthest))
}

/// The newest of these minutes that have [`ROWS_MAX`] rows together, at `per_minute` rows each; at least one.
fn newest_that_fit(lacks: Window, per_minute: u64) -> Window {
    let minutes = (ROWS_MAX / per_minute.max(1)).max(1);
    let reach =
        Micros::try_from(minutes).map_or(Micros::MAX, |minutes| minutes.saturating_mul(MINUTE));
    Window {
        start: lacks.start.max(lacks.end.saturating_sub(reach)),
        ..lacks
    }
}

/// Cuts minutes into stretches that fit a learner's memory, oldest first; at least a minute each.
fn stretches(minutes: Window, series: usize) -> impl Iterator<Item = Window> {
    let most = (MinuteLearner::CELLS_MAX / series.max(1)).max(1);
    let width = most as Micros * MINUTE;
    let mut start = minutes.start;
    std::iter::from_fn(move || {
        let end = start.saturating_add(width).min(minutes.end);
        let stretch = Window { start, end };
        start = end;
        (stretch.start < stretch.end).then_some(stretch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Window = Window {
        start: 100 * MINUTE,
        end: 2_980 * MINUTE,
    };

    #[test]
    fn minutes_are_cut_without_gaps_into_what_fits() {
        for series in [0, 1, 3_000, MinuteLearner::CELLS_MAX, usize::MAX] {
            let cut: Vec<Window> = stretches(MINUTES, series).collect();
            assert_eq!(cut.first().map(|first| first.start), Some(MINUTES.start));
            assert_eq!(cut.last().map(|last| last.end), Some(MINUTES.end));
            assert!(cut.windows(2).all(|pair| pair[0].end == pair[1].start));
            let cells = |stretch: &Window| {
                let minutes = ((stretch.end - stretch.start) / MINUTE) as usize;
                minutes == 1 || minutes * series <= MinuteLearner::CELLS_MAX
            };
            assert!(cut.iter().all(cells), "{series}");
        }
        assert_eq!(stretches(MINUTES, 3_000).count(), 3);
    }

    #[test]
    fn of_too_many_minutes_the_newest_are_read() {
        assert_eq!(newest_that_fit(MINUTES, 1_000), MINUTES);
        assert_eq!(newest_that_fit(MINUTES, 0), MINUTES);
        let fits = newest_that_fit(MINUTES, ROWS_MAX / 60);
        assert_eq!((fits.start, fits.end), (2_920 * MINUTE, MINUTES.end));
        let fits = newest_that_fit(MINUTES, u64::MAX);
        assert_eq!(fits.start, MINUTES.end - MINUTE);
    }

    #[test]
    fn the_cheapest_table_that_reaches_the_end_tells_of_minutes() {
        let file = |table: Table, from: i64, to: i64| ArchiveFile {
            path: format!("{}-{from}", table.name()),
            table,
            size: 1,
            sha256: String::new(),
            rows: 1,
            time_min: from * MINUTE,
            time_max: to * MINUTE,
            metric_min: String::new(),
            metric_max: String::new(),
        };
        let (minutes, tens) = (
            Table::Rollups(Resolution::Minute),
            Table::Rollups(Resolution::TenSeconds),
        );
        let samples = file(Table::Samples, 0, 5_000);
        let source = |others: &[ArchiveFile]| {
            let files = [others, std::slice::from_ref(&samples)].concat();
            source_of(&files, MINUTES)
        };
        assert_eq!(source(&[]), Some(Table::Samples));
        let all = [file(tens, 0, 3_000), file(minutes, 0, 2_920)];
        assert_eq!(source(&all), Some(minutes));
        let until_once = [file(tens, 0, 3_000), file(minutes, 0, 1_000)];
        assert_eq!(source(&until_once), Some(tens));
        assert_eq!(source(&[file(minutes, 3_000, 4_000)]), Some(Table::Samples));
        assert_eq!(source_of(&[], MINUTES), None);
    }
}
