//! Clusters: found where there are some, none where there are none, named by what makes them, and the same each time.

use proptest::prelude::*;
use rand_xoshiro::rand_core::RngCore;
use rstest::rstest;

use super::*;

/// Rows of three features around centres, `size` rows each, with noise of ±1.
fn rows_around(centres: &[[f64; 3]], size: usize) -> Array2<f64> {
    let mut rng = Xoshiro256Plus::seed_from_u64(11);
    let mut noise = || (rng.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
    Array2::from_shape_fn((centres.len() * size, 3), |(row, feature)| {
        centres[row / size][feature] + noise()
    })
}

fn features() -> Vec<String> {
    ["cpu", "disk", "net"].map(str::to_owned).to_vec()
}

fn find(rows: &Array2<f64>) -> Clusters {
    find_clusters(&ClustersConfig::default(), &features(), &rows.view()).unwrap()
}

#[rstest]
#[case::one(&[[50.0, 50.0, 50.0]], 1)]
#[case::two(&[[50.0, 50.0, 50.0], [90.0, 50.0, 50.0]], 2)]
#[case::three(&[[50.0, 50.0, 50.0], [90.0, 50.0, 50.0], [50.0, 90.0, 10.0]], 3)]
#[case::five(&[[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 9.0, 9.0]], 5)]
fn as_many_as_there_are(#[case] centres: &[[f64; 3]], #[case] expected: usize) {
    let found = find(&rows_around(centres, 30));
    assert_eq!(
        found.clusters.len(),
        expected,
        "silhouette {}",
        found.silhouette
    );
    // Rows around one centre stand together.
    for (index, of) in found.of_row.iter().enumerate() {
        assert_eq!(*of, found.of_row[index / 30 * 30]);
    }
    assert_eq!(found.silhouette > 0.5, expected > 1);
}

#[test]
fn a_cluster_is_named_by_what_makes_it() {
    let mut rows = rows_around(&[[50.0, 5.0, 50.0]; 4], 20);
    for row in 0..12 {
        rows[[row, 1]] += 80.0;
        rows[[row, 2]] -= 40.0;
    }
    let found = find(&rows);
    assert_eq!(
        found.clusters.iter().map(|c| c.size).collect::<Vec<_>>(),
        [68, 12]
    );
    let odd = &found.clusters[1];
    let names: Vec<&str> = odd.differences.iter().map(|d| d.feature.as_str()).collect();
    assert_eq!(names, ["disk", "net"]);
    assert!(odd.describe().starts_with("disk 8"), "{}", odd.describe());
    assert!((odd.centre[2] - 10.0).abs() < 1.0 && (odd.differences[1].others - 50.0).abs() < 1.0);
}

#[test]
fn the_same_rows_give_the_same_clusters() {
    let rows = rows_around(&[[1.0, 2.0, 3.0], [7.0, 2.0, 3.0], [4.0, 9.0, 1.0]], 50);
    assert_eq!(find(&rows), find(&rows));
}

#[rstest]
#[case::none(Array2::zeros((0, 3)), 0)]
#[case::one(Array2::zeros((1, 3)), 1)]
#[case::all_equal(Array2::from_elem((40, 3), 7.0), 1)]
#[case::unknown(Array2::from_elem((40, 3), f64::NAN), 1)]
#[case::largest(Array2::from_shape_fn((40, 3), |(r, _)| if r < 20 { f64::MAX } else { f64::MIN }), 2)]
#[case::denormal(Array2::from_shape_fn((40, 3), |(r, _)| if r < 20 { 5e-324 } else { 0.0 }), 1)]
fn edges_have_an_answer(#[case] rows: Array2<f64>, #[case] clusters: usize) {
    assert_eq!(find(&rows).clusters.len(), clusters);
}

#[test]
fn shapes_are_checked() {
    let rows = Array2::zeros((4, 2));
    let error = find_clusters(&ClustersConfig::default(), &features(), &rows.view()).unwrap_err();
    assert_eq!(error.fault(), Fault::BadInput);
    assert!(
        error
            .to_string()
            .contains("4 rows of 2 values for 3 features"),
        "{error}"
    );
}

proptest! {
    // Each case fits several models in a debug build.
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_value_hurts(values in prop::collection::vec(prop::num::f64::ANY, 0..60), clusters_max in 0_usize..6) {
        let rows = Array2::from_shape_fn((values.len() / 3, 3), |(row, feature)| values[row * 3 + feature]);
        let config = ClustersConfig { clusters_max, seed: 3 };
        let found = find_clusters(&config, &features(), &rows.view()).unwrap();
        prop_assert_eq!(found.of_row.len(), rows.nrows());
        prop_assert_eq!(found.clusters.iter().map(|c| c.size).sum::<usize>(), rows.nrows());
        prop_assert!(found.of_row.iter().all(|of| *of < found.clusters.len()));
    }
}
