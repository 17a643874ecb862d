//! The scorer against figures that others published, and what it says of folders it can't read.

use std::path::PathBuf;

use ndarray::{Array1, Array2, array};
use ndarray_npy::NpzWriter;

use super::*;
use crate::test_data;

/// The mean area of a configuration on a set.
fn mean_area(folder: &Path, set: &str, seeds: u64, config: ForestConfig) -> f64 {
    let table = Table::read(&folder.join(set)).unwrap();
    let areas = (0..seeds).map(|seed| {
        let scores = batch_scores(table.rows.view(), ForestConfig { seed, ..config }).unwrap();
        roc_area(&scores, &table.outlier)
    });
    areas.sum::<f64>() / seeds as f64
}

#[test]
fn the_plain_forest_has_the_figures_of_scikit_learn() {
    let Some(folder) = test_data::folder("adbench") else {
        return;
    };
    let plain = ForestConfig {
        samples: 256,
        guided: 0.0,
        features: 1.0,
        tails: false,
        density: false,
        ..ForestConfig::default()
    };
    // Reference: sklearn.ensemble.IsolationForest 1.9.1, 100 trees × 256 samples, five seeds. Tolerance: three standard errors of the
    // difference of two such means; the seeds differ most on small and contaminated sets.
    for (set, area, tolerance) in [
        ("14_glass.npz", 0.783, 0.02),
        ("18_Ionosphere.npz", 0.844, 0.015),
        ("28_pendigits.npz", 0.940, 0.02),
        ("39_vertebral.npz", 0.360, 0.05),
        ("45_wine.npz", 0.800, 0.04),
        ("4_breastw.npz", 0.988, 0.01),
        ("6_cardio.npz", 0.932, 0.02),
    ] {
        let ours = mean_area(&folder, set, 5, plain);
        assert!(
            (ours - area).abs() < tolerance,
            "{set}: {ours}, theirs {area}"
        );
    }
}

#[test]
fn one_pass_ranks_nearly_as_well_as_all_rows_at_once() {
    let Some(folder) = test_data::folder("adbench") else {
        return;
    };
    let table = Table::read(&folder.join("4_breastw.npz")).unwrap();
    let config = ForestConfig::default();
    let batch = roc_area(
        &batch_scores(table.rows.view(), config).unwrap(),
        &table.outlier,
    );
    let passing = streaming_scores(table.rows.view(), config).unwrap();
    assert!(
        passing.iter().all(|score| *score > 0.0),
        "every row has a score"
    );
    let streaming = roc_area(&passing, &table.outlier);
    assert!((batch - streaming).abs() < 0.02, "{batch}, {streaming}");
}

/// A folder of its own that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tidewatch-forest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("adbench")).unwrap();
        Folder(path)
    }

    fn write(&self, rows: &Array2<f32>, labels: &Array1<u8>) {
        let file = std::fs::File::create(self.0.join("adbench/set.npz")).unwrap();
        let mut npz = NpzWriter::new(file);
        npz.add_array("X", rows).unwrap();
        npz.add_array("y", labels).unwrap();
        npz.finish().unwrap();
    }

    fn error(&self) -> String {
        run(&self.0).unwrap_err().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_of_any_sets_is_scored() {
    let folder = Folder::new("any");
    let mut rows = Array2::from_shape_fn((150, 2), |(i, j)| ((i * (7 + 4 * j)) % 29) as f32);
    rows.row_mut(5).fill(99.0);
    let labels = (0..150).map(|i| u8::from(i == 5)).collect();
    folder.write(&rows, &labels);
    let report = run(&folder.0).unwrap();
    assert_eq!(report.per_series[0].series, "adbench/set.npz");
    assert_eq!(report.metrics["auroc_mean"], 1.0);
    assert_eq!(report.metrics["ap_mean"], 1.0);
    assert_eq!(report.per_series[0].metrics.len(), 4);
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let folder = Folder::new("bad");
    let error = folder.error();
    assert!(
        error.contains("adbench") && error.contains("at least one .npz file"),
        "{error}"
    );
    folder.write(&array![[1.0, 2.0], [3.0, 4.0]], &array![0]);
    let error = folder.error();
    assert!(
        error.contains("set.npz") && error.contains("1 labels, 2 rows"),
        "{error}"
    );
    folder.write(&array![[1.0, 2.0], [3.0, 4.0]], &array![0, 7]);
    let error = folder.error();
    assert!(error.contains("labels 0 and 1, found 7"), "{error}");
    std::fs::write(folder.0.join("adbench/set.npz"), b"PK is not enough").unwrap();
    let error = folder.error();
    assert!(
        error.contains("expected an archive of numpy arrays"),
        "{error}"
    );
    let nowhere = run(Path::new("nowhere")).unwrap_err().to_string();
    assert!(nowhere.contains("nowhere/adbench"), "{nowhere}");
}

#[test]
fn an_order_is_a_permutation_that_the_seed_decides() {
    let order = shuffled(1000, 3);
    assert_ne!(order, shuffled(1000, 4));
    assert_eq!(order, shuffled(1000, 3));
    let mut sorted = order;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..1000));
    assert!(shuffled(0, 0).is_empty());
}
