//! The codes of errors of this room: what a detector can't be asked.

schemas::error_codes! {
    DETECTOR_SETTING = "TW-DETECT-001", "A detector's setting is out of its range",
        means: "A detector would compute nonsense with it, so it is not made.",
        expected: "A number within the range that the message names.",
        fix: "Set the key of section `[detection]` within its range.";
    CALENDAR = "TW-CALENDAR-001", "A calendar can't be read",
        means: "Alarms would be silenced on the wrong days, so nothing of it is used.",
        expected: "iCalendar (RFC 5545) with what its events do in X-TIDEWATCH-EFFECTS, or TOML, as `docs/calendar.md` describes.",
        fix: "Correct the line that the message names.";
}
