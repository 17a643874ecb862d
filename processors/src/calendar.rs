//! What the calendar says of the series and resources of a partition. Made anew from the settings; a snapshot holds nothing of it.

use std::sync::Arc;

use analytics::calendar::{CalendarClock, Effects, ScopeId, ZoneClock};
use schemas::event::RESOURCE_METRIC;
use schemas::time::DAY;
use schemas::{Anomaly, Micros, SeriesDirectory};

use crate::ProcessingConfig;
use crate::resources::Resources;

/// How far ahead the end of skipped alarms is looked for: the longest event, and one that follows it.
const SKIP_MAX: Micros = 2 * 366 * DAY;

/// The calendar, and which of its events concern whom. Without a calendar it holds nothing and costs a comparison.
#[derive(Debug, Clone)]
pub(crate) struct SeriesCalendar {
    zone: ZoneClock,
    clock: Option<CalendarClock>,
    /// By series index, as far as was asked.
    of_series: Vec<ScopeId>,
    /// By resource index, as far as was asked.
    of_resource: Vec<ScopeId>,
}

impl SeriesCalendar {
    pub(crate) fn new(config: &ProcessingConfig) -> Self {
        let calendar = config.calendar.as_ref();
        SeriesCalendar {
            zone: ZoneClock::new(config.time_zone.clone()),
            clock: calendar
                .filter(|calendar| !calendar.is_empty())
                .map(|calendar| CalendarClock::new(Arc::clone(calendar))),
            of_series: Vec::new(),
            of_resource: Vec::new(),
        }
    }

    /// What local time is ahead of UTC, seconds.
    #[inline]
    pub(crate) fn utc_offset_s(&mut self, time: Micros) -> i32 {
        self.zone.utc_offset_s(time)
    }

    /// What holds for a series at a time.
    #[inline]
    pub(crate) fn effects(
        &mut self,
        directory: &SeriesDirectory,
        series: u32,
        time: Micros,
    ) -> Effects {
        match &mut self.clock {
            None => Effects::default(),
            Some(clock) => {
                let from = self.of_series.len();
                // Series are added at the end, and each is asked for.
                for series in from..=series as usize {
                    let series = &directory[series];
                    let scope = clock.scope(&series.metric, &series.labels);
                    self.of_series.push(scope);
                }
                clock.effects(self.of_series[series as usize], time)
            }
        }
    }

    /// What holds for a resource as a whole at a time: by its labels, and the name [`RESOURCE_METRIC`].
    pub(crate) fn effects_on_resource(
        &mut self,
        resources: &Resources,
        resource: u32,
        time: Micros,
    ) -> Effects {
        let Some(clock) = &mut self.clock else {
            return Effects::default();
        };
        for resource in self.of_resource.len()..=resource as usize {
            let labels = resources.get(resource as u32).labels();
            let scope = clock.scope(RESOURCE_METRIC, labels);
            self.of_resource.push(scope);
        }
        clock.effects(self.of_resource[resource as usize], time)
    }

    /// The first time, from `time` on, at which alarms of a series are not skipped; within [`SKIP_MAX`].
    pub(crate) fn after_skip(
        &mut self,
        directory: &SeriesDirectory,
        series: u32,
        time: Micros,
    ) -> Micros {
        if !self.effects(directory, series, time).skip_alarms {
            return time;
        }
        let (scope, end) = (
            self.of_series[series as usize],
            time.saturating_add(SKIP_MAX),
        );
        let mut at = time;
        while let Some(clock) = &mut self.clock
            && at < end
            && clock.effects(scope, at).skip_alarms
        {
            at = clock.holds_until(scope, at);
        }
        at
    }

    /// Adds to an event's sentence which events of the calendar hold at its time.
    pub(crate) fn name_events(&self, event: &mut Anomaly, time: Micros) {
        let Some(clock) = &self.clock else { return };
        let names = clock
            .calendar()
            .names_at(&event.metric, &event.labels, time);
        if !names.is_empty() {
            let names = names.join(", ");
            event.explanation = format!("{}; in the calendar: {names}", event.explanation);
        }
    }
}
