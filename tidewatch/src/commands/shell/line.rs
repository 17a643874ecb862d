//! The text being typed and the place of the cursor in it. Knows no terminal, no key, no history.

use unicode_width::UnicodeWidthChar;

/// A text of one or more lines with a cursor. The cursor stands before a character, and never inside a combined one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    text: String,
    /// Bytes before the cursor.
    at: usize,
    /// What was cut out last.
    cut: String,
}

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn before_cursor(&self) -> &str {
        &self.text[..self.at]
    }

    fn after_cursor(&self) -> &str {
        &self.text[self.at..]
    }

    /// Another text, with the cursor at its end.
    pub(super) fn replace(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.at = self.text.len();
    }

    /// Takes the text out.
    pub(super) fn take(&mut self) -> String {
        self.at = 0;
        std::mem::take(&mut self.text)
    }

    /// Puts a text at the cursor. Control characters stay out (they would move the terminal's own cursor), a tab becomes a space.
    pub(super) fn insert(&mut self, text: &str) {
        let clean: String = text
            .chars()
            .map(|c| if c == '\t' { ' ' } else { c })
            .filter(|c| *c == '\n' || !c.is_control())
            .collect();
        self.text.insert_str(self.at, &clean);
        self.at += clean.len();
    }

    /// Puts a text in the place of the last `bytes` before the cursor, which end at a character.
    pub(super) fn complete(&mut self, bytes: usize, with: &str) {
        let from = self.at.saturating_sub(bytes);
        self.text.replace_range(from..self.at, with);
        self.at = from + with.len();
    }

    pub(super) fn left(&mut self) {
        self.at = self.previous();
    }

    pub(super) fn right(&mut self) {
        self.at = self.next();
    }

    /// To the beginning of the line that the cursor is in.
    pub(super) fn home(&mut self) {
        self.at = self.line_start();
    }

    pub(super) fn end(&mut self) {
        self.at = self.line_end();
    }

    pub(super) fn word_left(&mut self) {
        self.at = self.word_start();
    }

    pub(super) fn word_right(&mut self) {
        self.at = self.word_end();
    }

    /// To the line above; `false` if there is none.
    pub(super) fn up(&mut self) -> bool {
        let start = self.line_start();
        let Some(above_end) = start.checked_sub(1) else {
            return false;
        };
        let column = self.text[start..self.at].chars().count();
        let above = self.text[..above_end].rfind('\n').map_or(0, |at| at + 1);
        self.at = self.column(above, above_end, column);
        true
    }

    /// To the line below; `false` if there is none.
    pub(super) fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let column = self.text[self.line_start()..self.at].chars().count();
        let below = end + 1;
        let below_end = self.text[below..]
            .find('\n')
            .map_or(self.text.len(), |at| below + at);
        self.at = self.column(below, below_end, column);
        true
    }

    pub(super) fn backspace(&mut self) {
        let from = self.previous();
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    pub(super) fn delete(&mut self) {
        self.text.replace_range(self.at..self.next(), "");
    }

    pub(super) fn cut_word_left(&mut self) {
        self.cut_out(self.word_start(), self.at);
    }

    pub(super) fn cut_word_right(&mut self) {
        self.cut_out(self.at, self.word_end());
    }

    pub(super) fn cut_to_start(&mut self) {
        self.cut_out(self.line_start(), self.at);
    }

    pub(super) fn cut_to_end(&mut self) {
        self.cut_out(self.at, self.line_end());
    }

    /// Puts back what was cut out last.
    pub(super) fn paste(&mut self) {
        let cut = self.cut.clone();
        self.insert(&cut);
    }

    fn cut_out(&mut self, from: usize, to: usize) {
        if from < to {
            self.cut = self.text[from..to].to_owned();
            self.text.replace_range(from..to, "");
            self.at = from;
        }
    }

    fn line_start(&self) -> usize {
        self.before_cursor().rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.after_cursor()
            .find('\n')
            .map_or(self.text.len(), |at| self.at + at)
    }

    /// The place of the character with that number between two places, or the second.
    fn column(&self, from: usize, to: usize, characters: usize) -> usize {
        self.text[from..to]
            .char_indices()
            .nth(characters)
            .map_or(to, |(at, _)| from + at)
    }

    fn previous(&self) -> usize {
        let mut characters = self.before_cursor().char_indices().rev();
        characters
            .find(|(_, c)| !combines(*c))
            .map_or(0, |(at, _)| at)
    }

    fn next(&self) -> usize {
        let mut characters = self.after_cursor().char_indices().skip(1);
        characters
            .find(|(_, c)| !combines(*c))
            .map_or(self.text.len(), |(at, _)| self.at + at)
    }

    fn word_start(&self) -> usize {
        let before = self.before_cursor();
        let word = before.trim_end_matches(|c| !in_word(c));
        word.rfind(|c| !in_word(c)).map_or(0, |at| {
            at + word[at..].chars().next().map_or(0, char::len_utf8)
        })
    }

    fn word_end(&self) -> usize {
        let after = self.after_cursor();
        let gap = after.find(in_word).unwrap_or(after.len());
        let word = after[gap..]
            .find(|c| !in_word(c))
            .unwrap_or(after.len() - gap);
        self.at + gap + word
    }
}

/// Whether a character is part of the one before it.
fn combines(c: char) -> bool {
    c != '\n' && c.width() == Some(0)
}

/// Whether a character belongs to a word: what a name in SQL is made of.
pub(super) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line from a text with `|` at the cursor.
    fn line(text: &str) -> Line {
        let mut line = Line::default();
        line.insert(&text.replace('|', ""));
        line.at = text.find('|').unwrap_or(line.at);
        line
    }

    fn check(before: &str, change: impl FnOnce(&mut Line), after: &str) {
        let mut changed = line(before);
        change(&mut changed);
        let mut shown = changed.text.clone();
        shown.insert(changed.at, '|');
        assert_eq!(shown, after, "from `{before}`");
    }

    #[test]
    fn the_cursor_goes_by_characters_words_and_lines() {
        check("aé|", Line::left, "a|é");
        check("e\u{301}|", Line::left, "|e\u{301}");
        check("|e\u{301}x", Line::right, "e\u{301}|x");
        check("|", Line::left, "|");
        check("a|", Line::right, "a|");
        check("max(value), min_|", Line::word_left, "max(value), |min_");
        check("max(value|), x", Line::word_left, "max(|value), x");
        check("select|  ab cd", Line::word_right, "select  ab| cd");
        check("a\nbc|d\ne", Line::home, "a\n|bcd\ne");
        check("a\nb|cd\ne", Line::end, "a\nbcd|\ne");
        check("abc\nx|yz", |l| assert!(l.up()), "a|bc\nxyz");
        check("a\nxyz|", |l| assert!(l.up()), "a|\nxyz");
        check("ab|c\nx\nq", |l| assert!(l.down()), "abc\nx|\nq");
        check("ab|c", |l| assert!(!l.down() && !l.up()), "ab|c");
    }

    #[test]
    fn text_is_put_in_and_taken_out() {
        check("ab|", Line::backspace, "a|");
        check("e\u{301}|", Line::backspace, "|");
        check("|", Line::backspace, "|");
        check("|é", Line::delete, "|");
        check("|", Line::delete, "|");
        check("a bc|d", Line::cut_word_left, "a |d");
        check("a| bc d", Line::cut_word_right, "a| d");
        check("a\nb|c", Line::cut_to_start, "a\n|c");
        check("a|b\nc", Line::cut_to_end, "a|\nc");
        check(
            "a b|",
            |l| {
                l.cut_word_left();
                l.home();
                l.paste();
            },
            "b|a ",
        );
        check("from sa|", |l| l.complete(2, "samples"), "from samples|");
        check(
            "|",
            |l| l.insert("a\tb\u{1b}[31m\r\nc\u{7f}"),
            "a b[31m\nc|",
        );
    }
}
