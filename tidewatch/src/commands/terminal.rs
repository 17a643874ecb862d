//! What a terminal can show: whether there is one, its size, colours, and figures as people read them.

use std::io::IsTerminal;

/// How a line is meant; shown as a colour where that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
    Faint,
}

impl Tone {
    /// The text in the tone's colour, or as it is.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Doubtful => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        if colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Whether standard output is a terminal on which colours are wanted (<https://no-color.org>).
pub(crate) fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused
}

/// Columns and lines of the terminal behind standard output; `None` if there is none.
pub(crate) fn size() -> Option<(usize, usize)> {
    let (lines, columns) = console::Term::stdout().size_checked()?;
    Some((usize::from(columns), usize::from(lines)))
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3.4 GiB`; whole bytes below 1 KiB.
pub(crate) fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(size < 10.0);
    format!("{size:.decimals$} {}", UNITS[unit])
}

/// `12 s`, `3 min 5 s`, `2 h 13 min`, `9 d 4 h`: two units at most.
pub(crate) fn duration_text(seconds: f64) -> String {
    let total = seconds.max(0.0) as u64;
    let (d, h, min, s) = (
        total / 86_400,
        total / 3_600 % 24,
        total / 60 % 60,
        total % 60,
    );
    match (d, h, min) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => format!("{min} min {s} s"),
        (0, _, _) => format!("{h} h {min} min"),
        _ => format!("{d} d {h} h"),
    }
}

/// Breaks a text into lines of at most so many characters, between words where there are some. Line breaks of its own stay.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word = word;
            let length = |text: &str| text.chars().count();
            if !line.is_empty() && length(&line) + 1 + length(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            while length(word) > width {
                let at = word
                    .char_indices()
                    .nth(width)
                    .map_or(word.len(), |(at, _)| at);
                lines.push(word[..at].to_owned());
                word = &word[at..];
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_grouped() {
        let groups = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (number, text) in groups {
            assert_eq!(grouped(number), text);
        }
        let sizes = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (10 << 20, "10 MiB"),
            (u64::MAX, "16384 PiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size_text(bytes), text);
        }
        let durations = [
            (-1.0, "0 s"),
            (59.9, "59 s"),
            (60.0, "1 min 0 s"),
            (7_980.0, "2 h 13 min"),
            (788_400.0, "9 d 3 h"),
        ];
        for (seconds, text) in durations {
            assert_eq!(duration_text(seconds), text);
        }
    }

    #[test]
    fn lines_break_between_words_and_inside_of_long_ones() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("ä\nöö üü", 3), ["ä", "öö", "üü"]);
        assert_eq!(wrap("", 3), Vec::<String>::new());
    }
}
