//! A saved state that is damaged or gone, made anew from what the chain covers: windows from the archive's samples, and where to read on from its newest link.
//!
//! Only on demand (`rebuild_damaged_states`): an intact copy of the state is better, and a person has to look for it first.
//! `docs/decisions/0038-a-lost-state-is-folded-again.md` has the reasons.

use std::sync::Arc;
use std::time::Instant;

use processors::{PartitionState, Refold};
use schemas::time::SECOND;
use schemas::{ArchiveFile, Micros, Resolution, Table, Watermark};
use sinks::{Chain, Wanted};
use tracing::warn;

use crate::warm_start::files_of;
use crate::{PipelineError, PipelineOptions};

/// Samples that are read for one step, more or less. 4 million: below 200 MB in open windows, and a file of a day is read some tens of times at the most.
const ROWS_PER_STRETCH: u64 = 4_000_000;
/// The shortest stretch: a window.
const WINDOW: Micros = 10 * SECOND;

/// Folds the state of a partition at its chain's end again.
///
/// # Errors
/// Outages (try again), corruption of an archive file that is needed.
pub(crate) async fn rebuild(
    options: &PipelineOptions,
    partition: u32,
    chain: &Chain,
) -> Result<PartitionState, PipelineError> {
    let started = Instant::now();
    let (watermark, log_clock) = (chain.last().watermark, chain.last().log_clock);
    let mut refold = Refold::new(options.processing.clone(), watermark);
    // Before the first record that had a time there is nothing.
    if watermark > Watermark::START {
        fold(options, chain.files(), &mut refold).await?;
    }
    let state = refold.end(log_clock, chain.end());
    warn!(
        partition,
        series = state.directory().len(),
        offset = chain.end().0,
        elapsed_ms = started.elapsed().as_millis() as u64,
        "the saved state was made anew from the archive; forecasts that waited for their time and how often each series alarmed are forgotten"
    );
    Ok(state)
}

async fn fold(
    options: &PipelineOptions,
    files: &[ArchiveFile],
    refold: &mut Refold,
) -> Result<(), PipelineError> {
    let from = refold.from();
    let samples = files_of(files, Table::Samples, from, Micros::MAX);
    for (start, end) in stretches(&samples, from) {
        for file in &samples {
            if file.time_min >= end || file.time_max < start {
                continue;
            }
            let mut batches = options.archive.stream_batches(file, start, end);
            while let Some(batch) = batches.recv().await {
                refold.fold(start, &batch?);
                // Others have work to do between two batches.
                tokio::task::yield_now().await;
            }
        }
    }
    let series = refold.series().map(|id| (id, (from, Micros::MAX)));
    let wanted = Arc::new(Wanted {
        series: series.collect(),
    });
    note_counters(options, files, from, &wanted, refold).await
}

/// Samples don't tell which series count; their rollups do, of which only those have rates.
async fn note_counters(
    options: &PipelineOptions,
    files: &[ArchiveFile],
    from: Micros,
    wanted: &Arc<Wanted>,
    refold: &mut Refold,
) -> Result<(), PipelineError> {
    // From the coarsest, which are fewest and have a rate more often: a single sample has none. Of a young series only the finest is sealed yet.
    for resolution in Resolution::ALL.into_iter().rev() {
        let table = Table::Rollups(resolution);
        // Those of windows that began before and reach into the stretch are of the same series.
        for file in files_of(files, table, from, Micros::MAX) {
            let mut batches = options.archive.stream_rollups(file, wanted);
            while let Some(rows) = batches.recv().await {
                let counters = rows?.into_iter().filter(|row| row.rate.is_some());
                counters.for_each(|row| refold.note_counter(row.series));
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(())
}

/// Cuts the time of files, from a multiple of 10 s on, into stretches of whole windows that have about [`ROWS_PER_STRETCH`] samples if these are spread evenly;
/// oldest first, none where there is nothing.
fn stretches(files: &[&ArchiveFile], from: Micros) -> Vec<(Micros, Micros)> {
    let Some(last) = files.iter().map(|file| file.time_max).max() else {
        return Vec::new();
    };
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let first = files.iter().map(|file| file.time_min).min();
    let start = first.map_or(from, |first| {
        Resolution::TenSeconds.window(first.max(from)).start
    });
    let count = i64::try_from(rows.div_ceil(ROWS_PER_STRETCH)).unwrap_or(i64::MAX);
    let width = ((last - start) / count.max(1) / WINDOW + 1) * WINDOW;
    let starts = (start..=last).step_by(usize::try_from(width).unwrap_or(usize::MAX));
    starts
        .map(|start| (start, start.saturating_add(width)))
        .collect()
}

#[cfg(test)]
mod tests {
    use schemas::time::DAY;

    use super::*;

    fn file(rows: u64, time_min: Micros, time_max: Micros) -> ArchiveFile {
        ArchiveFile {
            path: String::new(),
            table: Table::Samples,
            size: 1,
            sha256: String::new(),
            rows,
            time_min,
            time_max,
            metric_min: String::new(),
            metric_max: String::new(),
        }
    }

    #[test]
    fn stretches_hold_all_from_a_time_on_in_whole_windows() {
        assert_eq!(stretches(&[], DAY), []);
        let few = file(10, DAY + 3, DAY + 25 * SECOND);
        assert_eq!(stretches(&[&few], 0), [(DAY, DAY + 3 * WINDOW)]);
        let one = file(10 * ROWS_PER_STRETCH, DAY + 5, DAY + 5);
        assert_eq!(stretches(&[&one], 0), [(DAY, DAY + WINDOW)]);
        let (many, old) = (
            file(10 * ROWS_PER_STRETCH, DAY, 2 * DAY),
            file(1, 5, DAY + 1),
        );
        let cut = stretches(&[&many, &old], DAY - WINDOW);
        assert_eq!(cut.len(), 11);
        assert_eq!(cut[0].0, DAY - WINDOW);
        assert!(cut.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert!(
            cut.iter()
                .all(|(start, end)| start % WINDOW == 0 && end % WINDOW == 0)
        );
        assert!(cut[10].0 <= 2 * DAY && cut[10].1 > 2 * DAY);
    }
}
