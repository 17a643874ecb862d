//! The `tidewatch` program: parses the command line, does what it says, tells by its exit code how it went.

use std::process::ExitCode;

use clap::Parser;
use schemas::HasCode;
use tidewatch::cli::Cli;

fn main() -> ExitCode {
    schemas::quiet_expected_panics();
    // clap ends the process itself: 0 for help and version, 2 for wrong usage.
    match Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewatch: {}: {error}", error.code().id);
            ExitCode::from(error.exit_code())
        }
    }
}
