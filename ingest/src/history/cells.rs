//! CSV text becomes rows of cells, each with the line on which it begins. Knows nothing of what the cells mean.

use std::io::{self, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::{memchr2, memchr2_iter};

/// The largest row, bytes: above it a quote was not closed, and the rest of the file would be taken for one cell. 8 MiB: more labels than
/// a series may have, each of the largest size.
const ROW_BYTES_MAX: usize = 8 << 20;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// What parts cells where the first line has no comma. A header has two names at least, so with commas it has one.
const OTHER_SEPARATORS: [u8; 3] = [b';', b'\t', b'|'];

/// The first bytes of a text file as some programs write it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why there is no next row.
#[derive(Debug)]
pub(super) enum CellsError {
    Io(io::Error),
    /// The row that begins on this line has no end.
    Endless(u64),
}

impl From<io::Error> for CellsError {
    fn from(error: io::Error) -> Self {
        CellsError::Io(error)
    }
}

/// Reads rows: any line ends, also mixed; quotes as RFC 4180; empty lines are passed over. Commas part cells, or what parts those of the first line.
pub(super) struct CellReader<R> {
    input: R,
    core: Reader,
    /// The first line was looked at.
    begun: bool,
    buffer: Vec<u8>,
    /// What of the buffer is not consumed yet.
    rest: std::ops::Range<usize>,
    at_end: bool,
    /// The line of the next byte, from 1, and whether the byte before it was a carriage return.
    line: u64,
    after_return: bool,
    row: Row,
}

/// The cells of one row.
#[derive(Debug, Default)]
pub(super) struct Row {
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
    line: u64,
}

impl Row {
    /// The line on which it begins, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn cell(&self, position: usize) -> &[u8] {
        let start = position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[position]]
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).map(|position| self.cell(position))
    }
}

impl<R: Read> CellReader<R> {
    pub(super) fn new(input: R) -> Self {
        CellReader {
            input,
            core: Reader::new(),
            begun: false,
            buffer: vec![0; READ_BYTES],
            rest: 0..0,
            at_end: false,
            line: 1,
            after_return: false,
            row: Row {
                text: vec![0; 1024],
                ends: vec![0; 32],
                ..Row::default()
            },
        }
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&Row>, CellsError> {
        if !self.begun {
            self.begin()?;
        }
        if !self.pass_line_ends()? {
            return Ok(None);
        }
        self.row.line = self.line;
        let (mut text_len, mut count) = (0, 0);
        loop {
            let (result, taken, written, ended) = self.core.read_record(
                &self.buffer[self.rest.clone()],
                &mut self.row.text[text_len..],
                &mut self.row.ends[count..],
            );
            self.consume(taken);
            text_len += written;
            count += ended;
            match result {
                ReadRecordResult::Record => {
                    self.row.count = count;
                    return Ok(Some(&self.row));
                }
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::InputEmpty => self.fill()?,
                ReadRecordResult::OutputFull if self.row.text.len() >= ROW_BYTES_MAX => {
                    return Err(CellsError::Endless(self.row.line));
                }
                ReadRecordResult::OutputFull => self.row.text.resize(2 * self.row.text.len(), 0),
                ReadRecordResult::OutputEndsFull if self.row.ends.len() >= ROW_BYTES_MAX => {
                    return Err(CellsError::Endless(self.row.line));
                }
                ReadRecordResult::OutputEndsFull => {
                    self.row.ends.resize(2 * self.row.ends.len(), 0);
                }
            }
        }
    }

    /// Looks at the first line, which comes in pieces from a pipe: whether a mark stands before it, and what parts its cells.
    fn begin(&mut self) -> Result<(), CellsError> {
        self.begun = true;
        let mut bytes = 0;
        while bytes < self.buffer.len() {
            let read = read_some(&mut self.input, &mut self.buffer[bytes..])?;
            bytes += read;
            let line = self.buffer[..bytes].trim_ascii_start();
            if read == 0 || memchr2(b'\r', b'\n', line).is_some() {
                break;
            }
        }
        self.rest = 0..bytes;
        self.at_end = bytes == 0;
        if self.buffer[..bytes].starts_with(BYTE_ORDER_MARK) {
            self.rest.start = BYTE_ORDER_MARK.len();
        }
        let separator = separator(self.buffer[self.rest.clone()].trim_ascii_start());
        self.core = ReaderBuilder::new().delimiter(separator).build();
        Ok(())
    }

    /// Moves to the first byte of a row; `false` if there is none.
    fn pass_line_ends(&mut self) -> Result<bool, CellsError> {
        loop {
            let rest = &self.buffer[self.rest.clone()];
            let ends = rest
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            let more = ends < rest.len();
            self.consume(ends);
            if more {
                return Ok(true);
            }
            if self.at_end {
                return Ok(false);
            }
            self.fill()?;
        }
    }

    fn consume(&mut self, bytes: usize) {
        let consumed = &self.buffer[self.rest.start..self.rest.start + bytes];
        for at in memchr2_iter(b'\r', b'\n', consumed) {
            let after_return = match at {
                0 => self.after_return,
                _ => consumed[at - 1] == b'\r',
            };
            // A return and a line feed end one line together.
            if consumed[at] == b'\r' || !after_return {
                self.line += 1;
            }
        }
        if let Some(last) = consumed.last() {
            self.after_return = *last == b'\r';
        }
        self.rest.start += bytes;
    }

    /// Reads on; called when nothing is left to consume.
    fn fill(&mut self) -> Result<(), CellsError> {
        let bytes = read_some(&mut self.input, &mut self.buffer)?;
        self.rest = 0..bytes;
        self.at_end = bytes == 0;
        Ok(())
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// What parts the cells of a text that begins so.
fn separator(beginning: &[u8]) -> u8 {
    let end = memchr2(b'\r', b'\n', beginning).unwrap_or(beginning.len());
    let line = &beginning[..end];
    let other = OTHER_SEPARATORS
        .into_iter()
        .find(|other| line.contains(other));
    match other {
        Some(other) if !line.contains(&b',') => other,
        _ => b',',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out its bytes a few at a time, so that rows and line ends are cut everywhere.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.1.min(self.0.len());
            buffer[..bytes].copy_from_slice(&self.0[..bytes]);
            self.0 = &self.0[bytes..];
            Ok(bytes)
        }
    }

    /// `line:cell|cell` of each row.
    fn rows(text: &str, drip: usize) -> Vec<String> {
        let mut reader = CellReader::new(Dripping(text.as_bytes(), drip));
        let mut rows = Vec::new();
        while let Some(row) = reader.next().unwrap() {
            let cells: Vec<_> = row.cells().map(String::from_utf8_lossy).collect();
            rows.push(format!("{}:{}", row.line(), cells.join("|")));
        }
        rows
    }

    #[test]
    fn rows_know_their_lines_whatever_ends_them() {
        for (text, expected) in [
            ("a,b\nc,d\n", &["1:a|b", "2:c|d"][..]),
            ("a,b\r\nc,d", &["1:a|b", "2:c|d"]),
            ("a,b\rc,d\r", &["1:a|b", "2:c|d"]),
            ("\n\r\n\ra,b\n\n\nc,d\r\n\r\n", &["4:a|b", "7:c|d"]),
            ("\u{feff}a\n", &["1:a"]),
            ("\u{feff}a;b\n", &["1:a|b"]),
            (
                "a,\"b\nb\r\nb\"\r\nc,\"\"\"d\"\"\"\n",
                &["1:a|b\nb\r\nb", "4:c|\"d\""],
            ),
            (",\n\"\"\n", &["1:|", "2:"]),
            ("a;b\n1,5;\"c;d\"\n", &["1:a|b", "2:1,5|c;d"]),
            ("\ra\tb\n1\t2\n", &["2:a|b", "3:1|2"]),
            ("a;b,c\nd\te,f|\n", &["1:a;b|c", "2:d\te|f|"]),
            ("a\n1;2\n", &["1:a", "2:1;2"]),
            ("", &[]),
            ("\r\n", &[]),
        ] {
            for drip in [1, 2, 3, 100] {
                assert_eq!(rows(text, drip), expected, "{text:?} by {drip}");
            }
        }
    }

    #[test]
    fn long_rows_are_taken_and_endless_ones_are_not() {
        let long = format!("{}{}\nx\n", "y".repeat(5000), ",z".repeat(200));
        assert_eq!(rows(&long, 7).len(), 2);
        let endless = format!("a\n\n\"{}", "b,c\n".repeat(ROW_BYTES_MAX / 3));
        let mut reader = CellReader::new(endless.as_bytes());
        assert!(reader.next().unwrap().is_some());
        assert!(matches!(reader.next(), Err(CellsError::Endless(3))));
    }
}
