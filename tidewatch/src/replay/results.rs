//! What is told at the end: anomalies and scores in files, and the summary.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use futures::{StreamExt, stream};
use ingest::history::Directory;
use jiff::Timestamp;
use query::{Answer, ChainTables, Engine, Format, Limits, QueryError};
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
        let named = [
            ("--output", args.output.as_deref()),
            ("--scores", args.scores.as_deref()),
        ];
        args.history.keep_apart(None, &named)?;
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

    /// Writes what was asked for; returns how many anomalies this replay has told.
    pub(super) async fn write(
        self,
        anomalies: &Anomalies,
        before: &HashSet<u128>,
        spool: Option<Arc<ScoreSpool>>,
        directory: &Arc<Directory>,
    ) -> Result<u64, CommandError> {
        let told = anomalies.count().await?.saturating_sub(before.len() as u64);
        if let Some(place) = self.anomalies {
            place.write(anomalies.beside(before).await?).await?;
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
        Ok(told)
    }
}

/// The table of anomalies as the archive has it. What was told lately may be about times long before: the end of an earlier replay is judged
/// when a later one goes on. So this replay's are told from those of earlier ones by their ids, not by their times.
pub(super) struct Anomalies {
    engine: Engine,
}

impl Anomalies {
    pub(super) fn of(config: &Config, archive: &Archive, topics: &Topics) -> Self {
        let limits = Limits {
            timeout: QUERY_TIMEOUT,
            rows_max: u64::MAX,
            ..config.query.clone()
        };
        let tables = ChainTables::new(archive.clone(), &topics.samples());
        Anomalies {
            engine: Engine::new(archive.store(), Arc::new(tables), limits),
        }
    }

    /// The ids of all.
    pub(super) async fn ids(&self) -> Result<HashSet<u128>, CommandError> {
        let rows = self.ask("SELECT event_id FROM anomalies").await?;
        let batches: Vec<RecordBatch> = rows.collect().await.map_err(unread)?;
        let ids: Result<Vec<_>, _> = batches.iter().map(ids).collect();
        Ok(ids.map_err(unread)?.into_iter().flatten().collect())
    }

    async fn count(&self) -> Result<u64, CommandError> {
        let rows = self.ask("SELECT count(*) FROM anomalies").await?;
        let counted = rows.collect().await.map_err(unread)?;
        let count = counted.first().and_then(|batch| {
            let column = batch.columns().first()?;
            let numbers = column.as_any().downcast_ref::<Int64Array>()?;
            u64::try_from(numbers.value(0)).ok()
        });
        Ok(count.unwrap_or(0))
    }

    /// All but those with such ids, by time.
    async fn beside(&self, before: &HashSet<u128>) -> Result<Answer, CommandError> {
        let question = "SELECT * FROM anomalies ORDER BY time, metric, series_id, event_id";
        let mut answer = self.ask(question).await?;
        if !before.is_empty() {
            let before = before.clone();
            let rows = answer.rows.map(move |batch| {
                let batch = batch?;
                let ids = ids(&batch)?.into_iter();
                let fresh: BooleanArray = ids.map(|id| Some(!before.contains(&id))).collect();
                filter_record_batch(&batch, &fresh)
                    .map_err(|error| QueryError::Store(error.to_string()))
            });
            answer.rows = rows.boxed();
        }
        Ok(answer)
    }

    async fn ask(&self, question: &str) -> Result<Answer, CommandError> {
        self.engine.query(question).await.map_err(unread)
    }
}

/// The ids of the rows of a batch that has a column of them.
fn ids(batch: &RecordBatch) -> Result<Vec<u128>, QueryError> {
    let wrong = |what: &dyn std::fmt::Display| QueryError::Store(format!("event ids: {what}"));
    let column = batch
        .column_by_name("event_id")
        .ok_or_else(|| wrong(&"the column is missing"))?;
    let texts = cast(column, &DataType::Utf8).map_err(|error| wrong(&error))?;
    let ids = texts.as_string::<i32>().iter().flatten();
    ids.map(|id| u128::from_str_radix(id, 16).map_err(|error| wrong(&error)))
        .collect()
}

fn unread(error: QueryError) -> CommandError {
    CommandError::of("reading the anomalies", error)
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
