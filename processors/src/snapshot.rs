//! The state as bytes and back: versioned, deterministic, bounded on restore. Integrity is the checkpoint's (SHA-256).
//!
//! ```text
//! magic 8 | version 4 | version of what is learned 4 | unpacked length 8 | zstd: Saved, Learned, maybe SavedMeetings (postcard)
//! ```
//! Where siblings of several partitions meet, a third part follows. Who does not know it leaves it out: then the guests are met anew.
//!
//! Two versions, because two things become of them: open windows can't be had again, so another version is refused; what detectors and forecasts
//! have learned can be learned anew from the archive, so another version is left out.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Read, Write};
use std::sync::Arc;

use analytics::{CounterRate, SeriesDetectors};
use foldhash::fast::RandomState;
use schemas::{
    ErrorCode, Fault, HasCode, HasFault, Kind, Labels, Micros, NextOffset, SampleRows, Series,
    SeriesDirectory, SeriesId,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ProcessingConfig;
use crate::alarm_budget::AlarmBudgets;
use crate::calendar::SeriesCalendar;
use crate::correlation::Correlation;
use crate::error_codes;
use crate::forecasting::{Forecasting, SavedForecasting};
use crate::levels::Level;
use crate::pending::Pending;
use crate::per_series::PerSeries;
use crate::resource_forest::ResourceForests;
use crate::series_table::SeriesTable;
use crate::siblings::{SavedGroups, SavedMeetings, SiblingGroups};
use crate::silence::Silences;
use crate::state::PartitionState;
use crate::window::OpenWindow;

/// First bytes of a snapshot, then the versions.
const MAGIC: &[u8; 8] = b"TWSTATE\0";
/// The version of [`Saved`] that is written and read. Raise it with each change of its form, and read the old form, too: nobody else can.
const VERSION: u32 = 5;
/// The version of [`Learned`] that is written and read. Raise it with each change of its form: an upgrade then learns it anew.
const LEARNED_VERSION: u32 = 6;
/// The most bytes a snapshot may unpack to. 16 GiB: 2 million series with a minute of one-second samples stay below 8.
const UNPACKED_BYTES_MAX: u64 = 16 << 30;
/// Magic, versions, unpacked length.
const HEADER_BYTES: usize = 24;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot, or damaged (corruption).
    #[error("state snapshot is damaged: {0}")]
    Damaged(String),
    /// Written by another version (bad configuration).
    #[error(
        "state snapshot has version {found}; this version of tidewatch reads version {VERSION}, and the open windows in it are nowhere else: run the version that wrote it"
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

/// What can't be had again: the log may end where a snapshot begins. What is saved is borrowed, since a copy of a million series takes a gigabyte.
#[derive(Serialize, Deserialize)]
struct Saved<'a, L = Level> {
    #[serde(borrow)]
    metrics: Vec<&'a str>,
    #[serde(borrow)]
    label_sets: Vec<Canonical<'a>>,
    /// Per series: metric, label set, kind.
    series: Vec<(u32, u32, u8)>,
    last_time: Cow<'a, [Micros]>,
    interval: Cow<'a, [u32]>,
    open: Vec<SavedWindow<'a>>,
    levels: [L; 4],
    log_clock: Micros,
    next_offset: NextOffset,
}

/// The canonical bytes of a label set, saved and read as a whole: the same bytes as one by one.
#[derive(Clone, Copy)]
struct Canonical<'a>(&'a [u8]);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Canonical<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Canonical)
    }
}

/// What the archive can teach again. By series index, or of none.
#[derive(Default, Serialize, Deserialize)]
struct Learned<'a> {
    detectors: Cow<'a, [SeriesDetectors]>,
    rates: Cow<'a, [CounterRate]>,
    correlation: Cow<'a, Correlation>,
    alarm_budgets: Cow<'a, AlarmBudgets>,
    forests: Cow<'a, ResourceForests>,
    siblings: Cow<'a, SavedGroups>,
    silences: Cow<'a, Silences>,
    forecasting: SavedForecasting<'a>,
}

impl Learned<'_> {
    /// What is known of so many series before anything was learned.
    fn nothing(series_count: usize) -> Self {
        Learned {
            detectors: Cow::Owned(vec![SeriesDetectors::default(); series_count]),
            rates: Cow::Owned(vec![CounterRate::default(); series_count]),
            ..Learned::default()
        }
    }
}

/// The rows of an open window.
#[derive(Serialize, Deserialize)]
struct SavedWindow<'a> {
    start: Micros,
    series: Cow<'a, [u32]>,
    time: Cow<'a, [Micros]>,
    value: Cow<'a, [f64]>,
    interval: Cow<'a, [u32]>,
}

impl PartitionState {
    /// The state as after [`PartitionState::settle`]: what is pending is taken as final.
    pub fn encode(&self) -> Vec<u8> {
        let mut metrics: (Vec<&str>, HashMap<&str, u32, RandomState>) = Default::default();
        let mut sets: (Vec<Canonical>, HashMap<&Labels, u32, RandomState>) = Default::default();
        let series = self.directory().iter().map(|series| {
            let metric = *metrics.1.entry(&series.metric).or_insert_with(|| {
                metrics.0.push(&series.metric);
                metrics.0.len() as u32 - 1
            });
            let set = *sets.1.entry(&series.labels).or_insert_with(|| {
                sets.0.push(Canonical(series.labels.canonical()));
                sets.0.len() as u32 - 1
            });
            (metric, set, series.kind as u8)
        });
        let series = series.collect();
        let open = self.open.iter().map(|(start, window)| SavedWindow {
            start: *start,
            series: Cow::Borrowed(&window.rows().series),
            time: Cow::Borrowed(&window.rows().time),
            value: Cow::Borrowed(&window.rows().value),
            interval: Cow::Borrowed(window.intervals()),
        });
        let saved = Saved {
            series,
            metrics: metrics.0,
            label_sets: sets.0,
            last_time: Cow::Borrowed(&self.per_series.last_time),
            interval: Cow::Borrowed(&self.per_series.interval),
            open: open.collect(),
            levels: self.levels.each_ref().map(Level::trimmed),
            log_clock: self.log_clock,
            next_offset: self.next_offset,
        };
        let learned = Learned {
            detectors: Cow::Borrowed(&self.per_series.detectors),
            rates: Cow::Borrowed(&self.per_series.rates),
            correlation: Cow::Borrowed(&self.correlation),
            alarm_budgets: Cow::Borrowed(&self.alarm_budgets),
            forests: Cow::Borrowed(&self.forests),
            siblings: Cow::Borrowed(self.siblings.saved()),
            silences: Cow::Borrowed(&self.silences),
            forecasting: self.forecasting.save(),
        };
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&LEARNED_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        // Plain data without maps or borrowed parts always serialises, and memory takes what is written.
        let length = match self.siblings.saved_meetings() {
            None => pack(&(saved, learned), &mut bytes),
            Some(meetings) => pack(&(saved, learned, meetings), &mut bytes),
        }
        .unwrap_or_default();
        bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    /// The version of what was learned in a snapshot, if it is another than this program's: [`PartitionState::decode`] leaves that out.
    pub fn foreign_lessons(bytes: &[u8]) -> Option<u32> {
        let [_, learned] = versions(bytes)?;
        (learned != LEARNED_VERSION).then_some(learned)
    }

    /// The state that [`PartitionState::encode`] wrote, under the settings of now. What another version of the detectors and forecasts has learned is
    /// left out, as if they had been off; [`PartitionState::unlearned`] says what they lack then.
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
        let [version, learned_version] = versions(header).unwrap_or_default();
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let length = header[16..24]
            .try_into()
            .map(u64::from_le_bytes)
            .unwrap_or(u64::MAX);
        if length > UNPACKED_BYTES_MAX {
            return Err(damaged(&format!(
                "it claims {length} bytes; at most {UNPACKED_BYTES_MAX} are unpacked"
            )));
        }
        let raw = unpack(packed, length).map_err(|error| damaged(&error.to_string()))?;
        let (saved, rest) = postcard::take_from_bytes::<Saved>(&raw)
            .map_err(|error| damaged(&error.to_string()))?;
        let unreadable = |error: postcard::Error| damaged(&error.to_string());
        let mut meetings = SavedMeetings::default();
        let learned = if learned_version == LEARNED_VERSION {
            let (learned, rest) = postcard::take_from_bytes(rest).map_err(unreadable)?;
            if !rest.is_empty() {
                meetings = postcard::from_bytes(rest).map_err(unreadable)?;
            }
            learned
        } else {
            Learned::nothing(saved.series.len())
        };
        Self::from_parts(saved, learned, meetings, config)
    }

    fn from_parts(
        saved: Saved<'_>,
        learned: Learned<'_>,
        meetings: SavedMeetings,
        config: ProcessingConfig,
    ) -> Result<Self, SnapshotError> {
        let damaged = |what: &str| SnapshotError::Damaged(what.to_owned());
        // Each name and each label set is hashed once, however many series share it.
        let metrics = saved.metrics.iter();
        let metrics: Vec<(Arc<str>, u128)> = metrics
            .map(|name| (Arc::from(*name), SeriesId::metric_hash(name)))
            .collect();
        let label_sets = saved.label_sets.iter().map(|bytes| {
            let labels = Labels::from_canonical(bytes.0)?;
            let hash = labels.hash128();
            Some((labels, hash))
        });
        let label_sets: Vec<(Labels, u128)> = label_sets
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("a label set is not canonical"))?;
        let series = saved.series.iter().map(|(metric, set, kind)| {
            let (metric, metric_hash) = metrics.get(*metric as usize)?;
            let (labels, labels_hash) = label_sets.get(*set as usize)?;
            Some(Arc::new(Series {
                id: SeriesId::of_hashes(*metric_hash, *labels_hash),
                metric: Arc::clone(metric),
                labels: labels.clone(),
                kind: Kind::from_byte(*kind)?,
            }))
        });
        let directory: SeriesDirectory = series
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("a series refers to nothing"))?;
        let n = directory.len();
        if [
            saved.last_time.len(),
            saved.interval.len(),
            learned.detectors.len(),
            learned.rates.len(),
        ]
        .iter()
        .any(|len| *len != n)
        {
            return Err(damaged("its columns differ in length"));
        }
        if !learned.correlation.fits(n) {
            return Err(damaged("a move is of no series"));
        }
        let siblings = SiblingGroups::restored(learned.siblings.into_owned(), meetings, n)
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
                        series: series.into_owned(),
                        time: time.into_owned(),
                        value: value.into_owned(),
                    },
                    interval.into_owned(),
                ),
            );
        }
        let table = SeriesTable::from_directory(directory);
        let resources = table.resources();
        if !learned.forests.fits(n, resources.len()) {
            return Err(damaged("a forest is out of shape"));
        }
        if !learned.silences.fits(resources.len()) {
            return Err(damaged("a silence is of no resource"));
        }
        let resource_of = |series| resources.of(series);
        let forecasting = Forecasting::restore(learned.forecasting, table.directory(), resource_of)
            .ok_or_else(|| damaged("a forecast is of no series"))?;
        Ok(PartitionState {
            calendar: SeriesCalendar::new(&config),
            config,
            table,
            per_series: PerSeries {
                last_time: saved.last_time.into_owned(),
                interval: saved.interval.into_owned(),
                detectors: learned.detectors.into_owned(),
                rates: learned.rates.into_owned(),
            },
            open,
            levels: saved.levels,
            correlation: learned.correlation.into_owned(),
            alarm_budgets: learned.alarm_budgets.into_owned(),
            forests: learned.forests.into_owned(),
            siblings,
            place: None,
            silences: learned.silences.into_owned(),
            forecasting,
            log_clock: saved.log_clock,
            next_offset: saved.next_offset,
            committed_until: saved.next_offset,
            pending: Pending::default(),
        })
    }
}

/// Both versions in a snapshot's header.
fn versions(bytes: &[u8]) -> Option<[u32; 2]> {
    let at = |from: usize| {
        let word = bytes.get(from..from + 4)?;
        word.try_into().map(u32::from_le_bytes).ok()
    };
    Some([at(8)?, at(12)?])
}

/// Appends a value, packed, and returns how many bytes it unpacks to. They are never all there at once.
fn pack(value: &impl Serialize, bytes: &mut Vec<u8>) -> Result<u64, postcard::Error> {
    let failed = |_| postcard::Error::SerializeBufferFull;
    // Level 1 because this stands between a checkpoint and its link.
    let packer = zstd::stream::write::Encoder::new(bytes, 1).map_err(failed)?;
    // 128 KiB: a block of zstd's, so that values come to it by the block and not by the byte.
    let counted = BufWriter::with_capacity(128 << 10, Counted { packer, length: 0 });
    let written = postcard::to_io(value, counted)?;
    let Counted { packer, length } = written
        .into_inner()
        .map_err(|_| postcard::Error::SerializeBufferFull)?;
    packer.finish().map_err(failed)?;
    Ok(length)
}

/// Counts what is written.
struct Counted<W> {
    packer: W,
    length: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.packer.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.packer.flush()
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
