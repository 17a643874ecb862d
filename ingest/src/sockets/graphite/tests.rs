//! What lines of Graphite become, what is refused, and templates.

use rstest::rstest;

use super::decode::decode;
use super::*;
use crate::door::Rejections;
use crate::memory_bus::rows_of_all;

const NOW: i64 = 9_000_000;

fn decoded(lines: &str, template: &str) -> (Vec<String>, Rejections) {
    let mut door = Batcher::new(1, 1 << 20, 1000);
    decode(lines.as_bytes(), NOW, &template.parse().unwrap(), &mut door);
    let (records, rejections) = door.finish().unwrap();
    let rows = rows_of_all(&records)
        .into_iter()
        .map(|(metric, labels, _, time, bits)| {
            format!("{metric}{labels} {time} {}", f64::from_bits(bits))
        })
        .collect();
    (rows, rejections)
}

#[rstest]
#[case("a.b.c 1.5 5", "metric*", "a.b.c{} 5000000 1.5")]
#[case("a.b.c 1.5 5\r", "metric*", "a.b.c{} 5000000 1.5")]
#[case("a\t-1e3\t5.25", "metric*", "a{} 5250000 -1000")]
#[case("a 1", "metric*", "a{} 9000000 1")]
#[case("a 1 -1", "metric*", "a{} 9000000 1")]
#[case("a 1 N", "metric*", "a{} 9000000 1")]
#[case("a nan 5", "metric*", "a{} 5000000 NaN")]
#[case(
    "disk.used;host=web1;rack=a1 5 5",
    "metric*",
    "disk.used{host=\"web1\",rack=\"a1\"} 5000000 5"
)]
#[case(
    "web1.cpu.load 5 5",
    "host.metric*",
    "cpu.load{host=\"web1\"} 5000000 5"
)]
#[case(
    "prod.web1.disk.sda.used.bytes 5 5",
    "_.host.metric.disk.metric",
    "disk.used.bytes{disk=\"sda\",host=\"web1\"} 5000000 5"
)]
#[case(
    "web1.load 5 5",
    "host.metric.metric*",
    "load{host=\"web1\"} 5000000 5"
)]
fn becomes(#[case] line: &str, #[case] template: &str, #[case] expected: &str) {
    let (rows, rejections) = decoded(line, template);
    assert_eq!(rows, [expected]);
    assert!(rejections.is_empty(), "{rejections:?}");
}

#[rstest]
#[case("a", "expected `path value time`, found `a`")]
#[case("a 1 2 3", "expected `path value time`, found `a 1 2 3`")]
#[case("a one 5", "value `one` of `a` is no number")]
#[case("a 1 soon", "time `soon` is no number of seconds")]
#[case(
    "a 1 1e300",
    "time 9223372036854775807 µs is outside of 1970-01-01 to 2262-01-01; check the clock and the precision of the sender"
)]
#[case("a;b 1 5", "tag `b` of `a` has no `=`")]
#[case(
    "a;b=1;b=2 1 5",
    "label `b` occurs twice; a label key must be unique within a series"
)]
#[case(";a=b 1 5", "the metric name is empty or missing")]
fn is_refused_and_the_next_is_taken(#[case] line: &str, #[case] expected: &str) {
    let (rows, rejections) = decoded(&format!("\n{line}\nb 1 5\n"), "metric*");
    assert_eq!(rows, ["b{} 5000000 1"]);
    assert_eq!(rejections.samples(), 1);
    assert_eq!(
        rejections.first()[0].to_string(),
        format!("line 2, column 1: {expected}")
    );
}

#[test]
fn a_path_that_ends_before_the_metric_is_refused() {
    let (rows, rejections) = decoded("web1 1 5", "host.metric*");
    assert!(rows.is_empty());
    assert_eq!(
        rejections.first()[0].to_string(),
        "line 1, column 1: the metric name is empty or missing"
    );
}

#[rstest]
#[case("metric*")]
#[case("host.metric*")]
#[case("_.host.metric.disk.metric")]
fn templates_are_read_and_written(#[case] text: &str) {
    assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
}

#[rstest]
#[case("")]
#[case("host")]
#[case("metric*.host")]
#[case("host..metric")]
#[case("host*.metric")]
#[case("a b.metric")]
fn no_template(#[case] text: &str) {
    assert!(text.parse::<Template>().is_err());
}
