//! Reads calendars written by hand as TOML: a list `[[event]]`, and the zone of its times.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;
use toml::value::{Datetime, Offset};

use super::effects::{DayOfWeek, EventEffects, THRESHOLD_FACTORS};
use super::error::{CalendarError, Complaint};
use super::length::Length;
use super::schedule::{Moment, Schedule, ScheduleParts};
use super::scope::Scope;
use super::{EVENTS_MAX, Event, zones};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    time_zone: Option<Spanned<String>>,
    #[serde(default)]
    event: Vec<Spanned<EventText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventText {
    name: String,
    /// A date, a time, or a time with its offset.
    start: Option<Datetime>,
    /// The end by the clock on the wall, exclusive.
    end: Option<Datetime>,
    duration: Option<String>,
    /// In place of `start`: days, or starts that share a duration.
    dates: Option<Vec<Datetime>>,
    /// The value of an RRULE.
    repeat: Option<String>,
    #[serde(default)]
    except: Vec<Datetime>,
    time_zone: Option<String>,
    #[serde(default)]
    metrics: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    skip_alarms: bool,
    threshold_factor: Option<f64>,
    #[serde(default)]
    no_learn: bool,
    use_profile_of: Option<DayOfWeek>,
}

/// Reads all events of a text; `zone` is that of times without one, if the text names none.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Result<Vec<Event>, CalendarError> {
    let line_of = |offset: usize| {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    };
    let document: Document = toml::from_str(text).map_err(|error| {
        let message = error.message().replace('\n', "; ");
        CalendarError::new(
            error.span().map_or(1, |span| line_of(span.start)),
            message,
            "TOML as docs/calendar.md describes, or iCalendar, which opens with BEGIN:VCALENDAR",
            "Correct the file.",
        )
    })?;
    if document.event.len() > EVENTS_MAX {
        return Err(CalendarError::new(
            line_of(document.event[EVENTS_MAX].span().start),
            format!("{} events", document.event.len()),
            format!("at most {EVENTS_MAX}"),
            "Write recurring ones.",
        ));
    }
    let zone = match &document.time_zone {
        None => zone.clone(),
        Some(name) => find_zone(name.get_ref())
            .map_err(|complaint| complaint.on_line(line_of(name.span().start)))?,
    };
    let mut counted_days = 0;
    let events = document.event.into_iter().map(|spanned| {
        let line = line_of(spanned.span().start);
        let event = spanned.into_inner();
        event
            .read(&zone, &mut counted_days)
            .map_err(|complaint| complaint.on_line(line))
    });
    events.collect()
}

fn find_zone(name: &str) -> Result<TimeZone, Complaint> {
    zones::find(name).ok_or_else(|| {
        Complaint::new(
            format!("the time zone `{name}`"),
            "a name of the IANA database, such as `Europe/Berlin`",
            "Correct it.",
        )
    })
}

impl EventText {
    fn read(self, zone: &TimeZone, counted_days: &mut u64) -> Result<Event, Complaint> {
        let effects = self.effects()?;
        let zone = match &self.time_zone {
            None => zone.clone(),
            Some(name) => find_zone(name)?,
        };
        let (start, dates) = match (self.start, &self.dates) {
            (Some(start), None) => (moment(start)?, [].as_slice()),
            (None, Some(dates)) if !dates.is_empty() && self.repeat.is_none() => {
                (moment(dates[0])?, &dates[1..])
            }
            _ => {
                return Err(Complaint::new(
                    format!(
                        "the event `{}` with neither or both of `start` and `dates`, or with `dates` and `repeat`",
                        self.name
                    ),
                    "`start = 2026-12-25T09:00:00`, or `dates = [2026-12-25, 2026-12-26]`",
                    "Write one of them.",
                ));
            }
        };
        let listed = |dates: &[Datetime]| -> Result<Vec<(TimeZone, Moment)>, Complaint> {
            let moments = dates.iter().map(|date| Ok((zone.clone(), moment(*date)?)));
            moments.collect()
        };
        let parts = ScheduleParts {
            start,
            length: self.length(start)?,
            rule: self.repeat.clone(),
            also: listed(dates)?,
            except: listed(&self.except)?,
            zone,
        };
        if parts.also.iter().any(|(_, m)| m.is_day() != start.is_day()) {
            return Err(Complaint::new(
                format!("days and times among the dates of `{}`", self.name),
                "all of one kind",
                "Make two events.",
            ));
        }
        Ok(Event {
            schedule: Schedule::try_new(parts, counted_days)?,
            scope: Scope::try_new(self.metrics, self.labels)?,
            name: self.name,
            effects,
        })
    }

    fn effects(&self) -> Result<EventEffects, Complaint> {
        let effects = EventEffects {
            skip_alarms: self.skip_alarms,
            threshold_factor: self.threshold_factor,
            no_learn: self.no_learn,
            use_profile_of: self.use_profile_of,
        };
        let outside = |factor: &f64| !THRESHOLD_FACTORS.contains(factor);
        if let Some(factor) = self.threshold_factor.filter(outside) {
            return Err(Complaint::new(
                format!("`threshold_factor = {factor}`"),
                "a factor from 1 to 1000",
                "Correct it.",
            ));
        }
        if effects.is_none() {
            return Err(Complaint::new(
                format!("the event `{}`, which does nothing", self.name),
                "some of `skip_alarms = true`, `no_learn = true`, `threshold_factor = 2.0`, `use_profile_of = \"sunday\"`",
                "Add what it does.",
            ));
        }
        Ok(effects)
    }

    fn length(&self, start: Moment) -> Result<Length, Complaint> {
        match (&self.duration, self.end) {
            (Some(duration), None) => Length::of_words(duration).ok_or_else(|| {
                Complaint::new(
                    format!("`duration = \"{duration}\"`"),
                    "a duration as \"90m\", \"8h\" or \"1d 12h\"",
                    "Correct it.",
                )
            }),
            (None, Some(end)) => {
                let until = moment(end)?;
                let alike = std::mem::discriminant(&until) == std::mem::discriminant(&start);
                if !alike || self.dates.is_some() {
                    return Err(Complaint::new(
                        format!("`end = {end}`"),
                        "an end written as the start is, beside `start`; beside `dates` a `duration`",
                        "Correct it.",
                    ));
                }
                let civil_s = until.civil().duration_since(start.civil()).as_secs();
                Ok(Length {
                    civil_s,
                    exact_s: 0,
                })
            }
            (None, None) if start.is_day() => Ok(Length::ONE_DAY),
            _ => Err(Complaint::new(
                format!(
                    "the event `{}` with neither or both of `end` and `duration`",
                    self.name
                ),
                "one of them; only an event of a day needs none",
                "Write one.",
            )),
        }
    }
}

/// A date or time of TOML. A time with an offset is turned into UTC.
fn moment(datetime: Datetime) -> Result<Moment, Complaint> {
    let wrong = || {
        Complaint::new(
            format!("`{datetime}`"),
            "a date as 2026-12-25, or a time as 2026-12-25T09:30:00, from 1900 on",
            "Correct it.",
        )
    };
    let date = datetime.date.ok_or_else(wrong)?;
    let small = |number: u8| i8::try_from(number).unwrap_or(i8::MAX);
    let year = i16::try_from(date.year).unwrap_or(i16::MAX);
    let date = Date::new(year, small(date.month), small(date.day)).map_err(|_| wrong())?;
    let Some(time) = datetime.time else {
        return Ok(Moment::Day(date));
    };
    let second = small(time.second.unwrap_or(0)).min(59);
    let time = Time::new(small(time.hour), small(time.minute), second, 0).map_err(|_| wrong())?;
    let civil: DateTime = date.to_datetime(time);
    match datetime.offset {
        None => Ok(Moment::Wall(civil)),
        Some(Offset::Z) => Ok(Moment::Utc(civil)),
        Some(Offset::Custom { minutes }) => {
            let offset = jiff::SignedDuration::from_mins(i64::from(minutes));
            let utc = civil.checked_sub(offset).map_err(|_| wrong())?;
            Ok(Moment::Utc(utc))
        }
    }
}
