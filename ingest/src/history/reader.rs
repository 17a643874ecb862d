//! Reads history files one after the other: tells CSV from Parquet, takes good rows, stops at or counts bad ones.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::error::HistoryError;
use super::intake::{Intake, STANDARD_INPUT, format, unreadable};
use super::kinds::KindRules;
use super::sort::{SAMPLES_IN_MEMORY, Sorted, TimeSorter};
use super::{csv, parquet};

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

    /// Reads a file, or CSV from standard input if it is called `-`. `heard` is told now and then how many of its bytes are done.
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
            let mut input = BufReader::new(std::io::stdin());
            let beginning = input
                .fill_buf()
                .map_err(|error| unreadable(&file, &error.to_string()))?;
            return match Content::of(beginning) {
                Content::Parquet => Err(format(
                    &file,
                    "CSV on standard input",
                    "Parquet; name the file instead",
                )),
                content => content
                    .refuse(&file)
                    .map_or_else(|| csv::read(input, &mut intake), Err),
            };
        }
        let opened = std::fs::metadata(path).and_then(|about| Ok((about, File::open(path)?)));
        let (about, mut input) = opened.map_err(|error| unreadable(&file, &error.to_string()))?;
        if about.is_dir() {
            return Err(unreadable(
                &file,
                &format!("is a directory; name its files, such as {file}/*.csv"),
            ));
        }
        let mut beginning = Vec::new();
        let looked = Read::by_ref(&mut input).take(8).read_to_end(&mut beginning);
        looked.map_err(|error| unreadable(&file, &error.to_string()))?;
        let content = Content::of(&beginning);
        if let Some(error) = content.refuse(&file) {
            return Err(error);
        }
        let named_parquet = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"));
        match content {
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
            // A pipe can't be wound back, so what was looked at goes before it.
            _ if !about.is_file() => {
                csv::read(std::io::Cursor::new(beginning).chain(input), &mut intake)
            }
            _ => {
                input
                    .seek(SeekFrom::Start(0))
                    .map_err(|error| unreadable(&file, &error.to_string()))?;
                csv::read(input, &mut intake)
            }
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

    /// Why it can't be read, if so.
    fn refuse(self, file: &str) -> Option<HistoryError> {
        let found = match self {
            Content::Text | Content::Parquet => return None,
            Content::Gzip => format!("gzip; unpack it: gunzip -c {file} | tidewatch replay - …"),
            Content::Zstd => format!("zstd; unpack it: zstd -dc {file} | tidewatch replay - …"),
            Content::Utf16 => "text in UTF-16; save it as UTF-8".to_owned(),
        };
        Some(format(file, "CSV in UTF-8, or Parquet", &found))
    }
}

/// Bytes as text where they are text.
fn shown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    format!("`{}`", bytes.escape_ascii())
}
