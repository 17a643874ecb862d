//! The rollups of samples in time order are a function of the samples: how far the log clock moves from record to record changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{DAY, HOUR, SECOND};
use schemas::{BatchBuilder, Kind, Labels, Micros, NextOffset, Offset, RollupRow, SampleBatch};

/// Series number, time, value.
type Sample = (u32, Micros, f64);

/// Three series over six hours that change their pace: what a window expects of them depends on when it is asked.
fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for series in 0..3 {
        let mut time = 90_000 * SECOND + Micros::from(series);
        let mut step = 0;
        while time < 90_000 * SECOND + 6 * HOUR {
            samples.push((series, time, f64::from(step % 17)));
            let pace = [1, 7, 30, 3, 290][(step / 300 % 5) as usize];
            time += (pace + i64::from(step % 3)) * SECOND + i64::from(step % 11);
            step += 1;
        }
    }
    samples.sort_by_key(|(_, time, _)| *time);
    samples
}

fn batch(samples: &[Sample]) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for (series, time, value) in samples {
        let kind = if *series == 0 {
            Kind::Counter
        } else {
            Kind::Gauge
        };
        let metric = builder.metric(&format!("m{series}"));
        let labels = builder.label_set(&Labels::empty());
        builder.push(metric, labels, kind, *time, *value);
    }
    builder.finish().unwrap()
}

/// The rollups when so many samples share a record, whose append time is that of its first; the state is saved and restored now and then.
fn rollups(samples: &[Sample], per_record: usize) -> Vec<RollupRow> {
    let config = ProcessingConfig {
        future_max: DAY,
        ..ProcessingConfig::default()
    };
    let mut state = PartitionState::new(config.clone());
    let mut rows = Vec::new();
    let mut offset = 0;
    for record in samples.chunks(per_record) {
        state.step(Offset(offset), record[0].1, &batch(record));
        offset += 1;
        if offset % 10 == 0 {
            rows.extend(state.checkpoint_rollups());
            state.settle();
            state = PartitionState::decode(&state.encode(), config.clone())
                .unwrap()
                .with_committed_until(NextOffset(offset));
        }
    }
    state.step_empty(Offset(offset), 100 * DAY, false);
    rows.extend(state.checkpoint_rollups());
    rows.sort_by_key(|row| (row.resolution, row.start, row.series));
    rows
}

#[test]
fn c5_the_pace_of_the_log_clock_does_not_matter() {
    let samples = samples();
    let one_by_one = rollups(&samples, 1);
    assert!(
        one_by_one
            .iter()
            .any(|row| row.completeness > 0.0 && row.completeness < 1.0),
        "no window lacks samples, so nothing is shown"
    );
    for per_record in [2, 60, 5_000] {
        assert_eq!(
            one_by_one,
            rollups(&samples, per_record),
            "{per_record} samples per record"
        );
    }
}

#[test]
fn c4_what_is_measured_now_is_kept_after_a_clock_that_was_ahead_was_set_right() {
    let noon = 90_000 * SECOND;
    let ahead = noon + 40 * DAY;
    let mut state = PartitionState::new(ProcessingConfig::default());
    state.step(Offset(0), noon, &batch(&[(1, noon, 1.0)]));
    state.step_empty(Offset(1), ahead, false);
    // Right again: what is measured now is late, and what is older than a day is too old, by the time of its record.
    let now = noon + HOUR;
    let samples = [(1, now, 2.0), (1, now - DAY - HOUR, 3.0)];
    state.step(Offset(2), now, &batch(&samples));
    let counts = state.pending().counts;
    assert_eq!((counts.late, counts.invalid), (1, 0), "{counts:?}");
    assert_eq!(state.pending().late.len(), 1);
    // The clock of the log never goes back: what was sealed stays sealed.
    assert_eq!(state.log_clock(), ahead);
    // What hosts measured by the clock that is ahead may still come.
    state.step(Offset(3), now, &batch(&[(1, ahead + SECOND, 4.0)]));
    assert_eq!(state.pending().counts.invalid, 0);
}
