//! Tests of limits that are one sender's own: each holds for who has it and for nobody else, and all together are bounded as before.

use rstest::rstest;

use super::*;
use crate::door::TooManySamples;

const SECTION: &str = "limits.tokens.small";

/// A token with limits of its own.
fn token(limits: &[(Limit, usize)]) -> Sender {
    let own = OwnLimits::new(SECTION, limits.iter().copied());
    Sender::new("token small").with_limits(Arc::new(own))
}

/// A token that inherits all of its limits.
fn plain() -> Sender {
    let own = OwnLimits::new("limits.tokens.plain", []);
    Sender::new("token plain").with_limits(Arc::new(own))
}

fn labelled(metric: &'static str, names: &[&'static str], value: &str) -> Sample<'static> {
    let labels = names.iter().map(|name| (*name, value.to_owned()));
    (metric, labels.collect(), NOW, 1.0)
}

/// All limits of series and labels, such that what `samples_of` makes passes by one.
fn tight() -> SeriesLimits {
    SeriesLimits {
        labels_max: 2,
        label_name_bytes_max: 8,
        label_value_bytes_max: 8,
        sender_series_max: 20,
        sender_series_new_max: 20,
        ..SeriesLimits::default()
    }
}

/// Samples that meet a limit at these values, all but the last of them within it.
fn samples_of(limit: Limit, max: usize) -> Vec<Sample<'static>> {
    match limit {
        Limit::Labels => vec![labelled("m", &["a", "b", "c", "d", "e", "f"][..=max], "v")],
        Limit::LabelName => vec![labelled("m", &["long_name_of_label"], "v")],
        Limit::LabelValue => vec![labelled("m", &["a"], &"v".repeat(max + 1))],
        _ => users(0..max + 1, NOW),
    }
}

#[rstest]
#[case::labels(Limit::Labels, 1, 2)]
#[case::label_name(Limit::LabelName, 6, 18)]
#[case::label_value(Limit::LabelValue, 3, 4)]
#[case::series(Limit::SenderSeries, 5, 6)]
#[case::new_series(Limit::SenderNewSeries, 5, 6)]
fn who_has_less_meets_it_and_nobody_else(
    #[case] limit: Limit,
    #[case] max: usize,
    #[case] found: usize,
) {
    let limits = match limit {
        // What the sample needs and no less.
        Limit::LabelName => SeriesLimits {
            label_name_bytes_max: found,
            ..tight()
        },
        _ => tight(),
    };
    let admission = admission(limits);
    let mut door = door(&admission);
    let samples = samples_of(limit, max);
    let (rows, refused) = send_as(&mut door, &token(&[(limit, max)]), NOW, &samples);
    assert_eq!((rows.len(), refused.len()), (samples.len() - 1, 1));
    let setting = format!("`{SECTION}.{}`", limit.key());
    for part in [setting.as_str(), &max.to_string()] {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
    assert!(!refused[0].contains("for this sender alone"));
    assert_eq!(admission.hits(limit), 1);
    let others: Vec<Sample<'_>> = samples
        .into_iter()
        .map(|(_, labels, time, value)| ("other", labels, time, value))
        .collect();
    for sender in [plain(), Sender::new("address 192.0.2.7")] {
        let (rows, refused) = send_as(&mut door, &sender, NOW, &others);
        assert_eq!((rows.len(), refused), (others.len(), Vec::new()));
    }
}

#[rstest]
#[case::labels(Limit::Labels, 2)]
#[case::label_name(Limit::LabelName, 8)]
#[case::label_value(Limit::LabelValue, 8)]
#[case::series(Limit::SenderSeries, 20)]
#[case::new_series(Limit::SenderNewSeries, 20)]
fn who_has_more_passes_what_others_meet(#[case] limit: Limit, #[case] general: usize) {
    let admission = admission(match limit {
        Limit::SenderNewSeries => SeriesLimits {
            sender_series_max: 1_000,
            ..tight()
        },
        _ => tight(),
    });
    let mut door = door(&admission);
    let samples = samples_of(limit, general);
    let (rows, refused) = send_as(&mut door, &plain(), NOW, &samples);
    assert_eq!((rows.len(), refused.len()), (samples.len() - 1, 1));
    let advice = format!(
        "; `limits.tokens.plain.{}` sets it for this sender alone",
        limit.key()
    );
    for part in [&advice, &format!("`{}`", limit.setting())] {
        assert!(refused[0].contains(part), "{}", refused[0]);
    }
    // All but one are known by now, so it is this one that its own limits let in.
    let own = [
        (limit, general + 30),
        (Limit::SenderSeries, 1_000),
        (Limit::SenderNewSeries, 1_000),
    ];
    let (rows, refused) = send_as(&mut door, &token(&own), NOW, &samples);
    assert_eq!((rows.len(), refused), (samples.len(), Vec::new()));
    let (_, refused) = send_as(&mut door, &Sender::new("address 192.0.2.7"), NOW, &samples);
    let is_of_labels = limit != Limit::SenderSeries && limit != Limit::SenderNewSeries;
    assert_eq!(refused.len(), usize::from(is_of_labels), "{refused:?}");
    assert!(!refused.iter().any(|told| told.contains("alone")));
}

#[test]
fn what_passes_from_one_sender_may_have_too_many_labels_from_the_next() {
    let admission = admission(SeriesLimits::default());
    let mut door = door(&admission);
    let small = token(&[(Limit::Labels, 1)]);
    let sample = [labelled("m", &["a", "b"], "v")];
    let mut refused = |sender: &Sender| send_as(&mut door, sender, NOW, &sample).1.len();
    // In one batcher, which remembers what became of a series.
    let turns = [
        (&plain(), 0),
        (&small, 1),
        (&small, 1),
        (&plain(), 0),
        (&small, 1),
    ];
    for (turn, (sender, expected)) in turns.into_iter().enumerate() {
        assert_eq!(refused(sender), expected, "turn {turn}");
    }
    assert_eq!(admission.hits(Limit::Labels), 3);
}

#[test]
fn a_first_start_lets_each_bring_what_it_may() {
    let limits = SeriesLimits {
        sender_series_first_max: 5,
        sender_series_new_max: 2,
        ..SeriesLimits::default()
    };
    let admission = Arc::new(Admission::new(limits, NOW));
    let mut door = door(&admission);
    let fleet = token(&[(Limit::SenderFirstSeries, 50)]);
    let (rows, refused) = send_as(&mut door, &fleet, NOW, &users(0..60, NOW));
    assert_eq!(rows.len(), 52);
    for part in [
        "50 of token small have begun",
        "`limits.tokens.small.series_first_max`",
        "any minute, 2 (`limits.sender.series_new_max`)",
        "the others follow by themselves, 2 a minute",
    ] {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
    let (rows, refused) = send_as(&mut door, &plain(), NOW, &users(100..160, NOW));
    assert_eq!(rows.len(), 7);
    let advice = "; `limits.tokens.plain.series_first_max` sets it for this sender alone";
    assert!(refused[0].ends_with(advice), "{}", refused[0]);
}

#[test]
fn all_together_are_bounded_whatever_one_may() {
    let much = [
        (Limit::SenderSeries, 1_000),
        (Limit::SenderNewSeries, 1_000),
        (Limit::SenderFirstSeries, 1_000),
    ];
    for (limits, limit) in [
        (
            SeriesLimits {
                series_max: 30,
                ..SeriesLimits::default()
            },
            Limit::Series,
        ),
        (
            SeriesLimits {
                series_new_max: 30,
                ..SeriesLimits::default()
            },
            Limit::NewSeries,
        ),
    ] {
        let admission = admission(limits);
        let mut door = door(&admission);
        let (rows, refused) = send_as(&mut door, &token(&much), NOW, &users(0..100, NOW));
        assert_eq!((rows.len(), admission.counts().0), (30, 30));
        // It is nobody's own, so nobody is told that it could be.
        assert!(refused[0].contains(&format!("`{}`", limit.setting())));
        assert!(!refused[0].contains(SECTION), "{}", refused[0]);
    }
}

#[test]
fn a_request_may_hold_as_many_samples_as_its_sender() {
    let admission = admission(SeriesLimits::default());
    let mut door = Batcher::new(2, 1 << 20, 20).with_admission(Arc::clone(&admission));
    let mut taken = |sender: &Sender| {
        door.begin(sender, NOW);
        let metric = door.metric("m").unwrap();
        let labels = door.label_set(Labels::empty()).unwrap();
        let mut push = |time| {
            let (unit, place) = (TimeUnit::Microseconds, Place::Collected);
            door.push(metric, labels, None, NOW + time, unit, 1.0, place)
        };
        let refused = (0..100).find_map(|time| push(time).err());
        door.discard();
        refused
    };
    assert_eq!(taken(&plain()), Some(TooManySamples(20)));
    let small = token(&[(Limit::Samples, 7)]);
    assert_eq!(taken(&small), Some(TooManySamples(7)));
    assert_eq!(taken(&Sender::new("x")), Some(TooManySamples(20)));
    let large = OwnLimits::new("limits.tokens.large", [(Limit::Samples, 200)]);
    let large = Sender::new("token large").with_limits(Arc::new(large));
    assert_eq!(taken(&large), None);
}

#[test]
fn a_report_tells_what_each_may_have() {
    let admission = admission(tight());
    let mut door = door(&admission);
    let small = token(&[(Limit::SenderSeries, 5), (Limit::Body, 1024)]);
    send_as(&mut door, &small, NOW, &users(0..3, NOW));
    send_as(&mut door, &plain(), NOW, &users(10..20, NOW));
    let [plain, small] = &admission.report().senders[..] else {
        panic!("{:?}", admission.report())
    };
    assert_eq!((plain.active_series, plain.series_max), (10, 20));
    assert_eq!((&plain.section, plain.own_limits.len()), (&None, 0));
    assert_eq!((small.active_series, small.series_max), (3, 5));
    assert_eq!(small.section.as_deref(), Some(SECTION));
    let own: Vec<(&str, usize)> = small
        .own_limits
        .iter()
        .map(|(key, max)| (key.as_str(), *max))
        .collect();
    assert_eq!(own, [("body_max", 1024), ("series_max", 5)]);
}
