//! History files become samples in time order: rows are checked, series are named once, order is made. Feeds nothing by itself.
//!
//! ```text
//! CSV ─────┐
//!          ├─ rows checked ──▶ Directory (who is it?) ──▶ TimeSorter ──▶ Sorted: all samples, earliest first
//! Parquet ─┘   (each error names file, line, what was expected, what was found)
//! ```
//!
//! Everything is read before the first sample is handed out, so a bad row in the last line is found before anything was done. Memory holds
//! the series and a bounded number of samples; the rest waits in a nameless temporary file.

mod cells;
mod columns;
mod csv;
mod directory;
mod error;
mod intake;
mod kinds;
mod parquet;
mod reader;
mod sort;
mod timestamp;

pub use directory::{Directory, HistorySeries};
pub use error::{HistoryError, RowError};
pub use intake::SKIPPED_NAMED_MAX;
pub use kinds::KindRules;
pub use reader::{History, HistoryOptions, HistoryReader};
pub use sort::{HistorySample, SAMPLES_IN_MEMORY, Sorted};
pub use timestamp::parse_time;

#[cfg(test)]
mod tests;
