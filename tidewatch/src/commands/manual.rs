//! `tidewatch man` and `tidewatch completions`: both written from the definition of the command line, so that they can't differ from it.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;

use crate::error::CommandError;

/// Flags of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this directory, which is made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the program's page, or writes all pages.
pub(crate) fn man(args: &ManArgs, program: clap::Command) -> Result<(), CommandError> {
    let failed = |place: &Path, error| {
        CommandError::surroundings(format!("can't write `{}`: {error}", place.display()))
    };
    let mut pages = pages(program)?.into_iter();
    let Some(dir) = &args.dir else {
        return match pages.next() {
            Some((_, page)) => super::print(&page),
            None => Ok(()),
        };
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for (name, page) in pages {
        let place = dir.join(name);
        std::fs::write(&place, page).map_err(|error| failed(&place, error))?;
    }
    Ok(())
}

/// Prints the script that the shell reads.
pub(crate) fn completions(
    args: &CompletionsArgs,
    mut program: clap::Command,
) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "tidewatch", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}

/// File name and text of the page of each command, the program's own first.
fn pages(program: clap::Command) -> Result<Vec<(String, String)>, CommandError> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add_pages(&program, "tidewatch", &mut pages)
        .map_err(|error| CommandError::surroundings(format!("writing a man page: {error}")))?;
    Ok(pages)
}

fn add_pages(
    command: &clap::Command,
    name: &str,
    pages: &mut Vec<(String, String)>,
) -> std::io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().display_name(name)).render(&mut page)?;
    pages.push((
        format!("{name}.1"),
        String::from_utf8_lossy(&page).into_owned(),
    ));
    for sub in command.get_subcommands() {
        add_pages(sub, &format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::*;
    use crate::cli::Cli;

    /// The names of all commands with their parents: `topics-create`.
    fn commands(command: &clap::Command, parent: &str, names: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            let name = format!("{parent}-{}", sub.get_name());
            commands(sub, &name, names);
            names.push(name);
        }
    }

    #[test]
    fn every_command_has_a_page_with_its_example() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("man");
        let program = Cli::command();
        let args = ManArgs {
            dir: Some(dir.clone()),
        };
        man(&args, program.clone()).unwrap();
        let mut names = vec!["tidewatch".to_owned()];
        commands(&program, "tidewatch", &mut names);
        assert!(names.len() > 10, "{names:?}");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), names.len());
        for name in names {
            let page = std::fs::read_to_string(dir.join(format!("{name}.1"))).unwrap();
            assert!(
                page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
                "{name}"
            );
            let is_group = page.contains(".SH SUBCOMMANDS");
            assert!(
                is_group || page.contains("Example"),
                "{name} has no example"
            );
        }
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "tidewatch", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["doctor", "data-dir", "completions"] {
                assert!(script.contains(word), "{shell} lacks `{word}`");
            }
        }
    }
}
