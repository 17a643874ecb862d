//! The README's tour, executed command by command as it stands there, so that it can't rot.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tests::process::{binary, free_address};

/// The address and the broker that the tour names.
const ADDRESS: &str = "127.0.0.1:7744";
const BROKERS: &str = "127.0.0.1:9092";
/// What the test leaves out, because the program that it tests is built already.
const BUILD: &str = "cargo build --release && export PATH=\"$PWD/target/release:$PATH\"";
/// Stands for what differs from run to run: in a line any text, alone on a line any lines.
const ANYTHING: &str = "…";
/// How long one command may take. A bound for what hangs.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// How long it may take until what was sent is in SQL, on a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Ends the output of a command.
const MARK: &str = "=== ended with";

/// A command and what the document says that it prints.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    expected: Vec<String>,
}

/// The steps of all `console` blocks of a document.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    expected: Vec::new(),
                }),
                (None, Some(step)) => step.expected.push(line.to_owned()),
                (None, None) => panic!("a block begins with output: {line}"),
            },
            (false, _) => {}
        }
    }
    steps
}

fn line_matches(expected: &str, found: &str) -> bool {
    let mut parts = expected.split(ANYTHING);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn matches(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == ANYTHING => {
            (0..=found.len()).any(|skipped| matches(rest, &found[skipped..]))
        }
        Some((line, rest)) => found
            .split_first()
            .is_some_and(|(first, others)| line_matches(line, first) && matches(rest, others)),
    }
}

/// One shell for the whole tour, in a process group of its own that ends with it.
struct Shell {
    child: Child,
    lines: Receiver<String>,
}

impl Shell {
    fn start(directory: &Path, path: &str) -> Shell {
        let mut child = Command::new("bash")
            .current_dir(directory)
            .env("HOME", directory)
            .env("PATH", path)
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("bash can't be started: {error}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Shell { child, lines }
    }

    /// Runs a command; what it printed on both outputs, and its exit code.
    fn run(&mut self, command: &str) -> (Vec<String>, String) {
        let input = self.child.stdin.as_mut().unwrap();
        // The mark begins on a line of its own also after an output that does not end its last one.
        writeln!(
            input,
            "{{ {command}\n}} 2>&1; code=$?; printf '\\n{MARK} %s\\n' $code"
        )
        .unwrap();
        let mut printed = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(COMMAND_TIMEOUT)
                .unwrap_or_else(|error| panic!("`{command}`: {error}\n{}", printed.join("\n")));
            if let Some(code) = line.strip_prefix(MARK) {
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                return (printed, code.trim().to_owned());
            }
            printed.push(line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // With the group go the programs that a failed tour left running.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

#[test]
fn every_command_of_the_tour_prints_what_the_readme_says() {
    if !tests::audit::is_available("tour") {
        return;
    }
    let brokers = tests::kafka::kafka_for_tests();
    let directory = tempfile::tempdir().unwrap();
    let programs = directory.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    symlink(binary(), programs.join("tidewatch")).unwrap();
    let python = tests::python::venv::interpreter().unwrap();
    let path = format!(
        "{}:{}:{}",
        programs.display(),
        python.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let address = free_address().to_string();
    let readme = std::fs::read_to_string(tests::repository().join("README.md")).unwrap();
    let steps = steps(&readme);
    assert_eq!(steps[0].command, BUILD);
    assert!(steps.len() > 15, "the tour has {} steps", steps.len());

    let mut shell = Shell::start(directory.path(), &path);
    shell.run(&format!("export TIDEWATCH__SERVER__LISTEN={address}"));
    for step in &steps[1..] {
        if step.command.contains(BROKERS) {
            if brokers.is_none() {
                // Said loudly above; the Kafka part is the last.
                return;
            }
            let name = format!("tour-{}", std::process::id());
            shell.run(&format!(
                "export TIDEWATCH__BUS__TOPIC_PREFIX={name} TIDEWATCH__BUS__GROUP={name}"
            ));
        }
        let command = step
            .command
            .replace(ADDRESS, &address)
            .replace(BROKERS, brokers.as_deref().unwrap_or(BROKERS));
        // What was acknowledged is in SQL a moment later, as the README says: a question is asked again until then.
        let deadline = Instant::now()
            + match command.starts_with("tidewatch sql ") {
                true => ANSWER_TIMEOUT,
                false => Duration::ZERO,
            };
        let (found, code) = loop {
            let (printed, code) = shell.run(&command);
            let found: Vec<String> = printed
                .iter()
                .map(|line| line.replace(&address, ADDRESS))
                .collect();
            if matches(&step.expected, &found) || Instant::now() >= deadline {
                break (found, code);
            }
        };
        assert!(
            code == "0" && matches(&step.expected, &found),
            "`{}` ended with {code}\nexpected:\n{}\nfound:\n{}\nlogs:\n{}",
            step.command,
            step.expected.join("\n"),
            found.join("\n"),
            shell.run("tail -n 20 *.log").0.join("\n")
        );
    }
}

#[test]
fn what_differs_may_differ_and_nothing_else() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let matches = |expected: &str, found: &str| matches(&lines(expected), &lines(found));
    assert!(matches("a\nb", "a\nb"));
    assert!(matches("a … c\n…\nd", "a b c\n1\n2\nd"));
    assert!(matches("…\nd", "d"));
    assert!(matches("x…", "x"));
    assert!(!matches("a", "a\nb"));
    assert!(!matches("a … c", "a b"));
    assert!(!matches("…\nd", "e"));
    assert!(!matches("a", "aa"));
    assert_eq!(
        steps("text\n```console\n$ one\nout\n$ two\n```\n$ no\n"),
        [
            Step {
                command: "one".into(),
                expected: vec!["out".into()]
            },
            Step {
                command: "two".into(),
                expected: vec![]
            },
        ]
    );
}
