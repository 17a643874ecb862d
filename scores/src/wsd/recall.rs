//! How many labelled segments are found in time, at a bearable number of false alarms.

use schemas::Micros;
use schemas::time::MINUTE;

use super::corpus::LabelledSeries;

/// A segment counts as found if a row within this time of its first is alarmed (and labelled). 7 minutes: the limit of the AIOps 2018
/// challenge on such series.
const DELAY_MAX: Micros = 7 * MINUTE;

/// Rows alarmed outside of all segments are one false alarm while they are no further apart than this.
const STORY_GAP_MAX: Micros = DELAY_MAX;

/// What a threshold brings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Found {
    pub(super) found: usize,
    pub(super) false_alarms: usize,
}

/// What alarms at these rows bring on one series.
pub(super) fn found(series: &LabelledSeries, is_alarm: impl Fn(usize) -> bool) -> Found {
    let found = series
        .segments()
        .into_iter()
        .filter(|&segment| in_time(series, segment).any(&is_alarm))
        .count();
    let (mut false_alarms, mut last) = (0, Micros::MIN);
    for row in (0..series.times.len()).filter(|&row| !series.labels[row] && is_alarm(row)) {
        let time = series.times[row];
        if last == Micros::MIN || time - last > STORY_GAP_MAX {
            false_alarms += 1;
        }
        last = time;
    }
    Found {
        found,
        false_alarms,
    }
}

/// The most segments that a threshold of this series' own finds with at most `false_alarms_max`.
pub(super) fn best(series: &LabelledSeries, scores: &[f64], false_alarms_max: f64) -> Found {
    // Only at a segment's best score does another segment come in.
    let mut best = Found::default();
    for segment in series.segments() {
        let threshold = in_time(series, segment)
            .map(|row| scores[row])
            .fold(f64::NEG_INFINITY, f64::max);
        let found = found(series, |row| scores[row] >= threshold);
        if found.false_alarms as f64 <= false_alarms_max && found.found > best.found {
            best = found;
        }
    }
    best
}

/// The rows of a segment that are early enough.
fn in_time(series: &LabelledSeries, (first, last): (usize, usize)) -> impl Iterator<Item = usize> {
    let until = series.times[first] + DELAY_MAX;
    (first..=last).take_while(move |row| series.times[*row] <= until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> LabelledSeries {
        LabelledSeries {
            name: "s".to_owned(),
            times: (0..200).map(|minute| minute * MINUTE).collect(),
            values: vec![0.0; 200],
            labels: (0..200)
                .map(|row| (100..120).contains(&row) || row == 150)
                .collect(),
        }
    }

    #[test]
    fn an_alarm_in_time_finds_a_segment_and_neighbouring_false_rows_are_one_alarm() {
        let series = series();
        let at = |rows: &[usize]| found(&series, |row| rows.contains(&row));
        let expect = |found, false_alarms| Found {
            found,
            false_alarms,
        };
        assert_eq!(at(&[107]), expect(1, 0));
        assert_eq!(at(&[108]), expect(0, 0), "8 minutes late");
        assert_eq!(at(&[100, 101, 150]), expect(2, 0));
        assert_eq!(at(&[10, 12, 17, 25]), expect(0, 2));
        assert_eq!(at(&[99, 121]), expect(0, 2));
    }

    #[test]
    fn the_best_threshold_keeps_the_false_alarms_within_bounds() {
        let series = series();
        let mut scores = vec![0.0; 200];
        (scores[100], scores[150], scores[20], scores[60]) = (3.0, 1.0, 2.0, 1.5);
        assert_eq!(best(&series, &scores, 1.0).found, 1);
        assert_eq!(best(&series, &scores, 2.0).found, 2);
        scores[20] = 9.0;
        assert_eq!(best(&series, &scores, 0.5), Found::default());
    }
}
