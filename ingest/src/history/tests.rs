//! History files as people have them: what is taken of each, and what is said of what is wrong.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use schemas::batch::labels_array;
use schemas::{HasFault, Kind, Labels};

use super::*;

/// 2026-03-01T12:00:00Z, microseconds.
const NOON: i64 = 1_772_366_400_000_000;

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Files {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn parquet(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        self.write(name, writer.into_inner().unwrap())
    }

    fn read(&self, paths: &[PathBuf], skip_invalid: bool) -> Result<History, HistoryError> {
        let mut reader = HistoryReader::new(HistoryOptions {
            skip_invalid,
            series_max: 5,
            ..HistoryOptions::new(self.directory.path())
        });
        for path in paths {
            reader.read(path, &mut |_| {})?;
        }
        Ok(reader.finish())
    }
}

/// `series seconds-after-noon value`, one line per sample.
fn told(history: &mut History) -> String {
    let mut chunk = Vec::new();
    history.samples.next_chunk(&mut chunk, 1000).unwrap();
    let line = |sample: &HistorySample| {
        let series = &history.directory.series()[sample.series as usize].series;
        format!(
            "{series} {} {}\n",
            (sample.time - NOON) as f64 / 1e6,
            sample.value
        )
    };
    chunk.iter().map(line).collect()
}

fn taken(content: &str) -> String {
    let files = Files::new();
    let path = files.write("cpu.csv", content);
    told(&mut files.read(&[path], false).unwrap())
}

/// What is said of a file, without its directory.
fn refused(name: &str, content: impl AsRef<[u8]>) -> String {
    let files = Files::new();
    let path = files.write(name, content);
    let error = files.read(&[path], false).unwrap_err();
    let directory = format!("{}/", files.directory.path().display());
    error.to_string().replace(&directory, "")
}

#[test]
fn every_column_but_three_is_a_label() {
    assert_eq!(
        taken(
            "timestamp,metric,host,cpu,value\n2026-03-01T12:00:00Z,usage,a,0,0.5\n2026-03-01 12:00:10,usage,b,,1e3\n"
        ),
        "usage{cpu=\"0\",host=\"a\"} 0 0.5\nusage{host=\"b\"} 10 1000\n"
    );
}

#[test]
fn two_columns_are_one_series_named_by_the_file() {
    assert_eq!(
        taken("timestamp,value\n1772366400,1\n1772366401,2\n"),
        "cpu{} 0 1\ncpu{} 1 2\n"
    );
}

#[test]
fn files_from_everywhere_read_alike() {
    let plain = taken("timestamp,host,value\n1772366400,a b,1\n1772366401,\"c,\"\"d\",2\n");
    for other in [
        "\u{feff}timestamp,host,value\n1772366400,a b,1\n1772366401,\"c,\"\"d\",2\n",
        "timestamp,host,value\r\n1772366400,a b,1\r\n1772366401,\"c,\"\"d\",2",
        "timestamp,host,value\r\n1772366400,a b,1\n\n\r\n1772366401,\"c,\"\"d\",2\r\n\n",
        "timestamp,host,value\r1772366400,a b,1\r1772366401,\"c,\"\"d\",2\r",
        " Timestamp , host,Value\n 1772366400 ,a b, 1\n1772366401,\"c,\"\"d\", 2 \n",
        "timestamp;host;value\n1772366400;a b;1\n1772366401;\"c,\"\"d\";2\n",
        "timestamp\thost\tvalue\r\n1772366400\ta b\t1\r\n1772366401\t\"c,\"\"d\"\t2\r\n",
        "\"value\",\"host\",\"time\"\n\"1\",\"a b\",\"1772366400\"\n2,\"c,\"\"d\",1772366401\n",
    ] {
        assert_eq!(taken(other), plain, "{other:?}");
    }
}

#[test]
fn values_that_are_no_numbers_but_values() {
    assert_eq!(
        taken("time,value\n1772366400,NaN\n1772366401,inf\n1772366402,-Infinity\n1772366403,-0\n"),
        "cpu{} 0 NaN\ncpu{} 1 inf\ncpu{} 2 -inf\ncpu{} 3 -0\n"
    );
}

#[test]
fn order_is_made_over_all_files_and_equal_times_keep_theirs() {
    let files = Files::new();
    let paths = [
        files.write("a.csv", "time,value\n1772366405,1\n1772366400,2\n"),
        files.write("b.csv", "time,value\n1772366403,3\n1772366400,4\n"),
    ];
    assert_eq!(
        told(&mut files.read(&paths, false).unwrap()),
        "a{} 0 2\nb{} 0 4\nb{} 3 3\na{} 5 1\n"
    );
}

#[test]
fn what_is_wrong_is_named_with_file_and_line() {
    for (content, said) in [
        (
            "time,value\n1772366400,1\n1772366401,abc\n",
            "x.csv, line 3: column `value`: expected a number, found `abc`",
        ),
        (
            "time,value\r\n\r\n1772366400,1\r\n1772366401,\r\n",
            "x.csv, line 4: column `value`: expected a number, found an empty cell",
        ),
        (
            "time,value\n01/03/2026,1\n",
            "x.csv, line 2: column `time`: expected a time such as",
        ),
        (
            "time,value\n,1\n",
            "x.csv, line 2: column `time`: expected a time such as",
        ),
        (
            "time,host,value\n1772366400,a,1\n1772366400,1\n",
            "x.csv, line 3: expected 3 cells as in the header, found 2",
        ),
        (
            "time,metric,value\n1772366400, ,1\n",
            "x.csv, line 2: column `metric`: expected the metric's name, found an empty cell",
        ),
        (
            "time,host,value\n1772366400,\"a\nb\",1\n1772366400,b,c\n",
            "x.csv, line 4: column `value`: expected a number, found `c`",
        ),
        (
            "time,host\n1772366400,a\n",
            "x.csv: expected columns `timestamp` (or `time`) and `value`, perhaps `metric`, and labels; found no `value` among `time`, `host`",
        ),
        (
            "time,host,host,value\n",
            "x.csv: expected each column once; found `host` as columns 2 and 3",
        ),
        ("", "x.csv: expected columns `timestamp`"),
        (
            "time;value\n1772366400;1,5\n",
            "x.csv, line 2: column `value`: expected a number, found `1,5`; write it with a decimal point",
        ),
        (
            "1772366400,1\n1772366401,2\n",
            "x.csv: expected a header line, such as `timestamp,metric,host,value`; found a first line of data, `1772366400,1`",
        ),
        (
            "time,id,value\n1,a,1\n1,b,1\n1,c,1\n1,d,1\n1,e,1\n1,f,1\n",
            "x.csv, line 7: one series more than 5, the limit of processing.series_max",
        ),
    ] {
        let error = refused("x.csv", content);
        assert!(error.starts_with(said), "{content:?}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_shown_as_bytes() {
    let error = refused("x.csv", b"time,host,value\n1772366400,\xe9,1\n");
    assert_eq!(
        error,
        "x.csv, line 2: column `host`: expected UTF-8, found `\\xe9`"
    );
    let error = refused("x.csv", b"\xff\xfet\0i\0m\0e\0");
    assert!(error.contains("UTF-16; save it as UTF-8"), "{error}");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_files_are_read_as_what_is_in_them() {
    let files = Files::new();
    let content = b"time,value\n1772366400,1\n1772366401,2\n";
    let zstd = zstd::encode_all(&content[..], 1).unwrap();
    // Two members, as `cat a.gz b.gz` makes them.
    let twice = [gzip(content), gzip(b"1772366402,3\n")].concat();
    for (name, packed, samples) in [
        ("cpu.csv.gz", gzip(content), 2),
        ("cpu.csv.zst", zstd.clone(), 2),
        ("cpu.csv", gzip(content), 2),
        ("cpu.gz", twice, 3),
    ] {
        let mut history = files.read(&[files.write(name, packed)], false).unwrap();
        assert_eq!(history.samples.samples(), samples, "{name}");
        assert!(told(&mut history).starts_with("cpu{} 0 1\ncpu{} 1 2\n"));
    }
    for (packed, said) in [
        (gzip(&gzip(content)), "found what was packed twice"),
        (gzip(b"PAR1PAR1"), "found Parquet, which can only be read"),
        (gzip(content)[..20].to_vec(), "a damaged one"),
        (zstd[..zstd.len() - 3].to_vec(), "a damaged one"),
        (b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "a damaged one"),
    ] {
        let error = refused("x.csv.gz", packed);
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn a_quote_that_is_not_closed_ends_early() {
    let mut content = String::from("time,host,value\n1772366400,a,1\n1772366401,\"b,2\n");
    while content.len() < 20 << 20 {
        content.push_str("1772366402,c,3\n");
    }
    let error = refused("x.csv", content);
    assert!(
        error.contains("the row that begins on line 3; is a quote not closed?"),
        "{error}"
    );
}

#[test]
fn bad_rows_are_counted_and_the_first_named_when_they_may_be_skipped() {
    let files = Files::new();
    let mut content = String::from("time,value\n");
    for line in 2..20 {
        content.push_str(&format!(
            "17723664{line:02},{}\n",
            if line % 2 == 0 { "x" } else { "1" }
        ));
    }
    let path = files.write("x.csv", content);
    let history = files.read(&[path], true).unwrap();
    assert_eq!((history.samples.samples(), history.skipped), (9, 9));
    assert_eq!(history.skipped_named.len(), SKIPPED_NAMED_MAX);
    assert!(
        history.skipped_named[1].ends_with("line 4: column `value`: expected a number, found `x`")
    );
    let missing = files.write("y.csv", "time\n1\n");
    assert!(
        files.read(&[missing], true).is_err(),
        "a column that is missing is always the end"
    );
}

#[test]
fn what_is_not_there_and_what_is_no_file() {
    let files = Files::new();
    let error = files
        .read(&[files.directory.path().join("none.csv")], false)
        .unwrap_err();
    assert_eq!(error.fault().name(), "outage");
    assert!(
        error.to_string().contains("none.csv: No such file"),
        "{error}"
    );
    let error = files
        .read(&[files.directory.path().to_owned()], false)
        .unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
}

fn floats(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Float64Array>())
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<StringArray>())
}

#[test]
fn parquet_with_the_columns_of_csv() {
    let files = Files::new();
    let stamps: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![
        NOON / 1000 + 10_000,
        NOON / 1000,
    ]));
    let path = files.parquet(
        "disk.parquet",
        vec![
            ("time", stamps),
            ("host", texts(&[Some("a"), None])),
            ("slot", Arc::new(Int64Array::from(vec![3, 4]))),
            ("value", Arc::new(Int64Array::from(vec![7, 8]))),
        ],
    );
    assert_eq!(
        told(&mut files.read(&[path], false).unwrap()),
        "disk{slot=\"4\"} 0 8\ndisk{host=\"a\",slot=\"3\"} 10 7\n"
    );
    for times in [
        Arc::new(Int64Array::from(vec![NOON / 1_000_000, NOON / 1000])) as ArrayRef,
        texts(&[Some("2026-03-01 12:00:00"), Some("1772366400000000")]),
        floats(&[Some(1_772_366_400.0), Some(1_772_366_400_000.0)]),
    ] {
        let path = files.parquet(
            "t.parquet",
            vec![
                ("timestamp", times),
                ("value", floats(&[Some(1.0), Some(2.0)])),
            ],
        );
        assert_eq!(
            told(&mut files.read(&[path], false).unwrap()),
            "t{} 0 1\nt{} 0 2\n"
        );
    }
}

#[test]
fn parquet_as_the_archive_writes_it() {
    let files = Files::new();
    let sets = [[("host", "a"), ("cpu", "0")], [("host", "b"), ("cpu", "1")]];
    let sets = sets.map(|pairs| Labels::try_new(pairs).unwrap());
    let stamps: ArrayRef =
        Arc::new(TimestampMillisecondArray::from(vec![NOON / 1000; 2]).with_timezone("UTC"));
    let columns = |last: &'static str| {
        vec![
            ("time", Arc::clone(&stamps)),
            ("metric", texts(&[Some("requests_total"); 2])),
            ("series_id", texts(&[Some("0"), Some("1")])),
            ("labels", Arc::new(labels_array(sets.iter())) as ArrayRef),
            ("host", texts(&[Some("a"), Some("b")])),
            (last, texts(&[None, None])),
            ("value", floats(&[Some(1.0), Some(f64::NAN)])),
        ]
    };
    let path = files.parquet("f.parquet", columns("service"));
    let mut history = files.read(&[path], false).unwrap();
    assert_eq!(history.directory.series()[0].series.kind, Kind::Counter);
    assert_eq!(
        told(&mut history),
        "requests_total{cpu=\"0\",host=\"a\"} 0 1\nrequests_total{cpu=\"1\",host=\"b\"} 0 NaN\n"
    );
    let path = files.parquet("f.parquet", columns("region"));
    let error = files.read(&[path], false).unwrap_err().to_string();
    assert!(
        error.contains("column `region` to hold nothing beside `labels`"),
        "{error}"
    );
}

#[test]
fn parquet_that_is_wrong() {
    let files = Files::new();
    let times: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let said = |path: PathBuf| {
        let error = files.read(&[path], false).unwrap_err().to_string();
        error.replace(&format!("{}/", files.directory.path().display()), "")
    };
    let path = files.parquet(
        "f.parquet",
        vec![
            ("time", Arc::clone(&times)),
            ("value", floats(&[Some(1.0), Some(2.0), None])),
        ],
    );
    let mut history = files.read(std::slice::from_ref(&path), true).unwrap();
    assert_eq!(
        (told(&mut history).lines().count(), history.skipped),
        (1, 2)
    );
    assert!(
        history.skipped_named[1]
            .ends_with("f.parquet, row 3: column `value`: expected a number, found null")
    );
    assert_eq!(
        said(path.clone()),
        "f.parquet, row 2: column `time`: expected a time, found null"
    );
    let wide = files.parquet(
        "w.parquet",
        vec![
            ("time", Arc::clone(&times)),
            ("load", floats(&[None; 3])),
            ("value", floats(&[None; 3])),
        ],
    );
    assert!(
        said(wide).starts_with(
            "w.parquet: expected column `load` to hold text, whole numbers or booleans"
        ),
        "a second value is no label"
    );
    let words = files.parquet(
        "v.parquet",
        vec![("time", times), ("value", texts(&[None; 3]))],
    );
    assert_eq!(
        said(words),
        "v.parquet: expected column `value` to hold a number; found Utf8"
    );
    assert_eq!(
        said(files.write("none.parquet", "time,value\n1,2\n")),
        "none.parquet: expected a Parquet file, which begins and ends with `PAR1`; found 15 bytes that begin with `time,val`"
    );
    assert!(
        said(files.write("empty.parquet", "")).contains("found 0 bytes that begin with nothing")
    );
    let whole = std::fs::read(&path).unwrap();
    for cut in [4, 8, whole.len() / 2, whole.len() - 1] {
        let error = said(files.write("cut.parquet", &whole[..cut]));
        assert!(
            error.starts_with("cut.parquet: expected a Parquet file; found a damaged one"),
            "{cut}: {error}"
        );
    }
    // Damage anywhere is an error or another value, never a panic.
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        let path = files.write("damaged.parquet", damaged);
        let _ = files.read(&[path], true);
    }
}
