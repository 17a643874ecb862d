//! The columns that name a row's series, encoded by runs: a stretch of rows of one series costs a dictionary entry and a count, not a hash and a comparison per row and label.
//!
//! What comes out are ordinary Parquet column chunks: one dictionary page and data pages of its keys. Decision 0010 says why they are made here.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use schemas::{Labels, Series, SeriesId};

use super::hybrid::Hybrid;

/// 20,000 rows to a page, as the library's own writer has it: what a reader skips at once.
const PAGE_ROWS: usize = 20_000;

/// Texts by key, in the order in which they were first seen.
#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    keys: HashMap<String, u32, RandomState>,
    bytes: usize,
}

impl Texts {
    fn key(&mut self, text: &str) -> u32 {
        if let Some(key) = self.keys.get(text) {
            return *key;
        }
        let key = self.push(text.to_owned());
        self.keys.insert(text.to_owned(), key);
        key
    }

    /// Adds a text that is known to be new.
    fn push(&mut self, text: String) -> u32 {
        self.bytes += text.len() + size_of::<u32>();
        self.texts.push(text);
        self.texts.len() as u32 - 1
    }

    fn max_key(&self) -> u32 {
        (self.texts.len() as u32).saturating_sub(1)
    }

    /// The dictionary page's content: each text after its length.
    fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.bytes);
        for text in &self.texts {
            plain.extend_from_slice(&(text.len() as u32).to_le_bytes());
            plain.extend_from_slice(text.as_bytes());
        }
        plain
    }
}

/// What one label set adds to the columns, as keys of their dictionaries.
struct LabelSet {
    names: Vec<u32>,
    values: Vec<u32>,
    host: Option<u32>,
    service: Option<u32>,
}

/// Consecutive rows of one series.
#[derive(Clone, Copy)]
struct Run {
    metric: u32,
    series: u32,
    set: u32,
    rows: usize,
}

/// The series of the rows of a row group, run by run.
#[derive(Default)]
pub(super) struct Runs {
    rows: usize,
    runs: Vec<Run>,
    last: Option<SeriesId>,
    metrics: Texts,
    ids: Texts,
    hosts: Texts,
    services: Texts,
    names: Texts,
    values: Texts,
    sets: Vec<LabelSet>,
    set_keys: HashMap<Labels, u32, RandomState>,
}

impl Runs {
    /// The next `rows` rows belong to a series.
    pub(super) fn push(&mut self, series: &Series, rows: usize) {
        self.rows += rows;
        if let (Some(run), true) = (self.runs.last_mut(), self.last == Some(series.id)) {
            run.rows += rows;
            return;
        }
        self.last = Some(series.id);
        let run = Run {
            metric: self.metrics.key(&series.metric),
            series: self.ids.push(series.id.to_string()),
            set: self.set(series),
            rows,
        };
        self.runs.push(run);
    }

    fn set(&mut self, series: &Series) -> u32 {
        if let Some(key) = self.set_keys.get(&series.labels) {
            return *key;
        }
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in series.labels.iter() {
            names.push(self.names.key(name));
            values.push(self.values.key(value));
        }
        let set = LabelSet {
            names,
            values,
            host: series.host().map(|host| self.hosts.key(host)),
            service: series.service().map(|service| self.services.key(service)),
        };
        let key = self.sets.len() as u32;
        self.sets.push(set);
        self.set_keys.insert(series.labels.clone(), key);
        key
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the largest dictionary.
    pub(super) fn dictionary_bytes(&self) -> usize {
        [&self.ids, &self.values, &self.hosts, &self.services]
            .iter()
            .map(|texts| texts.bytes)
            .max()
            .unwrap_or(0)
    }

    /// The column chunks of `metric`, `series_id`, the keys of `labels`, their values, `host` and `service`, each for the column described.
    pub(super) fn chunks(
        &self,
        columns: &[ColumnDescPtr],
        zstd_level: i32,
        compression: Compression,
    ) -> Result<Vec<Chunk>, ParquetError> {
        let pages = self.pages();
        let set = |run: &Run| &self.sets[run.set as usize];
        let mut chunks = Vec::with_capacity(columns.len());
        for column in columns {
            let mut writer =
                ChunkWriter::new(column.clone(), compression, zstd_level).map_err(io_error)?;
            let flat =
                |writer: &mut ChunkWriter, texts: &Texts, key: &dyn Fn(&Run) -> Option<u32>| {
                    writer.dictionary(texts)?;
                    for page in &pages {
                        writer.page(&flat_page(column, texts, page, key))?;
                    }
                    Ok::<_, ParquetError>(())
                };
            let nested =
                |writer: &mut ChunkWriter, texts: &Texts, keys: fn(&LabelSet) -> &[u32]| {
                    writer.dictionary(texts)?;
                    for page in &pages {
                        writer.page(&nested_page(column, texts, page, |run| keys(set(run))))?;
                    }
                    Ok::<_, ParquetError>(())
                };
            match column.path().string().as_str() {
                "metric" => flat(&mut writer, &self.metrics, &|run| Some(run.metric))?,
                "series_id" => flat(&mut writer, &self.ids, &|run| Some(run.series))?,
                "host" => flat(&mut writer, &self.hosts, &|run| set(run).host)?,
                "service" => flat(&mut writer, &self.services, &|run| set(run).service)?,
                _ if column.name() == "key" => {
                    nested(&mut writer, &self.names, |set| &set.names)?;
                }
                _ => nested(&mut writer, &self.values, |set| &set.values)?,
            }
            chunks.push(writer.finish()?);
        }
        Ok(chunks)
    }

    /// The runs cut into pages.
    fn pages(&self) -> Vec<Vec<Run>> {
        let (mut pages, mut page, mut room) = (Vec::new(), Vec::new(), PAGE_ROWS);
        for run in &self.runs {
            let mut left = run.rows;
            while left > 0 {
                let rows = left.min(room);
                page.push(Run { rows, ..*run });
                left -= rows;
                room -= rows;
                if room == 0 {
                    pages.push(std::mem::take(&mut page));
                    room = PAGE_ROWS;
                }
            }
        }
        if !page.is_empty() {
            pages.push(page);
        }
        pages
    }
}

fn io_error(error: std::io::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// A data page before compression.
struct PageContent<'a> {
    body: Vec<u8>,
    rows: usize,
    /// Entries of the column, nulls and empty lists included.
    entries: usize,
    nulls: usize,
    /// Smallest and largest text; `None` without any, and where nobody asks for them.
    bounds: Option<(&'a str, &'a str)>,
}

/// Levels stand before the values, each kind after its length.
fn push_levels(body: &mut Vec<u8>, levels: Hybrid) {
    let levels = levels.finish();
    body.extend_from_slice(&(levels.len() as u32).to_le_bytes());
    body.extend_from_slice(&levels);
}

fn push_keys(body: &mut Vec<u8>, keys: Hybrid) {
    body.push(keys.width() as u8);
    body.extend_from_slice(&keys.finish());
}

/// A page of a column with at most one text per row.
fn flat_page<'a>(
    column: &ColumnDescPtr,
    texts: &'a Texts,
    page: &[Run],
    key: &dyn Fn(&Run) -> Option<u32>,
) -> PageContent<'a> {
    let (mut levels, mut keys) = (Hybrid::up_to(1), Hybrid::up_to(texts.max_key()));
    let (mut rows, mut nulls, mut bounds) = (0, 0, None::<(&str, &str)>);
    let mut last = None;
    for run in page {
        rows += run.rows;
        let key = key(run);
        levels.repeat(u32::from(key.is_some()), run.rows);
        let Some(key) = key else {
            nulls += run.rows;
            continue;
        };
        keys.repeat(key, run.rows);
        if last != Some(key) {
            last = Some(key);
            let text = texts.texts[key as usize].as_str();
            bounds = Some(bounds.map_or((text, text), |(min, max)| (min.min(text), max.max(text))));
        }
    }
    let mut body = Vec::new();
    if column.max_def_level() > 0 {
        push_levels(&mut body, levels);
    }
    push_keys(&mut body, keys);
    PageContent {
        body,
        rows,
        entries: rows,
        nulls,
        bounds,
    }
}

/// A page of a column with a list of texts per row.
fn nested_page<'a>(
    column: &ColumnDescPtr,
    texts: &Texts,
    page: &[Run],
    keys_of: impl Fn(&Run) -> &'a [u32],
) -> PageContent<'static> {
    let present = column.max_def_level() as u32;
    let (mut repetition, mut definition) = (Hybrid::up_to(1), Hybrid::up_to(present));
    let mut keys = Hybrid::up_to(texts.max_key());
    let mut levels_of_row: Vec<u32> = Vec::new();
    let (mut rows, mut entries) = (0, 0);
    for run in page {
        rows += run.rows;
        let row = keys_of(run);
        if row.is_empty() {
            entries += run.rows;
            repetition.repeat(0, run.rows);
            definition.repeat(0, run.rows);
            continue;
        }
        entries += row.len() * run.rows;
        definition.repeat(present, row.len() * run.rows);
        levels_of_row.clear();
        levels_of_row.push(0);
        levels_of_row.resize(row.len(), 1);
        for _ in 0..run.rows {
            repetition.extend(&levels_of_row);
            keys.extend(row);
        }
    }
    let mut body = Vec::new();
    push_levels(&mut body, repetition);
    push_levels(&mut body, definition);
    push_keys(&mut body, keys);
    PageContent {
        body,
        rows,
        entries,
        nulls: 0,
        bounds: None,
    }
}

/// An encoded column chunk: its bytes, and what the footer says of them.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// Writes one column chunk: its dictionary first, then its pages.
struct ChunkWriter {
    column: ColumnDescPtr,
    compression: Compression,
    compressor: zstd::bulk::Compressor<'static>,
    sink: TrackedWrite<Vec<u8>>,
    rows: usize,
    entries: usize,
    nulls: usize,
    pages: i32,
    uncompressed_bytes: usize,
    data_offset: Option<u64>,
    bounds: Vec<Option<(Vec<u8>, Vec<u8>)>>,
    page_nulls: Vec<usize>,
    offsets: OffsetIndexBuilder,
}

impl ChunkWriter {
    fn new(
        column: ColumnDescPtr,
        compression: Compression,
        zstd_level: i32,
    ) -> std::io::Result<Self> {
        Ok(ChunkWriter {
            column,
            compression,
            compressor: zstd::bulk::Compressor::new(zstd_level)?,
            sink: TrackedWrite::new(Vec::new()),
            rows: 0,
            entries: 0,
            nulls: 0,
            pages: 0,
            uncompressed_bytes: 0,
            data_offset: None,
            bounds: Vec::new(),
            page_nulls: Vec::new(),
            offsets: OffsetIndexBuilder::new(),
        })
    }

    fn dictionary(&mut self, texts: &Texts) -> Result<(), ParquetError> {
        let plain = texts.plain();
        let page = Page::DictionaryPage {
            buf: self.compressed(&plain)?,
            num_values: texts.texts.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let written = SerializedPageWriter::new(&mut self.sink)
            .write_page(CompressedPage::new(page, plain.len()))?;
        self.uncompressed_bytes += written.uncompressed_size;
        Ok(())
    }

    fn page(&mut self, content: &PageContent) -> Result<(), ParquetError> {
        let page = Page::DataPage {
            buf: self.compressed(&content.body)?,
            num_values: content.entries as u32,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = SerializedPageWriter::new(&mut self.sink)
            .write_page(CompressedPage::new(page, content.body.len()))?;
        self.uncompressed_bytes += written.uncompressed_size;
        self.data_offset.get_or_insert(written.offset);
        self.rows += content.rows;
        self.entries += content.entries;
        self.nulls += content.nulls;
        self.pages += 1;
        self.offsets.append_row_count(content.rows as i64);
        // A page of 20,000 rows of at most 256 labels is far below 2 GiB.
        self.offsets
            .append_offset_and_size(written.offset as i64, written.compressed_size as i32);
        self.bounds
            .push(content.bounds.map(|(min, max)| (min.into(), max.into())));
        self.page_nulls.push(content.nulls);
        Ok(())
    }

    fn compressed(&mut self, bytes: &[u8]) -> Result<Bytes, ParquetError> {
        self.compressor
            .compress(bytes)
            .map(Bytes::from)
            .map_err(io_error)
    }

    fn finish(self) -> Result<Chunk, ParquetError> {
        let bytes = Bytes::from(self.sink.into_inner()?);
        let count = |page_type, encoding, count| PageEncodingStats {
            page_type,
            encoding,
            count,
        };
        let mut metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(self.compression)
            .set_encodings(vec![
                Encoding::PLAIN,
                Encoding::RLE,
                Encoding::RLE_DICTIONARY,
            ])
            .set_page_encoding_stats(vec![
                count(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1),
                count(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, self.pages),
            ])
            .set_num_values(self.entries as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed_bytes as i64)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(self.data_offset.unwrap_or(0) as i64);
        let mut column_index = None;
        if self.column.max_rep_level() == 0 {
            let min = self.bounds.iter().flatten().map(|(min, _)| min).min();
            let max = self.bounds.iter().flatten().map(|(_, max)| max).max();
            let bytes = |text: Option<&Vec<u8>>| text.map(|text| ByteArray::from(text.clone()));
            metadata = metadata.set_statistics(Statistics::byte_array(
                bytes(min),
                bytes(max),
                None,
                Some(self.nulls as u64),
                false,
            ));
            column_index = Some(page_index(&self.bounds, &self.page_nulls)?);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index,
            offset_index: Some(self.offsets.build()),
        };
        Ok(Chunk { bytes, close })
    }
}

/// Smallest and largest text of each page, by which readers skip pages.
fn page_index(
    bounds: &[Option<(Vec<u8>, Vec<u8>)>],
    nulls: &[usize],
) -> Result<parquet::file::page_index::column_index::ColumnIndexMetaData, ParquetError> {
    let mut index = ColumnIndexBuilder::new(Type::BYTE_ARRAY);
    for (bounds, nulls) in bounds.iter().zip(nulls) {
        let (min, max) = bounds.clone().unwrap_or_default();
        index.append(bounds.is_none(), min, max, *nulls as i64);
    }
    let texts: Vec<_> = bounds.iter().flatten().collect();
    let ascending = texts
        .windows(2)
        .all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1);
    index.set_boundary_order(match ascending {
        true => BoundaryOrder::ASCENDING,
        false => BoundaryOrder::UNORDERED,
    });
    index.build()
}
