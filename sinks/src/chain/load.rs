//! Reads a chain back: from the newest good base, or from the first link; every link is checked against the one before.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use schemas::{ArchiveFile, Checkpoint, NextOffset, SnapshotRef};

use super::state::{ChainState, base_name, base_sequence_of, link_name, sequence_of};
use super::{ChainError, chain_directory, checked_topic, names_after, read_object};
use crate::archive::Archive;
use crate::archive::ArchiveError;

/// Links fetched at a time: hides an object store's latency, holds a few MB.
const FETCHED_AT_ONCE: usize = 16;

/// Comes before every base and after every link in the order of names: links begin with a digit.
const BEFORE_BASES: &str = "a";

/// A chain as readers see it: a moment's truth that stays consistent while owners go on.
#[derive(Debug, Clone)]
pub struct ChainView {
    /// The partition.
    pub partition: u32,
    /// The live files.
    pub files: Arc<Vec<ArchiveFile>>,
    /// The newest links, oldest first, at least one. Older ones are read by [`read_links`].
    pub links: Vec<Checkpoint>,
    state: ChainState,
}

impl ChainView {
    /// The offset up to which the log is covered.
    pub fn end(&self) -> NextOffset {
        self.state.end
    }

    /// The epoch of the newest link.
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// The newest link.
    pub fn last(&self) -> Option<&Checkpoint> {
        self.links.last()
    }

    /// The newest saved state.
    pub fn snapshot(&self) -> Option<&SnapshotRef> {
        self.last().and_then(|link| link.snapshot.as_ref())
    }

    /// The view at this moment: reads only what was appended since, one listing if nothing was.
    ///
    /// # Errors
    /// As [`load_chain`].
    pub async fn refresh(&self, archive: &Archive, topic: &str) -> Result<ChainView, ChainError> {
        let mut newer = Loaded {
            state: self.state.clone(),
            links: Vec::new(),
        };
        follow(archive, topic, &mut newer).await?;
        if newer.links.is_empty() {
            newer.links.extend(self.links.last().cloned());
        }
        Ok(newer.view())
    }
}

/// A chain as it was read.
pub(super) struct Loaded {
    /// The sum of all links.
    pub(super) state: ChainState,
    /// The newest links, oldest first, at least one.
    pub(super) links: Vec<Checkpoint>,
}

impl Loaded {
    fn view(self) -> ChainView {
        ChainView {
            partition: self.state.partition,
            files: Arc::clone(&self.state.files),
            links: self.links,
            state: self.state,
        }
    }
}

/// Reads a chain without claiming it; `None` if the partition has none.
///
/// # Errors
/// `Corruption` if a link is missing, damaged, or does not follow the one before; `Outage`; `BadConfig`.
pub async fn load_chain(
    archive: &Archive,
    topic: &str,
    partition: u32,
) -> Result<Option<ChainView>, ChainError> {
    Ok(load(archive, topic, partition).await?.map(Loaded::view))
}

/// Reads the links of a stretch of sequences, as far as they exist, each checked against the one before.
///
/// # Errors
/// As [`load_chain`].
pub async fn read_links(
    archive: &Archive,
    topic: &str,
    partition: u32,
    sequences: Range<u64>,
) -> Result<Vec<Checkpoint>, ChainError> {
    let directory = directory(topic, partition)?;
    let mut links: Vec<Checkpoint> = Vec::new();
    let mut hash = String::new();
    let mut fetched = futures::stream::iter(sequences)
        .map(|sequence| fetch(archive, &directory, partition, sequence))
        .buffered(FETCHED_AT_ONCE);
    while let Some((path, bytes)) = fetched.next().await.transpose()? {
        let Some(bytes) = bytes else { break };
        let link = Checkpoint::decode(&bytes).map_err(|detail| ChainError::Corruption {
            path: path.clone(),
            detail,
        })?;
        if !links.is_empty() && link.previous != hash {
            return Err(ChainError::Corruption {
                path,
                detail: format!(
                    "hash of the previous link: expected {hash}, found {}",
                    link.previous
                ),
            });
        }
        hash = Checkpoint::hash(&bytes);
        links.push(link);
    }
    Ok(links)
}

/// The partitions that have a chain, sorted.
///
/// # Errors
/// `Outage`; `BadConfig` if the topic's name is none.
pub async fn list_partitions(archive: &Archive, topic: &str) -> Result<Vec<u32>, ChainError> {
    let prefix = format!(
        "chain/{}",
        checked_topic(topic).map_err(|error| ChainError::from_archive(0, error))?
    );
    let listed = match archive
        .store()
        .list_with_delimiter(Some(&Path::from(prefix.as_str())))
        .await
    {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => {
            return Err(ChainError::from_archive(
                0,
                ArchiveError::from_store("listing", &prefix, error),
            ));
        }
    };
    let number = |path: &Path| path.filename()?.strip_prefix('p')?.parse().ok();
    let mut partitions: Vec<u32> = listed.common_prefixes.iter().filter_map(number).collect();
    partitions.sort_unstable();
    Ok(partitions)
}

fn directory(topic: &str, partition: u32) -> Result<String, ChainError> {
    chain_directory(topic, partition).map_err(|error| ChainError::from_archive(partition, error))
}

/// Reads one link's bytes; `None` if it does not exist.
async fn fetch(
    archive: &Archive,
    directory: &str,
    partition: u32,
    sequence: u64,
) -> Result<(String, Option<Vec<u8>>), ChainError> {
    let path = format!("{directory}/{}", link_name(sequence));
    match read_object(archive.store().as_ref(), &Path::from(path.as_str())).await {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) => Err(ChainError::from_store(partition, "reading", &path, error)),
    }
}

/// Reads a chain; `None` if it has no link.
pub(super) async fn load(
    archive: &Archive,
    topic: &str,
    partition: u32,
) -> Result<Option<Loaded>, ChainError> {
    let directory = directory(topic, partition)?;
    let bases = names_after(archive.store().as_ref(), &directory, BEFORE_BASES)
        .await
        .map_err(|error| ChainError::from_store(partition, "listing", &directory, error))?;
    let mut loaded = None;
    for name in bases
        .iter()
        .rev()
        .filter(|name| base_sequence_of(name).is_some())
    {
        match read_base(archive, topic, partition, &format!("{directory}/{name}")).await? {
            Ok(found) => {
                loaded = Some(found);
                break;
            }
            Err(detail) => {
                tracing::warn!(partition, base = %name, detail, "the chain's base is set aside; older links are read instead")
            }
        }
    }
    let mut loaded = loaded.unwrap_or_else(|| Loaded {
        state: ChainState::empty(partition),
        links: Vec::new(),
    });
    follow(archive, topic, &mut loaded).await?;
    Ok(if loaded.links.is_empty() {
        None
    } else {
        Some(loaded)
    })
}

/// Reads a base and checks it against its link. The inner error says why it can't be used.
async fn read_base(
    archive: &Archive,
    topic: &str,
    partition: u32,
    path: &str,
) -> Result<Result<Loaded, String>, ChainError> {
    let failed = |error| ChainError::from_store(partition, "reading", path, error);
    let Some(bytes) = read_object(archive.store().as_ref(), &Path::from(path))
        .await
        .map_err(failed)?
    else {
        return Ok(Err("it is gone".into()));
    };
    let state = match ChainState::decode(&bytes) {
        Ok(state) if state.partition == partition && state.next_sequence > 0 => state,
        Ok(_) => return Ok(Err("it is of another partition".into())),
        Err(detail) => return Ok(Err(detail)),
    };
    let (link_path, link) = fetch(
        archive,
        &directory(topic, partition)?,
        partition,
        state.next_sequence - 1,
    )
    .await?;
    let Some(link) = link.filter(|link| Checkpoint::hash(link) == state.hash) else {
        return Ok(Err(format!(
            "`{link_path}` is not the link that it sums up"
        )));
    };
    let link = Checkpoint::decode(&link).map_err(|detail| ChainError::Corruption {
        path: link_path,
        detail,
    })?;
    Ok(Ok(Loaded {
        state,
        links: vec![link],
    }))
}

/// Reads all links past a state. The listing says how many there are, so that a missing one is found and not taken for the end.
async fn follow(archive: &Archive, topic: &str, loaded: &mut Loaded) -> Result<(), ChainError> {
    let partition = loaded.state.partition;
    let directory = directory(topic, partition)?;
    let first = loaded.state.next_sequence;
    // The name of the link before the first, or a name before all digits.
    let offset = first
        .checked_sub(1)
        .map_or_else(|| "-".to_owned(), link_name);
    let names = names_after(archive.store().as_ref(), &directory, &offset)
        .await
        .map_err(|error| ChainError::from_store(partition, "listing", &directory, error))?;
    let Some(newest) = names
        .iter()
        .filter_map(|name| sequence_of(name))
        .max()
        .filter(|newest| *newest >= first)
    else {
        return Ok(());
    };
    let mut fetched = futures::stream::iter(first..=newest)
        .map(|sequence| fetch(archive, &directory, partition, sequence))
        .buffered(FETCHED_AT_ONCE);
    while let Some((path, bytes)) = fetched.try_next().await? {
        let damaged = |detail| ChainError::Corruption {
            path: path.clone(),
            detail,
        };
        let bytes = bytes.ok_or_else(|| {
            damaged(format!(
                "it is missing, though the chain goes on to {newest}"
            ))
        })?;
        let link = Checkpoint::decode(&bytes).map_err(damaged)?;
        loaded.state.apply(&link, &bytes).map_err(damaged)?;
        loaded.links.push(link);
    }
    Ok(())
}

/// Writes a base at a state and removes all but it and the one before.
pub(super) async fn write_base(
    archive: &Archive,
    topic: &str,
    state: &ChainState,
) -> Result<(), ChainError> {
    let Some(sequence) = state.next_sequence.checked_sub(1) else {
        return Ok(());
    };
    let partition = state.partition;
    let directory = directory(topic, partition)?;
    let path = format!("{directory}/{}", base_name(sequence));
    let failed = |error| ChainError::from_store(partition, "writing", &path, error);
    archive
        .store()
        .put_opts(
            &Path::from(path.as_str()),
            state.encode().into(),
            PutMode::Overwrite.into(),
        )
        .await
        .map_err(failed)?;
    let names = names_after(archive.store().as_ref(), &directory, BEFORE_BASES)
        .await
        .map_err(failed)?;
    let bases: Vec<_> = names
        .iter()
        .filter(|name| base_sequence_of(name).is_some_and(|found| found <= sequence))
        .collect();
    for old in bases.iter().rev().skip(2) {
        let location = Path::from(format!("{directory}/{old}"));
        match archive.store().delete(&location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}
