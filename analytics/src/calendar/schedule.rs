//! When an event takes place: single occurrences, a rule, and the exceptions from it.

use std::ops::Range;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use schemas::Micros;
use schemas::time::{DAY, SECOND};

use super::error::Complaint;
use super::length::Length;
use super::recurrence::{LAST_DAY, Recurrence, RuleEnd};
use super::zones::{self, timestamp};

/// How far ahead and behind an answer is looked for. 8 days: a weekly event then costs a handful of answers a week, and an answer looks
/// at some twenty days.
const REACH: Micros = 8 * DAY;

/// RDATEs and EXDATEs that an event may have.
pub(super) const DATES_MAX: usize = 5_000;

/// Days that may be asked to turn the COUNTs of a whole calendar into last days. Two million take about 50 ms.
pub(super) const COUNTED_DAYS_MAX: u64 = 2_000_000;

/// The years that events may start in. 2261 is the last one with samples.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2261;

/// A date or a time as a calendar writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// A whole day.
    Day(Date),
    /// On the clock on the wall, of the event's zone.
    Wall(DateTime),
    /// In UTC.
    Utc(DateTime),
}

impl Moment {
    /// Reads `20261225`, `20261225T093000` or `20261225T093000Z`.
    pub(super) fn of_ical(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<i16> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
            digits.parse().ok()
        };
        let small = |from, to| i8::try_from(number(from, to)?).ok();
        let date = Date::new(number(0, 4)?, small(4, 6)?, small(6, 8)?).ok()?;
        if text.len() == 8 {
            return Some(Moment::Day(date));
        }
        let utc = match text.len() {
            15 => false,
            16 if text.ends_with(['Z', 'z']) => true,
            _ => return None,
        };
        if !matches!(text.get(8..9), Some("T" | "t")) {
            return None;
        }
        // A leap second is read as the second before it.
        let second = small(13, 15)?;
        let second = if second == 60 { 59 } else { second };
        let time = jiff::civil::Time::new(small(9, 11)?, small(11, 13)?, second, 0).ok()?;
        let civil = date.to_datetime(time);
        Some(if utc {
            Moment::Utc(civil)
        } else {
            Moment::Wall(civil)
        })
    }

    /// Date and time as written; midnight for a whole day.
    pub(super) fn civil(self) -> DateTime {
        match self {
            Moment::Day(date) => date.at(0, 0, 0, 0),
            Moment::Wall(civil) | Moment::Utc(civil) => civil,
        }
    }

    /// The instant, microseconds; a whole day and a wall time are of `zone`.
    pub(super) fn instant(self, zone: &TimeZone) -> Option<Micros> {
        match self {
            Moment::Utc(civil) => zones::instant(&TimeZone::UTC, civil),
            Moment::Day(_) | Moment::Wall(_) => zones::instant(zone, self.civil()),
        }
    }

    pub(super) fn is_day(self) -> bool {
        matches!(self, Moment::Day(_))
    }
}

/// The parts of a schedule as a text gives them.
#[derive(Debug, Clone)]
pub(super) struct ScheduleParts {
    /// The zone of wall times and whole days.
    pub(super) zone: TimeZone,
    pub(super) start: Moment,
    pub(super) length: Length,
    /// The value of an RRULE.
    pub(super) rule: Option<String>,
    /// Further starts.
    pub(super) also: Vec<(TimeZone, Moment)>,
    /// Starts that do not take place; a whole day stands for any start on it.
    pub(super) except: Vec<(TimeZone, Moment)>,
}

/// What a question about a time finds: whether the event takes place, and how long before and after the answer is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) holds: bool,
    /// Inclusive.
    pub(super) from: Micros,
    /// Exclusive.
    pub(super) until: Micros,
}

impl Coverage {
    fn add(&mut self, time: Micros, start: Micros, end: Micros) {
        self.holds |= (start..end).contains(&time);
        for boundary in [start, end] {
            if boundary <= time {
                self.from = self.from.max(boundary);
            } else {
                self.until = self.until.min(boundary);
            }
        }
    }
}

/// When an event takes place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schedule {
    /// The zone that the rule counts days in.
    zone: TimeZone,
    first: DateTime,
    length: Length,
    rule: Option<Rule>,
    /// Start and end of single occurrences, microseconds.
    single: Vec<(Micros, Micros)>,
    /// Starts that do not take place, ascending.
    except: Vec<Micros>,
    /// Days on which none starts, ascending.
    except_days: Vec<Date>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    recurrence: Recurrence,
    /// The last day with a start, inclusive.
    last_day: Date,
    /// The last start, inclusive, microseconds.
    last_start: Micros,
}

impl Schedule {
    /// Checks the parts and puts them together. `counted_days` is what the COUNTs of the calendar have cost so far.
    pub(super) fn try_new(parts: ScheduleParts, counted_days: &mut u64) -> Result<Self, Complaint> {
        let ScheduleParts {
            zone,
            start,
            length,
            rule,
            also,
            except,
        } = parts;
        // What starts at a time in UTC recurs in UTC.
        let zone = match start {
            Moment::Utc(_) => TimeZone::UTC,
            Moment::Day(_) | Moment::Wall(_) => zone,
        };
        let first = start.civil();
        check_year(first)?;
        if also.len().max(except.len()) > DATES_MAX {
            return Err(Complaint::new(
                format!("{} dates of one event", also.len().max(except.len())),
                format!("at most {DATES_MAX}"),
                "Write a recurrence rule, or several events.",
            ));
        }
        let mut schedule = Schedule {
            rule: None,
            first,
            length: length.check()?,
            single: Vec::with_capacity(also.len() + 1),
            except: Vec::new(),
            except_days: Vec::new(),
            zone,
        };
        for (zone, moment) in except {
            match moment {
                Moment::Day(day) => schedule.except_days.push(day),
                Moment::Wall(_) | Moment::Utc(_) => {
                    schedule.except.extend(moment.instant(&zone));
                }
            }
        }
        schedule.except.sort_unstable();
        schedule.except_days.sort_unstable();
        match rule {
            None => schedule.add_single(&schedule.zone.clone(), first),
            Some(text) => schedule.rule = Some(schedule.read_rule(&text, start, counted_days)?),
        }
        for (zone, moment) in also {
            check_year(moment.civil())?;
            let zone = match moment {
                Moment::Utc(_) => TimeZone::UTC,
                Moment::Day(_) | Moment::Wall(_) => zone,
            };
            schedule.add_single(&zone, moment.civil());
        }
        Ok(schedule)
    }

    fn add_single(&mut self, zone: &TimeZone, start: DateTime) {
        let occurrence = self.occurrence(zone, start);
        self.single.extend(occurrence);
    }

    fn read_rule(
        &self,
        text: &str,
        start: Moment,
        counted_days: &mut u64,
    ) -> Result<Rule, Complaint> {
        let (recurrence, end) = Recurrence::parse(text)?;
        let mut rule = Rule {
            recurrence,
            last_day: LAST_DAY,
            last_start: Micros::MAX,
        };
        match end {
            RuleEnd::Never => {}
            RuleEnd::Count(count) => {
                let left = COUNTED_DAYS_MAX.saturating_sub(*counted_days);
                let (last, asked) = rule.recurrence.last_of(self.first.date(), count, left);
                *counted_days += asked;
                rule.last_day = last.ok_or_else(|| {
                    Complaint::new(
                        format!("COUNT={count} in a recurrence rule, which with those before it takes more than {COUNTED_DAYS_MAX} days to count"),
                        "rules that end sooner",
                        "Write UNTIL in its place.",
                    )
                })?;
            }
            RuleEnd::Until(until) => {
                let moment = Moment::of_ical(&until).ok_or_else(|| {
                    Complaint::new(
                        format!("`UNTIL={until}` in a recurrence rule"),
                        "a date as 20261231, or a time as 20261231T235959Z",
                        "Correct the rule.",
                    )
                })?;
                match moment {
                    Moment::Day(day) => rule.last_day = day,
                    // RFC 5545 wants an UNTIL of an event with a zone to be in UTC; some programs write wall time.
                    Moment::Wall(civil) if start.is_day() => rule.last_day = civil.date(),
                    Moment::Wall(_) | Moment::Utc(_) => {
                        rule.last_start = moment.instant(&self.zone).unwrap_or(Micros::MAX);
                    }
                }
            }
        }
        Ok(rule)
    }

    /// Start and end of the occurrence at a civil time, unless it is excepted.
    fn occurrence(&self, zone: &TimeZone, start: DateTime) -> Option<(Micros, Micros)> {
        if self.except_days.binary_search(&start.date()).is_ok() {
            return None;
        }
        let begin = zones::instant(zone, start)?;
        if self.except.binary_search(&begin).is_ok() {
            return None;
        }
        Some((begin, self.length.end(zone, start)?))
    }

    /// The day of the week (Monday: 0) that a time is on in the event's zone, and the midnights that it lies between.
    pub(super) fn day_at(&self, time: Micros) -> (u8, Range<Micros>) {
        let offset = self.zone.to_offset(timestamp(time));
        let date = offset.to_datetime(timestamp(time)).date();
        let midnight = |date: Date| zones::instant(&self.zone, date.at(0, 0, 0, 0));
        let from = midnight(date).unwrap_or(time);
        let next = date.saturating_add(SignedDuration::from_hours(24));
        let until = midnight(next).unwrap_or(time);
        // Of the day at the end of jiff's years there is no next one; an answer must hold at least for what was asked.
        let until = until.max(time.saturating_add(1));
        (
            date.weekday().to_monday_zero_offset() as u8,
            from.min(time)..until,
        )
    }

    /// Whether the event takes place at a time, within [`TIME_MIN`](schemas::time::TIME_MIN) and `TIME_MAX`, or a day beside.
    pub(super) fn around(&self, time: Micros) -> Coverage {
        let mut coverage = Coverage {
            holds: false,
            from: time - REACH,
            until: time + REACH,
        };
        for (start, end) in &self.single {
            coverage.add(time, *start, *end);
        }
        let Some(rule) = &self.rule else {
            return coverage;
        };
        // An occurrence that ends within reach starts up to its length before. Zones differ by up to a day from UTC, and a switch of
        // them lengthens a day by an hour or so: two days to each side hold both.
        let length = (self.length.civil_s + self.length.exact_s) * SECOND;
        let from = utc_date(coverage.from - length - 2 * DAY);
        let until = utc_date(coverage.until + 2 * DAY);
        let (from, until) = (from.max(self.first.date()), until.min(rule.last_day));
        let mut day = from;
        while day <= until {
            if rule.recurrence.starts_on(self.first.date(), day) {
                let start = day.to_datetime(self.first.time());
                if let Some((start, end)) = self.occurrence(&self.zone, start)
                    && start <= rule.last_start
                {
                    coverage.add(time, start, end);
                }
            }
            day = day.saturating_add(SignedDuration::from_hours(24));
        }
        coverage
    }
}

fn check_year(civil: DateTime) -> Result<(), Complaint> {
    if YEARS.contains(&civil.year()) {
        return Ok(());
    }
    Err(Complaint::new(
        format!("the year {}", civil.year()),
        format!("a year from {} to {}", YEARS.start(), YEARS.end()),
        "Correct the date.",
    ))
}

/// The date in UTC.
fn utc_date(time: Micros) -> Date {
    Offset::UTC.to_datetime(timestamp(time)).date()
}
