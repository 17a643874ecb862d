//! Which events are alarms: of each series, and of each resource, at most as many as allowed in any 30 days; silences are counted by themselves.
//!
//! A score is bounded in the long run only: an ensemble that knows a series for a week can't know yet what comes once a month. Whoever is woken by
//! alarms is promised a number; whoever reads sees every event.

use std::collections::BTreeMap;

use schemas::time::{DAY, HOUR};
use schemas::{Anomaly, AnomalyKind, Micros, SeriesId};
use serde::{Deserialize, Serialize};

/// The time that the allowed number is of.
const MONTH: Micros = 30 * DAY;

/// What comes within an hour of an alarm of the same series is the same story to whoever was woken: it got worse, or others see it too (the siblings after five
/// minutes). It is no alarm, and leaves the budget to another.
const STORY: Micros = HOUR;

/// An event may be told so long after its time and still be counted with those around it.
const TOLD_LATE_MAX: Micros = DAY;

/// Alarms remembered of a series. Up to so many allowed ones are counted exactly; who allows more gets the same rate in shorter times.
const REMEMBERED_MAX: f64 = 32.0;

/// Of what an alarm is: counted each by itself. A host that has fallen silent must not go unheard because it was odd twice this month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Subject {
    /// That nothing comes any more. What often pauses is told of longer pauses only, so these alone keep to the number as well.
    Silence,
    /// What comes.
    Values,
}

impl Subject {
    fn of(event: &Anomaly) -> Self {
        if event.kind == AnomalyKind::Missing {
            Subject::Silence
        } else {
            Subject::Values
        }
    }
}

/// The alarms of late, by the id of what they are about. Bounded by the series that had one within the month.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct AlarmBudgets {
    /// The times of alarms, in the order told.
    told: BTreeMap<(SeriesId, Subject), Vec<Micros>>,
    /// What had left the window by then is forgotten.
    pruned_to: Micros,
}

impl AlarmBudgets {
    /// Decides of events that are told now whether they are alarms, and spends the budget of those that are. Counted are the times of the events: `now`, the
    /// log clock, depends on how many samples share a record, and only bounds what is remembered.
    pub(crate) fn spend(&mut self, alarms_per_month: f64, now: Micros, events: &mut [Anomaly]) {
        if events.is_empty() {
            return;
        }
        let allowed = alarms_per_month.clamp(1.0, REMEMBERED_MAX) as usize;
        // A rate below one alarm a month is one in a longer time, a large one is the same share of a shorter.
        let window = (MONTH as f64 * allowed as f64 / alarms_per_month) as Micros;
        // Who allows more than one in an hour wants to hear of all.
        let story = if window / allowed as Micros >= STORY {
            STORY.unsigned_abs()
        } else {
            0
        };
        let old = now.saturating_sub(window).saturating_sub(TOLD_LATE_MAX);
        if old >= self.pruned_to.saturating_add(DAY) {
            self.told.retain(|_, told| told.last() > Some(&old));
            self.pruned_to = old;
        }
        for event in events {
            let time = time_of(event).unwrap_or(now);
            let since = time.saturating_sub(window);
            let told = self
                .told
                .entry((event.series_id, Subject::of(event)))
                .or_default();
            told.retain(|time| *time > since);
            let goes_on = told.iter().any(|alarm| alarm.abs_diff(time) < story);
            event.alarm = !goes_on && told.len() < allowed;
            if event.alarm {
                told.push(time);
            } else if goes_on {
                event
                    .explanation
                    .push_str("; not an alarm: it had one within the hour");
            } else {
                event.explanation.push_str(&format!(
                    "; not an alarm: it had {allowed} in {}",
                    days(window)
                ));
            }
        }
    }
}

/// The time that an event is about.
fn time_of(event: &Anomaly) -> Option<Micros> {
    let time: jiff::Timestamp = event.time.parse().ok()?;
    Some(time.as_microsecond())
}

/// A length of time as a person says it.
fn days(window: Micros) -> String {
    match window as f64 / DAY as f64 {
        few if few < 2.0 => format!("{:.1} hours", 24.0 * few),
        days => format!("{days:.0} days"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use schemas::time::rfc3339;

    use crate::correlation::tests::event;

    fn at(time: Micros) -> Anomaly {
        Anomaly {
            time: rfc3339(time),
            ..event()
        }
    }

    /// Which of events on these days are alarms.
    fn alarms(allowed: f64, days: &[f64]) -> Vec<bool> {
        let mut budgets = AlarmBudgets::default();
        let of_day = |day: &f64| {
            let time = (day * DAY as f64) as Micros;
            let mut told = [at(time)];
            // A record that began up to half a day before says nothing else.
            budgets.spend(allowed, time - time % (DAY / 2), &mut told);
            assert_eq!(told[0].alarm, !told[0].explanation.contains("not an alarm"));
            told[0].alarm
        };
        days.iter().map(of_day).collect()
    }

    #[rstest]
    #[case::two_in_any_month(2.0, &[1.0, 8.0, 15.0, 30.9, 31.1, 37.9, 38.1], &[true, true, false, false, true, false, true])]
    #[case::what_is_no_alarm_spends_nothing(1.0, &[0.0, 29.0, 31.0, 59.0, 62.0], &[true, false, true, false, true])]
    #[case::one_in_two_months(0.5, &[0.0, 31.0, 59.0, 61.0], &[true, false, false, true])]
    #[case::two_and_a_half_are_two_in_24_days(2.5, &[0.0, 1.0, 23.0, 24.1], &[true, true, false, true])]
    #[case::what_goes_on_for_an_hour_is_one_story(2.0, &[1.0, 1.003, 1.04, 1.042, 20.0], &[true, false, false, true, false])]
    #[case::an_earlier_one_that_is_told_later_too(2.0, &[1.0, 0.97, 0.9], &[true, false, true])]
    #[case::who_allows_more_than_one_an_hour_hears_of_all(721.0, &[0.0, 0.001, 0.002], &[true; 3])]
    #[case::everything(1e7, &[0.0, 0.0, 0.001, 0.001], &[true; 4])]
    fn a_series_has_as_many_alarms_as_allowed(
        #[case] allowed: f64,
        #[case] days: &[f64],
        #[case] expected: &[bool],
    ) {
        assert_eq!(alarms(allowed, days), expected);
    }

    #[test]
    fn each_series_has_its_own_and_what_is_old_is_forgotten() {
        let mut budgets = AlarmBudgets::default();
        for series in 0..100 {
            let mut events = [at(0), at(2 * HOUR), at(4 * HOUR)];
            for event in &mut events {
                event.series_id = SeriesId(series);
            }
            budgets.spend(2.0, DAY, &mut events);
            assert_eq!(events.map(|event| event.alarm), [true, true, false]);
        }
        assert_eq!(budgets.told.len(), 100);
        budgets.spend(2.0, 40 * DAY, &mut [event()]);
        assert_eq!(budgets.told.len(), 1);
    }

    #[test]
    fn who_was_odd_twice_can_still_be_missed() {
        let mut budgets = AlarmBudgets::default();
        let mut events = [at(0), at(DAY), at(2 * DAY), at(2 * DAY)];
        events[3].kind = AnomalyKind::Missing;
        budgets.spend(2.0, 2 * DAY, &mut events);
        assert_eq!(events.map(|event| event.alarm), [true, true, false, true]);
    }

    #[test]
    fn the_sentence_says_why_it_is_none() {
        let mut budgets = AlarmBudgets::default();
        let mut events = [at(0), at(HOUR / 2), at(DAY)];
        budgets.spend(1.0, DAY, &mut events);
        assert_eq!(
            events.map(|event| event.explanation),
            [
                "load was 9",
                "load was 9; not an alarm: it had one within the hour",
                "load was 9; not an alarm: it had 1 in 30 days"
            ]
        );
    }
}
