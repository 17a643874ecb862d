//! Who runs which partition: turns group events into tasks, starts a task again after an outage, and tells what each is doing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{GroupEvent, Membership};
use schemas::{Counts, Fault, HasCode, HasFault, Micros, Table};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::live::Live;
use crate::partition::{Totals, run};
use crate::turns::Turns;
use crate::{PartitionView, PipelineError, PipelineOptions, ScoreSink};

/// First pause before a task is started again after an outage; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest pause between two tries. 15 s: a store that comes back is used again within it.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// What a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Being claimed and restored.
    Claiming,
    /// Reading what the chain covers already, to rebuild state.
    Replaying,
    /// Reading new records.
    Running,
    /// Waiting after an outage, with its message.
    Retrying(String),
    /// Taken over by another owner.
    Fenced,
    /// Ended, with the reason a person must look at.
    Stopped(String),
    /// Closed on purpose.
    Closed,
}

/// A partition as `/readyz` and `/metrics` show it.
#[derive(Debug, Clone)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: u32,
    /// What it is doing.
    pub phase: Phase,
    /// The next offset to step over.
    pub next_offset: u64,
    /// The end of the chain.
    pub committed_offset: u64,
    /// Latest append time seen, microseconds; `None` before the first record.
    pub log_clock: Option<Micros>,
    /// Series known.
    pub series: usize,
    /// Resources (hosts, containers, …) that they are of.
    pub resources: usize,
    /// Samples that wait for a checkpoint.
    pub pending_samples: usize,
    /// Committed files.
    pub files: usize,
    /// What became of the samples, committed by this process, and what is pending.
    pub counts: Counts,
    /// Checkpoints by this process.
    pub checkpoints: u64,
    /// Compactions by this process.
    pub compactions: u64,
    /// Anomalies published by this process.
    pub anomalies: u64,
    /// Forecasts published by this process.
    pub forecasts: u64,
    /// Values of siblings that this process told other partitions, which compare them.
    pub guests: u64,
    /// Time since the last checkpoint by this process; `None` before the first.
    pub checkpoint_age: Option<Duration>,
    /// Time since the task last came round to look for work, which it does several times a second unless something holds it;
    /// `None` while it is not at work: not restored yet, waiting after an outage, or ended.
    pub turn_age: Option<Duration>,
}

struct Slot {
    phase: Phase,
    live: Option<Arc<Live>>,
    totals: Arc<Totals>,
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

type Slots = Arc<Mutex<BTreeMap<u32, Slot>>>;

fn lock(slots: &Slots) -> MutexGuard<'_, BTreeMap<u32, Slot>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running pipeline. Dropping it without [`Pipeline::shutdown`] stops the tasks as a crash would.
pub struct Pipeline {
    slots: Slots,
    partitions: u32,
    stop: CancellationToken,
    membership_task: Option<JoinHandle<()>>,
}

impl Pipeline {
    /// Joins the group and runs whatever partitions it is given.
    ///
    /// # Errors
    /// Bad configuration: the topic is missing. Outage: the broker is away.
    pub async fn start(options: PipelineOptions) -> Result<Pipeline, PipelineError> {
        Pipeline::start_scored(options, None).await
    }

    /// As [`Pipeline::start`], and hands the scores of all samples to a sink.
    ///
    /// # Errors
    /// As [`Pipeline::start`].
    pub async fn start_scored(
        options: PipelineOptions,
        scores: Option<ScoreSink>,
    ) -> Result<Pipeline, PipelineError> {
        let topic = options.topics.samples();
        let partitions = options.bus.partitions(&topic).await?;
        let membership = options.bus.join(&topic, &options.group).await?;
        let slots = Slots::default();
        let stop = CancellationToken::new();
        let members = Members {
            options: Arc::new(options),
            scores,
            turns: Arc::new(Turns::of_this_machine()),
            slots: Arc::clone(&slots),
            stop: stop.clone(),
        };
        let membership_task = Some(tokio::spawn(members.follow(membership)));
        Ok(Pipeline {
            slots,
            partitions,
            stop,
            membership_task,
        })
    }

    /// How many partitions the topic has, ours or not.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// One view per partition that runs here; a partition that is not in the answer is owned by another process, or not yet restored.
    pub fn views(&self, table: Table) -> Vec<PartitionView> {
        let lives: Vec<(u32, Arc<Live>)> = lock(&self.slots)
            .iter()
            .filter_map(|(p, slot)| Some((*p, slot.live.clone()?)))
            .collect();
        lives
            .into_iter()
            .map(|(partition, live)| live.view(partition, table))
            .collect()
    }

    /// What each partition of ours is doing.
    pub fn status(&self) -> Vec<PartitionStatus> {
        lock(&self.slots)
            .iter()
            .map(|(partition, slot)| slot.status(*partition))
            .collect()
    }

    /// Stops every partition with a last checkpoint and leaves the group. Returns the partitions that had stopped by themselves before, or could not make
    /// the last checkpoint, with the reason: what the log holds for them is not final.
    pub async fn shutdown(mut self) -> Vec<(u32, String)> {
        self.stop.cancel();
        if let Some(task) = self.membership_task.take()
            && let Err(error) = task.await
        {
            error!(%error, "the group task ended badly");
        }
        lock(&self.slots)
            .iter()
            .filter_map(|(partition, slot)| match &slot.phase {
                Phase::Stopped(reason) | Phase::Retrying(reason) => {
                    Some((*partition, reason.clone()))
                }
                _ => None,
            })
            .collect()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Some(task) = &self.membership_task {
            task.abort();
            lock(&self.slots)
                .values()
                .filter_map(|slot| slot.task.as_ref())
                .for_each(JoinHandle::abort);
        }
    }
}

impl Slot {
    fn status(&self, partition: u32) -> PartitionStatus {
        let mut counts = *self
            .totals
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let load = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Relaxed)
        };
        let mut status = PartitionStatus {
            partition,
            phase: self.phase.clone(),
            next_offset: 0,
            committed_offset: 0,
            log_clock: None,
            series: 0,
            resources: 0,
            pending_samples: 0,
            files: 0,
            counts,
            checkpoints: load(&self.totals.checkpoints),
            compactions: load(&self.totals.compactions),
            anomalies: load(&self.totals.anomalies),
            forecasts: load(&self.totals.forecasts),
            guests: load(&self.totals.guests),
            checkpoint_age: age(&self.totals.checkpoint_at),
            turn_age: match self.phase {
                Phase::Running => age(&self.totals.turned_at),
                _ => None,
            },
        };
        if let Some(live) = &self.live {
            let live = live.lock();
            let state = &live.state;
            counts.add(&state.pending().counts);
            if status.phase == Phase::Running && state.is_replaying() {
                status.phase = Phase::Replaying;
            }
            status.next_offset = state.next_offset().0;
            status.committed_offset = live.end.0;
            status.log_clock = Some(state.log_clock()).filter(|clock| *clock != Micros::MIN);
            status.series = state.directory().len();
            status.resources = state.resource_count();
            status.pending_samples = state.pending_samples();
            status.files = live.files.len();
            status.counts = counts;
        }
        status
    }
}

fn age(since: &Mutex<Option<tokio::time::Instant>>) -> Option<Duration> {
    let since = *since.lock().unwrap_or_else(PoisonError::into_inner);
    since.map(|since| since.elapsed())
}

/// Follows the group.
struct Members {
    options: Arc<PipelineOptions>,
    scores: Option<ScoreSink>,
    turns: Arc<Turns>,
    slots: Slots,
    stop: CancellationToken,
}

impl Members {
    async fn follow(self, mut membership: Box<dyn Membership>) {
        let mut report = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                _ = report.tick() => self.report_progress(&*membership).await,
                event = membership.next() => match event {
                    GroupEvent::Assigned(partitions) => {
                        info!(?partitions, "partitions assigned");
                        partitions.into_iter().for_each(|partition| self.start(partition));
                    }
                    GroupEvent::Revoked(partitions, handover) => {
                        info!(?partitions, "partitions revoked");
                        self.close(&partitions, true).await;
                        self.report_progress(&*membership).await;
                        drop(handover);
                    }
                    GroupEvent::Lost(partitions) => {
                        warn!(?partitions, "partitions lost to others");
                        self.close(&partitions, false).await;
                    }
                    GroupEvent::Error(error) => warn!(%error, "the group reports a problem"),
                },
            }
        }
        let ours: Vec<u32> = lock(&self.slots).keys().copied().collect();
        self.close(&ours, true).await;
        self.report_progress(&*membership).await;
        membership.leave().await;
    }

    async fn report_progress(&self, membership: &dyn Membership) {
        let progress: Vec<_> = lock(&self.slots)
            .iter()
            .filter_map(|(p, slot)| Some((*p, slot.live.as_ref()?.lock().end)))
            .collect();
        for (partition, end) in progress {
            membership.report_progress(partition, end).await;
        }
    }

    fn start(&self, partition: u32) {
        let mut slots = lock(&self.slots);
        if slots
            .get(&partition)
            .is_some_and(|slot| slot.task.as_ref().is_some_and(|task| !task.is_finished()))
        {
            return;
        }
        let (cancel, totals) = (CancellationToken::new(), Arc::new(Totals::default()));
        let keeper = Keeper {
            options: Arc::clone(&self.options),
            scores: self.scores.clone(),
            slots: Arc::clone(&self.slots),
            partition,
            cancel: cancel.clone(),
            totals: Arc::clone(&totals),
            turns: Arc::clone(&self.turns),
        };
        let task = Some(tokio::spawn(keeper.keep()));
        slots.insert(
            partition,
            Slot {
                phase: Phase::Claiming,
                live: None,
                totals,
                cancel,
                task,
            },
        );
    }

    /// Ends tasks and waits for them; `gracefully` with a last checkpoint, else as they are (another owner has the partition).
    async fn close(&self, partitions: &[u32], gracefully: bool) {
        let mut tasks = Vec::new();
        for partition in partitions {
            if let Some(slot) = lock(&self.slots).get_mut(partition)
                && let Some(task) = slot.task.take()
            {
                if gracefully {
                    slot.cancel.cancel()
                } else {
                    task.abort()
                }
                tasks.push(task);
            }
        }
        for task in tasks {
            // An aborted task says so; a panic was told by its keeper.
            let _ = task.await;
        }
        // A closed partition's hot rows are another's business from now on. What kept one from its last checkpoint is told at the end of the process.
        let ending = self.stop.is_cancelled();
        lock(&self.slots).retain(|partition, slot| {
            !partitions.contains(partition)
                || matches!(slot.phase, Phase::Stopped(_))
                || ending && matches!(slot.phase, Phase::Retrying(_))
        });
    }
}

/// Keeps one partition running: again after an outage, never after what a person must see.
struct Keeper {
    options: Arc<PipelineOptions>,
    scores: Option<ScoreSink>,
    slots: Slots,
    partition: u32,
    cancel: CancellationToken,
    totals: Arc<Totals>,
    turns: Arc<Turns>,
}

impl Keeper {
    async fn keep(self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let (partition, cancel) = (self.partition, self.cancel.clone());
            let (scores, turns) = (self.scores.clone(), Arc::clone(&self.turns));
            let (options, totals, slots) = (
                Arc::clone(&self.options),
                Arc::clone(&self.totals),
                Arc::clone(&self.slots),
            );
            let started = tokio::time::Instant::now();
            // A task of its own, so that a panic ends this partition's turn and not the process.
            let mut turn = AbortOnDrop(tokio::spawn(async move {
                let on_ready = |live: Arc<Live>| {
                    if let Some(slot) = lock(&slots).get_mut(&partition) {
                        (slot.live, slot.phase) = (Some(live), Phase::Running);
                    }
                };
                run(
                    &options, scores, partition, &totals, &turns, &cancel, on_ready,
                )
                .await
            }));
            let (phase, again) = match (&mut turn.0).await {
                Ok(Ok(())) => (Phase::Closed, false),
                Ok(Err(error)) => self.judge(&error),
                Err(join) => {
                    error!(partition, error = %join, "partition stopped by a bug");
                    (Phase::Stopped(format!("bug: {join}")), false)
                }
            };
            self.set(phase, again);
            if !again {
                return;
            }
            if started.elapsed() > BACKOFF_MAX {
                backoff = BACKOFF_MIN;
            }
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF_MAX),
            }
        }
    }

    fn judge(&self, error: &PipelineError) -> (Phase, bool) {
        let partition = self.partition;
        match error.fault() {
            Fault::Outage => {
                warn!(partition, %error, code = error.code().id, "partition waits for an outage to end");
                (Phase::Retrying(error.to_string()), true)
            }
            Fault::Fenced => {
                warn!(partition, %error, code = error.code().id, "partition was taken over");
                (Phase::Fenced, false)
            }
            fault => {
                error!(partition, %error, fault = fault.name(), code = error.code().id, "partition stopped");
                (Phase::Stopped(error.to_string()), false)
            }
        }
    }

    /// Notes the phase. A stopped partition keeps showing its last committed and hot rows; one that starts again shows them until it is restored.
    fn set(&self, phase: Phase, again: bool) {
        if let Some(slot) = lock(&self.slots).get_mut(&self.partition) {
            if matches!(phase, Phase::Fenced | Phase::Closed) && !again {
                slot.live = None;
            }
            slot.phase = phase;
        }
    }
}

/// A task that ends with its owner.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
