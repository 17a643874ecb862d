//! The ledger of a series: forecasts whose time has not come, and how good those were whose time has. Decides which method is believed.

use schemas::Micros;
use serde::{Deserialize, Serialize};

use super::answer::{COVERAGES, ForecastStep, Method};

/// Forecasts that wait for their time. 96: eight horizons of twelve forecasts; the one made longest ago leaves first, and is counted.
pub const STATEMENTS_MAX: usize = 96;

/// A mean forgets over this many forecasts. 100: what a method did last season should not protect it this season.
const MEMORY_FORECASTS: f64 = 100.0;

/// Forecasts that must have been scored before a method is demoted, and again before it returns. 30: with fewer, one bad day decides.
const JUDGED_FORECASTS: f64 = 30.0;

/// A method whose mean loss is above this share of the naive one's is demoted. 1.1: who is as good by luck is not sent away.
const DEMOTED_ABOVE: f64 = 1.1;

/// A demoted method whose mean loss is below this share returns. 0.95: it has to be better, not as good, or it would come and go.
const RESTORED_BELOW: f64 = 0.95;

/// Methods by preference. The last one is the yardstick and is never demoted.
const PREFERENCE: [Method; 3] = [
    Method::MstlEts,
    Method::SeasonalRegression,
    Method::SeasonalNaive,
];

/// What a forecast says of one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Statement {
    /// The value of a step, by the method that was published (the first) and by others, which are kept to compare with.
    Value(Vec<(Method, ForecastStep)>),
    /// The probability, 0–1, that a ceiling will have been reached by then.
    FullWithin(f64),
}

/// A published forecast of one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedForecast {
    /// The id of its event.
    pub id: u128,
    /// The end of what it knew.
    pub made_at: Micros,
    /// The time forecast for: the start of a step, or the end of the stretch within which the ceiling would be reached.
    pub time: Micros,
    /// What was said.
    pub statement: Statement,
}

/// How good a statement was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StatementScore {
    /// Of a value.
    Value {
        /// The published method.
        method: Method,
        /// The median that was forecast.
        median: f64,
        /// Mean pinball loss over the median and the six ends of the bands (Koenker & Bassett 1978), in the metric's unit.
        pinball_loss: f64,
        /// Whether each of the bands held the value.
        covered: [bool; 3],
    },
    /// Of a probability.
    FullWithin {
        /// What was forecast.
        probability: f64,
        /// Whether the ceiling was reached.
        full: bool,
        /// (probability − outcome)² (Brier 1950): 0 is perfect, 0.25 what a coin is worth.
        brier: f64,
    },
}

/// A forecast whose time has come, beside what came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredForecast {
    /// The id of its event.
    pub id: u128,
    /// The end of what it knew.
    pub made_at: Micros,
    /// The time forecast for.
    pub time: Micros,
    /// The value that came; of a probability, the use at that moment as the caller gave it.
    pub observed: f64,
    /// How good it was.
    pub score: StatementScore,
}

/// How good a method's forecasts of values have been; means over the last hundred or so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrackRecord {
    /// Which method.
    pub method: Method,
    /// Forecasts scored.
    pub forecasts: u64,
    /// Mean pinball loss.
    pub loss: f64,
    /// Mean pinball loss of [`Method::SeasonalNaive`] on the same steps; 0 while it was never compared.
    pub naive_loss: f64,
    /// Share of values that each band held.
    pub coverage: [f64; 3],
    /// Whether it has been sent away.
    pub demoted: bool,
    /// Forecasts compared with the naive ones since it was last sent away or taken back.
    judged: f64,
}

/// How good probabilities have been; means over the last hundred or so.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ProbabilityRecord {
    /// Forecasts scored.
    pub forecasts: u64,
    /// Mean Brier score.
    pub brier: f64,
    /// Share of those that came true.
    pub came_true: f64,
    /// Mean probability forecast; near `came_true` if the forecasts are calibrated.
    pub probability: f64,
}

/// The ledger of one series. Deterministic and bounded: at most [`STATEMENTS_MAX`] forecasts wait.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ForecastLedger {
    /// In the order in which they were made.
    waiting: Vec<PublishedForecast>,
    /// By first appearance of the method; at most three.
    track_records: Vec<TrackRecord>,
    probabilities: ProbabilityRecord,
    unscored: u64,
}

impl ForecastLedger {
    /// Keeps a forecast until its time has come. If [`STATEMENTS_MAX`] wait already, the oldest leaves unscored. An id that waits is not
    /// taken again.
    pub fn publish(&mut self, forecast: PublishedForecast) {
        if self.waiting.iter().any(|waiting| waiting.id == forecast.id) {
            return;
        }
        if self.waiting.len() >= STATEMENTS_MAX {
            self.waiting.remove(0);
            self.unscored += 1;
        }
        self.waiting.push(forecast);
    }

    /// Scores the forecasts of the step that starts at `time` by the value that came; those of steps before it met a hole and leave
    /// unscored. Called with every step that has a value, in the order of time.
    pub fn value_came(&mut self, time: Micros, value: f64) -> Vec<ScoredForecast> {
        if !value.is_finite() {
            return Vec::new();
        }
        let mut scored = Vec::new();
        for forecast in std::mem::take(&mut self.waiting) {
            match &forecast.statement {
                Statement::Value(by_method) if forecast.time == time => {
                    if let Some(score) = self.score_value(by_method, value) {
                        scored.push(forecast.scored(value, score));
                    }
                }
                Statement::Value(_) if forecast.time < time => self.unscored += 1,
                Statement::Value(_) | Statement::FullWithin(_) => self.waiting.push(forecast),
            }
        }
        scored
    }

    /// Scores the probabilities that are decided at `time`: all that were made before it if the ceiling has been reached, else those
    /// whose stretch has ended. `used`: how much is used then, for the row.
    pub fn fullness_came(&mut self, time: Micros, full: bool, used: f64) -> Vec<ScoredForecast> {
        let mut scored = Vec::new();
        for forecast in std::mem::take(&mut self.waiting) {
            match forecast.statement {
                Statement::FullWithin(probability)
                    if forecast.time <= time || (full && forecast.made_at < time) =>
                {
                    // What fills after the end of the stretch has not filled within it.
                    let full = full && forecast.time >= time;
                    let outcome = f64::from(u8::from(full));
                    let brier = (probability - outcome) * (probability - outcome);
                    self.probabilities.learn(probability, outcome, brier);
                    let score = StatementScore::FullWithin {
                        probability,
                        full,
                        brier,
                    };
                    scored.push(forecast.scored(used, score));
                }
                Statement::FullWithin(_) | Statement::Value(_) => self.waiting.push(forecast),
            }
        }
        scored
    }

    /// The method to publish by: the first of `available` that is not demoted, in the order MSTL + ETS, seasonal regression, seasonal
    /// naive; seasonal naive if none is left.
    pub fn method(&self, available: &[Method]) -> Method {
        PREFERENCE
            .into_iter()
            .filter(|method| available.contains(method))
            .find(|method| {
                !self
                    .track_record(*method)
                    .is_some_and(|record| record.demoted)
            })
            .unwrap_or(Method::SeasonalNaive)
    }

    /// How good a method has been; `None` before its first forecast was scored.
    pub fn track_record(&self, method: Method) -> Option<&TrackRecord> {
        self.track_records
            .iter()
            .find(|record| record.method == method)
    }

    /// How good the probabilities have been.
    pub fn probability_record(&self) -> &ProbabilityRecord {
        &self.probabilities
    }

    /// Forgets the forecasts that wait for their time, as if they had not been published. The track records stay.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Forecasts that wait for their time.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Forecasts that left without a score: no value came for their step, or too many waited.
    pub fn unscored(&self) -> u64 {
        self.unscored
    }

    /// Scores what every method said of a step; the score of the published one.
    fn score_value(
        &mut self,
        by_method: &[(Method, ForecastStep)],
        value: f64,
    ) -> Option<StatementScore> {
        let naive_loss = by_method
            .iter()
            .find(|(method, _)| *method == Method::SeasonalNaive)
            .map(|(_, step)| pinball_loss(step, value));
        for (method, step) in by_method {
            let at = self
                .track_records
                .iter()
                .position(|record| record.method == *method);
            let at = at.unwrap_or_else(|| {
                self.track_records.push(TrackRecord::new(*method));
                self.track_records.len() - 1
            });
            self.track_records[at].learn(
                pinball_loss(step, value),
                naive_loss,
                covered(step, value),
            );
        }
        by_method
            .first()
            .map(|(method, step)| StatementScore::Value {
                method: *method,
                median: step.median,
                pinball_loss: pinball_loss(step, value),
                covered: covered(step, value),
            })
    }
}

impl PublishedForecast {
    fn scored(&self, observed: f64, score: StatementScore) -> ScoredForecast {
        ScoredForecast {
            id: self.id,
            made_at: self.made_at,
            time: self.time,
            observed,
            score,
        }
    }
}

impl TrackRecord {
    fn new(method: Method) -> Self {
        TrackRecord {
            method,
            forecasts: 0,
            loss: 0.0,
            naive_loss: 0.0,
            coverage: [0.0; 3],
            demoted: false,
            judged: 0.0,
        }
    }

    fn learn(&mut self, loss: f64, naive_loss: Option<f64>, covered: [bool; 3]) {
        self.forecasts += 1;
        let share = 1.0 / (self.forecasts as f64).min(MEMORY_FORECASTS);
        self.loss += (loss - self.loss) * share;
        for (mean, covered) in self.coverage.iter_mut().zip(covered) {
            *mean += (f64::from(u8::from(covered)) - *mean) * share;
        }
        let Some(naive_loss) = naive_loss.filter(|_| self.method != Method::SeasonalNaive) else {
            return;
        };
        self.naive_loss += (naive_loss - self.naive_loss) * share;
        self.judged += 1.0;
        let passed = if self.demoted {
            self.loss < RESTORED_BELOW * self.naive_loss
        } else {
            self.loss > DEMOTED_ABOVE * self.naive_loss
        };
        if passed && self.judged >= JUDGED_FORECASTS {
            self.demoted = !self.demoted;
            self.judged = 0.0;
        }
    }
}

impl ProbabilityRecord {
    fn learn(&mut self, probability: f64, outcome: f64, brier: f64) {
        self.forecasts += 1;
        let share = 1.0 / (self.forecasts as f64).min(MEMORY_FORECASTS);
        self.brier += (brier - self.brier) * share;
        self.came_true += (outcome - self.came_true) * share;
        self.probability += (probability - self.probability) * share;
    }
}

/// Mean over the median and the six ends of the bands of: what a value was missed by, weighed τ above and 1 − τ below the quantile τ.
pub fn pinball_loss(step: &ForecastStep, value: f64) -> f64 {
    let mut loss = 0.5 * (value - step.median).abs();
    for (band, coverage) in step.bands.iter().zip(COVERAGES) {
        let tail = 0.5 - 0.5 * coverage;
        for (end, share) in [(band.lower, tail), (band.upper, 1.0 - tail)] {
            let error = value - end;
            loss += if error > 0.0 {
                share * error
            } else {
                (share - 1.0) * error
            };
        }
    }
    loss / (1.0 + 2.0 * COVERAGES.len() as f64)
}

/// Whether each of the bands holds a value.
fn covered(step: &ForecastStep, value: f64) -> [bool; 3] {
    step.bands
        .map(|band| (band.lower..=band.upper).contains(&value))
}

#[cfg(test)]
mod tests;
