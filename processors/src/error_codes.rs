//! The codes of errors of this room: what a saved state can have wrong.

schemas::error_codes! {
    SNAPSHOT_DAMAGED = "TW-STATE-001", "The saved state of a partition is damaged",
        means: "The snapshot that the newest checkpoint names does not hold together. The partition has stopped; its samples are in the archive and the log.",
        expected: "The bytes that the checkpoint's SHA-256 stands for.",
        fix: "Restore the object below `snapshots/` of the archive that the message names from a copy or an older version of the bucket, then restart. Without a copy, start once with `tidewatch run --rebuild-damaged-states`: it is made anew from the archive; no sample and no rollup is lost by that.";
    SNAPSHOT_VERSION = "TW-STATE-002", "The saved state is of another version of Tidewatch",
        means: "This version can't read the open windows in it, which are nowhere else. Nothing was changed; the partition waits.",
        expected: "A snapshot of the version that the message names.",
        fix: "Run the version that wrote it, or one that says in the changelog that it reads it.";
}
