//! The codes of errors of this room: what a detector can't be asked, and what no decomposition can do.

schemas::error_codes! {
    DETECTOR_SETTING = "TW-DETECT-001", "A detector's setting is out of its range",
        means: "A detector would compute nonsense with it, so it is not made.",
        expected: "A number within the range that the message names.",
        fix: "Set the key of section `[detection]` within its range.";
    DECOMPOSITION = "TW-DETECT-002", "A history cannot be taken apart into trend and seasons",
        means: "The report goes without this decomposition.",
        expected: "A finite value at each step, and seasons of at least two steps and at most half of the history, each once.",
        fix: "Take a longer history, a coarser resolution or other seasons, as the message says.";
    FOREST_SETTING = "TW-DETECT-003", "A forest's setting is out of its range",
        means: "No forest could be grown with it, so none is.",
        expected: "A number within the range that the message names.",
        fix: "Set it within its range.";
    FOREST_WIDTH = "TW-DETECT-004", "A row has another number of features than its forest",
        means: "A mistake in the program: rows of one forest all have the same features.",
        expected: "As many features as the forest was fitted to, at most 65,535.",
        fix: "Report it, with the message.";
    CALENDAR = "TW-CALENDAR-001", "A calendar can't be read",
        means: "Alarms would be silenced on the wrong days, so nothing of it is used.",
        expected: "iCalendar (RFC 5545) with what its events do in X-TIDEWATCH-EFFECTS, or TOML, as `docs/calendar.md` describes.",
        fix: "Correct the line that the message names.";
    PEERS_SETTING = "TW-PEERS-001", "A setting of the comparison of siblings is out of its range",
        means: "Siblings would be compared by nonsense, so they are not compared.",
        expected: "A number within the range that the message names.",
        fix: "Set `detection.peers_min`, or the key of section `[detection]` that the message names, within its range.";
    CLUSTERS = "TW-CLUSTERS-001", "Rows can't be put into clusters",
        means: "The report is written without clusters.",
        expected: "Rows with as many values as there are features, within the limits that the message names.",
        fix: "Report on fewer resources or features at a time; if the message speaks of k-means, report it.";
    FORECAST_SETTING = "TW-FORECAST-001", "A forecaster's setting is out of its range",
        means: "A forecaster cannot lay such a grid over time, so it is not made.",
        expected: "A step in seconds that divides a day, and a horizon within the range that the message names.",
        fix: "Set the key of section `[forecast]` that the message names.";
    FORECAST_HISTORY = "TW-FORECAST-002", "A history cannot be forecast by the method asked for",
        means: "There are too few values for it, or its fit fails on them. Nothing was forecast.",
        expected: "A history of some weeks, at least 16 steps with a value.",
        fix: "Give a longer history, or leave `--method` out: the streaming method answers from the first sample on.";
}
