//! A record comes back bit for bit; damage is an error, never a panic.

use super::*;

fn labels(host: &str) -> Labels {
    Labels::try_new([("host", host), ("region", "eu")]).unwrap()
}

fn sample_batch() -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for host in ["a", "b"] {
        let set = builder.label_set(&labels(host));
        for (i, metric) in ["cpu", "mem"].iter().enumerate() {
            let metric = builder.metric(metric);
            builder.push(metric, set, Kind::Gauge, 1_000 + i as i64, i as f64);
        }
    }
    let set = builder.label_set(&Labels::empty());
    let metric = builder.metric("requests_total");
    builder.push(
        metric,
        set,
        Kind::Counter,
        -5,
        f64::from_bits(0x7ff0_0000_0000_0002),
    );
    builder.finish().unwrap()
}

#[test]
fn a_record_comes_back_bit_for_bit() {
    let batch = sample_batch();
    let back = SampleBatch::decode(&batch.encode().unwrap().into()).unwrap();
    assert_eq!(back.rows(), 5);
    assert_eq!(back.metrics(), batch.metrics());
    assert_eq!(back.label_sets(), batch.label_sets());
    assert_eq!(back.metric_keys(), [0, 1, 0, 1, 2]);
    assert_eq!(back.label_keys(), [0, 0, 1, 1, 2]);
    assert_eq!(back.kinds(), [0, 0, 0, 0, 1]);
    assert_eq!(back.times(), batch.times());
    assert_eq!(back.values()[4].to_bits(), 0x7ff0_0000_0000_0002);
}

#[test]
fn an_empty_batch_is_a_batch() {
    let batch = BatchBuilder::default().finish().unwrap();
    assert_eq!(
        SampleBatch::decode(&batch.encode().unwrap().into())
            .unwrap()
            .rows(),
        0
    );
}

/// No damaged record may panic, and what still decodes must keep the invariants.
#[test]
fn damage_is_an_error_or_a_valid_batch_never_a_panic() {
    let bytes = sample_batch().encode().unwrap();
    for cut in 0..bytes.len() {
        let _ = SampleBatch::decode(&Bytes::copy_from_slice(&bytes[..cut]));
    }
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            if let Ok(batch) = SampleBatch::decode(&damaged.into()) {
                assert!(
                    batch
                        .metric_keys()
                        .iter()
                        .all(|key| (*key as usize) < batch.metrics().len()),
                    "bit {bit} of byte {position}"
                );
                assert!(
                    batch
                        .label_keys()
                        .iter()
                        .all(|key| (*key as usize) < batch.label_sets().len()),
                    "bit {bit} of byte {position}"
                );
            }
        }
    }
}

#[test]
fn another_shape_is_named() {
    let batch = RecordBatch::try_from_iter([(
        "metric",
        Arc::new(StringArray::from(vec!["a"])) as Arc<dyn Array>,
    )])
    .unwrap();
    let error = SampleBatch::try_new(batch).unwrap_err().to_string();
    assert!(
        error.starts_with("column `metric`: expected Dictionary(UInt32, Utf8), found Utf8"),
        "{error}"
    );
}
