//! The task of one partition: read, step, publish, flush, and a checkpoint when it is due. One task, one owner, no parallel writers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{LogRecord, PartitionReader, Record, crash_point};
use bytes::Bytes;
use schemas::{
    Counts, Fault, Guests, HasCode, HasFault, NextOffset, SampleBatch, decode_verdict, topics,
};
use sinks::{Chain, FileName, compaction};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::checkpoint::{checkpoint, commit_compaction};
use crate::guests::GuestPost;
use crate::live::Live;
use crate::publish::{dead_letter, publish_anomalies, publish_forecasts};
use crate::recovery::{Recovered, recover};
use crate::turns::Turns;
use crate::{PipelineError, PipelineOptions, ScoreSink};
use said::Said;

/// Bytes of records taken per turn. 2 MiB: some 50,000 samples, about 20 ms of work, so a query or a shutdown never waits long.
const TURN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How often due work is looked for.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// How long a tick may take to be appended. A log that is away must not hold up checkpoints; the next tick says as much as this one.
const TICK_TIME_MAX: Duration = Duration::from_secs(2);
/// A partition that only hears ticks commits its progress this often, so that the log can be trimmed without a link per tick.
const IDLE_COMMIT_INTERVAL: Duration = Duration::from_secs(600);

/// Figures of a partition that outlive its task.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// When a checkpoint was last made.
    pub(crate) checkpoint_at: Mutex<Option<Instant>>,
    /// When the task last came round to look for work; `None` while it is not at work.
    pub(crate) turned_at: Mutex<Option<Instant>>,
    pub(crate) counts: Mutex<Counts>,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) anomalies: AtomicU64,
    pub(crate) forecasts: AtomicU64,
    pub(crate) guests: AtomicU64,
}

impl Totals {
    fn turned(&self, at: Option<Instant>) {
        *self
            .turned_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// Runs a partition until it is cancelled (then with a last checkpoint) or can't go on.
///
/// # Errors
/// `PipelineError`; by its fault the supervisor starts it again or not.
pub(crate) async fn run(
    options: &PipelineOptions,
    scores: Option<ScoreSink>,
    partition: u32,
    totals: &Totals,
    turns: &Turns,
    cancel: &CancellationToken,
    on_ready: impl FnOnce(Arc<Live>),
) -> Result<(), PipelineError> {
    totals.turned(None);
    let recovered = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(()),
        recovered = recover(options, partition) => recovered?,
    };
    on_ready(Arc::clone(&recovered.live));
    PartitionTask::new(options, scores, partition, totals, turns, recovered)
        .run(cancel)
        .await
}

struct PartitionTask<'a> {
    options: &'a PipelineOptions,
    scores: Option<ScoreSink>,
    partition: u32,
    totals: &'a Totals,
    turns: &'a Turns,
    chain: Chain,
    live: Arc<Live>,
    reader: Box<dyn PartitionReader>,
    /// So many pending rollups, anomalies, forecasts are out already.
    flushed_rollups: usize,
    published_anomalies: usize,
    published_forecasts: usize,
    guest_post: GuestPost,
    last_commit: Instant,
    last_snapshot: Instant,
    /// How many series the last snapshot holds.
    saved_series: usize,
    last_compaction: Instant,
    last_record: Instant,
    /// Whether the last tick found no way into the log, so that it is told once.
    tick_failed: bool,
    said: Said,
    /// Files that a link replaced, kept for a while for those who listed them before.
    replaced: Vec<(Instant, String)>,
}

impl<'a> PartitionTask<'a> {
    fn new(
        options: &'a PipelineOptions,
        scores: Option<ScoreSink>,
        partition: u32,
        totals: &'a Totals,
        turns: &'a Turns,
        recovered: Recovered,
    ) -> Self {
        let Recovered {
            chain,
            live,
            reader,
        } = recovered;
        let now = Instant::now();
        let saved_series = live.lock().state.directory().len();
        PartitionTask {
            options,
            scores,
            partition,
            totals,
            turns,
            chain,
            live,
            reader,
            flushed_rollups: 0,
            published_anomalies: 0,
            published_forecasts: 0,
            guest_post: GuestPost::default(),
            last_commit: now,
            last_snapshot: now,
            saved_series,
            last_compaction: now,
            last_record: now,
            tick_failed: false,
            said: Said::default(),
            replaced: Vec::new(),
        }
    }

    async fn run(mut self, cancel: &CancellationToken) -> Result<(), PipelineError> {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.totals.turned(Some(Instant::now()));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.finish().await,
                _ = heartbeat.tick() => self.do_what_is_due().await?,
                records = self.reader.next(TURN_BYTES_MAX) => self.take(records?).await?,
            }
        }
    }

    /// Steps over records, then hands out what they brought.
    async fn take(&mut self, records: Vec<LogRecord>) -> Result<(), PipelineError> {
        self.last_record = Instant::now();
        for record in &records {
            let log_time = record.append_time_ms.saturating_mul(1000);
            let log_clock = self.live.lock().state.log_clock();
            self.said.clock(self.partition, log_clock, log_time);
            match record
                .header(topics::HEADER_FORMAT)
                .map(|format| &format[..])
            {
                Some(topics::FORMAT_TICK) => {
                    let state = &mut self.live.lock().state;
                    state.step_empty(record.offset, log_time, false);
                    continue;
                }
                Some(topics::FORMAT_END) => {
                    self.live.lock().state.step_end(record.offset, log_time);
                    continue;
                }
                Some(topics::FORMAT_GUESTS) => {
                    match Guests::decode(&record.value) {
                        Ok(guests) => {
                            let state = &mut self.live.lock().state;
                            state.step_guests(record.offset, log_time, &guests);
                        }
                        Err(error) => self.set_aside(record, &error).await?,
                    }
                    continue;
                }
                Some(topics::FORMAT_VERDICT) => {
                    match decode_verdict(&record.value) {
                        Ok(verdict) => {
                            let state = &mut self.live.lock().state;
                            state.step_verdict(record.offset, log_time, verdict);
                        }
                        Err(error) => self.set_aside(record, &error).await?,
                    }
                    continue;
                }
                _ => {}
            }
            match SampleBatch::decode(&record.value) {
                Ok(batch) => {
                    let mut live = self.live.lock();
                    let next = live.state.next_offset();
                    if record.offset.next() <= next {
                        let detail = format!(
                            "partition {}: read offset {} again after {}",
                            self.partition, record.offset.0, next.0
                        );
                        return Err(PipelineError::Invariant {
                            invariant: "INV-ONCE",
                            detail,
                        });
                    }
                    match self.scores.clone() {
                        None => live.state.step(record.offset, log_time, &batch),
                        Some(sink) => {
                            let mut scored = Vec::with_capacity(batch.rows());
                            let state = &mut live.state;
                            state.step_scored(record.offset, log_time, &batch, |score| {
                                scored.push(score);
                            });
                            drop(live);
                            sink(self.partition, &scored);
                        }
                    }
                }
                Err(error) => self.set_aside(record, &error).await?,
            }
        }
        self.hand_out().await?;
        if self.live.lock().state.pending_samples() >= self.options.checkpoint.samples_max {
            self.commit(false).await?;
        }
        Ok(())
    }

    /// Steps over a record that can't be decoded, which goes to the dead letters.
    async fn set_aside(
        &mut self,
        record: &LogRecord,
        error: &(impl HasCode + std::fmt::Display + Sync),
    ) -> Result<(), PipelineError> {
        // A record below the chain's end was set aside when it was first read.
        if !self.live.lock().state.is_replaying() {
            warn!(partition = self.partition, offset = record.offset.0, %error, code = error.code().id, "record goes to the dead letters");
            dead_letter(
                &*self.options.bus,
                &self.options.topics,
                self.partition,
                record,
                &error.to_string(),
            )
            .await?;
        }
        let log_time = record.append_time_ms.saturating_mul(1000);
        let state = &mut self.live.lock().state;
        state.step_empty(record.offset, log_time, true);
        Ok(())
    }

    /// Publishes new anomalies and forecasts, tells other partitions of siblings, and flushes newly sealed rollups to the aggregate store.
    async fn hand_out(&mut self) -> Result<(), PipelineError> {
        let (anomalies, forecasts, sealed) = {
            let live = self.live.lock();
            let pending = live.state.pending();
            // All were reset together with the pending rows by a step that replays.
            self.published_anomalies = self.published_anomalies.min(pending.anomalies.len());
            self.published_forecasts = self.published_forecasts.min(pending.forecasts.len());
            self.flushed_rollups = self.flushed_rollups.min(pending.rollups.len());
            (
                pending.anomalies[self.published_anomalies..].to_vec(),
                pending.forecasts[self.published_forecasts..].to_vec(),
                pending.rollups.len() > self.flushed_rollups,
            )
        };
        let source = format!("/{}/{}", self.options.topics.samples(), self.partition);
        publish_anomalies(
            &*self.options.bus,
            &self.options.topics,
            self.partition,
            &source,
            &anomalies,
        )
        .await?;
        self.published_anomalies += anomalies.len();
        self.totals
            .anomalies
            .fetch_add(anomalies.len() as u64, Ordering::Relaxed);
        publish_forecasts(
            &*self.options.bus,
            &self.options.topics,
            self.partition,
            &source,
            &forecasts,
        )
        .await?;
        self.published_forecasts += forecasts.len();
        self.totals
            .forecasts
            .fetch_add(forecasts.len() as u64, Ordering::Relaxed);
        self.guest_post
            .send_verdicts(self.options, &self.live)
            .await?;
        let guests = self
            .guest_post
            .send_guests(self.options, self.partition, &self.live)
            .await?;
        self.totals.guests.fetch_add(guests, Ordering::Relaxed);
        if sealed {
            let _turn = self.turns.take().await;
            let (directory, rows, end) = {
                let live = self.live.lock();
                let state = &live.state;
                let rows = state.pending().rollups[self.flushed_rollups..].to_vec();
                (state.directory().clone(), rows, state.next_offset())
            };
            crash_point("flush.before_store");
            self.options
                .aggregates
                .put(self.partition, &directory, &rows, end)
                .await?;
            self.flushed_rollups += rows.len();
            crash_point("flush.after_store");
        }
        Ok(())
    }

    async fn do_what_is_due(&mut self) -> Result<(), PipelineError> {
        let policy = &self.options.checkpoint;
        if self.last_record.elapsed() >= self.options.tick_interval {
            self.last_record = Instant::now();
            let header = (
                topics::HEADER_FORMAT.into(),
                Bytes::from_static(topics::FORMAT_TICK),
            );
            let tick = Record {
                headers: vec![header],
                ..Record::default()
            };
            let topic = self.options.topics.samples();
            let append = self.options.bus.append(&topic, self.partition, vec![tick]);
            // What was taken is made final whether or not the log takes more: only the closing of idle windows waits for it.
            let refused = match timeout(TICK_TIME_MAX, append).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) if error.fault() == Fault::Outage => Some(error.to_string()),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => Some(format!("no answer within {} s", TICK_TIME_MAX.as_secs())),
            };
            if let Some(error) = refused.as_ref().filter(|_| !self.tick_failed) {
                warn!(
                    partition = self.partition,
                    error, "the log takes no ticks; idle windows close when it does"
                );
            }
            self.tick_failed = refused.is_some();
        }
        let (progress, something) = {
            let live = self.live.lock();
            let (state, pending) = (&live.state, live.state.pending());
            let something = pending.counts != Counts::default() || !pending.rollups.is_empty();
            (state.next_offset() > self.chain.end(), something)
        };
        let due = if something {
            policy.interval
        } else {
            IDLE_COMMIT_INTERVAL.max(policy.interval)
        };
        if progress && self.last_commit.elapsed() >= due {
            self.commit(false).await?;
        }
        if self.last_compaction.elapsed() >= policy.compaction_interval {
            self.last_compaction = Instant::now();
            self.compact().await?;
        }
        self.delete_replaced(policy.replaced_files_kept).await
    }

    /// One checkpoint, then what it allows: trimming the log, telling the group, dropping replaced files later.
    async fn commit(&mut self, with_snapshot: bool) -> Result<(), PipelineError> {
        let started = Instant::now();
        let (series, revised_before) = {
            let state = &self.live.lock().state;
            (state.directory().len(), state.pending().late.len())
        };
        let age = self.last_snapshot.elapsed();
        let policy = &self.options.checkpoint;
        let snapshot_due = with_snapshot || policy.snapshot_is_due(age, self.saved_series, series);
        let snapshot_before = self.chain.snapshot().map(|at| at.path.clone());
        let done = checkpoint(
            self.options,
            self.turns,
            &mut self.chain,
            &self.live,
            self.partition,
            snapshot_due,
        )
        .await?;
        (self.flushed_rollups, self.published_anomalies) = (0, 0);
        self.published_forecasts = 0;
        self.guest_post.settle();
        self.last_commit = Instant::now();
        if done.with_snapshot {
            self.last_snapshot = Instant::now();
            self.saved_series = series;
        }
        let snapshot_gone =
            snapshot_before.filter(|path| self.chain.snapshot().is_some_and(|at| at.path != *path));
        self.replaced.extend(
            done.removed
                .into_iter()
                .chain(snapshot_gone)
                .map(|path| (Instant::now(), path)),
        );
        if let Some(snapshot) = self.chain.snapshot() {
            // Everything below the snapshot can be rebuilt without the log.
            self.options
                .bus
                .allow_trim(
                    &self.options.topics.samples(),
                    self.partition,
                    snapshot.next_offset,
                )
                .await?;
        }
        crash_point("checkpoint.after_trim");
        self.said.left_out(self.partition, &done.counts);
        self.totals.checkpoints.fetch_add(1, Ordering::Relaxed);
        *self
            .totals
            .checkpoint_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(self.last_commit);
        self.totals
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(&done.counts);
        let elapsed_ms = started.elapsed().as_millis() as u64;
        debug!(
            partition = self.partition,
            end_offset = done.end.0,
            samples = done.counts.accepted,
            late = revised_before,
            elapsed_ms,
            "checkpoint"
        );
        Ok(())
    }

    /// Merges small files. A damaged one is left where it is, and told.
    async fn compact(&mut self) -> Result<(), PipelineError> {
        let closed_before = self.chain.last().watermark.0;
        for (number, plan) in
            compaction::plan(self.chain.files(), &self.options.compaction, closed_before)
                .into_iter()
                .enumerate()
        {
            let sequence = self.chain.last().sequence + 1;
            let (start, end) = (NextOffset(0), self.chain.end());
            let name = FileName {
                partition: self.partition,
                start,
                end,
                epoch: self.chain.epoch(),
                part: format!("c{sequence}n{number}"),
            };
            crash_point("compaction.before_files");
            let added = match self.options.archive.compact(&plan, &name).await {
                Err(error) if error.fault() == Fault::Corruption => {
                    error!(partition = self.partition, %error, code = error.code().id, "damaged file left out of compaction");
                    continue;
                }
                added => added?,
            };
            crash_point("compaction.after_files");
            let removed: Vec<String> = plan.files.iter().map(|file| file.path.clone()).collect();
            commit_compaction(&mut self.chain, &self.live, added, removed.clone()).await?;
            crash_point("compaction.after_link");
            info!(
                partition = self.partition,
                files = removed.len(),
                "merged small files"
            );
            self.replaced
                .extend(removed.into_iter().map(|path| (Instant::now(), path)));
            self.totals.compactions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn delete_replaced(&mut self, kept: Duration) -> Result<(), PipelineError> {
        let due: Vec<String> = self
            .replaced
            .iter()
            .filter(|(since, _)| since.elapsed() >= kept)
            .map(|(_, path)| path.clone())
            .collect();
        if !due.is_empty() {
            self.options.archive.delete_files(&due).await?;
            crash_point("compaction.after_delete");
            self.replaced.retain(|(_, path)| !due.contains(path));
        }
        Ok(())
    }
}

mod ending;
mod said;
#[cfg(test)]
mod tests;
