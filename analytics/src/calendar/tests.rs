//! Calendars: the examples of RFC 5545, switches of summer time, effects and scopes, what is refused, and any text at all.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use rstest::rstest;
use schemas::time::{DAY, HOUR, MINUTE, TIME_MAX};
use schemas::{Fault, HasFault};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::try_new(pairs.iter().copied()).unwrap()
}

/// An iCalendar text with one event that skips alarms.
fn ical(event: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-TIDEWATCH-EFFECTS:skip_alarms\r\nBEGIN:VEVENT\r\n{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        event.trim().replace('\n', "\r\n")
    )
}

fn instant(time: &str) -> Micros {
    let timestamp: Timestamp = time.parse().unwrap();
    timestamp.as_microsecond()
}

/// The starts and ends of what a calendar skips, in a zone, from a time on: at most `count`, looked for in `days`.
fn skipped(text: &str, zone: &str, from: &str, days: i64, count: usize) -> Vec<(String, String)> {
    let calendar = Calendar::parse(text, "UTC").unwrap();
    let (zone, events) = (
        TimeZone::get(zone).unwrap(),
        calendar.events_of("m", &Labels::empty()),
    );
    let written = |time: Micros| {
        let timestamp = Timestamp::from_microsecond(time).unwrap();
        zone.to_datetime(timestamp)
            .strftime("%Y-%m-%d %H:%M")
            .to_string()
    };
    let (mut time, until) = (instant(from), instant(from) + days * DAY);
    let (mut found, mut since): (Vec<(String, String)>, Option<Micros>) = (Vec::new(), None);
    while time < until && found.len() < count {
        let during = calendar.effects_during(&events, time);
        assert!(during.is_valid_at(time) && during.valid_until > time);
        match (since, during.effects.skip_alarms) {
            (None, true) => since = Some(time),
            (Some(start), false) => {
                found.push((written(start), written(time)));
                since = None;
            }
            _ => {}
        }
        time = during.valid_until;
    }
    found
}

/// The examples of RFC 5545, section 3.8.5.3, all from 1997-09-02 09:00 in New York. Where the RFC begins on
/// another day, the expected days are those of python-dateutil 2.9.
#[rstest]
#[case::daily_count(
    "FREQ=DAILY;COUNT=10",
    "0902 0903 0904 0905 0906 0907 0908 0909 0910 0911 -"
)]
#[case::every_other_day("FREQ=DAILY;INTERVAL=2", "0902 0904 0906 0908 0910 0912")]
#[case::every_ten_days("FREQ=DAILY;INTERVAL=10;COUNT=5", "0902 0912 0922 1002 1012 -")]
#[case::weekly_until(
    "FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH",
    "0902 0904 0909 0911 0916 0918 0923 0925 0930 1002 -"
)]
#[case::every_other_week(
    "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH",
    "0902 0904 0916 0918 0930 1002 1014 1016 -"
)]
#[case::monday_wednesday_friday(
    "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
    "0903 0905 0915 0917 0919 0929 1001 1003 1013 1015 1017 1027 1029 1031 1110 1112 1114 1124 1126 1128 1208 1210 1212 1222 -"
)]
#[case::first_friday("FREQ=MONTHLY;COUNT=4;BYDAY=1FR", "0905 1003 1107 1205 -")]
#[case::first_and_last_sunday(
    "FREQ=MONTHLY;INTERVAL=2;COUNT=6;BYDAY=1SU,-1SU",
    "0907 0928 1102 1130 0104 0125 -"
)]
#[case::second_last_monday("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "0922 1020 1117 1222 0119 0216 -")]
#[case::third_to_the_last_day("FREQ=MONTHLY;BYMONTHDAY=-3", "0928 1029 1128 1229 0129 0226")]
#[case::second_and_fifteenth(
    "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15",
    "0902 0915 1002 1015 1102 1115 1202 1215 0102 0115 -"
)]
#[case::first_and_last_day(
    "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1",
    "0930 1001 1031 1101 1130 1201 1231 0101 0131 0201 -"
)]
#[case::every_18_months(
    "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15",
    "0910 0911 0912 0913 0914 0915 0310 0311 0312 0313 -"
)]
#[case::friday_the_13th("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "0213 0313 1113 0813 1013")]
#[case::election_day(
    "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
    "1104 1106 1108"
)]
#[case::june_and_july("FREQ=YEARLY;COUNT=4;BYMONTH=6,7", "0602 0702 0602 0702 -")]
#[case::thursdays_in_march(
    "FREQ=YEARLY;BYMONTH=3;BYDAY=TH;UNTIL=19990331",
    "0305 0312 0319 0326 0304 0311 0318 0325 -"
)]
#[case::fifth_friday_of_the_year_if_it_is_the_30th("FREQ=YEARLY;BYMONTHDAY=30;BYDAY=5FR", "0130")]
#[case::twentieth_monday("FREQ=YEARLY;BYDAY=20MO", "0518 0517 0515")]
#[case::third_of_three("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "0904 1007 1106 -")]
#[case::second_last_workday(
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
    "0929 1030 1127 1230 0129 0226 0330"
)]
#[case::week_starts_on_monday(
    "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
    "0902 0907 0916 0921 -"
)]
#[case::week_starts_on_sunday(
    "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
    "0902 0914 0916 0928 -"
)]
#[case::no_such_day(
    "FREQ=MONTHLY;BYMONTHDAY=30;COUNT=6",
    "0930 1030 1130 1230 0130 0330 -"
)]
fn recurs_as_the_rfc_says(#[case] rule: &str, #[case] expected: &str) {
    let text = ical(&format!(
        "DTSTART;TZID=America/New_York:19970902T090000\nDURATION:PT1H\nRRULE:{rule}"
    ));
    let ends = expected.ends_with('-');
    let expected: Vec<&str> = expected.trim_end_matches(" -").split(' ').collect();
    let count = if ends { usize::MAX } else { expected.len() };
    let found = skipped(
        &text,
        "America/New_York",
        "1997-08-01T00:00:00Z",
        9 * 366,
        count,
    );
    for (start, end) in &found {
        assert!(
            start.ends_with("09:00") && end.ends_with("10:00"),
            "{start} – {end}"
        );
    }
    let days: Vec<String> = found
        .iter()
        .map(|(start, _)| start[5..10].replace('-', ""))
        .collect();
    let days: Vec<&str> = days
        .iter()
        .map(String::as_str)
        .take(expected.len())
        .collect();
    assert_eq!(days, expected);
    if ends && !rule.contains("INTERVAL=18") {
        assert_eq!(found.len(), expected.len(), "goes on after its end");
    }
}

#[test]
fn follows_the_clock_on_the_wall_through_summer_time() {
    let spans = |event: &str, from: &str, count| skipped(&ical(event), "UTC", from, 30, count);
    let pairs = |found: Vec<(String, String)>| -> Vec<String> {
        found
            .iter()
            .map(|(start, end)| format!("{start}/{end}"))
            .collect()
    };
    // Berlin leaves +01:00 on 2026-03-29 at 02:00, which is then 03:00: a start at 02:30 is read with the offset before (RFC 5545,
    // 3.3.5), and is 01:30 UTC; days later it is 00:30 UTC.
    let event = "DTSTART;TZID=Europe/Berlin:20260301T023000\nDURATION:PT30M\nRRULE:FREQ=DAILY";
    assert_eq!(
        pairs(spans(event, "2026-03-28T00:00:00Z", 3)),
        [
            "2026-03-28 01:30/2026-03-28 02:00",
            "2026-03-29 01:30/2026-03-29 02:00",
            "2026-03-30 00:30/2026-03-30 01:00"
        ]
    );
    // 02:30 comes twice on 2026-10-25: the first one is meant.
    assert_eq!(
        pairs(spans(event, "2026-10-25T00:00:00Z", 2)),
        [
            "2026-10-25 00:30/2026-10-25 01:00",
            "2026-10-26 01:30/2026-10-26 02:00"
        ]
    );
    // A day is from midnight to midnight, 23 or 25 hours on these days.
    let sunday = "DTSTART;VALUE=DATE:20260329\nRRULE:FREQ=WEEKLY";
    let text = ical(sunday).replace("VERSION:2.0", "X-WR-TIMEZONE:Europe/Berlin");
    assert_eq!(
        pairs(skipped(&text, "UTC", "2026-03-28T00:00:00Z", 9, 1)),
        ["2026-03-28 23:00/2026-03-29 22:00"]
    );
    assert_eq!(
        pairs(skipped(&text, "UTC", "2026-10-24T00:00:00Z", 9, 1)),
        ["2026-10-24 22:00/2026-10-25 23:00"]
    );
    // DTEND makes an exact length (RFC 5545, 3.8.5.3): eight hours, though the clock on the wall jumps. `end` in TOML is wall time.
    let night = "DTSTART;TZID=Europe/Berlin:20260327T220000\nDTEND;TZID=Europe/Berlin:20260328T060000\nRRULE:FREQ=DAILY";
    let berlin = |text: &str| skipped(text, "Europe/Berlin", "2026-03-28T12:00:00Z", 2, 1);
    assert_eq!(
        pairs(berlin(&ical(night))),
        ["2026-03-28 22:00/2026-03-29 07:00"]
    );
    let text = "[[event]]\nname = 'night'\ntime_zone = 'Europe/Berlin'\nstart = 2026-03-27T22:00:00\nend = 2026-03-28T06:00:00\nrepeat = 'FREQ=DAILY'\nskip_alarms = true";
    assert_eq!(pairs(berlin(text)), ["2026-03-28 22:00/2026-03-29 06:00"]);
}

#[test]
fn reads_what_calendar_programs_write() {
    let text = "BEGIN:VCALENDAR\nPRODID:-//Example//EN\nMETHOD:PUBLISH\nX-TIDEWATCH-EFFECTS:use_profile_of=sunday\n\
        BEGIN:VTIMEZONE\nTZID:Western Europe\nX-LIC-LOCATION:Europe/Berlin\nBEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n\
        RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\nEND:VTIMEZONE\n\
        BEGIN:VEVENT\nUID:1\nSUMMARY:Weekly planning\\, all \n of us\nDTSTART;TZID=\"Western Europe\":20260105T090000\nDTEND;TZID=\"Western Europe\":20260105T100000\n\
        RRULE:FREQ=WEEKLY;BYDAY=MO\nEXDATE;TZID=Western Europe:20260112T090000,20260119T090000\nRDATE;TZID=Western Europe:20260113T150000\n\
        X-TIDEWATCH-METRICS:http_*\nBEGIN:VALARM\nTRIGGER:-PT15M\nEND:VALARM\nATTENDEE;CN=\"A: B\":mailto:a@example.org\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:1\nRECURRENCE-ID;TZID=Western Europe:20260126T090000\nDTSTART;TZID=Western Europe:20260127T110000\nDURATION:PT30M\nSUMMARY:moved\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:2\nSTATUS:CANCELLED\nDTSTART:20260101T000000Z\nDTEND:20270101T000000Z\nEND:VEVENT\nEND:VCALENDAR";
    let calendar = Calendar::parse(text, "UTC").unwrap();
    assert_eq!(calendar.len(), 2);
    let at = |metric: &str, time: &str| calendar.names_at(metric, &Labels::empty(), instant(time));
    assert_eq!(
        at("http_requests", "2026-01-05T08:30:00Z"),
        ["Weekly planning, all of us"]
    );
    assert_eq!(at("disk", "2026-01-05T08:30:00Z"), [""; 0]);
    assert_eq!(
        at("http_requests", "2026-01-05T09:00:00Z"),
        [""; 0],
        "the end is exclusive"
    );
    assert_eq!(
        at("http_requests", "2026-01-12T08:30:00Z"),
        [""; 0],
        "excepted"
    );
    assert_eq!(
        at("http_requests", "2026-01-13T14:30:00Z").len(),
        1,
        "a date of its own"
    );
    assert_eq!(
        at("http_requests", "2026-01-26T08:30:00Z"),
        [""; 0],
        "moved away"
    );
    assert_eq!(at("http_requests", "2026-01-27T10:15:00Z"), ["moved"]);
    assert_eq!(
        at("disk", "2026-01-27T10:15:00Z"),
        [""; 0],
        "a moved one concerns whom the series of events does"
    );
    let effects = calendar.effects_at("http_x", &Labels::empty(), instant("2026-01-27T10:15:00Z"));
    assert_eq!(effects.use_profile_of, Some(DayOfWeek::Sunday));
}

const HOLIDAYS: &str = r#"
time_zone = "Europe/Berlin"

[[event]]
name = "Christmas"
dates = [2026-12-25, 2026-12-26]
use_profile_of = "sunday"

[[event]]
name = "shop sale"
start = 2026-12-26T10:00:00
duration = "1d 2h"
threshold_factor = 3.0
metrics = ["http.*"]
labels = { "service.name" = "shop*" }

[[event]]
name = "move of the data centre"
start = 2026-12-26T12:00:00Z
duration = "30m"
skip_alarms = true
no_learn = true
threshold_factor = 2
labels = { "service.name" = "*", zone = "a" }
"#;

#[test]
fn effects_add_up_for_those_concerned() {
    let calendar = Calendar::parse(HOLIDAYS, "UTC").unwrap();
    let (shop, blog) = (
        labels(&[("service.name", "shop-1"), ("zone", "a")]),
        labels(&[("service.name", "blog"), ("zone", "b")]),
    );
    let time = instant("2026-12-26T12:10:00Z");
    // The 26th is a Saturday.
    let sunday = Effects {
        use_profile_of: Some(DayOfWeek::Sunday),
        profile_days_ahead: 1,
        ..Effects::default()
    };
    assert_eq!(
        calendar.effects_at("http.requests", &shop, time),
        Effects {
            skip_alarms: true,
            threshold_factor: 3.0,
            learn: false,
            ..sunday
        }
    );
    assert_eq!(calendar.effects_at("http.requests", &blog, time), sunday);
    let later = instant("2026-12-27T10:59:59Z");
    assert_eq!(
        calendar
            .effects_at("http.requests", &shop, later)
            .threshold_factor,
        3.0
    );
    assert_eq!(calendar.effects_at("cpu", &shop, later), Effects::default());
    assert_eq!(
        calendar.effects_at("http.requests", &shop, instant("2026-12-27T11:00:00Z")),
        Effects::default()
    );
    assert_eq!(
        calendar.names_at("http.requests", &shop, time),
        ["Christmas", "shop sale", "move of the data centre"]
    );
    for time in [Micros::MIN, -1, 0, TIME_MAX, Micros::MAX] {
        assert_eq!(
            calendar.effects_at("m", &blog, time),
            Effects::default(),
            "{time}"
        );
    }
}

#[test]
fn a_clock_gives_the_answers_of_its_calendar_whatever_is_asked_when() {
    let calendar = Arc::new(Calendar::parse(HOLIDAYS, "UTC").unwrap());
    let mut clock = CalendarClock::new(calendar.clone());
    let series = [
        (
            "http.requests",
            labels(&[("service.name", "shop-1"), ("zone", "a")]),
        ),
        ("cpu", labels(&[("service.name", "shop-1"), ("zone", "a")])),
        ("cpu", labels(&[("host", "x")])),
    ];
    let scopes: Vec<ScopeId> = series.iter().map(|(m, l)| clock.scope(m, l)).collect();
    assert_ne!(scopes[0], scopes[1]);
    assert_eq!(clock.scope("cpu", &series[1].1), scopes[1]);
    let start = instant("2026-12-24T00:00:00Z");
    for step in 0..1500_i64 {
        // Forward in steps of five minutes, each time with a look back over the last boundary.
        for time in [
            start + step * 5 * MINUTE,
            start + step * 5 * MINUTE - 7 * MINUTE,
        ] {
            for ((metric, labels), scope) in series.iter().zip(&scopes) {
                let expected = calendar.effects_at(metric, labels, time);
                assert_eq!(
                    clock.effects(*scope, time),
                    expected,
                    "{metric}{labels} at {time}"
                );
            }
        }
    }
    let mut ordinary = CalendarClock::new(Arc::new(Calendar::default()));
    assert_eq!(ordinary.scope("cpu", &series[2].1), ScopeId::NONE);
    assert_eq!(ordinary.effects(ScopeId::NONE, start), Effects::default());
}

#[rstest]
#[case::zone(
    "DTSTART;TZID=W. Europe Standard Time:20260101T090000\nDURATION:PT1H",
    5,
    "TZID `W. Europe Standard Time`"
)]
#[case::no_length("DTSTART:20260101T090000Z", 5, "takes no time")]
#[case::negative(
    "DTSTART:20260101T090000Z\nDTEND:20260101T080000Z",
    4,
    "ends when it starts"
)]
#[case::years_long("DTSTART:20260101T090000Z\nDTEND:20290101T080000Z", 4, "at most 366")]
#[case::month(
    "DTSTART:20261301T090000Z\nDURATION:PT1H",
    5,
    "`DTSTART:20261301T090000Z`"
)]
#[case::duration("DTSTART:20260101T090000Z\nDURATION:1h", 6, "PT90M")]
#[case::hourly(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nRRULE:FREQ=HOURLY",
    4,
    "`FREQ=HOURLY`"
)]
#[case::by_hour(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;BYHOUR=9",
    4,
    "`BYHOUR=9`"
)]
#[case::both_ends(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2;UNTIL=20260201",
    4,
    "not both"
)]
#[case::nth_of_a_week(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;BYDAY=1MO",
    4,
    "only with FREQ=MONTHLY"
)]
#[case::endless_count(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nRRULE:FREQ=YEARLY;BYDAY=MO;BYSETPOS=-1;COUNT=4000000000",
    4,
    "Write UNTIL"
)]
#[case::exrule(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nEXRULE:FREQ=DAILY",
    7,
    "EXDATE"
)]
#[case::effect(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nX-TIDEWATCH-EFFECTS:silence",
    7,
    "found `silence`"
)]
#[case::factor(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nX-TIDEWATCH-EFFECTS:threshold_factor=0.5",
    7,
    "from 1 to 1000"
)]
#[case::twice(
    "DTSTART:20260101T090000Z\nDTSTART:20260102T090000Z\nDURATION:PT1H",
    6,
    "DTSTART once"
)]
#[case::no_start("DURATION:PT1H", 4, "without DTSTART")]
#[case::damaged("DTSTART 20260101", 5, "NAME:value")]
#[case::half(
    "DTSTART:20260101T090000Z\nDURATION:PT1H\nEND:VEVENT\nBEGIN:VEVENT\nBEGIN:X",
    10,
    "END of what was begun last"
)]
fn refuses_with_the_line_and_the_way_out(
    #[case] event: &str,
    #[case] line: usize,
    #[case] says: &str,
) {
    let error = Calendar::parse(&ical(event), "UTC").unwrap_err();
    assert_eq!(error.line, line, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.fault(), Fault::BadConfig);
}

#[rstest]
#[case::key("[[event]]\nname = 'x'\nwhen = 3", 3, "unknown field `when`")]
#[case::nothing("\n[[event]]\nname = 'x'\nstart = 2026-01-01", 2, "which does nothing")]
#[case::day(
    "[[event]]\nname = 'x'\nstart = 2026-01-01\nuse_profile_of = 'holiday'",
    4,
    "unknown variant `holiday`"
)]
#[case::both(
    "[[event]]\nname = 'x'\nstart = 2026-01-01\ndates = [2026-01-01]\nno_learn = true",
    1,
    "`dates`"
)]
#[case::no_end(
    "[[event]]\nname = 'x'\nstart = 2026-01-01T00:00:00\nno_learn = true",
    1,
    "neither or both of `end` and `duration`"
)]
#[case::zone("time_zone = 'Berlin'", 1, "time zone `Berlin`")]
#[case::far(
    "[[event]]\nname = 'x'\nstart = 9999-01-01\nno_learn = true",
    1,
    "a year from 1900 to 2261"
)]
#[case::factor(
    "[[event]]\nname = 'x'\nstart = 2026-01-01\nthreshold_factor = nan",
    1,
    "from 1 to 1000"
)]
#[case::pattern(
    "[[event]]\nname = 'x'\nstart = 2026-01-01\nno_learn = true\nmetrics = ['']",
    1,
    "empty pattern"
)]
#[case::other("hello", 1, "iCalendar")]
fn refuses_toml_with_the_line_and_the_way_out(
    #[case] text: &str,
    #[case] line: usize,
    #[case] says: &str,
) {
    let error = Calendar::parse(text, "UTC").unwrap_err();
    assert_eq!(error.line, line, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn the_same_moment_written_in_three_ways() {
    let base = "[[event]]\nname = 'x'\nskip_alarms = true\nduration = '1h'\n";
    let texts = [
        format!("{base}start = 2026-07-01T10:00:00\ntime_zone = 'Europe/Berlin'"),
        format!("{base}start = 2026-07-01T10:00:00+02:00"),
        ical("DTSTART;TZID=/citadel.org/Europe/Berlin:20260701T100000\nDURATION:PT1H"),
    ];
    for text in texts {
        assert_eq!(
            skipped(&text, "UTC", "2026-07-01T00:00:00Z", 2, 9),
            [("2026-07-01 08:00".to_owned(), "2026-07-01 09:00".to_owned())],
            "{text}"
        );
    }
}

#[test]
fn limits_are_kept() {
    let many = "[[event]]\nname='x'\nstart=2026-01-01\nno_learn=true\n".repeat(EVENTS_MAX + 1);
    let error = Calendar::parse(&many, "UTC").unwrap_err();
    assert!(error.to_string().contains("at most 5000"), "{error}");
    assert_eq!(error.line, EVENTS_MAX * 4 + 1);
    let long = " ".repeat(TEXT_BYTES_MAX + 1);
    assert!(Calendar::parse(&long, "UTC").is_err());
    assert!(Calendar::parse("", "Mars/Olympus").is_err());
    assert!(Calendar::parse("", "UTC").unwrap().is_empty());
}

/// Texts made of what calendars are made of, so that most get past the first line.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("BEGIN:VEVENT\n".to_owned()),
        Just("END:VEVENT\n".to_owned()),
        Just("UID:1\nRECURRENCE-ID:20260101T000000Z\n".to_owned()),
        "DTSTART(;VALUE=DATE|;TZID=Europe/Berlin)?:(19|20|99)[0-9]{2}[01][0-9][0-3][0-9](T[0-2][0-9]0000Z?)?\n",
        "(DTEND|RDATE|EXDATE):20[0-9]{2}0[1-9][0-2][1-9](T[0-2][0-9]0000Z?)?\n",
        "DURATION:P([0-9]{1,20}[WD])?(T[0-9]{1,4}[HMS])?\n",
        "RRULE:FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;INTERVAL=[0-9]{1,5})?(;BYDAY=-?[0-9]?(MO|SU))?(;BYMONTHDAY=-?[0-9]{1,2})?(;BYMONTH=[0-9]{1,2})?(;BYSETPOS=-?[0-9]{1,3})?(;COUNT=[0-9]{1,10}|;UNTIL=20[0-9]{2}0101)?\n",
        "\\PC{0,20}\n",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let body = pieces.concat();
        format!("BEGIN:VCALENDAR\nX-TIDEWATCH-EFFECTS:no_learn\nBEGIN:VEVENT\n{body}END:VEVENT\nEND:VCALENDAR\n")
    })
}

proptest! {
    #[test]
    fn no_text_hurts(text in "\\PC{0,200}") {
        let _refused = Calendar::parse(&text, "UTC");
        let _refused = Calendar::parse(&format!("BEGIN:VCALENDAR\n{text}\nEND:VCALENDAR"), "UTC");
    }

    #[test]
    fn an_answer_holds_for_as_long_as_it_says(text in pieces(), times in prop::collection::vec(0..TIME_MAX, 3)) {
        let Ok(calendar) = Calendar::parse(&text, "UTC") else { return Ok(()); };
        let events = calendar.events_of("m", &Labels::empty());
        for time in times.into_iter().chain([0, TIME_MAX - 1, 1_770_000_000_000_000]) {
            let during = calendar.effects_during(&events, time);
            prop_assert!(during.is_valid_at(time));
            prop_assert!(events.is_empty() || during.valid_until - during.valid_from <= 16 * DAY);
            for share in [0, 1, 5, 9] {
                let inside = during.valid_from + (during.valid_until - 1 - during.valid_from) / 9 * share;
                if (0..TIME_MAX).contains(&inside) && !events.is_empty() {
                    prop_assert_eq!(calendar.effects_during(&events, inside).effects, during.effects, "{} in {:?}", inside, during);
                }
            }
            let _far = calendar.effects_during(&events, time + HOUR);
        }
    }
}
