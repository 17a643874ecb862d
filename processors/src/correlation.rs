//! What moved with an anomaly: for each, the series of its resource that became unusual with it or up to some minutes before.
//!
//! Each unusual score is a *move* of its series, kept for some minutes. An announced event waits until every sample of its resource up to its own
//! time has been seen: until a later one comes, or the record ends and the log clock is past the event. Then the moves up to its time are ranked. So
//! the answer is a function of the samples and not of how they were cut into records, and live it is there at the end of the same record.

use std::collections::BTreeMap;

use schemas::time::{MINUTE, SECOND};
use schemas::{Anomaly, Direction, Micros, Related, SeriesDirectory};
use serde::{Deserialize, Serialize};

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

/// A stretch of unusual scores of one series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Move {
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
    series: u32,
    time: Micros,
    event: Anomaly,
}

/// An unusual score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unusual {
    pub(crate) resource: u32,
    pub(crate) series: u32,
    pub(crate) time: Micros,
    pub(crate) score: f64,
    pub(crate) direction: Direction,
    /// The series' sampling interval, microseconds; 0 = not known.
    pub(crate) interval: u32,
}

/// The moves of late and the events that wait. Bounded by [`MOVES_MAX`] per resource and by the alarms of some seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Correlation {
    /// By resource index.
    moves: BTreeMap<u32, Vec<Move>>,
    /// Likewise: when a whole fleet alarms at once, a sample asks for those of its own resource alone. None is empty.
    waiting: BTreeMap<u32, Vec<Waiting>>,
    /// Moves that ended before are gone.
    pruned_to: Micros,
}

impl Correlation {
    /// Takes note of a score of at least [`MOVE_SCORE`].
    pub(crate) fn note(&mut self, unusual: Unusual) {
        let Unusual {
            resource,
            series,
            time,
            score,
            direction,
            interval,
        } = unusual;
        let pause = PAUSE_MAX.max(2 * Micros::from(interval));
        let moves = self.moves.entry(resource).or_default();
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

    /// An event that was announced: it is told once its resource's samples of its time are seen.
    pub(crate) fn wait(&mut self, resource: u32, series: u32, time: Micros, event: Anomaly) {
        self.waiting.entry(resource).or_default().push(Waiting {
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
        self.tell(resource, ready, directory, told);
    }

    /// A record ends: hands out the events that the log clock has passed.
    pub(crate) fn end_record(
        &mut self,
        log_clock: Micros,
        directory: &SeriesDirectory,
        told: &mut Vec<Anomaly>,
    ) {
        let mut ready: Vec<(u32, Vec<Waiting>)> = Vec::new();
        self.waiting.retain(|resource, waiting| {
            let passed = waiting.extract_if(.., |of| of.time < log_clock);
            ready.push((*resource, passed.collect()));
            !waiting.is_empty()
        });
        for (resource, ready) in ready {
            self.tell(resource, ready, directory, told);
        }
    }

    /// Whether it speaks of at most so many series.
    pub(crate) fn fits(&self, series_count: usize) -> bool {
        self.moves
            .values()
            .flatten()
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
        self.moves.retain(|_, moves| {
            moves.retain(|known| known.until >= end);
            !moves.is_empty()
        });
    }

    /// Tells events of a resource, each with what moved with it.
    fn tell(
        &self,
        resource: u32,
        ready: Vec<Waiting>,
        directory: &SeriesDirectory,
        told: &mut Vec<Anomaly>,
    ) {
        for mut waiting in ready {
            waiting.event.related = self.related(resource, &waiting, directory);
            tell_related(&mut waiting.event);
            told.push(waiting.event);
        }
    }

    /// The moves that belong to an event, the strongest first.
    fn related(
        &self,
        resource: u32,
        waiting: &Waiting,
        directory: &SeriesDirectory,
    ) -> Vec<Related> {
        let mut moves: Vec<&Move> = self
            .moves
            .get(&resource)
            .into_iter()
            .flatten()
            .filter(|known| {
                known.series != waiting.series
                    && known.since <= waiting.time
                    && known.since >= waiting.time.saturating_sub(LEAD_MAX)
            })
            .collect();
        let id = |known: &Move| directory[known.series as usize].id;
        moves.sort_by(|a, b| {
            let by_score = b.score.total_cmp(&a.score);
            by_score.then(a.since.cmp(&b.since)).then(id(a).cmp(&id(b)))
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
mod tests {
    use std::sync::Arc;

    use schemas::{AnomalyKind, Kind, Labels, Series};

    use super::*;

    const NOW: Micros = 1_000 * MINUTE;

    fn directory() -> SeriesDirectory {
        ["load", "disk", "net", "mem", "cpu", "io", "swap", "fd"]
            .into_iter()
            .map(|metric| {
                let labels = Labels::try_new([("host.name", "web-1"), ("device", metric)]);
                Arc::new(Series::new(metric, labels.unwrap(), Kind::Gauge))
            })
            .collect()
    }

    fn event() -> Anomaly {
        let series = &directory()[0];
        Anomaly {
            event_id: "e".to_owned(),
            kind: AnomalyKind::Point,
            series_id: series.id,
            metric: series.metric.to_string(),
            labels: series.labels.clone(),
            window_start: String::new(),
            window_end: String::new(),
            time: String::new(),
            observed: Some(9.0),
            expected: 1.0,
            lower: 0.0,
            upper: 2.0,
            raw_score: 8.0,
            score: 1.5,
            direction: Direction::High,
            votes: Vec::new(),
            trust: 1.0,
            completeness: 1.0,
            related: Vec::new(),
            contributions: Vec::new(),
            explanation: "load was 9".to_owned(),
        }
    }

    fn unusual(series: u32, time: Micros, score: f64) -> Unusual {
        Unusual {
            resource: 0,
            series,
            time,
            score,
            direction: Direction::High,
            interval: 10_000_000,
        }
    }

    /// What is told of an event of series 0 at `NOW` after these scores, as (series, seconds, score).
    fn told(scores: &[(u32, i64, f64)]) -> (Vec<(String, f64, f64)>, String) {
        let mut correlation = Correlation::default();
        for (series, seconds, score) in scores {
            correlation.note(unusual(*series, NOW + seconds * SECOND, *score));
        }
        correlation.wait(0, 0, NOW, event());
        let mut told = Vec::new();
        correlation.end_record(NOW + 1, &directory(), &mut told);
        assert!(!correlation.is_waiting());
        let event = told.pop().unwrap();
        let related = event.related.into_iter();
        (
            related
                .map(|related| (related.metric, related.lag_s, related.score))
                .collect(),
            event.explanation,
        )
    }

    #[test]
    fn what_moved_before_is_named_the_strongest_first() {
        let (related, sentence) = told(&[(1, -40, 0.9), (2, 0, 3.0), (3, -200, 0.7), (0, 0, 1.5)]);
        assert_eq!(
            related,
            [
                ("net".to_owned(), 0.0, 3.0),
                ("disk".to_owned(), -40.0, 0.9),
                ("mem".to_owned(), -200.0, 0.7)
            ]
        );
        assert_eq!(
            sentence,
            "load was 9; also moved: net (device=net), disk (device=disk) 40 s earlier, mem (device=mem) 3 min earlier"
        );
    }

    #[test]
    fn alone_is_alone() {
        // Itself, another resource's time, after it, long before it.
        let (related, sentence) = told(&[(0, -10, 2.0), (1, 10, 2.0), (2, -301, 2.0)]);
        assert_eq!((related, sentence.as_str()), (vec![], "load was 9"));
        let mut correlation = Correlation::default();
        correlation.note(Unusual {
            resource: 1,
            ..unusual(1, NOW, 2.0)
        });
        correlation.wait(0, 0, NOW, event());
        let mut told = Vec::new();
        correlation.end_record(NOW + 1, &directory(), &mut told);
        assert!(told[0].related.is_empty());
    }

    #[test]
    fn a_lasting_move_is_named_once_from_its_beginning() {
        let (related, _) = told(&[
            (1, -60, 0.7),
            (1, -50, 2.0),
            (1, -30, 0.8),
            (2, -120, 0.9),
            (2, -10, 0.8),
        ]);
        // The second one paused for longer than two of its intervals.
        assert_eq!(
            related,
            [
                ("disk".to_owned(), -60.0, 2.0),
                ("net".to_owned(), -10.0, 0.8)
            ]
        );
        // What has been unusual for long did not move now.
        let long: Vec<_> = (0..100).map(|i| (1, -1000 + 10 * i, 2.0)).collect();
        assert_eq!(told(&long).0, []);
    }

    #[test]
    fn five_are_named_and_the_order_of_equals_does_not_depend_on_arrival() {
        let mut scores: Vec<_> = (1..8).map(|series| (series, 0, 1.25)).collect();
        let first = told(&scores).0;
        scores.reverse();
        assert_eq!((told(&scores).0, first.len()), (first, 5));
    }

    #[test]
    fn an_event_waits_for_the_samples_of_its_time() {
        let (mut correlation, mut told) = (Correlation::default(), Vec::new());
        correlation.wait(0, 0, NOW, event());
        correlation.end_record(NOW, &directory(), &mut told);
        correlation.before(0, NOW, &directory(), &mut told);
        correlation.before(1, NOW + 1, &directory(), &mut told);
        assert!(told.is_empty() && correlation.is_waiting());
        // A snapshot in between changes nothing.
        let bytes = postcard::to_stdvec(&correlation).unwrap();
        let mut correlation: Correlation = postcard::from_bytes(&bytes).unwrap();
        correlation.note(unusual(1, NOW, 2.0));
        correlation.before(0, NOW + 1, &directory(), &mut told);
        assert_eq!((told.len(), told[0].related.len()), (1, 1));
    }

    #[test]
    fn memory_is_bounded_and_ends() {
        let mut correlation = Correlation::default();
        for series in 0..10_000 {
            correlation.note(unusual(series, NOW, 1.0 + f64::from(series)));
        }
        let kept = &correlation.moves[&0];
        assert_eq!(kept.len(), MOVES_MAX);
        assert!(kept.iter().all(|known| known.score > 9_000.0));
        correlation.prune(NOW + 10 * MINUTE);
        assert!(!correlation.moves.is_empty());
        correlation.prune(NOW + 11 * MINUTE);
        assert!(correlation.moves.is_empty());
    }
}
