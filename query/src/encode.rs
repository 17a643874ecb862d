//! Turns the rows of an answer into bytes, batch by batch: at no time is the whole answer in memory.
//!
//! An error after the first bytes is made visible, so that a cut answer is never taken for a whole one:
//!
//! | format | last bytes on an error |
//! |---|---|
//! | JSON, NDJSON | one more object `{"error":{"message":…,"fault":…}}`; in JSON the array is closed after it |
//! | text | a last line `error: …` |
//! | CSV | none of its own: the stream ends with `Err`, on which an HTTP server aborts the connection |
//! | Arrow IPC, Parquet | none: no end marker, no footer, so that readers refuse it |
//!
//! In every format the stream's last item is then `Err`.

mod columnar;
mod json;
mod lines;
mod text;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

pub use text::cells;

use crate::answer::Batches;
use crate::{Answer, QueryError};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// An array of objects. Maps are objects, times RFC 3339 in UTC, NaN and infinities null.
    Json,
    /// One object a line.
    Ndjson,
    /// A header line, then one line a row; maps and lists as JSON text.
    Csv,
    /// An Arrow IPC stream.
    ArrowStream,
    /// One Parquet file, zstd.
    Parquet,
    /// Aligned columns for people.
    Text,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 6] = [
        Format::Json,
        Format::Ndjson,
        Format::Csv,
        Format::ArrowStream,
        Format::Parquet,
        Format::Text,
    ];

    /// `json`, `ndjson`, `csv`, `arrow`, `parquet`, `text`: as in URLs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
            Format::ArrowStream => "arrow",
            Format::Parquet => "parquet",
            Format::Text => "text",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::ArrowStream => "application/vnd.apache.arrow.stream",
            Format::Parquet => "application/vnd.apache.parquet",
            Format::Text => "text/plain; charset=utf-8",
        }
    }
}

/// Writes an answer. The stream ends after the last bytes, or after the first `Err`.
pub fn encode(
    answer: Answer,
    format: Format,
) -> impl Stream<Item = Result<Bytes, QueryError>> + Send + 'static {
    let Answer { schema, rows, .. } = answer;
    let sink = Sink::default();
    let begun = begin(format, &schema, &sink).map_err(|error| broken(&error));
    let state = match begun {
        Ok(encoder) => State::Rows(encoder, rows),
        Err(error) => State::Failed(error),
    };
    stream::unfold(state, move |state| step(state, sink.clone()))
}

enum State {
    Rows(Box<dyn Encoder>, Batches),
    Failed(QueryError),
    Done,
}

async fn step(mut state: State, sink: Sink) -> Option<(Result<Bytes, QueryError>, State)> {
    loop {
        state = match state {
            State::Done => return None,
            State::Failed(error) => return Some((Err(error), State::Done)),
            State::Rows(mut encoder, mut rows) => {
                let (written, next) = match rows.next().await {
                    Some(Ok(batch)) => match encoder.rows(&batch) {
                        Ok(()) => (sink.take(), State::Rows(encoder, rows)),
                        Err(error) => fail(encoder, broken(&error), &sink),
                    },
                    Some(Err(error)) => fail(encoder, error, &sink),
                    None => match encoder.end() {
                        Ok(()) => (sink.take(), State::Done),
                        Err(error) => (Bytes::new(), State::Failed(broken(&error))),
                    },
                };
                if !written.is_empty() {
                    return Some((Ok(written), next));
                }
                next
            }
        };
    }
}

fn fail(encoder: Box<dyn Encoder>, error: QueryError, sink: &Sink) -> (Bytes, State) {
    // What was written of a failed batch stays: readers see the error after it.
    let told = encoder.error(&error);
    sink.push(&told);
    (sink.take(), State::Failed(error))
}

fn broken(error: &ArrowError) -> QueryError {
    QueryError::Bug(format!("the rows can't be written in this format: {error}"))
}

/// One way to write rows. What it writes goes to the [`Sink`] it was begun with.
trait Encoder: Send {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError>;

    fn end(&mut self) -> Result<(), ArrowError>;

    /// The last bytes of an answer that failed.
    fn error(&self, error: &QueryError) -> Vec<u8>;
}

fn begin(format: Format, schema: &SchemaRef, sink: &Sink) -> Result<Box<dyn Encoder>, ArrowError> {
    Ok(match format {
        Format::Json => Box::new(json::Array::new(sink.clone())),
        Format::Ndjson => Box::new(json::Lines::new(sink.clone())),
        Format::Csv => Box::new(lines::Csv::begin(schema, sink.clone())?),
        Format::ArrowStream => Box::new(columnar::ArrowStream::begin(schema, sink.clone())?),
        Format::Parquet => Box::new(columnar::Parquet::begin(schema, sink.clone())?),
        Format::Text => Box::new(text::Table::begin(schema, sink.clone())),
    })
}

/// Bytes written and not yet sent. Shared, because the writers of Arrow and Parquet keep what they write to.
#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn push(&self, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
    }

    fn take(&self) -> Bytes {
        Bytes::from(std::mem::take(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
