//! Holidays, maintenance and other known events: when they are, whom they concern, and what they do to detection and forecasts.
//!
//! A calendar is parsed once from a text ([`Calendar::parse`]: iCalendar or TOML) and never changes. Recurring events are never
//! expanded: each question looks at the few days around its time, so an endless rule costs as much as a single event.
//! Time zones come from the tz database compiled into the program, not from the machine: the same calendar gives the same answers
//! everywhere, which a replay relies on.
//!
//! ```
//! use analytics::calendar::Calendar;
//! let text = r#"
//!     time_zone = "Europe/Berlin"
//!     [[event]]
//!     name = "nightly backup"
//!     start = 2026-01-01T02:00:00
//!     duration = "90m"
//!     repeat = "FREQ=DAILY"
//!     labels = { "host.name" = "db-*" }
//!     skip_alarms = true
//! "#;
//! let calendar = Calendar::parse(text, "UTC").unwrap();
//! let labels = schemas::Labels::try_new([("host.name", "db-3")]).unwrap();
//! // 2026-07-01 02:30 in Berlin is 00:30 UTC.
//! let time = 1_782_865_800_000_000;
//! assert!(calendar.effects_at("disk.io", &labels, time).skip_alarms);
//! ```

mod clock;
mod effects;
mod error;
mod ical;
mod length;
mod recurrence;
mod schedule;
mod scope;
mod toml_text;
mod zones;

pub use clock::{CalendarClock, ScopeId};
pub use effects::{DayOfWeek, Effects, EffectsDuring, Lesson};
pub use error::CalendarError;
pub use zones::{Zone, ZoneClock};

use effects::EventEffects;
use schedule::{Coverage, Schedule};
use schemas::time::{DAY, TIME_MAX, TIME_MIN};
use schemas::{Labels, Micros};
use scope::Scope;

/// The longest text that is read, bytes. 4 MiB hold twenty thousand events as calendar programs write them; more is another file.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Events that a calendar may have. All are looked at when the answer to a question runs out, at 0.1–1 µs each.
pub const EVENTS_MAX: usize = 5_000;

/// One event: whom it concerns, when it is, what it does.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    scope: Scope,
    effects: EventEffects,
    schedule: Schedule,
}

/// What is known beforehand of days and hours that are unlike others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calendar {
    events: Vec<Event>,
}

impl Calendar {
    /// Reads a calendar: iCalendar (RFC 5545) if the text opens with `BEGIN:VCALENDAR`, TOML otherwise.
    ///
    /// `time_zone` is the IANA name of the zone that times without one are in, unless the text itself names one. `docs/calendar.md`
    /// lists what is read, what is ignored and what is refused.
    ///
    /// # Errors
    /// [`CalendarError`] (refuse to start) names the line, what was found there and what was expected.
    pub fn parse(text: &str, time_zone: &str) -> Result<Self, CalendarError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(CalendarError::new(
                1,
                format!("a text of {} bytes", text.len()),
                format!("at most {TEXT_BYTES_MAX}"),
                "Leave out events that are long past.",
            ));
        }
        let zone = zones::find(time_zone).ok_or_else(|| {
            CalendarError::new(
                1,
                format!("the time zone `{time_zone}` for times that name none"),
                "a name of the IANA database, such as `Europe/Berlin`",
                "Correct the setting.",
            )
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let opens = text.trim_start().as_bytes();
        let ical = opens
            .get(..15)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"BEGIN:VCALENDAR"));
        let events = if ical {
            ical::parse(text, &zone)?
        } else {
            toml_text::parse(text, &zone)?
        };
        Ok(Calendar { events })
    }

    /// What holds for a series at a time. For many samples ask a [`CalendarClock`], which remembers.
    pub fn effects_at(&self, metric: &str, labels: &Labels, time: Micros) -> Effects {
        let events = self.events_of(metric, labels);
        self.effects_during(&events, time).effects
    }

    /// The names of the events that hold for a series at a time, in the order of the text: what an explanation mentions.
    pub fn names_at(&self, metric: &str, labels: &Labels, time: Micros) -> Vec<&str> {
        self.events
            .iter()
            .filter(|event| event.scope.holds(metric, labels) && event.schedule.around(time).holds)
            .map(|event| event.name.as_str())
            .collect()
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it has no events, so that every question has the same answer.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events that concern a series, as ascending indices.
    fn events_of(&self, metric: &str, labels: &Labels) -> Vec<u16> {
        let concerned = |(_, event): &(u16, &Event)| event.scope.holds(metric, labels);
        let events = (0_u16..).zip(&self.events).filter(concerned);
        events.map(|(index, _)| index).collect()
    }

    /// What some of the events together do at a time, and for how long that holds.
    fn effects_during(&self, events: &[u16], time: Micros) -> EffectsDuring {
        let mut during = EffectsDuring {
            effects: Effects::default(),
            valid_from: Micros::MIN,
            valid_until: Micros::MAX,
        };
        if events.is_empty() {
            return during;
        }
        if !(TIME_MIN - DAY..TIME_MAX + DAY).contains(&time) {
            // No sample has such a time; years beyond a calendar's arithmetic have no events.
            (during.valid_from, during.valid_until) = (time, time.saturating_add(1));
            return during;
        }
        let mut profile = None;
        for &index in events {
            let event = &self.events[usize::from(index)];
            let Coverage { holds, from, until } = event.schedule.around(time);
            during.valid_from = during.valid_from.max(from);
            during.valid_until = during.valid_until.min(until);
            if holds {
                during.effects.add(&event.effects);
                profile = event
                    .effects
                    .use_profile_of
                    .map(|of| (of, event))
                    .or(profile);
            }
        }
        if let Some((of, event)) = profile {
            // How far away that day is changes at midnight, however long the event lasts.
            let (today, midnights) = event.schedule.day_at(time);
            during.effects.profile_days_ahead = (of as u8 + 7 - today) % 7;
            during.valid_from = during.valid_from.max(midnights.start);
            during.valid_until = during.valid_until.min(midnights.end);
        }
        during
    }
}

#[cfg(test)]
mod tests;
