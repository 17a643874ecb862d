//! Days that the calendar measures by another day of the week: what is expected of them is what is expected of that day.

use schemas::Micros;
use schemas::time::{DAY, SECOND};

use super::answer::{ForecastStep, SeriesForecast};
use crate::calendar::Effects;

/// The forecast of the next `steps` steps, with the steps of days that are measured by another day replaced by those of the next such day,
/// bands and all: these reach further ahead and so are rather too wide than too narrow.
///
/// `forecast` makes one of so many steps, `effects_at` says what the calendar says of a time. Steps of which no forecast reaches that day stay
/// as they are.
pub fn forecast_by_profiles(
    steps: u32,
    forecast: impl Fn(u32) -> Option<SeriesForecast>,
    mut effects_at: impl FnMut(Micros) -> Effects,
) -> Option<SeriesForecast> {
    let mut answer = forecast(steps)?;
    let step = i64::from(answer.step_s) * SECOND;
    let alike: Vec<Option<Micros>> = answer
        .steps
        .iter()
        .map(|own| match effects_at(own.time).profile_days_ahead {
            0 => None,
            days => Some(own.time + Micros::from(days) * DAY),
        })
        .collect();
    let Some(last) = alike.iter().flatten().max() else {
        return Some(answer);
    };
    let first = answer.steps.first()?.time;
    let reach = u32::try_from((last - first) / step + 1).unwrap_or(u32::MAX);
    let further = forecast(reach)?;
    for (own, alike) in answer.steps.iter_mut().zip(alike) {
        let position = alike.and_then(|time| usize::try_from((time - first) / step).ok());
        if let Some(like) = position.and_then(|position| further.steps.get(position)) {
            *own = ForecastStep {
                time: own.time,
                ..*like
            };
        }
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use schemas::time::HOUR;

    use super::*;
    use crate::calendar::{Calendar, Lesson};
    use crate::forecast::{ForecastConfig, Forecaster};

    /// Monday, 2026-11-02, 0:00 UTC.
    const MONDAY: Micros = 1_793_577_600_000_000;

    const CALENDAR: &str =
        "[[event]]\nname = \"holiday\"\ndates = [2026-11-26]\nuse_profile_of = \"sunday\"\n";

    /// Busy at 100 on weekdays, idle at 10 on weekends.
    fn value(time: Micros) -> f64 {
        let day = (time - MONDAY).div_euclid(DAY).rem_euclid(7);
        if day < 5 { 100.0 } else { 10.0 }
    }

    fn effects() -> impl Fn(Micros) -> Effects {
        let calendar = Calendar::parse(CALENDAR, "UTC").unwrap();
        let labels = schemas::Labels::empty();
        move |time| calendar.effects_at("load", &labels, time)
    }

    #[test]
    fn the_calendar_speaks_of_the_days_that_are_meant() {
        let thursday = MONDAY + 24 * DAY;
        let effects = effects();
        assert_eq!(effects(thursday - 1).profile_days_ahead, 0);
        assert_eq!(effects(thursday).profile_days_ahead, 3);
        assert_eq!(effects(thursday + DAY).profile_days_ahead, 0);
    }

    #[test]
    fn a_holiday_is_forecast_as_a_sunday_and_teaches_nothing_of_thursdays() {
        let effects = effects();
        let holiday = MONDAY + 24 * DAY;
        let mut forecaster = Forecaster::new(&ForecastConfig::default()).unwrap();
        let mut at = MONDAY;
        while at < holiday {
            forecaster.observe_as(at, value(at), effects(at).lesson());
            at += HOUR;
        }
        let plain = forecaster.forecast(48).unwrap();
        let told = forecast_by_profiles(48, |steps| forecaster.forecast(steps), &effects).unwrap();
        let (noon, next_noon) = (12, 36);
        assert!(plain.steps[noon].median > 90.0, "{plain:?}");
        assert!(told.steps[noon].median < 30.0, "{told:?}");
        assert_eq!(told.steps[next_noon], plain.steps[next_noon]);
        let times = |forecast: &SeriesForecast| -> Vec<Micros> {
            forecast.steps.iter().map(|step| step.time).collect()
        };
        assert_eq!(times(&told), times(&plain));
        // The holiday comes, and is idle. A week later Thursday is a Thursday.
        while at < holiday + 7 * DAY {
            let idle = at < holiday + DAY;
            let lesson = effects(at).lesson();
            assert_eq!(lesson == Lesson::Score, idle);
            let came = if idle { 10.0 } else { value(at) };
            forecaster.observe_as(at, came, lesson);
            at += HOUR;
        }
        let thursday = forecaster.forecast(24).unwrap();
        assert!(thursday.steps[noon].median > 90.0, "{thursday:?}");
    }
}
