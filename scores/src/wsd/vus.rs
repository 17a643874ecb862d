//! VUS-PR, the volume under the surface of precision and recall (Paparrizos et al. 2022, "Volume under the surface: a new accuracy evaluation
//! measure for time-series anomaly detection"), with the buffer, the 250 thresholds and the existence factor of the authors' own code.
//!
//! A label is stretched over half a buffer to each side, falling as √(1 − distance/buffer); the area under precision over recall is taken for
//! each buffer from 0 to the series' period, and their mean is the result. It judges the ranking alone and needs no threshold.

use super::runs;

/// How many thresholds make a curve.
const THRESHOLDS: usize = 250;
/// The buffer of a series whose period is not found.
const PERIOD_UNKNOWN: usize = 125;
/// Samples that the period is looked for in.
const PERIOD_SAMPLES_MAX: usize = 20_000;
/// The longest lag looked at.
const LAG_MAX: usize = 400;

/// 0 to 1; NaN if no row is labelled. `scores`: one finite number per row.
pub(super) fn vus_pr(labels: &[bool], scores: &[f64], buffer_max: usize) -> f64 {
    let rows = scores.len();
    let segments = runs(rows, |row| labels[row]);
    if segments.is_empty() {
        return f64::NAN;
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut rank = vec![0; rows];
    for (position, row) in order.iter().enumerate() {
        rank[*row] = position;
    }
    // How many rows each threshold alarms: evenly spread over the ranks, ties taken together.
    let alarmed: Vec<usize> = (0..THRESHOLDS)
        .map(|step| {
            let score = scores[order[step * (rows - 1) / (THRESHOLDS - 1)]];
            order.partition_point(|row| scores[*row] >= score)
        })
        .collect();
    let labelled = labels.iter().filter(|label| **label).count() as f64;
    let mut sum = 0.0;
    for buffer in 0..=buffer_max {
        let weights = stretched(labels, &segments, buffer);
        let positives = 0.5 * (labelled + weights.iter().sum::<f64>());
        let stretches = runs(rows, |row| weights[row] > 0.0);
        let mut best_ranks: Vec<usize> = stretches
            .iter()
            .filter_map(|(first, last)| rank[*first..=*last].iter().min().copied())
            .collect();
        best_ranks.sort_unstable();
        let (mut area, mut recall_before, mut precision_before) = (0.0, 0.0, 1.0);
        let (mut taken, mut true_positives) = (0, 0.0);
        for count in &alarmed {
            true_positives += order[taken..*count]
                .iter()
                .map(|row| weights[*row])
                .sum::<f64>();
            taken = *count;
            let found = best_ranks.partition_point(|rank| rank < count) as f64;
            let recall = (true_positives / positives).min(1.0) * found / stretches.len() as f64;
            let precision = true_positives / *count as f64;
            area += (recall - recall_before) * 0.5 * (precision + precision_before);
            (recall_before, precision_before) = (recall, precision);
        }
        sum += area;
    }
    sum / (buffer_max + 1) as f64
}

/// The labels as weights 0 to 1, stretched over half the buffer to each side.
fn stretched(labels: &[bool], segments: &[(usize, usize)], buffer: usize) -> Vec<f64> {
    let mut weights: Vec<f64> = labels
        .iter()
        .map(|label| f64::from(u8::from(*label)))
        .collect();
    let falling = |distance: usize| (1.0 - distance as f64 / buffer as f64).sqrt();
    for &(first, last) in segments {
        // The authors' code reaches buffer/2 before the first row, and buffer/2 − 1 past the last.
        let after = &mut weights[last + 1..(last + buffer / 2).clamp(last + 1, labels.len())];
        for (beyond, weight) in after.iter_mut().enumerate() {
            *weight += falling(beyond + 1);
        }
        let before = &mut weights[first.saturating_sub(buffer / 2)..first];
        for (beyond, weight) in before.iter_mut().rev().enumerate() {
            *weight += falling(beyond + 1);
        }
    }
    for weight in &mut weights {
        *weight = weight.min(1.0);
    }
    weights
}

/// The period of a series in samples, which is its largest buffer: the highest peak of its autocorrelation at lags of 7 to 303, else 125.
pub(super) fn period(values: &[f64]) -> usize {
    let values = &values[..values.len().min(PERIOD_SAMPLES_MAX)];
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let lags = LAG_MAX.min(values.len().saturating_sub(1));
    let products: Vec<f64> = (0..=lags)
        .map(|lag| {
            centred
                .iter()
                .zip(&centred[lag..])
                .map(|(a, b)| a * b)
                .sum()
        })
        .collect();
    let peak = (4..lags)
        .filter(|&lag| products[lag] > products[lag - 1] && products[lag] > products[lag + 1])
        .max_by(|&a, &b| products[a].total_cmp(&products[b]));
    // The authors count lags from 3 on and refuse peaks at their first three and past their 300th.
    peak.filter(|lag| (6..=303).contains(lag))
        .unwrap_or(PERIOD_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two segments, one ranked high from its fourth row on, one in its last row only, over noise.
    fn example() -> (Vec<bool>, Vec<f64>) {
        let labels = (0..300).map(|row| (100..110).contains(&row) || (200..203).contains(&row));
        let scores = (0..300).map(|row| {
            let noise = f64::from((row * 7919 % 101) as u32) / 101.0;
            if (103..113).contains(&row) || row == 202 {
                noise + 0.5
            } else {
                noise
            }
        });
        (labels.collect(), scores.collect())
    }

    #[test]
    fn a_perfect_ranking_without_a_buffer_is_1_and_the_reverse_is_near_0() {
        let (labels, _) = example();
        let perfect: Vec<f64> = labels
            .iter()
            .map(|label| f64::from(u8::from(*label)))
            .collect();
        assert!((vus_pr(&labels, &perfect, 0) - 1.0).abs() < 1e-12);
        let reverse: Vec<f64> = perfect.iter().map(|score| -score).collect();
        assert!(vus_pr(&labels, &reverse, 0) < 0.05);
    }

    #[test]
    fn a_series_without_labels_has_no_value() {
        assert!(vus_pr(&[false; 10], &[0.0; 10], 3).is_nan());
    }

    #[test]
    fn the_values_are_those_of_the_direct_computation() {
        let (labels, scores) = example();
        for buffer in [0, 1, 2, 9, 20] {
            let slow = slow_vus_pr(&labels, &scores, buffer);
            let fast = vus_pr(&labels, &scores, buffer);
            assert!((fast - slow).abs() < 1e-12, "{buffer}: {fast} {slow}");
        }
    }

    /// The authors' code line by line: every threshold against every row.
    fn slow_vus_pr(labels: &[bool], scores: &[f64], buffer_max: usize) -> f64 {
        let rows = labels.len();
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let labelled = labels.iter().filter(|label| **label).count() as f64;
        let mut sum = 0.0;
        for buffer in 0..=buffer_max {
            let weights = stretched(labels, &runs(rows, |row| labels[row]), buffer);
            let segments = runs(rows, |row| weights[row] > 0.0);
            let (mut recalls, mut precisions) = (vec![0.0], vec![1.0]);
            for step in 0..THRESHOLDS {
                let threshold = sorted[(step * (rows - 1)) / (THRESHOLDS - 1)];
                let alarmed: Vec<usize> =
                    (0..rows).filter(|row| scores[*row] >= threshold).collect();
                let hits: f64 = alarmed.iter().map(|row| weights[*row]).sum();
                let found = segments
                    .iter()
                    .filter(|(first, last)| alarmed.iter().any(|row| row >= first && row <= last))
                    .count();
                let positives = 0.5 * (labelled + weights.iter().sum::<f64>());
                recalls.push((hits / positives).min(1.0) * found as f64 / segments.len() as f64);
                precisions.push(hits / alarmed.len() as f64);
            }
            sum += (1..recalls.len())
                .map(|i| (recalls[i] - recalls[i - 1]) * 0.5 * (precisions[i] + precisions[i - 1]))
                .sum::<f64>();
        }
        sum / (buffer_max + 1) as f64
    }

    #[test]
    fn the_period_is_the_highest_peak_of_the_autocorrelation() {
        let daily: Vec<f64> = (0..2000)
            .map(|row| (std::f64::consts::TAU * f64::from(row) / 48.0).sin())
            .collect();
        assert_eq!(period(&daily), 48);
        assert_eq!(period(&[1.0; 500]), PERIOD_UNKNOWN);
        assert_eq!(period(&[]), PERIOD_UNKNOWN);
        let slow: Vec<f64> = (0..5000)
            .map(|row| (std::f64::consts::TAU * f64::from(row) / 390.0).sin())
            .collect();
        assert_eq!(period(&slow), PERIOD_UNKNOWN, "past the longest buffer");
    }
}
