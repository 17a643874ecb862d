//! The file of tokens: a hash each, with name, scopes and dates. A running instance notices within a second that it has changed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Scope, Token};
use crate::error_codes;

/// How long what was read is believed. 1 s: a revoked token is dead that soon, and a request costs no look at the disk.
const BELIEVED: Duration = Duration::from_secs(1);
/// Version of the file's form.
const VERSION: u32 = 1;
/// Largest file that is read, bytes: a hundred thousand tokens.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// A token, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its public part, 8 hexadecimal digits.
    pub(crate) id: String,
    /// What it is for, in its maker's words.
    pub(crate) name: String,
    /// What it may be used for.
    pub(crate) scopes: Vec<Scope>,
    /// SHA-256 of the token's text, hexadecimal.
    pub(crate) sha256: String,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// When it ends; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Timestamp>,
}

impl Entry {
    /// Whether it may be used for what `scope` allows.
    pub(crate) fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether it has neither ended nor been revoked.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| expires > now)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    tokens: Vec<Entry>,
}

/// The file of tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("the file of tokens `{}`: {cause}; setting `access.tokens_file` says where it is", path.display())]
    Io { path: PathBuf, cause: io::Error },
    #[error(
        "the file of tokens `{}` is damaged: expected what `tidewatch token create` writes (version {VERSION}), found {found}; restore it, or remove it and make new tokens", path.display()
    )]
    Damaged { path: PathBuf, found: String },
    #[error("no token has the id `{id}`; `tidewatch token list` names those that are")]
    NoSuchToken { id: String },
}

impl HasFault for RegistryError {
    fn fault(&self) -> Fault {
        match self {
            RegistryError::Io { .. } => Fault::Outage,
            RegistryError::Damaged { .. } => Fault::BadConfig,
            RegistryError::NoSuchToken { .. } => Fault::BadInput,
        }
    }
}

impl HasCode for RegistryError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            RegistryError::NoSuchToken { .. } => &error_codes::TOKEN,
            RegistryError::Io { .. } | RegistryError::Damaged { .. } => &error_codes::TOKENS_FILE,
        }
    }
}

/// What tells one state of the file from another: modification time, length, inode. `None`: there is no file.
type Stamp = Option<(i64, i64, u64, u64)>;

#[derive(Debug)]
struct Known {
    looked: Instant,
    stamp: Stamp,
    entries: BTreeMap<String, Entry>,
}

/// The tokens that are known.
#[derive(Debug)]
pub(crate) struct Registry {
    path: PathBuf,
    known: Mutex<Known>,
}

impl Registry {
    /// Reads the file. One that is not there holds no tokens.
    pub(crate) fn open(path: &Path) -> Result<Registry, RegistryError> {
        let stamp = stamp(path);
        Ok(Registry {
            path: path.to_owned(),
            known: Mutex::new(Known {
                looked: Instant::now(),
                stamp,
                entries: by_id(read(path)?),
            }),
        })
    }

    /// All tokens, by id.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entries.values().cloned().collect()
    }

    /// The entry of a token, if its secret is right too.
    pub(crate) fn find(&self, token: &Token) -> Option<Entry> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.elapsed() >= BELIEVED {
            known.looked = Instant::now();
            let stamp = stamp(&self.path);
            if stamp != known.stamp {
                match read(&self.path) {
                    Ok(entries) => (known.entries, known.stamp) = (by_id(entries), stamp),
                    // What was true stays true until somebody mends the file: shutting every agent out would mend nothing.
                    Err(error) => {
                        warn!(code = error.code().id, %error, "the tokens known so far are kept");
                    }
                }
            }
        }
        let entry = known.entries.get(token.id());
        let mut hash = [0; 32];
        let readable =
            entry.is_some_and(|entry| hex::decode_to_slice(&entry.sha256, &mut hash).is_ok());
        // An id that is not there takes as long as one that is.
        let right = token.has_hash(&hash);
        entry.filter(|_| readable && right).cloned()
    }

    /// Changes the file under its lock, so that two who change it at once both count.
    pub(crate) fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Vec<Entry>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let failed = |cause| RegistryError::Io {
            path: path.to_owned(),
            cause,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.with_extension("lock"))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut entries = read(path)?;
        let done = change(&mut entries)?;
        let contents = Contents {
            version: VERSION,
            tokens: entries,
        };
        let mut text = serde_json::to_vec_pretty(&contents)
            .map_err(|error| failed(io::Error::other(error)))?;
        text.push(b'\n');
        write_private(path, &text).map_err(failed)?;
        Ok(done)
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    // One that a crash left may have had other rights.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    Some((about.mtime(), about.mtime_nsec(), about.len(), about.ino()))
}

fn by_id(entries: Vec<Entry>) -> BTreeMap<String, Entry> {
    entries
        .into_iter()
        .map(|entry| (entry.id.clone(), entry))
        .collect()
}

fn read(path: &Path) -> Result<Vec<Entry>, RegistryError> {
    let failed = |cause| RegistryError::Io {
        path: path.to_owned(),
        cause,
    };
    let damaged = |found: String| RegistryError::Damaged {
        path: path.to_owned(),
        found,
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
        Ok(about) if about.len() > FILE_BYTES_MAX => {
            return Err(damaged(format!("{} bytes", about.len())));
        }
        Ok(_) => {}
    }
    let text = fs::read(path).map_err(failed)?;
    let contents: Contents =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if contents.version != VERSION {
        return Err(damaged(format!("version {}", contents.version)));
    }
    for entry in &contents.tokens {
        if entry.sha256.len() != 64 || hex::decode(&entry.sha256).is_err() {
            return Err(damaged(format!(
                "a token `{}` whose sha256 is not 64 hexadecimal digits",
                entry.id
            )));
        }
    }
    Ok(contents.tokens)
}
