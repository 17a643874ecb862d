//! On which days an event recurs: the rules of RFC 5545, asked day by day and never expanded.

use jiff::SignedDuration;
use jiff::civil::{Date, Weekday};

use super::error::Complaint;

/// The largest INTERVAL. A century of days: beyond it a rule has no second occurrence anyone plans for.
const INTERVAL_MAX: u32 = 36_525;

/// The last day that rules are asked about: sample times end before.
pub(super) const LAST_DAY: Date = Date::constant(2262, 1, 1);

/// The period of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// Until when a rule goes on, as its text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuleEnd {
    Never,
    Count(u32),
    /// As written: a date or a time, which may be in UTC.
    Until(String),
}

/// A rule without its start: which days of each INTERVAL-th period hold an occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recurrence {
    frequency: Frequency,
    interval: u32,
    /// 1–12; empty: not restricted.
    months: Vec<i8>,
    /// 1–31 from the start, −1 to −31 from the end of the month; empty: not restricted.
    month_days: Vec<i8>,
    /// A weekday with its number in the month or year (0: each, −1: the last); empty: not restricted.
    weekdays: Vec<(i8, Weekday)>,
    /// Which of the period's days that fit are taken, from 1 or, from the end, −1; empty: all.
    positions: Vec<i16>,
    week_start: Weekday,
}

impl Recurrence {
    /// Reads the value of an RRULE.
    pub(super) fn parse(text: &str) -> Result<(Self, RuleEnd), Complaint> {
        let mut rule = Recurrence {
            frequency: Frequency::Daily,
            interval: 1,
            months: Vec::new(),
            month_days: Vec::new(),
            weekdays: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
        };
        let (mut frequency, mut end) = (None, RuleEnd::Never);
        let mut seen = Vec::new();
        for part in text.trim().trim_end_matches(';').split(';') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let key = key.trim().to_ascii_uppercase();
            let value = value.trim().to_ascii_uppercase();
            let bad = |expected: &str| {
                Complaint::new(
                    format!("`{key}={value}` in a recurrence rule"),
                    expected,
                    "Correct the rule.",
                )
            };
            match key.as_str() {
                "FREQ" => {
                    frequency = Some(match value.as_str() {
                        "DAILY" => Frequency::Daily,
                        "WEEKLY" => Frequency::Weekly,
                        "MONTHLY" => Frequency::Monthly,
                        "YEARLY" => Frequency::Yearly,
                        _ => return Err(bad("FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")),
                    });
                }
                "INTERVAL" => {
                    let interval = value.parse().ok();
                    rule.interval = interval
                        .filter(|interval| (1..=INTERVAL_MAX).contains(interval))
                        .ok_or_else(|| bad("a number from 1 to 36525"))?;
                }
                "COUNT" => {
                    let count = value.parse().ok().filter(|count| *count > 0);
                    let count = count.ok_or_else(|| bad("a number from 1"))?;
                    end = RuleEnd::Count(count);
                }
                "UNTIL" => end = RuleEnd::Until(value.clone()),
                "BYMONTH" => {
                    rule.months = numbers(&value, |month| (1..=12).contains(&month))
                        .ok_or_else(|| bad("months from 1 to 12, separated by commas"))?;
                }
                "BYMONTHDAY" => {
                    rule.month_days =
                        numbers(&value, |day| (1..=31).contains(&i16::abs(i16::from(day))))
                            .ok_or_else(|| {
                                bad("days from 1 to 31 or -31 to -1, separated by commas")
                            })?;
                }
                "BYDAY" => {
                    rule.weekdays = value.split(',').map(weekday).collect::<Option<_>>().ok_or_else(
                        || bad("weekdays as MO, 1MO or -1FR, separated by commas; numbers up to 53"),
                    )?;
                }
                "BYSETPOS" => {
                    rule.positions = numbers(&value, |position| {
                        (1..=366).contains(&i32::abs(i32::from(position)))
                    })
                    .ok_or_else(|| bad("positions from 1 to 366 or -366 to -1"))?;
                }
                "WKST" => {
                    let day = weekday(&value).filter(|(number, _)| *number == 0);
                    rule.week_start = day.ok_or_else(|| bad("a weekday as MO"))?.1;
                }
                _ => {
                    return Err(bad(
                        "FREQ, INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY, BYDAY, BYSETPOS or WKST",
                    ));
                }
            }
            let exclusive = match key.as_str() {
                "COUNT" => "UNTIL",
                "UNTIL" => "COUNT",
                own => own,
            };
            if seen.iter().any(|other| *other == key || other == exclusive) {
                return Err(bad("each part once, and COUNT or UNTIL, not both"));
            }
            seen.push(key);
        }
        rule.frequency = frequency.ok_or_else(|| {
            Complaint::new(
                format!("the recurrence rule `{text}` without FREQ"),
                "FREQ=DAILY, WEEKLY, MONTHLY or YEARLY",
                "Add it.",
            )
        })?;
        rule.check(text)?;
        Ok((rule, end))
    }

    /// Refuses the combinations that RFC 5545 excludes: guessing what they mean would silence the wrong day.
    fn check(&self, text: &str) -> Result<(), Complaint> {
        let by_month_or_year = matches!(self.frequency, Frequency::Monthly | Frequency::Yearly);
        let numbered = self.weekdays.iter().any(|(number, _)| *number != 0);
        let filtered = [
            self.months.is_empty(),
            self.month_days.is_empty(),
            self.weekdays.is_empty(),
        ]
        .contains(&false);
        let wrong = if numbered && !by_month_or_year {
            "a number before a weekday only with FREQ=MONTHLY or YEARLY"
        } else if self.frequency == Frequency::Weekly && !self.month_days.is_empty() {
            "no BYMONTHDAY with FREQ=WEEKLY"
        } else if !self.positions.is_empty() && !filtered {
            "BYSETPOS only beside BYMONTH, BYMONTHDAY or BYDAY"
        } else {
            return Ok(());
        };
        Err(Complaint::new(
            format!("the recurrence rule `{text}`"),
            wrong,
            "Correct the rule.",
        ))
    }

    /// Whether an occurrence of the rule that begins on the day `first` starts on a day.
    pub(super) fn starts_on(&self, first: Date, day: Date) -> bool {
        day >= first
            && self.periods_between(first, day) % i64::from(self.interval) == 0
            && self.fits(first, day)
            && (self.positions.is_empty() || self.is_taken(first, day))
    }

    /// The last day of a rule that ends after a number of occurrences, and how many days had to be asked for it. `None`, if asking
    /// `days_max` of them did not find it.
    pub(super) fn last_of(&self, first: Date, count: u32, days_max: u64) -> (Option<Date>, u64) {
        // With positions a day costs as much as its period has days.
        let day_cost = match (self.positions.is_empty(), self.frequency) {
            (true, _) | (_, Frequency::Daily) => 1,
            (_, Frequency::Weekly) => 8,
            (_, Frequency::Monthly) => 32,
            (_, Frequency::Yearly) => 367,
        };
        let (mut day, mut left, mut asked) = (first, count, 0);
        loop {
            asked += day_cost;
            if asked > days_max {
                return (None, asked);
            }
            if self.starts_on(first, day) {
                left -= 1;
            }
            if left == 0 || day >= LAST_DAY {
                return (Some(day), asked);
            }
            day = day.saturating_add(SignedDuration::from_hours(24));
        }
    }

    /// Whole periods from that of the first day to that of a day.
    fn periods_between(&self, first: Date, day: Date) -> i64 {
        match self.frequency {
            Frequency::Daily => days_between(first, day),
            Frequency::Weekly => days_between(self.week_of(first), self.week_of(day)).div_euclid(7),
            Frequency::Monthly => {
                let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
                months(day) - months(first)
            }
            Frequency::Yearly => i64::from(day.year()) - i64::from(first.year()),
        }
    }

    fn week_of(&self, day: Date) -> Date {
        let since = i64::from(self.week_start.until(day.weekday()));
        day.saturating_sub(SignedDuration::from_hours(24 * since))
    }

    /// Whether a day is one of its period's, before positions. What the rule leaves open comes from the first day.
    fn fits(&self, first: Date, day: Date) -> bool {
        if !self.months.is_empty() && !self.months.contains(&day.month()) {
            return false;
        }
        let open = self.month_days.is_empty() && self.weekdays.is_empty();
        if open {
            return match self.frequency {
                Frequency::Daily => true,
                Frequency::Weekly => day.weekday() == first.weekday(),
                Frequency::Monthly => day.day() == first.day(),
                Frequency::Yearly => {
                    day.day() == first.day()
                        && (!self.months.is_empty() || day.month() == first.month())
                }
            };
        }
        let from_end = day.day() - day.days_in_month() - 1;
        let by_month_day = self.month_days.is_empty()
            || self.month_days.contains(&day.day())
            || self.month_days.contains(&from_end);
        by_month_day && (self.weekdays.is_empty() || self.is_weekday(day))
    }

    fn is_weekday(&self, day: Date) -> bool {
        // RFC 5545, 3.3.10: the number counts in the month if BYMONTH is given, else in the period.
        let in_year = self.frequency == Frequency::Yearly && self.months.is_empty();
        let (number, days) = if in_year {
            (day.day_of_year(), day.days_in_year())
        } else {
            (i16::from(day.day()), i16::from(day.days_in_month()))
        };
        let (from_start, from_end) = ((number - 1) / 7 + 1, (number - days) / 7 - 1);
        self.weekdays.iter().any(|(wanted, weekday)| {
            let wanted = i16::from(*wanted);
            day.weekday() == *weekday && (wanted == 0 || wanted == from_start || wanted == from_end)
        })
    }

    /// Whether a day that fits is one of the positions taken in its period.
    fn is_taken(&self, first: Date, day: Date) -> bool {
        let (from, until) = match self.frequency {
            Frequency::Daily => (day, day),
            Frequency::Weekly => {
                let from = self.week_of(day);
                (
                    from,
                    from.saturating_add(SignedDuration::from_hours(6 * 24)),
                )
            }
            Frequency::Monthly => (day.first_of_month(), day.last_of_month()),
            Frequency::Yearly => (day.first_of_year(), day.last_of_year()),
        };
        let (mut position, mut total, mut at) = (0, 0, from);
        loop {
            if self.fits(first, at) {
                total += 1;
                position += i16::from(at <= day);
            }
            if at >= until {
                break;
            }
            at = at.saturating_add(SignedDuration::from_hours(24));
        }
        self.positions
            .iter()
            .any(|wanted| *wanted == position || *wanted == position - total - 1)
    }
}

/// Days from one date to another, negative if it is before.
pub(super) fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

/// Numbers separated by commas, if all are accepted.
fn numbers<N: std::str::FromStr + Copy>(
    text: &str,
    accepted: impl Fn(N) -> bool,
) -> Option<Vec<N>> {
    let numbers = text.split(',').map(|number| number.trim().parse().ok());
    numbers
        .map(|number| number.filter(|number| accepted(*number)))
        .collect()
}

/// `MO`, `2TU` or `-1FR`.
fn weekday(text: &str) -> Option<(i8, Weekday)> {
    let text = text.trim();
    let split = text.len().checked_sub(2)?;
    let (number, name) = (text.get(..split)?, text.get(split..)?);
    let weekday = match name {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    };
    let number: i8 = match number {
        "" => 0,
        number => number.parse().ok().filter(|number| *number != 0)?,
    };
    (number.unsigned_abs() <= 53).then_some((number, weekday))
}
