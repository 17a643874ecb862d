//! What is said of a pool: the answer, the probabilities, the dates, and the sentence for a person.

use schemas::Micros;
use schemas::time::{DAY, HOUR};
use serde::{Deserialize, Serialize};

/// The times for which the probability of being full is given.
pub const HORIZONS: [Micros; 6] = [HOUR, 4 * HOUR, DAY, 3 * DAY, 14 * DAY, 30 * DAY];

/// The answer in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapacityAnswer {
    /// It is full now. Said whatever the level did before.
    AlreadyFull,
    /// It will be lower in a month, and is not expected to be full within a year.
    Shrinking,
    /// It is not expected to be full within a year.
    NoTrend,
    /// Too little was seen to say anything.
    NotEnoughHistory,
    /// It is expected to be full within a year: see the dates.
    FullIn,
}

impl CapacityAnswer {
    /// As it is written: `already_full`, `shrinking`, `no_trend`, `not_enough_history`, `full_in`.
    pub fn name(self) -> &'static str {
        match self {
            CapacityAnswer::AlreadyFull => "already_full",
            CapacityAnswer::Shrinking => "shrinking",
            CapacityAnswer::NoTrend => "no_trend",
            CapacityAnswer::NotEnoughHistory => "not_enough_history",
            CapacityAnswer::FullIn => "full_in",
        }
    }
}

/// How the level behaves at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapacityRegime {
    /// It does not move.
    Idle,
    /// It goes on as it did before.
    Steady,
    /// It rises and is cleaned up, regularly: its peaks decide.
    Cycling,
    /// It rises as it never did before.
    Bursting,
}

impl CapacityRegime {
    /// As it is written: `idle`, `steady`, `cycling`, `bursting`.
    pub fn name(self) -> &'static str {
        match self {
            CapacityRegime::Idle => "idle",
            CapacityRegime::Steady => "steady",
            CapacityRegime::Cycling => "cycling",
            CapacityRegime::Bursting => "bursting",
        }
    }
}

/// How probable it is that the pool is full within a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FullWithin {
    /// From the forecast on, µs.
    pub within: Micros,
    /// 0–1.
    pub probability: f64,
}

/// Where the level is expected at one time, in the unit observed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LevelBand {
    /// Of ten continuations one is lower.
    pub lower: f64,
    /// Half are lower.
    pub median: f64,
    /// Of ten continuations one is higher.
    pub upper: f64,
}

/// When the continuations of a level reach a ceiling.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DaysToFull {
    /// Days of each, ascending; infinite where it is not within a year.
    pub(super) days: Vec<f64>,
    /// Factor by which earlier forecasts say that the logarithm of time spreads wider, ≥ 1.
    pub(super) widening: f64,
}

impl DaysToFull {
    pub(super) fn now() -> Self {
        DaysToFull {
            days: vec![0.0],
            widening: 1.0,
        }
    }

    /// The share of continuations that are full within `days`, 0–1; 0 without history.
    pub fn probability_within(&self, days: f64) -> f64 {
        self.reached(days) as f64 / self.days.len().max(1) as f64
    }

    /// Days after which it is full with a probability of `share` (0–1), the distance from the median widened as earlier forecasts of the
    /// pool demand. Infinite: not within a year.
    pub fn at(&self, share: f64) -> f64 {
        let (day, median) = (quantile(&self.days, share), quantile(&self.days, 0.5));
        if median.is_finite() && median > 0.0 && day.is_finite() && self.widening > 1.0 {
            median * libm::pow(day / median, self.widening)
        } else {
            day
        }
    }

    /// The median of those that are full within a year.
    pub fn median_if_full(&self) -> f64 {
        quantile(&self.days[..self.reached(f64::MAX)], 0.5)
    }

    fn reached(&self, days: f64) -> usize {
        self.days.partition_point(|day| *day <= days)
    }
}

/// The value at a share of ascending values: the smallest that at least this share does not exceed. Infinite of none.
pub(super) fn quantile(ascending: &[f64], share: f64) -> f64 {
    let rank = libm::ceil(share * ascending.len() as f64) as usize;
    let value = ascending.get(rank.saturating_sub(1)).copied();
    value.unwrap_or(f64::INFINITY)
}

/// When a pool will be full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityForecast {
    /// The answer in a word.
    pub answer: CapacityAnswer,
    /// Time of the last sample, from which everything is counted.
    pub made_at: Micros,
    /// The last sample, as observed.
    pub used: f64,
    /// Its ceiling, in the same unit.
    pub ceiling: f64,
    /// One for each of [`HORIZONS`]; empty without enough history.
    pub p_full: Vec<FullWithin>,
    /// The date before which it is full with a probability of 10 %. `None`: not within a year.
    pub early: Option<Micros>,
    /// The same with 50 %.
    pub median: Option<Micros>,
    /// The same with 90 %.
    pub late: Option<Micros>,
    /// The middle of the dates on which it may become full within a year: `median` under the condition that it happens. `None` if that
    /// is improbable (under 5 %).
    pub median_if_full: Option<Micros>,
    /// What is gained a day at present (of the peaks, when it cycles), in the unit observed.
    pub growth_per_day: f64,
    /// How the level behaves at present.
    pub regime: CapacityRegime,
    /// 0–1: how much history this stands on, and how well earlier forecasts of the same pool held.
    pub trust: f64,
    /// Earlier forecasts of this pool that could be judged.
    pub judged: u32,
    /// Those of them whose interval from the 5 % to the 95 % date held.
    pub inside: u32,
    /// For a person: `83 % used, full in about 9 days (80 % interval: 7 to 13 days)`.
    pub sentence: String,
}

impl CapacityForecast {
    /// The probability of being full within one of [`HORIZONS`]; `None` for another time, or without enough history.
    pub fn probability(&self, within: Micros) -> Option<f64> {
        let full = self.p_full.iter().find(|full| full.within == within)?;
        Some(full.probability)
    }

    /// The share of the ceiling that is used, 0–1 (above 1 if more than all is used).
    pub fn share(&self) -> f64 {
        if self.ceiling > 0.0 {
            self.used / self.ceiling
        } else {
            0.0
        }
    }
}

/// What a forecast is told from.
pub(super) struct Facts {
    pub(super) answer: CapacityAnswer,
    pub(super) regime: CapacityRegime,
    pub(super) made_at: Micros,
    pub(super) used: f64,
    pub(super) ceiling: f64,
    pub(super) days: DaysToFull,
    pub(super) trust: f64,
    pub(super) judged: u32,
    pub(super) inside: u32,
    pub(super) growth_per_day: f64,
    /// When the ceiling changed within the last week, and from what.
    pub(super) resized: Option<(Micros, f64)>,
}

pub(super) fn tell(facts: Facts) -> CapacityForecast {
    let days = &facts.days;
    let p_full = HORIZONS.iter().map(|within| FullWithin {
        within: *within,
        probability: days.probability_within(*within as f64 / DAY as f64),
    });
    let date = |days: f64| {
        days.is_finite().then(|| {
            let micros = libm::round(days * DAY as f64) as Micros;
            facts.made_at.saturating_add(micros)
        })
    };
    let mut forecast = CapacityForecast {
        answer: facts.answer,
        made_at: facts.made_at,
        used: facts.used,
        ceiling: facts.ceiling,
        p_full: if days.days.is_empty() {
            Vec::new()
        } else {
            p_full.collect()
        },
        early: date(days.at(0.1)),
        median: date(days.at(0.5)),
        late: date(days.at(0.9)),
        median_if_full: if days.probability_within(f64::MAX) >= 0.05 {
            date(days.median_if_full())
        } else {
            None
        },
        growth_per_day: facts.growth_per_day,
        regime: facts.regime,
        trust: facts.trust.clamp(0.0, 1.0),
        judged: facts.judged,
        inside: facts.inside,
        sentence: String::new(),
    };
    forecast.sentence = sentence(&forecast, facts.resized);
    forecast
}

fn sentence(forecast: &CapacityForecast, resized: Option<(Micros, f64)>) -> String {
    let away = |date: Option<Micros>| date.map(|date| span(date.saturating_sub(forecast.made_at)));
    let mut text = format!("{} used, ", percent(forecast.share()));
    match forecast.answer {
        CapacityAnswer::AlreadyFull => text.push_str("full now"),
        CapacityAnswer::NotEnoughHistory => {
            text.push_str("not enough history to say when it will be full");
        }
        CapacityAnswer::Shrinking => text.push_str("shrinking"),
        CapacityAnswer::NoTrend => text.push_str("not expected to be full within a year"),
        CapacityAnswer::FullIn => {
            text.push_str("full in about ");
            text.push_str(&away(forecast.median).unwrap_or_default());
            text.push_str(" (80 % interval: ");
            text.push_str(&away(forecast.early).unwrap_or_default());
            text.push_str(" to ");
            let late = away(forecast.late);
            text.push_str(late.as_deref().unwrap_or("more than a year"));
            text.push(')');
        }
    }
    match forecast.regime {
        CapacityRegime::Bursting => text.push_str("; it rises as it never did before"),
        CapacityRegime::Cycling => {
            text.push_str("; filled and cleaned up in turn, so its peaks decide")
        }
        CapacityRegime::Idle | CapacityRegime::Steady => {}
    }
    let unlikely = !matches!(
        forecast.answer,
        CapacityAnswer::FullIn | CapacityAnswer::AlreadyFull
    );
    let month = forecast.probability(30 * DAY);
    if let Some(month) = month.filter(|month| unlikely && *month >= 0.01) {
        text.push_str(&format!("; full within 30 days: {}", percent(month)));
    }
    if let Some((time, before)) = resized {
        let change = if before < forecast.ceiling {
            "raised"
        } else {
            "lowered"
        };
        let ago = span(forecast.made_at.saturating_sub(time));
        text.push_str(&format!("; its ceiling was {change} {ago} ago"));
    }
    text
}

/// A share as a person would write it.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || (10.0..99.5).contains(&percent) || percent >= 100.0 {
        format!("{percent:.0} %")
    } else {
        // 99.7 % is not 100 %, and a 0.3 % risk is not none.
        format!("{percent:.1} %")
    }
}

/// A time as a person would say it: `40 minutes`, `9 days`.
fn span(micros: Micros) -> String {
    let days = micros.max(0) as f64 / DAY as f64;
    let hours = days * 24.0;
    let (number, unit) = if hours < 1.0 {
        (hours * 60.0, "minute")
    } else if days < 2.0 {
        (hours, "hour")
    } else if days < 60.0 {
        (days, "day")
    } else {
        (days / 30.44, "month")
    };
    let number = libm::round(number);
    let plural = if number == 1.0 { "" } else { "s" };
    format!("{number:.0} {unit}{plural}")
}
