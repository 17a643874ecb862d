//! At most so many states, by index of what they are of. Those that nobody used for a week make room for new ones.

use schemas::Micros;
use schemas::time::{DAY, HOUR};
use serde::{Deserialize, Serialize};

/// A state that was not used for so long makes room. A week: what runs on Mondays only is still known.
const KEPT: Micros = 7 * DAY;
/// How often room is looked for when there is none.
const SWEEP_INTERVAL: Micros = HOUR;
/// Marks an index without a state.
const NONE: u32 = u32::MAX;

/// States by index. When there are as many as are allowed, further indices get none until an old one leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bounded<T> {
    entries: Vec<Entry<T>>,
    /// Not before then is room looked for again.
    sweep_at: Micros,
    /// By index: where its entry is. Rebuilt by [`Bounded::restore`].
    #[serde(skip)]
    slot_of: Vec<u32>,
}

/// The state of an index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry<T> {
    index: u32,
    /// When it was last used, by the time of samples.
    used_at: Micros,
    state: T,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Bounded {
            entries: Vec::new(),
            sweep_at: Micros::MIN,
            slot_of: Vec::new(),
        }
    }
}

impl<T> Bounded<T> {
    /// The state of an index, made if there is none and fewer than `entries_max`; else `None`.
    #[inline]
    pub(crate) fn get(
        &mut self,
        index: u32,
        time: Micros,
        entries_max: usize,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<&mut T> {
        let known = self.slot_of.get(index as usize).copied().unwrap_or(NONE);
        let slot = if known == NONE {
            self.admit(index, time, entries_max, make)?
        } else {
            known as usize
        };
        let entry = self.entries.get_mut(slot)?;
        entry.used_at = entry.used_at.max(time);
        Some(&mut entry.state)
    }

    fn admit(
        &mut self,
        index: u32,
        time: Micros,
        entries_max: usize,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<usize> {
        if self.entries.len() >= entries_max {
            if time < self.sweep_at {
                return None;
            }
            self.sweep_at = time.saturating_add(SWEEP_INTERVAL);
            let end = time.saturating_sub(KEPT);
            self.entries.retain(|entry| entry.used_at >= end);
            self.index_entries();
            if self.entries.len() >= entries_max {
                return None;
            }
        }
        let state = make()?;
        self.entries.push(Entry {
            index,
            used_at: time,
            state,
        });
        let slot = self.entries.len() - 1;
        self.note(index, slot);
        Some(slot)
    }

    fn note(&mut self, index: u32, slot: usize) {
        let index = index as usize;
        if index >= self.slot_of.len() {
            self.slot_of.resize(index + 1, NONE);
        }
        self.slot_of[index] = slot as u32;
    }

    fn index_entries(&mut self) {
        self.slot_of.fill(NONE);
        for slot in 0..self.entries.len() {
            self.note(self.entries[slot].index, slot);
        }
    }

    /// After it was read back: makes it usable, for indices below `indices`. `false` if it speaks of others, or of one twice.
    pub(crate) fn restore(&mut self, indices: usize) -> bool {
        self.index_entries();
        let sound = |(slot, entry): (usize, &Entry<T>)| {
            (entry.index as usize) < indices && self.slot_of[entry.index as usize] == slot as u32
        };
        self.entries.iter().enumerate().all(sound)
    }

    /// All states with the index of what they are of.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries.iter().map(|entry| (entry.index, &entry.state))
    }

    /// All states.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|entry| &mut entry.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_states_make_room_and_the_others_stay() {
        let mut kept: Bounded<u8> = Bounded::default();
        for index in 0..3 {
            assert_eq!(
                kept.get(index, 0, 3, || Some(index as u8)),
                Some(&mut (index as u8))
            );
        }
        assert_eq!(kept.get(7, HOUR, 3, || Some(7)), None, "there is no room");
        assert_eq!(kept.get(1, 4 * DAY, 3, || None), Some(&mut 1));
        assert_eq!(kept.get(7, 8 * DAY, 3, || Some(7)), Some(&mut 7));
        assert_eq!(kept.iter().collect::<Vec<_>>(), [(1, &1), (7, &7)]);
        assert_eq!(kept.get(1, 8 * DAY, 3, || None), Some(&mut 1));
    }

    #[test]
    fn it_is_the_same_after_a_restart_and_damage_is_seen() {
        let mut kept: Bounded<u8> = Bounded::default();
        for index in [5, 2] {
            kept.get(index, 0, 3, || Some(index as u8));
        }
        let bytes = postcard::to_stdvec(&kept).unwrap();
        let mut again: Bounded<u8> = postcard::from_bytes(&bytes).unwrap();
        assert!(again.restore(6));
        assert_eq!(again.get(2, 1, 3, || None), Some(&mut 2));
        assert!(!again.restore(5), "series 5 is none of 0 to 4");
        again.entries[1].index = 5;
        assert!(!again.restore(6), "series 5 is there twice");
    }
}
