//! Where tests find data sets, which stand outside the repository.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of a data set: `name` in `TIDEWATCH_DATA`, or in `../shared/data` beside the repository. Without it the test is skipped, loudly.
///
/// # Panics
/// If it isn't there and `TIDEWATCH_REQUIRE_DATA` is `1`.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let data = std::env::var_os("TIDEWATCH_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = data.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("TIDEWATCH_REQUIRE_DATA").as_deref() != Ok("1"),
        "{} is not a folder, and TIDEWATCH_REQUIRE_DATA=1 forbids to skip it",
        folder.display()
    );
    // Past the capture of the test runner, which hides what a passing test prints.
    let _unheard = writeln!(
        std::io::stderr(),
        "SKIPPED: needs the data set {}",
        folder.display()
    );
    None
}
