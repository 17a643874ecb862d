//! The commands of the workspace: `cargo xtask test | ci | agents | compose | bench`. Standard library and serde_json only, so that it builds in seconds.

use std::process::{Command, ExitCode};

mod agents;
mod compose;
mod go_programs;
mod peers;
mod reaper;
mod steps;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [ARGUMENTS]   every test of the workspace, with a real Kafka broker, Python and an S3 server where they can be had;
                     arguments go to `cargo test` (cargo xtask test --package bus)
  ci                 format, lints, documentation, then test
  agents             real agents: builds the Collector, Telegraf, vmagent and Prometheus 3 with Go unless they are built, lets every agent send by every way
                     that its page in docs/agents/ names, and tells what arrived; with --capture, what they sent replaces tests/captured/
  compose            docker-compose.yml for real: builds the image from a ready binary, starts it, kills and scales it, removes it
  bench [ARGUMENTS]  the benches of each stage and of the whole path; arguments go to `cargo bench`

A test that can't run here says SKIPPED; TIDEWATCH_REQUIRE_KAFKA=1, _PYTHON=1, _S3=1, _STRACE=1 turn that into a failure.
TIDEWATCH_TEST_KAFKA=HOST:PORT and TIDEWATCH_TEST_S3 name servers to use instead of starting some.";

/// Set for the process that does the work, by the one that watches over it.
const GUARDED: &str = "TIDEWATCH_XTASK_GUARDED";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = arguments
        .split_first()
        .map_or(("", [].as_slice()), |(command, rest)| {
            (command.as_str(), rest)
        });
    let work: &dyn Fn() -> steps::Outcome = match command {
        "test" => &|| steps::test(rest),
        "ci" if rest.is_empty() => &steps::ci,
        "agents" if rest.is_empty() => &|| agents::agents(false),
        "agents" if rest == ["--capture"] => &|| agents::agents(true),
        "compose" if rest.is_empty() => &compose::compose,
        "bench" => &|| steps::bench(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if std::env::var_os(GUARDED).is_none() {
        return watch_over(&arguments);
    }
    match work() {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAILED: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the same command once more, as a process that ends with all it started when we end.
fn watch_over(arguments: &[String]) -> ExitCode {
    let status = std::env::current_exe().and_then(|program| {
        reaper::run_guarded(Command::new(program).args(arguments).env(GUARDED, "1"))
    });
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            // The worker has said why, unless it was killed.
            if status.code().is_none() {
                println!("FAILED: {status}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("FAILED: can't start the work: {error}");
            ExitCode::FAILURE
        }
    }
}
