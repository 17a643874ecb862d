//! What texts in settings look like, and the words for it.

use toml::Value;

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
