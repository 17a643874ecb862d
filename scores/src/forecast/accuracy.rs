//! The competition's measures: sMAPE, MASE, OWA against Naive 2, MSIS (Makridakis, Spiliotis & Assimakopoulos 2020).

use super::{HORIZON, M4Series, Prediction};

/// Hours of the season that the competition's measures and benchmarks know.
const SEASON: usize = 24;

/// 1 − the share that the interval promises to hold.
const ALPHA: f64 = 0.05;

/// How good one forecast was, or the mean of many.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Accuracy {
    /// Symmetric mean absolute percentage error, 0–200.
    pub smape: f64,
    /// Mean absolute error over that of the seasonal naive method within the history.
    pub mase: f64,
    /// Mean scaled interval score: width, plus 2/α times by how much a value was missed, in the same units as MASE.
    pub msis: f64,
    /// Share of values within the 95 % interval.
    pub coverage: f64,
}

impl Accuracy {
    /// The accuracy of a prediction of a series' future.
    pub fn of(series: &M4Series, prediction: &Prediction) -> Self {
        let scale = seasonal_difference(&series.history);
        let mut sums = Accuracy::default();
        for (step, actual) in series.future.iter().enumerate() {
            let (median, lower, upper) = (
                prediction.median[step],
                prediction.lower[step],
                prediction.upper[step],
            );
            let size = actual.abs() + median.abs();
            if size > 0.0 {
                sums.smape += 200.0 * (actual - median).abs() / size;
            }
            sums.mase += (actual - median).abs() / scale;
            let missed_by = (lower - actual).max(actual - upper).max(0.0);
            sums.msis += (upper - lower + 2.0 / ALPHA * missed_by) / scale;
            sums.coverage += f64::from(u8::from(missed_by == 0.0));
        }
        sums.over(series.future.len() as f64)
    }

    fn over(self, count: f64) -> Self {
        Accuracy {
            smape: self.smape / count,
            mase: self.mase / count,
            msis: self.msis / count,
            coverage: self.coverage / count,
        }
    }
}

/// The accuracies of many series.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AccuracySums {
    sum: Accuracy,
    series: usize,
}

impl AccuracySums {
    /// Counts another series.
    pub fn add(&mut self, accuracy: &Accuracy) {
        self.series += 1;
        self.sum.smape += accuracy.smape;
        self.sum.mase += accuracy.mase;
        self.sum.msis += accuracy.msis;
        self.sum.coverage += accuracy.coverage;
    }

    /// The mean over all series.
    pub fn mean(&self) -> Accuracy {
        self.sum.over(self.series.max(1) as f64)
    }

    /// Overall weighted average: the mean of sMAPE and of MASE, each relative to that of Naive 2.
    pub fn owa(&self, naive_2: &AccuracySums) -> f64 {
        let (own, baseline) = (self.mean(), naive_2.mean());
        0.5 * (own.smape / baseline.smape + own.mase / baseline.mase)
    }
}

/// The mean absolute error of the seasonal naive method within a history.
fn seasonal_difference(history: &[f64]) -> f64 {
    let differences = history.iter().zip(&history[SEASON..]);
    let sum: f64 = differences.map(|(before, now)| (now - before).abs()).sum();
    sum / (history.len() - SEASON) as f64
}

/// The last day, repeated.
pub fn seasonal_naive(history: &[f64]) -> Vec<f64> {
    let last_day = &history[history.len() - SEASON..];
    last_day.iter().copied().cycle().take(HORIZON).collect()
}

/// The competition's baseline: the last value, seasonally adjusted where a season of a day passes its test.
pub fn naive_2(history: &[f64]) -> Vec<f64> {
    let last = history[history.len() - 1];
    if !is_seasonal(history) {
        return vec![last; HORIZON];
    }
    let factors = seasonal_factors(history);
    let adjusted = last / factors[(history.len() - 1) % SEASON];
    (0..HORIZON)
        .map(|ahead| adjusted * factors[(history.len() + ahead) % SEASON])
        .collect()
}

/// The competition's test: whether the autocorrelation at lag 24 passes 1.645 of its standard deviations (90 %), which Bartlett's
/// formula gives from the autocorrelations before it.
fn is_seasonal(history: &[f64]) -> bool {
    let count = history.len() as f64;
    let mean = history.iter().sum::<f64>() / count;
    let product = |lag: usize| -> f64 {
        history
            .iter()
            .zip(&history[lag..])
            .map(|(a, b)| (a - mean) * (b - mean))
            .sum()
    };
    let variance = product(0);
    if variance == 0.0 {
        return false;
    }
    let before: f64 = (1..SEASON)
        .map(|lag| (product(lag) / variance).powi(2))
        .sum();
    let limit = 1.645 / count.sqrt() * (1.0 + 2.0 * before).sqrt();
    (product(SEASON) / variance).abs() > limit
}

/// Classical multiplicative decomposition: the mean ratio to the centred moving average by hour of the day, of mean 1.
fn seasonal_factors(history: &[f64]) -> [f64; SEASON] {
    let half = SEASON / 2;
    let mut sums = [0.0; SEASON];
    let mut counts = [0.0; SEASON];
    for centre in half..history.len() - half {
        // Of 25 values around the centre, the first and the last are the same hour and count half.
        let window = &history[centre - half..=centre + half];
        let ends = 0.5 * (window[0] + window[SEASON]);
        let trend = (window[1..SEASON].iter().sum::<f64>() + ends) / SEASON as f64;
        sums[centre % SEASON] += history[centre] / trend;
        counts[centre % SEASON] += 1.0;
    }
    let means: [f64; SEASON] = std::array::from_fn(|hour| sums[hour] / counts[hour]);
    let mean = means.iter().sum::<f64>() / SEASON as f64;
    means.map(|factor| factor / mean)
}
