//! Rows go out and come back bit for bit, in the public columns.

use super::*;

#[tokio::test]
async fn samples_come_back_bit_for_bit_in_one_file_per_date() {
    let (_keep, archive) = archive();
    let directory = directory();
    let odd_nan = f64::from_bits(0x7ff8_0000_dead_beef);
    let samples = [
        (0, MIDNIGHT, f64::NAN),
        (0, MIDNIGHT - 1, -0.0),
        (1, MIDNIGHT, odd_nan),
        (1, MIDNIGHT + 5, f64::NEG_INFINITY),
        (2, MIDNIGHT + 3, f64::MIN_POSITIVE / 8.0),
        (2, MIDNIGHT + 1, 1e300),
        (3, 0, 1.0),
        (3, TIME_MAX - 1, 2.0),
    ];
    let files = archive
        .write_samples(&name("s", 0), &directory, rows(&samples))
        .await
        .unwrap();
    let dates: Vec<&str> = files
        .iter()
        .map(|file| file.path.split('/').nth(1).unwrap())
        .collect();
    assert_eq!(
        dates,
        [
            "date=1970-01-01",
            "date=2026-11-20",
            "date=2026-11-21",
            "date=2261-12-31"
        ]
    );
    assert_eq!(
        read_all(&archive, &files, &directory).await,
        expected(&directory, &samples)
    );
    let today = &files[2];
    assert_eq!(
        (today.rows, today.time_min, today.time_max),
        (5, MIDNIGHT, MIDNIGHT + 5)
    );
    assert_eq!(
        (today.metric_min.as_str(), today.metric_max.as_str()),
        ("alpha", "zeta")
    );

    let batch = &batches(&archive, today).await[0];
    assert_eq!(
        batch.schema().fields(),
        table_schema(Table::Samples).fields(),
        "the public columns, exactly"
    );
    let text = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .clone()
    };
    let keys: Vec<(String, String, Micros)> = (0..batch.num_rows())
        .map(|row| {
            (
                text("metric").value(row).into(),
                text("series_id").value(row).into(),
                batch
                    .column(0)
                    .as_primitive::<TimestampMicrosecondType>()
                    .value(row),
            )
        })
        .collect();
    assert!(keys.is_sorted(), "{keys:?}");
    let row = keys
        .iter()
        .position(|(metric, ..)| metric == "zeta")
        .unwrap();
    assert_eq!(
        (text("host").value(row), text("service").value(row)),
        ("web-1", "shop")
    );
    let labels = batch.column_by_name("labels").unwrap().as_map().value(row);
    let labels: Vec<(&str, &str)> = labels
        .column(0)
        .as_string::<i32>()
        .iter()
        .zip(labels.column(1).as_string::<i32>())
        .map(|(k, v)| (k.unwrap(), v.unwrap()))
        .collect();
    assert_eq!(
        labels,
        [
            ("cpu", "0"),
            ("host.name", "web-1"),
            ("service.name", "shop")
        ]
    );
    let bare = (0..batch.num_rows())
        .find(|row| text("series_id").value(*row) == directory[2].id.to_string())
        .unwrap();
    assert!(
        text("host").is_null(bare)
            && batch
                .column_by_name("labels")
                .unwrap()
                .as_map()
                .value(bare)
                .is_empty()
    );
}

#[tokio::test]
async fn only_wanted_series_and_times_are_read_and_only_their_files_opened() {
    let (_keep, archive) = archive();
    let directory = directory();
    let samples: Vec<(u32, Micros, f64)> = (0..20_000)
        .map(|i| {
            (
                (i % 4) as u32,
                MIDNIGHT + i64::from(i / 4) * SECOND,
                f64::from(i),
            )
        })
        .collect();
    let mut files = archive
        .write_samples(&name("s", 0), &directory, rows(&samples))
        .await
        .unwrap();
    // A file outside the wanted time may even be missing.
    files.push(ArchiveFile {
        path: "samples/date=2001-01-01/p00003-gone.parquet".into(),
        time_min: 0,
        time_max: 5,
        ..files[0].clone()
    });
    let wanted = Wanted {
        series: HashMap::from([
            (
                directory[1].id,
                (MIDNIGHT + 10 * SECOND, MIDNIGHT + 12 * SECOND),
            ),
            (directory[3].id, (MIDNIGHT, MIDNIGHT)),
        ]),
    };
    let mut found = archive.read_samples(&files, &wanted).await.unwrap();
    found.sort_by_key(|sample| (sample.value as i64, sample.file));
    let values: Vec<(f64, usize)> = found
        .iter()
        .map(|sample| (sample.value, sample.file))
        .collect();
    assert_eq!(values, [(3.0, 0), (41.0, 0), (45.0, 0), (49.0, 0)]);
    assert!(
        archive
            .read_samples(&files, &Wanted::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn large_files_keep_every_row() {
    let (_keep, archive) = archive();
    let directory: SeriesDirectory = (0..700)
        .map(|i| {
            series(
                &format!("metric_{}", i % 7),
                &[("host", &format!("h{i}")), ("region", "eu")],
            )
        })
        .collect();
    let samples: Vec<(u32, Micros, f64)> = (0..210_000u32)
        .map(|i| {
            (
                i % 700,
                MIDNIGHT + i64::from(i / 700) * SECOND,
                f64::from(i).sqrt(),
            )
        })
        .collect();
    let files = archive
        .write_samples(&name("s", 0), &directory, rows(&samples))
        .await
        .unwrap();
    assert_eq!((files.len(), files[0].rows), (1, 210_000));
    assert_eq!(
        read_all(&archive, &files, &directory).await,
        expected(&directory, &samples)
    );
}

fn rollup_row(series: u32, start: Micros, revision: u32) -> RollupRow {
    let rollup =
        Rollup::fold((0..3).map(|i| (start + i * SECOND, f64::from(revision) + i as f64))).unwrap();
    RollupRow {
        series,
        resolution: Resolution::Minute,
        start,
        rollup,
        rate: rollup.rate(),
        completeness: 0.5,
        revision,
    }
}

#[tokio::test]
async fn rollups_go_to_their_tables_and_come_back() {
    let (_keep, archive) = archive();
    let directory = directory();
    let single = RollupRow {
        resolution: Resolution::Day,
        rollup: Rollup::of(MIDNIGHT, 7.0),
        rate: None,
        ..rollup_row(2, MIDNIGHT, 0)
    };
    let input = vec![
        rollup_row(1, MIDNIGHT + MINUTE, 4),
        rollup_row(0, MIDNIGHT, 0),
        rollup_row(1, MIDNIGHT, 1),
        single,
    ];
    let files = archive
        .write_rollups(&name("r", 0), &directory, input.clone())
        .await
        .unwrap();
    assert_eq!(
        files
            .iter()
            .map(|file| (file.table.name(), file.rows))
            .collect::<Vec<_>>(),
        [("rollups_1m", 3), ("rollups_1d", 1)]
    );
    let wanted = Wanted {
        series: HashMap::from([
            (directory[1].id, (MIDNIGHT, MIDNIGHT + MINUTE)),
            (directory[2].id, (MIDNIGHT, MIDNIGHT)),
        ]),
    };
    let mut found = archive.read_rollups(&files, &wanted).await.unwrap();
    found.sort_by_key(|row| (row.file, row.start));
    assert_eq!(found.len(), 3);
    let (row, from) = (&found[1], &input[0]);
    assert_eq!(
        (row.series, row.start, row.count, row.revision),
        (directory[1].id, from.start, 3, 4)
    );
    assert_eq!(
        (row.sum, row.min, row.max, row.first, row.last),
        (
            from.rollup.sum,
            from.rollup.min,
            from.rollup.max,
            from.rollup.first,
            from.rollup.last
        )
    );
    assert_eq!(
        (row.sum_squares, row.rate, row.completeness),
        (from.rollup.sum_squares, Some(1.0), 0.5)
    );
    assert_eq!(found[2].rate, None, "one sample has no rate");
    let schema = batches(&archive, &files[0]).await[0].schema();
    assert_eq!(
        schema.fields(),
        table_schema(Table::Rollups(Resolution::Minute)).fields()
    );
}

pub(super) fn anomaly(id: &str, series: &Series, time: &str) -> Anomaly {
    Anomaly {
        event_id: id.into(),
        kind: AnomalyKind::LevelShift,
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels.clone(),
        window_start: "2026-11-20T23:59:50Z".into(),
        window_end: "2026-11-21T00:00:00Z".into(),
        time: time.into(),
        observed: Some(5.0),
        expected: 1.0,
        lower: 0.0,
        upper: 2.0,
        raw_score: 8.0,
        score: 4.0,
        alarm: true,
        direction: Direction::High,
        votes: vec![Vote {
            detector: "ewma".into(),
            score: 4.0,
            expected: 1.0,
            lower: 0.0,
            upper: 2.0,
            reason: "expected 0–2".into(),
        }],
        trust: 1.0,
        completeness: 1.0,
        related: vec![Related {
            series_id: series.id,
            metric: "system.disk.io".into(),
            labels: series.labels.clone(),
            lag_s: -40.0,
            score: 3.0,
            direction: Direction::Low,
        }],
        contributions: Vec::new(),
        explanation: "far above".into(),
    }
}

#[tokio::test]
async fn an_anomaly_is_in_its_table_once() {
    let (_keep, archive) = archive();
    let directory = directory();
    let one = anomaly("e1", &directory[0], "2026-11-20T23:59:59.999999Z");
    let events = [
        one.clone(),
        anomaly("e2", &directory[1], "2026-11-21T00:00:00Z"),
        one,
    ];
    let files = archive
        .write_anomalies(&name("a", 0), &events)
        .await
        .unwrap();
    assert_eq!(
        files
            .iter()
            .map(|file| (file.rows, file.time_min))
            .collect::<Vec<_>>(),
        [(1, MIDNIGHT - 1), (1, MIDNIGHT)]
    );
    let batch = &batches(&archive, &files[0]).await[0];
    assert_eq!(
        batch.schema().fields(),
        table_schema(Table::Anomalies).fields()
    );
    assert_eq!(
        batch
            .column_by_name("direction")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        "high"
    );
    assert_eq!(
        batch
            .column_by_name("score")
            .unwrap()
            .as_primitive::<Float64Type>()
            .value(0),
        4.0
    );
    assert!(
        batch
            .column_by_name("votes")
            .unwrap()
            .as_string::<i32>()
            .value(0)
            .contains("ewma")
    );
    let text = |name: &str| {
        let column = batch.column_by_name(name).unwrap();
        column.as_string::<i32>().value(0).to_owned()
    };
    assert_eq!(text("kind"), "level_shift");
    assert!(
        text("related").contains(r#""lag_s":-40.0"#),
        "{}",
        text("related")
    );
    assert_eq!(text("contributions"), "[]");
    let wrong = anomaly("e3", &directory[0], "yesterday");
    assert_eq!(
        archive
            .write_anomalies(&name("a", 0), &[wrong])
            .await
            .unwrap_err()
            .fault(),
        Fault::Bug
    );
}

#[tokio::test]
async fn a_missing_sample_has_no_value() {
    let (_keep, archive) = archive();
    let missing = Anomaly {
        kind: AnomalyKind::Missing,
        observed: None,
        ..anomaly("e1", &directory()[0], "2026-11-21T00:00:00Z")
    };
    let files = archive
        .write_anomalies(&name("a", 0), &[missing])
        .await
        .unwrap();
    let batch = &batches(&archive, &files[0]).await[0];
    assert!(batch.column_by_name("observed").unwrap().is_null(0));
    assert!(batch.column_by_name("expected").unwrap().is_valid(0));
}

fn forecast(series: &Series, time: i64, outlook: Outlook) -> Forecast {
    Forecast {
        event_id: format!("{}-{time}", outlook.kind()),
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels.clone(),
        made_at: MIDNIGHT,
        time,
        horizon_s: Forecast::horizon_s(MIDNIGHT, time),
        outlook,
        method: "seasonal".into(),
        trained_on: TrainedOn {
            span_s: 86_400,
            samples: 288,
        },
        trust: 0.5,
        explanation: "it goes on".into(),
    }
}

#[tokio::test]
async fn forecasts_of_both_kinds_and_their_scores_fit_their_tables() {
    let (_keep, archive) = archive();
    let directory = directory();
    let band = |coverage: f64| Band {
        coverage,
        lower: -coverage,
        upper: coverage,
    };
    let value = forecast(
        &directory[0],
        MIDNIGHT + 3_600_000_000,
        Outlook::Value {
            median: 0.25,
            bands: BAND_COVERAGES.map(band),
        },
    );
    let full = forecast(
        &directory[0],
        MIDNIGHT + 86_400_000_000,
        Outlook::TimeToFull {
            answer: FullAnswer::FullIn,
            used: 7.0,
            ceiling: 10.0,
            p_full: FULL_WITHIN_S.map(|within_s| FullWithin {
                within_s,
                probability: within_s as f64 / 2_592_000.0,
            }),
            dates: FullDates {
                p10: Some(MIDNIGHT + 1),
                p50: Some(MIDNIGHT + 2),
                p90: None,
            },
        },
    );
    let score = |outcome: Outcome| ForecastScore {
        forecast_id: "f".into(),
        series_id: directory[0].id,
        metric: directory[0].metric.to_string(),
        labels: directory[0].labels.clone(),
        made_at: MIDNIGHT,
        time: MIDNIGHT + if outcome.kind() == "value" { 1 } else { 2 },
        horizon_s: 3_600,
        method: "seasonal".into(),
        observed: 0.5,
        outcome,
    };
    let scores = vec![
        score(Outcome::Value {
            median: 0.25,
            pinball_loss: 0.125,
            covered: [false, true, true],
        }),
        score(Outcome::TimeToFull {
            probability: 0.9,
            full: true,
            brier: 0.01,
        }),
    ];
    // An event computed again is there once.
    let events = vec![full.clone(), value, full];
    let encoded = EncodedFiles::forecasts(events)
        .await
        .unwrap()
        .and(EncodedFiles::forecast_scores(scores).await.unwrap());
    let files = archive.store_files(&name("f", 0), encoded).await.unwrap();
    let found: Vec<_> = files
        .iter()
        .map(|file| (file.table, file.rows, file.time_min))
        .collect();
    assert_eq!(
        found,
        [
            (Table::Forecasts, 1, MIDNIGHT + 3_600_000_000),
            (Table::Forecasts, 1, MIDNIGHT + 86_400_000_000),
            (Table::ForecastScores, 2, MIDNIGHT + 1),
        ]
    );
    let mut shown = Vec::new();
    for file in &files {
        let batch = &batches(&archive, file).await[0];
        assert_eq!(batch.schema().fields(), table_schema(file.table).fields());
        let own: Vec<usize> = (6..batch.num_columns()).collect();
        let own = batch.project(&own).unwrap();
        let mut writer = arrow::json::LineDelimitedWriter::new(&mut shown);
        writer.write(&own).unwrap();
    }
    let id = "event_id";
    let common = r#""method":"seasonal","trained_span_s":86400,"trained_samples":288,"trust":0.5,"explanation":"it goes on"}"#;
    let expected = [
        format!(r#"{{"{id}":"value-1795222800000000","kind":"value","made_at":"2026-11-21T00:00:00Z","horizon_s":3600,"median":0.25,"lower_50":-0.5,"upper_50":0.5,"lower_80":-0.8,"upper_80":0.8,"lower_95":-0.95,"upper_95":0.95,{common}"#),
        format!(r#"{{"{id}":"time_to_full-1795305600000000","kind":"time_to_full","made_at":"2026-11-21T00:00:00Z","horizon_s":86400,"answer":"full_in","used":7.0,"ceiling":10.0,"p_full_1h":0.001388888888888889,"p_full_4h":0.005555555555555556,"p_full_24h":0.03333333333333333,"p_full_3d":0.1,"p_full_14d":0.4666666666666667,"p_full_30d":1.0,"full_p10":"2026-11-21T00:00:00.000001Z","full_p50":"2026-11-21T00:00:00.000002Z",{common}"#),
        r#"{"forecast_id":"f","kind":"value","made_at":"2026-11-21T00:00:00Z","horizon_s":3600,"method":"seasonal","observed":0.5,"median":0.25,"pinball_loss":0.125,"covered_50":false,"covered_80":true,"covered_95":true}"#.to_owned(),
        r#"{"forecast_id":"f","kind":"time_to_full","made_at":"2026-11-21T00:00:00Z","horizon_s":3600,"method":"seasonal","observed":0.5,"probability":0.9,"full":true,"brier":0.01}"#.to_owned(),
    ];
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}
