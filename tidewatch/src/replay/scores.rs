//! Scores on their way to a file: kept per partition as they come, then read back in time order.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use ingest::history::Directory;
use pipeline::ScoreSink;
use processors::Scored;
use schemas::SeriesId;
use schemas::batch::{labels_array, labels_type};
use schemas::columns::time_type;

use crate::error::CommandError;

/// Bytes of a score on disk: series id, time, six numbers.
const SCORE_BYTES: usize = 16 + 8 + 6 * 8;
/// Rows of a batch that is handed to the writer of the file.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// What is wrong with a temporary file.
fn failed(error: &std::io::Error) -> CommandError {
    CommandError::surroundings(format!(
        "keeping scores in a temporary file in the data directory: {error}"
    ))
}

/// Takes the scores of all partitions.
#[derive(Debug)]
pub(super) struct ScoreSpool {
    partitions: Vec<Mutex<Spooled>>,
}

/// The scores of one partition, in log order, which is time order.
#[derive(Debug)]
struct Spooled {
    writer: BufWriter<File>,
    rows: u64,
    /// The first error; later scores are not taken, and the end tells it.
    failed: Option<std::io::Error>,
}

impl ScoreSpool {
    /// Keeps scores in nameless files in a directory.
    pub(super) fn new(directory: &Path, partitions: u32) -> Result<Self, CommandError> {
        let spooled = (0..partitions).map(|_| {
            let file = tempfile::tempfile_in(directory).map_err(|error| failed(&error))?;
            Ok(Mutex::new(Spooled {
                writer: BufWriter::with_capacity(1 << 18, file),
                rows: 0,
                failed: None,
            }))
        });
        Ok(ScoreSpool {
            partitions: spooled.collect::<Result<_, CommandError>>()?,
        })
    }

    /// What the pipeline calls.
    pub(super) fn sink(self: Arc<Self>) -> ScoreSink {
        Arc::new(move |partition, scores| {
            if let Some(spooled) = self.partitions.get(partition as usize) {
                let mut spooled = spooled.lock().unwrap_or_else(PoisonError::into_inner);
                if spooled.failed.is_none()
                    && let Err(error) = scores.iter().try_for_each(|score| spooled.put(score))
                {
                    spooled.failed = Some(error);
                }
            }
        })
    }

    /// All scores, by time, then in the order in which the series first appeared.
    pub(super) fn read(&self, directory: Arc<Directory>) -> Result<Scores, CommandError> {
        let mut partitions = Vec::new();
        for spooled in &self.partitions {
            let mut spooled = spooled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = spooled.failed.take() {
                return Err(failed(&error));
            }
            let file = spooled.writer.flush().and_then(|()| {
                let mut file = spooled.writer.get_ref().try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                Ok(file)
            });
            let mut cursor = Cursor {
                reader: BufReader::with_capacity(1 << 18, file.map_err(|error| failed(&error))?),
                rows: spooled.rows,
                head: None,
            };
            cursor.advance().map_err(|error| failed(&error))?;
            partitions.push(cursor);
        }
        Ok(Scores {
            partitions,
            directory,
            waiting: Vec::new(),
        })
    }
}

impl Spooled {
    fn put(&mut self, score: &Scored) -> std::io::Result<()> {
        let mut bytes = [0; SCORE_BYTES];
        bytes[..16].copy_from_slice(&score.series.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&score.time.to_le_bytes());
        let numbers = [
            score.value,
            score.expected,
            score.lower,
            score.upper,
            score.raw_score,
            score.score,
        ];
        for (place, number) in bytes[24..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        self.rows += 1;
        self.writer.write_all(&bytes)
    }
}

#[derive(Debug)]
struct Cursor {
    reader: BufReader<File>,
    rows: u64,
    head: Option<Scored>,
}

impl Cursor {
    /// Goes to the next score and returns the one it was at.
    fn advance(&mut self) -> std::io::Result<Option<Scored>> {
        let next = if self.rows == 0 {
            None
        } else {
            self.rows -= 1;
            let mut bytes = [0; SCORE_BYTES];
            self.reader.read_exact(&mut bytes)?;
            Some(decode(&bytes))
        };
        Ok(std::mem::replace(&mut self.head, next))
    }
}

fn decode(bytes: &[u8; SCORE_BYTES]) -> Scored {
    let word = |at: usize| -> [u8; 8] { bytes[at..at + 8].try_into().unwrap_or_default() };
    let number = |position: usize| f64::from_le_bytes(word(24 + 8 * position));
    Scored {
        series: SeriesId(u128::from_le_bytes(
            bytes[..16].try_into().unwrap_or_default(),
        )),
        time: i64::from_le_bytes(word(16)),
        value: number(0),
        expected: number(1),
        lower: number(2),
        upper: number(3),
        raw_score: number(4),
        score: number(5),
    }
}

/// The columns of the file.
pub(crate) fn schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Float64, false);
    Arc::new(Schema::new(vec![
        Field::new("time", time_type(), false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("labels", labels_type(), false),
        number("value"),
        number("expected"),
        number("lower"),
        number("upper"),
        number("raw_score"),
        number("score"),
    ]))
}

/// Scores as rows of the file, each with the index of its series.
pub(crate) fn batch(
    rows: &[(u32, Scored)],
    directory: &Directory,
) -> Result<RecordBatch, CommandError> {
    let series = |row: &(u32, Scored)| &directory.series()[row.0 as usize].series;
    let number = |get: fn(&Scored) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(
            rows.iter().map(|(_, score)| get(score)),
        ))
    };
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1.time));
    let metrics = StringArray::from_iter_values(rows.iter().map(|row| &series(row).metric));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(metrics),
        Arc::new(labels_array(rows.iter().map(|row| &series(row).labels))),
        number(|score| score.value),
        number(|score| score.expected),
        number(|score| score.lower),
        number(|score| score.upper),
        number(|score| score.raw_score),
        number(|score| score.score),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|error| CommandError::surroundings(format!("the rows of the scores: {error}")))
}

/// Reads the scores back.
#[derive(Debug)]
pub(super) struct Scores {
    partitions: Vec<Cursor>,
    directory: Arc<Directory>,
    /// Scores of one time that are not handed out yet, as (series, score), the last one first.
    waiting: Vec<(u32, Scored)>,
}

impl Scores {
    /// The next rows; `None` at the end.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>, CommandError> {
        let mut rows = Vec::with_capacity(BATCH_ROWS);
        while rows.len() < BATCH_ROWS {
            if self.waiting.is_empty() {
                self.gather().map_err(|error| failed(&error))?;
            }
            let Some(row) = self.waiting.pop() else { break };
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        batch(&rows, &self.directory).map(Some)
    }

    /// Takes all scores of the earliest time.
    fn gather(&mut self) -> std::io::Result<()> {
        let earliest = self
            .partitions
            .iter()
            .filter_map(|cursor| Some(cursor.head.as_ref()?.time))
            .min();
        for cursor in &mut self.partitions {
            while cursor.head.is_some_and(|head| Some(head.time) == earliest)
                && let Some(score) = cursor.advance()?
            {
                // Of a series that an earlier replay brought alone there is nothing to score now.
                if let Some(series) = self.directory.index_of(score.series) {
                    self.waiting.push((series, score));
                }
            }
        }
        self.waiting
            .sort_by_key(|(series, _)| std::cmp::Reverse(*series));
        Ok(())
    }
}
