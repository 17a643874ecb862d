//! The times under which folded samples are stored: each its own, so that none takes the place of another.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use schemas::Micros;
use schemas::time::SECOND;
use xxhash_rust::xxh3::xxh3_64;

/// The shortest window: a folded sample stays in the one that it came for, and so in all the longer ones.
const WINDOW: Micros = 10 * SECOND;
/// Samples remembered, twice. 500,000: 25 s of an attack of a million new series in a minute, in at most 40 MB.
const REMEMBERED_MAX: usize = 500_000;
/// Times tried for one sample. At 1 in 60 taken, which is that attack, the sixteenth try is needed once in 10^27.
const TRIES: u64 = 16;

/// Which folded sample took which time, for the last ones.
#[derive(Debug, Default)]
pub(super) struct Places {
    now: HashMap<u64, u64, foldhash::fast::RandomState>,
    before: HashMap<u64, u64, foldhash::fast::RandomState>,
}

impl Places {
    /// The time for a sample of series `original`, at `time`, that is stored as one of series `folded`: in the same window of 10 s, and the same
    /// whenever this sample comes again, before or after a restart, here or elsewhere; only where another sample took that time, one of the next.
    pub(super) fn place(&mut self, folded: u64, original: u64, time: Micros) -> Micros {
        let sample = hash(original, time as u64);
        let begin = time.div_euclid(WINDOW) * WINDOW;
        for attempt in 0..TRIES {
            // Below 10^7.
            let at = begin + (sample.wrapping_add(attempt) % WINDOW as u64) as Micros;
            let place = hash(folded, at as u64);
            match self.before.get(&place) {
                Some(owner) if *owner == sample => return at,
                Some(_) => continue,
                None => {}
            }
            match self.now.entry(place) {
                Entry::Occupied(owner) if *owner.get() == sample => return at,
                Entry::Occupied(_) => {}
                Entry::Vacant(free) => {
                    free.insert(sample);
                    if self.now.len() >= REMEMBERED_MAX {
                        self.before = std::mem::take(&mut self.now);
                    }
                    return at;
                }
            }
        }
        begin + (sample % WINDOW as u64) as Micros
    }

    /// Forgets all, when nothing is folded any more.
    pub(super) fn clear(&mut self) {
        *self = Places::default();
    }
}

fn hash(a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_sample_has_a_time_of_its_own_in_its_window_and_keeps_it() {
        let mut places = Places::default();
        let time = 1_700_000_003 * SECOND;
        // 200,000 of 10 million: without the search some 2,000 would meet.
        let mut place = |original| places.place(7, original, time);
        let first: Vec<Micros> = (0..200_000).map(&mut place).collect();
        let different: HashSet<Micros> = first.iter().copied().collect();
        assert_eq!(different.len(), first.len());
        let begin = 1_700_000_000 * SECOND;
        assert!(first.iter().all(|at| (begin..begin + WINDOW).contains(at)));
        let again: Vec<Micros> = (0..200_000).map(&mut place).collect();
        assert_eq!(first, again);
        // Without any memory almost all are where they were; with a few exceptions that had to move.
        let mut fresh = Places::default();
        let moved = (0..200_000)
            .rev()
            .filter(|original| fresh.place(7, *original, time) != first[*original as usize])
            .count();
        assert!(moved < 10_000, "{moved}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut places = Places::default();
        for original in 0..2 * REMEMBERED_MAX as u64 + 5 {
            places.place(7, original, 0);
        }
        assert!(places.now.len() < REMEMBERED_MAX && places.before.len() == REMEMBERED_MAX);
        places.clear();
        assert!(places.now.is_empty() && places.before.is_empty());
    }
}
