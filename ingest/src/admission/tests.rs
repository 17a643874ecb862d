//! Tests of admission through a batcher: what is stored, folded and refused, and that nothing of it is lost or counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::Kind;
use schemas::time::{MINUTE, SECOND};

use super::*;
use crate::door::{Batcher, Place, TimeUnit};
use crate::memory_bus::{Row, rows_of_all};

mod own;

/// The time at which the tests' admissions have been running for a day.
const NOW: Micros = 1_700_000_000 * SECOND;
const STARTED: Micros = NOW - 86_400 * SECOND;

fn limits() -> SeriesLimits {
    SeriesLimits {
        values_max: 10,
        ..SeriesLimits::default()
    }
}

fn admission(limits: SeriesLimits) -> Arc<Admission> {
    let admission = Arc::new(Admission::new(limits, STARTED));
    admission.pass(NOW);
    admission
}

fn door(admission: &Arc<Admission>) -> Batcher {
    Batcher::new(2, 1 << 20, 1_000_000).with_admission(Arc::clone(admission))
}

type Sample<'a> = (&'a str, Vec<(&'a str, String)>, Micros, f64);

/// Sends samples as one request of a sender at a time; what is in the log then, and what was said of the refused ones.
fn send(
    door: &mut Batcher,
    sender: &str,
    now: Micros,
    samples: &[Sample<'_>],
) -> (Vec<Row>, Vec<String>) {
    send_as(door, &Sender::new(sender), now, samples)
}

/// The same of a sender that may have limits of its own.
fn send_as(
    door: &mut Batcher,
    sender: &Sender,
    now: Micros,
    samples: &[Sample<'_>],
) -> (Vec<Row>, Vec<String>) {
    door.begin(sender, now);
    for (metric, labels, time, value) in samples {
        let metric = door.metric(metric).unwrap();
        let labels = Labels::try_new(labels.iter().cloned()).unwrap();
        let labels = door.label_set(labels).unwrap();
        let (unit, place) = (TimeUnit::Microseconds, Place::Collected);
        door.push(metric, labels, None, *time, unit, *value, place)
            .unwrap();
    }
    let (records, rejections) = door.finish().unwrap();
    let told = rejections.first().iter().map(|r| r.reason.to_string());
    (rows_of_all(&records), told.collect())
}

/// A sample of each user, all at one time.
fn users(range: std::ops::Range<usize>, time: Micros) -> Vec<Sample<'static>> {
    range
        .map(|user| {
            let labels = vec![("host", "a".to_owned()), ("user", format!("u{user}"))];
            ("requests_total", labels, time, user as f64)
        })
        .collect()
}

fn label_sets(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.1.as_str()).collect()
}

#[test]
fn new_values_beyond_the_budget_are_folded_and_every_sample_counts() {
    let admission = admission(limits());
    let mut door = door(&admission);
    let time = NOW + 3 * SECOND;
    // In two requests, as a sender that has many does, all at one time.
    let (mut rows, refused) = send(&mut door, "a", NOW, &users(0..30, time));
    rows.extend(send(&mut door, "a", NOW, &users(30..500, time)).0);
    assert_eq!(refused, Vec::<String>::new());
    let other = r#"{host="a",user="__other__"}"#;
    assert_eq!(label_sets(&rows).len(), 11);
    let folded: Vec<&Row> = rows.iter().filter(|row| row.1 == other).collect();
    assert_eq!(folded.len(), 490);
    assert!(folded.iter().all(|row| row.2 == Kind::Gauge as u8));
    assert!(
        rows.iter()
            .filter(|row| row.1 != other)
            .all(|row| row.2 == Kind::Counter as u8 && row.3 == time)
    );
    // Nothing takes the place of anything else, and all stay in their window.
    let places: BTreeSet<(&str, i64)> = rows.iter().map(|row| (row.1.as_str(), row.3)).collect();
    assert_eq!(places.len(), 500);
    assert!(
        rows.iter()
            .all(|row| (NOW..NOW + 10 * SECOND).contains(&row.3))
    );
    let sum: f64 = rows.iter().map(|row| f64::from_bits(row.4)).sum();
    assert_eq!(sum, (0..500).sum::<usize>() as f64);

    let report = admission.report();
    assert_eq!((report.active_series, report.folded_samples), (11, 490));
    let [label] = &report.folded[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (label.metric.as_str(), label.label.as_str(), label.values),
        ("requests_total", "user", 10)
    );
    assert_eq!(label.examples, ["u7", "u8", "u9"]);
    assert_eq!((label.sender.as_str(), label.since), ("a", NOW));
    assert_eq!(report.widest[0].values, 10);
    assert_eq!(admission.counts(), (11, 1));
}

#[test]
fn a_label_that_names_a_resource_may_have_more_values() {
    let admission = admission(SeriesLimits {
        resource_values_max: 25,
        ..limits()
    });
    let mut door = door(&admission);
    let mut sent = |label: &'static str, other: Option<&'static str>| {
        let samples: Vec<Sample<'_>> = (0..40)
            .map(|number| {
                let mut labels = vec![(label, format!("v{number}"))];
                labels.extend(other.map(|other| (other, "x".to_owned())));
                ("m", labels, NOW, 1.0)
            })
            .collect();
        label_sets(&send(&mut door, "a", NOW, &samples).0).len()
    };
    assert_eq!(sent("user", None), 11);
    assert_eq!(sent("host.name", None), 26);
    // It names the resource only where nothing better does.
    assert_eq!(sent("instance", Some("service.name")), 11);
}

#[test]
fn what_is_sent_again_is_stored_at_the_same_places() {
    let time = NOW + 3 * SECOND;
    let all = users(0..300, time);
    let stored = |requests: &[&[Sample<'static>]]| {
        let admission = admission(limits());
        let mut door = door(&admission);
        let mut places = BTreeMap::new();
        // The label is folded before.
        send(&mut door, "a", NOW, &users(1_000..1_020, NOW - MINUTE));
        for request in requests {
            for row in send(&mut door, "a", NOW, request).0 {
                places.insert((row.1, row.3), row.4);
            }
        }
        places
    };
    let once = stored(&[&all]);
    assert_eq!(once.len(), 300);
    assert_eq!(stored(&[&all, &all]), once, "a retry");
    assert_eq!(
        stored(&[&all[..100], &all]),
        once,
        "a retry in other batches"
    );
    // By a process that has forgotten all, as after a crash: but for samples that had to make way, of which there are none among so few.
    assert_eq!(stored(&[&all[150..], &all[..150]]), once);
}

#[test]
fn known_series_and_other_labels_go_on_as_they_were() {
    let admission = admission(limits());
    let mut door = door(&admission);
    let of = |user: usize| users(user..user + 1, NOW);
    send(&mut door, "a", NOW, &users(0..40, NOW));
    // A value of before, a new host with a known and with a new user, and another metric.
    let mut samples = of(3);
    for (host, user) in [("b", "u4"), ("b", "u99")] {
        let labels = vec![("host", host.to_owned()), ("user", user.to_owned())];
        samples.push(("requests_total", labels, NOW, 1.0));
    }
    samples.push(("other_metric", vec![("user", "u98".to_owned())], NOW, 1.0));
    let (rows, _) = send(&mut door, "a", NOW, &samples);
    assert_eq!(
        label_sets(&rows),
        BTreeSet::from([
            r#"{host="a",user="u3"}"#,
            r#"{host="b",user="u4"}"#,
            r#"{host="b",user="__other__"}"#,
            r#"{user="u98"}"#,
        ])
    );
}

#[test]
fn a_folded_label_outlives_the_process_and_is_released_by_hand() {
    let before = admission(limits());
    assert_eq!(before.unsaved(), None);
    send(&mut door(&before), "a", NOW, &users(0..40, NOW));
    let saved = before.unsaved().unwrap();
    assert_eq!(before.unsaved(), None, "nothing has changed since");
    before.keep_unsaved();
    assert_eq!(before.unsaved(), Some(saved.clone()));

    let after = admission(limits());
    after.restore(&saved).unwrap();
    assert_eq!(after.report().folded, before.report().folded);
    let mut door = door(&after);
    let (rows, _) = send(&mut door, "b", NOW, &users(8..12, NOW));
    let other = r#"{host="a",user="__other__"}"#;
    assert_eq!(
        label_sets(&rows),
        BTreeSet::from([r#"{host="a",user="u8"}"#, r#"{host="a",user="u9"}"#, other])
    );
    assert!(!after.release("requests_total", "host"));
    assert!(after.release("requests_total", "user"));
    assert!(!after.release("requests_total", "user"));
    let (rows, _) = send(&mut door, "b", NOW, &users(8..12, NOW));
    assert_eq!(rows.len(), 4);
    assert!(!label_sets(&rows).contains(other), "{rows:?}");
    let empty = after.unsaved().unwrap();
    let third = admission(limits());
    third.restore(&empty).unwrap();
    assert_eq!(third.report().folded, []);
}

/// Names that differ only far behind are told in full, so that each label is released by the names that are listed.
#[test]
fn long_names_are_told_and_released_as_any_other() {
    let admission = admission(limits());
    let metrics = ["a", "b"].map(|end| format!("{}{end}", "m".repeat(1_000)));
    let label = format!("{}ß", "l".repeat(1_000));
    for metric in &metrics {
        let samples: Vec<Sample<'_>> = (0..40)
            .map(|user| {
                let labels = vec![(label.as_str(), format!("u{user}"))];
                (metric.as_str(), labels, NOW, 1.0)
            })
            .collect();
        send(&mut door(&admission), "a", NOW, &samples);
    }
    let names = |labels: Vec<FoldedLabel>| -> BTreeSet<(String, String)> {
        let named = labels.into_iter().map(|told| (told.metric, told.label));
        named.collect()
    };
    let expected = BTreeSet::from(metrics.map(|metric| (metric, label.clone())));
    let news = admission.take_news();
    let event = news[0].event(10);
    assert_eq!(event.metric, news[0].metric);
    assert!(
        event
            .explanation
            .contains(&format!("release {} {label}", event.metric))
    );
    assert_eq!(names(news), expected);
    assert_eq!(names(admission.report().folded), expected);
    for (metric, label) in &expected {
        assert!(admission.release(metric, label));
    }
    assert_eq!(admission.report().folded, []);
}

#[test]
fn damaged_files_are_refused() {
    let admission = admission(limits());
    send(&mut door(&admission), "a", NOW, &users(0..40, NOW));
    let saved = admission.unsaved().unwrap();
    for cut in [0, 5, saved.len() / 2, saved.len() - 3] {
        assert!(admission.restore(&saved[..cut]).is_err(), "{cut} bytes");
    }
    for at in 0..saved.len() - 1 {
        let mut flipped = saved.clone();
        flipped[at] ^= 4;
        assert!(admission.restore(&flipped).is_err(), "byte {at}");
    }
    admission.restore(&saved).unwrap();
}

#[test]
fn a_sender_that_begins_too_many_series_hurts_no_other() {
    let admission = admission(SeriesLimits {
        sender_series_new_max: 50,
        series_new_max: 80,
        sender_series_max: 60,
        series_max: 90,
        ..SeriesLimits::default()
    });
    let mut door = door(&admission);
    let (rows, refused) = send(&mut door, "bad", NOW, &users(0..200, NOW));
    assert_eq!(rows.len(), 50);
    assert!(
        refused[0].contains("limits.sender.series_new_max"),
        "{refused:?}"
    );
    assert!(refused[0].contains("50 of bad"), "{refused:?}");
    assert_eq!(admission.hits(Limit::SenderNewSeries), 150);
    // What it brought first goes on, and another sender has room.
    let known = send(&mut door, "bad", NOW, &users(0..50, NOW + SECOND));
    assert_eq!((known.0.len(), known.1.len()), (50, 0));
    let (rows, refused) = send(&mut door, "good", NOW, &users(1_000..1_040, NOW));
    assert_eq!(rows.len(), 30);
    assert!(
        refused[0].contains("`limits.series_new_max`"),
        "{refused:?}"
    );
    // A minute later, up to what may be active.
    let (rows, refused) = send(&mut door, "bad", NOW + MINUTE, &users(50..200, NOW));
    assert_eq!(rows.len(), 10);
    assert!(refused[0].contains("60 of bad are active"), "{refused:?}");
    let (rows, refused) = send(&mut door, "third", NOW + MINUTE, &users(2_000..2_100, NOW));
    assert_eq!(rows.len(), 0);
    assert!(refused[0].contains("90 are active"), "{refused:?}");
    let senders = admission.report().senders;
    assert_eq!(
        (senders[0].sender.as_str(), senders[0].active_series),
        ("bad", 60)
    );
    assert_eq!(
        (senders[1].sender.as_str(), senders[1].active_series),
        ("good", 30)
    );
}

#[test]
fn refused_series_leave_nothing_behind_and_silent_ones_make_room() {
    let admission = admission(SeriesLimits {
        series_max: 20,
        values_max: 30,
        ..SeriesLimits::default()
    });
    let mut door = door(&admission);
    assert_eq!(send(&mut door, "a", NOW, &users(0..500, NOW)).0.len(), 20);
    let widest = admission.report().widest;
    assert_eq!((widest[0].label.as_str(), widest[0].values), ("user", 20));
    assert_eq!(admission.counts(), (20, 0));
    // Half of them go on: after an hour the others are forgotten.
    for minutes in 1..=61 {
        admission.pass(NOW + minutes * MINUTE);
        send(&mut door, "a", NOW + minutes * MINUTE, &users(0..10, NOW));
    }
    assert_eq!(admission.counts(), (10, 0));
    assert_eq!(admission.report().widest[0].values, 10);
    let later = NOW + 62 * MINUTE;
    let (rows, refused) = send(&mut door, "a", later, &users(100..115, later));
    assert_eq!((rows.len(), refused.len()), (10, 5));
    // All silent: everything is forgotten, also the sender.
    admission.pass(later + 2 * 60 * MINUTE);
    drop(door);
    admission.pass(later + 3 * 60 * MINUTE);
    assert_eq!(admission.report(), AdmissionReport::default());
}

#[test]
fn right_after_a_first_start_more_series_may_begin_but_not_without_end() {
    let limits = SeriesLimits {
        sender_series_new_max: 5,
        series_new_max: 8,
        sender_series_first_max: 40,
        series_first_max: 60,
        ..SeriesLimits::default()
    };
    let start = || Arc::new(Admission::new(limits, NOW));
    let admission = start();
    let mut door = door(&admission);
    let mut taken = |sender: &str, after: Micros, users: Vec<Sample<'static>>| {
        let (rows, refused) = send(&mut door, sender, NOW + after, &users);
        (rows.len(), refused.into_iter().next().unwrap_or_default())
    };
    let (count, told) = taken("a", SECOND, users(0..60, NOW));
    assert_eq!(count, 45);
    for part in [
        "40 of a have begun since this first start",
        "`limits.sender.series_first_max`",
        "in any minute, 5",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(admission.hits(Limit::SenderFirstSeries), 15);
    // Others have room; what is left of all senders' is less than what is left of this one's.
    let (count, told) = taken("b", SECOND, users(100..160, NOW));
    assert_eq!(count, 23);
    assert!(
        told.contains("60 have begun") && told.contains("`limits.series_first_max`"),
        "{told}"
    );
    // The next minute is as any other, and so is all that comes after five.
    assert_eq!(taken("a", SECOND + MINUTE, users(60..80, NOW)).0, 5);
    let (count, told) = taken("c", 6 * MINUTE, users(200..220, NOW));
    assert_eq!(count, 5);
    assert!(told.contains("`limits.sender.series_new_max`"), "{told}");

    let late = start();
    let (rows, _) = send(
        &mut self::door(&late),
        "a",
        NOW + 6 * MINUTE,
        &users(0..60, NOW),
    );
    assert_eq!(rows.len(), 5, "five minutes are over");
}

#[test]
fn a_restarted_process_knows_its_series_and_counts_new_ones_at_once() {
    let limits = SeriesLimits {
        sender_series_new_max: 5,
        ..SeriesLimits::default()
    };
    let first = Arc::new(Admission::new(limits, NOW));
    assert_eq!(first.unsaved_series(), None, "there is nothing to save");
    send(&mut door(&first), "a", NOW, &users(0..100, NOW));
    let saved = first.unsaved_series().unwrap();
    assert_eq!(first.unsaved_series(), None, "nothing has changed since");
    send(&mut door(&first), "a", NOW, &users(100..110, NOW));
    assert_eq!(first.unsaved_series(), None, "too little has");
    first.keep_unsaved_series();
    assert!(first.unsaved_series().unwrap().len() > saved.len());

    let start = NOW + MINUTE;
    let second = Arc::new(Admission::new(limits, start));
    second.restore_series(&saved).unwrap();
    let mut door = door(&second);
    // All come again, from another sender than before and within a second; of the new ones those that the limit allows.
    let (rows, refused) = send(&mut door, "b", start, &users(0..130, NOW));
    assert_eq!((rows.len(), refused[0].contains("5 of b")), (105, true));
    assert_eq!(second.hits(Limit::SenderNewSeries), 25);
    assert_eq!(second.report().senders[0].active_series, 105);
    // Who crashes again before all are back has lost nothing.
    let third = Arc::new(Admission::new(limits, start));
    third.restore_series(&saved).unwrap();
    send(&mut self::door(&third), "b", start, &users(0..3, NOW));
    third.keep_unsaved_series();
    assert_eq!(third.unsaved_series(), Some(saved.clone()));
    // Whoever stays away is new after an hour.
    third.pass(start + 60 * MINUTE);
    let (rows, _) = send(
        &mut self::door(&third),
        "b",
        start + 60 * MINUTE,
        &users(0..50, NOW),
    );
    assert_eq!(rows.len(), 5, "all are silent for an hour");

    for cut in [0, 5, 40, saved.len() - 1] {
        assert!(second.restore_series(&saved[..cut]).is_err(), "{cut} bytes");
    }
    for at in 0..saved.len() {
        let mut flipped = saved.clone();
        flipped[at] ^= 4;
        assert!(second.restore_series(&flipped).is_err(), "byte {at}");
    }
}

#[test]
fn labels_beyond_the_limits_are_refused_with_their_names() {
    let admission = admission(SeriesLimits {
        labels_max: 3,
        label_name_bytes_max: 10,
        label_value_bytes_max: 20,
        ..SeriesLimits::default()
    });
    let mut door = door(&admission);
    let labels = |count: usize| -> Vec<(&'static str, String)> {
        ["a", "b", "c", "d", "e"][..count]
            .iter()
            .map(|name| (*name, "v".to_owned()))
            .collect()
    };
    let samples = [
        ("taken", labels(3), NOW, 1.0),
        ("many", labels(4), NOW, 1.0),
        ("name", vec![("long_label_name", "v".to_owned())], NOW, 1.0),
        ("value", vec![("user", "v".repeat(21))], NOW, 1.0),
    ];
    let (rows, refused) = send(&mut door, "a", NOW, &samples);
    assert_eq!(rows.len(), 1);
    for (told, parts) in refused.iter().zip([
        ["4 labels", "`limits.labels_max` allows 3"],
        [
            "`long_label_name…` has 15",
            "`limits.label_name_max` allows 10",
        ],
        ["label `user` has 21", "`limits.label_value_max` allows 20"],
    ]) {
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }
    assert_eq!(admission.hits(Limit::LabelValue), 1);
    assert_eq!(admission.counts().0, 1);
}

/// A memory that forgets all the time gives the same records as one that never does, also where labels are folded.
#[test]
fn forgetting_changes_nothing() {
    let stored = |memo_bytes| {
        let admission = admission(limits());
        let mut door =
            Batcher::new(2, memo_bytes, 1_000_000).with_admission(Arc::clone(&admission));
        let mut rows = Vec::new();
        for round in 0..4 {
            let time = NOW + round * SECOND;
            rows.extend(send(&mut door, "a", time, &users(0..60, time)).0);
        }
        (rows, admission.report().folded)
    };
    assert_eq!(stored(0), stored(1 << 20));
    assert_eq!(stored(700), stored(1 << 20));
}

/// An attack, scaled: what is remembered of it is bounded, and the reason that is told is the sender's.
#[test]
fn an_attack_stays_within_its_bounds() {
    let admission = admission(SeriesLimits {
        values_max: 500,
        sender_series_new_max: 2_000,
        ..SeriesLimits::default()
    });
    let mut door = door(&admission);
    let mut stored = 0;
    for round in 0..20 {
        let samples: Vec<Sample<'_>> = (0..1_000)
            .map(|number| {
                let labels = vec![
                    ("id", format!("{round}-{number}")),
                    ("path", format!("/{}", number % 7)),
                ];
                ("attack", labels, NOW, 1.0)
            })
            .collect();
        let (rows, refused) = send(&mut door, "bad", NOW, &samples);
        stored += rows.len();
        assert_eq!(refused, Vec::<String>::new());
    }
    assert_eq!(stored, 20_000, "all is stored, almost all of it folded");
    // 500 as they came and one `__other__` for each path.
    assert_eq!(admission.counts(), (507, 1));
    // Another sender begins series as if nothing had happened.
    let (rows, refused) = send(&mut door, "good", NOW, &users(0..400, NOW));
    assert_eq!((rows.len(), refused.len()), (400, 0));
}
