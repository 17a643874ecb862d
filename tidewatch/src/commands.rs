//! The commands besides `run`. But for `demo`, each asks a question and ends.

use std::io::{ErrorKind, Write};

use crate::error::CommandError;

pub(crate) mod archive;
pub(crate) mod cardinality;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod dead_letters;
pub(crate) mod demo;
pub(crate) mod detect;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod forecast;
pub(crate) mod health;
pub(crate) mod manual;
pub(crate) mod output;
pub(crate) mod report;
pub(crate) mod score;
mod shell;
pub(crate) mod source;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod terminal;
pub(crate) mod token;
pub(crate) mod topics;

/// What `tidewatch version` prints.
pub(crate) fn version() -> String {
    let tls = if bus::kafka::HAS_TLS {
        "built in"
    } else {
        "not built in"
    };
    format!(
        "tidewatch {}\nkafka-tls: {tls}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))? {
        Reader::Reads | Reader::Left => Ok(()),
    }
}

/// Whether someone still reads what is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Reads,
    Left,
}

pub(crate) fn written(result: std::io::Result<()>) -> Result<Reader, CommandError> {
    match result {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(CommandError::surroundings(format!(
            "standard output: {error}"
        ))),
    }
}
