//! `tidewatch detect`: what the detectors make of history files, by the step of the stream, with nothing stored.
//!
//! The samples become records as in a replay, and one partition steps over them. So scores and events are those that `replay` of the same files gives.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use clap::Args;
use futures::{StreamExt, stream};
use ingest::history::{Directory, Sorted};
use processors::{PartitionState, ProcessingConfig};
use query::{Answer, Notes, QueryError};
use schemas::{Micros, Offset, SampleBatch};
use tokio::sync::mpsc;

use super::{Reader, written};
use crate::config::Config;
use crate::error::CommandError;
use crate::replay::feed::{self, RecordMaker};
use crate::replay::files::{self, HistoryFiles};
use crate::replay::progress::{Progress, Unit};
use crate::replay::results::Place;
use crate::replay::scores;

/// Records that wait to be stepped over, and batches of scores that wait to be written. A few: both sides go on without waiting for each turn.
const WAITING: usize = 4;

/// Flags of `detect`.
#[derive(Debug, Args)]
pub struct DetectArgs {
    /// The files, and how they are read.
    #[command(flatten)]
    pub history: HistoryFiles,
    /// Write what the detectors made of each sample to this file: .csv, .ndjson or .parquet.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the events to this file instead of standard output, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Holidays, maintenance and other days unlike others: iCalendar or TOML (setting calendar.file).
    #[arg(long, value_name = "FILE")]
    pub calendar: Option<PathBuf>,
    /// Tell nothing but events and errors.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Judges the files.
///
/// # Errors
/// `Usage` where detection is turned off; `Failed` with the file and line of what is wrong, or with what broke.
pub(crate) async fn run(config: Config, args: DetectArgs) -> Result<(), CommandError> {
    tokio::select! {
        done = detect(config, args) => done,
        _ = tokio::signal::ctrl_c() => Err(CommandError::surroundings("interrupted".to_owned())),
    }
}

async fn detect(config: Config, args: DetectArgs) -> Result<(), CommandError> {
    if config.processing.detection.is_none() {
        return Err(CommandError::Usage(
            "detection is turned off by the setting detection.enabled".to_owned(),
        ));
    }
    let named = [
        ("--output", args.output.as_deref()),
        ("--events", args.events.as_deref()),
    ];
    args.history.keep_apart(args.calendar.as_deref(), &named)?;
    let output = args
        .output
        .as_deref()
        .map(|file| Place::open("--output", file))
        .transpose()?;
    let events = EventLines::open(args.events.as_deref())?;
    let progress = Progress::new(args.quiet);
    let (history, (_, last)) = args
        .history
        .read(&config, &std::env::temp_dir(), &progress)
        .await?;
    let (samples, series) = (history.samples.samples(), history.directory.series().len());
    progress.stage("judging", samples, Unit::Samples);
    let (records_in, records) = mpsc::channel(WAITING);
    let (rows_in, rows) = mpsc::channel(WAITING);
    let directory = Arc::new(history.directory);
    let stepping = Stepping {
        directory: Arc::clone(&directory),
        seal_at: feed::seal_time(last, config.processing.lateness),
        processing: ProcessingConfig {
            future_max: config.processing.future_max.max(feed::REACH_MAX),
            ..config.processing
        },
        records,
        rows: output.is_some().then_some(rows_in),
        events,
        progress: progress.clone(),
    };
    let making = tokio::task::spawn_blocking(move || make(directory, records_in, history.samples));
    let stepping = tokio::task::spawn_blocking(move || stepping.run());
    if let Some(place) = output {
        let rows = stream::unfold(
            rows,
            |mut rows| async move { Some((rows.recv().await?, rows)) },
        );
        let answer = Answer {
            schema: scores::schema(),
            notes: Notes::default(),
            rows: rows.boxed(),
        };
        place.write(answer).await?;
    }
    let joined = |error| CommandError::surroundings(format!("judging the samples: {error}"));
    // Who steps knows better what broke than who makes records for it.
    let found = stepping.await.map_err(joined)??;
    making.await.map_err(joined)??;
    progress.end();
    if !args.quiet {
        let of_them = match found.told {
            0 => String::new(),
            _ => format!(", {} of them alarms,", found.alarms),
        };
        let told = found.told;
        eprintln!("{told} events{of_them} in {samples} samples of {series} series");
        if found.judged < samples {
            eprintln!(
                "{} samples were not judged: not finite, the first of a counter, or a second one of the same series and time",
                samples - found.judged
            );
        }
        if found.skipped > 0 {
            let skipped = found.skipped;
            eprintln!("{skipped} more were skipped because the calendar says so");
        }
        files::tell_skipped(&history.skipped_named, history.skipped);
    }
    Ok(())
}

fn make(
    directory: Arc<Directory>,
    records: mpsc::Sender<feed::Made>,
    samples: Sorted,
) -> Result<(), CommandError> {
    RecordMaker::new(directory, 1, feed::RECORD_SAMPLES, records).run(samples)
}

/// How many samples were judged, how many events there were, how many of them alarms, and how many the calendar has kept back.
#[derive(Default)]
struct Judged {
    judged: u64,
    told: u64,
    alarms: u64,
    skipped: u64,
}

/// Steps over the records, on a thread of its own.
struct Stepping {
    directory: Arc<Directory>,
    processing: ProcessingConfig,
    /// The log time at the end, which closes everything.
    seal_at: Micros,
    records: mpsc::Receiver<feed::Made>,
    /// Where scores go, if they are asked for.
    rows: Option<mpsc::Sender<Result<RecordBatch, QueryError>>>,
    events: EventLines,
    progress: Progress,
}

impl Stepping {
    fn run(mut self) -> Result<Judged, CommandError> {
        let mut state = PartitionState::new(self.processing.clone());
        let (mut scored, mut done, mut found) = (Vec::new(), 0, Judged::default());
        while let Some(made) = self.records.blocking_recv() {
            let batch = SampleBatch::decode(&made.record.value)
                .map_err(|error| CommandError::of("reading a record again", error))?;
            let offset = Offset(state.next_offset().0);
            state.step_scored(offset, made.log_time(), &batch, |score| scored.push(score));
            if self.rows.is_some() {
                self.hand_out(&scored)?;
            }
            found.judged += scored.len() as u64;
            scored.clear();
            if self.settle(&mut state, &mut found)? == Reader::Left {
                break;
            }
            done += made.samples;
            self.progress.reach(done);
        }
        let offset = Offset(state.next_offset().0);
        state.step_end(offset, self.seal_at);
        self.settle(&mut state, &mut found)?;
        self.events.finish()?;
        Ok(found)
    }

    /// Tells the events and forgets what else a checkpoint would take.
    fn settle(
        &mut self,
        state: &mut PartitionState,
        found: &mut Judged,
    ) -> Result<Reader, CommandError> {
        let mut reader = Reader::Reads;
        found.skipped += state.pending().counts.skipped_alarms;
        for event in &state.pending().anomalies {
            found.told += 1;
            found.alarms += u64::from(event.alarm);
            reader = self.events.tell(event)?;
        }
        state.settle();
        Ok(reader)
    }

    fn hand_out(&self, scored: &[processors::Scored]) -> Result<(), CommandError> {
        let Some(sender) = &self.rows else {
            return Ok(());
        };
        let named: Vec<(u32, processors::Scored)> = scored
            .iter()
            .filter_map(|score| Some((self.directory.index_of(score.series)?, *score)))
            .collect();
        for rows in named.chunks(scores::BATCH_ROWS) {
            let batch = scores::batch(rows, &self.directory)?;
            // Whoever writes has failed, and says why.
            if sender.blocking_send(Ok(batch)).is_err() {
                return Err(CommandError::surroundings(
                    "the scores are no longer taken".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// Events as JSON lines.
struct EventLines {
    /// `None`: standard output.
    file: Option<(BufWriter<File>, PathBuf)>,
}

impl EventLines {
    fn open(place: Option<&Path>) -> Result<Self, CommandError> {
        let file = place
            .map(|place| {
                let file = File::create(place).map_err(|error| {
                    CommandError::surroundings(format!(
                        "can't write `{}`: {error}",
                        place.display()
                    ))
                })?;
                Ok::<_, CommandError>((BufWriter::new(file), place.to_owned()))
            })
            .transpose()?;
        Ok(EventLines { file })
    }

    fn tell<T: serde::Serialize>(&mut self, event: &T) -> Result<Reader, CommandError> {
        // A plain struct of numbers and strings always serialises.
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        match &mut self.file {
            Some((file, place)) => file
                .write_all(&line)
                .map(|()| Reader::Reads)
                .map_err(|error| {
                    CommandError::surroundings(format!("`{}`: {error}", place.display()))
                }),
            None => {
                let mut out = std::io::stdout().lock();
                written(out.write_all(&line).and_then(|()| out.flush()))
            }
        }
    }

    fn finish(mut self) -> Result<(), CommandError> {
        if let Some((file, place)) = &mut self.file {
            let ended = file.flush().and_then(|()| file.get_ref().sync_all());
            ended.map_err(|error| {
                CommandError::surroundings(format!("`{}`: {error}", place.display()))
            })?;
        }
        Ok(())
    }
}
