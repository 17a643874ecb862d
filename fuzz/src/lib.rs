//! What the targets share with the test `hostile_input`: where bytes from outside enter, by name.

use std::sync::Once;

#[path = "../../tests/src/entries.rs"]
mod entries;

/// Gives bytes to an entry.
///
/// # Panics
/// If there is no such entry, or it can't bear the bytes: that is what is looked for.
pub fn run(name: &str, data: &[u8]) {
    // After libFuzzer's own hook, which ends the process at any panic: also at those by which Arrow says that it can't read something.
    static QUIET: Once = Once::new();
    QUIET.call_once(schemas::quiet_expected_panics);
    let entry = entries::ENTRIES.iter().find(|entry| entry.name == name);
    let Some(entry) = entry else {
        panic!("no entry `{name}`")
    };
    (entry.run)(data);
}
