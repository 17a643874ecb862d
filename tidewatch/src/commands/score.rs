//! `tidewatch score`: a benchmark on public data, as a table for a person and as JSON.

use std::path::PathBuf;

use clap::Args;
use scores::{BENCHMARKS, Benchmark};

use crate::commands;
use crate::error::CommandError;

/// Flags of `score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The benchmark: nab, wsd, forest, forecast or disk.
    #[arg(value_name = "BENCHMARK", value_parser = parse_benchmark)]
    pub benchmark: Benchmark,
    /// The folder that holds a folder of the benchmark's files, in the form of docs/quality.md.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Write the result as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn parse_benchmark(name: &str) -> Result<Benchmark, String> {
    let known = BENCHMARKS.iter().find(|(known, _)| *known == name);
    known.copied().ok_or_else(|| {
        let names: Vec<&str> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Runs the benchmark with the defaults; no setting changes it.
pub(crate) fn run(args: &ScoreArgs) -> Result<(), CommandError> {
    let (name, run) = args.benchmark;
    let failed = |error: std::io::Error| match &args.json {
        Some(file) => {
            CommandError::surroundings(format!("can't write `{}`: {error}", file.display()))
        }
        None => CommandError::surroundings(error.to_string()),
    };
    // Opened first: minutes of work must not end in a file that can't be written.
    let json = args.json.as_ref().map(std::fs::File::create).transpose();
    let json = json.map_err(failed)?;
    let report =
        run(&args.data).map_err(|error| CommandError::of(&format!("score {name}"), error))?;
    if let Some(file) = json {
        serde_json::to_writer_pretty(file, &report)
            .map_err(std::io::Error::from)
            .map_err(failed)?;
    }
    commands::print(&report.table())
}
