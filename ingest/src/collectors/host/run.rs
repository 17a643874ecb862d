//! Collects at every tick and publishes; an outage of the log delays samples, and loses them only after the backlog is full, counted.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::HostCollector;
use crate::backlog::{Backlog, Collection, next_tick, publish_while};
use crate::counters::{IngestCounters, Intake, add};
use crate::door::{Batcher, Publisher};

/// For the label sets of one host.
const MEMO_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More than any host has.
const COLLECTION_SAMPLES_MAX: usize = 200_000;

impl HostCollector {
    /// Collects at every multiple of `interval` (≥ 1 ms) since 1970 until cancelled; then publishes what waits, for at most 3 s.
    pub async fn run(
        self,
        interval: Duration,
        publisher: Publisher,
        counters: Arc<IngestCounters>,
        cancellation: CancellationToken,
    ) {
        let backlog = Backlog::default();
        let partitions = publisher.partitions();
        let collecting = |backlog| {
            collect(
                self,
                interval,
                partitions,
                backlog,
                &counters,
                &cancellation,
            )
        };
        publish_while(collecting, &backlog, &publisher, &counters, Intake::Host).await;
    }
}

async fn collect(
    mut collector: HostCollector,
    interval: Duration,
    partitions: u32,
    backlog: &Backlog,
    counters: &IngestCounters,
    cancellation: &CancellationToken,
) {
    let interval = i64::try_from(interval.as_micros())
        .unwrap_or(i64::MAX)
        .clamp(1000, 86_400_000_000);
    let counters = counters.of(Intake::Host);
    let mut door = Batcher::new(partitions, MEMO_BYTES_MAX, COLLECTION_SAMPLES_MAX);
    loop {
        // Asked anew each time: the wall clock may have been set, and a slow collection skips ticks instead of piling up.
        let now = jiff::Timestamp::now().as_microsecond();
        let tick = next_tick(now, interval);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_micros((tick - now).unsigned_abs())) => {}
            () = cancellation.cancelled() => return,
        }
        add(&counters.requests, 1);
        let work = tokio::task::spawn_blocking(move || {
            let collected = collector.collect_records(tick, &mut door);
            (collector, door, collected)
        });
        let collected = match work.await {
            Ok((returned, returned_door, collected)) => {
                (collector, door) = (returned, returned_door);
                collected
            }
            Err(error) => {
                tracing::error!(%error, "the host collector failed and stops");
                return;
            }
        };
        match collected {
            Ok((records, rejected)) => {
                add(&counters.rejected_samples, rejected as usize);
                let dropped = backlog.add(Collection { records });
                if dropped > 0 {
                    add(&counters.dropped_samples, dropped);
                    tracing::warn!(
                        samples = dropped,
                        "the log has been away too long; the oldest collected samples were dropped"
                    );
                }
            }
            Err(error) => tracing::error!(%error, "a collection could not be encoded and is lost"),
        }
    }
}
