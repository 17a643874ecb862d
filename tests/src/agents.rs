//! Real agents as tests use them: set up by what their pages in `docs/agents/` tell a user to write, run, and told of to `cargo xtask agents`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::Tidewatch;
use crate::samples::{self, Sample};

/// Names the file that [`Way`]s are told in: a line of JSON each.
const TOLD: &str = "TIDEWATCH_TEST_AGENTS_TOLD";
/// The label by which samples of one way are told from those of others.
pub const WAY_LABEL: &str = "way";

/// The first block of code below "Point it here" on an agent's page, with each default replaced by what the test has instead.
///
/// # Panics
/// If there is no such page, heading or block, or the block lacks one of the defaults.
pub fn settings(page: &str, replacements: &[(&str, String)]) -> String {
    settings_below(page, "## Point it here", replacements).swap_remove(0)
}

/// All blocks of code between a heading of an agent's page and the next one, with each default replaced by what the test has instead.
///
/// # Panics
/// If there is no such page, heading or block, or none of the blocks has one of the defaults.
pub fn settings_below(page: &str, heading: &str, replacements: &[(&str, String)]) -> Vec<String> {
    let path = crate::repository().join(format!("docs/agents/{page}.md"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut blocks: Vec<String> = Vec::new();
    let (mut is_below, mut is_code) = (false, false);
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
            if is_code && is_below {
                blocks.push(String::new());
            }
        } else if !is_code && line.starts_with('#') {
            is_below = line == heading;
        } else if let Some(block) = blocks.last_mut().filter(|_| is_code && is_below) {
            block.push_str(line);
            block.push('\n');
        }
    }
    assert!(
        !blocks.is_empty(),
        "docs/agents/{page}.md has no block of code below `{heading}`"
    );
    for (default, instead) in replacements {
        assert!(
            blocks.iter().any(|block| block.contains(default)),
            "docs/agents/{page}.md does not name `{default}` below `{heading}`"
        );
        for block in &mut blocks {
            *block = block.replace(default, instead);
        }
    }
    blocks
}

/// The program that `cargo xtask agents` has built and named in `variable`; `None`, said loudly, without it.
///
/// # Panics
/// If there is none and the variable `require` is `1`.
pub fn program(agent: &str, variable: &str, require: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).filter(|path| !path.is_empty());
    if named.is_none() {
        let missing = format!("the program, named by {variable}; `cargo xtask agents` builds it");
        crate::skip(agent, &missing, require);
    }
    named.map(PathBuf::from)
}

/// A way in which an agent sends to us. `cargo xtask agents` is told how it went when this is dropped.
#[derive(Debug)]
pub struct Way {
    agent: String,
    way: String,
    arrived: Option<String>,
}

impl Way {
    /// A way that has not been gone yet.
    pub fn of(agent: &str, way: &str) -> Self {
        Way {
            agent: agent.to_owned(),
            way: way.to_owned(),
            arrived: None,
        }
    }

    /// The value of [`WAY_LABEL`], which is also the name of what is captured: `collector-otlp_http`.
    pub fn label(&self) -> String {
        format!("{}-{}", self.agent, self.way)
    }

    /// Waits until exactly these samples have arrived, all of which bear the label of this way.
    ///
    /// # Panics
    /// If they never do.
    pub fn wait_for(&mut self, process: &mut Tidewatch, expected: &[Sample]) {
        samples::wait_for(process, WAY_LABEL, &self.label(), expected);
        self.has_arrived(&format!("{} samples", expected.len()));
    }

    /// What was sent is there, exactly.
    pub fn has_arrived(&mut self, what: &str) {
        self.arrived = Some(what.to_owned());
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let Some(path) = std::env::var_os(TOLD) else {
            return;
        };
        let told =
            serde_json::json!({"agent": self.agent, "way": self.way, "arrived": self.arrived});
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(format!("{told}\n").as_bytes()));
        if let Err(error) = written {
            eprintln!("{TOLD}: {error}");
        }
    }
}

/// An agent as a process of a test, with its output in a file. Dropped, it is killed.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    told: PathBuf,
}

impl Agent {
    /// Starts a program with its output in `directory`.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(command: &mut Command, directory: &Path) -> Self {
        let told = directory.join("agent.log");
        let log = File::create(&told).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {command:?}: {e}"));
        Agent { child, told }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// With its output, if it did not end with success.
    pub fn wait(mut self) {
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "{status}\n{}", self.output());
    }

    /// What it has written.
    pub fn output(&self) -> String {
        let text = std::fs::read_to_string(&self.told).unwrap_or_default();
        format!("--- what the agent wrote ---\n{text}--- end ---")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.output());
        }
    }
}
