//! Takes a history apart into trend, seasons and remainder: STL for one season, MSTL for several. Offline, for reports; the stream has
//! [`Seasons`](crate::Season) of its own.
//!
//! Cleveland et al. 1990, "STL: a seasonal-trend decomposition procedure based on loess"; Bandara, Hyndman & Bergmeir 2021, "MSTL: a
//! seasonal-trend decomposition algorithm for time series with multiple seasonal patterns". The arithmetic is that of augurs (stlrs).

use augurs::mstl::stlrs::MstlParams;
use schemas::{ErrorCode, Fault, HasCode, HasFault, catch_panic};

/// The longest history taken: ten weeks of minutes. The work grows with it, and a report needs no more.
pub const DECOMPOSED_VALUES_MAX: usize = 100_800;

/// A history taken apart: at each step, `trend` + all of `seasons` + `remainder` is the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Decomposition {
    /// One number per step, oldest first.
    pub trend: Vec<f64>,
    /// The same for each season, the shortest first.
    pub seasons: Vec<SeasonalPart>,
    /// What neither explains.
    pub remainder: Vec<f64>,
}

/// One season of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct SeasonalPart {
    /// Its length in steps.
    pub length: usize,
    /// What it adds at each step, oldest first.
    pub added: Vec<f64>,
    /// 0–1: how much of what is left without the trend it explains (Wang, Smith & Hyndman 2006); below about 0.3 it is hardly there.
    pub strength: f64,
}

/// A history that cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompositionError {
    /// A season that this history cannot show.
    #[error(
        "season of {season} steps: expected 2 to {most} steps, half of the history's {values}, and each season once; ask for fewer or shorter seasons"
    )]
    Season {
        /// Its length.
        season: usize,
        /// The longest possible.
        most: usize,
        /// Steps of the history.
        values: usize,
    },
    /// No season was asked for.
    #[error("expected the length of at least one season, found none")]
    NoSeason,
    /// Too long.
    #[error(
        "expected a history of at most {DECOMPOSED_VALUES_MAX} steps, found {0}; use a coarser resolution"
    )]
    TooLong(usize),
    /// A hole.
    #[error(
        "expected a finite value at each step, found none at step {0}; fill holes first, or use a coarser resolution"
    )]
    Hole(usize),
    /// The arithmetic gave up.
    #[error("the decomposition failed: {0}")]
    Failed(String),
}

impl HasFault for DecompositionError {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

impl HasCode for DecompositionError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::DECOMPOSITION
    }
}

/// Takes `values`, one per step and oldest first, apart by the lengths of `seasons` in steps, in any order.
///
/// # Errors
/// BadInput: a value that is not finite, a season of fewer than two steps or more than half the history, too many values.
pub fn decompose(values: &[f64], seasons: &[usize]) -> Result<Decomposition, DecompositionError> {
    let mut lengths = seasons.to_vec();
    lengths.sort_unstable();
    check(values, &lengths)?;
    // Loess squares and multiplies: values are brought to at most 1 and back, so that no finite history overflows.
    let size = values
        .iter()
        .fold(0.0_f64, |size, value| size.max(value.abs()));
    let scale = if size > 0.0 { size } else { 1.0 };
    let scaled: Vec<f64> = values.iter().map(|value| value / scale).collect();
    let fitted = catch_panic(|| MstlParams::new().fit(&scaled, &lengths))
        .map_err(DecompositionError::Failed)?
        .map_err(|error| DecompositionError::Failed(error.to_string()))?;
    let strengths = fitted.seasonal_strength();
    let (parts, trend, remainder) = fitted.into_parts();
    let back = |part: Vec<f64>| {
        part.into_iter()
            .map(|value| value * scale)
            .collect::<Vec<_>>()
    };
    let decomposition = Decomposition {
        trend: back(trend),
        seasons: lengths
            .into_iter()
            .zip(parts)
            .zip(strengths)
            .map(|((length, added), strength)| SeasonalPart {
                length,
                added: back(added),
                // 0 / 0 where nothing varies: no season.
                strength: if strength.is_finite() { strength } else { 0.0 },
            })
            .collect(),
        remainder: back(remainder),
    };
    let parts = decomposition.seasons.iter().map(|season| &season.added);
    let is_finite = parts
        .chain([&decomposition.trend, &decomposition.remainder])
        .flatten()
        .all(|value| value.is_finite());
    if is_finite {
        Ok(decomposition)
    } else {
        Err(DecompositionError::Failed(
            "a part is not a finite number".to_owned(),
        ))
    }
}

fn check(values: &[f64], lengths: &[usize]) -> Result<(), DecompositionError> {
    if values.len() > DECOMPOSED_VALUES_MAX {
        return Err(DecompositionError::TooLong(values.len()));
    }
    if lengths.is_empty() {
        return Err(DecompositionError::NoSeason);
    }
    let most = values.len() / 2;
    let twice = lengths.windows(2).find(|pair| pair[0] == pair[1]);
    let unfit = lengths.iter().find(|length| !(2..=most).contains(*length));
    if let Some(&season) = unfit.or(twice.map(|pair| &pair[0])) {
        return Err(DecompositionError::Season {
            season,
            most,
            values: values.len(),
        });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(step) => Err(DecompositionError::Hole(step)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use rstest::rstest;

    use super::*;

    /// Four weeks of hours: a trend, a day, a week.
    fn history() -> Vec<f64> {
        (0..672)
            .map(|hour| {
                let hour = f64::from(hour);
                100.0
                    + 0.05 * hour
                    + 20.0 * (TAU * hour / 24.0).sin()
                    + 8.0 * (TAU * hour / 168.0).cos()
            })
            .collect()
    }

    #[test]
    fn parts_are_found_and_add_up_to_the_values() {
        let values = history();
        let parts = decompose(&values, &[168, 24]).unwrap();
        assert_eq!(
            parts
                .seasons
                .iter()
                .map(|season| season.length)
                .collect::<Vec<_>>(),
            [24, 168]
        );
        for (step, value) in values.iter().enumerate() {
            let seasons: f64 = parts.seasons.iter().map(|season| season.added[step]).sum();
            let sum = parts.trend[step] + seasons + parts.remainder[step];
            assert!((sum - value).abs() < 1e-9 * value, "{step}: {sum} {value}");
        }
        // In the middle, away from the ends of the history.
        for step in 168..504 {
            let day = 20.0 * (TAU * step as f64 / 24.0).sin();
            assert!((parts.seasons[0].added[step] - day).abs() < 1.0, "{step}");
            assert!(
                (parts.trend[step] - 100.0 - 0.05 * step as f64).abs() < 3.0,
                "{step}"
            );
        }
        assert!(parts.seasons.iter().all(|season| season.strength > 0.9));
    }

    #[rstest]
    #[case::constant(7.0)]
    #[case::zero(0.0)]
    #[case::huge(1e308)]
    #[case::tiny(5e-324)]
    fn a_history_that_does_not_move_is_all_trend(#[case] value: f64) {
        let parts = decompose(&[value; 100], &[24]).unwrap();
        assert!(
            parts
                .trend
                .iter()
                .all(|trend| (trend - value).abs() <= 1e-9 * value.abs())
        );
        assert!((0.0..=1.0).contains(&parts.seasons[0].strength));
    }

    #[test]
    fn what_cannot_be_taken_apart_is_refused_with_the_reason() {
        let season = |season| DecompositionError::Season {
            season,
            most: 50,
            values: 100,
        };
        let values = vec![1.0; 100];
        assert_eq!(decompose(&values, &[]), Err(DecompositionError::NoSeason));
        assert_eq!(decompose(&values, &[24, 51]), Err(season(51)));
        assert_eq!(decompose(&values, &[1]), Err(season(1)));
        assert_eq!(decompose(&values, &[24, 24]), Err(season(24)));
        let mut hole = values;
        hole[7] = f64::NAN;
        assert_eq!(decompose(&hole, &[24]), Err(DecompositionError::Hole(7)));
        assert_eq!(
            decompose(&vec![0.0; DECOMPOSED_VALUES_MAX + 1], &[24]),
            Err(DecompositionError::TooLong(DECOMPOSED_VALUES_MAX + 1))
        );
    }
}
