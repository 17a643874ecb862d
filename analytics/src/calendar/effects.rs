//! What events do to the series they concern, and how the effects of several add up.

use schemas::Micros;
use serde::{Deserialize, Serialize};

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum DayOfWeek {
    /// Monday: 0.
    Monday = 0,
    /// Tuesday: 1.
    Tuesday,
    /// Wednesday: 2.
    Wednesday,
    /// Thursday: 3.
    Thursday,
    /// Friday: 4.
    Friday,
    /// Saturday: 5.
    Saturday,
    /// Sunday: 6.
    Sunday,
}

impl DayOfWeek {
    /// All days, Monday first.
    pub const ALL: [DayOfWeek; 7] = [
        DayOfWeek::Monday,
        DayOfWeek::Tuesday,
        DayOfWeek::Wednesday,
        DayOfWeek::Thursday,
        DayOfWeek::Friday,
        DayOfWeek::Saturday,
        DayOfWeek::Sunday,
    ];

    /// The lower-case English name.
    pub fn name(self) -> &'static str {
        match self {
            DayOfWeek::Monday => "monday",
            DayOfWeek::Tuesday => "tuesday",
            DayOfWeek::Wednesday => "wednesday",
            DayOfWeek::Thursday => "thursday",
            DayOfWeek::Friday => "friday",
            DayOfWeek::Saturday => "saturday",
            DayOfWeek::Sunday => "sunday",
        }
    }

    /// The day with a name, whatever its case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut days = DayOfWeek::ALL.into_iter();
        days.find(|day| day.name().eq_ignore_ascii_case(name))
    }
}

/// The smallest and the largest factor that an event may raise thresholds by.
pub(super) const THRESHOLD_FACTORS: std::ops::RangeInclusive<f64> = 1.0..=1000.0;

/// What one event does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct EventEffects {
    pub(super) skip_alarms: bool,
    pub(super) threshold_factor: Option<f64>,
    pub(super) no_learn: bool,
    pub(super) use_profile_of: Option<DayOfWeek>,
}

impl EventEffects {
    /// Whether the event does nothing at all, which nobody means.
    pub(super) fn is_none(&self) -> bool {
        *self == EventEffects::default()
    }
}

/// What holds for a series at a time. The default: an ordinary day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effects {
    /// Nothing is announced. Scores are computed as always.
    pub skip_alarms: bool,
    /// What thresholds are multiplied by, 1–1000.
    pub threshold_factor: f64,
    /// Whether detectors and forecasts learn from what they see.
    pub learn: bool,
    /// The day of the week whose seasonal profile stands for this day's; `None`: its own.
    pub use_profile_of: Option<DayOfWeek>,
    /// Days from this day, in the event's zone, to the next one with that profile, 0–6.
    pub profile_days_ahead: u8,
}

impl Default for Effects {
    fn default() -> Self {
        Effects {
            skip_alarms: false,
            threshold_factor: 1.0,
            learn: true,
            use_profile_of: None,
            profile_days_ahead: 0,
        }
    }
}

impl Effects {
    /// What forecasts make of a sample under these effects.
    pub fn lesson(&self) -> Lesson {
        match (self.learn, self.use_profile_of) {
            (false, _) => Lesson::Ignore,
            (true, Some(_)) => Lesson::Score,
            (true, None) => Lesson::Learn,
        }
    }

    /// Adds an event that stands later in the text: the largest factor holds, and the last profile named.
    pub(super) fn add(&mut self, event: &EventEffects) {
        self.skip_alarms |= event.skip_alarms;
        self.learn &= !event.no_learn;
        self.threshold_factor = self
            .threshold_factor
            .max(event.threshold_factor.unwrap_or(1.0));
        self.use_profile_of = event.use_profile_of.or(self.use_profile_of);
    }
}

/// What a sample is to a forecast, from all to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Lesson {
    /// It is learned, and what was forecast of it is scored.
    #[default]
    Learn,
    /// What was forecast of it is scored, but its day is no example of its kind.
    Score,
    /// It says nothing of what is usual, nor of how good forecasts are.
    Ignore,
}

/// Effects and the stretch of time that they are known to hold for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EffectsDuring {
    /// What holds.
    pub effects: Effects,
    /// From when on, inclusive, microseconds. They may have held before.
    pub valid_from: Micros,
    /// Until when, exclusive, microseconds. They may go on.
    pub valid_until: Micros,
}

impl EffectsDuring {
    /// Whether the answer is that of a time.
    pub fn is_valid_at(&self, time: Micros) -> bool {
        (self.valid_from..self.valid_until).contains(&time)
    }
}
