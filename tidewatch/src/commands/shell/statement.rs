//! Where statements end: cuts what was typed into statements and commands of the shell, and knows whether more must come.

/// What was typed, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A statement, without its semicolon.
    Sql(String),
    /// A line that begins with `\`, or a word for those who come from other shells.
    Command(String),
}

/// Cuts a text into pieces. The second value is what is left: the beginning of a statement whose end is still to come.
pub(super) fn cut(text: &str) -> (Vec<Piece>, &str) {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let line = rest.lines().next().unwrap_or_default();
        let plain = line.trim().trim_end_matches(';');
        if line.starts_with('\\') {
            pieces.push(Piece::Command(line.trim().to_owned()));
            rest = &rest[line.len()..];
        } else if ["quit", "exit", "help"].contains(&plain.to_ascii_lowercase().as_str()) {
            let command = if plain.eq_ignore_ascii_case("help") {
                "\\?"
            } else {
                "\\q"
            };
            pieces.push(Piece::Command(command.to_owned()));
            rest = &rest[line.len()..];
        } else if let Some(end) = end_of_statement(rest) {
            let sql = rest[..end].trim_end();
            if !is_blank(sql) {
                pieces.push(Piece::Sql(sql.to_owned()));
            }
            rest = &rest[end + 1..];
        } else {
            let left = if is_blank(rest) { "" } else { rest };
            return (pieces, left);
        }
    }
}

/// Whether nothing more must come before it can be run.
pub(super) fn is_complete(text: &str) -> bool {
    cut(text).1.is_empty()
}

/// The place of the semicolon that ends the first statement: outside of texts, quoted names and comments.
fn end_of_statement(text: &str) -> Option<usize> {
    outside(text).find(|(_, c)| *c == ';').map(|(at, _)| at)
}

/// Whether there is nothing but space and comments, none of them open.
fn is_blank(text: &str) -> bool {
    let open_comment = text.trim_end().ends_with("*/") || !text.contains("/*");
    open_comment && outside(text).all(|(_, c)| c.is_whitespace())
}

/// The characters that stand outside of texts, quoted names and comments. A quote itself counts as outside.
fn outside(text: &str) -> impl Iterator<Item = (usize, char)> {
    enum Inside {
        Nothing,
        Quotes(char),
        LineComment,
        /// How deep: comments nest in SQL.
        Comment(u32),
    }
    let mut inside = Inside::Nothing;
    let mut skip = 0;
    text.char_indices().filter(move |(at, c)| {
        if *at < skip {
            return false;
        }
        let next = text[*at + c.len_utf8()..].chars().next();
        match (&mut inside, c, next) {
            (Inside::Nothing, '\'' | '"' | '`', _) => {
                inside = Inside::Quotes(*c);
                true
            }
            (Inside::Nothing, '-', Some('-')) => {
                inside = Inside::LineComment;
                false
            }
            (Inside::Nothing, '/', Some('*')) => {
                inside = Inside::Comment(1);
                skip = at + 2;
                false
            }
            (Inside::Nothing, ..) => true,
            // A doubled quote closes and opens again, which comes to the same.
            (Inside::Quotes(quote), c, _) => {
                if c == quote {
                    inside = Inside::Nothing;
                }
                false
            }
            (Inside::LineComment, c, _) => {
                if *c == '\n' {
                    inside = Inside::Nothing;
                }
                false
            }
            (Inside::Comment(depth), '/', Some('*')) => {
                *depth += 1;
                skip = at + 2;
                false
            }
            (Inside::Comment(depth), '*', Some('/')) => {
                *depth -= 1;
                skip = at + 2;
                if *depth == 0 {
                    inside = Inside::Nothing;
                }
                false
            }
            (Inside::Comment(_), ..) => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, pieces: &[&str], rest: &str) {
        let (found, left) = cut(text);
        let found: Vec<String> = found
            .into_iter()
            .map(|piece| match piece {
                Piece::Sql(sql) => sql,
                Piece::Command(command) => format!("command {command}"),
            })
            .collect();
        assert_eq!(
            (found, left),
            (pieces.iter().map(|&p| p.to_owned()).collect(), rest),
            "`{text}`"
        );
    }

    #[test]
    fn a_statement_ends_at_a_semicolon_that_is_not_quoted() {
        check("", &[], "");
        check(" \n ", &[], "");
        check("SELECT 1", &[], "SELECT 1");
        check("SELECT 1;", &["SELECT 1"], "");
        check(" SELECT\n 1 ; SELECT 2;x", &["SELECT\n 1", "SELECT 2"], "x");
        check(";;", &[], "");
        check("SELECT ';'", &[], "SELECT ';'");
        check("SELECT 'it''s;';", &["SELECT 'it''s;'"], "");
        check("SELECT \";\";", &["SELECT \";\""], "");
        check("SELECT 1 -- a; b\n;", &["SELECT 1 -- a; b"], "");
        check(
            "SELECT 1 /* ; /* ; */ ; */;",
            &["SELECT 1 /* ; /* ; */ ; */"],
            "",
        );
        check("SELECT '; x", &[], "SELECT '; x");
        check("-- nothing", &[], "");
        check("/* begun", &[], "/* begun");
        check("SELECT 'é;ü';", &["SELECT 'é;ü'"], "");
    }

    #[test]
    fn a_command_is_a_line_where_a_statement_could_begin() {
        check("\\d samples", &["command \\d samples"], "");
        check(
            "\\d\nSELECT 1;\n\\q",
            &["command \\d", "SELECT 1", "command \\q"],
            "",
        );
        check("SELECT 1\n\\q", &[], "SELECT 1\n\\q");
        check("quit", &["command \\q"], "");
        check("EXIT;", &["command \\q"], "");
        check("help", &["command \\?"], "");
        check("quit_rate", &[], "quit_rate");
    }
}
