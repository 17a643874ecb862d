//! The detectors of a series as they are saved: those that have seen no sample or a single one, like most of a flood of new series, in ten bytes, not 300.

use schemas::Micros;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SeriesDetectors;
use super::alarm::AlarmControl;
use super::drift::Drift;
use super::level::Levels;
use super::presence::Presence;
use super::season::Seasons;
use super::tails::Tails;

/// All there is.
#[derive(Serialize, Deserialize)]
#[serde(remote = "SeriesDetectors")]
struct Whole {
    time: Micros,
    levels: Levels,
    tails: Tails,
    seasons: Seasons,
    presence: Presence,
    alarms: AlarmControl,
    drift: Drift,
    away_s: f32,
    learned_s: f32,
}

/// What is written.
#[derive(Serialize)]
enum Saving<'a> {
    /// The time and the value of the only sample.
    Begun(Micros, f64),
    Whole(WholeOf<'a>),
}

struct WholeOf<'a>(&'a SeriesDetectors);

impl Serialize for WholeOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Whole::serialize(self.0, serializer)
    }
}

/// What is read: the same.
#[derive(Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made"
)]
enum Saved {
    Begun(Micros, f64),
    Whole(#[serde(with = "Whole")] SeriesDetectors),
}

impl Serialize for SeriesDetectors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (time, value) = (self.time, self.levels.last());
        // Of most series that have seen more, a look at the count is enough to know.
        let is_begun = self.levels.samples() == 1 && *self == SeriesDetectors::begun(time, value);
        let saving = if is_begun {
            Saving::Begun(time, value)
        } else {
            Saving::Whole(WholeOf(self))
        };
        saving.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SeriesDetectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Saved::deserialize(deserializer)? {
            Saved::Begun(time, value) => SeriesDetectors::begun(time, value),
            Saved::Whole(detectors) => detectors,
        })
    }
}
