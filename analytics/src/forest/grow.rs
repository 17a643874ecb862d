//! Grows trees out of rows. All chance is here.

use ndarray::{ArrayView2, Axis};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::fitted::{Cut, IsolationForest};
use super::scale::Scale;
use super::{ForestConfig, config::FEATURES_MAX};

/// Rows from which the scales are taken. 1,024 find a median to 3 % of the spread, and scales decide only how finely `f32` resolves.
const SCALE_ROWS: usize = 1024;

/// A number from 0 (inclusive) to n (exclusive). n > 0. The bias of this is below n/2⁶⁴.
pub(super) fn below(random: &mut Xoshiro256PlusPlus, n: usize) -> usize {
    ((u128::from(random.next_u64()) * n as u128) >> 64) as usize
}

/// A number from 0 (inclusive) to 1 (exclusive), of 53 random bits.
pub(super) fn unit(random: &mut Xoshiro256PlusPlus) -> f64 {
    (random.next_u64() >> 11) as f64 * 2f64.powi(-53)
}

/// Draws `count` of the numbers below n without replacement, in rising order (Floyd: Bentley 1987, "A sample of brilliance").
fn draw(random: &mut Xoshiro256PlusPlus, count: usize, n: usize, drawn: &mut Vec<usize>) {
    drawn.clear();
    if count >= n {
        drawn.extend(0..n);
        return;
    }
    for last in n - count..n {
        let number = below(random, last + 1);
        match drawn.binary_search(&number) {
            Err(place) => drawn.insert(place, number),
            // `last` is larger than all drawn so far.
            Ok(_) => drawn.push(last),
        }
    }
}

/// By count n: the mean length of the path that isolates one of n samples with random cuts, c(n) = 2·H(n − 1) − 2·(n − 1)/n; c(0) = c(1) = 0
/// (Liu, Ting, Zhou 2008, equation 1). H is summed, not approximated.
pub(super) fn path_lengths(most: usize) -> Vec<f64> {
    let mut harmonic = 0.0;
    let length = |n: usize| {
        if n < 2 {
            return 0.0;
        }
        let before = (n - 1) as f64;
        harmonic += 1.0 / before;
        2.0 * harmonic - 2.0 * before / n as f64
    };
    (0..=most).map(length).collect()
}

pub(super) fn grow(config: &ForestConfig, rows: ArrayView2<'_, f64>) -> IsolationForest {
    debug_assert!(rows.ncols() <= FEATURES_MAX);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(config.seed);
    let mut drawn = Vec::new();
    draw(&mut random, SCALE_ROWS, rows.nrows(), &mut drawn);
    let some = rows.select(Axis(0), &drawn);
    let mut buffer = Vec::new();
    let scales: Vec<Scale> = some
        .columns()
        .into_iter()
        .map(|column| Scale::of(column, &mut buffer))
        .collect();
    let samples = rows.nrows().min(config.samples as usize);
    // ⌈log₂ samples⌉ cuts isolate every sample of a tree that halves them.
    let depth = config
        .depth
        .min(samples.next_power_of_two().trailing_zeros());
    let lengths = path_lengths(samples);
    let mut forest = IsolationForest::without_trees(depth, lengths[samples], scales);
    let mut tree = Tree {
        config,
        depth,
        lengths: &lengths,
        samples,
        values: vec![0.0; samples * rows.ncols()],
        weights: Vec::with_capacity(rows.ncols()),
        order: Vec::with_capacity(samples),
        features: Vec::with_capacity(rows.ncols()),
        sorted: Vec::with_capacity(samples),
        cuts: Vec::new(),
        means: Vec::new(),
    };
    let mut reaches = vec![(0.0, 0.0); rows.ncols()];
    for _ in 0..config.trees {
        draw(&mut random, samples, rows.nrows(), &mut drawn);
        for (column, (values, scale)) in rows
            .columns()
            .into_iter()
            .zip(tree.values.chunks_mut(samples.max(1)).zip(forest.scales()))
        {
            for (value, &row) in values.iter_mut().zip(&drawn) {
                *value = scale.apply(column[row]);
            }
        }
        // The mean over the trees: a wild row counts as often as trees see it.
        for ((low, high), values) in reaches.iter_mut().zip(tree.values.chunks(samples.max(1))) {
            let (least, most) = ends(values.iter().copied());
            *low += least / f64::from(config.trees);
            *high += most / f64::from(config.trees);
        }
        tree.grow(&mut random);
        forest.push_tree(&tree.cuts, &tree.means);
    }
    forest.set_reaches(&reaches);
    forest
}

/// A tree while it grows, with its buffers.
struct Tree<'a> {
    config: &'a ForestConfig,
    depth: u32,
    /// c(n) by n.
    lengths: &'a [f64],
    /// Samples of this tree.
    samples: usize,
    /// The samples by feature: values[feature · samples + sample].
    values: Vec<f32>,
    /// By feature: how often it is cut, in proportion; 0 for one that is constant.
    weights: Vec<f64>,
    /// Sample numbers, those of a node together.
    order: Vec<u16>,
    /// Feature numbers; those that may vary in the node at hand stand first.
    features: Vec<u16>,
    sorted: Vec<f32>,
    /// The cuts, level by level: the children of i are 2i + 1 and 2i + 2.
    cuts: Vec<Cut>,
    /// By node, leaves included: the mean length of path of the samples in it.
    means: Vec<f32>,
}

/// A node to be cut.
#[derive(Clone, Copy)]
struct Node {
    /// Its number, level by level.
    index: usize,
    depth: u32,
    /// Where its samples stand in `order`: from (inclusive) to (exclusive).
    from: usize,
    to: usize,
    /// How many of the first features may vary in it.
    varying: usize,
    /// Length of the path to it.
    length: f64,
}

impl Tree<'_> {
    fn grow(&mut self, random: &mut Xoshiro256PlusPlus) {
        let inner = (1 << self.depth) - 1;
        self.cuts.clear();
        self.cuts.resize(inner, Cut::NONE);
        self.means.clear();
        self.means.resize(2 * inner + 1, 0.0);
        self.order.clear();
        self.order
            .extend((0..self.samples).map(|sample| sample as u16));
        self.weights.clear();
        for values in self.values.chunks(self.samples.max(1)) {
            let kurtosis = kurtosis(values);
            self.weights.push(match kurtosis {
                Some(kurtosis) if self.config.tails => libm::log(1.0 + kurtosis),
                Some(_) => 1.0,
                None => 0.0,
            });
        }
        let all = self.weights.len();
        self.features.clear();
        self.features.extend((0..all).map(|feature| feature as u16));
        let allowed = ((all as f64 * self.config.features).ceil() as usize).min(all);
        for i in 0..allowed {
            self.features.swap(i, i + below(random, all - i));
        }
        let root = Node {
            index: 0,
            depth: 0,
            from: 0,
            to: self.samples,
            varying: allowed,
            length: 0.0,
        };
        self.node(root, random);
    }

    /// Grows what is below a node; returns the mean length of path of its samples.
    fn node(&mut self, node: Node, random: &mut Xoshiro256PlusPlus) -> f64 {
        let count = node.to - node.from;
        let cut = if node.depth < self.depth && count > 1 {
            self.cut(node, random)
        } else {
            None
        };
        let Some((cut, share_of_range, varying)) = cut else {
            let length = node.length + self.lengths[count];
            self.leaf(node, length as f32);
            return length;
        };
        let values = &self.values[usize::from(cut.feature) * self.samples..];
        let mut middle = node.from;
        for i in node.from..node.to {
            if values[usize::from(self.order[i])] <= cut.threshold {
                self.order.swap(middle, i);
                middle += 1;
            }
        }
        self.cuts[node.index] = cut;
        let low = (middle - node.from) as f64 / count as f64;
        let step = |samples: f64, range: f64| {
            if self.config.density {
                2.0 * samples / (samples + range)
            } else {
                1.0
            }
        };
        let child = |index, from, to, step: f64| Node {
            index,
            depth: node.depth + 1,
            from,
            to,
            varying,
            length: node.length + step,
        };
        let left = child(
            2 * node.index + 1,
            node.from,
            middle,
            step(low, share_of_range),
        );
        let right = child(
            2 * node.index + 2,
            middle,
            node.to,
            step(1.0 - low, 1.0 - share_of_range),
        );
        let mean = low * self.node(left, random) + (1.0 - low) * self.node(right, random);
        self.means[node.index] = mean as f32;
        mean
    }

    /// Ends a path above the bottom: from here every row goes left to the bottom, where the length of its path stands.
    fn leaf(&mut self, node: Node, length: f32) {
        let mut index = node.index;
        self.means[index] = length;
        for _ in node.depth..self.depth {
            index = 2 * index + 1;
            self.means[index] = length;
        }
    }

    /// A cut that parts the samples of a node, with the share of the range below it and the number of features that may vary; `None` if
    /// all samples are alike.
    fn cut(&mut self, node: Node, random: &mut Xoshiro256PlusPlus) -> Option<(Cut, f64, usize)> {
        let order = &self.order[node.from..node.to];
        let mut varying = node.varying;
        while varying > 0 {
            let place = self.draw_feature(varying, random);
            let feature = self.features[place];
            let values = &self.values[usize::from(feature) * self.samples..][..self.samples];
            let (low, high) = ends(order.iter().map(|&sample| values[usize::from(sample)]));
            if low >= high {
                // Constant here is constant in all that is below.
                varying -= 1;
                self.features.swap(place, varying);
                continue;
            }
            let between = |a: f64, b: f64, share: f64| {
                // Rounding may reach the upper end, where nothing would be left above the cut.
                let cut = (a + share * (b - a)) as f32;
                if f64::from(cut) < b { cut } else { a as f32 }
            };
            let threshold = if unit(random) < self.config.guided {
                self.sorted.clear();
                self.sorted
                    .extend(order.iter().map(|&sample| values[usize::from(sample)]));
                let (below, above) = best_gap(&mut self.sorted);
                between(below, above, 0.5)
            } else {
                between(low, high, unit(random))
            };
            let cut = Cut { threshold, feature };
            return Some((cut, (f64::from(threshold) - low) / (high - low), varying));
        }
        None
    }

    /// The place of one of the first `varying` features, drawn by weight. `varying` > 0.
    fn draw_feature(&self, varying: usize, random: &mut Xoshiro256PlusPlus) -> usize {
        let weight = |feature: &u16| self.weights[usize::from(*feature)];
        let features = &self.features[..varying];
        let mut left = unit(random) * features.iter().map(weight).sum::<f64>();
        let reached = features.iter().position(|feature| {
            left -= weight(feature);
            left < 0.0
        });
        // Rounding may leave a little past the last, or all weigh nothing.
        reached.unwrap_or(varying - 1)
    }
}

/// The smallest and the largest of some values.
fn ends(values: impl Iterator<Item = f32>) -> (f64, f64) {
    let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    (f64::from(low), f64::from(high))
}

/// The fourth central moment over the square of the second: 1 for two equal peaks, 3 for normal data; `None` for constant values.
fn kurtosis(values: &[f32]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
    let (mut second, mut fourth) = (0.0, 0.0);
    for value in values {
        let square = (f64::from(*value) - mean).powi(2);
        second += square;
        fourth += square * square;
    }
    let kurtosis = count * fourth / (second * second);
    // Denormal squares may vanish, which makes it 0/0.
    kurtosis.is_finite().then_some(kurtosis)
}

/// The two neighbours between which a cut leaves the least variance within its sides: with S the sum of a side's values around the mean, and
/// n their number, it makes S²/n of both sides largest. At least two of the values differ.
fn best_gap(values: &mut [f32]) -> (f64, f64) {
    values.sort_unstable_by(f32::total_cmp);
    let count = values.len() as f64;
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
    let (mut sum, mut best, mut gap) = (0.0, -1.0, (0.0, 0.0));
    for (i, pair) in values.windows(2).enumerate() {
        sum += f64::from(pair[0]) - mean;
        let below = (i + 1) as f64;
        // The sums of both sides are opposite.
        let gain = sum * sum / (below * (count - below));
        if pair[0] < pair[1] && gain > best {
            (best, gap) = (gain, (f64::from(pair[0]), f64::from(pair[1])));
        }
    }
    gap
}
