//! What lines of StatsD and DogStatsD become at a tick, what is refused, and the bounds.

use proptest::prelude::*;
use rstest::rstest;

use super::sketch::Sketch;
use super::*;
use crate::door::Rejections;
use crate::memory_bus::rows_of_all;

const TICK: i64 = 20_000_000;

/// Takes lines and flushes at [`TICK`]; the rows sorted by their text.
fn flushed(receiver: &mut Receiver, lines: &str) -> (Vec<String>, Rejections) {
    let mut door = Batcher::new(1, 1 << 20, 100_000);
    receiver.take(lines.as_bytes(), 0, &mut door);
    receiver.flush(TICK, &mut door);
    let (records, rejections) = door.finish().unwrap();
    let mut rows: Vec<String> = rows_of_all(&records)
        .into_iter()
        .map(|(metric, labels, kind, time, bits)| {
            assert_eq!(kind, schemas::Kind::Gauge as u8, "{metric}");
            let at = if time == TICK {
                String::new()
            } else {
                format!(" at {time}")
            };
            format!("{metric}{labels} {}{at}", f64::from_bits(bits))
        })
        .collect();
    rows.sort();
    (rows, rejections)
}

#[rstest]
#[case::counter("hits:1|c\nhits:2|c\n", &["hits{temporality=\"delta\"} 3"])]
#[case::sampled("hits:3|c|@0.1", &["hits{temporality=\"delta\"} 30"])]
#[case::counter_down("hits:-1|c", &["hits{temporality=\"delta\"} -1"])]
#[case::packed("hits:1:2:3|c|#a:b", &["hits{a=\"b\",temporality=\"delta\"} 6"])]
#[case::gauge("g:5|g\ng:7.5|g", &["g{} 7.5"])]
#[case::gauge_up_and_down("g:10|g\ng:+5|g\ng:-3|g", &["g{} 12"])]
#[case::gauge_from_nothing("g:-3|g", &["g{} -3"])]
#[case::set("users:a|s\nusers:b|s\nusers:a|s", &["users{} 2"])]
#[case::tags(
    "hits:1|c|#env:prod,host:web1,url:http://a,canary\nhits:1|c|@1|#canary,url:http://a,host:web1,env:prod|c:ci-1",
    &["hits{canary=\"true\",env=\"prod\",host=\"web1\",temporality=\"delta\",url=\"http://a\"} 2"]
)]
#[case::own_time("g:5|g|T10\nhits:2|c|T11", &["g{} 5 at 10000000", "hits{temporality=\"delta\"} 2 at 11000000"])]
#[case::types_do_not_mix("x:1|c\nx:2|g", &["x{temporality=\"delta\"} 1", "x{} 2"])]
#[case::a_tag_of_ours("x:1|c|#temporality:cumulative", &["x{temporality=\"delta\"} 1"])]
#[case::line_ends("a:1|g\r\n\n  b:2|g  ", &["a{} 1", "b{} 2"])]
#[case::events_and_checks("_e{5,4}:title|text\n_sc|check|0\na:1|g", &["a{} 1"])]
fn becomes(#[case] lines: &str, #[case] expected: &[&str]) {
    let (rows, rejections) = flushed(&mut Receiver::new(100), lines);
    assert_eq!(rows, expected);
    assert!(rejections.is_empty(), "{rejections:?}");
}

#[rstest]
#[case("ms")]
#[case("h")]
#[case("d")]
fn a_distribution_tells_its_totals_and_quantiles(#[case] kind: &str) {
    let lines: Vec<String> = (1..=100).map(|i| format!("t:{i}|{kind}|@0.5")).collect();
    let (rows, rejections) = flushed(&mut Receiver::new(100), &lines.join("\n"));
    assert!(rejections.is_empty(), "{rejections:?}");
    let expected = [
        ("t_count{temporality=\"delta\"}", 200.0, 0.0),
        ("t_max{}", 100.0, 0.0),
        ("t_min{}", 1.0, 0.0),
        ("t_sum{temporality=\"delta\"}", 10_100.0, 0.0),
        ("t{quantile=\"0.5\"}", 50.0, 0.01),
        ("t{quantile=\"0.95\"}", 95.0, 0.01),
        ("t{quantile=\"0.99\"}", 99.0, 0.01),
    ];
    assert_eq!(rows.len(), expected.len(), "{rows:?}");
    for (row, (series, value, error)) in rows.iter().zip(expected) {
        let (name, found) = row.rsplit_once(' ').unwrap();
        let found: f64 = found.parse().unwrap();
        assert_eq!(name, series);
        assert!((found - value).abs() <= error * value + 1e-9, "{row}");
    }
}

#[rstest]
#[case("hits", "expected `name:value|type`, found `hits`")]
#[case("hits:1", "expected `name:value|type`, found `hits:1`")]
#[case(":1|c", "the metric name is empty or missing")]
#[case("hits:one|c", "value `one` of `hits` is no finite number")]
#[case("hits:inf|g", "value `inf` of `hits` is no finite number")]
#[case("hits:|c", "value `` of `hits` is no finite number")]
#[case("hits:1|x", "type `x` of `hits`; expected c, g, ms, h, d or s")]
#[case("hits:1|c|@0", "sampling rate `0`; expected above 0, up to 1")]
#[case("hits:1|c|@2", "sampling rate `2`; expected above 0, up to 1")]
#[case(
    "hits:1|c|@1e-300",
    "sampling rate `1e-300`; expected above 0, up to 1"
)]
#[case(
    "hits:1|c|#a:1,a:2",
    "label `a` occurs twice; a label key must be unique within a series"
)]
#[case(
    "hits:1|c|#:v",
    "a label has an empty name (its value is `v`); a label needs a name"
)]
#[case("hits:1|c|Tnow", "time `now` is no number of seconds")]
#[case("hits:1|ms|T5", "a time is taken for counts and plain gauges only")]
#[case(
    "hits:1|c|T99999999999",
    "time 99999999999 s is outside of 1970-01-01 to 2262-01-01; check the clock and the precision of the sender"
)]
fn is_refused_and_the_next_is_taken(#[case] line: &str, #[case] expected: &str) {
    let (rows, rejections) = flushed(&mut Receiver::new(100), &format!("{line}\nb:1|g"));
    assert_eq!(rows, ["b{} 1"]);
    assert_eq!(
        (rejections.samples(), rejections.first()[0].to_string()),
        (1, format!("line 1, column 1: {expected}"))
    );
}

#[test]
fn each_interval_is_told_once_and_gauges_are_remembered() {
    let mut receiver = Receiver::new(100);
    assert_eq!(
        flushed(&mut receiver, "c:1|c\ng:5|g\ns:a|s").0,
        ["c{temporality=\"delta\"} 1", "g{} 5", "s{} 1"]
    );
    assert_eq!(flushed(&mut receiver, "").0, Vec::<String>::new());
    assert_eq!(
        flushed(&mut receiver, "g:+2|g\ns:a|s\ns:b|s").0,
        ["g{} 7", "s{} 2"]
    );
    for _ in 0..360 {
        flushed(&mut receiver, "");
    }
    assert_eq!(flushed(&mut receiver, "g:+2|g").0, ["g{} 2"]);
}

#[test]
fn series_are_bounded_and_places_come_free() {
    let mut receiver = Receiver::new(2);
    let (rows, rejections) = flushed(&mut receiver, "a:1|c\nb:1|c\nc:1|c\na:1|c");
    assert_eq!(
        rows,
        ["a{temporality=\"delta\"} 2", "b{temporality=\"delta\"} 1"]
    );
    assert_eq!(
        rejections.first()[0].to_string(),
        "line 3, column 1: a series beyond the 2 that are gathered at once (setting `receivers.statsd.series_max`)"
    );
    assert_eq!(
        flushed(&mut receiver, "c:1|c").0,
        ["c{temporality=\"delta\"} 1"]
    );
}

#[test]
fn events_are_counted_as_skipped() {
    let mut receiver = Receiver::new(2);
    flushed(&mut receiver, "_e{5,4}:title|text\n_sc|check|0");
    assert_eq!((receiver.take_skipped(), receiver.take_skipped()), (2, 0));
}

proptest! {
    #[test]
    fn quantiles_are_within_one_percent(mut values in prop::collection::vec(prop_oneof![-1e6..1e6f64, Just(0.0), 1e-9..1e-3f64], 1..300), share in 0.0..=1.0f64) {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value, 1.0));
        values.sort_by(f64::total_cmp);
        let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
        let exact = values[rank - 1];
        let found = sketch.quantile(share);
        prop_assert!((found - exact).abs() <= 0.0101 * exact.abs(), "{} instead of {}", found, exact);
    }

    #[test]
    fn any_value_has_a_bucket(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let mut sketch = Sketch::default();
        sketch.add(value, 1.0);
        prop_assert_eq!(sketch.quantile(0.5), value);
    }

    #[test]
    fn noise_panics_nowhere(lines in "[a:|c@#,T0-9.\\n_egms+-]{0,200}") {
        flushed(&mut Receiver::new(10), &lines);
    }
}
