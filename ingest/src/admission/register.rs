//! Which series are active, and whose they are. Bounded by the limit that is asked before one is added.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// The active series, by 64 bits of their id. At two million of them, that two share their bits is as likely as 1 in 10 million; the second is then
/// taken for known.
#[derive(Debug, Default)]
pub(super) struct Register {
    series: HashMap<u64, Active, foldhash::fast::RandomState>,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    sender: u32,
    /// The period in which it was last seen.
    period: u32,
}

impl Register {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether a series is active; if so, it is seen in this period, and belongs to who brought it first.
    pub(super) fn touch(&mut self, series: u64, period: u32) -> bool {
        match self.series.get_mut(&series) {
            Some(active) => {
                active.period = period;
                true
            }
            None => false,
        }
    }

    pub(super) fn add(&mut self, series: u64, sender: u32, period: u32) {
        if let Entry::Vacant(place) = self.series.entry(series) {
            place.insert(Active { sender, period });
        }
    }

    /// The numbers of all, in no order.
    pub(super) fn series(&self) -> impl Iterator<Item = u64> {
        self.series.keys().copied()
    }

    /// Forgets the series that were last seen before a period; tells whose each was.
    pub(super) fn forget_before(&mut self, period: u32, mut lost: impl FnMut(u32)) {
        self.series.retain(|_, active| {
            let stays = active.period >= period;
            if !stays {
                lost(active.sender);
            }
            stays
        });
        // After an attack: what it took is given back.
        if self.series.len() < self.series.capacity() / 4 {
            self.series.shrink_to(self.series.len() * 2);
        }
    }
}
