//! Answers for many samples: a series' scope is found once, and an answer is remembered for as long as it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Labels, Micros};

use super::{Calendar, Effects, EffectsDuring};

/// The set of events that concern a series. Series with the same set share an id; ids mean something to one [`CalendarClock`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId(u32);

impl ScopeId {
    /// No event concerns the series, ever.
    pub const NONE: ScopeId = ScopeId(0);
}

/// A calendar with a memory of its latest answers. Not part of a snapshot: it is made anew from the calendar.
///
/// Per set of events that concern the same series it holds two answers, so that the samples around a boundary, which come a little out
/// of order, do not chase each other out. There are at most as many sets as series.
#[derive(Debug, Clone)]
pub struct CalendarClock {
    calendar: Arc<Calendar>,
    ids: BTreeMap<Arc<[u16]>, ScopeId>,
    scopes: Vec<ScopeAnswers>,
}

#[derive(Debug, Clone)]
struct ScopeAnswers {
    events: Arc<[u16]>,
    /// The latest first.
    answers: [EffectsDuring; 2],
}

impl CalendarClock {
    /// A clock that has not been asked anything.
    pub fn new(calendar: Arc<Calendar>) -> Self {
        let mut clock = CalendarClock {
            calendar,
            ids: BTreeMap::new(),
            scopes: Vec::new(),
        };
        // The set without events is the first one: `ScopeId::NONE`.
        clock.intern(Vec::new());
        clock
    }

    /// Which events concern a series: asked once for each, costs as much as the calendar has events.
    pub fn scope(&mut self, metric: &str, labels: &Labels) -> ScopeId {
        let events = self.calendar.events_of(metric, labels);
        self.intern(events)
    }

    fn intern(&mut self, events: Vec<u16>) -> ScopeId {
        let events: Arc<[u16]> = events.into();
        if let Some(id) = self.ids.get(&events) {
            return *id;
        }
        let id = ScopeId(u32::try_from(self.scopes.len()).unwrap_or(u32::MAX));
        let answer = self.calendar.effects_during(&events, 0);
        self.scopes.push(ScopeAnswers {
            events: events.clone(),
            answers: [answer; 2],
        });
        self.ids.insert(events, id);
        id
    }

    /// What holds at a time for the series of a scope: two comparisons, unless a boundary of an event was passed.
    #[inline]
    pub fn effects(&mut self, scope: ScopeId, time: Micros) -> Effects {
        if scope == ScopeId::NONE {
            return Effects::default();
        }
        self.answer(scope, time).effects
    }

    /// Until when what holds at a time is known to hold, exclusive; always after `time`. It may hold longer.
    pub fn holds_until(&mut self, scope: ScopeId, time: Micros) -> Micros {
        self.answer(scope, time).valid_until
    }

    #[inline]
    fn answer(&mut self, scope: ScopeId, time: Micros) -> EffectsDuring {
        let answers = &mut self.scopes[scope.0 as usize];
        if answers.answers[0].is_valid_at(time) {
            return answers.answers[0];
        }
        answers.answers.swap(0, 1);
        if !answers.answers[0].is_valid_at(time) {
            answers.answers[0] = self.calendar.effects_during(&answers.events, time);
        }
        answers.answers[0]
    }

    /// The calendar behind it.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }
}
