//! The links of the chains as rows of `checkpoints`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;
use schemas::columns::time_type;
use schemas::time::{Micros, TIME_MAX};
use schemas::{Checkpoint, LinkKind};

/// The columns of `checkpoints`, one row for each link of each partition's chain. `watermark` and `log_clock` are null before the first
/// record; offsets are from `start_offset` (inclusive) to `end_offset` (exclusive).
pub fn checkpoints_schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Int32, false),
        number("sequence"),
        number("epoch"),
        text("owner", false),
        text("kind", false),
        number("start_offset"),
        number("end_offset"),
        number("files_added"),
        number("rows_added"),
        number("bytes_added"),
        number("files_removed"),
        number("read"),
        number("accepted"),
        number("duplicate"),
        number("late"),
        number("invalid"),
        number("replaced"),
        number("revised"),
        number("dead_letters"),
        number("skipped_alarms"),
        Field::new("watermark", time_type(), true),
        Field::new("log_clock", time_type(), true),
        text("snapshot", true),
        text("log_id", false),
    ]))
}

/// The links as rows of `checkpoints`.
pub(crate) fn checkpoint_rows(links: &[Checkpoint]) -> Result<RecordBatch> {
    // Offsets and counts above i64::MAX can't occur; a damaged link shows as the largest number.
    let number = |value: &dyn Fn(&Checkpoint) -> u64| -> ArrayRef {
        Arc::new(
            links
                .iter()
                .map(|link| Some(i64::try_from(value(link)).unwrap_or(i64::MAX)))
                .collect::<Int64Array>(),
        )
    };
    let text = |value: &dyn for<'a> Fn(&'a Checkpoint) -> Option<&'a str>| -> ArrayRef {
        Arc::new(links.iter().map(value).collect::<StringArray>())
    };
    let time = |value: &dyn Fn(&Checkpoint) -> Micros| -> ArrayRef {
        let known = |time: Micros| (-TIME_MAX..TIME_MAX).contains(&time).then_some(time);
        Arc::new(
            links
                .iter()
                .map(|link| known(value(link)))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        )
    };
    let kind = |link: &Checkpoint| match link.kind {
        LinkKind::Claim => "claim",
        LinkKind::Commit => "commit",
        LinkKind::Compaction => "compaction",
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            links
                .iter()
                .map(|link| Some(i32::try_from(link.partition).unwrap_or(i32::MAX)))
                .collect::<Int32Array>(),
        ),
        number(&|link| link.sequence),
        number(&|link| link.epoch),
        text(&|link| Some(&link.owner)),
        text(&|link| Some(kind(link))),
        number(&|link| link.start.0),
        number(&|link| link.end.0),
        number(&|link| link.added.len() as u64),
        number(&|link| link.added.iter().map(|file| file.rows).sum()),
        number(&|link| link.added.iter().map(|file| file.size).sum()),
        number(&|link| link.removed.len() as u64),
        number(&|link| link.counts.read),
        number(&|link| link.counts.accepted),
        number(&|link| link.counts.duplicate),
        number(&|link| link.counts.late),
        number(&|link| link.counts.invalid),
        number(&|link| link.counts.replaced),
        number(&|link| link.counts.revised),
        number(&|link| link.counts.dead_letters),
        number(&|link| link.counts.skipped_alarms),
        time(&|link| link.watermark.0),
        time(&|link| link.log_clock),
        text(&|link| {
            link.snapshot
                .as_ref()
                .map(|snapshot| snapshot.path.as_str())
        }),
        text(&|link| Some(&link.log_id)),
    ];
    Ok(RecordBatch::try_new(checkpoints_schema(), columns)?)
}
