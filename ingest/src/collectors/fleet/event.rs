//! What was planted, as anyone can ask for it: who, where, when, and a sentence for a person.

use std::fmt;

use schemas::demo::{
    EVENT_DESCRIPTION, EVENT_END, EVENT_KIND, EVENT_LABELS, EVENT_METRIC_NAME, EVENT_RESOURCE,
    EVENT_RESOURCE_ID, EVENT_SERIES_ID, EVENT_START,
};
use schemas::time::Window;
use schemas::{Labels, LabelsError, Micros, RESOURCE_METRIC, SeriesId};

use super::plan::{Planting, SpikeOf};
use super::series::{
    BUSY, CPU_TEMPERATURE, DATA_SHARE, LOAD, MEMORY_USED, Place, RECEIVE_ERRORS, RECEIVED, RUNNING,
    UP, WRITTEN,
};

/// What was planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// Some minutes far above normal.
    Spike,
    /// From now on another level; told for its first hour, then it is the normal.
    LevelShift,
    /// Memory is lost bit by bit, until a restart.
    Leak,
    /// The host goes down, and its counters begin anew.
    Restart,
    /// The collector is dead: nothing comes.
    Silence,
    /// A disk fills steadily for four weeks.
    FillingDisk,
    /// A disk is cleaned, as each day: normal for it, so an anomaly here is a false alarm.
    CleanUp,
    /// The host begins to do at night what its siblings do by day; told for its first six hours.
    UnlikeSiblings,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 8] = [
        EventKind::Spike,
        EventKind::LevelShift,
        EventKind::Leak,
        EventKind::Restart,
        EventKind::Silence,
        EventKind::FillingDisk,
        EventKind::CleanUp,
        EventKind::UnlikeSiblings,
    ];

    /// The name in the table `demo_events`.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Spike => "spike",
            EventKind::LevelShift => "level_shift",
            EventKind::Leak => "leak",
            EventKind::Restart => "restart",
            EventKind::Silence => "silence",
            EventKind::FillingDisk => "filling_disk",
            EventKind::CleanUp => "clean_up",
            EventKind::UnlikeSiblings => "unlike_siblings",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that was planted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlantedEvent {
    /// What.
    pub kind: EventKind,
    /// The value of `host.name`.
    pub host: String,
    /// The series in which it shows first: metric and labels. `None`: in no single one.
    pub series: Option<(&'static str, Labels)>,
    /// The stretch in which a detector should speak, microseconds, half-open.
    pub when: Window,
    /// One sentence.
    pub description: String,
}

impl PlantedEvent {
    /// Puts a planting into its place and words.
    ///
    /// # Errors
    /// `LabelsError` never in practice: the labels are our own.
    pub(super) fn new(
        planting: Planting,
        when: Window,
        host: &str,
    ) -> Result<PlantedEvent, LabelsError> {
        let (kind, place) = place_of(planting);
        let series = match place {
            None => None,
            Some((metric, attributes)) => Some((metric.name, labels(host, attributes)?)),
        };
        Ok(PlantedEvent {
            kind,
            host: host.to_owned(),
            series,
            when,
            description: describe(planting, when, host),
        })
    }

    /// The labels of the sample that tells of it, by the keys of [`schemas::demo`].
    ///
    /// # Errors
    /// `LabelsError` never in practice.
    pub fn labels(&self) -> Result<Labels, LabelsError> {
        let (metric, id, labels) = match &self.series {
            None => Default::default(),
            Some((metric, labels)) => (
                *metric,
                SeriesId::of(metric, labels).to_string(),
                labels.to_string(),
            ),
        };
        let resource = self::labels(&self.host, &[])?;
        let resource_id = SeriesId::of(RESOURCE_METRIC, &resource).to_string();
        // An empty value is the same as no label.
        Labels::try_new([
            ("host.name", self.host.as_str()),
            (EVENT_KIND, self.kind.name()),
            (EVENT_RESOURCE, &resource.to_string()),
            (EVENT_RESOURCE_ID, &resource_id),
            (EVENT_METRIC_NAME, metric),
            (EVENT_SERIES_ID, &id),
            (EVENT_LABELS, &labels),
            (EVENT_START, &rfc3339(self.when.start)),
            (EVENT_END, &rfc3339(self.when.end)),
            (EVENT_DESCRIPTION, &self.description),
        ])
    }
}

/// The labels of a host's series.
pub(super) fn labels(host: &str, attributes: &[(&str, &str)]) -> Result<Labels, LabelsError> {
    Labels::try_new(std::iter::once(("host.name", host)).chain(attributes.iter().copied()))
}

fn rfc3339(time: Micros) -> String {
    // Beyond what a calendar holds is beyond every sample, too.
    jiff::Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |time| time.to_string())
}

fn place_of(planting: Planting) -> (EventKind, Option<Place>) {
    match planting {
        Planting::Spike(of) => {
            let place = match of {
                SpikeOf::Cpu => BUSY,
                SpikeOf::Load => LOAD,
                SpikeOf::Network => RECEIVED,
                SpikeOf::DiskWrites => WRITTEN,
                SpikeOf::Processes => RUNNING,
                SpikeOf::NetworkErrors => RECEIVE_ERRORS,
            };
            (EventKind::Spike, Some(place))
        }
        Planting::LevelShift { .. } => (EventKind::LevelShift, Some(CPU_TEMPERATURE)),
        Planting::Leak => (EventKind::Leak, Some(MEMORY_USED)),
        Planting::Restart => (EventKind::Restart, Some(UP)),
        Planting::Silence => (EventKind::Silence, None),
        Planting::NewDisk => (EventKind::LevelShift, Some(DATA_SHARE)),
        Planting::FillingDisk => (EventKind::FillingDisk, Some(DATA_SHARE)),
        Planting::CleanUp => (EventKind::CleanUp, Some(DATA_SHARE)),
        // Each of its series is normal by itself.
        Planting::UnlikeSiblings => (EventKind::UnlikeSiblings, None),
    }
}

fn describe(planting: Planting, when: Window, host: &str) -> String {
    let minutes = (when.end - when.start) / schemas::time::MINUTE;
    match planting {
        Planting::Spike(of) => {
            let what = match of {
                SpikeOf::Cpu => "a program takes a third of all processors",
                SpikeOf::Load => "programs wait in line for the processors",
                SpikeOf::Network => "the network brings several times as much as usual",
                SpikeOf::DiskWrites => "several times as much as usual is written to the disk",
                SpikeOf::Processes => "dozens of processes are begun at once",
                SpikeOf::NetworkErrors => "a cable is loose: packets arrive damaged",
            };
            format!("for {minutes} minutes {what} on {host}")
        }
        Planting::LevelShift { up: true } => {
            format!("the fan of {host} fails: 14 °C warmer until it is replaced")
        }
        Planting::LevelShift { up: false } => {
            format!("the fan of {host} is replaced: 14 °C cooler, as before")
        }
        Planting::Leak => format!(
            "a program on {host} loses half of the memory within {} hours, until the host is restarted",
            minutes / 60
        ),
        Planting::Restart => {
            format!("{host} is restarted: some minutes of nothing, and its counters begin anew")
        }
        Planting::Silence => {
            format!("the collector of {host} is dead: nothing comes for {minutes} minutes")
        }
        Planting::NewDisk => {
            format!("the full data disk of {host} is replaced: from 96 % used to 30 %")
        }
        Planting::FillingDisk => {
            format!("/data of {host} fills from 30 % to 96 % within four weeks")
        }
        Planting::CleanUp => format!("/data of {host} is cleaned up, as each day"),
        Planting::UnlikeSiblings => {
            format!("{host} works at night for two days, its siblings by day")
        }
    }
}
