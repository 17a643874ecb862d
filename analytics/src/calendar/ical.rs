//! Reads iCalendar (RFC 5545): events with their dates, rules and exceptions. What has no bearing on when an event is, is passed over.
//!
//! What an event does stands in three properties of ours, in the event or, for all its events, in the calendar:
//! `X-TIDEWATCH-EFFECTS:skip_alarms,no_learn,threshold_factor=2,use_profile_of=sunday`, `X-TIDEWATCH-METRICS:http_*,disk.*` and
//! `X-TIDEWATCH-LABELS:host.name=web-*,env=prod`.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::effects::{DayOfWeek, EventEffects, THRESHOLD_FACTORS};
use super::error::{CalendarError, Complaint};
use super::length::Length;
use super::schedule::{Moment, Schedule, ScheduleParts};
use super::scope::Scope;
use super::{EVENTS_MAX, Event, zones};

/// Components inside of components. RFC 5545 nests three deep.
const DEPTH_MAX: usize = 16;

/// One property on its line, unfolded.
#[derive(Debug, Clone)]
struct Property {
    line: usize,
    /// Upper case.
    name: String,
    /// Names in upper case, values without quotes.
    parameters: Vec<(String, String)>,
    value: String,
}

impl Property {
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        parameters
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn wrong(&self, expected: impl Into<String>, fix: &str) -> CalendarError {
        CalendarError::new(
            self.line,
            format!("`{}:{}`", self.name, shortened(&self.value)),
            expected,
            fix,
        )
    }
}

/// The start of a text that is quoted in an error.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The properties of one VEVENT, or of the calendar itself.
#[derive(Debug, Clone, Default)]
struct Component {
    line: usize,
    properties: Vec<Property>,
}

impl Component {
    fn all(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |p| p.name == name)
    }

    /// The property of a name that may stand there once.
    fn one(&self, name: &str) -> Result<Option<&Property>, CalendarError> {
        let mut found = self.all(name);
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(second) => Err(second.wrong(
                format!("{name} once in an event"),
                "Remove one, or make two events.",
            )),
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>, CalendarError> {
        Ok(self.one(name)?.map(|property| unescaped(&property.value)))
    }

    fn uid(&self) -> Result<Option<&str>, CalendarError> {
        Ok(self.one("UID")?.map(|uid| uid.value.as_str()))
    }
}

/// A VCALENDAR as it was read.
#[derive(Debug, Clone, Default)]
struct Document {
    own: Component,
    events: Vec<Component>,
    /// What X-LIC-LOCATION says of a TZID.
    locations: BTreeMap<String, String>,
}

/// Reads all events of all calendars in a text; `zone` is that of times without one.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Result<Vec<Event>, CalendarError> {
    let (mut events, mut counted_days) = (Vec::new(), 0);
    for document in documents(text)? {
        document.events_into(&mut events, zone, &mut counted_days)?;
    }
    Ok(events)
}

fn documents(text: &str) -> Result<Vec<Document>, CalendarError> {
    let (mut documents, mut document) = (Vec::new(), Document::default());
    let mut inside: Vec<String> = Vec::new();
    let (mut tzid, mut events, mut last_line) = (None, 0, 1);
    for (line, text) in unfolded(text) {
        last_line = line;
        if text.trim().is_empty() {
            continue;
        }
        let property = property(line, &text)?;
        match property.name.as_str() {
            "BEGIN" => {
                let name = property.value.trim().to_ascii_uppercase();
                if inside.is_empty() != (name == "VCALENDAR") || inside.len() >= DEPTH_MAX {
                    return Err(property.wrong(
                        "BEGIN:VCALENDAR around everything, and nothing nested deeply",
                        "Export the calendar again.",
                    ));
                }
                if name == "VEVENT" && inside.len() == 1 {
                    events += 1;
                    if events > EVENTS_MAX {
                        return Err(property.wrong(
                            format!("at most {EVENTS_MAX} events"),
                            "Leave out those that are long past, or write recurring ones.",
                        ));
                    }
                    document.events.push(Component {
                        line,
                        properties: Vec::new(),
                    });
                }
                inside.push(name);
            }
            "END" => {
                let name = property.value.trim().to_ascii_uppercase();
                if inside.pop().as_ref() != Some(&name) {
                    return Err(property.wrong(
                        "the END of what was begun last",
                        "The file is damaged: export the calendar again.",
                    ));
                }
                if inside.is_empty() {
                    documents.push(std::mem::take(&mut document));
                }
            }
            name => match inside.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [] => {
                    return Err(property.wrong("BEGIN:VCALENDAR", "Remove what stands outside."));
                }
                ["VCALENDAR"] => document.own.properties.push(property),
                ["VCALENDAR", "VEVENT"] => {
                    if let Some(event) = document.events.last_mut() {
                        event.properties.push(property);
                    }
                }
                ["VCALENDAR", "VTIMEZONE"] if name == "TZID" => tzid = Some(property.value),
                ["VCALENDAR", "VTIMEZONE"] if name == "X-LIC-LOCATION" => {
                    let tzid = tzid.take().unwrap_or_default();
                    document.locations.insert(tzid, property.value);
                }
                _ => {}
            },
        }
    }
    match inside.last() {
        None => Ok(documents),
        Some(open) => Err(CalendarError::new(
            last_line,
            "the end of the text",
            format!("END:{open}"),
            "The file is cut short: export the calendar again.",
        )),
    }
}

impl Document {
    fn events_into(
        &self,
        events: &mut Vec<Event>,
        zone: &TimeZone,
        counted_days: &mut u64,
    ) -> Result<(), CalendarError> {
        let zone = match self.own.one("X-WR-TIMEZONE")? {
            None => zone.clone(),
            Some(property) => zones::of_tzid(&property.value)
                .ok_or_else(|| property.wrong(ZONE_EXPECTED, ZONE_FIX))?,
        };
        let mut masters = BTreeMap::new();
        let mut moved: BTreeMap<&str, Vec<(TimeZone, Moment)>> = BTreeMap::new();
        for component in &self.events {
            let Some(uid) = component.uid()? else {
                continue;
            };
            match component.one("RECURRENCE-ID")? {
                None => {
                    masters.insert(uid, component);
                }
                Some(property) if property.parameter("RANGE").is_some() => {
                    return Err(property.wrong(
                        "a RECURRENCE-ID without RANGE",
                        "End the rule there with UNTIL, and write a second event.",
                    ));
                }
                Some(property) => {
                    let moments = self.moments(property, &zone)?;
                    moved.entry(uid).or_default().extend(moments);
                }
            }
        }
        for component in &self.events {
            let status = component.text("STATUS")?.unwrap_or_default();
            if status.trim().eq_ignore_ascii_case("CANCELLED") {
                continue;
            }
            let (uid, is_moved) = (component.uid()?, component.one("RECURRENCE-ID")?.is_some());
            let master = uid.and_then(|uid| masters.get(uid)).copied();
            let sources = [Some(component), master, Some(&self.own)];
            let mut parts = self.schedule_parts(component, &zone)?;
            if let Some(moved) = uid.and_then(|uid| moved.get(uid)).filter(|_| !is_moved) {
                parts.except.extend(moved.iter().cloned());
            }
            let on_line = |complaint: Complaint| complaint.on_line(component.line);
            events.push(Event {
                name: component
                    .text("SUMMARY")?
                    .unwrap_or_else(|| "an event".to_owned()),
                effects: effects(&sources, component)?,
                scope: scope(&sources)?,
                schedule: Schedule::try_new(parts, counted_days).map_err(on_line)?,
            });
        }
        Ok(())
    }

    fn schedule_parts(
        &self,
        event: &Component,
        zone: &TimeZone,
    ) -> Result<ScheduleParts, CalendarError> {
        if let Some(property) = event.all("EXRULE").next() {
            return Err(property.wrong(
                "EXDATE for exceptions; EXRULE was withdrawn with RFC 5545",
                "List the dates that do not take place.",
            ));
        }
        let start = event.one("DTSTART")?.ok_or_else(|| {
            CalendarError::new(
                event.line,
                "an event without DTSTART",
                "a start as DTSTART;TZID=Europe/Berlin:20261225T093000",
                "Add it.",
            )
        })?;
        let (start_zone, start_moment) = self.moment(start, zone, &start.value)?;
        let dates = |name: &str| -> Result<Vec<(TimeZone, Moment)>, CalendarError> {
            let lists = event.all(name).map(|property| self.moments(property, zone));
            Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
        };
        Ok(ScheduleParts {
            length: self.length(event, start, zone)?,
            rule: event.one("RRULE")?.map(|rule| rule.value.clone()),
            also: dates("RDATE")?,
            except: dates("EXDATE")?,
            zone: start_zone,
            start: start_moment,
        })
    }

    fn length(
        &self,
        event: &Component,
        start: &Property,
        zone: &TimeZone,
    ) -> Result<Length, CalendarError> {
        let (start_zone, from) = self.moment(start, zone, &start.value)?;
        if let Some(property) = event.one("DURATION")? {
            return Length::of_ical(property.value.trim())
                .ok_or_else(|| property.wrong("a duration as PT90M, P1D or P2W", "Correct it."));
        }
        let Some(end) = event.one("DTEND")? else {
            return if from.is_day() {
                Ok(Length::ONE_DAY)
            } else {
                Err(start.wrong(
                    "a DTEND or DURATION beside it: an event without takes no time",
                    "Add one.",
                ))
            };
        };
        let (end_zone, until) = self.moment(end, zone, &end.value)?;
        if from.is_day() != until.is_day() {
            return Err(end.wrong("a date, or a time, as in DTSTART", "Correct one of them."));
        }
        if from.is_day() {
            // Some programs end a day's event on that day.
            let civil_s = until.civil().duration_since(from.civil()).as_secs();
            return Ok(match civil_s {
                0 => Length::ONE_DAY,
                civil_s => Length {
                    civil_s,
                    exact_s: 0,
                },
            });
        }
        // RFC 5545, 3.8.5.3: the exact duration of the first occurrence is that of all.
        let exact = until.instant(&end_zone).zip(from.instant(&start_zone));
        let (until, from) = exact.ok_or_else(|| end.wrong("a time after 1900", "Correct it."))?;
        Ok(Length {
            civil_s: 0,
            exact_s: (until - from) / schemas::time::SECOND,
        })
    }

    fn moments(
        &self,
        property: &Property,
        zone: &TimeZone,
    ) -> Result<Vec<(TimeZone, Moment)>, CalendarError> {
        let values = property.value.split(',');
        values
            .map(|value| self.moment(property, zone, value))
            .collect()
    }

    /// A date or time of a property, with the zone that it is in.
    fn moment(
        &self,
        property: &Property,
        zone: &TimeZone,
        value: &str,
    ) -> Result<(TimeZone, Moment), CalendarError> {
        let moment = Moment::of_ical(value.trim()).ok_or_else(|| {
            property.wrong(
                "a date as 20261225, or a time as 20261225T093000 or 20261225T093000Z",
                "Correct it.",
            )
        })?;
        let zone = match property.parameter("TZID") {
            None => zone.clone(),
            Some(tzid) => {
                let location = self.locations.get(tzid).map_or(tzid, String::as_str);
                let found = zones::of_tzid(tzid).or_else(|| zones::of_tzid(location));
                found.ok_or_else(|| {
                    CalendarError::new(
                        property.line,
                        format!("TZID `{}`", shortened(tzid)),
                        ZONE_EXPECTED,
                        ZONE_FIX,
                    )
                })?
            }
        };
        Ok((zone, moment))
    }
}

const ZONE_EXPECTED: &str = "a time zone of the IANA database, such as `Europe/Berlin`";
const ZONE_FIX: &str = "Write that name; definitions of zones in the file are not read.";

/// What an event does: as the first of the sources says that says anything.
fn effects(
    sources: &[Option<&Component>],
    event: &Component,
) -> Result<EventEffects, CalendarError> {
    let property = first_of(sources, "X-TIDEWATCH-EFFECTS")?;
    let missing = |line, found: &str| {
        CalendarError::new(
            line,
            found,
            "some of skip_alarms, no_learn, threshold_factor=2, use_profile_of=sunday",
            "Add a line `X-TIDEWATCH-EFFECTS:…` to it, or after BEGIN:VCALENDAR for all its events.",
        )
    };
    let property =
        property.ok_or_else(|| missing(event.line, "an event that does not say what it does"))?;
    let mut effects = EventEffects::default();
    let text = unescaped(&property.value);
    for effect in text
        .split([',', ';'])
        .map(str::trim)
        .filter(|e| !e.is_empty())
    {
        let (key, value) = effect.split_once('=').unwrap_or((effect, ""));
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        match (key.as_str(), value) {
            ("skip_alarms", "") => effects.skip_alarms = true,
            ("no_learn", "") => effects.no_learn = true,
            ("threshold_factor", value) => {
                let factor = value.parse().ok();
                effects.threshold_factor = factor.filter(|f| THRESHOLD_FACTORS.contains(f));
                if effects.threshold_factor.is_none() {
                    return Err(property.wrong("a factor from 1 to 1000", "Correct it."));
                }
            }
            ("use_profile_of", day) => {
                effects.use_profile_of = DayOfWeek::named(day);
                if effects.use_profile_of.is_none() {
                    return Err(property.wrong("a day as `sunday`", "Correct it."));
                }
            }
            _ => return Err(missing(property.line, &format!("`{}`", shortened(effect)))),
        }
    }
    if effects.is_none() {
        return Err(missing(property.line, "no effect"));
    }
    Ok(effects)
}

/// Whom an event concerns: as the first of the sources says that says anything, for metrics and for labels.
fn scope(sources: &[Option<&Component>]) -> Result<Scope, CalendarError> {
    let (metrics, labels) = (
        first_of(sources, "X-TIDEWATCH-METRICS")?,
        first_of(sources, "X-TIDEWATCH-LABELS")?,
    );
    let list = |property: Option<&Property>| -> Vec<String> {
        let text = property.map(|p| unescaped(&p.value)).unwrap_or_default();
        let items = text.split(',').map(|item| item.trim().to_owned());
        items.filter(|item| !item.is_empty()).collect()
    };
    let pairs = list(labels).into_iter().map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
        (key.trim().to_owned(), value.trim().to_owned())
    });
    let line = metrics.or(labels).map_or(1, |property| property.line);
    Scope::try_new(list(metrics), pairs).map_err(|complaint| complaint.on_line(line))
}

fn first_of<'a>(
    sources: &[Option<&'a Component>],
    name: &str,
) -> Result<Option<&'a Property>, CalendarError> {
    for source in sources.iter().flatten() {
        if let Some(property) = source.one(name)? {
            return Ok(Some(property));
        }
    }
    Ok(None)
}

/// The lines of a text with what was folded put together (RFC 5545, 3.1), and the number of each one's first line.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, before))) => before.push_str(rest),
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines
}

/// Splits `NAME;PARAMETER=VALUE;OTHER="a:b":value`.
fn property(line: usize, text: &str) -> Result<Property, CalendarError> {
    let wrong = || {
        CalendarError::new(
            line,
            format!("`{}`", shortened(text)),
            "a property as NAME:value",
            "The file is damaged or not iCalendar: export the calendar again.",
        )
    };
    let mut quoted = false;
    let colon = text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b':' && !quoted
    });
    let (head, value) = text.split_at(colon.ok_or_else(wrong)?);
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, byte) in head.bytes().enumerate() {
        quoted ^= byte == b'"';
        if byte == b';' && !quoted {
            parts.push(&head[from..at]);
            from = at + 1;
        }
    }
    parts.push(&head[from..]);
    let name = parts[0].trim().to_ascii_uppercase();
    if name.is_empty() {
        return Err(wrong());
    }
    let parameters = parts[1..].iter().map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (
            key.trim().to_ascii_uppercase(),
            value.trim().trim_matches('"').to_owned(),
        )
    });
    Ok(Property {
        line,
        name,
        parameters: parameters.collect(),
        value: value[1..].to_owned(),
    })
}

/// A TEXT value (RFC 5545, 3.3.11) without its escapes.
fn unescaped(text: &str) -> String {
    let (mut plain, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        plain.push(match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n' | 'N') => '\n',
                Some(other) => other,
                None => break,
            },
            (plain, false) => plain,
        });
    }
    plain
}
