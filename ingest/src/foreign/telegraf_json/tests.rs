//! Tests of Telegraf's JSON.

use rstest::rstest;

use super::decode;
use crate::door::Batcher;
use crate::foreign::tests::shown;
use crate::http::{LineUnit, Undecodable};

const NOW: i64 = 1_800_000_000_000_000;

fn decoded(body: &str) -> (Vec<String>, usize) {
    let mut door = Batcher::new(1, 1 << 20, 1000);
    let skipped = decode(body.as_bytes(), LineUnit::Auto, NOW, &mut door).unwrap();
    (shown(&mut door), skipped)
}

/// As Telegraf's documentation shows it, and what its versions and settings make of it.
#[rstest]
#[case(
    r#"{"fields":{"field_1":30,"field_2":4,"field_N":59,"n_images":660},"name":"docker","tags":{"host":"raynor"},"timestamp":1458229140}"#,
    &["docker_field_1{host=\"raynor\"} 30 @1458229140000000 0", "docker_field_2{host=\"raynor\"} 4 @1458229140000000 0",
      "docker_field_N{host=\"raynor\"} 59 @1458229140000000 0", "docker_n_images{host=\"raynor\"} 660 @1458229140000000 0"], 0)]
#[case(
    r#"{"metrics":[{"fields":{"v":1.5},"name":"a","tags":{},"timestamp":1458229140},{"fields":{"v":2},"name":"b","tags":{"h":"x"},"timestamp":1458229140500}]}"#,
    &["a_v{} 1.5 @1458229140000000 0", "b_v{h=\"x\"} 2 @1458229140500000 0"], 0)]
#[case(
    "{\"fields\":{\"v\":1},\"name\":\"a\",\"tags\":{},\"timestamp\":1458229140000000000}\n{\"name\":\"a\",\"fields\":{\"w\":-2e3}}\n",
    &["a_v{} 1 @1458229140000000 0", "a_w{} -2000 @1800000000000000 0"], 0)]
#[case(
    r#"{"fields":{"ok":true,"bad":false,"text":"x","none":null,"list":[1,{"a":2}]},"name":"a","timestamp":"2026-11-21T10:00:00.25Z","more":{"x":[]}}"#,
    &["a_ok{} 1 @1795255200250000 0", "a_bad{} 0 @1795255200250000 0"], 3)]
#[case(
    r#"{"fields":{"v":1},"name":"a","timestamp":1458229140.25}"#,
    &["a_v{} 1 @1458229140250000 0"], 0)]
#[case(
    r#"{"fields":{"requests_total":9,"caf\u00e9":1},"name":"n\"x","tags":{"a b":"é\n"},"timestamp":1458229140}"#,
    &["n\"x_requests_total{a b=\"é\\n\"} 9 @1458229140000000 1", "n\"x_café{a b=\"é\\n\"} 1 @1458229140000000 0"], 0)]
#[case(r#"{"fields":{},"name":"a"}"#, &[], 0)]
#[case(
    r#"{"fields":{"a":1,"b":2},"tags":{}}"#,
    &["! object 0: an object without `name`; expected {\"fields\":{…},\"name\":…,\"tags\":{…},\"timestamp\":…}"], 0)]
#[case(
    r#"{"fields":{"v":1},"name":"a","tags":{"x":1}}"#,
    &["! object 0: tags: expected a string, found `1`"], 0)]
#[case(
    r#"{"fields":{"v":1},"name":"a","timestamp":"noon"}"#,
    &["! object 0: `timestamp` is neither a number nor a time of RFC 3339"], 0)]
#[case(
    r#"{"fields":{"v":1},"name":"a","timestamp":-5}"#,
    &["! object 0: time -5 s is outside of 1970-01-01 to 2262-01-01; check the clock and the precision of the sender"], 0)]
#[case(
    r#"{"metrics":[{"metrics":[{"fields":{"v":1},"name":"a"}]}]}"#,
    &["! object 0: an object without `name`; expected {\"fields\":{…},\"name\":…,\"tags\":{…},\"timestamp\":…}"], 0)]
fn an_object_is_samples_or_a_reason(
    #[case] body: &str,
    #[case] expected: &[&str],
    #[case] skipped: usize,
) {
    let found = decoded(body);
    assert_eq!(found.0, expected, "{body}");
    assert_eq!(found.1, skipped, "{body}");
}

#[rstest]
#[case("[]", 0, "expected an object, found `[`")]
#[case("cpu,host=a v=1", 0, "expected an object, found `c`")]
#[case(
    r#"{"fields":{"v":1},"name":"a""#,
    28,
    "expected `,` or `}`, found the end"
)]
#[case(r#"{"fields":{"v":01}}"#, 16, "expected `,` or `}`, found `1`")]
#[case(
    "{\"name\":\"\u{1}\"}",
    9,
    "a string that is not valid UTF-8, or has a wrong escape or a control character"
)]
fn what_is_no_json_object_is_told_with_its_place(
    #[case] body: &str,
    #[case] byte: usize,
    #[case] problem: &str,
) {
    let mut door = Batcher::new(1, 1 << 20, 1000);
    let error = decode(body.as_bytes(), LineUnit::Auto, NOW, &mut door).unwrap_err();
    let Undecodable::Malformed(error) = error else {
        panic!("{error}")
    };
    assert_eq!(
        (error.byte, error.problem.as_str()),
        (byte, problem),
        "{body}"
    );
}

#[test]
fn too_many_tags_and_samples_are_refused() {
    let tags: Vec<String> = (0..300).map(|i| format!("\"k{i}\":\"v\"")).collect();
    let wide = format!(
        r#"{{"fields":{{"v":1}},"name":"a","tags":{{{}}}}}"#,
        tags.join(",")
    );
    assert!(
        decoded(&wide).0[0].starts_with("! object 0: "),
        "{:?}",
        decoded(&wide).0
    );
    let mut door = Batcher::new(1, 1 << 20, 2);
    let body = br#"{"fields":{"a":1,"b":2,"c":3},"name":"a"}"#;
    let error = decode(body, LineUnit::Auto, NOW, &mut door).unwrap_err();
    assert!(matches!(error, Undecodable::TooManySamples(_)), "{error}");
}
