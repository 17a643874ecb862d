//! How well scores rank what is labelled, as scikit-learn computes it. Equal scores count as ranked at once, in neither order.

/// Walks the scores from the highest, equal ones together: (outliers, others) of each group.
fn groups(scores: &[f64], outlier: &[bool]) -> Vec<(f64, f64)> {
    let mut order: Vec<usize> = (0..scores.len().min(outlier.len())).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
        .chunk_by(|&a, &b| scores[a] == scores[b])
        .map(|group| {
            let outliers = group.iter().filter(|&&i| outlier[i]).count();
            (outliers as f64, (group.len() - outliers) as f64)
        })
        .collect()
}

/// The area under the receiver operating characteristic: how often an outlier has a higher score than another row, ties counted half.
/// 0.5 if all rows are outliers, or none.
pub(super) fn roc_area(scores: &[f64], outlier: &[bool]) -> f64 {
    let (mut above, mut area, mut others) = (0.0, 0.0, 0.0);
    for (hits, misses) in groups(scores, outlier) {
        area += misses * (above + hits / 2.0);
        above += hits;
        others += misses;
    }
    let pairs = above * others;
    if pairs > 0.0 { area / pairs } else { 0.5 }
}

/// The mean of the precision at each outlier, ranked from the highest score; 0 without outliers.
pub(super) fn average_precision(scores: &[f64], outlier: &[bool]) -> f64 {
    let (mut hits, mut seen, mut sum) = (0.0, 0.0, 0.0);
    for (more, misses) in groups(scores, outlier) {
        hits += more;
        seen += more + misses;
        sum += more * hits / seen;
    }
    if hits > 0.0 { sum / hits } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // Reference: sklearn.metrics.roc_auc_score and average_precision_score 1.9.1.
    #[rstest]
    #[case::apart(&[0.1, 0.2, 0.9, 0.8], &[0, 0, 1, 1], 1.0, 1.0)]
    #[case::reversed(&[0.9, 0.8, 0.1, 0.2], &[0, 0, 1, 1], 0.0, 0.416_666_666_666_666_63)]
    #[case::mixed(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1], 0.75, 0.833_333_333_333_333_3)]
    #[case::ties(&[0.5, 0.5, 0.5, 0.7, 0.1], &[0, 1, 0, 1, 0], 0.833_333_333_333_333_4, 0.75)]
    #[case::all_equal(&[1.0, 1.0, 1.0, 1.0], &[0, 1, 0, 0], 0.5, 0.25)]
    fn agrees_with_scikit_learn(
        #[case] scores: &[f64],
        #[case] labels: &[u8],
        #[case] area: f64,
        #[case] precision: f64,
    ) {
        let outlier: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
        assert!((roc_area(scores, &outlier) - area).abs() < 1e-12);
        assert!((average_precision(scores, &outlier) - precision).abs() < 1e-12);
    }

    #[test]
    fn without_both_kinds_of_rows_there_is_nothing_to_rank() {
        assert_eq!(
            (roc_area(&[], &[]), average_precision(&[], &[])),
            (0.5, 0.0)
        );
        assert_eq!(roc_area(&[1.0, 2.0], &[true, true]), 0.5);
        assert_eq!(average_precision(&[1.0, 2.0], &[false, false]), 0.0);
    }
}
