//! What texts in settings look like, and the words for it.

use std::borrow::Cow;

use toml::{Table, Value};

/// What a name in Kafka looks like.
pub(super) const NAME: &str = "a name of 1 to 200 of the characters A-Z a-z 0-9 . _ -";

/// Whether a text can name a topic or a group.
pub(super) fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !name.starts_with('.')
}

/// What a list of brokers looks like.
pub(super) const BROKERS: &str = "`host:port`, separated by commas";

/// Whether a text lists brokers.
pub(super) fn are_brokers(brokers: &str) -> bool {
    !brokers.is_empty()
        && brokers.split(',').all(|broker| {
            broker
                .trim()
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        })
}

/// A value, as a message shows it.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text \"{text}\""),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Datetime(time) => format!("the time {time}"),
        Value::Array(_) => format!("the list {value}"),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// Where a name is like none of ours.
pub(super) const ALL_SETTINGS: &str = "`tidewatch config --template` names all that are valid";

/// Whether a name of a setting is another word than the nearest valid one, and no misspelling of it: more than half of it is different, its last part too.
pub(super) fn is_unlike(path: &str, nearest: &str) -> bool {
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned);
    last(path) != last(nearest)
        && 2 * strsim::damerau_levenshtein(path, nearest) > path.chars().count()
}

/// A key as TOML writes it: in quotes unless it is a bare one.
pub(super) fn toml_key(key: &str) -> Cow<'_, str> {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !key.is_empty() && key.bytes().all(is_bare) {
        return Cow::Borrowed(key);
    }
    let escaped = key.chars().map(|character| match character {
        '"' | '\\' => format!("\\{character}"),
        control if control.is_control() => format!("\\u{:04X}", u32::from(control)),
        other => other.to_string(),
    });
    Cow::Owned(format!("\"{}\"", escaped.collect::<String>()))
}

/// The key that [`toml_key`] wrote.
pub(super) fn read_toml_key(written: &str) -> String {
    let table = format!("{written} = 0").parse::<Table>();
    let key = table.ok().and_then(|table| table.into_iter().next());
    key.map_or_else(|| written.to_owned(), |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_as_it_was_written() {
        for (key, written) in [
            ("db-1_a", "db-1_a"),
            ("telegraf on db-1", "\"telegraf on db-1\""),
            ("a.b", "\"a.b\""),
            ("", "\"\""),
            ("say \"a\\b\"", "\"say \\\"a\\\\b\\\"\""),
            ("line\nend\u{7f}", "\"line\\u000Aend\\u007F\""),
            ("Größe", "\"Größe\""),
        ] {
            assert_eq!(toml_key(key), written);
            assert_eq!(read_toml_key(written), key);
        }
    }
}
