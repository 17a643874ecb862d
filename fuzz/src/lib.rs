//! What the targets share with the test `hostile_input`: where bytes from outside enter, by name.

#[path = "../../tests/src/entries.rs"]
mod entries;

/// Gives bytes to an entry.
///
/// # Panics
/// If there is no such entry, or it can't bear the bytes: that is what is looked for.
pub fn run(name: &str, data: &[u8]) {
    let entry = entries::ENTRIES.iter().find(|entry| entry.name == name);
    let Some(entry) = entry else {
        panic!("no entry `{name}`")
    };
    (entry.run)(data);
}
