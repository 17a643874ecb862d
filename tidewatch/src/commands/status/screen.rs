//! The terminal's second screen, drawn line by line and given back at the end, however that comes.

use std::io::Write;

use super::page::Line;
use crate::commands::terminal;
use crate::error::CommandError;

/// Second screen, cursor hidden.
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
/// Cursor shown, first screen.
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";

/// The second screen. Dropping it shows the first one again, as it was.
pub(super) struct Screen {
    colour: bool,
}

impl Screen {
    pub(super) fn open() -> Result<Screen, CommandError> {
        let screen = Screen {
            colour: terminal::colour(),
        };
        write(OPEN)?;
        Ok(screen)
    }

    /// Draws lines from the top and a word at the bottom. What has no room is cut, so that nothing scrolls.
    pub(super) fn draw(
        &mut self,
        shown: &[Line],
        columns: usize,
        lines: usize,
        foot: &str,
    ) -> Result<(), CommandError> {
        write(&frame(shown, columns, lines, foot, self.colour))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure.
        let _ = write(CLOSE);
    }
}

/// The bytes of one picture: each line from its first column, its rest and all lines below cleared. Written at once, so that it does not flicker.
fn frame(shown: &[Line], columns: usize, lines: usize, foot: &str, colour: bool) -> String {
    let mut text = String::new();
    for (row, line) in shown.iter().take(lines.saturating_sub(1)).enumerate() {
        let line = line.cut(columns).painted(colour);
        text.push_str(&format!("\x1b[{};1H{line}\x1b[K", row + 1));
    }
    text.push_str("\x1b[0J");
    if shown.len() < lines {
        let foot: String = foot.chars().take(columns).collect();
        text.push_str(&format!("\x1b[{lines};1H{foot}\x1b[K"));
    }
    text
}

fn write(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| CommandError::surroundings(format!("the terminal: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::Tone;
    use super::*;

    #[test]
    fn a_frame_stays_within_its_terminal() {
        let lines: Vec<Line> = (0..50)
            .map(|n| Line::new(Tone::Plain, &format!("{n} {}", "x".repeat(300))))
            .collect();
        for (columns, rows) in [(80, 24), (200, 50), (10, 3), (1, 1), (0, 0)] {
            let text = frame(&lines, columns, rows, "the foot", false);
            let drawn: Vec<&str> = text.split("\x1b[K").collect();
            assert!(drawn.len() <= rows.max(1) + 1, "{columns}×{rows}");
            for line in drawn {
                let visible = line.rsplit('H').next().unwrap_or_default();
                let visible = visible.trim_start_matches("\x1b[0J");
                assert!(visible.chars().count() <= columns, "`{visible}`");
            }
            assert!(!text.contains('\n'), "a line feed in the last row scrolls");
        }
    }
}
