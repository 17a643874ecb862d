//! What the tests of the archive share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rstest::rstest;
use schemas::columns::table_schema;
use schemas::forecast::{BAND_COVERAGES, FULL_WITHIN_S};
use schemas::time::{DAY, MINUTE, Micros, SECOND, TIME_MAX};
use schemas::{
    Anomaly, AnomalyKind, Band, Direction, Fault, Forecast, ForecastScore, FullAnswer, FullDates,
    FullWithin, HasCode, HasFault, Kind, Labels, Outcome, Outlook, Related, Resolution, Rollup,
    RollupRow, SampleRows, Series, SeriesDirectory, SeriesId, TrainedOn, Vote,
};

use super::*;
use crate::compaction::{CompactionPolicy, plan};

const TOPIC: &str = "tidewatch.samples";
/// 2026-11-21 00:00 UTC.
const MIDNIGHT: Micros = 20_778 * DAY;

fn archive() -> (tempfile::TempDir, Archive) {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(
        &format!("file://{}", directory.path().display()),
        &BTreeMap::new(),
    )
    .unwrap();
    (directory, archive)
}

fn name(part: &str, start: u64) -> FileName {
    FileName {
        partition: 3,
        start: NextOffset(start),
        end: NextOffset(start + 10),
        epoch: 2,
        part: part.into(),
    }
}

fn series(metric: &str, labels: &[(&str, &str)]) -> Arc<Series> {
    Arc::new(Series::new(
        metric,
        Labels::try_new(labels.iter().copied()).unwrap(),
        Kind::Gauge,
    ))
}

fn directory() -> SeriesDirectory {
    [
        series(
            "zeta",
            &[
                ("host.name", "web-1"),
                ("service.name", "shop"),
                ("cpu", "0"),
            ],
        ),
        series(
            "alpha",
            &[
                ("host.name", "web-1"),
                ("service.name", "shop"),
                ("cpu", "0"),
            ],
        ),
        series("alpha", &[]),
        series(
            "mitte",
            &[
                ("quoted", "a\"b,=\u{1f30a}"),
                ("instance", "db:9100"),
                ("job", "node"),
            ],
        ),
    ]
    .into_iter()
    .collect()
}

fn rows(samples: &[(u32, Micros, f64)]) -> SampleRows {
    let mut rows = SampleRows::default();
    samples
        .iter()
        .for_each(|(series, time, value)| rows.push(*series, *time, *value));
    rows
}

/// (series, time, bits), sorted.
type Sample = (SeriesId, Micros, u64);

fn expected(directory: &SeriesDirectory, samples: &[(u32, Micros, f64)]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = samples
        .iter()
        .map(|(s, time, value)| (directory[*s as usize].id, *time, value.to_bits()))
        .collect();
    samples.sort_unstable();
    samples
}

async fn read_all(
    archive: &Archive,
    files: &[ArchiveFile],
    directory: &SeriesDirectory,
) -> Vec<Sample> {
    let wanted = Wanted {
        series: directory
            .iter()
            .map(|series| (series.id, (Micros::MIN, Micros::MAX)))
            .collect(),
    };
    let found = archive.read_samples(files, &wanted).await.unwrap();
    let mut samples: Vec<Sample> = found
        .iter()
        .map(|sample| (sample.series, sample.time, sample.value.to_bits()))
        .collect();
    samples.sort_unstable();
    samples
}

async fn batches(archive: &Archive, file: &ArchiveFile) -> Vec<RecordBatch> {
    let bytes = archive
        .get_checked(&file.path, file.size, &file.sha256)
        .await
        .unwrap();
    ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

mod change;
mod damage;
mod runs;
mod write;
