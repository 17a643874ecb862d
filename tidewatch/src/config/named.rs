//! Sections that hold further ones under names of the user's own, each with the same keys: their paths, and where a value stands that they leave out.
//!
//! `sources.kafka.NAME.topics` is `sources.kafka.topics` for the source NAME, and `limits.tokens.NAME.series_max` is `limits.sender.series_max` for the token NAME.
//! A name that is no bare key of TOML stands in a path as it would in a file: `limits.tokens."telegraf on db-1".series_max`.

use ingest::admission::Limit;

use super::texts::toml_key;

/// The sections that hold named ones.
pub(super) const SECTIONS: [&str; 2] = ["sources.kafka", TOKENS];
/// That of limits of one token alone.
pub(super) const TOKENS: &str = "limits.tokens";

/// The section, the name and the key of a path below a named section.
pub(super) fn parts(path: &str) -> Option<(&'static str, &str, &str)> {
    SECTIONS.into_iter().find_map(|section| {
        let rest = below(path, section)?;
        let (name, key) = match rest.starts_with('"') {
            true => rest.rsplit_once('.')?,
            false => rest.split_once('.')?,
        };
        Some((section, name, key))
    })
}

/// Whether a path stands right below a section that holds named ones.
pub(super) fn is_right_below(path: &str) -> bool {
    SECTIONS.into_iter().any(|section| {
        below(path, section).is_some_and(|name| match name.starts_with('"') {
            true => name.len() > 1 && name.ends_with('"'),
            false => !name.contains('.'),
        })
    })
}

fn below<'a>(path: &'a str, section: &str) -> Option<&'a str> {
    path.strip_prefix(section)?.strip_prefix('.')
}

/// The path of a key in a section.
pub(super) fn join(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        section if SECTIONS.contains(&section) => format!("{section}.{}", toml_key(key)),
        section => format!("{section}.{key}"),
    }
}

/// The path whose default holds for a path.
pub(super) fn general(path: &str) -> String {
    let Some((section, _, key)) = parts(path) else {
        return path.to_owned();
    };
    let of_token = |limit: &Limit| section == TOKENS && limit.key() == key;
    match Limit::OF_SENDER.into_iter().find(of_token) {
        Some(limit) => limit.setting().to_owned(),
        None => format!("{section}.{key}"),
    }
}

/// What a key of a named section may be, besides the keys of the section that holds it: paths without the name.
pub(super) fn further_keys(path: &str) -> Vec<String> {
    match parts(path) {
        Some((TOKENS, _, _)) => Limit::OF_SENDER
            .map(|limit| format!("{TOKENS}.{}", limit.key()))
            .to_vec(),
        _ => Vec::new(),
    }
}

/// What is meant by a path that is none, where its place tells that better than the path that is nearest to it.
pub(super) fn meant(path: &str, is_table: bool) -> Option<String> {
    match parts(path) {
        None if !is_table && below(path, TOKENS).is_some() => Some(format!(
            "each token has a section of its own, `[{TOKENS}.NAME]`"
        )),
        Some((TOKENS, name, rest)) if is_table && !name.starts_with('"') => Some(format!(
            "a name with dots stands in quotes: `[{TOKENS}.\"{name}.{rest}\"]`"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_ends_others() {
        for (path, expected) in [
            (
                "sources.kafka.a.topics",
                Some(("sources.kafka", "a", "topics")),
            ),
            ("sources.kafka.a.b.c", Some(("sources.kafka", "a", "b.c"))),
            ("sources.kafka.topics", None),
            ("limits.tokens.a.body_max", Some((TOKENS, "a", "body_max"))),
            (
                "limits.tokens.\"db.b c\".x",
                Some((TOKENS, "\"db.b c\"", "x")),
            ),
            ("limits.tokens", None),
            ("limits.tokensa.b", None),
        ] {
            assert_eq!(parts(path), expected, "{path}");
        }
        for (path, expected) in [
            ("limits.tokens.a", true),
            ("limits.tokens.\"a.b\"", true),
            ("limits.tokens.\"a.b\".c", false),
            ("limits.tokens.a.b", false),
            ("limits.tokens.\"", false),
            ("limits.tokens", false),
            ("limits.sender.a", false),
        ] {
            assert_eq!(is_right_below(path), expected, "{path}");
        }
        assert_eq!(join("limits.tokens", "a.b"), "limits.tokens.\"a.b\"");
        assert_eq!(join("bus.settings", "a.b"), "bus.settings.a.b");
    }

    #[test]
    fn what_a_token_leaves_out_is_inherited() {
        for (path, expected) in [
            ("limits.tokens.a.series_max", "limits.sender.series_max"),
            ("limits.tokens.a.samples_max", "limits.samples_max"),
            ("limits.tokens.a.values_max", "limits.tokens.values_max"),
            ("sources.kafka.a.start", "sources.kafka.start"),
            ("limits.series_max", "limits.series_max"),
        ] {
            assert_eq!(general(path), expected, "{path}");
        }
    }
}
