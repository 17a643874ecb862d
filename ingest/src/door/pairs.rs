//! What the door was told about series: pairs of a metric and a label set that were asked about, and what became of them.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{LabelSetId, MetricId};

/// What a pair costs: itself, its place in the map, and a fold.
pub(super) const PAIR_BYTES: usize = 72;

/// What becomes of the samples of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Stored as they are.
    Pass,
    /// Stored with other labels.
    Fold(Fold),
    /// Refused; the number of the reason, within the request.
    Refused(u32),
}

/// With which labels the samples of a pair are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fold {
    pub(super) labels: LabelSetId,
    /// Names the series that is stored, and the one that came.
    pub(super) folded: u64,
    pub(super) original: u64,
}

/// When an outcome was told: it holds for its epoch, a refusal for its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Another one for who has other rules of labels: what passes from one sender may be too long from the next.
    pub(super) epoch: u32,
    pub(super) request: u32,
}

#[derive(Debug)]
struct Pair {
    metric: MetricId,
    labels: LabelSetId,
    told: Told,
    outcome: Outcome,
}

/// The pairs that were asked about. Forgotten with the label sets that they name.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    places: HashMap<(u32, u32), u32, RandomState>,
    /// Where the next pair is expected: senders keep their order, so it is the one after the last.
    next: usize,
}

impl Pairs {
    /// What becomes of a pair, if that was told and still holds.
    #[inline]
    pub(super) fn find(
        &mut self,
        metric: MetricId,
        labels: LabelSetId,
        now: Told,
    ) -> Option<Outcome> {
        let expected = self
            .pairs
            .get(self.next)
            .is_some_and(|pair| pair.metric == metric && pair.labels == labels);
        let at = match expected {
            true => self.next,
            false => *self.places.get(&(metric.0, labels.0))? as usize,
        };
        self.next = at + 1;
        let pair = &self.pairs[at];
        let holds = match pair.outcome {
            Outcome::Refused(_) => pair.told == now,
            Outcome::Pass | Outcome::Fold(_) => pair.told.epoch == now.epoch,
        };
        holds.then_some(pair.outcome)
    }

    /// Remembers what was told; answers whether the pair is new here.
    pub(super) fn set(
        &mut self,
        metric: MetricId,
        labels: LabelSetId,
        told: Told,
        outcome: Outcome,
    ) -> bool {
        let pair = Pair {
            metric,
            labels,
            told,
            outcome,
        };
        let place = self.pairs.len() as u32;
        let known = *self.places.entry((metric.0, labels.0)).or_insert(place);
        self.next = known as usize + 1;
        match self.pairs.get_mut(known as usize) {
            Some(old) => {
                *old = pair;
                false
            }
            None => {
                self.pairs.push(pair);
                true
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.pairs.clear();
        self.places.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_holds_for_its_epoch_and_a_refusal_for_its_request() {
        let mut pairs = Pairs::default();
        let (metric, told) = (
            MetricId(3),
            Told {
                epoch: 1,
                request: 1,
            },
        );
        let fold = Outcome::Fold(Fold {
            labels: LabelSetId(9),
            folded: 1,
            original: 2,
        });
        let outcomes = [Outcome::Pass, fold, Outcome::Refused(0)];
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let labels = LabelSetId(number as u32);
            assert_eq!(pairs.find(metric, labels, told), None);
            assert!(pairs.set(metric, labels, told, outcome));
        }
        let find_all = |pairs: &mut Pairs, order: [u32; 3], now| {
            order.map(|number| pairs.find(metric, LabelSetId(number), now))
        };
        // As expected, and against it.
        assert_eq!(find_all(&mut pairs, [0, 1, 2], told), outcomes.map(Some));
        assert_eq!(
            find_all(&mut pairs, [2, 0, 1], told),
            [Some(Outcome::Refused(0)), Some(Outcome::Pass), Some(fold)]
        );
        let later = Told {
            epoch: 1,
            request: 2,
        };
        assert_eq!(
            find_all(&mut pairs, [0, 1, 2], later),
            [Some(Outcome::Pass), Some(fold), None]
        );
        let anew = Told {
            epoch: 2,
            request: 2,
        };
        assert_eq!(find_all(&mut pairs, [0, 1, 2], anew), [None; 3]);
        assert!(!pairs.set(metric, LabelSetId(0), anew, Outcome::Pass));
        assert_eq!(pairs.find(metric, LabelSetId(0), anew), Some(Outcome::Pass));
        pairs.clear();
        assert_eq!(pairs.find(metric, LabelSetId(0), anew), None);
    }
}
