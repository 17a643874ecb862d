//! The words of Tidewatch as types: what travels, what is stored, what is promised. No I/O, no async, no clock.
//!
//! Read in this order: [`Labels`] and [`Series`] (who is measured), [`SampleBatch`] (what arrives), [`Window`] and [`Rollup`]
//! (what it is folded into), [`Anomaly`] and [`Forecast`] (what is told), [`Checkpoint`] (what makes it final), [`Fault`] (whose fault it is).

pub mod batch;
pub mod checkpoint;
pub mod columns;
pub mod demo;
mod directory;
pub mod error_code;
pub mod error_codes;
pub mod event;
mod expected_panic;
mod fault;
pub mod forecast;
mod guests;
mod labels;
pub mod rollup;
pub mod rows;
mod series;
pub mod time;
pub mod topics;

pub use batch::{BATCH_SAMPLES_MAX, BatchBuilder, BatchError, SampleBatch};
pub use checkpoint::{
    ArchiveFile, Checkpoint, Counts, LinkKind, NextOffset, Offset, SnapshotRef, Table,
};
pub use directory::SeriesDirectory;
pub use error_code::{ERROR_CODES as GENERAL_ERROR_CODES, ErrorCode, HasCode};
pub use event::{Anomaly, AnomalyKind, Contribution, Direction, RESOURCE_METRIC, Related, Vote};
pub use expected_panic::{catch_panic, quiet_expected_panics};
pub use fault::{Fault, HasFault};
pub use forecast::{
    Band, Forecast, ForecastScore, FullAnswer, FullDates, FullWithin, Outcome, Outlook, TrainedOn,
};
pub use guests::{GuestRow, Guests, GuestsBuilder, GuestsError, decode_verdict};
pub use labels::{LABEL_BYTES_MAX, LABELS_MAX, Labels, LabelsError};
pub use rollup::Rollup;
pub use rows::{RollupRow, SampleRows};
pub use series::{Kind, METRIC_BYTES_MAX, Resource, Series, SeriesId, partition_of};
pub use time::{Micros, Resolution, Watermark, Window};
pub use topics::Topics;
