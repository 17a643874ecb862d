//! The terminal itself: keys in, rows out, its size, and the raw mode that lasts only while a line is typed.

use std::io::{self, Stdin, Stdout, Write};

use termion::event::{Event, Key};
use termion::input::{Events, TermRead};
use termion::raw::{IntoRawMode, RawTerminal};

use super::picture::Picture;

/// Asks the terminal to mark what is pasted, so that a pasted line end is not taken for the key.
const PASTE_ON: &str = "\x1b[?2004h";
const PASTE_OFF: &str = "\x1b[?2004l";
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";
/// What a terminal that does not tell its size is taken to have.
const SIZE_USUAL: (usize, usize) = (80, 24);

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Key(Key),
    Pasted(String),
    /// The terminal is gone.
    Gone,
}

/// Standard input and output, which are terminals.
pub(super) struct Terminal {
    // Kept from line to line: it may hold a byte that was typed ahead.
    events: Events<Stdin>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Terminal {
            events: io::stdin().events(),
        }
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        match termion::terminal_size() {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
            _ => SIZE_USUAL,
        }
    }

    /// Whether it can do more than print line after line.
    pub(super) fn is_dumb() -> bool {
        std::env::var("TERM").map_or(true, |name| name.is_empty() || name == "dumb")
    }

    /// Waits for the next key, or for all of what is pasted.
    pub(super) fn read(&mut self) -> Typed {
        let mut pasted: Option<String> = None;
        loop {
            let Some(Ok(event)) = self.events.next() else {
                return Typed::Gone;
            };
            match (event, &mut pasted) {
                (Event::Unsupported(bytes), _) if bytes == PASTE_BEGINS => {
                    pasted = Some(String::new());
                }
                (Event::Unsupported(bytes), Some(text)) if bytes == PASTE_ENDS => {
                    return Typed::Pasted(std::mem::take(text));
                }
                (Event::Key(Key::Char(c)), Some(text)) => text.push(c),
                (Event::Key(key), None) => return Typed::Key(key),
                (Event::Key(_) | Event::Mouse(_) | Event::Unsupported(_), _) => {}
            }
        }
    }
}

/// A place on the terminal where lines are typed. Dropped, the terminal is as it was.
pub(super) struct Canvas {
    out: RawTerminal<Stdout>,
    /// Row of the cursor, counted from the first that was drawn.
    row: usize,
}

impl Canvas {
    pub(super) fn open() -> io::Result<Canvas> {
        let mut out = io::stdout().into_raw_mode()?;
        out.write_all(PASTE_ON.as_bytes())?;
        Ok(Canvas { out, row: 0 })
    }

    /// Draws over what was drawn before.
    pub(super) fn draw(&mut self, picture: &Picture) -> io::Result<()> {
        let (row, column) = picture.cursor;
        let mut text = self.to_the_top();
        text.push_str(&picture.rows.join("\r\n"));
        text.push_str(&up(picture.rows.len() - 1 - row));
        text.push('\r');
        if column > 0 {
            text.push_str(&format!("\x1b[{column}C"));
        }
        self.row = row;
        self.write(&text)
    }

    /// Goes on below what is drawn.
    pub(super) fn leave(&mut self, picture: &Picture) -> io::Result<()> {
        let below = picture.rows.len() - 1 - picture.cursor.0;
        self.row = 0;
        self.write(&format!("{}\r\n", "\r\n".repeat(below)))
    }

    /// Ends the typing. From before the cursor leaves the line, Ctrl-C is a signal again, so that who sees that can stop what begins.
    pub(super) fn close(mut self, picture: &Picture) -> io::Result<()> {
        self.out.suspend_raw_mode()?;
        self.leave(picture)
    }

    /// Prints lines; what is drawn next stands below them.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.row = 0;
        self.write(&text.replace('\n', "\r\n"))
    }

    /// Empties the whole terminal.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.row = 0;
        self.write("\x1b[H\x1b[2J")
    }

    fn to_the_top(&self) -> String {
        format!("{}\r\x1b[J", up(self.row))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        // One write, or the terminal flickers.
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for Canvas {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = self.write(PASTE_OFF);
    }
}

fn up(rows: usize) -> String {
    if rows == 0 {
        String::new()
    } else {
        format!("\x1b[{rows}A")
    }
}
