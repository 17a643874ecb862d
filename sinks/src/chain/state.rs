//! What the links up to one of them add up to, and the rules by which the next one must follow. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use schemas::{ArchiveFile, Checkpoint, LinkKind, NextOffset};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::archive::{ArchiveError, chain_directory};

/// The version of a base's format.
const BASE_FORMAT: u32 = 1;

/// The path of a link.
pub(super) fn link_path(
    topic: &str,
    partition: u32,
    sequence: u64,
) -> Result<String, ArchiveError> {
    Ok(format!(
        "{}/{}",
        chain_directory(topic, partition)?,
        link_name(sequence)
    ))
}

/// The file name of a link.
pub(super) fn link_name(sequence: u64) -> String {
    format!("{sequence:020}.json")
}

/// The sequence in a link's file name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".json")
        .filter(|digits| digits.len() == 20)?
        .parse()
        .ok()
}

/// The file name of a base.
pub(super) fn base_name(sequence: u64) -> String {
    format!("base-{sequence:020}.json")
}

/// The sequence in a base's file name.
pub(super) fn base_sequence_of(name: &str) -> Option<u64> {
    sequence_of(name.strip_prefix("base-")?)
}

/// The sum of a chain's links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ChainState {
    /// [`BASE_FORMAT`].
    format: u32,
    /// The partition.
    pub(super) partition: u32,
    /// The sequence that the next link gets.
    pub(super) next_sequence: u64,
    /// The epoch of the newest link; 0 before the first.
    pub(super) epoch: u64,
    /// The end offset of the newest link.
    pub(super) end: NextOffset,
    /// The hash of the newest link; empty before the first.
    pub(super) hash: String,
    /// The log that the offsets belong to; empty before the first link.
    pub(super) log_id: String,
    /// The live files, in the order in which they were added.
    #[serde(with = "shared")]
    pub(super) files: Arc<Vec<ArchiveFile>>,
}

/// Serde of what stands behind an `Arc`.
mod shared {
    use super::{Arc, ArchiveFile, Deserialize, Serialize};

    pub(super) fn serialize<S: serde::Serializer>(
        files: &Arc<Vec<ArchiveFile>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        files.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Vec<ArchiveFile>>, D::Error> {
        Vec::deserialize(deserializer).map(Arc::new)
    }
}

impl ChainState {
    /// Before the first link.
    pub(super) fn empty(partition: u32) -> Self {
        ChainState {
            format: BASE_FORMAT,
            partition,
            next_sequence: 0,
            epoch: 0,
            end: NextOffset(0),
            hash: String::new(),
            log_id: String::new(),
            files: Arc::default(),
        }
    }

    /// Whether a link may follow: contiguous, of the right epoch, and true to the files.
    pub(super) fn check(&self, link: &Checkpoint) -> Result<(), String> {
        let expect = |what: &str,
                      expected: &dyn std::fmt::Display,
                      found: &dyn std::fmt::Display,
                      ok: bool| {
            if ok {
                Ok(())
            } else {
                Err(format!("{what}: expected {expected}, found {found}"))
            }
        };
        expect(
            "partition",
            &self.partition,
            &link.partition,
            link.partition == self.partition,
        )?;
        expect(
            "sequence",
            &self.next_sequence,
            &link.sequence,
            link.sequence == self.next_sequence,
        )?;
        expect(
            "hash of the previous link",
            &self.hash,
            &link.previous,
            link.previous == self.hash,
        )?;
        expect(
            "log id",
            &self.log_id,
            &link.log_id,
            link.log_id == self.log_id || self.next_sequence == 0,
        )?;
        expect(
            "start offset",
            &self.end.0,
            &link.start.0,
            link.start == self.end,
        )?;
        let epoch = if link.kind == LinkKind::Claim {
            self.epoch + 1
        } else {
            self.epoch
        };
        expect("epoch", &epoch, &link.epoch, link.epoch == epoch)?;
        if link.kind == LinkKind::Commit {
            expect(
                "end offset",
                &format!("at least {}", link.start.0),
                &link.end.0,
                link.end >= link.start,
            )?;
        } else {
            expect(
                "end offset",
                &link.start.0,
                &link.end.0,
                link.end == link.start,
            )?;
        }
        if link.kind == LinkKind::Claim && !(link.added.is_empty() && link.removed.is_empty()) {
            return Err("a claim changes no files".into());
        }
        if !link.counts.balances() {
            return Err(format!("the counts don't balance: {:?}", link.counts));
        }
        if let Some(snapshot) = &link.snapshot {
            expect(
                "snapshot offset",
                &format!("at most {}", link.end.0),
                &snapshot.next_offset.0,
                snapshot.next_offset <= link.end,
            )?;
        }
        if link.added.is_empty() && link.removed.is_empty() {
            return Ok(());
        }
        let mut paths: HashSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        if let Some(unknown) = link
            .removed
            .iter()
            .find(|path| !paths.remove(path.as_str()))
        {
            return Err(format!(
                "removes `{unknown}`, which is not part of the archive, or twice"
            ));
        }
        // A name that was just removed is not used again: readers may still hold it with the old hash.
        let removed: HashSet<&str> = link.removed.iter().map(String::as_str).collect();
        match link
            .added
            .iter()
            .find(|file| removed.contains(file.path.as_str()) || !paths.insert(&file.path))
        {
            Some(twice) => Err(format!(
                "adds `{}`, which is already part of the archive, or was removed by the same link",
                twice.path
            )),
            None => Ok(()),
        }
    }

    /// Adds a link that follows.
    pub(super) fn apply(&mut self, link: &Checkpoint, bytes: &[u8]) -> Result<(), String> {
        self.check(link)?;
        self.next_sequence += 1;
        self.epoch = link.epoch;
        self.end = link.end;
        self.hash = Checkpoint::hash(bytes);
        self.log_id.clone_from(&link.log_id);
        if !(link.added.is_empty() && link.removed.is_empty()) {
            let removed: HashSet<&str> = link.removed.iter().map(String::as_str).collect();
            let files = Arc::make_mut(&mut self.files);
            files.retain(|file| !removed.contains(file.path.as_str()));
            files.extend(link.added.iter().cloned());
        }
        Ok(())
    }

    /// The bytes of a base: the SHA-256 of the rest, a line end, the state as JSON.
    pub(super) fn encode(&self) -> Vec<u8> {
        // A plain struct of numbers and strings always serialises.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = hex::encode(Sha256::digest(&json)).into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(&json);
        bytes
    }

    /// Reads a base; a message if it is damaged or of another format.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (hash, json) = bytes.split_at_checked(65).ok_or("too short")?;
        if hash != format!("{}\n", hex::encode(Sha256::digest(json))).as_bytes() {
            return Err("its hash does not match".into());
        }
        let state: ChainState = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if state.format == BASE_FORMAT {
            Ok(state)
        } else {
            Err(format!("format {}", state.format))
        }
    }
}
