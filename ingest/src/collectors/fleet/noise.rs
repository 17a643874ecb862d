//! Chance and season as pure functions of a seed and a time. Only + − × ÷ and comparisons, so every machine computes the same bits.

use schemas::Micros;
use schemas::time::{DAY, HOUR, SECOND};

/// One week. Weeks begin on Thursdays, as 1970 did.
pub(super) const WEEK: Micros = 7 * DAY;
/// The season of a day has its peak a quarter of a day after this: at 14:00 UTC, and its trough at 02:00.
const DAY_SHIFT: Micros = 8 * HOUR;
/// The season of a week has its trough three quarters of a week after this: on Sunday noon.
const WEEK_SHIFT: Micros = -42 * HOUR;

/// A 64-bit number that depends on each bit of both arguments (the finaliser of SplitMix64, Steele et al. 2014).
pub(super) fn mix(seed: u64, key: u64) -> u64 {
    let mut z = seed ^ key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number in [0, 1), the same for the same arguments.
pub(super) fn uniform(seed: u64, key: u64) -> f64 {
    (mix(seed, key) >> 11) as f64 / (1u64 << 53) as f64
}

/// A whole number from `least` (inclusive) to `most` (exclusive), the same for the same arguments. `least` < `most`.
pub(super) fn pick(seed: u64, key: u64, least: i64, most: i64) -> i64 {
    least + (mix(seed, key) % (most - least).unsigned_abs()) as i64
}

/// About a standard normal number: four uniform ones added up, so never beyond ±3.47.
pub(super) fn gauss(seed: u64, key: u64) -> f64 {
    let bits = mix(seed, key);
    let sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
    // The variance of one of the four is 65536²/12, so the sum's deviation is 65536/√3.
    (sum as f64 - 131_070.0) / 37_837.2
}

/// Noise that changes slowly: straight lines between independent numbers in [0, 1) at the multiples of `step`.
pub(super) fn wander(seed: u64, time: Micros, step: Micros) -> f64 {
    let (number, rest) = (time.div_euclid(step), time.rem_euclid(step));
    let (from, to) = (
        uniform(seed, number as u64),
        uniform(seed, (number + 1) as u64),
    );
    from + (to - from) * (rest as f64 / step as f64)
}

/// The position of a time in its period, 0 to 1 (exclusive).
pub(super) fn phase(time: Micros, period: Micros) -> f64 {
    time.rem_euclid(period) as f64 / period as f64
}

/// A wave from −1 to 1 over one period, made of two parabolas: like a sine to the eye, and exact everywhere.
fn wave(phase: f64) -> f64 {
    if phase < 0.5 {
        16.0 * phase * (0.5 - phase)
    } else {
        -16.0 * (phase - 0.5) * (1.0 - phase)
    }
}

/// The integral of [`wave`] from 0 to a phase; 0 at both ends of a period.
fn wave_integral(phase: f64) -> f64 {
    let rise = |p: f64| p * p * (4.0 - 16.0 / 3.0 * p);
    if phase < 0.5 {
        rise(phase)
    } else {
        1.0 / 3.0 - rise(phase - 0.5)
    }
}

/// A level that follows the day and the week: `level × (1 + daily × day's wave + weekly × week's wave)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Season {
    pub(super) level: f64,
    /// Share of the level, 0 to 1. Together with `weekly` below 1, so that the season is positive.
    pub(super) daily: f64,
    pub(super) weekly: f64,
    /// How much later than elsewhere the day begins.
    pub(super) delay: Micros,
}

impl Season {
    fn phases(&self, time: Micros) -> (f64, f64) {
        (
            phase(time - DAY_SHIFT - self.delay, DAY),
            phase(time - WEEK_SHIFT, WEEK),
        )
    }

    /// The value at a time.
    pub(super) fn at(&self, time: Micros) -> f64 {
        let (day, week) = self.phases(time);
        self.level * (1.0 + self.daily * wave(day) + self.weekly * wave(week))
    }

    /// The integral from one time to another, in units of the level × seconds.
    pub(super) fn sum(&self, from: Micros, to: Micros) -> f64 {
        let seconds = |time: Micros| time as f64 / SECOND as f64;
        let part = |time: Micros| {
            let (day, week) = self.phases(time);
            self.daily * seconds(DAY) * wave_integral(day)
                + self.weekly * seconds(WEEK) * wave_integral(week)
        };
        self.level * (seconds(to - from) + part(to) - part(from))
    }
}

#[cfg(test)]
mod tests {
    use schemas::time::MINUTE;

    use super::*;

    #[test]
    fn a_season_has_its_peak_in_the_afternoon_and_its_integral_is_its_sum() {
        let season = Season {
            level: 2.0,
            daily: 0.4,
            weekly: 0.0,
            delay: 0,
        };
        assert_eq!(season.at(14 * HOUR), 2.8);
        assert_eq!(season.at(DAY + 2 * HOUR), 1.2);
        let season = Season {
            weekly: 0.2,
            delay: 3 * HOUR,
            ..season
        };
        let (from, to) = (5 * HOUR, 9 * DAY + 7 * HOUR);
        let added: f64 = (from..to)
            .step_by(MINUTE as usize)
            .map(|time| 60.0 * season.at(time + MINUTE / 2))
            .sum();
        assert!(
            (added / season.sum(from, to) - 1.0).abs() < 1e-6,
            "{added} {}",
            season.sum(from, to)
        );
    }

    #[test]
    fn noise_is_what_it_says() {
        let drawn: Vec<f64> = (0..20_000).map(|key| gauss(3, key)).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|value| value * value).sum::<f64>() / 20_000.0;
        // Three standard errors of each.
        assert!(
            mean.abs() < 0.022 && (variance - 1.0).abs() < 0.03,
            "{mean} {variance}"
        );
        assert!((0..1000).all(|key| (3..7).contains(&pick(1, key, 3, 7))));
        assert_eq!(wander(9, 600, 300), uniform(9, 2));
    }
}
