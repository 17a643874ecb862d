//! Limits of single tokens: whether each belongs to a token that is there.

use jiff::Timestamp;

use super::report::Check;
use crate::access::{Registry, sections_without_token};
use crate::config::Config;
use crate::stores;

/// Nothing where no token has limits of its own.
pub(super) fn limits(config: &Config) -> Option<Check> {
    const NAME: &str = "limits of tokens";
    if config.token_limits.is_empty() {
        return None;
    }
    let tokens = match Registry::open(&stores::tokens_file(config)) {
        Ok(registry) => registry.entries(),
        Err(error) => return Some(Check::failed(NAME, &error)),
    };
    let without = sections_without_token(&config.token_limits, &tokens, Timestamp::now());
    let count = config.token_limits.iter().count();
    Some(match without.is_empty() {
        true => Check::ok(
            NAME,
            format!("each of the {count} sections belongs to a valid token"),
        ),
        false => Check::warning(
            NAME,
            format!(
                "no valid token has the id or name of `[{}]`",
                without.join("]`, `[")
            ),
            "correct the name, which `tidewatch token list` shows, or make the token by `tidewatch token create --name NAME`",
        ),
    })
}
