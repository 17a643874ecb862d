//! Reads statements from a terminal: editing, history, search, completion. Knows nothing of what they mean but where they end.

use std::io::{self, BufRead, Write};

use termion::event::Key;

use super::complete::{self, Completion, Names};
use super::history::History;
use super::line::Line;
use super::picture::{Picture, columns, picture};
use super::statement::is_complete;
use super::terminal::{Canvas, Terminal, Typed};

const PROMPT: &str = "tidewatch> ";
const PROMPT_NEXT: &str = "        -> ";
/// Candidates that are listed; more help nobody.
const CANDIDATES_MAX: usize = 100;
/// Longest statement that can be typed or pasted, bytes: more than the engine takes, and little enough to be drawn anew at each key.
const TEXT_BYTES_MAX: usize = 2 * query::SQL_BYTES_MAX;

/// What a person asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Statements and commands.
    Text(String),
    /// Ctrl-C: what was typed is dropped.
    Dropped,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// Reads from the terminal, and remembers.
pub(super) struct Editor {
    terminal: Terminal,
    pub(super) history: History,
    pub(super) names: Names,
    line: Line,
    /// How far back in the history, counted from 1, and what was typed before that.
    back: usize,
    typed: String,
}

enum Next {
    Draw,
    Done(Input),
}

impl Editor {
    pub(super) fn new(history: History) -> Self {
        Editor {
            terminal: Terminal::new(),
            history,
            names: Names::default(),
            line: Line::default(),
            back: 0,
            typed: String::new(),
        }
    }

    /// Reads the next statements. Blocks.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub(super) fn read(&mut self) -> io::Result<Input> {
        if Terminal::is_dumb() {
            return read_plainly();
        }
        let mut canvas = Canvas::open()?;
        self.line.take();
        self.back = 0;
        loop {
            canvas.draw(&self.picture())?;
            let next = match self.terminal.read() {
                Typed::Gone => Next::Done(Input::End),
                Typed::Pasted(text) => {
                    self.insert(&text);
                    Next::Draw
                }
                Typed::Key(Key::Ctrl('r')) => self.search(&mut canvas)?,
                Typed::Key(key) => self.key(key, &mut canvas)?,
            };
            if let Next::Done(input) = next {
                canvas.close(&self.picture())?;
                if let Input::Text(text) = &input {
                    self.history.add(text);
                }
                return Ok(input);
            }
        }
    }

    fn picture(&self) -> Picture {
        picture(
            (PROMPT, PROMPT_NEXT),
            self.line.text(),
            self.line.before_cursor().len(),
            Terminal::size(),
        )
    }

    fn insert(&mut self, text: &str) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.line.text().len());
        let end = (0..=text.len().min(room))
            .rev()
            .find(|end| text.is_char_boundary(*end));
        self.line.insert(&text[..end.unwrap_or(0)]);
    }

    fn key(&mut self, key: Key, canvas: &mut Canvas) -> io::Result<Next> {
        let line = &mut self.line;
        match key {
            Key::Char('\n') => return Ok(self.enter()),
            Key::Char('\t') => self.complete(canvas)?,
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Ctrl('c') => {
                line.end();
                return Ok(Next::Done(Input::Dropped));
            }
            Key::Ctrl('d') if line.text().is_empty() => return Ok(Next::Done(Input::End)),
            Key::Ctrl('d') | Key::Delete => line.delete(),
            Key::Backspace | Key::Ctrl('h') => line.backspace(),
            Key::Left | Key::Ctrl('b') => line.left(),
            Key::Right | Key::Ctrl('f') => line.right(),
            Key::Home | Key::Ctrl('a') => line.home(),
            Key::End | Key::Ctrl('e') => line.end(),
            Key::CtrlLeft | Key::AltLeft | Key::Alt('b') => line.word_left(),
            Key::CtrlRight | Key::AltRight | Key::Alt('f') => line.word_right(),
            Key::Ctrl('w') | Key::Alt('\u{7f}') => line.cut_word_left(),
            Key::Alt('d') => line.cut_word_right(),
            Key::Ctrl('u') => line.cut_to_start(),
            Key::Ctrl('k') => line.cut_to_end(),
            Key::Ctrl('y') => line.paste(),
            // Within a statement of several lines first, then through the history.
            Key::Up | Key::Ctrl('p') if !line.up() => self.older(),
            Key::Down | Key::Ctrl('n') if !line.down() => self.newer(),
            Key::Ctrl('l') => canvas.clear()?,
            _ => {}
        }
        Ok(Next::Draw)
    }

    fn enter(&mut self) -> Next {
        if is_complete(self.line.text()) {
            while self.line.down() {}
            self.line.end();
            return Next::Done(Input::Text(self.line.text().to_owned()));
        }
        self.insert("\n");
        Next::Draw
    }

    fn older(&mut self) {
        if let Some(statement) = self.history.back(self.back) {
            if self.back == 0 {
                self.line.text().clone_into(&mut self.typed);
            }
            self.line.replace(statement);
            self.back += 1;
        }
    }

    fn newer(&mut self) {
        match self.back {
            0 => return,
            1 => self.line.replace(&std::mem::take(&mut self.typed)),
            n => self
                .line
                .replace(self.history.back(n - 2).unwrap_or_default()),
        }
        self.back -= 1;
    }

    /// Puts in what all candidates have in common; lists them where that is nothing more.
    fn complete(&mut self, canvas: &mut Canvas) -> io::Result<()> {
        let completion = complete::complete(&self.names, self.line.before_cursor());
        let common = completion.common();
        if let [only] = &completion.candidates[..] {
            self.line.complete(completion.bytes, &format!("{only} "));
        } else if common.len() > completion.bytes {
            self.line.complete(completion.bytes, &common);
        } else if !completion.candidates.is_empty() {
            canvas.leave(&self.picture())?;
            canvas.print(&listed(&completion, Terminal::size().0))?;
        }
        Ok(())
    }

    /// Searches the history for what is typed, newest first, until another key than a letter or Ctrl-R.
    fn search(&mut self, canvas: &mut Canvas) -> io::Result<Next> {
        let (mut needle, mut from) = (String::new(), 0);
        let before = self.line.clone();
        loop {
            let found = self.history.search(&needle, from);
            if let Some((n, statement)) = found {
                from = n;
                self.line.replace(statement);
            }
            let state = if found.is_some() {
                "search"
            } else {
                "not found"
            };
            let prompt = format!("({state} `{needle}`) ");
            let text = self.line.text();
            canvas.draw(&picture(
                (&prompt, PROMPT_NEXT),
                text,
                text.len(),
                Terminal::size(),
            ))?;
            match self.terminal.read() {
                Typed::Key(Key::Char(c)) if !c.is_control() => {
                    needle.push(c);
                    from = 0;
                }
                Typed::Key(Key::Backspace) => {
                    needle.pop();
                    from = 0;
                }
                Typed::Key(Key::Ctrl('r')) => from += usize::from(found.is_some()),
                Typed::Key(Key::Ctrl('c' | 'g')) => {
                    self.line = before;
                    return Ok(Next::Draw);
                }
                Typed::Key(Key::Esc) => return Ok(Next::Draw),
                Typed::Key(key) => return self.key(key, canvas),
                Typed::Pasted(text) => needle.push_str(&text),
                Typed::Gone => return Ok(Next::Done(Input::End)),
            }
        }
    }
}

/// Candidates in as many columns as there is room for.
fn listed(completion: &Completion, width: usize) -> String {
    let shown = &completion.candidates[..completion.candidates.len().min(CANDIDATES_MAX)];
    let cell = shown.iter().map(|name| columns(name)).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for row in shown.chunks((width / cell).max(1)) {
        let line: String = row.iter().map(|name| format!("{name:<cell$}")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let more = completion.candidates.len() - shown.len();
    if more > 0 {
        text.push_str(&format!("… and {more} more\n"));
    }
    text
}

/// For terminals that can only print: line after line, without editing.
fn read_plainly() -> io::Result<Input> {
    let mut text = String::new();
    loop {
        let prompt = if text.is_empty() { PROMPT } else { PROMPT_NEXT };
        let mut out = io::stdout().lock();
        out.write_all(prompt.as_bytes())?;
        out.flush()?;
        drop(out);
        if io::stdin().lock().read_line(&mut text)? == 0 {
            return Ok(Input::End);
        }
        if is_complete(&text) || text.len() > TEXT_BYTES_MAX {
            return Ok(Input::Text(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor(history: &[&str]) -> Editor {
        let mut kept = History::open(None).0;
        history.iter().for_each(|statement| kept.add(statement));
        Editor::new(kept)
    }

    #[test]
    fn enter_ends_only_what_is_complete() {
        let mut editor = editor(&[]);
        editor.insert("SELECT 1");
        assert!(matches!(editor.enter(), Next::Draw));
        editor.insert("FROM x;");
        assert!(
            matches!(editor.enter(), Next::Done(Input::Text(text)) if text == "SELECT 1\nFROM x;")
        );
    }

    #[test]
    fn the_history_is_gone_through_and_what_was_typed_comes_back() {
        let mut editor = editor(&["SELECT 1;", "SELECT 2;"]);
        editor.insert("half");
        let mut seen = Vec::new();
        for step in [
            Editor::older,
            Editor::older,
            Editor::older,
            Editor::newer,
            Editor::newer,
            Editor::newer,
        ] {
            step(&mut editor);
            seen.push(editor.line.text().to_owned());
        }
        assert_eq!(
            seen,
            [
                "SELECT 2;",
                "SELECT 1;",
                "SELECT 1;",
                "SELECT 2;",
                "half",
                "half"
            ]
        );
    }

    #[test]
    fn a_huge_paste_is_bounded() {
        let mut editor = editor(&[]);
        editor.insert(&"é".repeat(TEXT_BYTES_MAX));
        assert_eq!(editor.line.text().len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn candidates_stand_in_columns() {
        let candidates = ["aa", "b", "ccc"].map(str::to_owned).to_vec();
        let completion = Completion {
            bytes: 0,
            candidates,
        };
        assert_eq!(listed(&completion, 10), "aa   b\nccc\n");
        assert_eq!(listed(&completion, 3), "aa\nb\nccc\n");
    }
}
