//! How far a replay is: a bar on a terminal, a line now and then elsewhere, nothing where it is to be quiet. Without colours.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Redraws of the bar per second: smooth enough, and nothing in a slow terminal.
const REDRAWS_PER_S: u8 = 5;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Samples,
}

/// Cheap to clone; clones tell of the same progress.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Shown>);

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
    Nothing,
}

#[derive(Debug)]
struct Lines {
    stage: &'static str,
    total: u64,
    due: Instant,
}

/// Samples per second, without the fraction that the bar's own key shows.
fn rate(state: &ProgressState, text: &mut dyn Write) {
    // Writing to a text never fails.
    let _ = write!(text, "{}", HumanCount(state.per_sec() as u64));
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Progress(Arc::new(if quiet {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() {
            Shown::Bar(ProgressBar::with_draw_target(
                None,
                ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_S),
            ))
        } else {
            Shown::Lines(Mutex::new(Lines {
                stage: "",
                total: 0,
                due: Instant::now() + LINE_INTERVAL,
            }))
        }))
    }

    /// A new stage, of which nothing is done. A total of 0 is not known.
    pub(crate) fn stage(&self, stage: &'static str, total: u64, unit: Unit) {
        match &*self.0 {
            Shown::Bar(bar) => {
                let template = match (unit, total) {
                    (Unit::Bytes, 0) => "{msg:9} {bytes} ({bytes_per_sec})",
                    (Unit::Bytes, _) => {
                        "{msg:9} [{bar:24}] {percent:>3}% of {total_bytes}, {bytes_per_sec}, {eta} left"
                    }
                    (Unit::Samples, _) => {
                        "{msg:9} [{bar:20}] {percent:>3}% of {human_len}, {rate}/s, {eta} left"
                    }
                };
                // The templates are ours; one that does not parse would only change the look.
                let style = ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .with_key("rate", rate)
                    .progress_chars("=> ");
                bar.set_style(style);
                bar.set_message(stage);
                bar.set_length(total);
                bar.set_position(0);
                bar.reset();
            }
            Shown::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                (lines.stage, lines.total) = (stage, total);
            }
            Shown::Nothing => {}
        }
    }

    /// So much of the stage is done.
    pub(crate) fn reach(&self, done: u64) {
        match &*self.0 {
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if Instant::now() >= lines.due {
                    lines.due = Instant::now() + LINE_INTERVAL;
                    match lines.total {
                        0 => eprintln!("{}: {done}", lines.stage),
                        total => eprintln!("{}: {} %", lines.stage, done.min(total) * 100 / total),
                    }
                }
            }
            Shown::Nothing => {}
        }
    }

    /// Clears the bar.
    pub(crate) fn end(&self) {
        if let Shown::Bar(bar) = &*self.0 {
            bar.finish_and_clear();
        }
    }
}
