//! A snapshot of a program whose detectors have another form: what can't be learned again is kept, the rest is as before anything was learned.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{MINUTE, SECOND};
use schemas::{BatchBuilder, Kind, Labels, Offset};

/// 2026-09-28T00:00:00Z, microseconds.
const START: i64 = 1_790_553_600 * SECOND;

/// Steps over the minutes from (inclusive) to (exclusive), a record each.
fn feed(state: &mut PartitionState, from: i64, to: i64) {
    for minute in from..to {
        let mut builder = BatchBuilder::default();
        let labels = builder.label_set(&Labels::try_new([("host", "a")]).unwrap());
        let metric = builder.metric("load");
        let time = START + minute * MINUTE;
        builder.push(metric, labels, Kind::Gauge, time, (minute % 7) as f64);
        state.step(Offset(minute as u64), time, &builder.finish().unwrap());
    }
}

#[test]
fn what_others_have_learned_is_left_out_and_windows_are_kept() {
    let mut state = PartitionState::new(ProcessingConfig::default());
    feed(&mut state, 0, 200);
    state.settle();
    let bytes = state.encode();
    assert_eq!(PartitionState::foreign_lessons(&bytes), None);
    assert_eq!(state.unlearned(), None);

    let mut others = bytes.clone();
    others[12..16].copy_from_slice(&7_u32.to_le_bytes());
    assert_eq!(PartitionState::foreign_lessons(&others), Some(7));
    let mut restored = PartitionState::decode(&others, ProcessingConfig::default()).unwrap();
    let lacks = restored.unlearned().unwrap();
    let newest = START + 199 * MINUTE;
    assert_eq!(lacks.until.into_values().collect::<Vec<_>>(), [newest]);

    // The windows go on as they would have.
    assert_eq!(restored.next_offset(), state.next_offset());
    feed(&mut state, 200, 300);
    feed(&mut restored, 200, 300);
    assert!(!state.pending().rollups.is_empty());
    assert_eq!(restored.pending().rollups, state.pending().rollups);
    assert_eq!(restored.pending().counts, state.pending().counts);

    // Another version of the windows is refused.
    others[8] ^= 1;
    let error = PartitionState::decode(&others, ProcessingConfig::default()).unwrap_err();
    assert!(error.to_string().contains("has version"), "{error}");
}
