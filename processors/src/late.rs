//! Late samples: found against the archive whether they change anything, and their windows computed again from raw samples.
//!
//! A late sample never patches a sum. At a checkpoint the pipeline reads what the archive holds ([`PartitionState::late_spans`]), the late samples are
//! resolved in log order ([`PartitionState::resolve_late`]), and each window that a change touches is recomputed ([`PartitionState::revise`]). A window's
//! revision counts the changes that came after it was sealed, by the log clock of their arrival, so the answer does not depend on when checkpoints happen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemas::{Micros, Resolution, Rollup, RollupRow, SampleRows};

use crate::PartitionState;
pub use crate::pending::LateSample;
use crate::rollup_figures::{completeness, rate_of};

/// Per series index: earliest and latest time wanted, both inclusive.
pub type Spans = BTreeMap<u32, (Micros, Micros)>;

/// A sample that the archive holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArchivedValue {
    /// Index in the partition's directory.
    pub series: u32,
    /// Its time, microseconds.
    pub time: Micros,
    /// Its value.
    pub value: f64,
}

/// A late sample that is new or has another value than the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The sample.
    pub sample: LateSample,
    /// How many more finite samples there are because of it: −1, 0 or 1.
    finite_gained: i64,
}

/// A rollup window that changes touch.
#[derive(Debug, Default)]
struct Touched {
    /// `finite_gained` of each change that came after the window was sealed, in log order.
    after_seal: Vec<i64>,
    /// The series' sampling interval when the last change came.
    interval: u32,
}

impl Touched {
    /// The revision after the changes, from the one before and the finite samples after. A window without a finite sample has no row,
    /// so its next row begins at revision 1.
    fn revision(&self, before: u32, finite_after: u64) -> u32 {
        let mut finite =
            i64::try_from(finite_after).unwrap_or(i64::MAX) - self.after_seal.iter().sum::<i64>();
        self.after_seal.iter().fold(before, |revision, gained| {
            finite += gained;
            if finite > 0 { revision + 1 } else { 0 }
        })
    }
}

/// What the late samples of a checkpoint come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    /// Archived samples, as (series, time), that get another value: their rows leave the files they are in.
    pub overwritten: BTreeSet<(u32, Micros)>,
    /// The late samples that change something, in log order.
    pub changes: Vec<Change>,
    /// The spans of raw samples that [`PartitionState::revise`] needs: whole UTC days.
    pub spans: Spans,
}

fn widen(spans: &mut Spans, series: u32, from: Micros, to: Micros) {
    let span = spans.entry(series).or_insert((from, to));
    *span = (span.0.min(from), span.1.max(to));
}

/// Where the current value of a (series, time) stands.
#[derive(Clone, Copy)]
enum Place {
    Archive,
    Sealed(usize),
    Replacing(usize),
}

impl PartitionState {
    /// What must be read from the archive to resolve the late and the replacing samples; empty if there are none.
    pub fn late_spans(&self) -> Spans {
        let mut spans = Spans::new();
        self.pending
            .late
            .iter()
            .for_each(|late| widen(&mut spans, late.series, late.time, late.time));
        let replacing = &self.pending.replacing;
        replacing
            .series
            .iter()
            .zip(&replacing.time)
            .for_each(|(series, time)| widen(&mut spans, *series, *time, *time));
        spans
    }

    /// Decides in log order which late samples are duplicates, new or replacing. `archived` holds at least [`PartitionState::late_spans`].
    pub fn resolve_late(&mut self, archived: &[ArchivedValue]) -> Resolved {
        let late = std::mem::take(&mut self.pending.late);
        let mut resolved = Resolved::default();
        let mut known: HashMap<(u32, Micros), (u64, Place)> = archived
            .iter()
            .map(|row| {
                (
                    (row.series, row.time),
                    (row.value.to_bits(), Place::Archive),
                )
            })
            .collect();
        let wanted: BTreeSet<u32> = late.iter().map(|late| late.series).collect();
        for (position, series) in self.pending.sealed.series.iter().enumerate() {
            if wanted.contains(series) {
                let (time, value) = (
                    self.pending.sealed.time[position],
                    self.pending.sealed.value[position],
                );
                known.insert((*series, time), (value.to_bits(), Place::Sealed(position)));
            }
        }
        let mut replacing = SampleRows::default();
        let mut replace = |known: &mut HashMap<(u32, Micros), (u64, Place)>,
                           series: u32,
                           time: Micros,
                           value: f64| {
            match known.get(&(series, time)) {
                Some((_, Place::Replacing(position))) => replacing.value[*position] = value,
                _ => replacing.push(series, time, value),
            }
            let position = match known.get(&(series, time)) {
                Some((_, Place::Replacing(position))) => *position,
                _ => replacing.len() - 1,
            };
            known.insert(
                (series, time),
                (value.to_bits(), Place::Replacing(position)),
            );
        };
        let on_time = std::mem::take(&mut self.pending.replacing);
        for position in 0..on_time.len() {
            resolved
                .overwritten
                .insert((on_time.series[position], on_time.time[position]));
            replace(
                &mut known,
                on_time.series[position],
                on_time.time[position],
                on_time.value[position],
            );
        }
        let counts = &mut self.pending.counts;
        for sample in late {
            let key = (sample.series, sample.time);
            let before = known.get(&key).copied();
            if before.is_some_and(|(bits, _)| bits == sample.value.to_bits()) {
                counts.duplicate += 1;
                continue;
            }
            counts.accepted += 1;
            counts.revised += 1;
            counts.replaced += u64::from(before.is_some());
            match before {
                Some((_, Place::Sealed(position))) => {
                    self.pending.sealed.value[position] = sample.value;
                    known.insert(key, (sample.value.to_bits(), Place::Sealed(position)));
                }
                Some((_, Place::Archive)) => {
                    resolved.overwritten.insert(key);
                    replace(&mut known, sample.series, sample.time, sample.value);
                }
                Some((_, Place::Replacing(_))) | None => {
                    replace(&mut known, sample.series, sample.time, sample.value)
                }
            }
            let day = Resolution::Day.window(sample.time);
            widen(&mut resolved.spans, sample.series, day.start, day.end - 1);
            let finite_before = before.is_some_and(|(bits, _)| f64::from_bits(bits).is_finite());
            resolved.changes.push(Change {
                sample,
                finite_gained: i64::from(sample.value.is_finite()) - i64::from(finite_before),
            });
        }
        self.pending.replacing = replacing;
        resolved
    }

    /// Computes the changed windows again. `archived` holds the raw samples of `resolved.spans` (overwritten ones included or not), `stored` the revision of
    /// each archived rollup row of the same spans.
    ///
    /// Returns the archived rollup rows, as (resolution, series, start), that are replaced or gone.
    pub fn revise(
        &mut self,
        resolved: &Resolved,
        archived: &[ArchivedValue],
        stored: &HashMap<(Resolution, u32, Micros), u32>,
    ) -> BTreeSet<(Resolution, u32, Micros)> {
        let watermark = self.watermark();
        let mut raw = self.raw_samples(&resolved.spans, archived);
        let mut touched: BTreeMap<(u32, Resolution, Micros), Touched> = BTreeMap::new();
        for Change {
            sample,
            finite_gained,
        } in &resolved.changes
        {
            for resolution in Resolution::ALL {
                let window = resolution.window(sample.time);
                let entry = touched
                    .entry((sample.series, resolution, window.start))
                    .or_default();
                if window.end <= sample.watermark {
                    entry.after_seal.push(*finite_gained);
                }
                entry.interval = sample.interval;
            }
        }
        let mut waiting: HashMap<(Resolution, u32, Micros), usize> = HashMap::new();
        for (position, row) in self.pending.rollups.iter().enumerate() {
            if resolved.spans.contains_key(&row.series) {
                waiting.insert((row.resolution, row.series, row.start), position);
            }
        }
        let mut gone = BTreeSet::new();
        let mut replaced = BTreeSet::new();
        for series in resolved.spans.keys() {
            let hierarchy = Hierarchy::build(raw.remove(series).unwrap_or_default(), watermark.0);
            let of_series = (*series, Resolution::TenSeconds, Micros::MIN)
                ..(*series + 1, Resolution::TenSeconds, Micros::MIN);
            for ((_, resolution, start), window) in touched.range(of_series) {
                let rollup = hierarchy.rollup(*resolution, *start);
                if start + resolution.micros() > watermark.0 {
                    if let Some(level) = self
                        .levels
                        .iter_mut()
                        .find(|level| level.resolution() == *resolution)
                    {
                        level.replace(*start, *series, rollup);
                    }
                    continue;
                }
                let key = (*resolution, *series, *start);
                let position = waiting.get(&key).copied();
                let before = position
                    .map(|position| self.pending.rollups[position].revision)
                    .or_else(|| stored.get(&key).copied());
                let row = rollup.map(|rollup| RollupRow {
                    series: *series,
                    resolution: *resolution,
                    start: *start,
                    rollup,
                    rate: rate_of(self.table.kinds(), *series, &rollup),
                    completeness: completeness(rollup.count, window.interval, *resolution),
                    revision: window.revision(before.unwrap_or(0), rollup.count),
                });
                if stored.contains_key(&key) {
                    replaced.insert(key);
                }
                match (position, row) {
                    (Some(position), Some(row)) => self.pending.rollups[position] = row,
                    (Some(position), None) => {
                        gone.insert(position);
                    }
                    (None, Some(row)) => self.pending.revised.push(row),
                    (None, None) => {}
                }
            }
        }
        let mut position = 0;
        self.pending.rollups.retain(|_| {
            position += 1;
            !gone.contains(&(position - 1))
        });
        replaced
    }

    /// Raw samples by series and time: the archive's, overlaid by what this checkpoint adds.
    fn raw_samples(
        &self,
        spans: &Spans,
        archived: &[ArchivedValue],
    ) -> BTreeMap<u32, BTreeMap<Micros, f64>> {
        let mut raw: BTreeMap<u32, BTreeMap<Micros, f64>> = BTreeMap::new();
        let mut take = |series: u32, time: Micros, value: f64| {
            if spans
                .get(&series)
                .is_some_and(|(from, to)| (*from..=*to).contains(&time))
            {
                raw.entry(series).or_default().insert(time, value);
            }
        };
        archived
            .iter()
            .for_each(|row| take(row.series, row.time, row.value));
        for rows in [&self.pending.sealed, &self.pending.replacing] {
            (0..rows.len()).for_each(|i| take(rows.series[i], rows.time[i], rows.value[i]));
        }
        raw
    }
}

/// The sealed windows of one series over some days, each level merged from the one below, as the on-time path does it.
struct Hierarchy {
    /// By resolution (as in [`Resolution::ALL`]), by window start. The windows above 10 s may be partly filled: those that are open.
    windows: [BTreeMap<Micros, Rollup>; 5],
}

impl Hierarchy {
    fn build(raw: BTreeMap<Micros, f64>, watermark: Micros) -> Self {
        let mut windows: [BTreeMap<Micros, Rollup>; 5] = Default::default();
        for (time, value) in raw {
            let window = Resolution::TenSeconds.window(time);
            if window.end > watermark || !value.is_finite() {
                continue;
            }
            windows[0]
                .entry(window.start)
                .and_modify(|rollup| rollup.add(time, value))
                .or_insert_with(|| Rollup::of(time, value));
        }
        for level in 1..windows.len() {
            let (below, above) = windows.split_at_mut(level);
            let width_below = Resolution::ALL[level - 1].micros();
            for (start, rollup) in below[level - 1]
                .iter()
                .filter(|(start, _)| **start + width_below <= watermark)
            {
                let parent = Resolution::ALL[level].window(*start).start;
                above[0]
                    .entry(parent)
                    .and_modify(|merged: &mut Rollup| merged.merge(rollup))
                    .or_insert(*rollup);
            }
        }
        Hierarchy { windows }
    }

    fn rollup(&self, resolution: Resolution, start: Micros) -> Option<Rollup> {
        let level = Resolution::ALL.iter().position(|r| *r == resolution)?;
        self.windows[level].get(&start).copied()
    }
}
