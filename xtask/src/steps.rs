//! What each command does, step by step, and the honest line at its end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

use crate::peers::Peers;

/// What a step comes to: a line for people, or why it failed.
pub(crate) type Outcome = Result<String, String>;

/// Every test, with the peers they need. `arguments` go to `cargo test` in place of `--workspace`.
pub(crate) fn test(arguments: &[String]) -> Outcome {
    // The end-to-end tests run this very file; built before everything else, so that a compile error is seen before a broker is fetched.
    let binary = build_binary(&features(arguments))?;
    let peers = Peers::gather();
    let mut command = cargo(&["test"]);
    if arguments.is_empty() {
        // All failures at once, not only those of the first package.
        command.args(["--workspace", "--no-fail-fast"]);
    } else {
        command.args(arguments);
    }
    command
        .envs(peers.variables())
        .env("TIDEWATCH_TEST_BINARY", binary);
    let (passed, skipped) = run_and_watch(&mut command)?;
    drop(peers);
    let skips = match skipped.len() {
        0 => "nothing was skipped".to_owned(),
        number => format!("{number} SKIPPED:\n  {}", skipped.join("\n  ")),
    };
    if passed {
        Ok(format!("all tests passed; {skips}"))
    } else {
        Err(format!("tests failed (see above); {skips}"))
    }
}

/// What arguments of `cargo test` say of features: the program under test is built with the same.
fn features(arguments: &[String]) -> Vec<&str> {
    let mut features = Vec::new();
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next().filter(|word| *word != "--") {
        if word == "--features" || word == "-F" {
            features.push(word);
            features.extend(words.next());
        } else if word.starts_with("--features=") || word == "--all-features" {
            features.push(word);
        }
    }
    features
}

/// Everything that must hold before a change lands, the quick checks first.
pub(crate) fn ci() -> Outcome {
    step("format", cargo(&["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    // With an example among the targets, so that dependencies are checked with the same features as for the lints, once.
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--lib", "--examples"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    step("documentation", documentation)?;
    test(&[])
}

/// The benches of each stage and of the whole path. They print what they measured and fail only if they can't run.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    let mut command = cargo(&["bench", "--package", "benches"]);
    command.args(arguments);
    step("benches", command)?;
    Ok("benches done".to_owned())
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).stdin(Stdio::null());
    // What cargo told this program about its own package is not for others: build scripts look at it, and would be run again with all that
    // depends on them.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs one step with its output shown as it comes.
pub(crate) fn step(name: &str, mut command: Command) -> Result<(), String> {
    println!("--- {name}");
    let status = command
        .status()
        .map_err(|e| format!("{name}: can't start {command:?}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{name}: {status}"))
    }
}

/// Builds the debug program with these features (arguments of cargo) and returns its path, as cargo names it.
pub(crate) fn build_binary(features: &[&str]) -> Outcome {
    println!("--- building tidewatch");
    // The whole workspace with a test among the targets: the same features of every dependency as `cargo test --workspace` wants, so that
    // none is compiled twice.
    let mut command = cargo(&[
        "build",
        "--workspace",
        "--bin",
        "tidewatch",
        "--test",
        "scenarios",
        "--message-format=json-render-diagnostics",
    ]);
    command.args(features);
    // Errors of the compiler go to standard error, rendered; the pipe carries only messages for us.
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("can't start {command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("building tidewatch: {}", output.status));
    }
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "tidewatch")
            .then(|| message["executable"].as_str().map(str::to_owned))
            .flatten()
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(executable)
        .ok_or_else(|| "cargo build named no executable for tidewatch".to_owned())
}

/// Runs the tests with their output shown as it comes; whether they passed, and which lines said SKIPPED.
pub(crate) fn run_and_watch(command: &mut Command) -> Result<(bool, Vec<String>), String> {
    println!("--- tests");
    let failed = |e: std::io::Error| format!("cargo test: {e}");
    // Only standard error is watched: tests say SKIPPED there, past the capture of the test runner.
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
    let watcher = child.stderr.take().map(|stderr| {
        thread::spawn(move || {
            let mut skipped = Vec::new();
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                // Ours may be closed (a pager that was left); the tests go on.
                let _shown = writeln!(std::io::stderr(), "{line}");
                // The test runner may be in the middle of a line of its own.
                if let Some(at) = line.find("SKIPPED") {
                    skipped.push(line[at..].trim().to_owned());
                }
            }
            skipped
        })
    });
    let status = child.wait().map_err(failed)?;
    let mut skipped = watcher
        .and_then(|watcher| watcher.join().ok())
        .unwrap_or_default();
    skipped.sort();
    skipped.dedup();
    Ok((status.success(), skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_built_with_the_features_of_its_tests() {
        let of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            features(&words).join(" ")
        };
        for (line, expected) in [
            ("--workspace --test demo", ""),
            ("--features a/b --test demo", "--features a/b"),
            ("-F a --features=b", "-F a --features=b"),
            ("--all-features", "--all-features"),
            ("--test demo -- --features x", ""),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
    }
}
