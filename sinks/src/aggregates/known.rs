//! Which names of series are stored, so that none is written twice: remembered, learned in one pass where many are asked for at once, else looked up.

use std::collections::HashMap;
use std::sync::Arc;

use fjall::{Keyspace, OwnedWriteBatch};
use foldhash::fast::RandomState;
use schemas::Series;

use super::{StoreError, names};

/// Names that are remembered. 1,048,576 × 24 bytes; past it the memory starts anew, which costs look-ups, not correctness.
const NAMES_MAX: usize = 1 << 20;
/// So many names are passed over in the time of one look-up. Eight is an estimate: a look-up takes some 2 µs, as measured, and tables are read in order.
const PASSED_PER_LOOK_UP: usize = 8;
/// So many names at once become a table of their own. 4,096: one by one they would go through the journal and a table in memory, from where a start after a
/// crash brings them back one by one, at ten times the cost; fewer make tables that are not worth merging.
const TABLE_NAMES_MIN: usize = 4_096;

/// The names that are known to be stored.
#[derive(Debug, Default)]
pub(super) struct KnownNames {
    /// By id: the day on which the name was last confirmed.
    days: HashMap<u128, u32, RandomState>,
    /// All names that were confirmed on that day or later are remembered; `None` where some may be missing.
    complete_from: Option<u32>,
    /// Whether the pass over what is stored was made: it is made once.
    learned: bool,
}

impl KnownNames {
    /// Those of the series whose names are not stored as confirmed on this day or later.
    pub(super) fn missing(
        &mut self,
        stored: &Keyspace,
        series: impl Iterator<Item = Arc<Series>>,
        day: u32,
    ) -> Result<Vec<Arc<Series>>, StoreError> {
        let mut missing: Vec<_> = series.filter(|series| self.lacks(series, day)).collect();
        if !self.learned && missing.len() * PASSED_PER_LOOK_UP >= stored.approximate_len() {
            self.learn(stored, day)?;
            missing.retain(|series| self.lacks(series, day));
        }
        if self.complete_from.is_some_and(|from| from <= day) {
            return Ok(missing);
        }
        let mut not_found = Vec::new();
        for series in missing {
            let name = stored.get(series.id.0.to_be_bytes())?;
            // An old window, put after a restart, must not make the name look old.
            match name.and_then(|name| names::confirmed_day(&name)) {
                Some(confirmed) if confirmed >= day => self.note(series.id.0, confirmed),
                _ => not_found.push(series),
            }
        }
        Ok(not_found)
    }

    /// Takes note that names are stored.
    pub(super) fn confirm(&mut self, series: &[Arc<Series>], day: u32) {
        series.iter().for_each(|series| self.note(series.id.0, day));
    }

    /// Takes note that a name is not stored any more.
    pub(super) fn forget(&mut self, id: u128) {
        self.days.remove(&id);
    }

    fn lacks(&self, series: &Series, day: u32) -> bool {
        let confirmed = self.days.get(&series.id.0);
        confirmed.is_none_or(|confirmed| *confirmed < day)
    }

    fn note(&mut self, id: u128, day: u32) {
        if self.days.len() >= NAMES_MAX {
            self.days.clear();
            self.complete_from = None;
        }
        self.days.insert(id, day);
    }

    /// Learns all names that were confirmed on this day or later, by one pass over what is stored.
    fn learn(&mut self, stored: &Keyspace, day: u32) -> Result<(), StoreError> {
        self.learned = true;
        self.complete_from = Some(day);
        for entry in stored.iter() {
            let (key, name) = entry.into_inner()?;
            if let Some((id, confirmed)) = names::read(&key, &name)
                && confirmed >= day
            {
                self.note(id, confirmed);
            }
        }
        Ok(())
    }
}

/// Stores names as confirmed on a day: many at once as a table, which is durable when this is back, few with the batch.
pub(super) fn write(
    stored: &Keyspace,
    batch: &mut OwnedWriteBatch,
    series: &mut Vec<Arc<Series>>,
    day: u32,
) -> Result<(), StoreError> {
    if series.len() < TABLE_NAMES_MIN {
        for series in series {
            batch.insert(
                stored,
                series.id.0.to_be_bytes(),
                names::encode(series, day),
            );
        }
        return Ok(());
    }
    // A table is written in the order of its keys, each once.
    series.sort_unstable_by_key(|series| series.id);
    series.dedup_by_key(|series| series.id);
    let mut table = stored.start_ingestion()?;
    for series in series {
        table.write(series.id.0.to_be_bytes(), names::encode(series, day))?;
    }
    Ok(table.finish()?)
}
