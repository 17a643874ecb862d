//! What moved with an anomaly: for each, the series of its resource, and of other resources of its service, that became unusual with it or up to some
//! minutes before.
//!
//! Each unusual score is a *move* of its series, kept for some minutes. An announced event waits until every sample of its resource up to its own
//! time has been seen: until a later one comes, or the record ends and the log clock is past the event. Then the moves up to its time are ranked. So
//! the answer is a function of the samples and not of how they were cut into records, and live it is there at the end of the same record. For other
//! resources of the service it does not wait: what they moved by until then is named, what comes later names this event's series in turn.

use std::collections::BTreeMap;

use schemas::time::{MINUTE, SECOND};
use schemas::{Anomaly, Direction, Micros, Related, SeriesDirectory};
use serde::{Deserialize, Serialize};

use crate::service::ServiceKey;

/// A score from which a series counts as moving. 0.5: half of the evidence that an alarm takes. Lower, and most events would name series that
/// only happened to be noisy; higher, and what moved clearly, but is allowed to, would not be named.
pub(crate) const MOVE_SCORE: f64 = 0.5;
/// A move that began so long before an anomaly is named with it. 5 min: what is further apart a person does not see as one story.
const LEAD_MAX: Micros = 5 * MINUTE;
/// Moves of a resource that are kept; the weakest go first. 64: ten times what an event names.
const MOVES_MAX: usize = 64;
/// Related series that an event names.
const RELATED_MAX: usize = 5;
/// Of them, those that its sentence names.
const TOLD_MAX: usize = 3;
/// Unusual scores of a series that are no further apart than this, or two of its intervals, are one move.
const PAUSE_MAX: Micros = 30 * SECOND;

/// What a move of another resource of the service counts: half. The resource's own tell more of its anomaly, and a service has many to coincide with it.
const SERVICE_WEIGHT: f64 = 0.5;

/// A stretch of unusual scores of one series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Move {
    resource: u32,
    series: u32,
    /// Time of its first and its last unusual score.
    since: Micros,
    until: Micros,
    /// The largest of them.
    score: f64,
    direction: Direction,
}

/// An event that is told as soon as its resource's samples of its time are seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waiting {
    resource: u32,
    service: Option<ServiceKey>,
    series: u32,
    time: Micros,
    event: Anomaly,
}

/// An unusual score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unusual {
    pub(crate) resource: u32,
    pub(crate) service: Option<ServiceKey>,
    pub(crate) series: u32,
    pub(crate) time: Micros,
    pub(crate) score: f64,
    pub(crate) direction: Direction,
    /// The series' sampling interval, microseconds; 0 = not known.
    pub(crate) interval: u32,
}

/// The moves of late and the events that wait. Bounded by [`MOVES_MAX`] per resource and per service, and by the alarms of some seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Correlation {
    /// By resource index.
    moves: BTreeMap<u32, Vec<Move>>,
    /// The same moves by service, of those series that name one.
    of_services: BTreeMap<ServiceKey, Vec<Move>>,
    /// By resource index: when a whole fleet alarms at once, a sample asks for those of its own resource alone. None is empty.
    waiting: BTreeMap<u32, Vec<Waiting>>,
    /// Moves that ended before are gone.
    pruned_to: Micros,
}

impl Correlation {
    /// Takes note of a score of at least [`MOVE_SCORE`].
    pub(crate) fn note(&mut self, unusual: Unusual) {
        note_in(self.moves.entry(unusual.resource).or_default(), unusual);
        if let Some(service) = unusual.service {
            note_in(self.of_services.entry(service).or_default(), unusual);
        }
    }

    /// An event that was announced: it is told once its resource's samples of its time are seen.
    pub(crate) fn wait(&mut self, resource: u32, series: u32, time: Micros, event: Anomaly) {
        self.waiting.entry(resource).or_default().push(Waiting {
            resource,
            service: ServiceKey::of(&event.labels),
            series,
            time,
            event,
        });
    }

    /// Whether an event waits: asked for each sample.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A sample of a resource is about to be taken: hands out the events of it that are older.
    pub(crate) fn before(
        &mut self,
        resource: u32,
        time: Micros,
        directory: &SeriesDirectory,
        told: &mut Vec<Anomaly>,
    ) {
        let Some(waiting) = self.waiting.get_mut(&resource) else {
            return;
        };
        let ready: Vec<Waiting> = waiting.extract_if(.., |of| of.time < time).collect();
        if waiting.is_empty() {
            self.waiting.remove(&resource);
        }
        self.tell(ready, directory, told);
    }

    /// A record ends: hands out the events that the log clock has passed.
    pub(crate) fn end_record(
        &mut self,
        log_clock: Micros,
        directory: &SeriesDirectory,
        told: &mut Vec<Anomaly>,
    ) {
        let mut ready = Vec::new();
        self.waiting.retain(|_, waiting| {
            ready.extend(waiting.extract_if(.., |of| of.time < log_clock));
            !waiting.is_empty()
        });
        self.tell(ready, directory, told);
    }

    /// Whether it speaks of at most so many series.
    pub(crate) fn fits(&self, series_count: usize) -> bool {
        let all = self.moves.values().chain(self.of_services.values());
        all.flatten()
            .all(|known| (known.series as usize) < series_count)
    }

    /// Forgets the moves that no event to come can name: its sample is not before the watermark's window.
    pub(crate) fn prune(&mut self, watermark: Micros) {
        let end = watermark.saturating_sub(2 * LEAD_MAX);
        // Once a minute is often enough for a bound in minutes.
        if end < self.pruned_to.saturating_add(MINUTE) {
            return;
        }
        self.pruned_to = end;
        let keep = |moves: &mut Vec<Move>| {
            moves.retain(|known| known.until >= end);
            !moves.is_empty()
        };
        self.moves.retain(|_, moves| keep(moves));
        self.of_services.retain(|_, moves| keep(moves));
    }

    /// Tells events, each with what moved with it.
    fn tell(&self, ready: Vec<Waiting>, directory: &SeriesDirectory, told: &mut Vec<Anomaly>) {
        for mut waiting in ready {
            waiting.event.related = self.related(&waiting, directory);
            tell_related(&mut waiting.event);
            told.push(waiting.event);
        }
    }

    /// The moves that belong to an event, the strongest first.
    fn related(&self, waiting: &Waiting, directory: &SeriesDirectory) -> Vec<Related> {
        let own = self.moves.get(&waiting.resource).into_iter().flatten();
        let of_service = waiting
            .service
            .and_then(|service| self.of_services.get(&service));
        let others = of_service.into_iter().flatten();
        let others = others.filter(|known| known.resource != waiting.resource);
        let mut moves: Vec<&Move> = own
            .chain(others)
            .filter(|known| {
                known.series != waiting.series
                    && known.since <= waiting.time
                    && known.since >= waiting.time.saturating_sub(LEAD_MAX)
            })
            .collect();
        let id = |known: &Move| directory[known.series as usize].id;
        let strength = |known: &Move| {
            if known.resource == waiting.resource {
                known.score
            } else {
                SERVICE_WEIGHT * known.score
            }
        };
        moves.sort_by(|a, b| {
            let by_strength = strength(b).total_cmp(&strength(a));
            by_strength
                .then(a.since.cmp(&b.since))
                .then(id(a).cmp(&id(b)))
        });
        let named = |known: &Move| {
            let series = &directory[known.series as usize];
            Related {
                series_id: series.id,
                metric: series.metric.to_string(),
                labels: series.labels.clone(),
                lag_s: (known.since - waiting.time) as f64 / SECOND as f64,
                score: known.score,
                direction: known.direction,
            }
        };
        moves.into_iter().take(RELATED_MAX).map(named).collect()
    }
}

/// Takes note of an unusual score among the moves of a resource or a service.
fn note_in(moves: &mut Vec<Move>, unusual: Unusual) {
    let Unusual {
        resource,
        series,
        time,
        score,
        direction,
        interval,
        ..
    } = unusual;
    let pause = PAUSE_MAX.max(2 * Micros::from(interval));
    moves.retain(|known| known.until >= time.saturating_sub(2 * LEAD_MAX));
    let known = moves
        .iter_mut()
        .find(|known| known.series == series && time.saturating_sub(known.until) <= pause);
    if let Some(known) = known {
        if score > known.score {
            (known.score, known.direction) = (score, direction);
        }
        (known.since, known.until) = (known.since.min(time), known.until.max(time));
        return;
    }
    moves.retain(|known| known.series != series);
    moves.push(Move {
        resource,
        series,
        since: time,
        until: time,
        score,
        direction,
    });
    if moves.len() > MOVES_MAX {
        let weakest = (0..moves.len()).min_by(|a, b| {
            let (a, b) = (&moves[*a], &moves[*b]);
            a.score.total_cmp(&b.score).then(b.series.cmp(&a.series))
        });
        if let Some(weakest) = weakest {
            moves.swap_remove(weakest);
        }
    }
}

/// Adds the strongest related series to an event's sentence: `…; also moved: disk.io (device=sda) 40 s earlier, load`.
fn tell_related(event: &mut Anomaly) {
    let told: Vec<String> = event
        .related
        .iter()
        .take(TOLD_MAX)
        .map(|related| {
            let own: Vec<String> = related
                .labels
                .iter()
                .filter(|(key, value)| event.labels.get(key) != Some(*value))
                .take(2)
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let labels = match own.len() {
                0 => String::new(),
                _ => format!(" ({})", own.join(", ")),
            };
            let when = match -related.lag_s {
                lead if lead < 1.0 => String::new(),
                lead if lead < 120.0 => format!(" {lead:.0} s earlier"),
                lead => format!(" {:.0} min earlier", lead / 60.0),
            };
            format!("{}{labels}{when}", related.metric)
        })
        .collect();
    if !told.is_empty() {
        event.explanation = format!("{}; also moved: {}", event.explanation, told.join(", "));
    }
}

#[cfg(test)]
pub(crate) mod tests;
