//! Reads the small text files of data sets: whole, gzip or not, as lines of comma-separated fields.

use std::io::Read as _;
use std::path::Path;

use crate::ScoreError;

/// The whole file as text; a name that ends in `.gz` is unpacked.
pub(crate) fn text(path: &Path) -> Result<String, ScoreError> {
    let unreadable = |cause| ScoreError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    if path.extension().is_some_and(|end| end == "gz") {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(file)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The rows under a header: the number of each line (1 = the header) and its fields. None of these data sets quotes a field.
///
/// # Errors
/// `Malformed` if the header is another, or a row has another number of fields.
pub(crate) fn rows<'a, const N: usize>(
    path: &Path,
    text: &'a str,
    header: [&str; N],
) -> Result<Vec<(usize, [&'a str; N])>, ScoreError> {
    let mut lines = text.lines().enumerate();
    let first = lines.next().map_or("", |(_, line)| line.trim_end());
    if first != header.join(",") {
        return Err(malformed(
            path,
            format!("the header `{}`", header.join(",")),
            first,
        ));
    }
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let fields = <[&str; N]>::try_from(fields)
                .map_err(|_| malformed(path, format!("{N} fields in line {}", number + 1), line))?;
            Ok((number + 1, fields))
        })
        .collect()
}

/// A number of a file.
pub(crate) fn number(path: &Path, line: usize, field: &str) -> Result<f64, ScoreError> {
    field
        .parse()
        .map_err(|_| malformed(path, format!("a number in line {line}"), field))
}

/// The error of a file that is not of its format. What was found is cut, so that a binary file does not fill the terminal.
pub(crate) fn malformed(path: &Path, expected: String, found: &str) -> ScoreError {
    ScoreError::Malformed {
        path: path.to_owned(),
        expected,
        found: format!("`{}`", found.chars().take(80).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_and_what_is_wrong_is_named_with_its_line() {
        let path = Path::new("a.csv");
        let good = rows(path, "t,v\n1, 2 \n\n3,4\r\n", ["t", "v"]).unwrap();
        assert_eq!(good, [(2, ["1", "2"]), (4, ["3", "4"])]);
        let header = rows(path, "x,v\n", ["t", "v"]).unwrap_err().to_string();
        assert!(
            header.contains("expected the header `t,v`, found `x,v`"),
            "{header}"
        );
        let short = rows(path, "t,v\n1\n", ["t", "v"]).unwrap_err().to_string();
        assert!(short.contains("2 fields in line 2, found `1`"), "{short}");
        let not = number(path, 7, "x").unwrap_err().to_string();
        assert!(not.contains("a number in line 7, found `x`"), "{not}");
    }
}
