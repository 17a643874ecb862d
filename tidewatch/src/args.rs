//! Flags that more than one command has, or that more than one file works with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Address to listen on (setting server.listen).
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Ask nobody for a token, though other machines can reach the address (setting server.insecure_listen).
    #[arg(long)]
    pub insecure_listen: bool,
    /// Make saved states that are damaged or gone anew from the archive, instead of stopping their partitions (setting archive.rebuild_damaged_states).
    #[arg(long)]
    pub rebuild_damaged_states: bool,
}

/// Where an instance is asked.
#[derive(Debug, Args)]
pub struct UrlArgs {
    /// The instance to ask, such as http://127.0.0.1:7744. Default: the setting server.listen.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Flags of `sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The question. Left out: a shell on a terminal; otherwise it is read from standard input.
    pub query: Option<String>,
    /// How the answer is written.
    #[arg(short, long, value_enum, default_value_t = SqlFormat::Table)]
    pub format: SqlFormat,
    /// Write the answer to this file; it appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SqlFormat {
    /// Aligned columns for people.
    Table,
    /// Comma-separated, with a header.
    Csv,
    /// One array of objects.
    Json,
    /// One object per line.
    Ndjson,
    /// One Parquet file.
    Parquet,
}

impl SqlFormat {
    pub(crate) fn encoding(self) -> query::Format {
        match self {
            SqlFormat::Table => query::Format::Text,
            SqlFormat::Csv => query::Format::Csv,
            SqlFormat::Json => query::Format::Json,
            SqlFormat::Ndjson => query::Format::Ndjson,
            SqlFormat::Parquet => query::Format::Parquet,
        }
    }
}

/// Flags of `tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// What to follow.
    #[arg(value_enum)]
    pub what: TailTopic,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// What can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TailTopic {
    /// Samples as they arrive.
    Samples,
    /// Anomalies as they are found.
    Anomalies,
}

impl TailTopic {
    pub(crate) fn name(self) -> &'static str {
        match self {
            TailTopic::Samples => "samples",
            TailTopic::Anomalies => "anomalies",
        }
    }
}
