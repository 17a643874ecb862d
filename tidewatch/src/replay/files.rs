//! The history files of a command line: which, how they are read, and the read itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use ingest::history::{History, HistoryError, HistoryOptions, HistoryReader, KindRules};
use schemas::Micros;

use super::progress::{Progress, Unit};
use crate::config::Config;
use crate::error::CommandError;

/// Flags of all commands that read history files.
#[derive(Debug, Args)]
pub struct HistoryFiles {
    /// CSV or Parquet files; `-` is CSV on standard input. Columns: timestamp, value, perhaps metric, and labels.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Count rows that are wrong and go on; without it the first one ends the work before anything is stored.
    #[arg(long)]
    pub skip_invalid: bool,
    /// This metric is a counter, judged by its rate per second; may be repeated, and end in `*`. Without it, names ending in _total, _count, _sum or _bucket are.
    #[arg(long, value_name = "METRIC")]
    pub counter: Vec<String>,
    /// This metric is a gauge, whatever its name says; may be repeated, and end in `*`.
    #[arg(long, value_name = "METRIC")]
    pub gauge: Vec<String>,
}

impl HistoryFiles {
    /// Refuses an output that would take the place of a file that is read, or of another output. Each comes with its flag.
    ///
    /// # Errors
    /// `Usage`, which names both; nothing was written.
    pub(crate) fn keep_apart(
        &self,
        read_too: Option<&Path>,
        outputs: &[(&str, Option<&Path>)],
    ) -> Result<(), CommandError> {
        let read: Vec<PathBuf> = self
            .files
            .iter()
            .map(PathBuf::as_path)
            .chain(read_too)
            .map(place_of)
            .collect();
        let outputs: Vec<(&str, &Path, PathBuf)> = outputs
            .iter()
            .filter_map(|(flag, file)| file.map(|file| (*flag, file, place_of(file))))
            .collect();
        for (position, (flag, file, place)) in outputs.iter().enumerate() {
            let taken = if read.contains(place) {
                Some("which is read".to_owned())
            } else {
                let before = outputs[..position].iter();
                let mut twice = before.filter(|(_, _, other)| other == place);
                twice.next().map(|(other, _, _)| format!("as {other} does"))
            };
            if let Some(taken) = taken {
                return Err(CommandError::Usage(format!(
                    "{flag} names `{}`, {taken}; name another file",
                    file.display()
                )));
            }
        }
        Ok(())
    }

    /// Reads all files, away from the threads that serve tasks, and says from when to when their samples are. `spill`: where samples wait that
    /// memory does not hold.
    ///
    /// # Errors
    /// The first row that is wrong, with its file and line; or that there is no sample.
    pub(crate) async fn read(
        &self,
        config: &Config,
        spill: &Path,
        progress: &Progress,
    ) -> Result<(History, (Micros, Micros)), CommandError> {
        let mut reader = HistoryReader::new(HistoryOptions {
            skip_invalid: self.skip_invalid,
            series_max: config.processing.series_max,
            kinds: KindRules {
                counters: self.counter.clone(),
                gauges: self.gauge.clone(),
            },
            ..HistoryOptions::new(spill)
        });
        let (files, told) = (self.files.clone(), progress.clone());
        let bytes: Vec<u64> = files
            .iter()
            .map(|file| std::fs::metadata(file).map_or(0, |about| about.len()))
            .collect();
        progress.stage("reading", bytes.iter().sum(), Unit::Bytes);
        let reading = tokio::task::spawn_blocking(move || {
            let mut before = 0;
            for (file, bytes) in files.iter().zip(bytes) {
                reader.read(file, &mut |done| told.reach(before + done))?;
                before += bytes;
            }
            Ok(reader.finish())
        });
        let read = reading
            .await
            .map_err(|error| CommandError::surroundings(format!("reading the files: {error}")))?;
        let history = read.map_err(|error: HistoryError| CommandError::of("history", error))?;
        let Some(bounds) = history.samples.bounds() else {
            return Err(self.nothing(&history));
        };
        Ok((history, bounds))
    }

    /// There is no sample in all of the files.
    fn nothing(&self, history: &History) -> CommandError {
        let mut found = "no row with a sample".to_owned();
        if let Some(first) = history.skipped_named.first() {
            let _ = write!(
                found,
                "; {} were skipped, the first: {first}",
                history.skipped
            );
        }
        let empty = HistoryError::Format {
            file: named(&self.files),
            expected: "rows with samples after the header".to_owned(),
            found,
        };
        CommandError::of("history", empty)
    }
}

/// A file as no other name says it: what stands there, or would.
fn place_of(file: &Path) -> PathBuf {
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    let beside = || {
        let directory = match file.parent()? {
            here if here.as_os_str().is_empty() => Path::new("."),
            directory => directory,
        };
        Some(whole(directory)?.join(file.file_name()?))
    };
    whole(file)
        .or_else(beside)
        .unwrap_or_else(|| file.to_owned())
}

fn named(files: &[PathBuf]) -> String {
    let names: Vec<String> = files
        .iter()
        .take(3)
        .map(|file| file.display().to_string())
        .collect();
    match files.len() {
        0..=3 => names.join(", "),
        more => format!("{} and {} more", names.join(", "), more - 3),
    }
}

/// Tells on standard error which rows were skipped first.
pub(crate) fn tell_skipped(named: &[String], skipped: u64) {
    if skipped > 0 {
        let which = if skipped > named.len() as u64 {
            format!("; the first {}", named.len())
        } else {
            String::new()
        };
        eprintln!("rows skipped: {skipped}{which}");
        named.iter().for_each(|row| eprintln!("  {row}"));
    }
}
