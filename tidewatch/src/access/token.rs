//! A token: a public id, by which it is found and revoked, and a secret of 32 random bytes, of which only a hash is kept.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every token begins with, so that scanners for leaked secrets can know it.
const PREFIX: &str = "tw_";
/// Bytes of the id. 4: hundreds of tokens, not billions.
const ID_BYTES: usize = 4;
/// Bytes of the secret. 32: nobody guesses it, so a fast hash without salt keeps it.
const SECRET_BYTES: usize = 32;

/// A token, as its owner has it: `tw_` id `_` secret, both hexadecimal.
#[derive(Clone)]
pub(crate) struct Token {
    id: String,
    hash: [u8; 32],
}

/// A new token with the text that is shown once.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) token: Token,
    pub(crate) text: String,
}

impl Token {
    /// A new one from the operating system's randomness.
    pub(crate) fn issue() -> Result<Issued, getrandom::Error> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut random)?;
        let (id, secret) = random.split_at(ID_BYTES);
        let id = hex::encode(id);
        let text = format!("{PREFIX}{id}_{}", hex::encode(secret));
        let token = Token {
            id,
            hash: hash(&text),
        };
        Ok(Issued { token, text })
    }

    /// Reads a token; `None` if it is not one of ours.
    pub(crate) fn parse(text: &str) -> Option<Token> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_hex = |text: &str, bytes: usize| {
            text.len() == 2 * bytes && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then(|| Token {
            id: id.to_owned(),
            hash: hash(text),
        })
    }

    /// By which it is found: 8 hexadecimal digits, no secret.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the whole text, hexadecimal: what is kept.
    pub(crate) fn hash_text(&self) -> String {
        hex::encode(self.hash)
    }

    /// Whether it is the token of this hash. Takes as long for a wrong one as for the right one.
    pub(crate) fn has_hash(&self, hash: &[u8; 32]) -> bool {
        self.hash.ct_eq(hash).into()
    }

    /// Whether both are the same. Takes as long for a wrong one as for the right one.
    pub(crate) fn equals(&self, other: &Token) -> bool {
        self.has_hash(&other.hash)
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The id alone: a token must never reach a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({PREFIX}{}_…)", self.id)
    }
}
