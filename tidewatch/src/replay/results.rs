//! What is told at the end: anomalies and scores in files, and the summary.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use ingest::history::Directory;
use jiff::Timestamp;
use query::{Answer, ChainTables, Engine, Format, Limits};
use schemas::{Counts, Micros, Topics};
use sinks::Archive;

use super::ReplayArgs;
use super::scores::{self, ScoreSpool};
use crate::commands::{self, output::Output};
use crate::config::Config;
use crate::error::CommandError;

/// Anomalies are read back by a query that may take so long: there may be many.
const QUERY_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// A file to write and how.
pub(crate) struct Place {
    pub(crate) output: Output,
    pub(crate) format: Format,
}

impl Place {
    /// Opens a file that a flag names; its ending says how it is written.
    pub(crate) fn open(flag: &str, file: &Path) -> Result<Place, CommandError> {
        let ending = file
            .extension()
            .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let format = match ending.as_deref() {
            Some("csv") => Format::Csv,
            Some("ndjson" | "jsonl") => Format::Ndjson,
            Some("parquet") => Format::Parquet,
            _ => {
                return Err(CommandError::Usage(format!(
                    "{flag} `{}`: expected a name that ends in .csv, .ndjson, .jsonl or .parquet",
                    file.display()
                )));
            }
        };
        Ok(Place {
            output: Output::open(Some(file))?,
            format,
        })
    }

    pub(crate) async fn write(self, answer: Answer) -> Result<(), CommandError> {
        let chunks = query::encode(answer, self.format)
            .map(|chunk| chunk.map_err(|error| CommandError::of("results", error)));
        self.output.write_all(chunks.boxed()).await
    }
}

/// The files that were asked for. Opened first: a long replay must not end in a file that can't be written.
pub(super) struct Outputs {
    anomalies: Option<Place>,
    scores: Option<Place>,
}

impl Outputs {
    pub(super) fn open(args: &ReplayArgs) -> Result<Outputs, CommandError> {
        let open = |flag: &str, file: &Option<std::path::PathBuf>| {
            file.as_deref()
                .map(|file| Place::open(flag, file))
                .transpose()
        };
        Ok(Outputs {
            anomalies: open("--output", &args.output)?,
            scores: open("--scores", &args.scores)?,
        })
    }

    pub(super) fn wants_scores(&self) -> bool {
        self.scores.is_some()
    }

    /// Writes what was asked for; returns how many anomalies there are.
    pub(super) async fn write(
        self,
        config: &Config,
        archive: &Archive,
        topics: &Topics,
        bounds: (Micros, Micros),
        spool: Option<Arc<ScoreSpool>>,
        directory: &Arc<Directory>,
    ) -> Result<u64, CommandError> {
        let limits = Limits {
            timeout: QUERY_TIMEOUT,
            rows_max: u64::MAX,
            ..config.query.clone()
        };
        let tables = ChainTables::new(archive.clone(), &topics.samples());
        let engine = Engine::new(archive.store(), Arc::new(tables), limits);
        let within = format!(
            "FROM anomalies WHERE time BETWEEN TIMESTAMP '{}' AND TIMESTAMP '{}'",
            rfc3339(bounds.0),
            rfc3339(bounds.1)
        );
        let ask = |question: String| {
            let engine = &engine;
            async move {
                engine
                    .query(&question)
                    .await
                    .map_err(|error| CommandError::of("reading the anomalies", error))
            }
        };
        let counted = ask(format!("SELECT count(*) {within}"))
            .await?
            .collect()
            .await;
        let counted = counted.map_err(|error| CommandError::of("reading the anomalies", error))?;
        let count = counted.first().and_then(|batch| {
            let column = batch.columns().first()?;
            let numbers = column.as_any().downcast_ref::<arrow::array::Int64Array>()?;
            u64::try_from(numbers.value(0)).ok()
        });
        if let Some(place) = self.anomalies {
            let question = format!("SELECT * {within} ORDER BY time, metric, series_id, event_id");
            place.write(ask(question).await?).await?;
        }
        if let (Some(place), Some(spool)) = (self.scores, spool) {
            let scores = spool.read(Arc::clone(directory))?;
            let rows = stream::try_unfold(scores, |mut scores| async move {
                let batch = scores
                    .next_batch()
                    .map_err(|error| query::QueryError::Store(error.to_string()))?;
                Ok(batch.map(|batch| (batch, scores)))
            });
            let answer = Answer {
                schema: scores::schema(),
                notes: query::Notes::default(),
                rows: rows.boxed(),
            };
            place.write(answer).await?;
        }
        Ok(count.unwrap_or(0))
    }
}

fn rfc3339(time: Micros) -> String {
    Timestamp::from_microsecond(time).map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// What came of a replay.
pub(super) struct Summary<'a> {
    pub(super) counts: Counts,
    pub(super) series: usize,
    pub(super) bounds: (Micros, Micros),
    pub(super) skipped: u64,
    pub(super) skipped_named: &'a [String],
    pub(super) rows: u64,
    pub(super) took: Duration,
    pub(super) data_dir: &'a Path,
}

/// Prints the summary.
pub(super) fn summary(done: &Summary<'_>) -> Result<(), CommandError> {
    let Counts {
        read,
        accepted,
        duplicate,
        late,
        invalid,
        replaced,
        revised,
        dead_letters: _,
        skipped_alarms,
    } = done.counts;
    let seconds = done.took.as_secs_f64();
    let mut text = String::new();
    // Writing to a text never fails.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    line("samples", format!("{read} in {} series", done.series));
    line("from", rfc3339(done.bounds.0));
    line("to", rfc3339(done.bounds.1));
    line("stored", (accepted - replaced).to_string());
    line("duplicates", duplicate.to_string());
    for (name, count) in [
        ("replaced", replaced),
        ("revised", revised),
        ("late", late),
        ("refused", invalid),
        ("skipped rows", done.skipped),
    ] {
        if count > 0 {
            line(name, count.to_string());
        }
    }
    line("anomalies", done.rows.to_string());
    if skipped_alarms > 0 {
        line("in calendar", format!("{skipped_alarms} more skipped"));
    }
    line(
        "took",
        format!(
            "{seconds:.1} s, {:.0} samples a second",
            read as f64 / seconds.max(1e-3)
        ),
    );
    if done.skipped > 0 {
        let shown = done.skipped_named.len();
        let _ = writeln!(text, "\nThe first {shown} rows that were skipped:");
        for row in done.skipped_named {
            let _ = writeln!(text, "  {row}");
        }
    }
    let dir = done.data_dir.display();
    let _ = writeln!(
        text,
        "\nTry next:\n  tidewatch sql --data-dir {dir} \"SELECT time, metric, observed, explanation FROM anomalies ORDER BY score DESC LIMIT 10\"\n  \
        tidewatch sql --data-dir {dir} \"SELECT * FROM rollups_1h ORDER BY time LIMIT 10\""
    );
    commands::print(&format!("replayed\n{text}"))
}
