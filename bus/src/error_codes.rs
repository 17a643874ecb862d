//! The codes of errors of this room: what can go wrong with the log.

schemas::error_codes! {
    NO_TOPIC = "TW-LOG-001", "A topic does not exist",
        means: "The log has no topic of this name. Tidewatch creates topics in Kafka only when it is asked to, with the settings that its promises need.",
        expected: "The topics PREFIX.samples, PREFIX.anomalies, PREFIX.forecasts and PREFIX.dead-letters (setting `bus.topic_prefix`).",
        fix: "Run `tidewatch topics create` with the same configuration.";
    PARTITION_COUNT = "TW-LOG-002", "A topic has another number of partitions than configured",
        means: "Series are spread over partitions by their number, so a changed number would send a series to another owner. Nothing was started.",
        expected: "As many partitions as setting `bus.partitions` says.",
        fix: "Set `bus.partitions` to the number that was found, or use another `bus.topic_prefix` with an archive of its own and run `tidewatch topics create`.";
    RECORD_TOO_LARGE = "TW-LOG-003", "A record is too large for the log",
        means: "Nothing of it was written.",
        expected: "At most 4 MiB in a record.",
        fix: "Send the request in smaller parts.";
    OFFSET_OUT_OF_RANGE = "TW-LOG-004", "The log no longer holds what was to be read",
        means: "Either a gap is between the last checkpoint and the oldest record: records were removed before they were processed, or the log was deleted and made anew. Or the log ends before the last checkpoint: it was restored from an older copy, or its last files were cut. The partition has stopped: going on would hide the loss, and new records would get offsets that the archive has already.",
        expected: "A log that still holds everything past the last checkpoint.",
        fix: "Restore the log if there is a copy. If the gap is accepted, begin a new archive (setting `archive.url`) and keep the old one for questions. Then lengthen the retention (`bus.retention`, or the topic's `retention.ms`).";
    RECORD_DAMAGED = "TW-LOG-005", "A record of the log is damaged",
        means: "Its checksum does not match. It was left in place, and the partition has stopped in front of it.",
        expected: "The bytes that were appended.",
        fix: "Check the disk (`dmesg`, SMART). Restore the directory `bus` of the data directory from a copy, or move it aside and begin an empty log with a new archive.";
    LOG_DAMAGED = "TW-LOG-006", "The files of the embedded log do not hold together",
        means: "The log was not opened, and nothing was changed.",
        expected: "The files as the program left them.",
        fix: "Check the disk. Restore the directory that the message names, or move it aside to begin an empty log, with `archive.url` at an empty place: an archive belongs to the log that it was filled from. The old archive holds the samples up to the last checkpoint; read it by `tidewatch sql` with the old `archive.url`, or by anything that reads Parquet.";
    LOG_UNAVAILABLE = "TW-LOG-007", "The log does not answer, or its disk is full",
        means: "The broker is away, or the disk has no room. Clients get 503 and keep their samples; partitions wait and go on by themselves.",
        expected: "A broker that answers; for the embedded log, more free space than `bus.free_space_min`.",
        fix: "Kafka: look at the brokers and at `bus.brokers`. Embedded: free some space, or lower `bus.retention_size`. `tidewatch doctor` tells which it is.";
    LOG_SETTINGS = "TW-LOG-008", "The log's settings are refused",
        means: "The log can't be used with these settings, or another process uses its directory.",
        expected: "What the message says.",
        fix: "Change the setting of section `[bus]` that the message names; give each process a data directory of its own.";
    LOG_BROKEN = "TW-LOG-009", "The embedded log takes no more records until a restart",
        means: "Writing or syncing it failed, so what the disk holds of the last records is uncertain; none of them was acknowledged. Reading goes on, clients get 503 and keep their samples, and `/healthz` says 503.",
        expected: "A disk that takes writes.",
        fix: "Mend the disk or make room on it, then restart the process: what was acknowledged is there.";
    NO_TLS = "TW-LOG-010", "This program can't speak TLS or SASL/SCRAM to Kafka",
        means: "It was built without the feature `kafka-tls`, which compiles OpenSSL and is off by default. `tidewatch version` tells. Nothing was started.",
        expected: "A program with that feature: the container image and release builds have it.",
        fix: "Take one of those, or run `cargo build --release --features kafka-tls`.";
}
