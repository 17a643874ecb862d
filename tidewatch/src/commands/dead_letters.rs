//! `tidewatch dead-letters`: what could not be decoded, one of it in full, and decoding it again.

use std::fmt::Write as _;
use std::io::Write as _;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use clap::{Args, Subcommand};
use futures::TryStreamExt;
use hyper::Method;
use ingest::foreign::{Format, LetterId, Replayed};
use schemas::Fault;
use schemas::time::rfc3339;

use super::client::Peer;
use super::output::Output;
use super::source::{Source, find_instance};
use super::written;
use crate::args::{SqlFormat, UrlArgs};
use crate::config::Config;
use crate::error::CommandError;
use crate::error_codes;
use crate::http::dead_letters::{REPLAY_PATH, ReplayRequest};

/// Bytes of a value that `show` prints.
const SHOWN_BYTES_MAX: usize = 4096;
/// Bytes of one line of a value that is no text.
const LINE_BYTES: usize = 16;
/// Longest answer to a replay.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Commands of `dead-letters`.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List records that could not be decoded, newest first, with what they look like. More by SQL: the table dead_letters.
    #[command(after_help = "Examples:\n  tidewatch dead-letters list\n  \
        tidewatch sql \"SELECT source_topic, configured_format, guessed_format, count(*) FROM dead_letters GROUP BY 1, 2, 3\"")]
    List(ListArgs),
    /// Show one of them in full: where it came from, why it is here, its headers and its bytes.
    #[command(
        after_help = "Examples:\n  tidewatch dead-letters show 2-117\n  tidewatch dead-letters show 2-117 --raw > record.bin"
    )]
    Show(ShowArgs),
    /// Decode them again, with the format that their source has now or another one, and store what is in them. Repeating it stores nothing twice.
    #[command(
        after_help = "Examples:\n  tidewatch dead-letters replay\n  tidewatch dead-letters replay --topic metrics --as otlp_json\n  \
        tidewatch dead-letters replay 2-117 2-118"
    )]
    Replay(ReplayArgs),
}

/// Flags of `dead-letters list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// How the list is written.
    #[arg(short, long, value_enum, default_value_t = SqlFormat::Table)]
    pub format: SqlFormat,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// Flags of `dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The id, as `list` shows it.
    #[arg(value_parser = parse_id)]
    pub id: LetterId,
    /// Write only the bytes of the record, as they came.
    #[arg(long)]
    pub raw: bool,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// Flags of `dead-letters replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The ids, as `list` shows them. Without: all that were not replayed yet.
    #[arg(value_parser = parse_id)]
    pub ids: Vec<LetterId>,
    /// Only those that came from this topic.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// As this format. Without: the one that their source has now.
    #[arg(long = "as", value_name = "FORMAT", value_parser = parse_format)]
    pub format: Option<Format>,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

fn parse_id(text: &str) -> Result<LetterId, String> {
    LetterId::parse(text).ok_or_else(|| "expected PARTITION-OFFSET, such as 2-117".to_owned())
}

fn parse_format(name: &str) -> Result<Format, String> {
    Format::from_name(name).ok_or_else(|| format!("expected one of {}", Format::names()))
}

/// Does what was asked.
pub(crate) async fn run(config: &Config, command: DeadLettersCommand) -> Result<(), CommandError> {
    match command {
        DeadLettersCommand::List(args) => list(config, args).await,
        DeadLettersCommand::Show(args) => show(config, args).await,
        DeadLettersCommand::Replay(args) => replay(config, args).await,
    }
}

async fn list(config: &Config, args: ListArgs) -> Result<(), CommandError> {
    let source = Source::find(config, args.url.url.as_deref()).await?;
    let sql = format!(
        "SELECT id, time, source_topic, source_partition AS part, source_offset AS \"offset\", configured_format AS configured, \
         guessed_format AS looks_like, reason, replayed_at FROM dead_letters ORDER BY time DESC, id DESC LIMIT {}",
        args.limit
    );
    let answer = source.chunks(&sql, args.format.encoding()).await?;
    Output::Standard.write_all(answer.bytes).await
}

async fn show(config: &Config, args: ShowArgs) -> Result<(), CommandError> {
    let source = Source::find(config, args.url.url.as_deref()).await?;
    let sql = format!("SELECT * FROM dead_letters WHERE id = '{}'", args.id);
    let rows = source.rows(&sql).await?;
    let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
    let Some(letter) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Err(CommandError::Failed {
            message: format!(
                "there is no dead letter {}, or no longer; `tidewatch dead-letters list` shows those there are",
                args.id
            ),
            fault: Fault::BadInput,
        });
    };
    let value = bytes(letter, "value");
    if args.raw {
        let mut out = std::io::stdout().lock();
        return written(out.write_all(value).and_then(|()| out.flush())).map(drop);
    }
    super::print(&describe(letter, value))
}

fn bytes<'a>(letter: &'a RecordBatch, column: &str) -> &'a [u8] {
    letter
        .column_by_name(column)
        .and_then(|column| column.as_binary_opt::<i32>())
        .map_or(&[], |column| column.value(0))
}

/// A letter for people: a line for each thing that is known, then its value.
fn describe(letter: &RecordBatch, value: &[u8]) -> String {
    let mut text = String::new();
    for (field, column) in letter.schema_ref().fields().iter().zip(letter.columns()) {
        if column.is_null(0) || field.name() == "value" {
            continue;
        }
        let shown = if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            rfc3339(times.value(0))
        } else if let Some(bytes) = column.as_binary_opt::<i32>() {
            bytes.value(0).escape_ascii().to_string()
        } else if let Some(texts) = column.as_string_opt::<i32>() {
            // What someone sent may hold anything; a terminal must not obey it.
            let kept = |c: char| if c.is_control() { '\u{fffd}' } else { c };
            texts.value(0).chars().map(kept).collect()
        } else {
            let options = Default::default();
            let shown = arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options);
            shown.map_or_else(|_| String::new(), |shown| shown.value(0).to_string())
        };
        if !shown.is_empty() {
            let _ = writeln!(text, "{:18}{shown}", field.name());
        }
    }
    let _ = writeln!(text, "{:18}{} bytes", "value", value.len());
    let shown = &value[..value.len().min(SHOWN_BYTES_MAX)];
    match std::str::from_utf8(shown) {
        Ok(readable) if !readable.chars().any(is_unreadable) => {
            let _ = writeln!(text, "\n{readable}");
        }
        _ => text.push_str(&hexadecimal(shown)),
    }
    if value.len() > SHOWN_BYTES_MAX {
        let left = value.len() - SHOWN_BYTES_MAX;
        let _ = writeln!(text, "… and {left} bytes more; --raw writes them all");
    }
    text
}

fn is_unreadable(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t' | '\r')
}

/// Lines of an offset, sixteen bytes, and those of them that are text.
fn hexadecimal(value: &[u8]) -> String {
    let mut text = String::from("\n");
    for (index, line) in value.chunks(LINE_BYTES).enumerate() {
        let mut columns = String::new();
        for byte in line {
            let _ = write!(columns, "{byte:02x} ");
        }
        let readable: String = line
            .iter()
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            })
            .collect();
        let _ = writeln!(text, "{:08x}  {columns:48} {readable}", index * LINE_BYTES);
    }
    text
}

async fn replay(config: &Config, args: ReplayArgs) -> Result<(), CommandError> {
    let peer = match &args.url.url {
        Some(url) => Peer::new(url)?,
        None => find_instance(config).await?.ok_or_else(|| {
            CommandError::known(
                &error_codes::NO_INSTANCE,
                "no instance runs, and dead letters are in the log, which only an instance writes to; start one by `tidewatch run`, or name one by --url".to_owned(),
            )
        })?,
    };
    let mut request = ReplayRequest {
        ids: args.ids.iter().map(ToString::to_string).collect(),
        topic: args.topic,
        format: args.format.map(|format| format.name().to_owned()),
        after: None,
    };
    let mut total = Replayed::default();
    loop {
        let part = ask(&peer, &request).await?;
        total.replayed += part.replayed;
        total.samples += part.samples;
        total.failed += part.failed;
        total.failures.extend(part.failures);
        request.after = part.stopped_at;
        if request.after.is_none() {
            break;
        }
    }
    super::print(&summary(&total))?;
    match total.failed {
        0 => Ok(()),
        failed => Err(CommandError::Failed {
            message: format!(
                "{failed} dead letters could not be taken, or not all of them, and stay"
            ),
            fault: Fault::BadInput,
        }),
    }
}

async fn ask(peer: &Peer, request: &ReplayRequest) -> Result<Replayed, CommandError> {
    let unreadable = |error: serde_json::Error| CommandError::Failed {
        message: format!(
            "the answer of {} can't be read: {error}; is the instance of another version?",
            peer.url()
        ),
        fault: Fault::Bug,
    };
    let body = serde_json::to_vec(request).map_err(unreadable)?;
    let headers = [("content-type", "application/json")];
    let response = peer
        .ask(Method::POST, REPLAY_PATH, &headers, body.into())
        .await?;
    let answer = peer.body(response, ANSWER_BYTES_MAX).await?;
    serde_json::from_slice(&answer).map_err(unreadable)
}

fn summary(done: &Replayed) -> String {
    let mut text = format!(
        "{} dead letters replayed, {} samples sent to the log (those that were there already are dropped)\n",
        done.replayed, done.samples
    );
    for failure in &done.failures {
        let _ = writeln!(text, "{}: {}", failure.id, failure.error.escape_debug());
    }
    if done.failed > done.failures.len() {
        let _ = writeln!(text, "… and {} more", done.failed - done.failures.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_by_sixteen() {
        let shown = hexadecimal(b"\x0a\x03abcdefghijklmnopq");
        assert_eq!(
            shown,
            "\n00000000  0a 03 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e  ..abcdefghijklmn\n\
             00000010  6f 70 71                                         opq\n"
        );
    }

    #[test]
    fn what_came_of_a_replay_is_told_with_the_first_reasons() {
        let failure = |id: &str| ingest::foreign::Failure {
            id: id.to_owned(),
            error: "no\u{1b}[2J".to_owned(),
        };
        let done = Replayed {
            replayed: 3,
            samples: 30,
            failed: 2,
            failures: vec![failure("0-1")],
            stopped_at: None,
        };
        assert_eq!(
            summary(&done),
            "3 dead letters replayed, 30 samples sent to the log (those that were there already are dropped)\n0-1: no\\u{1b}[2J\n… and 1 more\n"
        );
    }
}
