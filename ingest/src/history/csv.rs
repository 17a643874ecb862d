//! CSV: one sample per row, the header names the columns. Any line ends, quotes as RFC 4180, empty lines are passed over, cells parted as those of the header.

use std::io::Read;

use super::cells::{CellReader, CellsError, Row};
use super::columns::{Columns, EXPECTED, Role, metric_of_file};
use super::directory::{Directory, Refused, SeriesMemo};
use super::error::{HistoryError, RowError, RowPlace};
use super::intake::{Intake, broken_off, format};
use super::sort::HistorySample;
use super::timestamp::{parse_time, shortened};

/// Between two cells of a series' key. Never occurs in UTF-8.
const SEPARATOR: u8 = 0xFF;

/// How often progress is told, rows.
const TELL_ROWS: u64 = 65_536;

/// Reads all rows. `done` says how many bytes of the file they took, which may be packed.
pub(super) fn read(
    input: impl Read,
    done: impl Fn() -> u64,
    intake: &mut Intake<'_>,
) -> Result<(), HistoryError> {
    let file = intake.file;
    let failed = |error| match error {
        CellsError::Io(error) => broken_off(file, &error),
        CellsError::Endless(line) => format(
            file,
            "rows of at most 8 MiB",
            &format!("no end of the row that begins on line {line}; is a quote not closed?"),
        ),
    };
    let mut reader = CellReader::new(input);
    let Some(row) = reader.next().map_err(failed)? else {
        return Err(format(file, EXPECTED, "an empty file"));
    };
    let mut rows = Rows::new(header(row, intake)?, intake)?;
    let mut count = 0u64;
    while let Some(row) = reader.next().map_err(failed)? {
        rows.take(row, intake)?;
        count += 1;
        if count.is_multiple_of(TELL_ROWS) {
            intake.tell(done());
        }
    }
    intake.tell(done());
    Ok(())
}

fn header(row: &Row, intake: &Intake<'_>) -> Result<Columns, HistoryError> {
    let mut names = Vec::with_capacity(row.len());
    for cell in row.cells() {
        let name = std::str::from_utf8(cell).map_err(|_| {
            format(
                intake.file,
                "a header in UTF-8",
                &format!("`{}`", cell.escape_ascii()),
            )
        })?;
        names.push(name.trim().to_owned());
    }
    if names.first().is_some_and(|name| parse_time(name).is_ok()) {
        return Err(format(
            intake.file,
            "a header line, such as `timestamp,metric,host,value`",
            &format!("a first line of data, `{}`", shortened(&names.join(","))),
        ));
    }
    Columns::of(intake.file, names)
}

/// Takes the rows of one file.
struct Rows {
    columns: Columns,
    /// The metric of all rows, where no column names it.
    metric: String,
    memo: SeriesMemo,
    key: Vec<u8>,
    /// The last time cell and what it meant: many series share their times.
    last_time: (Vec<u8>, i64),
}

impl Rows {
    fn new(columns: Columns, intake: &Intake<'_>) -> Result<Self, HistoryError> {
        let metric = match columns.metric {
            Some(_) => String::new(),
            None => metric_of_file(intake.file)?,
        };
        Ok(Rows {
            columns,
            metric,
            memo: SeriesMemo::default(),
            key: Vec::new(),
            last_time: (Vec::new(), 0),
        })
    }

    fn take(&mut self, row: &Row, intake: &mut Intake<'_>) -> Result<(), HistoryError> {
        let place = RowPlace::Line(row.line());
        if row.len() != self.columns.names.len() {
            let (expected, found) = (self.columns.names.len(), row.len());
            return intake.refuse(place, RowError::Cells { expected, found });
        }
        let numbers = self.time(row.cell(self.columns.time)).and_then(|time| {
            let value = value(
                &self.columns.names[self.columns.value],
                row.cell(self.columns.value),
            )?;
            Ok((time, value))
        });
        let (time, value) = match numbers {
            Ok(numbers) => numbers,
            Err(problem) => return intake.refuse(place, problem),
        };
        self.key.clear();
        for (cell, role) in row.cells().zip(&self.columns.roles) {
            if matches!(role, Role::Metric | Role::Label) {
                self.key.extend_from_slice(cell);
                self.key.push(SEPARATOR);
            }
        }
        let series = match self.memo.get(&self.key) {
            Some(series) => series,
            None => match self.name(row, intake.directory) {
                Ok(series) => series,
                Err(refused) => return intake.refuse_series(place, refused),
            },
        };
        intake.take(HistorySample {
            time,
            value,
            series,
        })
    }

    fn time(&mut self, cell: &[u8]) -> Result<i64, RowError> {
        if self.last_time.0 == cell && !cell.is_empty() {
            return Ok(self.last_time.1);
        }
        let column = &self.columns.names[self.columns.time];
        let time =
            parse_time(text(column, cell)?).map_err(|detail| RowError::cell(column, detail))?;
        self.last_time.0.clear();
        self.last_time.0.extend_from_slice(cell);
        self.last_time.1 = time;
        Ok(time)
    }

    /// Names a series that is seen for the first time in this file.
    fn name(&mut self, row: &Row, directory: &mut Directory) -> Result<u32, Refused> {
        let cell = |i: usize| text(&self.columns.names[i], row.cell(i)).map_err(Refused::Row);
        let metric = match self.columns.metric {
            None => self.metric.as_str(),
            Some(i) => match cell(i)?.trim() {
                "" => {
                    let detail = "expected the metric's name, found an empty cell";
                    return Err(Refused::Row(RowError::cell(&self.columns.names[i], detail)));
                }
                name => name,
            },
        };
        let mut labels = Vec::new();
        for (i, role) in self.columns.roles.iter().enumerate() {
            if *role == Role::Label {
                labels.push((self.columns.names[i].as_str(), cell(i)?));
            }
        }
        let series = directory.resolve(metric, labels)?;
        self.memo.insert(&self.key, series);
        Ok(series)
    }
}

fn text<'a>(column: &str, cell: &'a [u8]) -> Result<&'a str, RowError> {
    std::str::from_utf8(cell).map_err(|_| {
        let detail = format!(
            "expected UTF-8, found `{}`",
            shortened(&cell.escape_ascii().to_string())
        );
        RowError::cell(column, detail)
    })
}

fn value(column: &str, cell: &[u8]) -> Result<f64, RowError> {
    let text = text(column, cell)?.trim();
    text.parse().map_err(|_| {
        let found = if text.is_empty() {
            "an empty cell".to_owned()
        } else {
            format!("`{}`", shortened(text))
        };
        // What a spreadsheet writes where decimals have a comma, or thousands are parted.
        let hint = match text.contains(',') {
            true => "; write it with a decimal point and nothing between thousands",
            false => "",
        };
        RowError::cell(column, format!("expected a number, found {found}{hint}"))
    })
}
