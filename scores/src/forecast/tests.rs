//! The scorer against the competition's published figures.

use std::path::PathBuf;

use super::*;

/// The data folder, or a loud word that the test is skipped.
fn data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TIDEWATCH_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    if folder.join("m4").is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("TIDEWATCH_REQUIRE_DATA").as_deref() != Ok("1"),
        "{test} needs {}/m4, and TIDEWATCH_REQUIRE_DATA=1 forbids to skip it",
        folder.display()
    );
    // Past the capture of the test runner, which hides what a passing test prints.
    let _unheard = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("SKIPPED {test}: needs {}/m4\n", folder.display()),
    );
    None
}

#[test]
fn the_seasonal_naive_method_has_the_published_figures() {
    let Some(data) = data("the_seasonal_naive_method_has_the_published_figures") else {
        return;
    };
    let series = read_m4(&data.join("m4")).unwrap();
    assert_eq!(series.len(), 414);
    let naive_2 = sums(
        &series,
        |history| Some(point_only(naive_2(history))),
        |_, _| {},
    );
    let naive = sums(
        &series,
        |history| Some(point_only(seasonal_naive(history))),
        |_, _| {},
    );
    // M4's "Evaluation and Ranks.xlsx": sNaive 13.912, 1.193, 0.627; Naive2 18.383, 2.395.
    assert!(
        (naive.mean().smape - 13.912).abs() < 5e-4,
        "{:?}",
        naive.mean()
    );
    assert!(
        (naive.mean().mase - 1.193).abs() < 5e-4,
        "{:?}",
        naive.mean()
    );
    assert!((naive.owa(&naive_2) - 0.627).abs() < 6e-4);
    assert!(
        (naive_2.mean().smape - 18.383).abs() < 5e-4,
        "{:?}",
        naive_2.mean()
    );
    assert!(
        (naive_2.mean().mase - 2.395).abs() < 5e-4,
        "{:?}",
        naive_2.mean()
    );
}

#[test]
fn the_streaming_default_is_far_better_than_the_seasonal_naive_method() {
    let Some(data) = data("the_streaming_default_is_far_better_than_the_seasonal_naive_method")
    else {
        return;
    };
    // Every eighth series: a debug build takes seconds for these, minutes for all.
    let series: Vec<M4Series> = read_m4(&data.join("m4"))
        .unwrap()
        .into_iter()
        .step_by(8)
        .collect();
    let naive_2 = sums(
        &series,
        |history| Some(point_only(naive_2(history))),
        |_, _| {},
    );
    let stream = sums(&series, stream, |_, _| {});
    let naive = sums(
        &series,
        |history| Some(point_only(seasonal_naive(history))),
        |_, _| {},
    );
    assert!(
        stream.owa(&naive_2) < 0.8 * naive.owa(&naive_2),
        "{}",
        stream.owa(&naive_2)
    );
    assert!(
        (0.92..0.98).contains(&stream.mean().coverage),
        "{:?}",
        stream.mean()
    );
    assert!(stream.mean().msis < 14.0, "{:?}", stream.mean());
}

#[test]
fn a_series_without_a_season_has_the_last_value_as_its_naive_forecast() {
    let history: Vec<f64> = (0..400)
        .map(|hour| ((hour * 7919) % 101) as f64 + 1.0)
        .collect();
    assert_eq!(naive_2(&history), vec![history[399]; HORIZON]);
    assert_eq!(naive_2(&[5.0; 400]), vec![5.0; HORIZON]);
}

#[test]
fn measures_are_those_of_the_competition() {
    let series = M4Series {
        name: "by hand".to_owned(),
        // A day's difference of 2 everywhere.
        history: (0..336).map(|hour| f64::from(hour / 24) * 2.0).collect(),
        future: vec![10.0; HORIZON],
    };
    let prediction = Prediction {
        median: vec![6.0; HORIZON],
        lower: vec![5.0; HORIZON],
        upper: vec![9.0; HORIZON],
    };
    let accuracy = Accuracy::of(&series, &prediction);
    // 200 · 4/16; 4/2; (4 + 2/0.05 · 1)/2; none held.
    let expected = Accuracy {
        smape: 50.0,
        mase: 2.0,
        msis: 22.0,
        coverage: 0.0,
    };
    assert_eq!(accuracy, expected);
}

#[test]
fn files_of_another_form_are_told_where_they_are_wrong() {
    let folder = std::env::temp_dir().join(format!("tidewatch-m4-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let error = read_m4(&folder).unwrap_err().to_string();
    assert!(error.contains("Hourly-train.csv"), "{error}");
    let values = vec!["\"1\""; 336].join(",");
    write("Hourly-train.csv", &format!("\"V1\"\n\"H1\",{values},\n"));
    write("Hourly-test.csv", "\"V1\"\n\"H1\",\"1\",\"x\"\n");
    let error = read_m4(&folder).unwrap_err().to_string();
    assert!(error.contains("a number in line 2, found x"), "{error}");
    write("Hourly-test.csv", "\"V1\"\n\"H2\",\"1\"\n");
    let error = read_m4(&folder).unwrap_err().to_string();
    assert!(
        error.contains("series H1") && error.contains("found H2"),
        "{error}"
    );
    write("Hourly-test.csv", "\"V1\"\n\"H1\",\"1\"\n");
    let error = read_m4(&folder).unwrap_err().to_string();
    assert!(error.contains("found 1 after 336"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
