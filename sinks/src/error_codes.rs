//! The codes of errors of this room: what can go wrong with the archive, its chain and the aggregate store.

schemas::error_codes! {
    ARCHIVE_UNAVAILABLE = "TW-ARCHIVE-001", "The archive's store does not answer, or is full",
        means: "A file could not be read, written or listed. Nothing was committed; the log keeps the samples, and the partition tries again by itself.",
        expected: "A store that answers and has room.",
        fix: "Look at the disk, or at the object store and the network to it (settings `archive.url`, `archive.options`). `tidewatch doctor` writes a probe object.";
    ARCHIVE_DAMAGED = "TW-ARCHIVE-002", "A file of the archive is damaged or missing",
        means: "It is not what the chain says that was written. It was left in place; questions that need it fail, everything else goes on. Of a saved state (below `snapshots`): the partition that would start from it is stopped.",
        expected: "The size and the SHA-256 that the chain holds.",
        fix: "Put an intact copy in its place: from a backup, a replica, or an older version of the bucket's object. Until then, leave it out of questions by a narrower `time` or `metric`. A saved state that has no copy is made anew from the archive by one start with `tidewatch run --rebuild-damaged-states`; no sample and no rollup is lost by that.";
    ARCHIVE_SETTINGS = "TW-ARCHIVE-003", "The archive's address or rights are wrong",
        means: "The archive can't be opened, or does not let us read or write. Nothing was changed; a partition that is refused tries again by itself.",
        expected: "A directory that this user can write to, or a bucket whose credentials may read, write, list and delete.",
        fix: "Correct `archive.url` and `archive.options` and start again, or grant the rights: then partitions go on by themselves. A clock that is wrong by minutes makes S3 refuse, too.";
    ARCHIVE_BUG = "TW-ARCHIVE-004", "The archive could not be written by a mistake of Tidewatch",
        means: "Rows did not fit their columns, or a task died. Nothing was committed; the samples are in the log.",
        expected: "That this message is never seen.",
        fix: "Report it with the message, the version and the log around it.";
    CHAIN_UNAVAILABLE = "TW-CHAIN-001", "The checkpoint chain can't be read or written now",
        means: "The store did not say whether a link was written. The partition claims its chain again, which settles it; nothing is lost.",
        expected: "A store that answers.",
        fix: "Look at the disk, or at the object store and the network to it (settings `archive.url`, `archive.options`). `tidewatch doctor` writes a probe object.";
    CHAIN_FENCED = "TW-CHAIN-002", "Another owner has claimed the partition",
        means: "A link of a higher epoch took the place of ours: the partition belongs to another process now, and ours has stopped it. Nothing is lost or written twice.",
        expected: "Nothing: this is how a partition moves.",
        fix: "Nothing, unless two processes take it from each other: then both use one archive with different logs or groups; give each its own `archive.url`.";
    CHAIN_DAMAGED = "TW-CHAIN-003", "A link of the checkpoint chain is missing or damaged",
        means: "What the archive holds can't be told without it. Nothing was changed; the partition has stopped, and questions about it fail.",
        expected: "Links numbered without a gap, each with the hash of the one before.",
        fix: "Restore the object that the message names from a copy or an older version of the bucket's object. Never number links anew. `tidewatch doctor` checks the whole chain.";
    CHAIN_SETTINGS = "TW-CHAIN-004", "The archive belongs to another log or topic, or can't hold a chain",
        means: "Offsets of one log mean nothing in another, so nothing was written.",
        expected: "An archive that was filled from this log and this topic, on a store that creates objects only if they are absent.",
        fix: "Point `archive.url` at the archive of this log, or at an empty place; or restore the log.";
    CHAIN_BUG = "TW-CHAIN-005", "A link would have broken the chain",
        means: "It was not written. The partition has stopped; its samples are in the log.",
        expected: "That this message is never seen.",
        fix: "Report it with the message, the version and the log around it.";
    STORE_UNAVAILABLE = "TW-STORE-001", "The aggregate store can't be read or written",
        means: "Its disk is full or failing. What it holds is computed again from log and archive; nothing is lost.",
        expected: "A disk that works and has room.",
        fix: "Free some space. A store that stays broken can be deleted while nothing runs (directory `aggregates` of the data directory): it fills again.";
    STORE_DAMAGED = "TW-STORE-002", "A block of the aggregate store is damaged",
        means: "It was left in place and is skipped: answers come from the archive, and may lack rollups of the last minutes.",
        expected: "The bytes that were written.",
        fix: "Check the disk; then delete the directory `aggregates` of the data directory while nothing runs: it fills again.";
    STORE_SETTINGS = "TW-STORE-003", "The aggregate store can't be opened",
        means: "Another process has it open, or this user may not use its directory.",
        expected: "A data directory of its own for each process.",
        fix: "Stop the other process, or give this one another `--data-dir`.";
    STORE_BUG = "TW-STORE-004", "The aggregate store was used wrongly, a mistake of Tidewatch",
        means: "The rows were not stored; they are in the archive.",
        expected: "That this message is never seen.",
        fix: "Report it with the message, the version and the log around it.";
}
