//! What the lines being typed look like on a terminal of some size: rows, and where the cursor stands. Writes nothing.

use unicode_width::UnicodeWidthChar;

/// Rows to draw, at most as many as the terminal has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) rows: Vec<String>,
    /// Row and column of the cursor, from 0.
    pub(super) cursor: (usize, usize),
}

/// Lays out a text behind prompts: `first` before its first line, `next` before each further one. `cursor` is a place in the text, in bytes.
pub(super) fn picture(
    (first, next): (&str, &str),
    text: &str,
    cursor: usize,
    (width, height): (usize, usize),
) -> Picture {
    // One column stays free: a cursor behind a full row would stand on no row at all.
    let width = width.saturating_sub(1).max(1);
    let mut rows = vec![first.to_owned()];
    let mut column = columns(first);
    let mut place = None;
    for (at, c) in text.char_indices() {
        let wide = c.width().unwrap_or(0);
        if c != '\n' && column + wide > width && column > 0 {
            rows.push(String::new());
            column = 0;
        }
        if at == cursor {
            place = Some((rows.len() - 1, column));
        }
        if c == '\n' {
            rows.push(next.to_owned());
            column = columns(next);
        } else if let Some(row) = rows.last_mut() {
            row.push(c);
            column += wide;
        }
    }
    let (row, column) = place.unwrap_or((rows.len() - 1, column));
    // What does not fit is scrolled, so that the cursor is seen.
    let height = height.max(1);
    let from = (row + 1).saturating_sub(height);
    let rows: Vec<String> = rows.into_iter().skip(from).take(height).collect();
    Picture {
        rows,
        cursor: (row - from, column),
    }
}

/// How many columns a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, size: (usize, usize), rows: &[&str], cursor: (usize, usize)) {
        let at = text.find('|').unwrap();
        let seen = picture(("> ", ". "), &text.replace('|', ""), at, size);
        assert_eq!(
            (seen.rows, seen.cursor),
            (rows.iter().map(|&row| row.to_owned()).collect(), cursor),
            "`{text}`"
        );
    }

    #[test]
    fn rows_are_cut_at_the_width_and_scrolled_at_the_height() {
        check("|", (80, 24), &["> "], (0, 2));
        check("ab|c", (80, 24), &["> abc"], (0, 4));
        check("a\nb|", (80, 24), &["> a", ". b"], (1, 3));
        check("abcdef|", (6, 24), &["> abc", "def"], (1, 3));
        check("abc|", (6, 24), &["> abc"], (0, 5));
        check("ab日|本", (6, 24), &["> ab", "日本"], (1, 2));
        check("a\nb\nc|\nd", (80, 2), &[". b", ". c"], (1, 3));
        check("|a\nb\nc", (80, 2), &["> a", ". b"], (0, 2));
        check("|abc", (1, 1), &["a"], (0, 0));
    }
}
