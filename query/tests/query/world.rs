//! A small world to ask about: Parquet files in a directory, hot rows in memory, and a store that remembers what was opened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use query::{
    Answer, Engine, Format, Limits, QueryError, ScanBounds, TableView, Tables, ViewError, encode,
};
use schemas::batch::labels_array;
use schemas::columns::table_schema;
use schemas::time::{MINUTE, Micros, SECOND};
use schemas::{
    ArchiveFile, Checkpoint, Counts, Labels, LinkKind, NextOffset, Resolution, SeriesId, Table,
    Watermark,
};
use sha2::{Digest, Sha256};

/// 2026-11-21T00:00:00Z.
pub(crate) const START: Micros = 1_795_219_200 * SECOND;

/// Remembers which files were opened; refuses nothing by itself.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: LocalFileSystem,
    pub(crate) opened: Mutex<BTreeSet<String>>,
    pub(crate) changes: Mutex<u32>,
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.opened.lock().unwrap().insert(location.to_string());
        self.inner.get_opts(location, options).await
    }
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        *self.changes.lock().unwrap() += 1;
        self.inner.put_opts(location, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        *self.changes.lock().unwrap() += 1;
        self.inner.put_multipart_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        *self.changes.lock().unwrap() += 1;
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.opened.lock().unwrap().insert("a listing".to_owned());
        self.inner.list(prefix).boxed()
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.opened.lock().unwrap().insert("a listing".to_owned());
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        *self.changes.lock().unwrap() += 1;
        self.inner.copy_opts(from, to, options).await
    }
}

type AfterView = Box<dyn FnOnce(&Held) + Send>;

/// What the tables hold, and how they were asked.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) files: Mutex<Vec<ArchiveFile>>,
    pub(crate) hot: Mutex<BTreeMap<Table, Vec<RecordBatch>>>,
    pub(crate) lacking: Mutex<Vec<u32>>,
    pub(crate) links: Mutex<Vec<Checkpoint>>,
    pub(crate) dead_letters: Mutex<Vec<RecordBatch>>,
    pub(crate) asked: Mutex<Vec<(Table, ScanBounds)>>,
    /// Run once at the next look, after the view was taken: what a compaction does at the worst moment.
    pub(crate) after_view: Mutex<Option<AfterView>>,
}

#[async_trait]
impl Tables for Held {
    async fn view(&self, table: Table, bounds: &ScanBounds) -> Result<TableView, ViewError> {
        self.asked.lock().unwrap().push((table, bounds.clone()));
        let view = TableView {
            files: self
                .files
                .lock()
                .unwrap()
                .iter()
                .filter(|file| file.table == table)
                .cloned()
                .collect(),
            hot: self
                .hot
                .lock()
                .unwrap()
                .get(&table)
                .cloned()
                .unwrap_or_default(),
            partitions_without_hot_rows: self.lacking.lock().unwrap().clone(),
        };
        let after = self.after_view.lock().unwrap().take();
        if let Some(after) = after {
            after(self);
        }
        Ok(view)
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, ViewError> {
        Ok(self.links.lock().unwrap().clone())
    }
    async fn dead_letters(&self) -> Result<Vec<RecordBatch>, ViewError> {
        Ok(self.dead_letters.lock().unwrap().clone())
    }
}

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Arc<Watched>,
    pub(crate) held: Arc<Held>,
    pub(crate) engine: Engine,
}

impl World {
    /// A world without rows.
    pub(crate) fn empty(limits: Limits) -> World {
        let directory = tempfile::tempdir().unwrap();
        let inner = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
        let store = Arc::new(Watched {
            inner,
            opened: Mutex::default(),
            changes: Mutex::default(),
        });
        let held = Arc::new(Held::default());
        let engine = Engine::new(Arc::clone(&store) as _, Arc::clone(&held) as _, limits);
        World {
            directory,
            store,
            held,
            engine,
        }
    }

    /// Three files of samples (cpu in the first hour and in the second, mem in both), and hot samples of cpu after them.
    pub(crate) fn small() -> World {
        Self::small_with(Limits::default())
    }

    pub(crate) fn small_with(limits: Limits) -> World {
        let world = World::empty(limits);
        let hour = 60 * MINUTE;
        world.commit(
            "samples/date=2026-11-21/p00000-cpu-1.parquet",
            Table::Samples,
            &samples("cpu", &[("a", START, 1.0), ("b", START + MINUTE, 2.0)]),
        );
        world.commit(
            "samples/date=2026-11-21/p00000-cpu-2.parquet",
            Table::Samples,
            &samples(
                "cpu",
                &[("a", START + hour, 3.0), ("b", START + hour + MINUTE, 4.0)],
            ),
        );
        world.commit(
            "samples/date=2026-11-21/p00001-mem.parquet",
            Table::Samples,
            &samples("mem", &[("a", START, 10.0), ("a", START + hour, 20.0)]),
        );
        world.heat(
            Table::Samples,
            samples("cpu", &[("a", START + 2 * hour, 5.0)]),
        );
        let minute = Table::Rollups(Resolution::Minute);
        world.commit(
            "rollups_1m/date=2026-11-21/p00000.parquet",
            minute,
            &rollups("cpu", &[("a", START, 60, 60.0), ("b", START, 60, 120.0)]),
        );
        world
    }

    /// Another engine over the same store and tables.
    pub(crate) fn restart(&mut self, limits: Limits) {
        self.engine = Engine::new(
            Arc::clone(&self.store) as _,
            Arc::clone(&self.held) as _,
            limits,
        );
    }

    /// Writes a file and makes it part of the archive.
    pub(crate) fn commit(&self, path: &str, table: Table, batch: &RecordBatch) -> ArchiveFile {
        let file = self.write(path, table, batch);
        self.held.files.lock().unwrap().push(file.clone());
        file
    }

    pub(crate) fn write(&self, path: &str, table: Table, batch: &RecordBatch) -> ArchiveFile {
        write_file(self.directory.path(), path, table, batch)
    }

    pub(crate) fn heat(&self, table: Table, batch: RecordBatch) {
        self.held
            .hot
            .lock()
            .unwrap()
            .entry(table)
            .or_default()
            .push(batch);
    }

    pub(crate) async fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        self.engine.query(sql).await
    }

    /// The answer as a text table, or the error.
    pub(crate) async fn text(&self, sql: &str) -> String {
        match self.ask(sql).await {
            Ok(answer) => text(answer).await,
            Err(error) => format!("error: {error}"),
        }
    }

    /// Checks the answer, written as a text table (lines trimmed).
    #[track_caller]
    pub(crate) fn check(&self, sql: &str, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let lines = |text: &str| {
                text.lines()
                    .map(|line| line.trim().to_owned())
                    .filter(|line| !line.is_empty())
                    .collect::<Vec<_>>()
            };
            let found = self.text(sql).await;
            assert_eq!(
                lines(&found).join("\n"),
                lines(expected).join("\n"),
                "\n{sql}\nat {caller}\n{found}"
            );
        }
    }

    /// The error of a query that must have none of its rows, or end with one.
    pub(crate) async fn error(&self, sql: &str) -> QueryError {
        match self.ask(sql).await {
            Ok(answer) => match answer.collect().await {
                Ok(rows) => panic!("{sql}\nwas answered with {rows:?}"),
                Err(error) => error,
            },
            Err(error) => error,
        }
    }

    /// The files opened since the last call.
    pub(crate) fn opened(&self) -> Vec<String> {
        std::mem::take(&mut *self.store.opened.lock().unwrap())
            .into_iter()
            .map(|path| path.rsplit('/').next().unwrap().to_owned())
            .collect()
    }
}

pub(crate) async fn text(answer: Answer) -> String {
    String::from_utf8(bytes(answer, Format::Text).await.0).unwrap()
}

/// All bytes of an answer, and the error at its end.
pub(crate) async fn bytes(answer: Answer, format: Format) -> (Vec<u8>, Option<QueryError>) {
    let mut chunks = Box::pin(encode(answer, format));
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => {
                assert!(chunks.next().await.is_none(), "something follows an error");
                return (bytes, Some(error));
            }
        }
    }
    (bytes, None)
}

pub(crate) fn write_file(
    root: &std::path::Path,
    path: &str,
    table: Table,
    batch: &RecordBatch,
) -> ArchiveFile {
    let target = root.join(path);
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    std::fs::write(&target, &bytes).unwrap();
    let times = batch
        .column(0)
        .as_any()
        .downcast_ref::<TimestampMicrosecondArray>()
        .unwrap();
    let metrics = batch
        .column(1)
        .as_any()
        .downcast_ref::<StringArray>()
        .unwrap();
    ArchiveFile {
        path: path.to_owned(),
        table,
        size: bytes.len() as u64,
        sha256: Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        rows: batch.num_rows() as u64,
        time_min: times.values().iter().copied().min().unwrap(),
        time_max: times.values().iter().copied().max().unwrap(),
        metric_min: metrics.iter().flatten().min().unwrap().to_owned(),
        metric_max: metrics.iter().flatten().max().unwrap().to_owned(),
    }
}

fn series_columns(metric: &str, rows: &[(&str, Micros)]) -> Vec<ArrayRef> {
    let labels: Vec<Labels> = rows
        .iter()
        .map(|(host, _)| Labels::try_new([("host", *host), ("zone", "eu")]).unwrap())
        .collect();
    vec![
        Arc::new(
            rows.iter()
                .map(|(_, time)| Some(*time))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new(rows.iter().map(|_| Some(metric)).collect::<StringArray>()),
        Arc::new(
            labels
                .iter()
                .map(|labels| Some(SeriesId::of(metric, labels).to_string()))
                .collect::<StringArray>(),
        ),
        Arc::new(labels_array(labels.iter())),
        Arc::new(
            rows.iter()
                .map(|(host, _)| Some(*host))
                .collect::<StringArray>(),
        ),
        arrow::array::new_null_array(&DataType::Utf8, rows.len()),
    ]
}

/// Rows of `samples`: host, time, value.
pub(crate) fn samples(metric: &str, rows: &[(&str, Micros, f64)]) -> RecordBatch {
    let mut columns = series_columns(
        metric,
        &rows.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(),
    );
    columns.push(Arc::new(
        rows.iter().map(|row| Some(row.2)).collect::<Float64Array>(),
    ));
    RecordBatch::try_new(table_schema(Table::Samples), columns).unwrap()
}

/// Many rows of `samples`, one a second.
pub(crate) fn many(metric: &str, rows: usize) -> RecordBatch {
    let hosts: Vec<String> = (0..rows).map(|row| format!("host-{}", row % 100)).collect();
    let rows: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(row, host)| (host.as_str(), START + row as i64 * SECOND, row as f64))
        .collect();
    samples(metric, &rows)
}

/// A row of `rollups_…`: host, start, count, sum.
type RollupRow<'a> = (&'a str, Micros, i64, f64);

/// Rows of `rollups_…`.
pub(crate) fn rollups(metric: &str, rows: &[RollupRow<'_>]) -> RecordBatch {
    let mut columns = series_columns(
        metric,
        &rows.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(),
    );
    let number = |value: &dyn Fn(&RollupRow<'_>) -> f64| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| Some(value(row)))
                .collect::<Float64Array>(),
        )
    };
    columns.push(Arc::new(
        rows.iter().map(|row| Some(row.2)).collect::<Int64Array>(),
    ));
    columns.push(number(&|row| row.3));
    for _ in ["min", "max", "first", "last"] {
        columns.push(number(&|row| row.3 / row.2 as f64));
    }
    columns.push(number(&|row| row.3 * row.3));
    columns.push(arrow::array::new_null_array(&DataType::Float64, rows.len()));
    columns.push(number(&|_| 1.0));
    columns.push(Arc::new(
        rows.iter().map(|_| Some(0)).collect::<Int32Array>(),
    ));
    RecordBatch::try_new(table_schema(Table::Rollups(Resolution::Minute)), columns).unwrap()
}

/// A link that adds files.
pub(crate) fn link(partition: u32, sequence: u64, added: Vec<ArchiveFile>) -> Checkpoint {
    Checkpoint {
        format: 1,
        log_id: "log".into(),
        partition,
        sequence,
        epoch: 1,
        owner: "me".into(),
        kind: if sequence == 0 {
            LinkKind::Claim
        } else {
            LinkKind::Commit
        },
        start: NextOffset(0),
        end: NextOffset(10 * sequence),
        added,
        removed: vec![],
        counts: Counts {
            read: 5,
            accepted: 4,
            late: 1,
            ..Counts::default()
        },
        watermark: if sequence == 0 {
            Watermark::START
        } else {
            Watermark(START)
        },
        log_clock: START,
        snapshot: None,
        previous: String::new(),
    }
}
