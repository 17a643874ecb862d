//! How far the history is: one line that is written over on a terminal, a line each tenth elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line on a terminal is written.
const REFRESH: Duration = Duration::from_millis(200);

/// Tells of progress on standard output.
pub(super) struct Progress {
    terminal: bool,
    begun: Instant,
    shown: Option<Instant>,
    tenths: u64,
    samples: u64,
    total: u64,
}

impl Progress {
    /// Of about so many samples.
    pub(super) fn new(total: u64) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Progress {
            terminal: std::io::stdout().is_terminal() && !dumb,
            begun: Instant::now(),
            shown: None,
            tenths: 0,
            samples: 0,
            total: total.max(1),
        }
    }

    /// So many samples are processed by now.
    pub(super) fn reached(&mut self, samples: u64) {
        self.samples = samples;
        let tenths = (10 * samples / self.total).min(10);
        let due = if self.terminal {
            self.shown.is_none_or(|shown| shown.elapsed() >= REFRESH)
        } else {
            tenths > self.tenths
        };
        if !due {
            return;
        }
        (self.shown, self.tenths) = (Some(Instant::now()), tenths);
        let line = line(samples, self.total, self.begun.elapsed());
        if self.terminal {
            write(&format!("\r\x1b[2K{line}"));
        } else {
            write(&format!("{line}\n"));
        }
    }

    /// Ends the line; answers how many samples were processed.
    pub(super) fn finish(&self) -> u64 {
        if self.terminal {
            write("\r\x1b[2K");
        }
        self.samples
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    // Who does not read it misses nothing else.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn line(samples: u64, total: u64, elapsed: Duration) -> String {
    let (share, seconds) = (
        (samples as f64 / total as f64).min(1.0),
        elapsed.as_secs_f64(),
    );
    let left = if share > 0.01 {
        format!(", {:.0} s left", seconds * (1.0 - share) / share)
    } else {
        String::new()
    };
    format!(
        "  {:3.0} %  {} of {} samples, {} a second{left}",
        100.0 * share,
        number(samples as f64),
        number(total as f64),
        number(samples as f64 / seconds.max(1e-3)),
    )
}

/// A count as a person says it: `950`, `38 k`, `9.2 M`.
pub(super) fn number(count: f64) -> String {
    match count {
        ..1e3 => format!("{count:.0}"),
        ..1e4 => format!("{:.1} k", count / 1e3),
        ..1e6 => format!("{:.0} k", count / 1e3),
        ..1e7 => format!("{:.1} M", count / 1e6),
        ..1e9 => format!("{:.0} M", count / 1e6),
        _ => format!("{:.1} G", count / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_a_narrow_terminal() {
        let said = line(4_600_000, 9_200_000, Duration::from_secs(10));
        assert_eq!(
            said,
            "   50 %  4.6 M of 9.2 M samples, 460 k a second, 10 s left"
        );
        let long = line(
            123_456_789_000,
            999_999_999_999,
            Duration::from_secs(100_000),
        );
        assert!(long.len() < 80, "{long}");
        assert_eq!(
            [0.0, 950.0, 1_500.0, 38_000.0].map(number),
            ["0", "950", "1.5 k", "38 k"]
        );
    }
}
