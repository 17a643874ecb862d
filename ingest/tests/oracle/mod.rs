//! What the oracles share: lines are made of usual and of unusual parts, read by us and by others, and each difference has its explanation.

use std::collections::BTreeMap;
use std::fmt::Debug;

#[allow(
    unreachable_pub,
    dead_code,
    reason = "public in the room that it stands in"
)]
#[path = "../../../tests/src/random.rs"]
mod random;

use random::Random;

/// How many lines are compared: as many as `TIDEWATCH_TEST_INPUTS` says, or `default`.
pub(crate) fn lines_asked_for(default: usize) -> usize {
    std::env::var("TIDEWATCH_TEST_INPUTS").map_or(default, |text| {
        text.parse().expect("TIDEWATCH_TEST_INPUTS is a number")
    })
}

/// Makes lines.
#[derive(Debug)]
pub(crate) struct Maker {
    random: Random,
    /// One part of so many is unusual.
    usual: usize,
}

impl Maker {
    pub(crate) fn new(usual: usize) -> Self {
        let random = Random::from_environment(1);
        Maker { random, usual }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.random.seed
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// One of the usual, and now and then one of the unusual.
    pub(crate) fn pick(
        &mut self,
        usual: &[&'static str],
        unusual: &[&'static str],
    ) -> &'static str {
        match self.below(self.usual) {
            0 => unusual[self.below(unusual.len())],
            _ => usual[self.below(usual.len())],
        }
    }
}

/// Where the two readers differ: why, and of which lines.
pub(crate) type Explained<L> = (&'static str, fn(&L) -> bool);

/// What came of the comparison so far.
#[derive(Debug)]
pub(crate) struct Comparison<L: 'static> {
    explained: &'static [Explained<L>],
    seed: u64,
    lines: usize,
    equal: usize,
    taken: usize,
    differ: BTreeMap<&'static str, usize>,
}

impl<L> Comparison<L> {
    pub(crate) fn new(explained: &'static [Explained<L>], seed: u64) -> Self {
        Comparison {
            explained,
            seed,
            lines: 0,
            equal: 0,
            taken: 0,
            differ: BTreeMap::new(),
        }
    }

    /// Compares what both made of a line, `None` where it was refused; answers why they differ, if they do.
    pub(crate) fn add<S: PartialEq + Debug>(
        &mut self,
        line: &L,
        text: &str,
        ours: &Option<S>,
        theirs: &Option<S>,
    ) -> Option<&'static str> {
        self.lines += 1;
        if ours == theirs {
            self.equal += 1;
            self.taken += usize::from(ours.is_some());
            return None;
        }
        let why = self.explained.iter().find(|(_, holds)| holds(line));
        let Some((why, _)) = why else {
            panic!(
                "line {} of TIDEWATCH_TEST_SEED={}: `{text}`\nours   {ours:?}\ntheirs {theirs:?}",
                self.lines, self.seed
            )
        };
        *self.differ.entry(*why).or_insert(0) += 1;
        Some(*why)
    }

    /// Tells what came of it. Most lines must be read alike, many of them taken, and each explanation must explain one.
    pub(crate) fn finish(self) {
        let Comparison {
            lines,
            equal,
            taken,
            differ,
            ..
        } = self;
        println!(
            "{equal} of {lines} lines are read alike, {taken} are taken; the others: {differ:#?}"
        );
        assert!(
            equal * 2 > lines && taken * 3 > lines,
            "{equal} {taken} of {lines}"
        );
        assert_eq!(
            differ.len(),
            self.explained.len(),
            "an explanation that explains nothing: {differ:#?}"
        );
    }
}
