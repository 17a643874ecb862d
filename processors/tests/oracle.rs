//! The operators against an oracle: whatever the order, the duplicates, the conflicts, the lateness, the checkpoints and the crashes,
//! the archive holds what a plain map of all samples says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};

use processors::late::ArchivedValue;
use processors::{PartitionState, ProcessingConfig, Refold};
use proptest::prelude::*;
use schemas::time::{MINUTE, SECOND};
use schemas::{
    BatchBuilder, Counts, Kind, Labels, Micros, NextOffset, Offset, Resolution, Rollup,
    SampleBatch, SeriesId, Watermark,
};

/// A sample as a test writes it: series number, time, value.
type Sample = (u8, Micros, f64);

/// One record: append time and samples.
type TestRecord = (Micros, Vec<Sample>);

fn batch(samples: &[Sample]) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for (series, time, value) in samples {
        let metric = builder.metric(if series % 2 == 0 {
            "cpu"
        } else {
            "requests_total"
        });
        let labels =
            builder.label_set(&Labels::try_new([("host.name", format!("h{series}"))]).unwrap());
        builder.push(
            metric,
            labels,
            if series % 2 == 0 {
                Kind::Gauge
            } else {
                Kind::Counter
            },
            *time,
            *value,
        );
    }
    builder.finish().unwrap()
}

/// The archive as the pipeline keeps it, in memory.
#[derive(Default)]
struct Archive {
    samples: BTreeMap<(SeriesId, Micros), f64>,
    rollups: BTreeMap<(Resolution, SeriesId, Micros), (Rollup, u32)>,
    counts: Counts,
    snapshot: Option<Vec<u8>>,
    /// By the newest link: its end, its watermark, its log clock.
    end: Option<(NextOffset, Watermark, Micros)>,
}

impl Archive {
    /// What `pipeline::checkpoint` does, without files.
    fn checkpoint(&mut self, state: &mut PartitionState, with_snapshot: bool) {
        let directory = state.directory().clone();
        let in_spans = |archive: &Archive, spans: &processors::late::Spans| -> Vec<ArchivedValue> {
            let rows = archive.samples.iter().filter_map(|((id, time), value)| {
                let series = directory.iter().position(|series| series.id == *id)? as u32;
                let (from, to) = spans.get(&series)?;
                (*from..=*to).contains(time).then_some(ArchivedValue {
                    series,
                    time: *time,
                    value: *value,
                })
            });
            rows.collect()
        };
        let spans = state.late_spans();
        let mut changed = false;
        if !spans.is_empty() {
            let archived = in_spans(self, &spans);
            let resolved = state.resolve_late(&archived);
            let raw = in_spans(self, &resolved.spans);
            let stored: HashMap<_, _> = self
                .rollups
                .iter()
                .filter_map(|((resolution, id, start), (_, revision))| {
                    Some((
                        (
                            *resolution,
                            directory.iter().position(|s| s.id == *id)? as u32,
                            *start,
                        ),
                        *revision,
                    ))
                })
                .collect();
            changed = !resolved.changes.is_empty();
            if changed {
                for (resolution, series, start) in state.revise(&resolved, &raw, &stored) {
                    let gone =
                        self.rollups
                            .remove(&(resolution, directory[series as usize].id, start));
                    assert!(
                        gone.is_some(),
                        "a rollup that is not stored cannot be replaced"
                    );
                }
            }
            for (series, time) in &resolved.overwritten {
                assert!(
                    self.samples
                        .remove(&(directory[*series as usize].id, *time))
                        .is_some(),
                    "an overwritten sample must be in the archive"
                );
            }
        }
        let rows = state.checkpoint_samples();
        for i in 0..rows.len() {
            let key = (directory[rows.series[i] as usize].id, rows.time[i]);
            assert!(
                self.samples.insert(key, rows.value[i]).is_none(),
                "INV-ONCE: {key:?} twice"
            );
        }
        for row in state.checkpoint_rollups() {
            let key = (row.resolution, directory[row.series as usize].id, row.start);
            assert!(
                self.rollups
                    .insert(key, (row.rollup, row.revision))
                    .is_none(),
                "INV-SEAL: {key:?} twice"
            );
        }
        assert!(
            state.pending().counts.balances(),
            "{:?}",
            state.pending().counts
        );
        self.counts.add(&state.pending().counts);
        self.end = Some((state.next_offset(), state.watermark(), state.log_clock()));
        state.settle();
        if with_snapshot || changed || self.snapshot.is_none() {
            self.snapshot = Some(state.encode());
        }
    }

    /// What `pipeline::rebuild` does, without files: by a few windows at a time, each in the order of series.
    fn refold(&self, config: ProcessingConfig) -> PartitionState {
        let (end, watermark, log_clock) = self.end.unwrap();
        let mut refold = Refold::new(config, watermark);
        let from = refold.from();
        let mut stretches: BTreeMap<Micros, Vec<Sample>> = BTreeMap::new();
        for ((id, time), value) in self.samples.iter().filter(|((_, time), _)| *time >= from) {
            let number = (0..4).find(|number| id_of(*number) == *id).unwrap();
            let stretch = stretches.entry(from + (time - from) / MINUTE * MINUTE);
            stretch.or_default().push((number, *time, *value));
        }
        for (start, samples) in stretches {
            refold.fold(start, &batch(&samples));
        }
        // The archive tells it by their rates.
        for counter in [1, 3] {
            refold.note_counter(id_of(counter));
        }
        refold.end(log_clock, end)
    }
}

fn id_of(series: u8) -> SeriesId {
    let batch = batch(&[(series, 0, 0.0)]);
    SeriesId::of(&batch.metrics()[0], &batch.label_sets()[0])
}

/// What becomes of the saved state in a crash.
#[derive(Clone, Copy, PartialEq)]
enum Saved {
    Kept,
    /// Damaged: it is folded again from the archive.
    Lost,
}

/// Runs records; `checkpoints(i)` and `crashes(i)` say what happens after record `i`.
fn run(
    records: &[TestRecord],
    checkpoints: impl Fn(usize) -> Option<bool>,
    crashes: impl Fn(usize) -> Option<Saved>,
) -> (Archive, PartitionState) {
    let config = ProcessingConfig {
        lateness: 30 * SECOND,
        ..ProcessingConfig::default()
    };
    let mut archive = Archive::default();
    let mut state = PartitionState::new(config.clone());
    let mut committed = 0;
    for i in 0..records.len() {
        let (log_time, samples) = &records[i];
        state.step(Offset(i as u64), *log_time, &batch(samples));
        if let Some(with_snapshot) = checkpoints(i) {
            archive.checkpoint(&mut state, with_snapshot);
            committed = i + 1;
        }
        if let Some(saved) = crashes(i) {
            state = match &archive.snapshot {
                Some(_) if saved == Saved::Lost => archive.refold(config.clone()),
                Some(bytes) => PartitionState::decode(bytes, config.clone()).unwrap(),
                None => PartitionState::new(config.clone()),
            };
            state = state.with_committed_until(NextOffset(committed as u64));
            for (again, (log_time, samples)) in records
                .iter()
                .enumerate()
                .take(i + 1)
                .skip(state.next_offset().0 as usize)
            {
                state.step(Offset(again as u64), *log_time, &batch(samples));
            }
        }
    }
    archive.checkpoint(&mut state, true);
    (archive, state)
}

/// What the archive must hold: a map in which the later value wins, and rollups by their definition.
struct Oracle {
    samples: BTreeMap<(SeriesId, Micros), f64>,
    rollups: BTreeMap<(Resolution, SeriesId, Micros), (Rollup, u32)>,
}

fn oracle(records: &[TestRecord]) -> Oracle {
    let lateness = 30 * SECOND;
    let mut samples: BTreeMap<(SeriesId, Micros), f64> = BTreeMap::new();
    let mut revisions: BTreeMap<(Resolution, SeriesId, Micros), u32> = BTreeMap::new();
    let mut clock = Micros::MIN;
    for (log_time, record) in records {
        clock = clock.max(*log_time);
        for (series, time, value) in record {
            let too_late = *time < clock - schemas::time::DAY
                && Resolution::TenSeconds.window(*time).end <= clock - lateness;
            if *time < 0 || *time > clock + 10 * MINUTE || too_late {
                continue;
            }
            let id = id_of(*series);
            let before = samples.insert((id, *time), *value);
            let sealed = |resolution: Resolution| resolution.window(*time).end <= clock - lateness;
            if sealed(Resolution::TenSeconds) && before.map(f64::to_bits) != Some(value.to_bits()) {
                for resolution in Resolution::ALL
                    .into_iter()
                    .filter(|resolution| sealed(*resolution))
                {
                    let window = resolution.window(*time);
                    // Of an open 10 s window nothing is merged upward yet.
                    let exists = samples
                        .range((id, window.start)..(id, window.end))
                        .any(|(_, value)| value.is_finite());
                    let revision = revisions.entry((resolution, id, window.start)).or_default();
                    *revision = if exists { *revision + 1 } else { 0 };
                }
            }
        }
    }
    let watermark = clock - lateness;
    let mut rollups: BTreeMap<(Resolution, SeriesId, Micros), Rollup> = BTreeMap::new();
    for ((id, time), value) in samples.iter().filter(|(_, value)| value.is_finite()) {
        let window = Resolution::TenSeconds.window(*time);
        if window.end <= watermark {
            rollups
                .entry((Resolution::TenSeconds, *id, window.start))
                .and_modify(|r| r.add(*time, *value))
                .or_insert(Rollup::of(*time, *value));
        }
    }
    for pair in Resolution::ALL.windows(2) {
        let below: Vec<_> = rollups
            .iter()
            .filter(|((resolution, ..), _)| *resolution == pair[0])
            .map(|(key, rollup)| (*key, *rollup))
            .collect();
        for ((_, id, start), rollup) in below {
            let window = pair[1].window(start);
            if window.end <= watermark {
                rollups
                    .entry((pair[1], id, window.start))
                    .and_modify(|r| r.merge(&rollup))
                    .or_insert(rollup);
            }
        }
    }
    let rollups = rollups
        .into_iter()
        .map(|(key, rollup)| (key, (rollup, revisions.get(&key).copied().unwrap_or(0))))
        .collect();
    Oracle { samples, rollups }
}

fn check(archive: &Archive, oracle: &Oracle) {
    let bits = |samples: &BTreeMap<(SeriesId, Micros), f64>| {
        samples
            .iter()
            .map(|(key, value)| (*key, value.to_bits()))
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&archive.samples), bits(&oracle.samples), "samples");
    assert_eq!(archive.rollups, oracle.rollups, "rollups");
    assert_eq!(
        archive.samples.len() as u64,
        archive.counts.accepted - archive.counts.replaced,
        "C4: {:?}",
        archive.counts
    );
}

/// Records over three hours: mostly in order, some late, some far future, some repeated with the same or another value.
fn records() -> impl Strategy<Value = Vec<TestRecord>> {
    let value = prop_oneof![8 => (-100i32..100).prop_map(f64::from), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(-0.0)];
    let age = prop_oneof![10 => 0i64..20, 4 => 20i64..90, 3 => 90i64..4000, 1 => -700i64..0, 1 => 80_000i64..200_000];
    let sample = (0u8..4, age, value);
    let record = (0i64..240, prop::collection::vec(sample, 0..6));
    prop::collection::vec(record, 1..40).prop_map(|steps| {
        let mut clock = 400_000 * SECOND;
        steps
            .into_iter()
            .map(|(advance, samples)| {
                clock += advance * SECOND;
                let samples = samples
                    .into_iter()
                    .map(|(series, age, value)| (series, clock - age * SECOND / 2 * 2, value))
                    .collect();
                (clock, samples)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn c2_once_whatever_the_order_the_checkpoints_and_the_crashes(records in records(), schedule in any::<u64>(), crashes in any::<u64>()) {
        let expected = oracle(&records);
        let (plain, plain_state) = run(&records, |_| None, |_| None);
        check(&plain, &expected);
        let (every, every_state) = run(&records, |i| Some(i % 3 == 0), |_| None);
        check(&every, &expected);
        let (crashed, crashed_state) = run(
            &records,
            |i| (schedule >> (i % 64) & 1 == 1).then_some(schedule >> ((i + 7) % 64) & 1 == 1),
            |i| (crashes >> (i % 64) & 1 == 1).then_some(Saved::Kept),
        );
        check(&crashed, &expected);
        let (lost, lost_state) = run(
            &records,
            |i| (schedule >> (i % 64) & 1 == 1).then_some(schedule >> ((i + 7) % 64) & 1 == 1),
            |i| (crashes >> (i % 64) & 1 == 1).then_some(Saved::Lost),
        );
        check(&lost, &expected);
        prop_assert_eq!(lost.counts, plain.counts);
        prop_assert_eq!(lost_state.watermark(), plain_state.watermark());
        // C5: the same records give the same state, byte for byte.
        prop_assert_eq!(plain_state.encode(), every_state.encode());
        prop_assert_eq!(plain_state.encode(), crashed_state.encode());
        prop_assert_eq!(plain.counts, every.counts);
        prop_assert_eq!(plain.counts, crashed.counts);
    }

    #[test]
    fn c5_batch_boundaries_do_not_matter(records in records()) {
        let (whole, whole_state) = run(&records, |_| None, |_| None);
        // The same samples, one per record with the same append time. Offsets differ, so only contents are compared.
        let single: Vec<TestRecord> = records.iter().flat_map(|(time, samples)| samples.iter().map(|sample| (*time, vec![*sample]))).collect();
        // A record without samples still moves the clock.
        let single: Vec<TestRecord> = single.into_iter().chain(records.last().map(|(time, _)| (*time, Vec::new()))).collect();
        let (split, split_state) = run(&single, |i| (i % 5 == 0).then_some(false), |_| None);
        prop_assert_eq!(&whole.samples.iter().map(|(k, v)| (*k, v.to_bits())).collect::<Vec<_>>(), &split.samples.iter().map(|(k, v)| (*k, v.to_bits())).collect::<Vec<_>>());
        prop_assert_eq!(whole_state.watermark(), split_state.watermark());
        prop_assert_eq!(whole.rollups, split.rollups);
    }

    #[test]
    fn c6_a_damaged_snapshot_is_an_error_never_a_panic(records in records(), position in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let (_, state) = run(&records, |_| None, |_| None);
        let bytes = state.encode();
        prop_assert!(PartitionState::decode(&bytes, ProcessingConfig::default()).is_ok());
        let mut damaged = bytes.clone();
        damaged[position.index(bytes.len())] ^= 1 << bit;
        let _ = PartitionState::decode(&damaged, ProcessingConfig::default());
        prop_assert!(PartitionState::decode(&bytes[..cut.index(bytes.len())], ProcessingConfig::default()).is_err());
    }
}

#[test]
fn c7_the_series_limit_counts_what_it_refuses() {
    let mut state = PartitionState::new(ProcessingConfig {
        series_max: 2,
        ..ProcessingConfig::default()
    });
    let samples: Vec<Sample> = (0..4).map(|series| (series, 1_000 * SECOND, 1.0)).collect();
    state.step(Offset(0), 1_000 * SECOND, &batch(&samples));
    assert_eq!(state.directory().len(), 2);
    assert_eq!(
        (
            state.pending().counts.accepted,
            state.pending().counts.invalid
        ),
        (2, 2)
    );
}
