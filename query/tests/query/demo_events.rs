//! The table `demo_events`: samples of one metric, seen as what was planted.

use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use query::Limits;
use schemas::batch::labels_array;
use schemas::columns::table_schema;
use schemas::demo::EVENT_METRIC;
use schemas::time::MINUTE;
use schemas::{Labels, Table};

use crate::world::{START, World};

/// Samples of events: the labels beside `host.name`, and when each was told.
fn told(events: &[(&[(&str, &str)], i64)]) -> RecordBatch {
    let labels: Vec<Labels> = events
        .iter()
        .map(|(labels, _)| {
            let host = std::iter::once(("host.name", "demo-01"));
            Labels::try_new(host.chain(labels.iter().copied())).unwrap()
        })
        .collect();
    let texts = |text: &str| Arc::new(StringArray::from(vec![text; events.len()]));
    let times = events.iter().map(|(_, time)| Some(*time));
    RecordBatch::try_new(
        table_schema(Table::Samples),
        vec![
            Arc::new(
                times
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            texts(EVENT_METRIC),
            texts("00000000000000000000000000000001"),
            Arc::new(labels_array(labels.iter())),
            texts("demo-01"),
            arrow::array::new_null_array(&arrow::datatypes::DataType::Utf8, events.len()),
            Arc::new(Float64Array::from(vec![300.0; events.len()])),
        ],
    )
    .unwrap()
}

const SPIKE: &[(&str, &str)] = &[
    ("demo.kind", "spike"),
    ("demo.metric", "cpu"),
    ("demo.resource", "{host.name=\"demo-01\"}"),
    ("demo.resource_id", "0b"),
    ("demo.series_id", "0a"),
    ("demo.start", "2026-11-21T00:01:00Z"),
    ("demo.end", "2026-11-21T00:06:00Z"),
];

#[tokio::test]
async fn events_are_rows_each_once_however_often_it_was_told() {
    let world = World::small();
    world.commit(
        "samples/date=2026-11-21/p00000-demo.parquet",
        Table::Samples,
        &told(&[(SPIKE, START + MINUTE)]),
    );
    let silence = [
        ("demo.kind", "silence"),
        ("demo.start", "2026-11-21T00:02:00Z"),
        ("demo.end", "not a time"),
    ];
    world.heat(
        Table::Samples,
        told(&[(SPIKE, START + 2 * MINUTE), (&silence, START)]),
    );
    world
        .check(
            "SELECT kind, host, metric, series_id, start_time, end_time FROM demo_events ORDER BY kind",
            "kind     host     metric  series_id  start_time            end_time
             -------  -------  ------  ---------  --------------------  --------------------
             silence  demo-01                     2026-11-21T00:02:00Z
             spike    demo-01  cpu     0a         2026-11-21T00:01:00Z  2026-11-21T00:06:00Z",
        )
        .await;
    world
        .check(
            "SELECT resource, resource_id FROM demo_events WHERE kind = 'spike'",
            "resource               resource_id
             ---------------------  -----------
             {host.name=\"demo-01\"}  0b",
        )
        .await;
    world
        .check(
            "SELECT count(*) AS n FROM demo_events AS e JOIN samples AS s ON s.time >= e.start_time AND s.time < e.end_time AND s.metric = e.metric",
            "n\n-\n1",
        )
        .await;
}

#[tokio::test]
async fn without_a_demo_the_table_is_empty_and_has_its_columns() {
    let world = World::empty(Limits::default());
    world
        .check(
            "SELECT kind, description FROM demo_events",
            "kind  description\n----  -----------",
        )
        .await;
    world
        .check(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'demo_events'",
            "column_name\n-----------\nkind\nhost\nresource\nresource_id\nmetric\nseries_id\nlabels\nstart_time\nend_time\ndescription",
        )
        .await;
    assert!(world.opened().is_empty());
}
