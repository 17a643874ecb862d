//! The codes of errors of this room: what a record of samples can have wrong.

crate::error_codes! {
    RECORD_FORMAT = "TW-RECORD-001", "A record is no batch of samples",
        means: "The record's bytes are not the columns that docs/record-format.md describes. It went to the dead letters with its bytes; the partition goes on.",
        expected: "One Arrow IPC stream with one batch of the columns metric, labels, kind, time and value.",
        fix: "Look at the record in the table `dead_letters` and at the program that wrote it; docs/record-format.md has a page of Python that writes one.";
    RECORD_CONTENT = "TW-RECORD-002", "A record holds samples that are none",
        means: "The columns are right, but a metric name, a label set or a kind in them can't be. The whole record went to the dead letters.",
        expected: "Metric names and labels within their limits, at most 65,536 samples, kinds 0 or 1.",
        fix: "Correct the program that wrote it; then produce the record again from the table `dead_letters`.";
    RECORD_GUESTS = "TW-RECORD-003", "A record about siblings is damaged",
        means: "A record by which one partition tells another of siblings (`guests/1`, `verdict/1`) is not what docs/record-format.md describes. It went to the dead letters: those siblings are not compared in that minute, or an event is not told; no sample is touched.",
        expected: "What a partition of this installation wrote, by this version or one near it.",
        fix: "Look for another program that writes to the topic of samples with these headers, and run one version of tidewatch on all processes of the group.";
}
