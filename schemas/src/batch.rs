//! A batch of samples in columns: the value of one record of `tidewatch.samples`. Knows nothing of buses or decoders.
//!
//! Layout (Arrow IPC stream, one record batch, uncompressed; the log compresses batches of records):
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `metric` | dictionary(uint32 → utf8) | the metric's name |
//! | `labels` | dictionary(uint32 → map(utf8 → utf8)) | the label set, keys sorted and unique |
//! | `kind` | uint8 | 0 gauge, 1 counter |
//! | `time` | timestamp(µs, UTC) | when the value was measured |
//! | `value` | float64 | the value, bit for bit as sent |
//!
//! A series is a pair of dictionary entries, so the text of a label set stands once in a record however many metrics share it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, DictionaryArray, Float64Array, MapArray, PrimitiveArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray, UInt8Array, UInt32Array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt8Type,
    UInt32Type,
};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::series::METRIC_BYTES_MAX;
use crate::time::Micros;
use crate::{
    ErrorCode, Fault, HasCode, HasFault, Kind, Labels, LabelsError, catch_panic, error_codes,
};

/// The most samples in one batch. 65,536: a record of them is about 2 MB before the log compresses it, below the usual 10 MB limits.
pub const BATCH_SAMPLES_MAX: usize = 65_536;

/// Why bytes or columns are not a sample batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes are not an Arrow IPC stream, or a damaged one.
    #[error("not an Arrow IPC stream of samples: {0}")]
    Arrow(#[from] ArrowError),
    /// A column is missing or has another type.
    #[error("column `{column}`: expected {expected}, found {found}; see docs/record-format.md")]
    Column {
        /// The column's name.
        column: &'static str,
        /// The type it must have.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The stream holds no or several batches.
    #[error("expected exactly one record batch in the record, found {0}")]
    BatchCount(usize),
    /// There are too many samples.
    #[error("{0} samples in one record; at most {BATCH_SAMPLES_MAX} are taken")]
    TooManySamples(usize),
    /// A metric name is empty or too long.
    #[error("metric {index}: a name of {bytes} bytes; expected 1 to {METRIC_BYTES_MAX}")]
    Metric {
        /// Position in the dictionary.
        index: usize,
        /// Length of the name.
        bytes: usize,
    },
    /// A label set is not one.
    #[error("label set {index}: {source}")]
    Labels {
        /// Position in the dictionary.
        index: usize,
        /// What is wrong with it.
        source: LabelsError,
    },
    /// A kind byte has no meaning.
    #[error("sample {index}: kind {byte}; expected 0 (gauge) or 1 (counter)")]
    Kind {
        /// Row of the sample.
        index: usize,
        /// The byte found.
        byte: u8,
    },
}

impl HasFault for BatchError {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

impl HasCode for BatchError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            BatchError::Arrow(_) | BatchError::Column { .. } | BatchError::BatchCount(_) => {
                &error_codes::RECORD_FORMAT
            }
            BatchError::TooManySamples(_)
            | BatchError::Metric { .. }
            | BatchError::Labels { .. }
            | BatchError::Kind { .. } => &error_codes::RECORD_CONTENT,
        }
    }
}

/// The Arrow schema of a sample batch.
pub fn batch_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(
            "metric",
            DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)),
            false,
        ),
        Field::new(
            "labels",
            DataType::Dictionary(Box::new(DataType::UInt32), Box::new(labels_type())),
            false,
        ),
        Field::new("kind", DataType::UInt8, false),
        Field::new(
            "time",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
        Field::new("value", DataType::Float64, false),
    ]))
}

/// `map(utf8 → utf8)` with sorted keys: the type of a label set, in records and in tables.
pub fn labels_type() -> DataType {
    let entries = DataType::Struct(
        vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ]
        .into(),
    );
    DataType::Map(Arc::new(Field::new("entries", entries, false)), true)
}

/// Label sets as an Arrow map array, one row each.
pub fn labels_array<'a>(sets: impl Iterator<Item = &'a Labels>) -> MapArray {
    let (mut keys, mut values, mut offsets) = (Vec::new(), Vec::new(), vec![0i32]);
    for set in sets {
        for (key, value) in set.iter() {
            keys.push(key);
            values.push(value);
        }
        // A batch holds at most 65,536 sets of at most 256 labels: far below i32::MAX.
        offsets.push(i32::try_from(keys.len()).unwrap_or(i32::MAX));
    }
    let DataType::Map(entries, sorted) = labels_type() else {
        unreachable!("labels_type is a map")
    };
    let DataType::Struct(fields) = entries.data_type().clone() else {
        unreachable!("map entries are a struct")
    };
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(StringArray::from(keys)),
        Arc::new(StringArray::from(values)),
    ];
    MapArray::new(
        entries,
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        StructArray::new(fields, columns, None),
        None,
        sorted,
    )
}

/// Samples in columns, checked once: whoever holds one need not check again.
///
/// Row order is log order: of two rows with the same series and time, the later one wins.
#[derive(Debug, Clone)]
pub struct SampleBatch {
    record_batch: RecordBatch,
    metrics: Vec<Arc<str>>,
    label_sets: Vec<Labels>,
    metric_keys: ScalarBuffer<u32>,
    label_keys: ScalarBuffer<u32>,
    kinds: ScalarBuffer<u8>,
    times: ScalarBuffer<i64>,
    values: ScalarBuffer<f64>,
}

impl SampleBatch {
    /// Checks the columns of a record batch: types, no holes, dictionaries of valid names and label sets, known kinds.
    ///
    /// # Errors
    /// `BatchError` (bad input: dead-letter the record).
    pub fn try_new(record_batch: RecordBatch) -> Result<Self, BatchError> {
        let expected = batch_schema();
        let column = |index: usize| -> Result<&Arc<dyn Array>, BatchError> {
            let field = expected.field(index);
            let name = ["metric", "labels", "kind", "time", "value"][index];
            let wrong = |found: String| BatchError::Column {
                column: name,
                expected: field.data_type().to_string(),
                found,
            };
            let array = record_batch
                .column_by_name(name)
                .ok_or_else(|| wrong("no such column".into()))?;
            if !same_type(array.data_type(), field.data_type()) {
                return Err(wrong(array.data_type().to_string()));
            }
            if array.null_count() > 0 {
                return Err(wrong(format!("{} nulls", array.null_count())));
            }
            Ok(array)
        };
        let rows = record_batch.num_rows();
        if rows > BATCH_SAMPLES_MAX {
            return Err(BatchError::TooManySamples(rows));
        }
        let metric = column(0)?.as_dictionary::<UInt32Type>();
        let labels = column(1)?.as_dictionary::<UInt32Type>();
        let kinds = column(2)?.as_primitive::<UInt8Type>().values().clone();
        let times = column(3)?
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .clone();
        let values = column(4)?.as_primitive::<Float64Type>().values().clone();

        let mut metrics = Vec::with_capacity(metric.values().len());
        for (index, name) in metric.values().as_string::<i32>().iter().enumerate() {
            let name = name.unwrap_or_default();
            if name.is_empty() || name.len() > METRIC_BYTES_MAX {
                return Err(BatchError::Metric {
                    index,
                    bytes: name.len(),
                });
            }
            metrics.push(Arc::from(name));
        }
        let label_sets = read_label_sets(labels.values().as_map())?;
        for (name, keys, entries) in [
            ("metric", metric.keys(), metrics.len()),
            ("labels", labels.keys(), label_sets.len()),
        ] {
            if let Some(key) = keys.values().iter().find(|key| **key as usize >= entries) {
                return Err(BatchError::Column {
                    column: name,
                    expected: format!("dictionary keys below {entries}"),
                    found: key.to_string(),
                });
            }
        }
        if let Some((index, byte)) = kinds
            .iter()
            .enumerate()
            .find(|(_, byte)| Kind::from_byte(**byte).is_none())
        {
            return Err(BatchError::Kind { index, byte: *byte });
        }
        let (metric_keys, label_keys) = (
            metric.keys().values().clone(),
            labels.keys().values().clone(),
        );
        Ok(SampleBatch {
            metrics,
            label_sets,
            metric_keys,
            label_keys,
            kinds,
            times,
            values,
            record_batch,
        })
    }

    /// Reads the value of a record.
    ///
    /// # Errors
    /// `BatchError` (bad input: dead-letter the record) if the bytes are damaged, of another shape or hold more than one batch.
    pub fn decode(bytes: &Bytes) -> Result<Self, BatchError> {
        // arrow-ipc checks most lengths but unwraps on some damaged headers (seen with single flipped bits), so a panic there is the same
        // answer as an error: this is not a batch.
        catch_panic(|| Self::decode_unguarded(bytes)).unwrap_or_else(|panic| {
            Err(BatchError::Arrow(ArrowError::IpcError(format!(
                "the header contradicts itself ({panic}); the record is damaged"
            ))))
        })
    }

    fn decode_unguarded(bytes: &Bytes) -> Result<Self, BatchError> {
        // The push decoder, not the stream reader: that one allocates whatever length a damaged header claims, this one only what is there.
        let mut decoder = StreamDecoder::new();
        let mut buffer = Buffer::from(bytes.clone());
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            match decoder.decode(&mut buffer)? {
                Some(batch) => batches.push(batch),
                None => break,
            }
        }
        decoder.finish()?;
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Self::try_new(batch),
            Err(batches) => Err(BatchError::BatchCount(batches.len())),
        }
    }

    /// Writes the value of a record.
    ///
    /// # Errors
    /// `BatchError::Arrow` never in practice: the columns were checked.
    pub fn encode(&self) -> Result<Vec<u8>, BatchError> {
        let mut bytes = Vec::with_capacity(1024 + self.rows() * 26);
        let mut writer = StreamWriter::try_new(&mut bytes, &self.record_batch.schema())?;
        writer.write(&self.record_batch)?;
        writer.finish()?;
        drop(writer);
        Ok(bytes)
    }

    /// How many samples there are.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The metric dictionary.
    pub fn metrics(&self) -> &[Arc<str>] {
        &self.metrics
    }

    /// The label-set dictionary.
    pub fn label_sets(&self) -> &[Labels] {
        &self.label_sets
    }

    /// Per sample: position in [`SampleBatch::metrics`].
    pub fn metric_keys(&self) -> &[u32] {
        &self.metric_keys
    }

    /// Per sample: position in [`SampleBatch::label_sets`].
    pub fn label_keys(&self) -> &[u32] {
        &self.label_keys
    }

    /// Per sample: the byte of [`Kind`].
    pub fn kinds(&self) -> &[u8] {
        &self.kinds
    }

    /// Per sample: the time, microseconds since 1970 UTC.
    pub fn times(&self) -> &[Micros] {
        &self.times
    }

    /// Per sample: the value.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// Compares types, taking any name for the inner fields of the map: writers differ there (`key`/`keys`, nullable or not).
fn same_type(found: &DataType, expected: &DataType) -> bool {
    match (found, expected) {
        (DataType::Dictionary(k1, v1), DataType::Dictionary(k2, v2)) => {
            k1 == k2 && same_type(v1, v2)
        }
        (DataType::Map(f1, _), DataType::Map(f2, _)) => match (f1.data_type(), f2.data_type()) {
            (DataType::Struct(a), DataType::Struct(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .zip(b.iter())
                        .all(|(x, y)| x.data_type() == y.data_type())
            }
            _ => false,
        },
        (a, b) => a == b,
    }
}

fn read_label_sets(map: &MapArray) -> Result<Vec<Labels>, BatchError> {
    let (keys, values) = (
        map.keys().as_string::<i32>(),
        map.values().as_string::<i32>(),
    );
    let offsets = map.value_offsets();
    (0..map.len())
        .map(|index| {
            let range = offsets[index] as usize..offsets[index + 1] as usize;
            let pairs = range.map(|i| {
                (
                    keys.value(i),
                    if values.is_null(i) {
                        ""
                    } else {
                        values.value(i)
                    },
                )
            });
            Labels::try_new(pairs).map_err(|source| BatchError::Labels { index, source })
        })
        .collect()
}

/// Collects samples into a [`SampleBatch`]. Metrics and label sets are interned, so that a sample costs five numbers.
///
/// ```
/// use schemas::{BatchBuilder, Kind, Labels};
/// let mut builder = BatchBuilder::default();
/// let metric = builder.metric("cpu_usage");
/// let labels = builder.label_set(&Labels::try_new([("host", "a")]).unwrap());
/// builder.push(metric, labels, Kind::Gauge, 1_000_000, 0.5);
/// let batch = builder.finish().unwrap();
/// assert_eq!(schemas::SampleBatch::decode(&batch.encode().unwrap().into()).unwrap().values(), [0.5]);
/// ```
#[derive(Debug, Default)]
pub struct BatchBuilder {
    metrics: Vec<Arc<str>>,
    metric_index: HashMap<Arc<str>, u32, RandomState>,
    label_sets: Vec<Labels>,
    label_index: HashMap<Labels, u32, RandomState>,
    metric_keys: Vec<u32>,
    label_keys: Vec<u32>,
    kinds: Vec<u8>,
    times: Vec<Micros>,
    values: Vec<f64>,
}

impl BatchBuilder {
    /// The dictionary key of a metric name (1 to [`METRIC_BYTES_MAX`] bytes; checked by `finish`).
    pub fn metric(&mut self, name: &str) -> u32 {
        if let Some(key) = self.metric_index.get(name) {
            return *key;
        }
        let (name, key) = (Arc::<str>::from(name), self.metrics.len() as u32);
        self.metrics.push(Arc::clone(&name));
        self.metric_index.insert(name, key);
        key
    }

    /// The dictionary key of a label set.
    pub fn label_set(&mut self, labels: &Labels) -> u32 {
        if let Some(key) = self.label_index.get(labels) {
            return *key;
        }
        let key = self.label_sets.len() as u32;
        self.label_sets.push(labels.clone());
        self.label_index.insert(labels.clone(), key);
        key
    }

    /// Adds one sample; `metric` and `labels` come from this builder.
    pub fn push(&mut self, metric: u32, labels: u32, kind: Kind, time: Micros, value: f64) {
        self.metric_keys.push(metric);
        self.label_keys.push(labels);
        self.kinds.push(kind as u8);
        self.times.push(time);
        self.values.push(value);
    }

    /// How many samples were added.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The samples as a batch.
    ///
    /// # Errors
    /// `BatchError` (bad input) if there are more than [`BATCH_SAMPLES_MAX`] samples or a metric name is empty or too long.
    pub fn finish(self) -> Result<SampleBatch, BatchError> {
        let metrics: StringArray = self
            .metrics
            .iter()
            .map(|name| Some(name.as_ref()))
            .collect();
        let labels = labels_array(self.label_sets.iter());
        let keys = |keys: Vec<u32>| PrimitiveArray::<UInt32Type>::from(keys) as UInt32Array;
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(DictionaryArray::try_new(
                keys(self.metric_keys),
                Arc::new(metrics),
            )?),
            Arc::new(DictionaryArray::try_new(
                keys(self.label_keys),
                Arc::new(labels),
            )?),
            Arc::new(UInt8Array::from(self.kinds)),
            Arc::new(TimestampMicrosecondArray::from(self.times).with_timezone("UTC")),
            Arc::new(Float64Array::from(self.values)),
        ];
        SampleBatch::try_new(RecordBatch::try_new(batch_schema(), columns)?)
    }
}

#[cfg(test)]
mod tests;
