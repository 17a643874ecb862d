//! Collects at every tick and publishes; an outage of the log delays samples, and loses them only after the backlog is full, counted.

use std::sync::Arc;
use std::time::Duration;

use schemas::Micros;
use tokio_util::sync::CancellationToken;

use super::HostCollector;
use super::backlog::{Backlog, Collection};
use crate::counters::{IngestCounters, Intake, add};
use crate::door::{Batcher, Publisher};

/// How much waits while the log is away. 16 MiB: some 2,000 collections, more than five hours at one per 10 s.
const BACKLOG_BYTES_MAX: usize = 16 * 1024 * 1024;
/// For the label sets of one host.
const MEMO_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More than any host has.
const COLLECTION_SAMPLES_MAX: usize = 200_000;
/// Wait after the first failed publication; doubled at each further one, up to the longest.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(250);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long the last publications may take once the end was asked for.
const FAREWELL_MAX: Duration = Duration::from_secs(3);

impl HostCollector {
    /// Collects at every multiple of `interval` (≥ 1 ms) since 1970 until cancelled; then publishes what waits, for at most 3 s.
    pub async fn run(
        self,
        interval: Duration,
        publisher: Publisher,
        counters: Arc<IngestCounters>,
        cancellation: CancellationToken,
    ) {
        let backlog = Backlog::new(BACKLOG_BYTES_MAX);
        let collecting = collect(
            self,
            interval,
            publisher.partitions(),
            &backlog,
            &counters,
            &cancellation,
        );
        let publishing = publish(&backlog, &publisher, &counters);
        tokio::pin!(publishing);
        tokio::select! {
            () = collecting => {}
            () = &mut publishing => {}
        }
        let farewell = async {
            tokio::select! {
                () = &mut publishing => {}
                () = emptied(&backlog) => {}
            }
        };
        if tokio::time::timeout(FAREWELL_MAX, farewell).await.is_err() {
            let lost = backlog.samples();
            add(&counters.of(Intake::Host).dropped_samples, lost);
            tracing::warn!(
                samples = lost,
                "the log is away; the last collected samples are lost with this process"
            );
        }
    }
}

async fn emptied(backlog: &Backlog) {
    while !backlog.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The first tick after `now`.
pub(super) fn next_tick(now: Micros, interval: Micros) -> Micros {
    (now.div_euclid(interval) + 1) * interval
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

/// Publishes the oldest collection again and again until the log takes it. Never ends.
async fn publish(backlog: &Backlog, publisher: &Publisher, counters: &IngestCounters) {
    let counters = counters.of(Intake::Host);
    let mut wait = RETRY_WAIT_MIN;
    loop {
        let collection = backlog.oldest().await;
        match publisher.publish(collection.records.clone()).await {
            Ok(published) => {
                add(&counters.accepted_samples, published.samples);
                backlog.remove(&collection);
                wait = RETRY_WAIT_MIN;
            }
            Err(error) => {
                add(&counters.failures, 1);
                tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "collected samples wait for the log");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
        }
    }
}
