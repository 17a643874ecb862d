//! The scoring rule of NAB v1.1, as its own code has it (`nab/sweeper.py`; Lavin & Ahmad 2015, "Evaluating real-time anomaly detection
//! algorithms: the Numenta anomaly benchmark").
//!
//! Each labelled anomaly has a window. The best-placed alarm in a window earns up to 1 (at its left edge; 0 at its right), a window without
//! an alarm costs `missed`, and each alarmed row outside of all windows costs `false_alarm`, less of it just after a window. The first
//! 15 % of a series, at most 750 rows, is not scored. The sum is scaled so that no alarm at all is 0 and perfection is 100.

use schemas::Micros;

/// What a hit, a miss and a false alarm are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Profile {
    /// Its name among our metrics.
    pub(super) name: &'static str,
    hit: f64,
    missed: f64,
    false_alarm: f64,
}

/// The three profiles of NAB's `profiles.json`.
pub(super) const PROFILES: [Profile; 3] = [
    Profile {
        name: "standard",
        hit: 1.0,
        missed: 1.0,
        false_alarm: 0.11,
    },
    Profile {
        name: "low_fp",
        hit: 1.0,
        missed: 1.0,
        false_alarm: 0.22,
    },
    Profile {
        name: "low_fn",
        hit: 1.0,
        missed: 2.0,
        false_alarm: 0.11,
    },
];

/// A series and what an alarm at each of its rows is worth.
#[derive(Debug, Clone)]
pub(super) struct LabelledSeries {
    pub(super) name: String,
    pub(super) times: Vec<Micros>,
    pub(super) values: Vec<f64>,
    /// How many windows it has.
    pub(super) windows: usize,
    /// Rows at its beginning that are not scored.
    pub(super) probation: usize,
    /// The window of each row, if it is in one.
    window_of: Vec<Option<usize>>,
    /// What an alarm earns per row: 0 to 1 within a window, −1 to 0 outside.
    worth: Vec<f64>,
}

impl LabelledSeries {
    /// `windows`: first and last row (inclusive) of each, in order and apart from each other.
    pub(super) fn new(
        name: String,
        times: Vec<Micros>,
        values: Vec<f64>,
        windows: &[(usize, usize)],
    ) -> Self {
        let rows = values.len();
        let (mut window_of, mut worth) = (vec![None; rows], vec![-1.0; rows]);
        for (index, &(first, last)) in windows.iter().enumerate() {
            let width = (last - first + 1) as f64;
            for row in first..=last {
                window_of[row] = Some(index);
                worth[row] =
                    scaled_sigmoid(-((last - row + 1) as f64) / width) / scaled_sigmoid(-1.0);
            }
            let next = windows.get(index + 1).map_or(rows, |(first, _)| *first);
            for (row, worth) in worth.iter_mut().enumerate().take(next).skip(last + 1) {
                *worth = scaled_sigmoid((row - last) as f64 / (width - 1.0));
            }
        }
        LabelledSeries {
            name,
            times,
            values,
            windows: windows.len(),
            probation: (rows * 15 / 100).min(750),
            window_of,
            worth,
        }
    }

    /// Windows with an alarm, and alarmed rows outside of all windows.
    pub(super) fn hits(&self, alarms: impl Fn(usize) -> bool) -> (usize, usize) {
        let (mut hit, mut false_rows) = (vec![false; self.windows], 0);
        for row in (self.probation..self.values.len()).filter(|row| alarms(*row)) {
            match self.window_of[row] {
                Some(window) => hit[window] = true,
                None => false_rows += 1,
            }
        }
        (hit.iter().filter(|hit| **hit).count(), false_rows)
    }
}

/// 1 far before the edge of a window, 0 at it, −1 past three of its widths.
fn scaled_sigmoid(position: f64) -> f64 {
    if position > 3.0 {
        -1.0
    } else {
        2.0 / (1.0 + (5.0 * position).exp()) - 1.0
    }
}

/// Counts up what alarms earn while rows are alarmed one by one.
struct Tally<'a> {
    profile: Profile,
    corpus: &'a [LabelledSeries],
    /// The best alarm of each window of each series.
    best: Vec<Vec<f64>>,
    windows: usize,
    sum: f64,
}

impl<'a> Tally<'a> {
    fn new(corpus: &'a [LabelledSeries], profile: Profile) -> Self {
        let best: Vec<Vec<f64>> = corpus
            .iter()
            .map(|series| vec![-profile.missed; series.windows])
            .collect();
        let windows = best.iter().map(Vec::len).sum();
        let sum = best.iter().flatten().sum();
        Tally {
            profile,
            corpus,
            best,
            windows,
            sum,
        }
    }

    fn alarm(&mut self, series: usize, row: usize) {
        let labelled = &self.corpus[series];
        match labelled.window_of[row] {
            Some(window) => {
                let best = &mut self.best[series][window];
                let earned = (self.profile.hit * labelled.worth[row]).max(*best);
                self.sum += earned - *best;
                *best = earned;
            }
            None => self.sum += self.profile.false_alarm * labelled.worth[row],
        }
    }

    /// 0 for no alarm, 100 for perfection; negative when false alarms outweigh the hits. 0 for a corpus without windows.
    fn score(&self) -> f64 {
        if self.windows == 0 {
            return 0.0;
        }
        let null = -self.profile.missed * self.windows as f64;
        let perfect = self.profile.hit * self.windows as f64;
        100.0 * (self.sum - null) / (perfect - null)
    }
}

/// The score of one threshold that was fixed beforehand: a row is alarmed if its score is *above* it. `scores`: one per row of each series.
pub(super) fn fixed(
    corpus: &[LabelledSeries],
    scores: &[Vec<f64>],
    profile: Profile,
    threshold: f64,
) -> f64 {
    let mut tally = Tally::new(corpus, profile);
    for (index, (series, scores)) in corpus.iter().zip(scores).enumerate() {
        for row in (series.probation..series.values.len()).filter(|row| scores[*row] > threshold) {
            tally.alarm(index, row);
        }
    }
    tally.score()
}

/// The best score that any one threshold gives on the whole corpus, as NAB's own table has it, for each of [`PROFILES`]. At least that of no
/// alarm at all, 0.
pub(super) fn optimised(corpus: &[LabelledSeries], scores: &[Vec<f64>]) -> [f64; PROFILES.len()] {
    let mut rows: Vec<(f64, usize, usize)> = corpus
        .iter()
        .zip(scores)
        .enumerate()
        .flat_map(|(index, (series, scores))| {
            (series.probation..series.values.len()).map(move |row| (scores[row], index, row))
        })
        .collect();
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    PROFILES.map(|profile| {
        let mut tally = Tally::new(corpus, profile);
        let mut best = tally.score();
        for (position, &(score, series, row)) in rows.iter().enumerate() {
            tally.alarm(series, row);
            // A threshold takes all rows of one score or none.
            if rows.get(position + 1).is_none_or(|next| next.0 < score) {
                best = best.max(tally.score());
            }
        }
        best
    })
}
