//! The scorer against what NAB's own code says of three published detectors, and against small cases worked out by hand.

use std::collections::HashMap;

use rstest::rstest;

use super::*;
use crate::read;

/// From NAB's own code (python, v1.1) over the same scores; its published table rounds them to one decimal.
#[rstest]
#[case::windowed_gaussian("windowedGaussian", [39.65, 20.87, 47.41])]
#[case::numenta("numenta", [70.10, 63.21, 74.32])]
#[case::random_cut_forest("randomCutForest", [51.72, 38.36, 59.75])]
fn published_detectors_get_their_published_scores(
    #[case] detector: &str,
    #[case] expected: [f64; 3],
) {
    let Some(data) = crate::test_data::folder("nab") else {
        return;
    };
    let corpus = corpus::read(&data).unwrap();
    let path = data.join(format!("reference_scores_{detector}.csv.gz"));
    let text = read::text(&path).unwrap();
    let mut by_file: HashMap<&str, Vec<f64>> = HashMap::new();
    for (line, [file, _, score]) in
        read::rows(&path, &text, ["file", "row", "anomaly_score"]).unwrap()
    {
        by_file
            .entry(file)
            .or_default()
            .push(read::number(&path, line, score).unwrap());
    }
    let scores: Vec<Vec<f64>> = corpus
        .iter()
        .map(|series| by_file[series.name.as_str()].clone())
        .collect();
    let found = scorer::optimised(&corpus, &scores);
    for (found, expected) in found.into_iter().zip(expected) {
        assert!(
            (found - expected).abs() < 0.005,
            "{detector}: {found}, expected {expected}"
        );
    }
}

/// 100 rows, of which 15 are not scored, and a window over the rows 50 to 59.
fn one_series(windows: &[(usize, usize)]) -> Vec<LabelledSeries> {
    vec![LabelledSeries::new(
        "s".to_owned(),
        (0..100).collect(),
        vec![0.0; 100],
        windows,
    )]
}

fn alarms_at(rows: &[usize]) -> Vec<Vec<f64>> {
    vec![
        (0..100)
            .map(|row| if rows.contains(&row) { 1.5 } else { 0.5 })
            .collect(),
    ]
}

#[rstest]
#[case::no_alarm(&[], [0.0, 0.0, 0.0])]
#[case::at_the_left_edge(&[50], [100.0, 100.0, 100.0])]
#[case::a_later_alarm_of_the_window_adds_nothing(&[50, 55], [100.0, 100.0, 100.0])]
#[case::in_probation_nothing_counts(&[3, 14], [0.0, 0.0, 0.0])]
#[case::a_false_row_before_any_window(&[20], [-5.5, -11.0, -11.0 / 3.0])]
#[case::far_past_the_window_too(&[99], [-5.5, -11.0, -11.0 / 3.0])]
fn alarms_earn_and_cost_what_the_rule_says(#[case] alarms: &[usize], #[case] expected: [f64; 3]) {
    let corpus = one_series(&[(50, 59)]);
    for (profile, expected) in PROFILES.into_iter().zip(expected) {
        let found = scorer::fixed(&corpus, &alarms_at(alarms), profile, 1.0);
        assert!((found - expected).abs() < 1e-9, "{profile:?}: {found}");
    }
}

#[test]
fn the_middle_of_a_window_is_worth_less_than_its_edge_and_a_row_just_after_it_costs_little() {
    let corpus = one_series(&[(50, 59)]);
    let at = |row| scorer::fixed(&corpus, &alarms_at(&[row]), PROFILES[0], 1.0);
    // (1 + sigmoid(−0.5)/sigmoid(−1)) / 2, sigmoid(x) = 2 / (1 + e^5x) − 1.
    assert!((at(55) - 92.9897).abs() < 1e-3, "{}", at(55));
    // −0.11 · 0.27 / 2: a ninth of a width past the right edge.
    assert!((at(60) + 1.4897).abs() < 1e-3, "{}", at(60));
}

#[test]
fn the_best_threshold_takes_ties_together_and_is_never_worse_than_silence() {
    let corpus = one_series(&[(50, 59)]);
    assert!((scorer::optimised(&corpus, &alarms_at(&[50]))[0] - 100.0).abs() < 1e-9);
    // All rows have one score: to alarm all costs more than it earns.
    assert_eq!(scorer::optimised(&corpus, &alarms_at(&[])), [0.0; 3]);
    assert_eq!(
        scorer::optimised(&one_series(&[]), &alarms_at(&[1])),
        [0.0; 3],
        "a corpus without windows"
    );
}

#[test]
fn the_defaults_reach_what_is_promised() {
    let Some(data) = crate::test_data::folder("nab") else {
        return;
    };
    let report = run(data.parent().unwrap()).unwrap();
    for (name, least) in [("standard", 62.0), ("low_fp", 53.0), ("low_fn", 69.0)] {
        assert!(
            report.metrics[name] >= least,
            "{name}: {:?}",
            report.metrics
        );
    }
}
