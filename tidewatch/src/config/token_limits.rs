//! The sections `limits.tokens.NAME`: limits of one token alone, and which of them belongs to which token.

use std::collections::BTreeMap;
use std::sync::Arc;

use ingest::admission::{Limit, OwnLimits};

use super::layers::Layers;
use super::limits::take_limit;
use super::named::{self, TOKENS};
use super::texts::read_toml_key;

/// Longest name by which a token is told where its limits may be set, bytes; one that has no name, or a longer one, is told its id.
const NAME_BYTES_MAX: usize = 64;

/// The sections of limits that hold for one token alone, by their names: the id of a token, or the name that tokens were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenLimits(BTreeMap<String, Arc<OwnLimits>>);

impl TokenLimits {
    /// What a token has of its own: the section with its id, or else that with its name; where there is neither, nothing, and where it may be set.
    pub(crate) fn of(&self, id: &str, name: &str) -> Arc<OwnLimits> {
        let section = self.0.get(id).or_else(|| self.0.get(name));
        section.cloned().unwrap_or_else(|| {
            let told = match (1..=NAME_BYTES_MAX).contains(&name.len()) {
                true => name,
                false => id,
            };
            Arc::new(OwnLimits::new(named::join(TOKENS, told), []))
        })
    }

    /// All sections, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &OwnLimits)> {
        self.0.iter().map(|(name, own)| (name.as_str(), &**own))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Takes every section.
pub(super) fn take_token_limits(layers: &mut Layers) -> TokenLimits {
    let mut sections = BTreeMap::new();
    for written in layers.names(TOKENS) {
        let section = format!("{TOKENS}.{written}");
        let mut set = Vec::new();
        for limit in Limit::OF_SENDER {
            let path = format!("{section}.{}", limit.key());
            if layers.is_set(&path) {
                set.push((limit, take_limit(layers, &path, limit)));
            }
        }
        let own = Arc::new(OwnLimits::new(section, set));
        sections.insert(read_toml_key(&written), own);
    }
    TokenLimits(sections)
}
