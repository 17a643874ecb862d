//! The same answer in every format, and what each shows of an error in the middle.

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use query::{Format, Limits, QueryError};
use serde_json::{Value, json};

use crate::world::{World, bytes};

const SQL: &str = "SELECT time, metric, labels, value, service, value / 0 AS big FROM samples WHERE metric = 'mem' ORDER BY time";

async fn written(world: &World, sql: &str, format: Format) -> Vec<u8> {
    let (bytes, error) = bytes(world.ask(sql).await.unwrap(), format).await;
    assert!(error.is_none(), "{error:?}");
    bytes
}

#[tokio::test]
async fn json_is_an_array_of_objects_with_maps_and_utc_times() {
    let world = World::small();
    let labels = json!({"host": "a", "zone": "eu"});
    let expected = json!([
        {"time": "2026-11-21T00:00:00Z", "metric": "mem", "labels": labels, "value": 10.0, "service": null, "big": null},
        {"time": "2026-11-21T01:00:00Z", "metric": "mem", "labels": labels, "value": 20.0, "service": null, "big": null},
    ]);
    let array = written(&world, SQL, Format::Json).await;
    assert!(array.ends_with(b"}]\n"), "{array:?}");
    let array: Value = serde_json::from_slice(&array).unwrap();
    assert_eq!(array, expected);
    let lines = String::from_utf8(written(&world, SQL, Format::Ndjson).await).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(Value::from(lines), expected);
}

#[tokio::test]
async fn csv_has_a_header_and_maps_as_json_text() {
    let world = World::small();
    let csv = String::from_utf8(
        written(
            &world,
            "SELECT time, labels, value, service FROM samples WHERE metric = 'mem' ORDER BY time",
            Format::Csv,
        )
        .await,
    )
    .unwrap();
    assert_eq!(
        csv.lines().collect::<Vec<_>>(),
        [
            "time,labels,value,service",
            r#"2026-11-21T00:00:00Z,"{""host"":""a"",""zone"":""eu""}",10.0,"#,
            r#"2026-11-21T01:00:00Z,"{""host"":""a"",""zone"":""eu""}",20.0,"#,
        ]
    );
}

#[tokio::test]
async fn arrow_and_parquet_read_back_the_same_rows() {
    let world = World::small();
    let sql = "SELECT * FROM samples ORDER BY time, metric, host";
    let rows = world.ask(sql).await.unwrap().collect().await.unwrap();
    let arrow = written(&world, sql, Format::ArrowStream).await;
    let read: Vec<RecordBatch> = StreamReader::try_new(arrow.as_slice(), None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(read, rows);
    let parquet = Bytes::from(written(&world, sql, Format::Parquet).await);
    let read: Vec<RecordBatch> = ParquetRecordBatchReader::try_new(parquet, 8192)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(read, rows);
}

#[tokio::test]
async fn an_answer_without_rows_is_whole_in_every_format() {
    let world = World::small();
    let sql = "SELECT metric, value FROM samples WHERE metric = 'none'";
    let whole = [
        (Format::Json, "[]\n"),
        (Format::Ndjson, ""),
        (Format::Csv, "metric,value\n"),
        (Format::Text, "metric  value\n------  -----\n"),
    ];
    for (format, expected) in whole {
        assert_eq!(
            String::from_utf8(written(&world, sql, format).await).unwrap(),
            expected,
            "{format:?}"
        );
    }
    assert_eq!(
        StreamReader::try_new(
            written(&world, sql, Format::ArrowStream).await.as_slice(),
            None
        )
        .unwrap()
        .schema()
        .fields()
        .len(),
        2
    );
    let parquet = Bytes::from(written(&world, sql, Format::Parquet).await);
    assert_eq!(
        ParquetRecordBatchReader::try_new(parquet, 8192)
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn an_error_in_the_middle_is_visible_in_every_format() {
    let world = World::small_with(Limits {
        rows_max: 2,
        ..Limits::default()
    });
    for format in Format::ALL {
        let (bytes, error) = bytes(
            world
                .ask("SELECT metric, value FROM samples")
                .await
                .unwrap(),
            format,
        )
        .await;
        assert!(
            matches!(
                error,
                Some(QueryError::Limit {
                    setting: "query.rows_max",
                    ..
                })
            ),
            "{format:?}: {error:?}"
        );
        let said = || String::from_utf8(bytes.clone()).unwrap();
        match format {
            Format::Json => {
                let array: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(array.len(), 3);
                assert!(bytes.ends_with(b"]\n"), "{}", said());
                assert_eq!(array[2]["error"]["fault"], "bad_input");
            }
            Format::Ndjson => {
                let last: Value = serde_json::from_str(said().lines().nth(2).unwrap()).unwrap();
                assert!(
                    last["error"]["message"]
                        .as_str()
                        .unwrap()
                        .contains("query.rows_max")
                );
            }
            Format::Text => assert!(
                said().lines().last().unwrap().starts_with("error: "),
                "{}",
                said()
            ),
            Format::Csv => assert_eq!(said().lines().count(), 3),
            Format::ArrowStream => {
                // The two rows are there; the end marker (a length of 0) is not.
                assert!(!bytes.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
            }
            Format::Parquet => {
                assert!(ParquetRecordBatchReader::try_new(Bytes::from(bytes), 8192).is_err())
            }
        }
    }
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
    assert_eq!(Format::from_name("xml"), None);
}
