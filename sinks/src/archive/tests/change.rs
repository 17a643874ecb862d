//! Files are rewritten and merged without losing a row.

use parquet::arrow::ArrowWriter;
use sha2::{Digest, Sha256};

use super::*;
use crate::compaction::CompactionPlan;

#[tokio::test]
async fn the_same_write_again_gives_the_same_file_and_never_overwrites_another() {
    let (_keep, archive) = archive();
    let directory = directory();
    let first = archive
        .write_samples(&name("s", 0), &directory, rows(&[(0, MIDNIGHT, 1.0)]))
        .await
        .unwrap();
    let again = archive
        .write_samples(&name("s", 0), &directory, rows(&[(0, MIDNIGHT, 1.0)]))
        .await
        .unwrap();
    assert_eq!(first, again);
    let other = archive
        .write_samples(&name("s", 0), &directory, rows(&[(0, MIDNIGHT, 2.0)]))
        .await
        .unwrap();
    assert_ne!(first[0].path, other[0].path);
    assert_eq!(
        read_all(&archive, &first, &directory).await,
        expected(&directory, &[(0, MIDNIGHT, 1.0)])
    );
    let stray = SampleRows {
        series: vec![99],
        time: vec![0],
        value: vec![0.0],
    };
    assert_eq!(
        archive
            .write_samples(&name("s", 0), &directory, stray)
            .await
            .unwrap_err()
            .fault(),
        Fault::Bug
    );
}

#[tokio::test]
async fn a_rewrite_leaves_out_what_was_replaced() {
    let (_keep, archive) = archive();
    let directory = directory();
    let samples: Vec<(u32, Micros, f64)> = (0..40_000)
        .map(|i| ((i % 4) as u32, MIDNIGHT + i64::from(i / 4), f64::from(i)))
        .collect();
    let files = archive
        .write_samples(&name("s", 0), &directory, rows(&samples))
        .await
        .unwrap();
    let gone: HashSet<(SeriesId, Micros)> = HashSet::from([
        (directory[0].id, MIDNIGHT),
        (directory[3].id, MIDNIGHT + 9_999),
        (directory[2].id, MIDNIGHT - 1),
    ]);
    let rewritten = archive
        .rewrite_without(&name("w", 0), &files[0], &gone)
        .await
        .unwrap()
        .unwrap();
    let left: Vec<_> = samples
        .iter()
        .copied()
        .filter(|(s, time, _)| !gone.contains(&(directory[*s as usize].id, *time)))
        .collect();
    assert_eq!((rewritten.rows, left.len()), (39_998, 39_998));
    assert_eq!(
        read_all(&archive, std::slice::from_ref(&rewritten), &directory).await,
        expected(&directory, &left)
    );
    assert_eq!(
        batches(&archive, &rewritten).await[0].schema().fields(),
        table_schema(Table::Samples).fields()
    );
    let all = samples
        .iter()
        .map(|(s, time, _)| (directory[*s as usize].id, *time))
        .collect();
    assert_eq!(
        archive
            .rewrite_without(&name("w", 1), &files[0], &all)
            .await
            .unwrap(),
        None
    );
}

#[rstest]
#[case::one_file(u64::MAX)]
#[case::cut_between_series(1)]
#[tokio::test]
async fn compaction_keeps_exactly_the_rows(#[case] target_bytes: u64) {
    let (_keep, archive) = archive();
    let directory = directory();
    let (mut files, mut all) = (Vec::new(), Vec::new());
    for part in 0..9i64 {
        // Times of the parts interleave, and one part lacks a series.
        let samples: Vec<(u32, Micros, f64)> = (0..3_000i64)
            .filter(|i| part != 4 || i % 4 != 2)
            .map(|i| {
                (
                    (i % 4) as u32,
                    MIDNIGHT + (i / 4) * 9 * SECOND + part * SECOND,
                    (part * 10_000 + i) as f64,
                )
            })
            .collect();
        files.extend(
            archive
                .write_samples(&name("s", part as u64 * 10), &directory, rows(&samples))
                .await
                .unwrap(),
        );
        all.extend(samples);
    }
    let policy = CompactionPolicy {
        files_max: 9,
        ..CompactionPolicy::default()
    };
    assert!(
        plan(&files[..8], &policy, MIDNIGHT).is_empty(),
        "a date that still grows waits for a full group"
    );
    assert_eq!(plan(&files[..8], &policy, MIDNIGHT + DAY).len(), 1);
    let mut plans = plan(&files, &policy, MIDNIGHT);
    assert_eq!(
        (plans.len(), plans[0].files.len(), plans[0].date.as_str()),
        (1, 9, "2026-11-21")
    );
    plans[0].target_bytes = target_bytes;
    let merged = archive.compact(&plans[0], &name("c", 0)).await.unwrap();
    assert_eq!(merged.len(), if target_bytes == 1 { 4 } else { 1 });
    assert_eq!(
        read_all(&archive, &merged, &directory).await,
        expected(&directory, &all)
    );
    let mut keys: Vec<(String, String, Micros)> = Vec::new();
    for file in &merged {
        for batch in batches(&archive, file).await {
            let text =
                |i: usize, row: usize| batch.column(i).as_string::<i32>().value(row).to_owned();
            keys.extend((0..batch.num_rows()).map(|row| {
                (
                    text(1, row),
                    text(2, row),
                    batch
                        .column(0)
                        .as_primitive::<TimestampMicrosecondType>()
                        .value(row),
                )
            }));
        }
    }
    assert!(keys.is_sorted());
    assert!(
        merged.iter().map(|file| file.size).sum::<u64>() < files.iter().map(|file| file.size).sum()
    );
}

/// The file as a version wrote it that did not know a column.
async fn without_column(
    root: &std::path::Path,
    archive: &Archive,
    file: &ArchiveFile,
    name: &str,
) -> ArchiveFile {
    let batch = &batches(archive, file).await[0];
    let schema = batch.schema();
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|i| schema.field(*i).name() != name)
        .collect();
    let batch = batch.project(&kept).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let path = file.path.replace(".parquet", "-before.parquet");
    let size = bytes.len() as u64;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    std::fs::write(root.join(&path), bytes).unwrap();
    ArchiveFile {
        path,
        size,
        sha256,
        ..file.clone()
    }
}

#[tokio::test]
async fn files_of_before_a_column_was_added_are_merged_with_those_of_after() {
    let (keep, archive) = archive();
    let directory = directory();
    let mut files = Vec::new();
    for (part, series) in [("a", 0), ("b", 1), ("c", 2)] {
        let event = write::anomaly(part, &directory[series], "2026-11-21T00:00:00Z");
        let of_event = archive.write_anomalies(&name(part, 0), &[event]).await;
        files.extend(of_event.unwrap());
    }
    let date = "2026-11-21".to_owned();
    // The oldest first, the newest first, and none that knows it.
    for of_before in [[true, false, false], [false, true, true], [true; 3]] {
        let mut inputs = Vec::new();
        for (file, before) in files.iter().zip(of_before) {
            inputs.push(if before {
                without_column(keep.path(), &archive, file, "alarm").await
            } else {
                file.clone()
            });
        }
        let plan = CompactionPlan {
            table: Table::Anomalies,
            date: date.clone(),
            files: inputs,
            target_bytes: u64::MAX,
        };
        let merged = archive.compact(&plan, &name("d", 0)).await.unwrap();
        let batch = &batches(&archive, &merged[0]).await[0];
        assert_eq!(
            batch.schema().fields(),
            table_schema(Table::Anomalies).fields()
        );
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let (ids, alarms) = (column("event_id"), column("alarm"));
        for row in 0..3 {
            let part = ids.as_string::<i32>().value(row);
            let file = ["a", "b", "c"].iter().position(|of| *of == part).unwrap();
            assert_eq!(
                alarms.is_null(row),
                of_before[file],
                "{part}: {of_before:?}"
            );
            assert!(of_before[file] || alarms.as_boolean().value(row));
        }
    }
}

#[tokio::test]
async fn samples_come_back_with_their_series_between_two_times() {
    let (_keep, archive) = archive();
    let directory = directory();
    let samples: Vec<(u32, Micros, f64)> = (0..30_000)
        .map(|i| (i % 4, MIDNIGHT + Micros::from(i / 4), f64::from(i)))
        .collect();
    let file = archive
        .write_samples(&name("s", 0), &directory, rows(&samples))
        .await
        .unwrap()
        .remove(0);
    let (from, to) = (MIDNIGHT + 10, MIDNIGHT + 7_000);
    let mut batches = archive.stream_batches(&file, from, to);
    let mut found = Vec::new();
    while let Some(batch) = batches.recv().await {
        let batch = batch.unwrap();
        for row in 0..batch.rows() {
            let metric = &batch.metrics()[batch.metric_keys()[row] as usize];
            let labels = &batch.label_sets()[batch.label_keys()[row] as usize];
            let value = batch.values()[row].to_bits();
            found.push((SeriesId::of(metric, labels), batch.times()[row], value));
        }
    }
    found.sort_unstable();
    let wanted = samples
        .iter()
        .filter(|(_, time, _)| (from..to).contains(time));
    let wanted: Vec<(u32, Micros, f64)> = wanted.copied().collect();
    assert_eq!(found, expected(&directory, &wanted));

    let gone = ArchiveFile {
        path: "samples/date=2026-11-21/gone.parquet".to_owned(),
        ..file
    };
    let mut batches = archive.stream_batches(&gone, from, to);
    let error = batches.recv().await.unwrap().unwrap_err();
    assert_eq!(error.fault(), Fault::Corruption);
    assert!(batches.recv().await.is_none());
}

#[test]
fn a_plain_endpoint_must_be_meant() {
    let options = |more: &[(&str, &str)]| -> BTreeMap<String, String> {
        let all = [("endpoint", "http://127.0.0.1:1"), ("region", "r")];
        let all = all.iter().chain(more);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let error = Archive::open("s3://b/p", &options(&[])).unwrap_err();
    assert_eq!(error.fault(), Fault::BadConfig);
    assert!(error.to_string().contains("allow_http"), "{error}");
    Archive::open("s3://b/p", &options(&[("allow_http", "true")])).unwrap();
    Archive::open("s3://b/p", &options(&[("endpoint", "https://127.0.0.1:1")])).unwrap();
}
