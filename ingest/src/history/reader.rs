//! Reads history files one after the other: tells CSV from Parquet, takes good rows, stops at or counts bad ones.

use std::cell::Cell;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::directory::Directory;
use super::error::HistoryError;
use super::intake::{Intake, STANDARD_INPUT, broken_off, format, unreadable};
use super::kinds::KindRules;
use super::sort::{SAMPLES_IN_MEMORY, Sorted, TimeSorter};
use super::{csv, parquet};

/// Bytes by which one kind of file is told from another.
const BEGINNING_BYTES: u64 = 8;

/// How a history is read.
#[derive(Debug, Clone)]
pub struct HistoryOptions {
    /// Where samples wait that memory does not hold.
    pub spill_directory: PathBuf,
    /// Samples held in memory, ≥ 1; [`SAMPLES_IN_MEMORY`] is meant for all but tests.
    pub samples_in_memory: usize,
    /// Series taken in all.
    pub series_max: usize,
    /// Which metrics are counters.
    pub kinds: KindRules,
    /// Count bad rows and go on, instead of stopping at the first.
    pub skip_invalid: bool,
}

impl HistoryOptions {
    /// Stops at the first bad row; samples wait in a directory.
    pub fn new(spill_directory: &Path) -> Self {
        HistoryOptions {
            spill_directory: spill_directory.to_owned(),
            samples_in_memory: SAMPLES_IN_MEMORY,
            series_max: 2_000_000,
            kinds: KindRules::default(),
            skip_invalid: false,
        }
    }
}

/// A history that was read whole.
#[derive(Debug)]
pub struct History {
    /// Its series.
    pub directory: Directory,
    /// Its samples, earliest first.
    pub samples: Sorted,
    /// Rows that were skipped.
    pub skipped: u64,
    /// The first of them, as messages.
    pub skipped_named: Vec<String>,
}

/// Reads files in the order given.
#[derive(Debug)]
pub struct HistoryReader {
    skip_invalid: bool,
    directory: Directory,
    sorter: TimeSorter,
    skipped: u64,
    skipped_named: Vec<String>,
}

impl HistoryReader {
    /// Nothing is read yet.
    pub fn new(options: HistoryOptions) -> Self {
        HistoryReader {
            skip_invalid: options.skip_invalid,
            directory: Directory::new(options.kinds, options.series_max),
            sorter: TimeSorter::new(&options.spill_directory, options.samples_in_memory),
            skipped: 0,
            skipped_named: Vec::new(),
        }
    }

    /// Reads a file, or CSV from standard input if it is called `-`. CSV may be packed by gzip or zstd. `heard` is told now and then how many of its bytes are done.
    ///
    /// # Errors
    /// `Unreadable`, `Format` or `TooManySeries` in any case; `Row` if bad rows are not skipped. Rows before it were taken: give up all.
    pub fn read(&mut self, path: &Path, heard: &mut dyn FnMut(u64)) -> Result<(), HistoryError> {
        let file = path.display().to_string();
        let mut intake = Intake {
            file: &file,
            directory: &mut self.directory,
            sorter: &mut self.sorter,
            skip_invalid: self.skip_invalid,
            skipped: &mut self.skipped,
            skipped_named: &mut self.skipped_named,
            heard,
        };
        if file == STANDARD_INPUT {
            return read_stream(std::io::stdin().lock(), &mut intake);
        }
        let opened = std::fs::metadata(path).and_then(|about| Ok((about, File::open(path)?)));
        let (about, mut input) = opened.map_err(|error| unreadable(&file, &error.to_string()))?;
        if about.is_dir() {
            return Err(unreadable(
                &file,
                &format!("is a directory; name its files, such as {file}/*.csv"),
            ));
        }
        // A pipe can't be wound back.
        if !about.is_file() {
            return read_stream(input, &mut intake);
        }
        let mut beginning = Vec::new();
        let looked = Read::by_ref(&mut input)
            .take(BEGINNING_BYTES)
            .read_to_end(&mut beginning)
            .and_then(|_| input.seek(SeekFrom::Start(0)));
        looked.map_err(|error| unreadable(&file, &error.to_string()))?;
        let named_parquet = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"));
        match Content::of(&beginning) {
            Content::Parquet => parquet::read(input, about.len(), &mut intake),
            _ if named_parquet => Err(format(
                &file,
                "a Parquet file, which begins and ends with `PAR1`",
                &format!(
                    "{} bytes that begin with {}",
                    about.len(),
                    shown(&beginning)
                ),
            )),
            _ => read_stream(input, &mut intake),
        }
    }

    /// How many samples were taken so far.
    pub fn samples(&self) -> u64 {
        self.sorter.samples()
    }

    /// All files are read.
    pub fn finish(self) -> History {
        History {
            directory: self.directory,
            samples: self.sorter.finish(),
            skipped: self.skipped,
            skipped_named: self.skipped_named,
        }
    }
}

/// What a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Text,
    Parquet,
    Gzip,
    Zstd,
    Utf16,
}

impl Content {
    fn of(beginning: &[u8]) -> Content {
        match beginning {
            [b'P', b'A', b'R', b'1', ..] => Content::Parquet,
            [0x1f, 0x8b, ..] => Content::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Content::Zstd,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Content::Utf16,
            _ => Content::Text,
        }
    }

    /// Why there are no rows of text in it, if so.
    fn refuse(self, file: &str) -> Option<HistoryError> {
        let found = match self {
            Content::Text => return None,
            Content::Parquet => "Parquet, which can only be read from a file of its own",
            Content::Gzip | Content::Zstd => "what was packed twice",
            Content::Utf16 => "text in UTF-16; save it as UTF-8",
        };
        Some(format(file, "CSV in UTF-8, or Parquet", found))
    }
}

/// Reads CSV, packed or not, from what can't be wound back.
fn read_stream(input: impl Read, intake: &mut Intake<'_>) -> Result<(), HistoryError> {
    let taken = Rc::new(Cell::new(0));
    let mut input = Counted {
        input,
        taken: Rc::clone(&taken),
    };
    let (content, beginning) = looked_at(&mut input, intake.file)?;
    let input = Cursor::new(beginning).chain(input);
    match content {
        Content::Gzip => read_unpacked(MultiGzDecoder::new(input), &taken, intake),
        Content::Zstd => match zstd::Decoder::new(input) {
            Ok(input) => read_unpacked(input, &taken, intake),
            Err(error) => Err(broken_off(intake.file, &error)),
        },
        _ => read_text(content, input, &taken, intake),
    }
}

fn read_unpacked(
    mut input: impl Read,
    taken: &Cell<u64>,
    intake: &mut Intake<'_>,
) -> Result<(), HistoryError> {
    let (content, beginning) = looked_at(&mut input, intake.file)?;
    read_text(content, Cursor::new(beginning).chain(input), taken, intake)
}

fn read_text(
    content: Content,
    input: impl Read,
    taken: &Cell<u64>,
    intake: &mut Intake<'_>,
) -> Result<(), HistoryError> {
    match content.refuse(intake.file) {
        Some(error) => Err(error),
        None => csv::read(input, || taken.get(), intake),
    }
}

/// What comes, by its first bytes, which are also handed back.
fn looked_at(mut input: impl Read, file: &str) -> Result<(Content, Vec<u8>), HistoryError> {
    let mut beginning = Vec::new();
    let looked = Read::by_ref(&mut input)
        .take(BEGINNING_BYTES)
        .read_to_end(&mut beginning);
    looked.map_err(|error| broken_off(file, &error))?;
    Ok((Content::of(&beginning), beginning))
}

/// Counts the bytes of a file as they are read, below what unpacks them.
struct Counted<R> {
    input: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.input.read(buffer)?;
        self.taken.set(self.taken.get() + bytes as u64);
        Ok(bytes)
    }
}

/// Bytes as text where they are text.
fn shown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    format!("`{}`", bytes.escape_ascii())
}
