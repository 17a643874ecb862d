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
