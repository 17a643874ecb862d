//! Shows where in a statement an error is, if its message says where.

/// The line of the statement that a message names by `Line: N, Column: M`, and below it a caret under the column.
pub(super) fn caret(statement: &str, message: &str) -> Option<String> {
    let number = |name: &str| {
        let (_, rest) = message.rsplit_once(name)?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..digits].parse::<usize>().ok()?.checked_sub(1)
    };
    let (line, column) = (number("Line: ")?, number("Column: ")?);
    let line = statement.lines().nth(line)?;
    // Tabs stay, so that the caret stands where the column does.
    let indent: String = line
        .chars()
        .chain(std::iter::repeat(' '))
        .take(column)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    Some(format!("  {line}\n  {indent}^\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_column_that_is_named() {
        let statement = "SELECT *\n\tFROM WHERE";
        let told =
            "not SQL: sql parser error: Expected: identifier, found: WHERE at Line: 2, Column: 7";
        assert_eq!(
            caret(statement, told).unwrap(),
            "  \tFROM WHERE\n  \t     ^\n"
        );
        let end = "Expected: an expression, found: EOF at Line: 1, Column: 12";
        assert_eq!(caret("SELECT", end).unwrap(), "  SELECT\n             ^\n");
        for other in [
            "no column `x`",
            "at Line: 0, Column: 0",
            "at Line: 9, Column: 1",
            "Line: x, Column: y",
        ] {
            assert_eq!(caret(statement, other), None, "{other}");
        }
    }
}
