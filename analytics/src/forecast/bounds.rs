//! The limits that values of a series cannot pass, told or seen.

use serde::{Deserialize, Serialize};

/// Limits that no forecast of a series passes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bounds {
    /// From the values seen: 0 below if none was negative, 1 above if all lay from 0 to 1.
    #[default]
    Seen,
    /// 0 and 100, as long as no value has left them.
    Percent,
    /// None.
    None,
}

impl Bounds {
    /// What a metric's name says of its limits: 0–100 can't be seen in values (a request rate of 60 is no percentage), so it must be told.
    pub fn of_metric(metric: &str) -> Bounds {
        let percent = metric
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .any(|word| matches!(word, "percent" | "pct" | "percentage"));
        if percent {
            Bounds::Percent
        } else {
            Bounds::Seen
        }
    }

    /// The limits (least, most) for a series whose values lay from `min` to `max`.
    pub(crate) fn limits(self, min: f64, max: f64) -> (f64, f64) {
        let top = match self {
            Bounds::Seen => 1.0,
            Bounds::Percent => 100.0,
            Bounds::None => return (f64::MIN, f64::MAX),
        };
        match (min >= 0.0, max <= top) {
            (true, true) => (0.0, top),
            (true, false) => (0.0, f64::MAX),
            (false, _) => (f64::MIN, f64::MAX),
        }
    }
}
