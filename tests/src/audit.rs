//! The book of what was acknowledged, and its comparison with the archive by the auditor: a Python program that shares no code with the product.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::load::Load;
use crate::python;

/// Whether the auditor can be run here. If not, `test` is skipped, and said to be.
///
/// # Panics
/// If `TIDEWATCH_REQUIRE_PYTHON=1` and it can't.
pub fn is_available(test: &str) -> bool {
    match python::venv::interpreter() {
        Ok(_) => true,
        Err(why) => {
            crate::skip(
                test,
                &format!("Python with pyarrow ({why})"),
                "TIDEWATCH_REQUIRE_PYTHON",
            );
            false
        }
    }
}

/// What was acknowledged, written beside the data directory it was sent to.
#[derive(Debug)]
pub struct Book {
    acknowledged: PathBuf,
    archive: PathBuf,
    topic: String,
    plain_glob: bool,
    strict: bool,
}

impl Book {
    /// The book of a load that was sent to a program started below `directory`, with an archive of its own, and stopped cleanly:
    /// no file that does not count may be left.
    pub fn of(load: &Load, directory: &Path) -> Self {
        let archive = directory.join("data").join("archive");
        Book {
            plain_glob: true,
            ..Book::of_archive(load, directory, &archive, "tidewatch.samples")
        }
    }

    /// The book of a load that was sent to programs that share an archive; kept below `directory`.
    pub fn of_archive(load: &Load, directory: &Path, archive: &Path, topic: &str) -> Self {
        let acknowledged = directory.join("acknowledged.ndjson");
        load.write_acknowledged(&acknowledged);
        // Where everything was acknowledged in the end, nothing else may be there.
        let strict = load.unacknowledged_requests() == 0;
        Book {
            acknowledged,
            archive: archive.to_owned(),
            topic: topic.to_owned(),
            plain_glob: false,
            strict,
        }
    }

    /// Compares the archive with the book: every acknowledged sample once, rollups as recomputed, chain unbroken, counts balanced.
    ///
    /// # Panics
    /// With the auditor's report, if it finds anything.
    pub fn audit(&self, when: &str) {
        let interpreter = python::venv::interpreter()
            .unwrap_or_else(|why| panic!("the auditor needs Python with pyarrow: {why}"));
        let output = Command::new(interpreter)
            .args(["-m", "auditor", "--topic", &self.topic])
            .arg("--archive")
            .arg(&self.archive)
            .arg("--acked")
            .arg(&self.acknowledged)
            .args(self.strict.then_some("--strict"))
            .args(self.plain_glob.then_some("--plain-glob"))
            .current_dir(crate::repository().join("tests"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .expect("Python can be started");
        assert!(
            output.status.success(),
            "the auditor found {when}, in {}:\n{}{}",
            self.archive.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
