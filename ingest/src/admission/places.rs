//! The times under which folded samples are stored: each its own, so that none takes the place of another.

use schemas::Micros;
use schemas::time::SECOND;
use xxhash_rust::xxh3::xxh3_64;

/// The shortest window: a folded sample stays in the one that it came for, and so in all the longer ones.
const WINDOW: Micros = 10 * SECOND;
/// Rows of places, a power of two. 131,072 of eight: a million samples, 50 s of an attack of a million new series in a minute, in 8 MiB.
const ROWS: usize = 1 << 17;
/// Places of a row: a line of the processor's cache, so that to look one up waits for memory once.
const ROW_PLACES: usize = 8;
/// Times tried for one sample. At 1 in 60 taken, which is that attack, the sixteenth try is needed once in 10^27.
const TRIES: u64 = 16;

/// Which folded sample took which time, for the last ones.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// By the hash of their place; none before the first.
    rows: Vec<Row>,
}

/// The last places taken whose hashes agree in the row's number, the newest first.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Row([Taken; ROW_PLACES]);

/// A place and the sample that took it, each by 32 bits of its hash. By chance one in 2^29 is seen where it is not: a sample then moves on as if its place
/// were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    /// 0 where none is.
    place: u32,
    sample: u32,
}

impl Row {
    /// The sample that took a place, if one is remembered.
    fn owner(&self, place: u32) -> Option<u32> {
        let taken = self.0.iter().find(|taken| taken.place == place);
        taken.map(|taken| taken.sample)
    }

    /// Remembers one, for which the oldest is forgotten.
    fn note(&mut self, taken: Taken) {
        self.0.copy_within(..ROW_PLACES - 1, 1);
        self.0[0] = taken;
    }
}

impl Places {
    /// The time for a sample of series `original`, at `time`, that is stored as one of series `folded`: in the same window of 10 s, and the same
    /// whenever this sample comes again, before or after a restart, here or elsewhere; only where another sample took that time, one of the next.
    pub(super) fn place(&mut self, folded: u64, original: u64, time: Micros) -> Micros {
        if self.rows.is_empty() {
            self.rows = vec![Row::default(); ROWS];
        }
        let sample = hash(original, time as u64);
        let begin = time.div_euclid(WINDOW) * WINDOW;
        for attempt in 0..TRIES {
            // Below 10^7.
            let at = begin + (sample.wrapping_add(attempt) % WINDOW as u64) as Micros;
            let place = hash(folded, at as u64);
            let taken = Taken {
                place: (place >> 32) as u32 | 1,
                sample: (sample >> 32) as u32,
            };
            let row = &mut self.rows[place as usize % ROWS];
            match row.owner(taken.place) {
                Some(owner) if owner == taken.sample => return at,
                Some(_) => {}
                None => {
                    row.note(taken);
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
    fn the_oldest_of_a_row_is_forgotten_and_nothing_else() {
        let mut row = Row::default();
        let taken = |number: u32| Taken {
            place: number,
            sample: 100 + number,
        };
        (1..=9).for_each(|number| row.note(taken(number)));
        assert_eq!(row.owner(1), None);
        for number in 2..=9 {
            assert_eq!(row.owner(number), Some(100 + number));
        }
        let mut places = Places::default();
        places.place(7, 1, 0);
        assert_eq!(places.rows.len() * size_of::<Row>(), 8 << 20);
        places.clear();
        assert!(places.rows.is_empty());
    }
}
