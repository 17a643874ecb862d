//! What is encoded by runs is what the library's own reader reads, through whole files, through page selection and by statistics.

use arrow::array::StringArray;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use super::super::encode::{LEVEL_CHECKPOINT, TableEncoder};
use super::*;
use schemas::columns::time_array;

/// (metric, series id, labels, host, service) of a row.
type Row = (
    String,
    String,
    Vec<(String, String)>,
    Option<String>,
    Option<String>,
);

fn row_of(series: &Series) -> Row {
    (
        series.metric.to_string(),
        series.id.to_string(),
        series
            .labels
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        series.host().map(str::to_owned),
        series.service().map(str::to_owned),
    )
}

/// Runs of these lengths over series with many, one and no labels, with and without host and service, in (metric, id) order.
fn runs(lengths: &[usize]) -> Vec<(Arc<Series>, usize)> {
    let mut runs: Vec<_> = lengths
        .iter()
        .enumerate()
        .map(|(i, rows)| {
            let (host, value) = (format!("web-{i:05}"), "ü".repeat(i % 40));
            let labels: &[(&str, &str)] = match i % 4 {
                0 => &[
                    ("host.name", &host),
                    ("service.name", "shop"),
                    ("v", &value),
                ],
                1 => &[("host.name", &host)],
                2 => &[("job", "node"), ("v", &host)],
                _ => &[],
            };
            (series(&format!("m{:03}", i / 7), labels), *rows)
        })
        .collect();
    runs.sort_by(|(a, _), (b, _)| (&a.metric, a.id).cmp(&(&b.metric, b.id)));
    runs.dedup_by(|(a, _), (b, _)| a.id == b.id);
    runs
}

/// The file of the runs, whose `value` is the row number; written in chunks of so many runs.
fn file(runs: &[(Arc<Series>, usize)], chunk: usize) -> Bytes {
    let mut encoder = TableEncoder::new(Table::Samples, LEVEL_CHECKPOINT, &[]).unwrap();
    let mut row = 0;
    for runs in runs.chunks(chunk) {
        let first = row;
        for (series, rows) in runs {
            // In two parts, as compaction does where a run crosses two batches.
            encoder.push_run(series, rows / 2);
            encoder.push_run(series, rows - rows / 2);
            row += *rows as i64;
        }
        let values: arrow::array::Float64Array = (first..row).map(|row| row as f64).collect();
        encoder
            .write(time_array(first..row), vec![Arc::new(values)])
            .unwrap();
    }
    encoder.finish().unwrap().unwrap().bytes.into()
}

fn read(bytes: &Bytes, selection: Option<RowSelection>) -> Vec<(Row, f64)> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let mut builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).unwrap();
    assert_eq!(builder.schema(), &table_schema(Table::Samples));
    if let Some(selection) = selection {
        builder = builder.with_row_selection(selection);
    }
    let mut rows = Vec::new();
    for batch in builder.build().unwrap().map(Result::unwrap) {
        let text = |name: &str| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_string::<i32>()
                .clone()
        };
        let (metric, id, host, service) = (
            text("metric"),
            text("series_id"),
            text("host"),
            text("service"),
        );
        let optional =
            |array: &StringArray, row| array.is_valid(row).then(|| array.value(row).to_owned());
        let labels = batch.column_by_name("labels").unwrap().as_map();
        let values = batch.column_by_name("value").unwrap();
        for row in 0..batch.num_rows() {
            let entries = labels.value(row);
            let (keys, texts) = (
                entries.column(0).as_string::<i32>(),
                entries.column(1).as_string::<i32>(),
            );
            rows.push((
                (
                    metric.value(row).to_owned(),
                    id.value(row).to_owned(),
                    (0..entries.len())
                        .map(|i| (keys.value(i).to_owned(), texts.value(i).to_owned()))
                        .collect(),
                    optional(&host, row),
                    optional(&service, row),
                ),
                values.as_primitive::<Float64Type>().value(row),
            ));
        }
    }
    rows
}

#[rstest]
#[case::one_row(vec![1], 1)]
#[case::runs_of_a_checkpoint(vec![6; 4_000], 500)]
#[case::every_length_around_a_group((0..200).map(|i| i % 19 + 1).collect(), 7)]
#[case::runs_longer_than_a_page(vec![45_000, 3, 20_000, 20_001, 1], 2)]
fn the_reader_of_the_library_reads_what_runs_wrote(
    #[case] lengths: Vec<usize>,
    #[case] chunk: usize,
) {
    let runs = runs(&lengths);
    let expected: Vec<Row> = runs
        .iter()
        .flat_map(|(series, rows)| std::iter::repeat_n(row_of(series), *rows))
        .collect();
    let bytes = file(&runs, chunk);

    let found = read(&bytes, None);
    assert_eq!(found.len(), expected.len());
    for (i, (row, value)) in found.iter().enumerate() {
        assert_eq!((row, *value), (&expected[i], i as f64), "row {i}");
    }

    // A reader that skips pages by the index finds the same rows.
    let (from, rows) = (
        expected.len() / 2,
        (expected.len() / 10)
            .max(1)
            .min(expected.len() - expected.len() / 2),
    );
    let selection = RowSelection::from(vec![RowSelector::skip(from), RowSelector::select(rows)]);
    let selected = read(&bytes, Some(selection));
    assert_eq!(selected.len(), rows);
    for (i, (row, value)) in selected.iter().enumerate() {
        assert_eq!((row, *value), (&expected[from + i], (from + i) as f64));
    }
}

#[test]
fn statistics_of_groups_and_pages_enclose_their_texts() {
    let runs = runs(&[3_000; 40]);
    let bytes = file(&runs, 10);
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
    let metadata = builder.metadata();
    let (metrics, ids): (Vec<_>, Vec<_>) = runs
        .iter()
        .map(|(series, _)| (series.metric.to_string(), series.id.to_string()))
        .unzip();
    let bounds = |column: usize| match metadata.row_group(0).column(column).statistics() {
        Some(Statistics::ByteArray(found)) => {
            let text = |bytes: Option<&parquet::data_type::ByteArray>| {
                String::from_utf8(bytes.unwrap().data().to_vec()).unwrap()
            };
            (
                text(found.min_opt()),
                text(found.max_opt()),
                found.null_count_opt(),
            )
        }
        other => panic!("{other:?}"),
    };
    let ends = |texts: &[String]| {
        (
            texts.iter().min().unwrap().clone(),
            texts.iter().max().unwrap().clone(),
            Some(0),
        )
    };
    assert_eq!(bounds(1), ends(&metrics));
    assert_eq!(bounds(2), ends(&ids));
    let without_host = runs.iter().filter(|(series, _)| series.host().is_none());
    let nulls: usize = without_host.map(|(_, rows)| rows).sum();
    assert_eq!(bounds(5).2, Some(nulls as u64));

    let pages = metadata.offset_index().unwrap()[0][1].page_locations();
    let starts: Vec<i64> = pages.iter().map(|page| page.first_row_index).collect();
    assert_eq!(starts, [0, 20_000, 40_000, 60_000, 80_000, 100_000]);

    // By these a reader skips pages: a bound that is too tight hides rows.
    let of_rows = |texts: &[String]| -> Vec<String> {
        let rows = texts.iter().zip(&runs);
        rows.flat_map(|(text, (_, rows))| std::iter::repeat_n(text.clone(), *rows))
            .collect()
    };
    for (column, texts) in [(1, of_rows(&metrics)), (2, of_rows(&ids))] {
        let ColumnIndexMetaData::BYTE_ARRAY(index) = &metadata.column_index().unwrap()[0][column]
        else {
            panic!("column {column} has no index of texts")
        };
        for (page, texts) in texts.chunks(20_000).enumerate() {
            let ends = (texts.iter().min(), texts.iter().max());
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            assert_eq!(
                (text(index.min_value(page)), text(index.max_value(page))),
                (ends.0.unwrap().clone(), ends.1.unwrap().clone()),
                "column {column}, page {page}"
            );
        }
    }
}

#[test]
fn a_row_group_ends_before_its_dictionaries_grow_too_large() {
    // 1,200 label values of 15 KiB, all different: 17.6 MiB.
    let mut runs: Vec<_> = (0..1_200)
        .map(|i| {
            (
                series("m", &[("v", &format!("{i:05}{}", "x".repeat(15_355)))]),
                2,
            )
        })
        .collect();
    runs.sort_by_key(|(series, _)| series.id);
    let bytes = file(&runs, 1);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
    let rows: Vec<i64> = builder
        .metadata()
        .row_groups()
        .iter()
        .map(|group| group.num_rows())
        .collect();
    assert_eq!(rows, [2_184, 216]);
    let found = read(&bytes, None);
    for (i, (row, value)) in found.iter().enumerate() {
        assert_eq!((row, *value), (&row_of(&runs[i / 2].0), i as f64));
    }
}
