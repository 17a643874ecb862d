//! `tidewatch sql`: one question and its answer, from a running instance or a data directory; says on standard error which. Without a question, a
//! shell where there is a terminal.

use std::io::{IsTerminal, Read};

use super::output::Output;
use super::shell;
use super::source::Source;
use crate::args::{SqlArgs, SqlFormat};
use crate::config::Config;
use crate::error::CommandError;

/// Asks, and writes the answer.
pub(crate) async fn run(config: &Config, args: SqlArgs) -> Result<(), CommandError> {
    let query = match args.query {
        Some(query) => query,
        None if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() => {
            return shell::run(config, args).await;
        }
        None => read_query()?,
    };
    if args.format == SqlFormat::Parquet && args.output.is_none() && std::io::stdout().is_terminal()
    {
        return Err(CommandError::Usage(
            "a Parquet file is not for the terminal; name a file by -o FILE".to_owned(),
        ));
    }
    // Opened before the question is asked: a long query must not end in a file that can't be written.
    let output = Output::open(args.output.as_deref())?;
    let source = Source::find(config, args.url.url.as_deref()).await?;
    eprintln!("{}", source.told());
    let answer = source.chunks(&query, args.format.encoding()).await?;
    if let Some(note) = &answer.note {
        eprintln!("note: {note}");
    }
    output.write_all(answer.bytes).await
}

fn read_query() -> Result<String, CommandError> {
    if std::io::stdin().is_terminal() {
        return Err(CommandError::Usage("no question; give it as an argument, such as `tidewatch sql \"SHOW TABLES\"`, or on standard input".to_owned()));
    }
    let mut query = String::new();
    let limit = query::SQL_BYTES_MAX as u64 + 1;
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut query)
        .map_err(|error| CommandError::surroundings(format!("standard input: {error}")))?;
    Ok(query)
}
