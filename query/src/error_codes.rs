//! The codes of errors of this room: why a question has no answer.

schemas::error_codes! {
    FORBIDDEN = "TW-QUERY-001", "The statement is not one that reads tables",
        means: "Only questions run here: nothing can be written, loaded or configured by SQL.",
        expected: "SELECT, WITH, VALUES, EXPLAIN, SHOW TABLES, SHOW COLUMNS or DESCRIBE, over the tables of Tidewatch.",
        fix: "Ask without the part that the message names.";
    SQL = "TW-QUERY-002", "The text is not SQL, or names what is not there",
        means: "The question was not run.",
        expected: "A statement in the dialect of DataFusion, over tables and columns that exist.",
        fix: "Look at the place that the message names; `SHOW TABLES` and `DESCRIBE table` tell what there is.";
    LIMIT = "TW-QUERY-003", "The question passed a limit",
        means: "It was ended so that others still get their answers. What was already written of the answer is cut.",
        expected: "A question within the limits of section `[query]`.",
        fix: "Ask for less (a narrower `time`, a LIMIT, fewer groups), or raise the setting that the message names.";
    BUSY = "TW-QUERY-004", "Too many questions run and wait",
        means: "This one was not begun.",
        expected: "A place in the queue (settings `query.concurrent_max`, `query.waiting_max`, `query.wait`).",
        fix: "Ask again later; if it stays so, look for a client that asks without end.";
    DATA = "TW-QUERY-005", "The question met a value that it can't compute with",
        means: "A division by zero, a text that is no number, an overflow: the answer ends there.",
        expected: "Values that the expression can take.",
        fix: "Guard the expression: `NULLIF(x, 0)`, `TRY_CAST(x AS DOUBLE)`, a WHERE that leaves the value out.";
    DAMAGED_FILE = "TW-QUERY-006", "The question needs a file that is damaged",
        means: "The file is not what the chain says that was written. It was left in place.",
        expected: "The SHA-256 that the chain holds.",
        fix: "As TW-ARCHIVE-002.";
    MISSING_FILE = "TW-QUERY-007", "The question needs a file that is not there",
        means: "The chain names it. A compaction may just have replaced it; if it stays away, someone removed it.",
        expected: "Every file that the chain names.",
        fix: "Ask again; if it stays so, as TW-ARCHIVE-002.";
    STORE = "TW-QUERY-008", "The archive can't be read for the question",
        means: "Its store did not answer.",
        expected: "A store that answers.",
        fix: "As TW-ARCHIVE-001; then ask again.";
    STOPPED = "TW-QUERY-009", "The instance was stopped while the question ran",
        means: "The answer is cut.",
        expected: "An instance that runs until the answer is complete.",
        fix: "Ask again when it runs.";
    QUERY_BUG = "TW-QUERY-010", "The query engine failed",
        means: "A mistake of Tidewatch or of DataFusion, not of the question. The instance goes on.",
        expected: "That this message is never seen.",
        fix: "Report it with the question and the version.";
}
