//! Sees to it that nothing we started outlives us, however we end: also by `kill -9`, after which no code of ours runs any more.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Waits for the end of its standard input, which is the end of whoever holds the other side; then ends the process group `$1`, if there is still anyone in it.
const SCRIPT: &str = r#"cat >/dev/null; kill -s TERM -- "-$1" 2>/dev/null || exit 0; sleep 2; kill -s KILL -- "-$1" 2>/dev/null"#;

/// Runs a command in a process group of its own, which a shell ends with all that is in it when the command is done or when we die.
///
/// # Errors
/// If the command or the shell can't be started.
pub(crate) fn run_guarded(command: &mut Command) -> io::Result<ExitStatus> {
    let mut child = command.process_group(0).spawn()?;
    let mut reaper = match start_reaper(&child) {
        Ok(reaper) => reaper,
        Err(error) => {
            let _gone = child.kill();
            return Err(error);
        }
    };
    let status = child.wait();
    drop(reaper.stdin.take());
    let _reaped = reaper.wait();
    status
}

fn start_reaper(child: &Child) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", SCRIPT, "reaper", &child.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group: Ctrl-C ends us, and it has its work to do afterwards.
        .process_group(0)
        .spawn()
}
