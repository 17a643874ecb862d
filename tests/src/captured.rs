//! What real agents sent, kept byte for byte beside the samples that it holds: written by `cargo xtask agents --capture`, read by the test `captured`.

use std::fs;
use std::path::PathBuf;

use crate::samples::Sample;

/// `1`: tests of real agents write down what these sent.
const CAPTURE: &str = "TIDEWATCH_TEST_CAPTURE";

/// Where it is kept.
pub fn directory() -> PathBuf {
    crate::repository().join("tests/captured")
}

/// Whether it is to be written down.
pub fn is_asked() -> bool {
    std::env::var(CAPTURE).as_deref() == Ok("1")
}

/// Keeps bytes as `name.kind` and their samples, a line of JSON each, as `name.samples`; nothing unless it is asked for.
///
/// # Panics
/// If it can't be written.
pub fn keep(name: &str, kind: &str, bytes: &[u8], samples: &[Sample]) {
    if !is_asked() {
        return;
    }
    let mut samples = samples.to_vec();
    samples.sort();
    let lines: String = samples.iter().map(|sample| sample.line() + "\n").collect();
    let directory = directory();
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join(format!("{name}.{kind}")), bytes).expect("a file");
    fs::write(directory.join(format!("{name}.samples")), lines).expect("a file");
}

/// Keeps a decoder's input among the corpus of its entry; nothing unless it is asked for.
///
/// # Panics
/// If it can't be written.
pub fn keep_for_fuzzing(entry: &str, name: &str, input: &[u8]) {
    if is_asked() {
        let corpus = crate::repository().join("fuzz/corpus").join(entry);
        fs::create_dir_all(&corpus).expect("a directory");
        fs::write(corpus.join(name), input).expect("a file");
    }
}

/// The samples that are kept as `name.samples`.
///
/// # Panics
/// If there are none.
pub fn samples(name: &str) -> Vec<Sample> {
    let path = directory().join(format!("{name}.samples"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = text.lines();
    lines
        .map(|line| Sample::of(&serde_json::from_str(line).expect("a line of JSON")))
        .collect()
}
