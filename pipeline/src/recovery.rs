//! From nothing but the chain to a running partition: claim, sweep, restore, learn the past, and where to read on.

use std::sync::Arc;

use bus::{BusError, PartitionReader, crash_point};
use processors::PartitionState;
use schemas::{Fault, HasCode, HasFault, NextOffset, SnapshotRef};
use sinks::Chain;
use tracing::{info, warn};

use crate::live::Live;
use crate::rebuild::rebuild;
use crate::warm_start::learn_past;
use crate::{PipelineError, PipelineOptions};

/// A partition that is ours and ready to read.
pub(crate) struct Recovered {
    pub(crate) chain: Chain,
    pub(crate) live: Arc<Live>,
    pub(crate) reader: Box<dyn PartitionReader>,
}

/// Takes a partition over: an older owner's next link fails from here on.
///
/// # Errors
/// Outages (try again), a gap in the log or a chain of another log (a person must decide), corruption.
pub(crate) async fn recover(
    options: &PipelineOptions,
    partition: u32,
) -> Result<Recovered, PipelineError> {
    let topic = options.topics.samples();
    let log_id = options.bus.log_id(&topic).await?;
    crash_point("claim.before_link");
    let mut chain =
        Chain::claim(&options.archive, &topic, partition, &log_id, &options.owner).await?;
    crash_point("claim.after_link");
    // A log that was restored from a copy, or lost its end, gives offsets that the archive has already to new records: they would be taken for
    // what is committed, and be lost.
    let held = options.bus.retained(&topic, partition).await?;
    if held.end < chain.end() {
        return Err(PipelineError::Bus(BusError::OutOfRange {
            topic,
            partition,
            asked: chain.end().0,
            start: held.start.0,
            end: held.end.0,
        }));
    }
    let swept = options
        .archive
        .sweep(
            &topic,
            partition,
            chain.epoch(),
            chain.files(),
            chain.snapshot(),
        )
        .await?;
    crash_point("claim.after_sweep");

    let mut rebuilt = false;
    let mut state = match chain.snapshot() {
        Some(at) => match restore(options, partition, at).await {
            Ok(state) => state,
            Err(error) if error.fault() != Fault::Corruption => return Err(error),
            Err(error) if !options.rebuild_damaged_states => {
                return Err(PipelineError::DamagedState(Box::new(error)));
            }
            Err(error) => {
                warn!(partition, %error, code = error.code().id, "the saved state is damaged, and is made anew");
                let state = rebuild(options, partition, &chain).await?;
                // Else the next claim would remove it with what a crash leaves.
                options.archive.set_aside(&at.path).await?;
                rebuilt = true;
                state
            }
        },
        // The first commit carries a snapshot, so without one nothing is committed: begin where the log does.
        None if chain.end() == NextOffset(0) => {
            let start = options.bus.retained(&topic, partition).await?.start;
            if start > NextOffset(0) {
                warn!(
                    partition,
                    offset = start.0,
                    "the log's beginning was removed before this partition was first claimed"
                );
            }
            PartitionState::new(options.processing.clone()).with_next_offset(start)
        }
        None => {
            let detail = format!(
                "partition {partition} is committed up to {:?} without a snapshot",
                chain.end()
            );
            return Err(PipelineError::Invariant {
                invariant: "INV-CHAIN",
                detail,
            });
        }
    };
    learn_past(options, partition, &mut chain, &mut state, rebuilt).await?;
    let partitions = options.bus.partitions(&topic).await?;
    let state = state
        .with_place(partition, partitions)
        .with_committed_until(chain.end());
    let from = state.next_offset();
    let reader = options.bus.reader(&topic, partition, from).await?;
    info!(
        partition,
        epoch = chain.epoch(),
        snapshot_offset = from.0,
        committed_offset = chain.end().0,
        swept_files = swept,
        "partition claimed"
    );
    let live = Arc::new(Live::new(state, Arc::clone(chain.files()), chain.end()));
    Ok(Recovered {
        chain,
        live,
        reader,
    })
}

/// Reads the saved state.
async fn restore(
    options: &PipelineOptions,
    partition: u32,
    at: &SnapshotRef,
) -> Result<PartitionState, PipelineError> {
    let bytes = options.archive.get_snapshot(at).await?;
    let state = PartitionState::decode(&bytes, options.processing.clone())?;
    if let Some(version) = PartitionState::foreign_lessons(&bytes) {
        warn!(
            partition,
            version,
            "what detectors and forecasts have learned was saved by another version of tidewatch; it is left out, and learned anew from the archive"
        );
    }
    if state.next_offset() != at.next_offset {
        let detail = format!(
            "snapshot of partition {partition} holds offset {:?}, its link says {:?}",
            state.next_offset(),
            at.next_offset
        );
        return Err(PipelineError::Invariant {
            invariant: "INV-REPLAY",
            detail,
        });
    }
    Ok(state)
}
