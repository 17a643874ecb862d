//! The inside of the aggregate store: keys, the guard by offset, merging, expiry. Synchronous; runs on blocking threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable as _,
};
use schemas::time::Micros;
use schemas::{NextOffset, Resolution, Series};

use super::block::{Block, Row};
use super::known::{self, KnownNames};
use super::{HotRows, Retention, StoreError, columns, names};

/// Blocks of one window of one partition before they are merged. 8: a revision rewrites a whole block at every eighth flush only.
pub(super) const BLOCKS_MAX: usize = 8;
/// Where the day stands, among the names, before which names were last forgotten: 4 bytes, little-endian. No id of a series is as short.
const NAMES_EXPIRED_KEY: &[u8] = b"expired";
/// Entries removed at a time by `AggregateStore::expire`.
const EXPIRED_AT_ONCE: usize = 10_000;

/// The open database.
pub(super) struct Inner {
    pub(super) database: Database,
    pub(super) blocks: Keyspace,
    pub(super) series: Keyspace,
    pub(super) retention: Retention,
    /// The lock also makes puts one at a time.
    pub(super) known: Mutex<KnownNames>,
    /// The day before which names were last forgotten: once a day is enough to go through all of them.
    pub(super) names_expired: AtomicU32,
}

/// The key of a block.
pub(super) fn block_key(
    resolution: Resolution,
    start: Micros,
    partition: u32,
    end: NextOffset,
) -> [u8; 21] {
    let mut key = [0; 21];
    key[..13].copy_from_slice(&window_key(resolution, start, partition));
    key[13..].copy_from_slice(&end.0.to_be_bytes());
    key
}

/// What the keys of all blocks of a window of a partition begin with.
fn window_key(resolution: Resolution, start: Micros, partition: u32) -> [u8; 13] {
    let mut key = [0; 13];
    key[..9].copy_from_slice(&start_key(resolution, start));
    key[9..].copy_from_slice(&partition.to_be_bytes());
    key
}

/// What the keys of all blocks of a window begin with.
fn start_key(resolution: Resolution, start: Micros) -> [u8; 9] {
    let mut key = [resolution as u8; 9];
    // Negative times come before positive ones.
    key[1..].copy_from_slice(&(start ^ Micros::MIN).to_be_bytes());
    key
}

/// Window start, partition and end offset in a block's key.
fn read_key(key: &[u8]) -> Option<(Micros, u32, NextOffset)> {
    let key: &[u8; 21] = key.try_into().ok()?;
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    Some((
        number(&key[1..9]) as Micros ^ Micros::MIN,
        number(&key[9..13]) as u32,
        NextOffset(number(&key[13..])),
    ))
}

impl Inner {
    pub(super) fn open(directory: &Path, retention: Retention) -> Result<Self, StoreError> {
        let config = |detail: String| StoreError::BadConfig {
            directory: directory.display().to_string(),
            detail,
        };
        let open = |directory: &Path| Database::builder(directory).worker_threads(1).open();
        let database = bus::make_whole(directory, |directory| open(directory).map(drop))
            .and_then(|()| open(directory))
            .map_err(|error| match error {
                fjall::Error::Locked => config(
                    "another process has it open; give each process its own data directory".into(),
                ),
                error if bus::lacks_a_part(&error) => StoreError::Corruption {
                    what: directory.display().to_string(),
                    detail: format!(
                        "a file of it is gone: {error}; delete the directory, it fills again"
                    ),
                },
                fjall::Error::Io(error) => config(format!("can't be opened: {error}")),
                error => StoreError::Corruption {
                    what: directory.display().to_string(),
                    detail: format!("{error}; delete the directory, it fills again"),
                },
            })?;
        // Blocks are large and come compressed; apart from their keys they are not rewritten by the store's own compaction.
        let separated = || {
            KeyspaceCreateOptions::default()
                .with_kv_separation(Some(KvSeparationOptions::default()))
        };
        let blocks = database.keyspace("blocks", separated)?;
        let series = database.keyspace("series", KeyspaceCreateOptions::default)?;
        Ok(Inner {
            database,
            blocks,
            series,
            retention,
            known: Mutex::default(),
            names_expired: AtomicU32::new(0),
        })
    }

    pub(super) fn put(
        &self,
        partition: u32,
        series: impl Iterator<Item = Arc<Series>>,
        windows: BTreeMap<(Resolution, Micros), Vec<Row>>,
        end: NextOffset,
    ) -> Result<(), StoreError> {
        let mut remembered = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        // The names are dated by the data's own time: there is no clock here.
        let day = windows
            .keys()
            .map(|(_, start)| names::day(*start))
            .max()
            .unwrap_or(0);
        let mut named = remembered.missing(&self.series, series, day)?;
        known::write(&self.series, &mut batch, &mut named, day)?;
        for ((resolution, start), rows) in windows {
            let key = block_key(resolution, start, partition, end);
            let block = Block::of(rows);
            let mut earlier = Vec::new();
            for entry in self.blocks.prefix(window_key(resolution, start, partition)) {
                earlier.push(entry.key()?);
            }
            if earlier.len() < BLOCKS_MAX && !earlier.iter().any(|found| **found == key) {
                batch.insert(&self.blocks, key, block.encode());
                continue;
            }
            // Damaged blocks stay where they are; the others become one under the latest key.
            let mut merged = Block::default();
            let mut latest = key.to_vec();
            for found in earlier {
                let Some(bytes) = self.blocks.get(&found)? else {
                    continue;
                };
                match Block::decode(&bytes) {
                    Ok(old) => {
                        merged.absorb(old);
                        latest = latest.max(found.to_vec());
                        batch.remove(&self.blocks, found);
                    }
                    Err(detail) => tracing::error!(
                        partition,
                        resolution = resolution.name(),
                        start,
                        detail,
                        "a damaged hot block is left in place"
                    ),
                }
            }
            merged.absorb(block);
            batch.insert(&self.blocks, latest, merged.encode());
        }
        batch.commit()?;
        remembered.confirm(&named, day);
        Ok(())
    }

    pub(super) fn rows(
        &self,
        resolution: Resolution,
        starts: Range<Micros>,
        partition: Option<u32>,
        after: NextOffset,
    ) -> Result<HotRows, StoreError> {
        let mut found = HotRows::default();
        if starts.is_empty() {
            return Ok(found);
        }
        let snapshot = self.database.snapshot();
        let mut naming = names::Names::default();
        let mut current: Option<((Micros, u32), Block)> = None;
        for entry in snapshot.range(
            &self.blocks,
            start_key(resolution, starts.start)..start_key(resolution, starts.end),
        ) {
            let (key, value) = entry.into_inner()?;
            let Some((start, of, end)) = read_key(&key) else {
                found.damaged.push(StoreError::Corruption {
                    what: "a key".into(),
                    detail: hex::encode(&key),
                });
                continue;
            };
            // The key holds the latest offset of its block.
            if partition.is_some_and(|wanted| wanted != of) || end <= after {
                continue;
            }
            let block = match Block::decode(&value) {
                Ok(block) => block,
                Err(detail) => {
                    let what = format!(
                        "block {} of partition {of}, window {start} µs, offset {}",
                        resolution.name(),
                        end.0
                    );
                    found.damaged.push(StoreError::Corruption { what, detail });
                    continue;
                }
            };
            match &mut current {
                Some((window, merged)) if *window == (start, of) => merged.absorb(block),
                _ => {
                    if let Some((window, block)) = current.replace(((start, of), block)) {
                        self.emit(
                            resolution,
                            window.0,
                            block,
                            after,
                            &snapshot,
                            &mut naming,
                            &mut found,
                        )?;
                    }
                }
            }
        }
        if let Some((window, block)) = current {
            self.emit(
                resolution,
                window.0,
                block,
                after,
                &snapshot,
                &mut naming,
                &mut found,
            )?;
        }
        Ok(found)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one step of `rows`, with its state"
    )]
    fn emit(
        &self,
        resolution: Resolution,
        start: Micros,
        block: Block,
        after: NextOffset,
        snapshot: &fjall::Snapshot,
        naming: &mut names::Names,
        found: &mut HotRows,
    ) -> Result<(), StoreError> {
        let mut named: Vec<(Arc<Series>, Row)> = Vec::with_capacity(block.rows.len());
        for row in block.rows.into_iter().filter(|row| row.end > after.0) {
            match naming.of(row.series, || {
                Ok(snapshot.get(&self.series, row.series.to_be_bytes())?)
            })? {
                Ok(series) => named.push((series, row)),
                Err(detail) => found.damaged.push(StoreError::Corruption {
                    what: format!("the name of series {:032x}", row.series),
                    detail,
                }),
            }
        }
        if !named.is_empty() {
            found
                .batches
                .push(columns::batch(resolution, start, &named)?);
        }
        Ok(())
    }

    pub(super) fn expire(&self, now: Micros) -> Result<u64, StoreError> {
        let mut removed = 0;
        for resolution in Resolution::ALL {
            let before = now.saturating_sub(self.retention.of(resolution));
            loop {
                let range = start_key(resolution, Micros::MIN)..start_key(resolution, before);
                let keys = self
                    .blocks
                    .range(range)
                    .take(EXPIRED_AT_ONCE)
                    .map(|entry| entry.key())
                    .collect::<Result<Vec<_>, _>>()?;
                let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
                keys.iter()
                    .for_each(|key| batch.remove(&self.blocks, key.clone()));
                batch.commit()?;
                removed += keys.len() as u64;
                if keys.len() < EXPIRED_AT_ONCE {
                    break;
                }
            }
        }
        self.expire_names(now)?;
        Ok(removed)
    }

    /// Forgets the names that no kept row can need: once a day, across restarts, since it goes through all of them.
    fn expire_names(&self, now: Micros) -> Result<(), StoreError> {
        let longest = Resolution::ALL
            .map(|resolution| self.retention.of(resolution))
            .into_iter()
            .max()
            .unwrap_or(0);
        let before = names::day(now.saturating_sub(longest));
        if self.names_expired.load(Ordering::Relaxed) == before {
            return Ok(());
        }
        let last = self.series.get(NAMES_EXPIRED_KEY)?;
        if last.and_then(|day| names::confirmed_day(&day)) != Some(before) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
            for entry in self.series.iter() {
                let (key, name) = entry.into_inner()?;
                if let Some((id, _)) = names::read(&key, &name).filter(|(_, day)| *day < before) {
                    known.forget(id);
                    batch.remove(&self.series, key);
                }
            }
            batch.insert(&self.series, NAMES_EXPIRED_KEY, before.to_le_bytes());
            batch.commit()?;
        }
        self.names_expired.store(before, Ordering::Relaxed);
        Ok(())
    }
}
