//! A program in a terminal that tmux emulates: keys go in, and what a person would see comes out.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `1`: having no tmux is a failure.
pub const REQUIRE_TMUX: &str = "TIDEWATCH_REQUIRE_TMUX";
/// How long the screen may take to show what is waited for: a debug build on a busy machine.
const SCREEN_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A terminal of a server of its own. Dropped, both end.
#[derive(Debug)]
pub struct Tmux {
    server: String,
}

/// Whether there is a tmux. If not, `test` is skipped, and said to be.
///
/// # Panics
/// If `TIDEWATCH_REQUIRE_TMUX=1` and there is none.
pub fn is_available(test: &str) -> bool {
    let found = Command::new("tmux")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        crate::skip(test, "tmux", REQUIRE_TMUX);
    }
    found
}

impl Tmux {
    /// Runs a program with arguments in a terminal of 80 columns and 24 rows; `environment` is added to ours.
    pub fn start(
        name: &str,
        directory: &Path,
        environment: &[(&str, &str)],
        words: &[&str],
    ) -> Self {
        let tmux = Tmux {
            server: format!("tidewatch-{name}-{}", std::process::id()),
        };
        let mut command = tmux.command(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
        ]);
        for (name, value) in environment {
            command.args(["-e", &format!("{name}={value}")]);
        }
        command.args(words).current_dir(directory);
        check(&mut command);
        tmux
    }

    /// Types a text.
    pub fn text(&self, text: &str) {
        check(&mut self.command(&["send-keys", "-l", "--", &escaped(text)]));
    }

    /// Types a text, then Enter.
    pub fn line(&self, text: &str) {
        self.text(text);
        self.key("Enter");
    }

    /// Presses a key by its name: `Tab`, `C-c`, `Up`.
    pub fn key(&self, name: &str) {
        check(&mut self.command(&["send-keys", name]));
    }

    /// Pastes a text, as a terminal does that marks what is pasted.
    pub fn paste(&self, text: &str) {
        check(&mut self.command(&["set-buffer", "--", &escaped(text)]));
        check(&mut self.command(&["paste-buffer", "-p"]));
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        check(&mut self.command(&["resize-window", "-x", &columns, "-y", &rows]));
    }

    /// What a person sees, without space at the ends of lines. Empty if the program has ended.
    pub fn screen(&self) -> String {
        let output = self.command(&["capture-pane", "-p"]).output();
        let output = output.expect("tmux can be started");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Waits until the screen is as `condition` wants it, and returns it; `what` says what that is.
    ///
    /// # Panics
    /// With the screen, if that takes too long.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + SCREEN_TIMEOUT;
        loop {
            let screen = self.screen();
            if condition(&screen) {
                return screen;
            }
            assert!(
                Instant::now() < deadline,
                "the terminal never showed {what}; it shows:\n{screen}"
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until the cursor is in a column, from 0: where a program that works leaves it, below what was typed.
    ///
    /// # Panics
    /// With the screen, if that takes too long.
    pub fn wait_for_column(&self, column: usize) {
        let wanted = column.to_string();
        self.wait_for(&format!("the cursor in column {column}"), |_| {
            let output = self
                .command(&["display-message", "-p", "#{cursor_x}"])
                .output();
            output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == wanted)
        });
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .args(["-L", &self.server])
            .args(arguments)
            // Inside another tmux, too.
            .env_remove("TMUX")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Gone by itself where its program has ended.
        let _gone = self.command(&["kill-server"]).output();
    }
}

/// A semicolon at the end of an argument would be one of tmux' own.
fn escaped(text: &str) -> String {
    match text.strip_suffix(';') {
        Some(rest) => format!("{rest}\\;"),
        None => text.to_owned(),
    }
}

fn check(command: &mut Command) {
    let Output { status, stderr, .. } = command.output().expect("tmux can be started");
    assert!(
        status.success(),
        "{command:?} ended with {status}: {}",
        String::from_utf8_lossy(&stderr)
    );
}
