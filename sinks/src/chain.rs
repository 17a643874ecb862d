//! The chain of a partition: append-only links in the object store, each created if absent. It is the only truth about progress and files.
//!
//! Layout: `chain/<topic>/p00003/00000000000000000042.json`, one JSON [`Checkpoint`] each, and `base-….json`, a summary of all links up
//! to one of them, so that loading reads at most a few hundred links. A base is a cache: it is checked against its link and rebuilt if in doubt.
//!
//! Whoever creates the next link decides; a claim raises the epoch, and from then on the earlier owner's next create finds its place taken.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use schemas::checkpoint::CHECKPOINT_FORMAT;
use schemas::time::Micros;
use schemas::{
    ArchiveFile, Checkpoint, Counts, ErrorCode, Fault, HasCode, HasFault, LinkKind, NextOffset,
    SnapshotRef, Watermark,
};

use crate::archive::{Archive, ArchiveError, causes, chain_directory, checked_topic};

use crate::error_codes;
use state::{ChainState, link_path};

mod load;
mod state;
#[cfg(test)]
mod tests;
mod verify;

pub use load::{ChainView, list_partitions, load_chain, read_links};
pub use verify::verify_links;

/// A base is written every 256 links: loading reads at most that many links, and a base costs one write in 256.
const BASE_EVERY: u64 = 256;
/// Claims to try before giving up: each failure means that another owner claimed in between.
const CLAIM_ATTEMPTS: u32 = 16;
/// Attempts to create one link when the store's answers don't say whether it was created.
const CREATE_ATTEMPTS: u32 = 4;
/// Wait after the first unclear answer; doubled each time.
const CREATE_WAIT: Duration = Duration::from_millis(50);

/// What goes wrong with a chain, by what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The store is away, or did not say whether a link was created (outage: claim the partition again; that settles what was created).
    #[error("chain of partition {partition}: {detail}")]
    Outage {
        /// The partition.
        partition: u32,
        /// What happened.
        detail: String,
    },
    /// Another owner has the partition (fenced: stop this partition's task).
    #[error(
        "partition {partition} was taken over: link {sequence} belongs to epoch {epoch} (`{owner}`), ours is {ours}"
    )]
    Fenced {
        /// The partition.
        partition: u32,
        /// The place in the chain that was lost.
        sequence: u64,
        /// The winner's epoch.
        epoch: u64,
        /// The winner.
        owner: String,
        /// Our epoch.
        ours: u64,
    },
    /// A link is missing, damaged, or does not follow the one before (corruption: nothing was changed; restore the named object).
    #[error("chain link `{path}`: {detail}; nothing was changed, restore the object from a copy")]
    Corruption {
        /// The link.
        path: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// The chain belongs to another log, or the store can't keep a chain (bad configuration).
    #[error("{0}")]
    BadConfig(String),
    /// The new link would break the chain: a mistake of ours.
    #[error("chain of partition {partition}: refused to append: {detail}")]
    Bug {
        /// The partition.
        partition: u32,
        /// What is wrong with the link.
        detail: String,
    },
}

impl HasFault for ChainError {
    fn fault(&self) -> Fault {
        match self {
            ChainError::Outage { .. } => Fault::Outage,
            ChainError::Fenced { .. } => Fault::Fenced,
            ChainError::Corruption { .. } => Fault::Corruption,
            ChainError::BadConfig(_) => Fault::BadConfig,
            ChainError::Bug { .. } => Fault::Bug,
        }
    }
}

impl HasCode for ChainError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            ChainError::Outage { .. } => &error_codes::CHAIN_UNAVAILABLE,
            ChainError::Fenced { .. } => &error_codes::CHAIN_FENCED,
            ChainError::Corruption { .. } => &error_codes::CHAIN_DAMAGED,
            ChainError::BadConfig(_) => &error_codes::CHAIN_SETTINGS,
            ChainError::Bug { .. } => &error_codes::CHAIN_BUG,
        }
    }
}

impl ChainError {
    fn from_archive(partition: u32, error: ArchiveError) -> Self {
        match error {
            ArchiveError::BadConfig(detail) => ChainError::BadConfig(detail),
            ArchiveError::Corruption { path, detail } => ChainError::Corruption { path, detail },
            error => ChainError::Outage {
                partition,
                detail: error.to_string(),
            },
        }
    }

    fn from_store(
        partition: u32,
        action: &'static str,
        path: &str,
        error: object_store::Error,
    ) -> Self {
        Self::from_archive(partition, ArchiveError::from_store(action, path, error))
    }
}

/// What an owner appends. The rest of the [`Checkpoint`] (sequence, epoch, start, previous hash) follows from the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLink {
    /// `Commit` or `Compaction`; claims are made by [`Chain::claim`].
    pub kind: LinkKind,
    /// End of what is covered (exclusive); of a compaction, the chain's end.
    pub end: NextOffset,
    /// Files that become part of the archive.
    pub added: Vec<ArchiveFile>,
    /// Paths of files that cease to be part of it.
    pub removed: Vec<String>,
    /// What became of the samples; zero for a compaction.
    pub counts: Counts,
    /// Event time up to which windows are sealed.
    pub watermark: Watermark,
    /// Latest append time seen, microseconds.
    pub log_clock: Micros,
    /// The newest saved state; `None` keeps the one that the chain has.
    pub snapshot: Option<SnapshotRef>,
}

/// An owner's hold on a partition's chain. There may be several at a time; only the one that claimed last can append.
#[derive(Debug)]
pub struct Chain {
    archive: Archive,
    topic: String,
    state: ChainState,
    last: Checkpoint,
    owner: String,
    /// A link whose fate the store did not tell.
    unclear: Option<Vec<u8>>,
}

impl Chain {
    /// Loads and checks the chain, then appends a claim with a higher epoch: from now on every earlier owner's append fails.
    ///
    /// The first claim of a partition starts its chain at offset 0. `owner` is for people; a random part is added, so that two
    /// processes of the same name are still told apart.
    ///
    /// # Errors
    /// `BadConfig` if the chain belongs to another log or topic, or the store can't create if absent. `Corruption` if a link is missing or
    /// damaged. `Outage`: try again. `Fenced` if others keep claiming.
    pub async fn claim(
        archive: &Archive,
        topic: &str,
        partition: u32,
        log_id: &str,
        owner: &str,
    ) -> Result<Chain, ChainError> {
        let nonce = nonce();
        archive
            .probe(&nonce)
            .await
            .map_err(|error| ChainError::from_archive(partition, error))?;
        refuse_other_topics(archive, topic, partition).await?;
        let owner = format!("{owner}/{nonce}");
        let mut lost = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let loaded = load::load(archive, topic, partition).await?;
            let since_base = loaded
                .as_ref()
                .map_or(0, |loaded| loaded.links.len() as u64);
            let (state, previous) = match loaded {
                Some(loaded) => (loaded.state, loaded.links.into_iter().next_back()),
                None => (ChainState::empty(partition), None),
            };
            if let Some(previous) = &previous
                && previous.log_id != log_id
            {
                return Err(ChainError::BadConfig(format!(
                    "partition {partition} of `{topic}`: the archive {} was filled from log `{}`, this log is `{log_id}`; offsets of one mean nothing in the other. \
                     Point `archive.url` at an empty archive, or restore the old log",
                    archive.url(),
                    previous.log_id
                )));
            }
            let claim = Checkpoint {
                format: CHECKPOINT_FORMAT,
                log_id: log_id.to_owned(),
                partition,
                sequence: state.next_sequence,
                epoch: state.epoch + 1,
                owner: owner.clone(),
                kind: LinkKind::Claim,
                start: state.end,
                end: state.end,
                added: Vec::new(),
                removed: Vec::new(),
                counts: Counts::default(),
                watermark: previous
                    .as_ref()
                    .map_or(Watermark::START, |link| link.watermark),
                log_clock: previous.as_ref().map_or(0, |link| link.log_clock),
                snapshot: previous.as_ref().and_then(|link| link.snapshot.clone()),
                previous: state.hash.clone(),
            };
            let bytes = claim.encode();
            let mut chain = Chain {
                archive: archive.clone(),
                topic: topic.to_owned(),
                state,
                last: claim.clone(),
                owner: owner.clone(),
                unclear: None,
            };
            match chain.create(&claim, &bytes).await {
                Ok(()) => {
                    chain.adopt(claim, &bytes)?;
                    if since_base > BASE_EVERY {
                        chain.write_base().await;
                    }
                    return Ok(chain);
                }
                Err(error @ ChainError::Fenced { .. }) => lost = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(lost.unwrap_or_else(|| ChainError::Outage {
            partition,
            detail: "no claim was attempted".into(),
        }))
    }

    /// Appends one link. When it returns, the link is durable, and its files are the archive's.
    ///
    /// # Errors
    /// `Fenced` if another owner took the partition. `Outage` if the store did not answer: the same link may be appended again; for any
    /// other, claim again first. `Bug` if the link would break the chain (nothing was written).
    pub async fn append(&mut self, link: NewLink) -> Result<(), ChainError> {
        let partition = self.state.partition;
        let link = Checkpoint {
            format: CHECKPOINT_FORMAT,
            log_id: self.last.log_id.clone(),
            partition,
            sequence: self.state.next_sequence,
            epoch: self.state.epoch,
            owner: self.owner.clone(),
            kind: link.kind,
            start: self.state.end,
            end: link.end,
            added: link.added,
            removed: link.removed,
            counts: link.counts,
            watermark: link.watermark,
            log_clock: link.log_clock,
            snapshot: link.snapshot.or_else(|| self.last.snapshot.clone()),
            previous: self.state.hash.clone(),
        };
        if link.kind == LinkKind::Claim {
            return Err(ChainError::Bug {
                partition,
                detail: "a claim is made by Chain::claim".into(),
            });
        }
        let bytes = link.encode();
        self.state
            .check(&link)
            .map_err(|detail| ChainError::Bug { partition, detail })?;
        if self
            .unclear
            .as_ref()
            .is_some_and(|unclear| *unclear != bytes)
        {
            return Err(ChainError::Outage {
                partition,
                detail: "the fate of an earlier link is not known; claim the partition again"
                    .into(),
            });
        }
        match self.create(&link, &bytes).await {
            Ok(()) => {
                self.unclear = None;
                self.adopt(link, &bytes)?;
                if self.state.next_sequence.is_multiple_of(BASE_EVERY) {
                    self.write_base().await;
                }
                Ok(())
            }
            Err(error) => {
                if error.fault() == Fault::Outage {
                    self.unclear = Some(bytes);
                }
                Err(error)
            }
        }
    }

    /// The epoch of this owner.
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// The offset up to which the log is covered.
    pub fn end(&self) -> NextOffset {
        self.state.end
    }

    /// The newest link.
    pub fn last(&self) -> &Checkpoint {
        &self.last
    }

    /// The files of the archive that belong to this partition.
    pub fn files(&self) -> &Arc<Vec<ArchiveFile>> {
        &self.state.files
    }

    /// The newest saved state.
    pub fn snapshot(&self) -> Option<&SnapshotRef> {
        self.last.snapshot.as_ref()
    }

    /// Creates the link's object, or finds out that it was created: an answer that leaves it open is settled by reading back.
    async fn create(&self, link: &Checkpoint, bytes: &[u8]) -> Result<(), ChainError> {
        let partition = self.state.partition;
        let path = link_path(&self.topic, partition, link.sequence)
            .map_err(|error| ChainError::from_archive(partition, error))?;
        let location = Path::from(path.as_str());
        let store = self.archive.store();
        let mut unclear = String::new();
        for attempt in 0..CREATE_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(CREATE_WAIT * 2u32.pow(attempt - 1)).await;
            }
            let error = match store
                .put_opts(&location, bytes.to_vec().into(), PutMode::Create.into())
                .await
            {
                Ok(_) => return Ok(()),
                Err(
                    error @ (object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. }),
                ) => {
                    return Err(ChainError::from_store(partition, "writing", &path, error));
                }
                Err(error) => error,
            };
            unclear = causes(&error);
            match read_object(store.as_ref(), &location).await {
                Ok(Some(found)) if found == bytes => return Ok(()),
                Ok(Some(found)) => {
                    let winner =
                        Checkpoint::decode(&found).map_err(|detail| ChainError::Corruption {
                            path: path.clone(),
                            detail,
                        })?;
                    return Err(ChainError::Fenced {
                        partition,
                        sequence: link.sequence,
                        epoch: winner.epoch,
                        owner: winner.owner,
                        ours: link.epoch,
                    });
                }
                // Not there yet: a delayed write of ours may still arrive, so the same bytes are sent again.
                Ok(None) => {}
                Err(error) => unclear = format!("{unclear}; reading back: {}", causes(&error)),
            }
        }
        Err(ChainError::Outage {
            partition,
            detail: format!("`{path}` could not be written: {unclear}"),
        })
    }

    /// Takes a created link into the state.
    fn adopt(&mut self, link: Checkpoint, bytes: &[u8]) -> Result<(), ChainError> {
        self.state
            .apply(&link, bytes)
            .map_err(|detail| ChainError::Bug {
                partition: self.state.partition,
                detail,
            })?;
        self.last = link;
        Ok(())
    }

    /// Writes a base at the newest link. A failure costs time at the next load, nothing else.
    async fn write_base(&self) {
        if let Err(error) = load::write_base(&self.archive, &self.topic, &self.state).await {
            tracing::warn!(partition = self.state.partition, %error, "the chain's base could not be written");
        }
    }
}

/// Tells apart what two processes write at the same time. The standard library seeds its hashers from the system's randomness.
pub(crate) fn nonce() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// An archive holds one topic's samples: two topics would name their files alike, and one's sweep would remove the other's.
async fn refuse_other_topics(
    archive: &Archive,
    topic: &str,
    partition: u32,
) -> Result<(), ChainError> {
    checked_topic(topic).map_err(|error| ChainError::from_archive(partition, error))?;
    let listed = match archive
        .store()
        .list_with_delimiter(Some(&Path::from("chain")))
        .await
    {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(ChainError::from_store(partition, "listing", "chain", error)),
    };
    match listed
        .common_prefixes
        .iter()
        .find_map(|prefix| prefix.filename().filter(|name| *name != topic))
    {
        Some(other) => Err(ChainError::BadConfig(format!(
            "the archive {} belongs to topic `{other}`, this one is `{topic}`; point `archive.url` at another place",
            archive.url()
        ))),
        None => Ok(()),
    }
}

/// The bytes of an object; `None` if there is none.
async fn read_object(
    store: &dyn ObjectStore,
    location: &Path,
) -> Result<Option<Vec<u8>>, object_store::Error> {
    match store.get(location).await {
        Ok(found) => Ok(Some(found.bytes().await?.into())),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of the objects below a directory that come after an offset, sorted.
async fn names_after(
    store: &dyn ObjectStore,
    directory: &str,
    offset: &str,
) -> Result<Vec<String>, object_store::Error> {
    let offset = Path::from(format!("{directory}/{offset}"));
    let listing = store.list_with_offset(Some(&Path::from(directory)), &offset);
    let mut names: Vec<String> = match listing
        .map_ok(|meta| meta.location.filename().unwrap_or_default().to_owned())
        .try_collect()
        .await
    {
        Ok(names) => names,
        Err(object_store::Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    names.sort_unstable();
    Ok(names)
}
