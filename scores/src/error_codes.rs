//! The codes of errors of this room: what a benchmark cannot read.

schemas::error_codes! {
    DATA = "TW-SCORE-001", "A benchmark's data cannot be read",
        means: "The data folder lacks a file of the benchmark, or a file is not of its format. Nothing was scored.",
        expected: "A folder with the files of the benchmark, in the form that docs/quality.md describes.",
        fix: "Name the right folder by `--data`; if a file is damaged, fetch the data set again.";
}
