//! Histograms, explicit and exponential, as series of running buckets: `_bucket{le}`, `_count`, `_sum`, `_min`, `_max`.

use schemas::Kind;

use super::super::refusal::Undecodable;
use super::super::wire::{Value, Wire};
use super::decode::{BUCKETS_MAX, Part, Points, Taken, wrong_type};
use super::naming::Bound;
use crate::door::{Place, Reason};

/// The finest scale that buckets are kept at: four per doubling, so that a quantile is known to 19 % and a latency between 1 ms and 10 s
/// has 54 series. Senders change their scale with what they see; bounds of a coarser scale are all bounds of this one, so series keep their names.
const SCALE_MAX: i32 = 2;
/// Scales that OpenTelemetry allows.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;
/// Powers of two that a double holds.
const EXPONENTS: std::ops::RangeInclusive<f64> = -1074.0..=1024.0;

/// What both kinds of histogram tell beside their buckets.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    time_ns: u64,
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    flags: u64,
}

impl Totals {
    /// Their series, after those of the buckets.
    fn parts(self, kind: Kind) -> impl Iterator<Item = Part> {
        let part = |suffix, kind, value| Part {
            suffix,
            bound: None,
            kind,
            value,
        };
        [
            Some(part("_count", kind, self.count as f64)),
            self.sum.map(|sum| part("_sum", kind, sum)),
            self.min.map(|min| part("_min", Kind::Gauge, min)),
            self.max.map(|max| part("_max", Kind::Gauge, max)),
        ]
        .into_iter()
        .flatten()
    }

    /// The bucket that holds everything, and the totals.
    fn and_all(self, kind: Kind) -> impl Iterator<Item = Part> {
        std::iter::once(bucket(f64::INFINITY, self.count, kind)).chain(self.parts(kind))
    }
}

fn bucket(bound: f64, count: u64, kind: Kind) -> Part {
    Part {
        suffix: "_bucket",
        bound: Some(Bound {
            label: "le",
            value: bound,
        }),
        kind,
        value: count as f64,
    }
}

fn too_many() -> Reason {
    Reason::Syntax(format!("a histogram of more than {BUCKETS_MAX} buckets"))
}

/// Adds a packed or single number to a list; `false` if that is too long.
fn add<T>(list: &mut Vec<T>, number: T) -> bool {
    if list.len() < BUCKETS_MAX {
        list.push(number);
        true
    } else {
        false
    }
}

impl<'a> Points<'a, '_> {
    pub(super) fn take_histogram(&mut self, point: Wire<'a>, kind: Kind, place: Place) -> Taken {
        self.naming.enter_point(point, 9);
        self.counts.clear();
        self.bounds.clear();
        let (mut walk, mut totals, mut fits) = (point, Totals::default(), true);
        while let Some((field, value)) = walk.next()? {
            match (field, value) {
                (9, Value::Bytes(bytes, _)) => self.naming.add_attribute(bytes),
                (3, Value::Fixed64(bits)) => totals.time_ns = bits,
                (4, Value::Fixed64(bits)) => totals.count = bits,
                (5, Value::Fixed64(bits)) => totals.sum = Some(f64::from_bits(bits)),
                (6, Value::Fixed64(bits)) => fits &= add(&mut self.counts, bits),
                (7, Value::Fixed64(bits)) => fits &= add(&mut self.bounds, f64::from_bits(bits)),
                (6 | 7, Value::Bytes(bytes, at)) => {
                    let mut packed = walk.inner(bytes, at, "HistogramDataPoint");
                    while let Some(bits) = packed.packed_fixed64(field)? {
                        fits &= if field == 6 {
                            add(&mut self.counts, bits)
                        } else {
                            add(&mut self.bounds, f64::from_bits(bits))
                        };
                    }
                }
                (10, Value::Varint(bits)) => totals.flags = bits,
                (11, Value::Fixed64(bits)) => totals.min = Some(f64::from_bits(bits)),
                (12, Value::Fixed64(bits)) => totals.max = Some(f64::from_bits(bits)),
                (3..=7 | 9..=12, _) => return Err(wrong_type(&walk, field).into()),
                _ => {}
            }
        }
        if totals.flags & 1 != 0 {
            self.skipped += 1;
            return Ok(Ok(()));
        }
        if !fits {
            return Ok(Err(too_many()));
        }
        let (counts, bounds) = (
            std::mem::take(&mut self.counts),
            std::mem::take(&mut self.bounds),
        );
        let taken = if counts.is_empty() && bounds.is_empty() {
            // Only the totals are known.
            self.push_all(totals.time_ns, totals.parts(kind), place)
        } else if counts.len() != bounds.len() + 1 {
            Ok(Err(Reason::Syntax(format!(
                "a histogram with {} buckets and {} bounds; expected one bucket more than bounds",
                counts.len(),
                bounds.len()
            ))))
        } else if bounds.iter().any(|bound| !bound.is_finite())
            || bounds.windows(2).any(|pair| pair[0] >= pair[1])
        {
            Ok(Err(Reason::Syntax(
                "a histogram whose bounds are not finite and ascending".into(),
            )))
        } else {
            let mut running = 0u64;
            let buckets = bounds.iter().zip(&counts).map(|(bound, count)| {
                running = running.saturating_add(*count);
                bucket(*bound, running, kind)
            });
            self.push_all(totals.time_ns, buckets.chain(totals.and_all(kind)), place)
        };
        (self.counts, self.bounds) = (counts, bounds);
        taken
    }

    pub(super) fn take_exponential(&mut self, point: Wire<'a>, kind: Kind, place: Place) -> Taken {
        self.naming.enter_point(point, 1);
        let (mut walk, mut totals) = (point, Totals::default());
        let (mut scale, mut zeros, mut threshold) = (0, 0, 0.0);
        let (mut positive, mut negative) = (None, None);
        while let Some((field, value)) = walk.next()? {
            match (field, value) {
                (1, Value::Bytes(bytes, _)) => self.naming.add_attribute(bytes),
                (3, Value::Fixed64(bits)) => totals.time_ns = bits,
                (4, Value::Fixed64(bits)) => totals.count = bits,
                (5, Value::Fixed64(bits)) => totals.sum = Some(f64::from_bits(bits)),
                (6, Value::Varint(bits)) => scale = unzigzag(bits),
                (7, Value::Fixed64(bits)) => zeros = bits,
                (8, Value::Bytes(bytes, at)) => positive = Some(walk.inner(bytes, at, "Buckets")),
                (9, Value::Bytes(bytes, at)) => negative = Some(walk.inner(bytes, at, "Buckets")),
                (10, Value::Varint(bits)) => totals.flags = bits,
                (12, Value::Fixed64(bits)) => totals.min = Some(f64::from_bits(bits)),
                (13, Value::Fixed64(bits)) => totals.max = Some(f64::from_bits(bits)),
                (14, Value::Fixed64(bits)) => threshold = f64::from_bits(bits),
                (1 | 3..=10 | 12..=14, _) => return Err(wrong_type(&walk, field).into()),
                _ => {}
            }
        }
        if totals.flags & 1 != 0 {
            self.skipped += 1;
            return Ok(Ok(()));
        }
        if !SCALES.contains(&scale) || !(0.0..f64::INFINITY).contains(&threshold) {
            return Ok(Err(Reason::Syntax(format!(
                "an exponential histogram of scale {scale} with zero threshold {threshold}; expected -10 to 20, and a finite one from 0"
            ))));
        }
        let ladders = [negative, positive].map(|message| Ladder::read(message, scale));
        let [negative, positive] = match ladders {
            [Ok(Ok(negative)), Ok(Ok(positive))] => [negative, positive],
            [Err(error), _] | [_, Err(error)] => return Err(error),
            [Ok(Err(reason)), _] | [_, Ok(Err(reason))] => return Ok(Err(reason)),
        };
        let mut running = 0u64;
        // From the most negative value up. A bound within the zero bucket is none: what is there counts as zero.
        let below = negative
            .counts
            .iter()
            .enumerate()
            .rev()
            .map(|(rung, count)| (-negative.bound(rung), *count));
        let above = positive
            .counts
            .iter()
            .enumerate()
            .map(|(rung, count)| (positive.bound(rung + 1), *count));
        let buckets =
            below
                .chain([(threshold, zeros)])
                .chain(above)
                .filter_map(|(bound, count)| {
                    running = running.saturating_add(count);
                    let is_told =
                        bound.is_finite() && (bound == threshold || bound.abs() > threshold);
                    is_told.then(|| bucket(bound, running, kind))
                });
        self.push_all(totals.time_ns, buckets.chain(totals.and_all(kind)), place)
    }
}

fn unzigzag(bits: u64) -> i32 {
    let bits = bits as u32;
    (bits >> 1) as i32 ^ -((bits & 1) as i32)
}

/// The buckets of one sign, at a scale of at most [`SCALE_MAX`].
#[derive(Debug, Default)]
struct Ladder {
    scale: i32,
    /// Index of the first bucket. Bucket `i` holds what lies above `base^i`, up to `base^(i + 1)`; `base = 2^(2^-scale)`.
    first: i64,
    counts: Vec<u64>,
}

impl Ladder {
    /// Reads buckets and merges those that become one at the scale that is kept: exact, since `base^2` of a scale is the base of the next coarser one.
    fn read(message: Option<Wire<'_>>, scale: i32) -> Result<Result<Self, Reason>, Undecodable> {
        let Some(message) = message else {
            return Ok(Ok(Ladder::default()));
        };
        let (mut walk, mut offset) = (message, 0);
        while let Some((field, value)) = walk.next()? {
            match (field, value) {
                (1, Value::Varint(bits)) => offset = unzigzag(bits),
                (1, _) => return Err(wrong_type(&walk, field).into()),
                _ => {}
            }
        }
        let shift = (scale - SCALE_MAX).max(0);
        let mut ladder = Ladder {
            scale: scale.min(SCALE_MAX),
            first: i64::from(offset) >> shift,
            counts: Vec::new(),
        };
        let mut seen = 0;
        let mut add = |count: u64| {
            // Bounded by what is sent, not by what it is merged into.
            if seen == BUCKETS_MAX {
                return false;
            }
            let rung = ((i64::from(offset) + seen as i64) >> shift) - ladder.first;
            seen += 1;
            // Indices ascend, so a rung is the last one or the next.
            if rung as usize == ladder.counts.len() {
                ladder.counts.push(count);
            } else if let Some(last) = ladder.counts.last_mut() {
                *last = last.saturating_add(count);
            }
            true
        };
        let (mut walk, mut fits) = (message, true);
        while let Some((field, value)) = walk.next()? {
            match (field, value) {
                (2, Value::Varint(count)) => fits &= add(count),
                (2, Value::Bytes(bytes, at)) => {
                    let mut packed = walk.inner(bytes, at, "Buckets");
                    while let Some(count) = packed.packed_varint(field)? {
                        fits &= add(count);
                    }
                }
                (2, _) => return Err(wrong_type(&walk, field).into()),
                _ => {}
            }
        }
        if !fits {
            return Ok(Err(too_many()));
        }
        let ends = [0, ladder.counts.len()].map(|rung| ladder.exponent(rung));
        if !ladder.counts.is_empty() && !ends.iter().all(|end| EXPONENTS.contains(end)) {
            return Ok(Err(Reason::Syntax(format!(
                "an exponential histogram of scale {scale} with {seen} buckets from index {offset}: beyond what a double holds"
            ))));
        }
        Ok(Ok(ladder))
    }

    /// Of which power of two the lower bound of a rung is.
    fn exponent(&self, rung: usize) -> f64 {
        // Exact: at most 2^33, times a power of two.
        (self.first + rung as i64) as f64 * libm::exp2(f64::from(-self.scale))
    }

    /// The lower bound of a rung; the upper one of the rung before.
    fn bound(&self, rung: usize) -> f64 {
        libm::exp2(self.exponent(rung))
    }
}
