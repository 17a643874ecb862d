//! The codes of errors of this room: a rule that must always hold and does not. All others belong to the rooms that it drives.

schemas::error_codes! {
    INVARIANT = "TW-PIPELINE-001", "An invariant is broken",
        means: "A rule that everything rests on does not hold. The partition has stopped before anything wrong was made final; its samples are in the log.",
        expected: "That this message is never seen.",
        fix: "Report it with the message, the version and the log around it, and keep the data directory. A restart is safe.";
}
