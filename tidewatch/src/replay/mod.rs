//! `tidewatch replay`: history files through the processors that `run` uses, on a log clock that is the samples' own time.
//!
//! ```text
//! files ──▶ ingest::history (checked, in time order) ──▶ feed ──▶ embedded log ──▶ pipeline ──▶ archive, aggregate store
//!                                                                                      └──▶ scores
//! ```
//!
//! Everything is read before anything is fed, so a bad row leaves nothing behind. No wall clock takes part: a record is appended at the time of
//! its first sample, and there are no ticks but one at the end, which seals the last windows.

pub(crate) mod feed;
pub(crate) mod files;
pub(crate) mod progress;
pub(crate) mod results;
pub(crate) mod scores;
mod target;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ingest::history::{Directory, Sorted};
use pipeline::{CheckpointPolicy, Phase, Pipeline, PipelineOptions};
use processors::ProcessingConfig;
use schemas::{Counts, Micros, Topics};

use crate::config::{BusKind, Config};
use crate::error::CommandError;
use crate::stores;

use feed::Feed;
use files::HistoryFiles;
use progress::Progress;
use results::{Anomalies, Outputs};
use scores::ScoreSpool;
use target::Target;

/// Samples of one partition that wait for a checkpoint, at most. 131,072: with the rollups of as many windows some 50 MB while they are written.
const CHECKPOINT_SAMPLES_MAX: usize = 1 << 17;
/// How often the state is saved, and the log below it given up.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The files, and how they are read.
    #[command(flatten)]
    pub history: HistoryFiles,
    /// Write the anomalies to this file: .csv, .ndjson or .parquet.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write what the detectors made of each sample to this file: .csv, .ndjson or .parquet.
    #[arg(long, value_name = "FILE")]
    pub scores: Option<PathBuf>,
    /// Go on in a data directory that an earlier replay filled, instead of refusing it.
    #[arg(long)]
    pub append: bool,
    /// Leave the last windows open for samples of a later `replay --append`, instead of sealing all of the last day.
    #[arg(long)]
    pub leave_open: bool,
    /// Tell nothing but the summary and errors.
    #[arg(short, long)]
    pub quiet: bool,
    /// Samples in one record of the log. The results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = feed::RECORD_SAMPLES, hide = true, value_parser = feed::parse_record_samples)]
    pub record_samples: usize,
}

/// Keeps log lines below a warning out of the progress, unless a level was asked for.
pub(crate) fn quieten(config: &mut Config) {
    if !config.is_set("log.level") {
        config.log.level = "warn".to_owned();
    }
}

/// Replays, and tells what came of it.
///
/// # Errors
/// `Usage` for a data directory that is not to be written to; `Failed` with the file and line of what is wrong, or with what broke.
pub async fn run(config: Config, args: ReplayArgs) -> Result<(), CommandError> {
    tokio::select! {
        done = replay(config, args) => done,
        _ = tokio::signal::ctrl_c() => Err(CommandError::surroundings(
            "interrupted; what the data directory holds is not complete".to_owned(),
        )),
    }
}

async fn replay(mut config: Config, args: ReplayArgs) -> Result<(), CommandError> {
    let outputs = Outputs::open(&args)?;
    let progress = Progress::new(args.quiet);
    let target = Target::open(&config, args.append)?;
    settle(&mut config);
    let (history, (first, last)) = args.history.read(&config, target.path(), &progress).await?;
    let started = Instant::now();
    target.begin()?;
    let directory = Arc::new(history.directory);
    let filling = Filling {
        config: &config,
        args: &args,
        target: &target,
        progress: &progress,
        directory: Arc::clone(&directory),
        last,
    };
    let filled = filling.run(history.samples, outputs).await;
    let (counts, rows) = filled.map_err(|error| target.incomplete(error))?;
    target.complete()?;
    results::summary(&results::Summary {
        counts,
        series: directory.series().len(),
        bounds: (first, last),
        skipped: history.skipped,
        skipped_named: &history.skipped_named,
        rows,
        took: started.elapsed(),
        data_dir: target.path(),
    })
}

/// What happens while the data directory is incomplete.
struct Filling<'a> {
    config: &'a Config,
    args: &'a ReplayArgs,
    target: &'a Target,
    progress: &'a Progress,
    directory: Arc<Directory>,
    /// The time of the last sample.
    last: Micros,
}

impl Filling<'_> {
    /// Takes the samples through; returns what became of them, and how many anomalies were told.
    async fn run(self, samples: Sorted, outputs: Outputs) -> Result<(Counts, u64), CommandError> {
        let rooms = Rooms::open(self.config, self.target).await?;
        let anomalies = Anomalies::of(self.config, &rooms.archive, &rooms.topics);
        let before = match self.args.append {
            true => anomalies.ids().await?,
            false => HashSet::new(),
        };
        let spool = match outputs.wants_scores() {
            true => Some(Arc::new(ScoreSpool::new(
                self.target.path(),
                rooms.partitions,
            )?)),
            false => None,
        };
        let pipeline = rooms.start(self.config, spool.clone()).await?;
        let feed = Feed {
            bus: &rooms.bus,
            topic: &rooms.topics.samples(),
            pipeline: &pipeline,
            directory: Arc::clone(&self.directory),
            samples_per_record: self.args.record_samples,
            progress: self.progress,
        };
        let begun = feed.ends().await?;
        feed.run(samples).await?;
        if !self.args.leave_open {
            let sealed = feed::seal_time(self.last, self.config.processing.lateness);
            feed.seal(&begun, sealed).await?;
        }
        let fed = feed.ends().await?;
        feed.wait_until_stepped(&fed).await?;
        let stopped = pipeline.shutdown().await;
        if let Some((partition, reason)) = stopped.first() {
            return Err(CommandError::surroundings(format!(
                "partition {partition} stopped: {reason}"
            )));
        }
        let counts = rooms.committed(&begun, &fed).await?;
        rooms.keep_aggregates(self.last).await?;
        self.progress.end();
        let rows = outputs.write(&anomalies, &before, spool, &self.directory);
        Ok((counts, rows.await?))
    }
}

/// The settings of a replay: everything in the data directory, nothing by the wall clock.
fn settle(config: &mut Config) {
    config.bus.kind = BusKind::Embedded;
    config.archive.url = String::new();
    config.tick_interval = Duration::MAX;
    config.processing.future_max = config.processing.future_max.max(feed::REACH_MAX);
    config.checkpoint = CheckpointPolicy {
        interval: Duration::MAX,
        samples_max: config.checkpoint.samples_max.min(CHECKPOINT_SAMPLES_MAX),
        snapshot_interval: SNAPSHOT_INTERVAL,
        ..config.checkpoint.clone()
    };
}

/// The stores of the data directory.
struct Rooms {
    bus: Arc<dyn bus::Bus>,
    topics: Topics,
    /// Partitions of the topic of samples.
    partitions: u32,
    archive: sinks::Archive,
    aggregates: Arc<sinks::aggregates::AggregateStore>,
}

impl Rooms {
    async fn open(config: &Config, target: &Target) -> Result<Rooms, CommandError> {
        let topics = stores::topics(config);
        let bus = stores::open_log(config, target.path(), None).await?.bus;
        let mut specs = stores::topic_specs(config, &*bus).await?;
        for spec in &mut specs {
            // The clock of a replay is supplied with its samples.
            spec.log_append_time = spec.name != topics.samples();
        }
        bus.create_topics(&specs)
            .await
            .map_err(|error| CommandError::of("topics", error))?;
        let partitions = bus.partitions(&topics.samples()).await;
        Ok(Rooms {
            partitions: partitions.map_err(|error| CommandError::of("topics", error))?,
            bus,
            topics,
            archive: stores::open_archive(config, target.path())?,
            aggregates: Arc::new(stores::open_aggregates(config, target.path()).await?),
        })
    }

    async fn start(
        &self,
        config: &Config,
        spool: Option<Arc<ScoreSpool>>,
    ) -> Result<Pipeline, CommandError> {
        let options = PipelineOptions {
            bus: Arc::clone(&self.bus),
            topics: self.topics.clone(),
            group: config.bus.group.clone(),
            owner: crate::app::owner(),
            archive: self.archive.clone(),
            aggregates: Arc::clone(&self.aggregates),
            archived_rollups: config.archive.rollups.clone(),
            // The whole history is in the log before a partition could tell another of a minute of it.
            processing: ProcessingConfig {
                siblings_across_partitions: false,
                ..config.processing.clone()
            },
            checkpoint: config.checkpoint.clone(),
            compaction: config.archive.compaction,
            rebuild_damaged_states: config.archive.rebuild_damaged_states,
            tick_interval: config.tick_interval,
        };
        let pipeline = Pipeline::start_scored(options, spool.map(ScoreSpool::sink)).await;
        pipeline.map_err(|error| CommandError::of("the pipeline", error))
    }

    /// What became of the samples by the archive's own word, once it covers all that was fed.
    async fn committed(&self, begun: &[u64], fed: &[u64]) -> Result<Counts, CommandError> {
        let topic = self.topics.samples();
        let unread = |error| CommandError::of("the archive's chain", error);
        let mut counts = Counts::default();
        for (partition, (begun, fed)) in (0..).zip(begun.iter().zip(fed)) {
            let view = sinks::load_chain(&self.archive, &topic, partition)
                .await
                .map_err(unread)?;
            let (end, sequences) = view.as_ref().map_or((0, 0), |view| {
                (
                    view.end().0,
                    view.last().map_or(0, |link| link.sequence + 1),
                )
            });
            if end < *fed {
                return Err(CommandError::surroundings(format!(
                    "partition {partition} is stored up to record {end} of {fed}"
                )));
            }
            sinks::read_links(&self.archive, &topic, partition, 0..sequences)
                .await
                .map_err(unread)?
                .iter()
                .filter(|link| link.start.0 >= *begun)
                .for_each(|link| counts.add(&link.counts));
        }
        Ok(counts)
    }

    /// Leaves in the aggregate store what is recent by the clock of the history.
    async fn keep_aggregates(&self, last: Micros) -> Result<(), CommandError> {
        let kept = async {
            self.aggregates.expire(last).await?;
            self.aggregates.sync().await
        };
        kept.await
            .map_err(|error| CommandError::of("the aggregate store", error))
    }
}

/// Why a partition will not go on by itself, if so.
fn broken(pipeline: &Pipeline) -> Option<String> {
    pipeline.status().into_iter().find_map(|status| {
        let reason = match status.phase {
            Phase::Stopped(reason) | Phase::Retrying(reason) => reason,
            Phase::Fenced => "another process has taken the data directory over".to_owned(),
            Phase::Claiming | Phase::Replaying | Phase::Running | Phase::Closed => return None,
        };
        Some(format!("partition {} stopped: {reason}", status.partition))
    })
}
