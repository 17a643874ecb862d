//! The codes of errors of this room: why a request was not taken, or not all of it. They stand in front of the message of every answer.

schemas::error_codes! {
    MALFORMED = "TW-INGEST-001", "A body can't be decoded",
        means: "Nothing of the request was stored. Sending it again gives the same answer.",
        expected: "A body in the format of its path: remote write (snappy), line protocol, OpenTelemetry (protobuf or JSON), or JSON lines.",
        fix: "Look at the place that the message names; check path, `content-type` and `content-encoding` of the sender.";
    UNSUPPORTED = "TW-INGEST-002", "The media type or encoding is not supported",
        means: "Nothing of the request was stored.",
        expected: "One of those that the message names.",
        fix: "Change the sender's protocol, its version or its compression to one of them; every sender knows gzip or snappy.";
    TOO_LARGE = "TW-INGEST-003", "A request is too large",
        means: "Nothing of it was stored, or (where the message says so) the part before.",
        expected: "A request within the limit that the message names (docs/limits.md has all of them).",
        fix: "Send smaller batches (Prometheus: `max_samples_per_send`; Telegraf: `metric_batch_size`), or raise the setting that the message names.";
    TIMEOUT = "TW-INGEST-004", "The body of a request did not come in time",
        means: "The connection stalled; nothing was stored.",
        expected: "The whole body within 60 s.",
        fix: "Look at the network and at the sender's load; send smaller batches.";
    BUSY = "TW-INGEST-005", "Too many requests are being worked on",
        means: "Memory is bounded: this request was not begun. The sender keeps it and comes again, as the header `retry-after` says.",
        expected: "Bodies within `limits.in_flight_max`, those of one sender within `limits.sender.in_flight_max` or its own `in_flight_max`; and so with the number of requests.",
        fix: "Nothing if it passes. If it stays, the log is slower than the senders: look at its disk or broker, or raise the setting that the message names if there is memory.";
    PARTIAL = "TW-INGEST-006", "Some samples of a request were rejected",
        means: "All others were stored. The message counts both and tells where the first rejected ones stood and why.",
        expected: "Metric names, labels, times and series within their limits (docs/limits.md).",
        fix: "Correct what the message names at the sender. Sending the request again stores nothing twice.";
    UNAVAILABLE = "TW-INGEST-007", "The log does not take samples now",
        means: "The request may or may not be in the log; sending it again is safe, duplicates are dropped.",
        expected: "A log that answers.",
        fix: "As TW-LOG-007.";
    REQUEST_BUG = "TW-INGEST-008", "A request failed by a mistake of Tidewatch",
        means: "Nothing of it was acknowledged; the sender may send it again.",
        expected: "That this message is never seen.",
        fix: "Report it with the message, the version and, if possible, the body.";
    HISTORY_UNREADABLE = "TW-INGEST-009", "A history file can't be read",
        means: "The replay did not begin: nothing was fed, no data directory was made.",
        expected: "Files that this user may read.",
        fix: "Check the name, the permissions and the disk that the message tells of.";
    HISTORY_FORMAT = "TW-INGEST-010", "A history file is not what a replay reads",
        means: "The replay did not begin: nothing was fed, no data directory was made.",
        expected: "CSV with a header, or Parquet, with the columns of docs/replay.md.",
        fix: "Give the columns the names that the message expects, or export the history anew.";
    HISTORY_ROW = "TW-INGEST-011", "A row of a history file is wrong",
        means: "The replay did not begin: nothing was fed, no data directory was made.",
        expected: "What the message says, in every row.",
        fix: "Correct the row; or leave out all such rows by `--skip-invalid`, which counts them and shows the first.";
    HISTORY_SERIES = "TW-INGEST-012", "A history has too many series",
        means: "The replay did not begin: nothing was fed, no data directory was made.",
        expected: "At most `processing.series_max` different pairs of metric and labels.",
        fix: "Every column besides time, metric and value is a label: drop those that are values. Or raise `processing.series_max` if there is memory.";
    HISTORY_SPILL = "TW-INGEST-013", "The samples of a history can't be kept while they are sorted",
        means: "The replay did not begin: nothing was fed.",
        expected: "20 bytes per sample on the disk of the data directory.",
        fix: "Make room on that disk, or put the data directory elsewhere.";
    NOTHING_INSIDE = "TW-INGEST-014", "A record of a foreign topic holds no metrics",
        means: "Its bytes can be read in the format of the topic, and no sample is in them: logs or traces, another protobuf message, or only comments. It is among the dead letters, and the topic goes on.",
        expected: "Metrics, in the format that the source is configured for.",
        fix: "Look at the guess in the table `dead_letters`: send logs and traces to topics of their own, or correct `format` of the source and run `tidewatch dead-letters replay`.";
    SOURCE_AWAY = "TW-INGEST-015", "Foreign topics can't be read",
        means: "Nothing is lost: the group keeps its place, and it is tried again until it works.",
        expected: "Brokers that answer, and the right to read the topics and to join the group.",
        fix: "See what the message tells: whether the broker is there, and whether `brokers`, `topics` and the security settings of the source fit.";
    SCRAPE_FAILED = "TW-INGEST-016", "A target can't be scraped",
        means: "Its `up` is 0, its series end with stale markers, and it is asked again at the next interval. Logged once, until it can be scraped again.",
        expected: "An answer 200 in time, in the text format or OpenMetrics.",
        fix: "Look at what the message names: address, path and credentials of the `[[scrape]]` table, or the program behind the address.";
    SCRAPE_MALFORMED = "TW-INGEST-017", "What a target answered can't be read",
        means: "Nothing of that scrape was stored; its `up` is 0, its series end with stale markers, and it is asked again at the next interval.",
        expected: "Lines of the format that the content type names, and at most `samples_max` samples.",
        fix: "Look at the line that the message names, by `curl`; tell who makes the endpoint, or drop series by `metric_relabel`.";
    SCRAPE_AUTHORITIES = "TW-INGEST-018", "The authorities that targets are trusted by can't be read",
        means: "Nothing was started.",
        expected: "A PEM file with at least one certificate.",
        fix: "Correct `ca_file` of the `[[scrape]]` table, or leave it out to trust those of the system.";
    FOLDED_LABELS = "TW-INGEST-019", "The file of folded labels can't be read",
        means: "It was set aside, and the instance started without it: new values of labels that were folded are stored as they are, until there are too many again.",
        expected: "The file `folded-labels` of the data directory, as an instance wrote it.",
        fix: "Look at the disk, which may be damaging other files, too. Nothing else has to be done; remove the file that was set aside.";
    KNOWN_SERIES = "TW-INGEST-020", "The file of known series can't be read",
        means: "It was set aside, and the instance started without it, as if for the first time: within five minutes so many more new series are let in as `limits.series_first_max` allows, and beyond these as in any minute.",
        expected: "The file `known-series` of the data directory, as an instance wrote it.",
        fix: "Look at the disk, which may be damaging other files, too. Nothing else has to be done; remove the file that was set aside.";
}
