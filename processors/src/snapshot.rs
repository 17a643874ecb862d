//! The state as bytes and back: versioned, deterministic, bounded on restore. Integrity is the checkpoint's (SHA-256).

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use analytics::{CounterRate, SeriesDetectors};
use schemas::{
    ErrorCode, Fault, HasCode, HasFault, Kind, Labels, Micros, NextOffset, SampleRows, Series,
    SeriesDirectory,
};
use serde::{Deserialize, Serialize};

use crate::ProcessingConfig;
use crate::calendar::SeriesCalendar;
use crate::correlation::Correlation;
use crate::error_codes;
use crate::forecasting::{Forecasting, SavedForecasting};
use crate::levels::Level;
use crate::resource_forest::ResourceForests;
use crate::series_table::SeriesTable;
use crate::siblings::{SavedGroups, SiblingGroups};
use crate::silence::Silences;
use crate::state::{PartitionState, Pending, PerSeries};
use crate::window::OpenWindow;

/// First bytes of a snapshot, then the version.
const MAGIC: &[u8; 8] = b"TWSTATE\0";
/// The version written and read.
const VERSION: u32 = 5;
/// The most bytes a snapshot may unpack to. 16 GiB: 2 million series with a minute of one-second samples stay below 8.
const UNPACKED_BYTES_MAX: u64 = 16 << 30;
/// Magic, version, unpacked length.
const HEADER_BYTES: usize = 20;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot, or damaged (corruption).
    #[error("state snapshot is damaged: {0}")]
    Damaged(String),
    /// Written by another version (bad configuration).
    #[error(
        "state snapshot has version {found}; this version of tidewatch reads version {VERSION}: run the version that wrote it"
    )]
    Version {
        /// The version found.
        found: u32,
    },
}

impl HasFault for SnapshotError {
    fn fault(&self) -> Fault {
        match self {
            SnapshotError::Damaged(_) => Fault::Corruption,
            SnapshotError::Version { .. } => Fault::BadConfig,
        }
    }
}

impl HasCode for SnapshotError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            SnapshotError::Damaged(_) => &error_codes::SNAPSHOT_DAMAGED,
            SnapshotError::Version { .. } => &error_codes::SNAPSHOT_VERSION,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    metrics: Vec<String>,
    label_sets: Vec<Vec<u8>>,
    /// Per series: metric, label set, kind.
    series: Vec<(u32, u32, u8)>,
    last_time: Vec<Micros>,
    interval: Vec<u32>,
    detectors: Vec<SeriesDetectors>,
    rates: Vec<CounterRate>,
    open: Vec<SavedWindow>,
    levels: [Level; 4],
    correlation: Correlation,
    forests: ResourceForests,
    siblings: SavedGroups,
    silences: Silences,
    forecasting: SavedForecasting,
    log_clock: Micros,
    next_offset: NextOffset,
}

/// The rows of an open window.
#[derive(Serialize, Deserialize)]
struct SavedWindow {
    start: Micros,
    series: Vec<u32>,
    time: Vec<Micros>,
    value: Vec<f64>,
    interval: Vec<u32>,
}

impl PartitionState {
    /// The state as after [`PartitionState::settle`]: what is pending is taken as final.
    pub fn encode(&self) -> Vec<u8> {
        let mut metrics: (Vec<String>, HashMap<&str, u32>) = Default::default();
        let mut sets: (Vec<Vec<u8>>, HashMap<&Labels, u32>) = Default::default();
        let series = self.directory().iter().map(|series| {
            let metric = *metrics.1.entry(&series.metric).or_insert_with(|| {
                metrics.0.push(series.metric.to_string());
                metrics.0.len() as u32 - 1
            });
            let set = *sets.1.entry(&series.labels).or_insert_with(|| {
                sets.0.push(series.labels.canonical().to_vec());
                sets.0.len() as u32 - 1
            });
            (metric, set, series.kind as u8)
        });
        let series = series.collect();
        let open = self.open.iter().map(|(start, window)| {
            let rows = window.rows().clone();
            SavedWindow {
                start: *start,
                series: rows.series,
                time: rows.time,
                value: rows.value,
                interval: window.intervals().to_vec(),
            }
        });
        let saved = Saved {
            series,
            metrics: metrics.0,
            label_sets: sets.0,
            last_time: self.per_series.last_time.clone(),
            interval: self.per_series.interval.clone(),
            detectors: self.per_series.detectors.clone(),
            rates: self.per_series.rates.clone(),
            open: open.collect(),
            levels: self.levels.each_ref().map(Level::trimmed),
            correlation: self.correlation.clone(),
            forests: self.forests.clone(),
            siblings: self.siblings.saved(),
            silences: self.silences.clone(),
            forecasting: self.forecasting.save(),
            log_clock: self.log_clock,
            next_offset: self.next_offset,
        };
        // Plain data without maps or borrowed parts always serialises; level 1 because this stands between a checkpoint and its link.
        let raw = postcard::to_stdvec(&saved).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + raw.len() / 3);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(raw.len() as u64).to_le_bytes());
        bytes.extend(zstd::bulk::compress(&raw, 1).unwrap_or_default());
        bytes
    }

    /// The state that [`PartitionState::encode`] wrote, under the settings of now.
    ///
    /// # Errors
    /// `Damaged` (corruption: set the file aside) or `Version`.
    pub fn decode(bytes: &[u8], config: ProcessingConfig) -> Result<Self, SnapshotError> {
        let damaged = |what: &str| SnapshotError::Damaged(what.to_owned());
        let (header, packed) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(|| damaged("shorter than its header"))?;
        if &header[..8] != MAGIC {
            return Err(damaged("it does not start like a state snapshot"));
        }
        let version = header[8..12]
            .try_into()
            .map(u32::from_le_bytes)
            .unwrap_or_default();
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let length = header[12..20]
            .try_into()
            .map(u64::from_le_bytes)
            .unwrap_or(u64::MAX);
        if length > UNPACKED_BYTES_MAX {
            return Err(damaged(&format!(
                "it claims {length} bytes; at most {UNPACKED_BYTES_MAX} are unpacked"
            )));
        }
        let raw = unpack(packed, length).map_err(|error| damaged(&error.to_string()))?;
        let saved: Saved =
            postcard::from_bytes(&raw).map_err(|error| damaged(&error.to_string()))?;
        Self::from_saved(saved, config)
    }

    fn from_saved(saved: Saved, config: ProcessingConfig) -> Result<Self, SnapshotError> {
        let damaged = |what: &str| SnapshotError::Damaged(what.to_owned());
        let metrics: Vec<Arc<str>> = saved
            .metrics
            .iter()
            .map(|name| Arc::from(name.as_str()))
            .collect();
        let label_sets = saved
            .label_sets
            .iter()
            .map(|bytes| Labels::from_canonical(bytes));
        let label_sets: Vec<Labels> = label_sets
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("a label set is not canonical"))?;
        let series = saved.series.iter().map(|(metric, set, kind)| {
            let (metric, labels) = (
                metrics.get(*metric as usize)?,
                label_sets.get(*set as usize)?,
            );
            let kind = Kind::from_byte(*kind)?;
            Some(Arc::new(Series {
                metric: Arc::clone(metric),
                ..Series::new(metric, labels.clone(), kind)
            }))
        });
        let directory: SeriesDirectory = series
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("a series refers to nothing"))?;
        let n = directory.len();
        if [
            saved.last_time.len(),
            saved.interval.len(),
            saved.detectors.len(),
            saved.rates.len(),
        ]
        .iter()
        .any(|len| *len != n)
        {
            return Err(damaged("its columns differ in length"));
        }
        if !saved.correlation.fits(n) {
            return Err(damaged("a move is of no series"));
        }
        let siblings = SiblingGroups::restored(saved.siblings, n)
            .ok_or_else(|| damaged("a group of siblings is out of shape"))?;
        if !saved.levels.iter().all(|level| level.fits(n)) {
            return Err(damaged("an open rollup is out of shape"));
        }
        let mut open = BTreeMap::new();
        for SavedWindow {
            start,
            series,
            time,
            value,
            interval,
        } in saved.open
        {
            if series.len() != time.len()
                || time.len() != value.len()
                || value.len() != interval.len()
                || series.iter().any(|index| *index as usize >= n)
            {
                return Err(damaged("an open window is out of shape"));
            }
            open.insert(
                start,
                OpenWindow::from_rows(
                    SampleRows {
                        series,
                        time,
                        value,
                    },
                    interval,
                ),
            );
        }
        let table = SeriesTable::from_directory(directory);
        let resources = table.resources();
        if !saved.forests.fits(n, resources.len()) {
            return Err(damaged("a forest is out of shape"));
        }
        if !saved.silences.fits(resources.len()) {
            return Err(damaged("a silence is of no resource"));
        }
        let resource_of = |series| resources.of(series);
        let forecasting = Forecasting::restore(saved.forecasting, table.directory(), resource_of)
            .ok_or_else(|| damaged("a forecast is of no series"))?;
        Ok(PartitionState {
            calendar: SeriesCalendar::new(&config),
            config,
            table,
            per_series: PerSeries {
                last_time: saved.last_time,
                interval: saved.interval,
                detectors: saved.detectors,
                rates: saved.rates,
            },
            open,
            levels: saved.levels,
            correlation: saved.correlation,
            forests: saved.forests,
            siblings,
            silences: saved.silences,
            forecasting,
            log_clock: saved.log_clock,
            next_offset: saved.next_offset,
            committed_until: saved.next_offset,
            pending: Pending::default(),
        })
    }
}

/// Unpacks what has `length` bytes. Memory grows with what is there: a damaged header can claim any length.
fn unpack(packed: &[u8], length: u64) -> std::io::Result<Vec<u8>> {
    let expected = usize::try_from(length).unwrap_or(usize::MAX);
    let mut raw = Vec::with_capacity(expected.min(packed.len().saturating_mul(8)));
    zstd::stream::read::Decoder::with_buffer(packed)?
        .take(length + 1)
        .read_to_end(&mut raw)?;
    if raw.len() != expected {
        return Err(std::io::Error::other(format!(
            "it claims {length} bytes and holds {}",
            raw.len()
        )));
    }
    Ok(raw)
}
