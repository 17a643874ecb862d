//! The defaults as a file to start from: every key with its meaning, commented out.

/// Every setting with its meaning and default, each line of a setting commented out by a `#` without a space. Used as it is, it changes nothing.
pub fn template() -> String {
    let mut text = String::from(
        "# A file to start from: every setting with its default. Remove the `#` in front of what you change, then try it:\n\
         # tidewatch check --config FILE\n#\n",
    );
    for line in super::DEFAULTS.lines() {
        // Section heads stay: a key that is uncommented must not land in another section.
        if !(line.is_empty() || line.starts_with('#') || line.starts_with('[')) {
            text.push('#');
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}
