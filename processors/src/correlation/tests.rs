//! What is named with an event, in which order, and what is not; and that memory stays bounded.

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

pub(crate) fn event() -> Anomaly {
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
        alarm: true,
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
        service: None,
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
        correlation.note(Unusual {
            service: ServiceKey::of(&Labels::try_new([("job", "web")]).unwrap()),
            ..unusual(series, NOW, 1.0 + f64::from(series))
        });
    }
    assert!(
        correlation
            .of_services
            .values()
            .all(|moves| moves.len() == MOVES_MAX)
    );
    let kept = &correlation.moves[&0];
    assert_eq!(kept.len(), MOVES_MAX);
    assert!(kept.iter().all(|known| known.score > 9_000.0));
    correlation.prune(NOW + 10 * MINUTE);
    assert!(!correlation.moves.is_empty());
    correlation.prune(NOW + 11 * MINUTE);
    assert!(correlation.moves.is_empty() && correlation.of_services.is_empty());
}

#[test]
fn others_of_the_service_are_named_after_its_own_unless_they_are_much_stronger() {
    let shop = ServiceKey::of(&Labels::try_new([("service.name", "shop")]).unwrap());
    let of = |resource: u32, series: u32, service, score: f64| Unusual {
        resource,
        service,
        ..unusual(series, NOW - 20 * SECOND, score)
    };
    let mut correlation = Correlation::default();
    for moved in [
        of(0, 1, shop, 1.2),
        of(1, 2, shop, 2.0),
        of(2, 3, shop, 3.0),
        of(3, 4, None, 9.0),
        of(
            4,
            5,
            ServiceKey::of(&Labels::try_new([("app", "cart")]).unwrap()),
            9.0,
        ),
    ] {
        correlation.note(moved);
    }
    let mut waiting = event();
    waiting.labels = Labels::try_new([("host.name", "web-1"), ("service.name", "shop")]).unwrap();
    correlation.wait(0, 0, NOW, waiting);
    // A snapshot in between changes nothing.
    let bytes = postcard::to_stdvec(&correlation).unwrap();
    let mut correlation: Correlation = postcard::from_bytes(&bytes).unwrap();
    let mut told = Vec::new();
    correlation.end_record(NOW + 1, &directory(), &mut told);
    let related: Vec<&str> = told[0].related.iter().map(|r| r.metric.as_str()).collect();
    assert_eq!(related, ["mem", "disk", "net"]);
    // Whose service nobody named has its own alone.
    correlation.wait(3, 0, NOW, event());
    correlation.end_record(NOW + 1, &directory(), &mut told);
    let related: Vec<&str> = told[1].related.iter().map(|r| r.metric.as_str()).collect();
    assert_eq!(related, ["cpu"]);
}
