//! What a forest must do, whatever it is given.

use ndarray::{Array2, ShapeBuilder};
use proptest::prelude::*;
use rstest::rstest;

use super::grow::path_lengths;
use super::*;

/// Small enough for a debug build, large enough that chance does not decide.
fn small() -> ForestConfig {
    ForestConfig {
        trees: 50,
        samples: 128,
        depth: 7,
        ..ForestConfig::default()
    }
}

fn grown(config: ForestConfig, rows: &Array2<f64>) -> IsolationForest {
    UnfittedForest::try_new(config)
        .unwrap()
        .fit(rows.view())
        .unwrap()
}

/// A ball of 4 features around (0, 10, 20, 30): sums of fixed, even spread, no two rows alike.
fn ball(rows: usize) -> Array2<f64> {
    Array2::from_shape_fn((rows, 4), |(i, j)| {
        let wave = |step: usize| (i as f64 * ((step + 10 * j) as f64).sqrt()).fract() - 0.5;
        10.0 * j as f64 + wave(2) + wave(3) + wave(5)
    })
}

#[test]
fn the_mean_length_of_a_path_is_exact() {
    let lengths = path_lengths(512);
    // Reference: the sums as fractions.
    for (n, length) in [
        (0, 0.0),
        (1, 0.0),
        (2, 1.0),
        (3, 1.666_666_666_666_666_7),
        (10, 3.857_936_507_936_508),
        (256, 10.248_689_925_634_562),
        (512, 11.633_033_069_099_445),
    ] {
        assert!((lengths[n] - length).abs() < 1e-12, "{n}: {}", lengths[n]);
    }
}

#[test]
fn what_lies_apart_ranks_above_what_lies_together() {
    let rows = ball(500);
    let forest = grown(small(), &rows);
    let mut scores = forest.score(rows.view()).unwrap().to_vec();
    scores.sort_by(f64::total_cmp);
    for (row, above, what) in [
        ([0.0, 10.0, 20.0, 45.0], 500, "one feature far off"),
        ([0.0, 10.0, 20.0, 27.0], 475, "one feature a little off"),
        ([-5.0, 15.0, 15.0, 35.0], 500, "all features off"),
    ] {
        let score = forest.score_row(&row).unwrap();
        let below = scores.partition_point(|other| *other < score);
        assert!(below >= above, "{what}: {score} is above {below} of 500");
    }
    let middle = forest.score_row(&[0.0, 10.0, 20.0, 30.0]).unwrap();
    let below = scores.partition_point(|other| *other < middle);
    assert!(below < 250, "the middle, {middle}, is above {below} of 500");
}

#[test]
fn the_farther_beyond_everything_seen_the_higher_the_score() {
    let forest = grown(small(), &ball(300));
    let score = |value: f64| forest.score_row(&[0.0, 10.0, 20.0, value]).unwrap();
    let scores = [32.0, 33.0, 36.0, 50.0, 1e6, f64::INFINITY].map(score);
    assert!(scores.is_sorted(), "{scores:?}");
    assert!(scores[0] < scores[4]);
}

#[test]
fn a_small_cluster_beside_a_large_one_is_odd_although_it_is_no_extreme() {
    // Two crowds with emptiness between them, and ten rows in the emptiness.
    let rows = Array2::from_shape_fn((410, 2), |(i, j)| {
        let wave = ((i * (37 + 16 * j)) % 101) as f64 / 101.0;
        match i {
            0..10 => 5.0 + 0.2 * wave,
            _ if i % 2 == 0 => wave,
            _ => 9.0 + wave,
        }
    });
    let scores = grown(small(), &rows).score(rows.view()).unwrap();
    let odd = scores.iter().take(10).copied().fold(1.0, f64::min);
    let others = scores.iter().skip(10).copied().fold(0.0, f64::max);
    assert!(odd > others, "{odd} against {others}");
}

#[test]
fn contributions_name_the_feature_and_add_up_to_the_score() {
    let rows = ball(300);
    let forest = grown(small(), &rows);
    let explained = |row: &[f64]| forest.explain(row).unwrap();
    for feature in 0..4 {
        let mut row = [0.0, 10.0, 20.0, 30.0];
        row[feature] += 6.0;
        let odd = explained(&row);
        assert_eq!(odd.score, forest.score_row(&row).unwrap());
        let most = (0..4).max_by(|a, b| odd.contributions[*a].total_cmp(&odd.contributions[*b]));
        assert_eq!(most, Some(feature), "{:?}", odd.contributions);
    }
    // log₂ score − sum of contributions is the same for every row: log₂ of the score of a path of mean length.
    let rest = |row: &[f64]| {
        let explained = explained(row);
        explained.score.log2() - explained.contributions.iter().sum::<f64>()
    };
    let first = rest(&[0.0, 10.0, 20.0, 30.0]);
    for row in [[9.0, 9.0, 9.0, 9.0], [0.5, 10.0, 19.5, 31.0], [f64::NAN; 4]] {
        assert!((rest(&row) - first).abs() < 1e-6);
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let rows = ball(300);
    let forest = grown(small(), &rows);
    assert_eq!(forest, grown(small(), &rows));
    let by_column = Array2::from_shape_fn(rows.dim().f(), |at| rows[at]);
    assert!(!by_column.is_standard_layout());
    assert_eq!(
        forest,
        grown(small(), &by_column),
        "whatever the layout in memory"
    );
    let other = ForestConfig { seed: 1, ..small() };
    assert_ne!(forest, grown(other, &rows));
}

#[test]
fn the_bits_are_those_of_every_machine_and_version() {
    // Grown and scored once, written down: who changes this on purpose changes the events of all resources, and so RESOURCE_RULE.
    let rows = ball(300);
    let forest = grown(small(), &rows);
    let bytes = postcard::to_stdvec(&forest).unwrap();
    let score = forest.score_row(&[0.0, 10.0, 20.0, 36.0]).unwrap();
    assert_eq!(
        (
            format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)),
            score.to_bits()
        ),
        (
            "7899c1a45abac45b977b4fd686414852".to_owned(),
            4_604_493_943_038_353_802
        )
    );
}

#[rstest]
#[case::below_a_lane(1)]
#[case::lanes(8)]
#[case::lanes_and_one(9)]
#[case::a_block_and_some(520)]
fn a_batch_has_the_scores_of_its_rows(#[case] count: usize) {
    let forest = grown(small(), &ball(300));
    let rows = ball(count) * 1.5;
    let scores = forest.score(rows.view()).unwrap();
    assert_eq!(scores.len(), count);
    for (row, score) in rows.rows().into_iter().zip(scores) {
        let one = forest.score_row(&row.to_vec()).unwrap();
        assert_eq!(one.to_bits(), score.to_bits());
    }
}

#[test]
fn wide_rows_are_scored_in_small_blocks() {
    let rows = Array2::from_shape_fn((20, 5000), |(i, j)| ((i * 7 + j) % 13) as f64);
    let config = ForestConfig {
        trees: 3,
        ..small()
    };
    let forest = grown(config, &rows);
    let scores = forest.score(rows.view()).unwrap();
    assert_eq!(
        scores[19],
        forest.score_row(&rows.row(19).to_vec()).unwrap()
    );
}

#[test]
fn a_hole_counts_as_the_usual_value() {
    let mut rows = ball(300);
    rows.column_mut(2)
        .iter_mut()
        .take(100)
        .for_each(|value| *value = f64::NAN);
    let forest = grown(small(), &rows);
    let centres: Vec<f64> = forest.centres().collect();
    assert!((centres[2] - 20.0).abs() < 0.7, "{centres:?}");
    let whole = forest.score_row(&[3.0, 10.0, centres[2], 30.0]).unwrap();
    assert_eq!(
        forest.score_row(&[3.0, 10.0, f64::NAN, 30.0]).unwrap(),
        whole
    );
    assert!(forest.score_row(&[f64::NAN; 4]).unwrap() < 0.5);
}

#[test]
fn units_do_not_matter() {
    let rows = ball(300);
    let forest = grown(small(), &rows);
    // By powers of two, so that the numbers themselves are scaled without rounding.
    let units = [2f64.powi(-40), 2f64.powi(40), 1024.0, 1.0];
    let mut scaled = rows.clone();
    for (mut column, unit) in scaled.columns_mut().into_iter().zip(units) {
        column *= unit;
    }
    assert_eq!(
        grown(small(), &scaled).score(scaled.view()).unwrap(),
        forest.score(rows.view()).unwrap()
    );
}

#[rstest]
#[case::no_rows(Array2::zeros((0, 3)))]
#[case::no_features(Array2::zeros((5, 0)))]
#[case::one_row(Array2::ones((1, 3)))]
#[case::two_rows(Array2::from_shape_fn((2, 3), |(i, _)| i as f64))]
#[case::all_equal(Array2::from_elem((50, 3), 7.5))]
#[case::all_holes(Array2::from_elem((50, 3), f64::NAN))]
#[case::huge(Array2::from_shape_fn((50, 3), |(i, _)| if i % 2 == 0 { f64::MAX } else { f64::MIN }))]
#[case::denormal(Array2::from_shape_fn((50, 3), |(i, _)| f64::from_bits(i as u64)))]
#[case::infinite(Array2::from_shape_fn((50, 3), |(i, j)| match (i + j) % 4 {
    0 => f64::INFINITY,
    1 => f64::NEG_INFINITY,
    2 => f64::NAN,
    _ => i as f64,
}))]
fn odd_tables_give_finite_scores(#[case] rows: Array2<f64>) {
    for config in [small(), plain()] {
        let forest = grown(config, &rows);
        let features = rows.ncols();
        for value in [0.0, 7.5, 1e308, -1e308, f64::INFINITY, f64::NAN, 5e-324] {
            let explained = forest.explain(&vec![value; features]).unwrap();
            assert!(
                explained.score > 0.0 && explained.score <= 1.0,
                "{value}: {explained:?}"
            );
            assert!(
                explained
                    .contributions
                    .iter()
                    .all(|share| share.is_finite())
            );
        }
        let scores = forest.score(rows.view()).unwrap();
        assert!(scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
        assert!(forest.is_sound());
    }
}

/// The forest of Liu, Ting and Zhou.
fn plain() -> ForestConfig {
    ForestConfig {
        guided: 0.0,
        features: 1.0,
        tails: false,
        density: false,
        ..small()
    }
}

#[test]
fn where_nothing_differs_every_row_is_as_usual() {
    let forest = grown(small(), &Array2::from_elem((50, 3), 7.5));
    assert!((forest.score_row(&[7.5; 3]).unwrap() - 0.5).abs() < 1e-6);
    assert!(
        forest.score_row(&[7.5, 7.5, 8.5]).unwrap() > 0.6,
        "what never moved, moves"
    );
    assert_eq!(
        grown(small(), &Array2::zeros((0, 3)))
            .score_row(&[1.0; 3])
            .unwrap(),
        0.5
    );
}

#[test]
fn a_wrong_width_is_an_error_that_says_both() {
    let forest = grown(small(), &ball(20));
    let error = forest.score_row(&[1.0]).unwrap_err();
    assert_eq!(
        error,
        ForestError::Width {
            found: 1,
            expected: 4
        }
    );
    assert_eq!(error.to_string(), "a row has 1 features; expected 4");
    assert!(forest.score(Array2::zeros((2, 5)).view()).is_err());
    assert!(forest.explain(&[]).is_err());
    let wide = Array2::zeros((0, 70_000));
    assert!(UnfittedForest::default().fit(wide.view()).is_err());
}

#[test]
fn settings_out_of_range_are_named() {
    let refused = |config: ForestConfig| match UnfittedForest::try_new(config) {
        Err(ForestError::Setting { setting, .. }) => setting,
        other => panic!("{other:?}"),
    };
    let fine = ForestConfig::default();
    assert_eq!(refused(ForestConfig { trees: 0, ..fine }), "trees");
    assert_eq!(refused(ForestConfig { samples: 1, ..fine }), "samples");
    assert_eq!(refused(ForestConfig { depth: 16, ..fine }), "depth");
    assert_eq!(
        refused(ForestConfig {
            guided: f64::NAN,
            ..fine
        }),
        "guided"
    );
    assert_eq!(
        refused(ForestConfig {
            features: 0.0,
            ..fine
        }),
        "features"
    );
    for rows in [0, 1, 1_000_001] {
        let config = StreamingConfig {
            reservoir_rows: rows,
            ..StreamingConfig::default()
        };
        assert!(StreamingForest::try_new(config, 3).is_err());
    }
    let config = StreamingConfig {
        reservoir_rows: 10,
        ..StreamingConfig::default()
    };
    assert!(
        StreamingForest::try_new(config, 3).is_err(),
        "a warm-up that never ends"
    );
}

fn streaming() -> StreamingConfig {
    StreamingConfig {
        forest: ForestConfig {
            trees: 20,
            ..small()
        },
        reservoir_rows: 256,
        warm_up_rows: 32,
        relations: false,
    }
}

#[test]
fn a_stream_goes_on_after_a_snapshot_with_the_same_bits() {
    let rows = ball(700);
    let mut whole = StreamingForest::try_new(streaming(), 4).unwrap();
    let mut restored = whole.clone();
    let mut scored = 0;
    for (i, row) in rows.rows().into_iter().enumerate() {
        if i % 97 == 0 {
            let bytes = postcard::to_stdvec(&restored).unwrap();
            restored = postcard::from_bytes(&bytes).unwrap();
            assert!(restored.is_sound());
        }
        let row = row.to_vec();
        let (a, b) = (
            whole.observe(&row).unwrap(),
            restored.observe(&row).unwrap(),
        );
        assert_eq!(a.map(f64::to_bits), b.map(f64::to_bits), "row {i}");
        scored += usize::from(a.is_some());
    }
    assert_eq!(whole, restored);
    assert_eq!((whole.kept(), scored), (256, 700 - 32));
}

#[test]
fn a_stream_learns_a_new_normal_and_forgets_the_old() {
    let mut forest = StreamingForest::try_new(streaming(), 4).unwrap();
    let rows = ball(600);
    for row in rows.rows() {
        forest.observe(&row.to_vec()).unwrap();
    }
    let (old, new) = ([0.0, 10.0, 20.0, 30.0], [0.0, 10.0, 20.0, 50.0]);
    let score =
        |forest: &StreamingForest, row: &[f64]| forest.forest().unwrap().score_row(row).unwrap();
    assert!(score(&forest, &new) > score(&forest, &old) + 0.1);
    for row in rows.rows().into_iter().chain(rows.rows()) {
        let mut row = row.to_vec();
        row[3] += 20.0;
        forest.observe(&row).unwrap();
    }
    assert!(score(&forest, &old) > score(&forest, &new) + 0.1);
}

#[test]
fn relations_show_a_combination_that_does_not_occur() {
    let config = StreamingConfig {
        relations: true,
        ..streaming()
    };
    let mut forest = StreamingForest::try_new(config, 2).unwrap();
    assert_eq!(forest.score_row(&[0.0, 0.0]).unwrap(), None);
    for i in 0..256 {
        let shared = f64::from(i * 37 % 101) - 50.0;
        let own = f64::from(i * 17 % 11) - 5.0;
        forest.keep(&[shared, shared + own], 1.0).unwrap();
    }
    forest.refit().unwrap();
    let (usual, odd) = ([30.0, 33.0], [30.0, -33.0]);
    let (before, after) = (
        forest.score_row(&usual).unwrap().unwrap(),
        forest.score_row(&odd).unwrap().unwrap(),
    );
    assert!(
        after.isolation > before.isolation + 0.1,
        "{before:?} {after:?}"
    );
    assert!(
        after.distance > before.distance + 1.0,
        "{before:?} {after:?}"
    );
    let explained = forest.explain(&odd).unwrap().unwrap();
    assert!(explained.beside[1] > explained.alone[1], "{explained:?}");
    assert!(explained.rest[1] < -50.0 && explained.distances[1] > 1.0);
    let bytes = postcard::to_stdvec(&forest).unwrap();
    let read: StreamingForest = postcard::from_bytes(&bytes).unwrap();
    assert!(read.is_sound());
    assert_eq!(read.score_row(&odd).unwrap(), Some(after));
    assert!(forest.score_row(&[1.0]).is_err() && forest.explain(&[1.0; 3]).is_err());
    assert!(StreamingForest::try_new(config, 257).is_err());
}

#[test]
fn a_full_reservoir_takes_its_share_and_no_row_of_another_width() {
    let mut forest = StreamingForest::try_new(streaming(), 1).unwrap();
    for _ in 0..256 {
        forest.keep(&[0.0], 0.0).unwrap();
    }
    forest.keep(&[1.0], 0.0).unwrap();
    forest.refit().unwrap();
    let score = forest.forest().unwrap().score_row(&[1.0]).unwrap();
    assert!(score > 0.9, "{score}: it was not taken");
    assert!(forest.keep(&[1.0, 2.0], 1.0).is_err());
    assert_eq!(forest.kept(), 256);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bits_give_scores_in_range(
        bits in prop::collection::vec(any::<u64>(), 0..240),
        features in 1_usize..6,
        guided in 0.0_f64..=1.0,
        density in any::<bool>(),
    ) {
        let rows = bits.len() / features;
        let values = bits[..rows * features].iter().map(|bits| f64::from_bits(*bits)).collect();
        let rows = Array2::from_shape_vec((rows, features), values).unwrap();
        let config = ForestConfig { trees: 5, guided, density, ..small() };
        let forest = grown(config, &rows);
        for (row, score) in rows.rows().into_iter().zip(forest.score(rows.view()).unwrap()) {
            let explained = forest.explain(&row.to_vec()).unwrap();
            prop_assert!(score > 0.0 && score <= 1.0);
            prop_assert_eq!(explained.score, score);
            prop_assert!(explained.contributions.iter().all(|share| share.is_finite()));
        }
    }
}
