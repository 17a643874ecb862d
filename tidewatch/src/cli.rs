//! The command line: what can be said, and which command does it.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use schemas::Table;

pub use crate::args::{RunArgs, SqlArgs, SqlFormat, TailArgs, TailTopic, UrlArgs};
pub use crate::commands::demo::DemoArgs;
use crate::commands::detect::DetectArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::explain::ExplainArgs;
use crate::commands::forecast::ForecastArgs;
use crate::commands::manual::{CompletionsArgs, ManArgs};
pub use crate::commands::report::{CapacityArgs, ReportCommand, ReportFormat};
use crate::commands::score::ScoreArgs;
use crate::commands::status::StatusArgs;
use crate::commands::{self, manual};
use crate::config::{Config, ConfigErrors, FlagValue};
use crate::error::CommandError;
use crate::replay::ReplayArgs;

/// Watches the metrics of a fleet as they flow: rollups, anomalies, and SQL over all of it.
#[derive(Debug, Parser)]
#[command(
    name = "tidewatch",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(
    after_help = "Start with `tidewatch run`: it needs no configuration and nothing else installed."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Read settings from this TOML file. `tidewatch config` prints them all.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Where data lives (setting data.dir).
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Collect, receive, process and store metrics, and answer questions about them, until Ctrl-C.
    #[command(
        after_help = "Example:\n  tidewatch run --data-dir /var/lib/tidewatch --config /etc/tidewatch.toml"
    )]
    Run(RunArgs),
    /// See it work: an instance with a simulated fleet, weeks of history first, then live, until Ctrl-C.
    #[command(after_help = commands::demo::AFTER_HELP)]
    Demo(DemoArgs),
    /// Ask an SQL question: of a running instance, or of a data directory when none runs.
    #[command(
        after_help = "Examples:\n  tidewatch sql \"SELECT metric, count(*) FROM samples GROUP BY 1 ORDER BY 2 DESC\"\n  \
        tidewatch sql -f parquet -o cpu.parquet \"SELECT * FROM rollups_1m WHERE metric = 'system.cpu.utilization'\"\n  \
        echo 'SHOW TABLES' | tidewatch sql\n  tidewatch sql    # on a terminal: a shell with history, completion and \\?"
    )]
    Sql(SqlArgs),
    /// Follow samples or anomalies as they are published, one JSON object per line, until Ctrl-C.
    #[command(after_help = "Example:\n  tidewatch tail anomalies")]
    Tail(TailArgs),
    /// Process history from CSV or Parquet files as if it came now, on its own clock, into a data directory.
    #[command(
        after_help = "Examples:\n  tidewatch replay cpu.csv --data-dir march\n  \
        tidewatch replay 2026-*.parquet --data-dir march --output anomalies.csv --scores scores.parquet\n  \
        xz -dc all.csv.xz | tidewatch replay - --data-dir march"
    )]
    Replay(ReplayArgs),
    /// Judge history from CSV or Parquet files as the stream does, without storing it: events on standard output, scores to a file.
    #[command(after_help = "Examples:\n  tidewatch detect cpu.csv\n  \
        tidewatch detect 2026-*.parquet --output scores.parquet --events events.ndjson")]
    Detect(DetectArgs),
    /// Forecast the series of CSV or Parquet files: per step the median and the bands that hold 50, 80 and 95 % of the outcomes.
    #[command(
        after_help = "Examples:\n  tidewatch forecast cpu.csv --horizon 48h\n  \
        tidewatch forecast 2026-*.parquet --horizon 14d --method mstl_ets --output forecast.csv"
    )]
    Forecast(ForecastArgs),
    /// Tell how good detection and forecasts are on public data: nab, wsd, forest, forecast, disk.
    #[command(after_help = "Example:\n  tidewatch score nab --data data --json nab.json")]
    Score(ScoreArgs),
    /// Ask a running instance whether it works; the exit code says it too (0: it does). For health checks.
    #[command(after_help = "Example:\n  tidewatch health --ready")]
    Health(commands::health::HealthArgs),
    /// Make, list and revoke the tokens by which others send and ask.
    #[command(subcommand)]
    Token(commands::token::TokenCommand),
    /// Show which labels have too many values, and release those that were folded.
    #[command(subcommand)]
    Cardinality(commands::cardinality::CardinalityCommand),
    /// Look at records that could not be decoded, and decode them again.
    #[command(subcommand)]
    DeadLetters(commands::dead_letters::DeadLettersCommand),
    /// Work on the topics of a Kafka cluster.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Work on the Parquet archive.
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Print the settings in force as TOML, with where each was set; secrets are masked.
    #[command(
        after_help = "Examples:\n  TIDEWATCH__BUS__PARTITIONS=8 tidewatch config --config tidewatch.toml\n  tidewatch config --template > tidewatch.toml"
    )]
    Config(ConfigArgs),
    /// Tell all that is wrong with the settings, with file, line and column, and what is valid and yet hardly meant.
    #[command(after_help = "Example:\n  tidewatch check --config tidewatch.toml")]
    Check,
    /// Check the running system and its surroundings: broker, topics, lag, stores, space, clock, limits. Exit code 1 if a check fails.
    #[command(
        after_help = "Examples:\n  tidewatch doctor --config /etc/tidewatch.toml\n  tidewatch doctor --json > report.json"
    )]
    Doctor(DoctorArgs),
    /// Show what a running instance is and does: rates, lag, series, memory, checkpoints, files.
    #[command(
        after_help = "Examples:\n  tidewatch status --watch\n  tidewatch status --url http://127.0.0.1:7744 --json"
    )]
    Status(StatusArgs),
    /// Write a report for people: what will be full, and when.
    #[command(subcommand)]
    Report(ReportCommand),
    /// Explain the code of an error: what it means, what was expected, what to do.
    #[command(after_help = "Example:\n  tidewatch explain TW-LOG-001")]
    Explain(ExplainArgs),
    /// Print a script that completes commands and flags in a shell.
    #[command(
        after_help = "Examples:\n  tidewatch completions bash > ~/.local/share/bash-completion/completions/tidewatch\n  \
        tidewatch completions fish > ~/.config/fish/completions/tidewatch.fish"
    )]
    Completions(CompletionsArgs),
    /// Print the man page, or write the pages of all commands.
    #[command(
        after_help = "Examples:\n  tidewatch man | man -l -\n  tidewatch man --dir ~/.local/share/man/man1"
    )]
    Man(ManArgs),
    /// Print the version, and whether this program speaks TLS to Kafka.
    #[command(after_help = "Example:\n  tidewatch version")]
    Version,
}

/// Flags of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print a file to start from instead: every setting with its meaning and default, commented out.
    #[arg(long)]
    pub template: bool,
}

/// Commands of `topics`.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Create the topics that are missing; existing ones are left as they are.
    #[command(
        after_help = "Example:\n  TIDEWATCH__BUS__KIND=kafka TIDEWATCH__BUS__BROKERS=broker:9092 tidewatch topics create --partitions 12"
    )]
    Create {
        /// Partitions of each topic (setting bus.partitions).
        #[arg(long, value_name = "N")]
        partitions: Option<u32>,
    },
}

/// Commands of `archive`.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// List the files of a table, one absolute path or URL per line: exactly those that count at this moment.
    #[command(after_help = "Example:\n  tidewatch archive files --table samples")]
    Files {
        /// The table: samples, rollups_10s, rollups_1m, rollups_5m, rollups_1h, rollups_1d, anomalies, forecasts, forecast_scores.
        #[arg(long, value_name = "TABLE", value_parser = parse_table)]
        table: Table,
    },
}

fn parse_table(name: &str) -> Result<Table, String> {
    Table::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Table::all().map(Table::name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

impl Cli {
    /// The settings in force under these flags.
    ///
    /// # Errors
    /// `ConfigErrors` with every problem.
    pub fn settings(&self) -> Result<Config, ConfigErrors> {
        let mut flags = Vec::new();
        let mut set = |flag, path, value: toml::Value| flags.push(FlagValue { flag, path, value });
        if let Some(dir) = &self.data_dir {
            set(
                "--data-dir",
                "data.dir",
                dir.to_string_lossy().into_owned().into(),
            );
        }
        match &self.command {
            Command::Run(run) | Command::Demo(DemoArgs { run, .. }) => {
                if let Some(listen) = &run.listen {
                    set("--listen", "server.listen", listen.clone().into());
                }
                if run.insecure_listen {
                    set("--insecure-listen", "server.insecure_listen", true.into());
                }
                if run.rebuild_damaged_states {
                    set(
                        "--rebuild-damaged-states",
                        "archive.rebuild_damaged_states",
                        true.into(),
                    );
                }
            }
            Command::Detect(DetectArgs {
                calendar: Some(file),
                ..
            })
            | Command::Forecast(ForecastArgs {
                calendar: Some(file),
                ..
            }) => {
                let file = file.to_string_lossy().into_owned();
                set("--calendar", "calendar.file", file.into());
            }
            Command::Topics(TopicsCommand::Create {
                partitions: Some(partitions),
            }) => {
                set(
                    "--partitions",
                    "bus.partitions",
                    i64::from(*partitions).into(),
                );
            }
            _ => {}
        }
        Config::load(self.config.as_deref(), &flags)
    }

    /// Does what was asked. Blocks until it is done.
    ///
    /// # Errors
    /// `CommandError`, whose exit code says whether to look at the command line and settings (2) or elsewhere (1).
    pub fn execute(self) -> Result<(), CommandError> {
        match &self.command {
            Command::Version => {
                return commands::print(&commands::version());
            }
            Command::Config(ConfigArgs { template: true }) => {
                return commands::print(&crate::config::template());
            }
            Command::Explain(args) => return commands::explain::run(args),
            Command::Score(args) => return commands::score::run(args),
            Command::Completions(args) => return manual::completions(args, Cli::command()),
            Command::Man(args) => return manual::man(args, Cli::command()),
            _ => {}
        }
        let mut config = match (self.settings(), &self.command) {
            (Err(errors), Command::Doctor(args)) => return commands::doctor::refuse(errors, args),
            (settings, _) => settings?,
        };
        match &self.command {
            Command::Config(_) => return commands::print(&config.to_toml()),
            Command::Check => return commands::check::run(&config),
            Command::Token(_) => {
                let Command::Token(command) = self.command else {
                    return Ok(());
                };
                return commands::token::run(&config, command);
            }
            // What is wrong stands in their answer; log lines between would break it.
            Command::Doctor(_) | Command::Status(_) if !config.is_set("log.level") => {
                config.log.level = "off".to_owned();
            }
            _ => {}
        }
        if matches!(
            self.command,
            Command::Replay(_) | Command::Detect(_) | Command::Forecast(_)
        ) {
            crate::replay::quieten(&mut config);
        }
        crate::logs::start(&config.log);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                CommandError::surroundings(format!(
                    "can't start the threads of the program: {error}"
                ))
            })?;
        let done = runtime.block_on(async move {
            match self.command {
                Command::Run(_) => crate::app::run(config).await,
                Command::Demo(args) => {
                    commands::demo::run(config, args, self.data_dir.is_some()).await
                }
                Command::Sql(args) => commands::sql::run(&config, args).await,
                Command::Tail(args) => commands::tail::run(&config, args).await,
                Command::Replay(args) => crate::replay::run(config, args).await,
                Command::Detect(args) => commands::detect::run(config, args).await,
                Command::Forecast(args) => commands::forecast::run(config, args).await,
                Command::Health(args) => commands::health::run(&config, args).await,
                Command::Cardinality(command) => commands::cardinality::run(&config, command).await,
                Command::Topics(TopicsCommand::Create { .. }) => {
                    commands::topics::create(&config).await
                }
                Command::DeadLetters(command) => {
                    commands::dead_letters::run(&config, command).await
                }
                Command::Archive(ArchiveCommand::Files { table }) => {
                    commands::archive::files(&config, table).await
                }
                Command::Doctor(args) => commands::doctor::run(&config, &args).await,
                Command::Status(args) => commands::status::run(&config, args).await,
                Command::Report(command) => commands::report::run(&config, command).await,
                // Answered above.
                Command::Config(_)
                | Command::Check
                | Command::Token(_)
                | Command::Explain(_)
                | Command::Score(_)
                | Command::Completions(_)
                | Command::Man(_)
                | Command::Version => Ok(()),
            }
        });
        // A blocking task that hangs on a dead disk or peer must not hold back the end.
        runtime.shutdown_background();
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_does_something_has_an_example() {
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                command
                    .get_subcommands()
                    .filter(|sub| sub.get_name() != "help")
                    .for_each(check);
            } else {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    help.contains("Example") && help.contains("tidewatch"),
                    "`{}` has no example",
                    command.get_name()
                );
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn flags_become_settings() {
        let cli = parse("tidewatch run --listen 127.0.0.1:9 --data-dir d").unwrap();
        let config = cli.settings().unwrap();
        assert_eq!(
            (config.server.listen.port(), config.data_dir),
            (9, PathBuf::from("d"))
        );
        let config = parse("tidewatch topics create --partitions 12")
            .unwrap()
            .settings()
            .unwrap();
        assert_eq!(config.bus.partitions, Some(12));
        let anonymous = |line: &str| {
            let config = parse(line).unwrap().settings().unwrap();
            config.is_anonymous_at(config.server.listen)
        };
        assert!(anonymous("tidewatch run"));
        assert!(!anonymous("tidewatch run --listen 0.0.0.0:9"));
        assert!(anonymous(
            "tidewatch run --listen 0.0.0.0:9 --insecure-listen"
        ));
    }

    #[test]
    fn options_are_where_people_put_them() {
        let cli = parse("tidewatch --data-dir d sql -f csv -o out.csv SHOW").unwrap();
        let Command::Sql(args) = cli.command else {
            panic!("not sql")
        };
        assert_eq!(
            (args.format, args.output, args.query.as_deref()),
            (SqlFormat::Csv, Some(PathBuf::from("out.csv")), Some("SHOW"))
        );
        assert!(matches!(
            parse("tidewatch tail anomalies").unwrap().command,
            Command::Tail(TailArgs {
                what: TailTopic::Anomalies,
                ..
            })
        ));
        assert!(
            parse("tidewatch archive files --table sample")
                .unwrap_err()
                .to_string()
                .contains("expected one of samples, rollups_10s")
        );
        assert_eq!(
            parse("tidewatch sql -f xml SHOW").unwrap_err().exit_code(),
            2
        );
        assert_eq!(parse("tidewatch").unwrap_err().exit_code(), 2);
    }
}
