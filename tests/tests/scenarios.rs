//! What the stream operators promise, as scenarios: each run plain, with a checkpoint after every record, with a crash after every step, on both logs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bus::Bus;
use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::kafka::{KafkaBus, KafkaOptions};
use tests::scenario::{Scenario, Stage};

fn check(name: &str, text: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let scenario = Scenario::parse(text);
        let directory = tempfile::tempdir().unwrap();
        let embedded: Arc<dyn Bus> =
            EmbeddedBus::open(&directory.path().join("log"), EmbeddedOptions::default()).unwrap();
        let play =
            async |bus: &Arc<dyn Bus>, scenario: &Scenario, run: String, commit_samples: usize| {
                let stage = Stage {
                    bus: Arc::clone(bus),
                    directory: directory.path().join(&run),
                    run,
                    commit_samples,
                };
                scenario.run(&stage).await;
            };
        play(&embedded, &scenario, format!("{name}-plain"), usize::MAX).await;
        play(&embedded, &scenario, format!("{name}-every-record"), 1).await;
        for boundary in 0..scenario.boundaries() {
            let commit_samples = if boundary % 2 == 0 { usize::MAX } else { 1 };
            let crashing = scenario.crashing_after(|step| step == boundary);
            play(
                &embedded,
                &crashing,
                format!("{name}-crash-{boundary}"),
                commit_samples,
            )
            .await;
        }
        if let Some(brokers) = tests::kafka::kafka_for_tests() {
            let kafka: Arc<dyn Bus> = KafkaBus::connect(KafkaOptions::new(&brokers)).unwrap();
            let unique = std::process::id();
            play(&kafka, &scenario, format!("{name}-kafka-{unique}"), 1).await;
            play(
                &kafka,
                &scenario.crashing_after(|_| true),
                format!("{name}-kafka-crashes-{unique}"),
                usize::MAX,
            )
            .await;
        }
    });
}

#[test]
fn c3_an_event_keeps_its_id_whatever_happens() {
    use std::fmt::Write as _;
    let mut text = String::from("send cpu{host=a}");
    for i in 0..60 {
        write!(text, " {}s:{}", i * 10, 10 + i % 3).unwrap();
    }
    text.push_str(
        "
        at 600s
        send cpu{host=a} 600s:1000
        send cpu{host=b} 600s:1
        tick 20m
        expect anomalies 1
        expect samples 62",
    );
    check("c3_an_event_keeps_its_id_whatever_happens", &text);
}

/// Three days of hours of a load and of a disk that fills; the last ones one record each.
#[test]
fn c3_forecasts_and_their_scores_are_there_once_whatever_happens() {
    use std::fmt::Write as _;
    let mut text = String::from("future 4d");
    let hours = |text: &mut String, from: i64, to: i64| {
        for (series, first, slope) in [
            ("load{host=a}", 10, 0),
            ("disk_used_percent{host=a}", 20, 1),
        ] {
            write!(text, " {series}").unwrap();
            for hour in from..to {
                write!(text, " {hour}h:{}", first + slope * hour + hour % 5).unwrap();
            }
            if slope == 0 {
                text.push_str(" |");
            }
        }
    };
    for (from, to) in [(0, 30), (30, 48), (48, 60), (60, 61), (61, 66), (66, 72)] {
        text.push_str("\nsend");
        hours(&mut text, from, to);
    }
    // Of each series every six hours from the second day on, three horizons; the disk's time to full every six hours to hourly, the nearer it comes.
    text.push_str("\nexpect samples 144\nexpect forecasts 67\nexpect forecast_scores 77");
    check(
        "c3_forecasts_and_their_scores_are_there_once_whatever_happens",
        &text,
    );
}

macro_rules! scenarios {
    ($($name:ident: $text:literal)*) => { $(#[test] fn $name() { check(stringify!($name), $text); })* };
}

scenarios! {
    a_window_is_folded_and_sealed: "
        send cpu{host=a} 0s:1 3s:3 12s:5
        tick 150s
        expect rollup 10s cpu{host=a} 0s count=2 sum=4 min=1 max=3 first=1 last=3 sum_squares=10 rate=none revision=0
        expect rollup 10s cpu{host=a} 10s count=1 sum=5
        expect no rollup 1m cpu{host=a} 0s
        expect samples 3
        expect counts read=3 accepted=3"
    an_open_window_is_not_sealed_by_samples: "
        send cpu{host=a} 0s:1
        send cpu{host=a} 300s:2
        expect no rollup 10s cpu{host=a} 0s
        expect samples 2"
    c2_the_same_batch_again_at_once: "
        send cpu{host=a} 0s:1 3s:3
        send cpu{host=a} 0s:1 3s:3
        tick 150s
        expect rollup 10s cpu{host=a} 0s count=2 sum=4 revision=0
        expect counts read=4 accepted=2 duplicate=2
        expect samples 2"
    c2_the_same_batch_again_after_a_minute: "
        send cpu{host=a} 0s:1 3s:3
        at 60s
        send cpu{host=a} 0s:1 3s:3
        tick 200s
        expect rollup 10s cpu{host=a} 0s count=2 sum=4 revision=0
        expect counts accepted=2 duplicate=2"
    c2_the_same_batch_again_after_a_checkpoint: "
        send cpu{host=a} 0s:1 3s:3
        checkpoint
        at 30s
        send cpu{host=a} 0s:1 3s:3
        tick 200s
        expect rollup 10s cpu{host=a} 0s count=2 sum=4 revision=0
        expect counts accepted=2 duplicate=2
        expect samples 2"
    c2_the_same_batch_again_after_an_hour: "
        send cpu{host=a} 0s:1 3s:3
        at 1h
        send cpu{host=a} 0s:1 3s:3
        tick 2h
        expect rollup 10s cpu{host=a} 0s count=2 sum=4 revision=0
        expect rollup 1h cpu{host=a} 0s count=2 sum=4 revision=0
        expect counts accepted=2 duplicate=2 revised=0
        expect samples 2"
    c2_another_value_at_once_wins: "
        send cpu{host=a} 0s:1 3s:3
        send cpu{host=a} 3s:30
        tick 150s
        expect sample cpu{host=a} 3s = 30
        expect rollup 10s cpu{host=a} 0s count=2 sum=31 max=30 revision=0
        expect counts accepted=3 replaced=1
        expect samples 2"
    c2_another_value_after_a_checkpoint_wins: "
        send cpu{host=a} 0s:1 3s:3
        checkpoint
        at 20s
        send cpu{host=a} 3s:30
        tick 150s
        expect sample cpu{host=a} 3s = 30
        expect rollup 10s cpu{host=a} 0s count=2 sum=31 revision=0
        expect samples 2"
    c2_another_value_after_an_hour_wins_in_every_rollup: "
        send cpu{host=a} 0s:1 3s:3
        at 1h
        tick 65m
        checkpoint
        send cpu{host=a} 3s:30
        tick 70m
        expect sample cpu{host=a} 3s = 30
        expect rollup 10s cpu{host=a} 0s count=2 sum=31 revision=1
        expect rollup 1m cpu{host=a} 0s count=2 sum=31 revision=1
        expect rollup 5m cpu{host=a} 0s count=2 sum=31 revision=1
        expect rollup 1h cpu{host=a} 0s count=2 sum=31 revision=1
        expect counts accepted=3 replaced=1 revised=1
        expect samples 2"
    c2_the_same_batch_again_after_a_compaction: "
        send cpu{host=a} 0s:1 3s:3
        checkpoint
        at 10m
        send cpu{host=a} 601s:5
        checkpoint
        compact
        send cpu{host=a} 0s:1 3s:3 601s:5
        tick 20m
        expect samples 3
        expect rollup 10s cpu{host=a} 0s count=2 sum=4 revision=0
        expect counts accepted=3 duplicate=3"
    c2_another_value_after_a_compaction_wins: "
        send cpu{host=a} 0s:1 3s:3
        checkpoint
        at 10m
        send cpu{host=a} 601s:5
        checkpoint
        compact
        send cpu{host=a} 3s:30
        tick 20m
        checkpoint
        expect samples 3
        expect sample cpu{host=a} 3s = 30
        expect sample cpu{host=a} 0s = 1
        expect rollup 10s cpu{host=a} 0s count=2 sum=31 revision=1
        expect rollup 5m cpu{host=a} 0s count=2 sum=31 revision=1"
    of_three_values_the_last_in_the_log_wins: "
        send cpu{host=a} 3s:1
        send cpu{host=a} 3s:2
        checkpoint
        send cpu{host=a} 3s:3
        at 10m
        send cpu{host=a} 3s:4
        send cpu{host=a} 3s:5
        tick 11m
        expect sample cpu{host=a} 3s = 5
        expect rollup 10s cpu{host=a} 0s count=1 sum=5 revision=2
        expect samples 1"
    a_late_sample_revises_its_windows: "
        send cpu{host=a} 0s:1
        tick 180s
        at 200s
        send cpu{host=a} 5s:9
        tick 10m
        expect rollup 10s cpu{host=a} 0s count=2 sum=10 last=9 revision=1
        expect rollup 1m cpu{host=a} 0s count=2 sum=10 revision=1
        expect rollup 5m cpu{host=a} 0s count=2 sum=10 revision=0
        expect counts accepted=2 revised=1"
    a_late_sample_makes_a_window_that_was_not_there: "
        send cpu{host=a} 100s:1
        tick 10m
        send cpu{host=a} 5s:9
        tick 20m
        expect rollup 10s cpu{host=a} 0s count=1 sum=9 revision=1
        expect rollup 1m cpu{host=a} 0s count=1 sum=9 revision=1
        expect rollup 5m cpu{host=a} 0s count=2 sum=10 first=9 last=1 revision=1"
    two_late_samples_count_two_revisions_in_one_checkpoint_or_two: "
        send cpu{host=a} 0s:1
        tick 10m
        send cpu{host=a} 4s:2
        send cpu{host=a} 5s:3
        tick 11m
        expect rollup 10s cpu{host=a} 0s count=3 sum=6 revision=2"
    out_of_order_within_the_lateness_is_on_time: "
        send cpu{host=a} 9s:9 1s:1 5s:5
        at 100s
        send cpu{host=a} 3s:3
        tick 200s
        expect rollup 10s cpu{host=a} 0s count=4 sum=18 first=1 last=9 revision=0
        expect counts accepted=4 revised=0"
    c4_too_late_is_counted_and_left_out: "
        at 2d
        send cpu{host=a} 2d:1
        send cpu{host=a} 10m:5
        tick 49h
        expect samples 1
        expect counts accepted=1 late=1 read=2"
    c4_the_future_is_refused_and_counted: "
        send cpu{host=a} 0s:1 11m:2 10m:3
        tick 15m
        expect samples 2
        expect counts accepted=2 invalid=1"
    one_future_sample_does_not_move_time: "
        send cpu{host=a} 9m:9
        send cpu{host=a} 0s:1
        tick 150s
        expect rollup 10s cpu{host=a} 0s count=1
        expect no rollup 10s cpu{host=a} 540s"
    a_counter_has_a_rate_and_survives_a_reset: "
        send requests_total{host=a} 0s:10 2s:14 4s:2 6s:5
        tick 10m
        expect rollup 10s requests_total{host=a} 0s rate=1.5 count=4
        expect rollup 1m requests_total{host=a} 0s rate=1.5"
    idle_windows_close_through_ticks: "
        send cpu{host=a} 0s:1
        tick 2d
        expect rollup 10s cpu{host=a} 0s count=1
        expect rollup 1m cpu{host=a} 0s count=1
        expect rollup 5m cpu{host=a} 0s count=1
        expect rollup 1h cpu{host=a} 0s count=1
        expect rollup 1d cpu{host=a} 0s count=1"
    levels_merge_in_time_order: "
        send cpu{host=a} 5s:1 15s:2 65s:3
        at 310s
        send cpu{host=a} 310s:4
        tick 61m
        at 1h
        send cpu{host=a} 3605s:5
        tick 25h
        expect rollup 1m cpu{host=a} 0s count=2 sum=3 first=1 last=2
        expect rollup 5m cpu{host=a} 0s count=3 sum=6 first=1 last=3
        expect rollup 1h cpu{host=a} 0s count=4 sum=10 first=1 last=4
        expect rollup 1d cpu{host=a} 0s count=5 sum=15 first=1 last=5"
    not_finite_is_kept_and_not_folded: "
        send cpu{host=a} 0s:nan 1s:inf 2s:-0 3s:1
        tick 150s
        expect samples 4
        expect sample cpu{host=a} 0s = nan
        expect sample cpu{host=a} 2s = -0
        expect rollup 10s cpu{host=a} 0s count=2 sum=1 first=-0 last=1"
    a_window_of_nothing_finite_has_no_rollup: "
        send cpu{host=a} 0s:nan
        tick 150s
        expect samples 1
        expect no rollup 10s cpu{host=a} 0s"
    a_late_nan_takes_a_rollup_away: "
        send cpu{host=a} 0s:1
        tick 10m
        checkpoint
        send cpu{host=a} 0s:nan
        tick 11m
        expect sample cpu{host=a} 0s = nan
        expect no rollup 10s cpu{host=a} 0s
        expect no rollup 1m cpu{host=a} 0s"
    partitions_keep_their_own_time: "
        send p1 cpu{host=b} 0s:7
        send cpu{host=a} 0s:1
        tick 10m
        expect rollup 10s cpu{host=a} 0s count=1
        expect no rollup 10s cpu{host=b} 0s
        expect samples 2"
    c4_what_is_no_batch_goes_to_the_dead_letters: "
        send cpu{host=a} 0s:1
        garbage
        send cpu{host=a} 1s:2
        tick 150s
        expect rollup 10s cpu{host=a} 0s count=2
        expect counts dead_letters=1 accepted=2"
    series_differ_by_every_label: "
        send cpu{host=a} 0s:1 | cpu{host=b} 0s:2 | cpu{host=a,core=0} 0s:3 | mem{host=a} 0s:4
        tick 150s
        expect rollup 10s cpu{host=a} 0s sum=1
        expect rollup 10s cpu{host=b} 0s sum=2
        expect rollup 10s cpu{host=a,core=0} 0s sum=3
        expect rollup 10s mem{host=a} 0s sum=4
        expect samples 4"
    midnight_splits_days_not_samples: "
        at 86390s
        send cpu{host=a} 86385s:1 86399s:2
        at 86410s
        send cpu{host=a} 86400s:3
        tick 25h
        expect rollup 10s cpu{host=a} 86390s count=1 sum=2
        expect rollup 10s cpu{host=a} 86400s count=1 sum=3
        expect rollup 1d cpu{host=a} 0s count=2 sum=3
        expect samples 3"
    a_restart_in_an_open_window_continues_it: "
        send cpu{host=a} 0s:1
        checkpoint
        send cpu{host=a} 5s:2
        checkpoint
        send cpu{host=a} 15s:3
        tick 150s
        expect rollup 10s cpu{host=a} 0s count=2 sum=3
        expect rollup 10s cpu{host=a} 10s count=1 sum=3"
    a_late_sample_in_an_open_hour_is_part_of_it: "
        send cpu{host=a} 0s:1 30s:2
        tick 30m
        checkpoint
        send cpu{host=a} 10s:5
        tick 62m
        checkpoint
        tick 63m
        expect rollup 1h cpu{host=a} 0s count=3 sum=8 first=1 last=2 max=5 revision=0
        expect rollup 10s cpu{host=a} 10s count=1 revision=1
        expect rollup 5m cpu{host=a} 0s count=3 revision=1"
}
