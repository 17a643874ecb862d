//! Parquet: the columns of the CSV form, or those of our own archive's `samples` with their map of labels.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use super::columns::{Columns, Role, metric_of_file};
use super::directory::{Refused, SeriesMemo};
use super::error::{HistoryError, RowError, RowPlace};
use super::intake::{Intake, format};
use super::sort::HistorySample;
use super::timestamp::{checked, from_epoch, parse_time};

/// Rows decoded at once: enough to hide the cost of a call, a few MB with many labels.
const BATCH_ROWS: usize = 16_384;

/// Between two texts of a series' key. Never occurs in UTF-8.
const SEPARATOR: u8 = 0xFF;

/// The column that makes a file one of our archive's.
const LABELS: &str = "labels";

/// Columns of our archive that say again what the others say.
const DERIVED: [&str; 3] = ["series_id", "host", "service"];

/// Reads all rows.
pub(super) fn read(
    input: File,
    file_bytes: u64,
    intake: &mut Intake<'_>,
) -> Result<(), HistoryError> {
    let file = intake.file;
    // The reader checks most of what a file says of itself and asserts some (seen with single flipped bits): a panic there is the same
    // answer as an error. What was taken before it is given up with the whole history, as after any error.
    let all = AssertUnwindSafe(|| read_unguarded(input, file_bytes, intake));
    std::panic::catch_unwind(all).unwrap_or_else(|_| Err(damaged(file, &"it contradicts itself")))
}

fn damaged(file: &str, why: &dyn std::fmt::Display) -> HistoryError {
    format(file, "a Parquet file", &format!("a damaged one: {why}"))
}

fn read_unguarded(
    input: File,
    file_bytes: u64,
    intake: &mut Intake<'_>,
) -> Result<(), HistoryError> {
    let file = intake.file;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(input).map_err(|error| damaged(file, &error))?;
    let rows = builder.metadata().file_metadata().num_rows().max(1) as u64;
    let plan = Plan::of(file, builder.schema())?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), plan.read.iter().copied());
    let batches = builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| damaged(file, &error))?;
    let mut memo = SeriesMemo::default();
    let mut done = 0u64;
    for batch in batches {
        let after = |error| damaged(file, &format!("after row {done}: {error}"));
        let batch = batch.map_err(after)?;
        take(
            &Rows::of(&plan, &batch).map_err(after)?,
            done,
            &mut memo,
            intake,
        )?;
        done += batch.num_rows() as u64;
        intake.tell(file_bytes.saturating_mul(done) / rows);
    }
    intake.tell(file_bytes);
    Ok(())
}

/// What is read of a file.
struct Plan {
    columns: Columns,
    metric: String,
    /// Positions of the columns that are read, ascending.
    read: Vec<usize>,
    /// Position of the map of labels.
    map: Option<usize>,
}

impl Plan {
    fn of(file: &str, schema: &Schema) -> Result<Plan, HistoryError> {
        let names = schema.fields().iter().map(|field| field.name().clone());
        let columns = Columns::of(file, names.collect())?;
        let map = schema.fields().iter().position(|field| {
            field.name() == LABELS && matches!(field.data_type(), DataType::Map(..))
        });
        let mut read = Vec::new();
        for (i, field) in schema.fields().iter().enumerate() {
            let (name, found) = (field.name().as_str(), field.data_type());
            let (fits, expected) = match columns.roles[i] {
                Role::Time => (is_time(found), "a timestamp, a number or text"),
                Role::Value => (found.is_numeric(), "a number"),
                Role::Metric => (is_text(found), "text"),
                Role::Label if Some(i) == map => (is_text_map(found), "a map of text to text"),
                Role::Label if map.is_some() && DERIVED.contains(&name) => continue,
                Role::Label if map.is_some() => (
                    false,
                    "nothing beside `labels` but time, metric, value, series_id, host and service",
                ),
                Role::Label => (
                    is_text(found) || found.is_integer() || *found == DataType::Boolean,
                    "text, whole numbers or booleans, as every column besides time, metric and value is a label",
                ),
            };
            if !fits {
                let expected = format!("column `{name}` to hold {expected}");
                return Err(format(file, &expected, &found.to_string()));
            }
            read.push(i);
        }
        let metric = match columns.metric {
            Some(_) => String::new(),
            None => metric_of_file(file)?,
        };
        Ok(Plan {
            columns,
            metric,
            read,
            map,
        })
    }
}

fn is_text(found: &DataType) -> bool {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn is_text_map(found: &DataType) -> bool {
    let DataType::Map(entries, _) = found else {
        return false;
    };
    matches!(entries.data_type(), DataType::Struct(fields)
        if fields.len() == 2 && fields.iter().all(|field| *field.data_type() == DataType::Utf8))
}

fn is_time(found: &DataType) -> bool {
    is_text(found)
        || found.is_integer()
        || matches!(
            found,
            // Not Float32, in which seconds of an epoch can't be told apart.
            DataType::Float64 | DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
        )
}

/// The columns of one batch in the types that rows are read from.
struct Rows<'a> {
    plan: &'a Plan,
    time: Times,
    value: ArrayRef,
    metric: Option<StringArray>,
    /// Name and texts of each label column.
    labels: Vec<(&'a str, StringArray)>,
    map: Option<MapArray>,
    len: usize,
}

enum Times {
    /// In units of a timestamp.
    Stamps(ArrayRef, TimeUnit),
    /// Epoch numbers.
    Numbers(ArrayRef),
    /// Epoch numbers with a fraction.
    Fractions(ArrayRef),
    Texts(StringArray),
}

impl<'a> Rows<'a> {
    fn of(plan: &'a Plan, batch: &RecordBatch) -> Result<Self, arrow::error::ArrowError> {
        let column = |i: usize| {
            // Only the columns of the plan were read, in their order.
            let position = plan.read.iter().position(|read| *read == i);
            batch.column(position.unwrap_or(0))
        };
        let texts = |array: &ArrayRef| -> Result<StringArray, arrow::error::ArrowError> {
            Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        let time = column(plan.columns.time);
        let time = match time.data_type() {
            DataType::Timestamp(unit, _) => Times::Stamps(Arc::clone(time), *unit),
            DataType::Date32 | DataType::Date64 => Times::Stamps(
                cast(time, &DataType::Timestamp(TimeUnit::Millisecond, None))?,
                TimeUnit::Millisecond,
            ),
            other if other.is_integer() => Times::Numbers(cast(time, &DataType::Int64)?),
            DataType::Float64 => Times::Fractions(Arc::clone(time)),
            _ => Times::Texts(texts(time)?),
        };
        let mut labels = Vec::new();
        for i in &plan.read {
            if plan.columns.roles[*i] == Role::Label && plan.map != Some(*i) {
                labels.push((plan.columns.names[*i].as_str(), texts(column(*i))?));
            }
        }
        Ok(Rows {
            plan,
            time,
            value: cast(column(plan.columns.value), &DataType::Float64)?,
            metric: plan.columns.metric.map(|i| texts(column(i))).transpose()?,
            labels,
            map: plan.map.map(|i| column(i).as_map().clone()),
            len: batch.num_rows(),
        })
    }

    fn time(&self, row: usize) -> Result<i64, RowError> {
        let told = match &self.time {
            Times::Stamps(array, _) if array.is_null(row) => null("a time"),
            Times::Numbers(array) if array.is_null(row) => null("a time"),
            Times::Fractions(array) if array.is_null(row) => null("a time"),
            Times::Texts(array) if array.is_null(row) => null("a time"),
            Times::Stamps(array, unit) => {
                let (stamp, micros) = match unit {
                    TimeUnit::Second => scaled::<TimestampSecondType>(array, row, 1_000_000),
                    TimeUnit::Millisecond => scaled::<TimestampMillisecondType>(array, row, 1_000),
                    TimeUnit::Microsecond => scaled::<TimestampMicrosecondType>(array, row, 1),
                    TimeUnit::Nanosecond => {
                        let stamp = array.as_primitive::<TimestampNanosecondType>().value(row);
                        (stamp, stamp.div_euclid(1_000))
                    }
                };
                checked(micros, &stamp.to_string())
            }
            Times::Numbers(array) => from_epoch(array.as_primitive::<Int64Type>().value(row)),
            Times::Fractions(array) => {
                parse_time(&array.as_primitive::<Float64Type>().value(row).to_string())
            }
            Times::Texts(array) => parse_time(array.value(row)),
        };
        told.map_err(|detail| {
            RowError::cell(&self.plan.columns.names[self.plan.columns.time], detail)
        })
    }

    fn value(&self, row: usize) -> Result<f64, RowError> {
        if self.value.is_null(row) {
            let column = &self.plan.columns.names[self.plan.columns.value];
            return Err(RowError::cell(column, "expected a number, found null"));
        }
        Ok(self.value.as_primitive::<Float64Type>().value(row))
    }

    /// The pairs of the map of a row.
    fn pairs(&self, row: usize) -> impl Iterator<Item = (&str, &str)> {
        self.map.iter().flat_map(move |map| {
            let (keys, values) = (
                map.keys().as_string::<i32>(),
                map.values().as_string::<i32>(),
            );
            let offsets = map.value_offsets();
            let range = if map.is_null(row) {
                0..0
            } else {
                offsets[row] as usize..offsets[row + 1] as usize
            };
            range.map(move |i| (keys.value(i), text_at(values, i)))
        })
    }

    /// What names the series of a row, as bytes.
    fn key(&self, row: usize, key: &mut Vec<u8>) {
        key.clear();
        let mut push = |text: &str| {
            key.extend_from_slice(text.as_bytes());
            key.push(SEPARATOR);
        };
        if let Some(metric) = &self.metric {
            push(text_at(metric, row));
        }
        self.labels
            .iter()
            .for_each(|(_, texts)| push(text_at(texts, row)));
        for (name, value) in self.pairs(row) {
            push(name);
            push(value);
        }
    }

    fn name(&self, row: usize, intake: &mut Intake<'_>) -> Result<u32, Refused> {
        let metric = match (&self.metric, self.plan.columns.metric) {
            (Some(metrics), Some(column)) => match text_at(metrics, row).trim() {
                "" => {
                    let detail = "expected the metric's name, found nothing";
                    let column = &self.plan.columns.names[column];
                    return Err(Refused::Row(RowError::cell(column, detail)));
                }
                name => name,
            },
            _ => self.plan.metric.as_str(),
        };
        let columns = self
            .labels
            .iter()
            .map(|(name, texts)| (*name, text_at(texts, row)));
        intake
            .directory
            .resolve(metric, columns.chain(self.pairs(row)))
    }
}

/// A timestamp as it stands, and in microseconds; far out of range where that is beyond 64 bits.
fn scaled<T: arrow::datatypes::ArrowPrimitiveType<Native = i64>>(
    array: &ArrayRef,
    row: usize,
    micros_per_unit: i64,
) -> (i64, i64) {
    let stamp = array.as_primitive::<T>().value(row);
    (stamp, stamp.saturating_mul(micros_per_unit))
}

fn null(expected: &str) -> Result<i64, String> {
    Err(format!("expected {expected}, found null"))
}

/// A text, or nothing where it is null: a label without a value is no label.
fn text_at(texts: &StringArray, row: usize) -> &str {
    if texts.is_null(row) {
        ""
    } else {
        texts.value(row)
    }
}

fn take(
    rows: &Rows<'_>,
    before: u64,
    memo: &mut SeriesMemo,
    intake: &mut Intake<'_>,
) -> Result<(), HistoryError> {
    let (mut key, mut last_key, mut last_series) = (Vec::new(), Vec::new(), None);
    for row in 0..rows.len {
        let place = RowPlace::Row(before + row as u64 + 1);
        let numbers = rows.time(row).and_then(|time| Ok((time, rows.value(row)?)));
        let (time, value) = match numbers {
            Ok(numbers) => numbers,
            Err(problem) => {
                intake.refuse(place, problem)?;
                continue;
            }
        };
        rows.key(row, &mut key);
        // Our own archive holds one series after the other.
        let known = last_series
            .filter(|_| key == last_key)
            .or_else(|| memo.get(&key));
        let series = match known {
            Some(series) => series,
            None => match rows.name(row, intake) {
                Ok(series) => {
                    memo.insert(&key, series);
                    series
                }
                Err(refused) => {
                    intake.refuse_series(place, refused)?;
                    continue;
                }
            },
        };
        std::mem::swap(&mut key, &mut last_key);
        last_series = Some(series);
        intake.take(HistorySample {
            time,
            value,
            series,
        })?;
    }
    Ok(())
}
