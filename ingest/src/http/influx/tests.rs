//! Tests of the line protocol decoder: tables of lines, and laws over generated ones.

use proptest::prelude::*;
use rstest::rstest;

use super::{LineOptions, LineUnit, decode, number};
use crate::door::{Batcher, Rejections, TimeUnit};
use crate::memory_bus::{Row, rows_of_all};

const NOW: i64 = 1_800_000_000_000_000;

fn decoded(body: &[u8], unit: LineUnit, door: &mut Batcher) -> (Vec<Row>, Rejections, usize) {
    let skipped = decode(body, LineOptions { unit, now: NOW }, door).unwrap();
    let (records, rejections) = door.finish().unwrap();
    (rows_of_all(&records), rejections, skipped)
}

/// Samples as `metric{labels} value @microseconds`, one per line; then refused lines as `! place: reason`.
fn check(body: &str, expected: &[&str]) {
    let (rows, rejections, _) = decoded(
        body.as_bytes(),
        LineUnit::Fixed(TimeUnit::Microseconds),
        &mut Batcher::new(1, 1 << 20, 1000),
    );
    let rows = rows.iter().map(|(metric, labels, _, time, value)| {
        format!("{metric}{labels} {} @{time}", f64::from_bits(*value))
    });
    let found: Vec<String> = rows
        .chain(
            rejections
                .first()
                .iter()
                .map(|rejection| format!("! {rejection}")),
        )
        .collect();
    assert_eq!(found, expected, "{body}");
}

#[rstest]
#[case::plain("cpu,host=a usage=1 5", &[r#"cpu_usage{host="a"} 1 @5"#])]
#[case::no_tags("cpu usage=1.5 5", &["cpu_usage{} 1.5 @5"])]
#[case::no_time("cpu usage=1", &["cpu_usage{} 1 @1800000000000000"])]
#[case::fields("cpu,host=a u=1,s=2i,n=3u,b=t,c=False 5\n", &[r#"cpu_u{host="a"} 1 @5"#, r#"cpu_s{host="a"} 2 @5"#, r#"cpu_n{host="a"} 3 @5"#, r#"cpu_b{host="a"} 1 @5"#, r#"cpu_c{host="a"} 0 @5"#])]
#[case::tags_are_sorted("m,b=2,a=1 v=1 5", &[r#"m_v{a="1",b="2"} 1 @5"#])]
#[case::numbers("m a=-1.5e-3,b=+2,c=.5,d=5.,e=1E3,f=-0.0,g=-9223372036854775808i,h=18446744073709551615u 5", &["m_a{} -0.0015 @5", "m_b{} 2 @5", "m_c{} 0.5 @5", "m_d{} 5 @5", "m_e{} 1000 @5", "m_f{} -0 @5", "m_g{} -9223372036854776000 @5", "m_h{} 18446744073709552000 @5"])]
#[case::blank_and_comments("\n# no line\n   \r\n  m v=1 5\n#", &["m_v{} 1 @5"])]
#[case::crlf("m v=1 5\r\nm w=2\r\nm x=3 6\r", &["m_v{} 1 @5", "m_w{} 2 @1800000000000000", "m_x{} 3 @6"])]
#[case::escapes(r"my\ m\,x,ta\ g\=\,k=va\ l\=\,u fi\ e\=l\,d=1 5", &[r#"my m,x_fi e=l,d{ta g=,k="va l=,u"} 1 @5"#])]
#[case::backslash_stands_for_itself(r"a\b,c\d=e\f g\h=1 5", &[r#"a\b_g\h{c\d="e\\f"} 1 @5"#])]
#[case::two_backslashes(r"m,t=a\\\ b v=1 5", &[r#"m_v{t="a\\\\ b"} 1 @5"#])]
#[case::equals_in_measurement("a=b v=1 5", &["a=b_v{} 1 @5"])]
#[case::quotes_are_plain_in_tags("m,t=\"a\" v=1 5", &[r#"m_v{t="\"a\""} 1 @5"#])]
#[case::string_is_skipped("m s=\"a, b=c \\\" d\\\\\",v=1 5", &["m_v{} 1 @5"])]
#[case::newline_in_string("m s=\"a\nb\",v=1 5\nm w=2 6", &["m_v{} 1 @5", "m_w{} 2 @6"])]
#[case::only_a_string("m s=\"a\" 5", &[])]
#[case::unicode("mü,t=ä v=1 5", &[r#"mü_v{t="ä"} 1 @5"#])]
#[case::spaces_between("m   v=1   5  ", &["m_v{} 1 @5"])]
#[case::same_field_twice("m v=1,v=2 5", &["m_v{} 1 @5", "m_v{} 2 @5"])]
#[case::other_fields_next("m a=1,b=2 5\nm b=3,a=4 6\nm a=5 7\nn a=6 8\nm a=7,b=8 9", &["m_a{} 1 @5", "m_b{} 2 @5", "m_b{} 3 @6", "m_a{} 4 @6", "m_a{} 5 @7", "n_a{} 6 @8", "m_a{} 7 @9", "m_b{} 8 @9"])]
#[case::measurement_is_a_prefix("cpu v=1 5\ncpu2 v=2 5\ncp v=3 5", &["cpu_v{} 1 @5", "cpu2_v{} 2 @5", "cp_v{} 3 @5"])]
#[case::field_is_a_prefix("m ab=1 5\nm a=2 5\nm abc=3 5", &["m_ab{} 1 @5", "m_a{} 2 @5", "m_abc{} 3 @5"])]
fn lines_are_samples(#[case] body: &str, #[case] expected: &[&str]) {
    check(body, expected);
}

#[rstest]
#[case(
    "cpu",
    "line 1, column 4: no fields were given; expected `measurement,tag=value field=value time`"
)]
#[case("cpu,host=a", "line 1, column 11: no fields were given after the tags")]
#[case(",host=a v=1", "line 1, column 1: the measurement is empty")]
#[case("cpu,host v=1", "line 1, column 5: expected `tag=value`")]
#[case("cpu, v=1", "line 1, column 5: expected `tag=value`")]
#[case("cpu,host= v=1", "line 1, column 5: a tag needs a name and a value")]
#[case("cpu,a=1,=a v=1", "line 1, column 9: a tag needs a name and a value")]
#[case(
    "cpu,a=b=c v=1",
    "line 1, column 5: a second `=` in a tag; write `\\=` within a value"
)]
#[case(
    "cpu,a=1,a=2 v=1",
    "line 1, column 5: label `a` occurs twice; a label key must be unique within a series"
)]
#[case(
    "cpu v",
    "line 1, column 6: expected `=` and a value after the field name"
)]
#[case("cpu =1", "line 1, column 5: a field name is empty")]
#[case("cpu v=", "line 1, column 7: a field has no value")]
#[case("cpu v=,w=1", "line 1, column 7: a field has no value")]
#[case(
    "cpu v=1,",
    "line 1, column 9: expected `=` and a value after the field name"
)]
#[case(
    "cpu v=abc",
    "line 1, column 7: `abc` is no float, integer (1i), unsigned (1u), boolean or quoted string"
)]
#[case(
    "cpu v=NaN",
    "line 1, column 7: `NaN` is no float, integer (1i), unsigned (1u), boolean or quoted string"
)]
#[case(
    "cpu v=inf",
    "line 1, column 7: `inf` is no float, integer (1i), unsigned (1u), boolean or quoted string"
)]
#[case("cpu v=1e999", "line 1, column 7: `1e999` is beyond a 64-bit float")]
#[case(
    "cpu v=9223372036854775808i",
    "line 1, column 7: `9223372036854775808i` is not a 64-bit integer"
)]
#[case(
    "cpu v=-1u",
    "line 1, column 7: `-1u` is not an unsigned 64-bit integer"
)]
#[case(
    "cpu v=tru",
    "line 1, column 7: expected a boolean: t, true, f or false; quote strings"
)]
#[case("cpu v=\"a", "line 1, column 7: a quoted string is not closed")]
#[case(
    "cpu v=\"a\"b",
    "line 1, column 10: expected `,`, a space or the end of the line after a quoted string"
)]
#[case(
    "cpu v=1 x",
    "line 1, column 9: the timestamp `x` is not a 64-bit integer"
)]
#[case(
    "cpu v=1 9223372036854775808",
    "line 1, column 9: the timestamp `9223372036854775808` is not a 64-bit integer"
)]
#[case(
    "cpu v=1 5 6",
    "line 1, column 11: expected the end of the line; unquoted spaces must be escaped"
)]
#[case(
    "cpu v=1 -5",
    "line 1, column 1: time -5 µs is outside of 1970-01-01 to 2262-01-01; check the clock and the precision of the sender"
)]
fn a_bad_line_is_refused_whole_and_its_neighbours_are_taken(
    #[case] line: &str,
    #[case] expected: &str,
) {
    let expected = format!("! {expected}");
    check(
        &format!("{line}\nok good=1 5"),
        &["ok_good{} 1 @5", &expected],
    );
    let second = expected.replacen("line 1", "line 2", 1);
    check(
        &format!("ok good=1 5\n{line}"),
        &["ok_good{} 1 @5", &second],
    );
}

#[test]
fn lines_are_counted_through_strings() {
    check(
        "m s=\"a\n\nb\" 5\nbad\n\nworse",
        &[
            "! line 4, column 4: no fields were given; expected `measurement,tag=value field=value time`",
            "! line 6, column 6: no fields were given; expected `measurement,tag=value field=value time`",
        ],
    );
}

#[test]
fn invalid_utf8_refuses_its_line_only() {
    for line in [
        &b"m,t=\xff v=1 5"[..],
        b"m\xff v=1 5",
        b"m v\xff=1 5",
        b"m v=1\xff 5",
        b"m v=1 5\xff",
    ] {
        let body = [line, b"\nok v=1 5"].concat();
        let (rows, rejections, _) =
            decoded(&body, LineUnit::Auto, &mut Batcher::new(1, 1 << 20, 1000));
        assert_eq!((rows.len(), rejections.samples()), (1, 1), "{line:?}");
    }
}

#[rstest]
#[case("5", 5_000_000)]
#[case("4999999999", 4_999_999_999_000_000)]
#[case("5000000000", 5_000_000_000_000)]
#[case("1700000000000", 1_700_000_000_000_000)]
#[case("1700000000000000", 1_700_000_000_000_000)]
#[case("1700000000000000123", 1_700_000_000_000_000)]
fn the_unit_is_guessed_from_the_magnitude(#[case] time: &str, #[case] expected: i64) {
    let (rows, ..) = decoded(
        format!("m v=1 {time}").as_bytes(),
        LineUnit::Auto,
        &mut Batcher::new(1, 1 << 20, 1000),
    );
    assert_eq!(rows[0].3, expected);
}

#[test]
fn denormals_and_the_largest_pass() {
    for value in [5e-324, -5e-324, 2.225e-308, f64::MAX, f64::MIN, -0.0] {
        let (rows, ..) = decoded(
            format!("m v={value:e} 5").as_bytes(),
            LineUnit::Auto,
            &mut Batcher::new(1, 1 << 20, 1000),
        );
        assert_eq!(rows[0].4, f64::to_bits(value));
    }
}

#[test]
fn limits_hold() {
    let many: String = (0..10_000).map(|i| format!(",k{i}=v")).collect();
    let long = "x".repeat(1024 * 1024);
    for (line, expected) in [
        (format!("m{many} v=1"), "10000 labels in one series"),
        (format!("m,t={long} v=1"), "1048576 bytes"),
        (format!("{long} v=1"), "a metric name of 1048578 bytes"),
        (format!("m {long}=1"), "a metric name of 1048578 bytes"),
    ] {
        let (rows, rejections, _) = decoded(
            line.as_bytes(),
            LineUnit::Auto,
            &mut Batcher::new(1, 1 << 20, 1000),
        );
        assert!(
            rows.is_empty() && rejections.first()[0].to_string().contains(expected),
            "{}",
            rejections.first()[0]
        );
    }
    assert!(
        decode(
            b"m a=1,b=2,c=3",
            LineOptions {
                unit: LineUnit::Auto,
                now: NOW
            },
            &mut Batcher::new(1, 1 << 20, 2)
        )
        .is_err()
    );
}

#[test]
fn strings_are_counted_unless_their_line_is_refused() {
    let (_, _, skipped) = decoded(
        b"m a=\"1\",b=\"2\",c=3 5\nm a=\"1\",b=x 5",
        LineUnit::Auto,
        &mut Batcher::new(1, 1 << 20, 1000),
    );
    assert_eq!(skipped, 2);
}

fn escaped(text: &str, special: &str) -> String {
    text.chars()
        .flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

proptest! {
    #[test]
    fn what_is_escaped_comes_back(
        measurement in "[a-z ,é]{1,8}", tags in prop::collection::btree_map("[a-z =,]{1,5}", "[a-z =,\"é]{1,5}", 0..4),
        fields in prop::collection::vec(("[a-z =,]{1,5}", any::<f64>().prop_filter("no word for others", |v| v.is_finite())), 1..5), time in 0..4_000_000_000_000_000i64,
    ) {
        prop_assume!(!measurement.starts_with(' '));
        let tag_text: String = tags.iter().map(|(k, v)| format!(",{}={}", escaped(k, ",= "), escaped(v, ",= "))).collect();
        let field_text: Vec<String> = fields.iter().map(|(k, v)| format!("{}={v:?}", escaped(k, ",= "))).collect();
        let line = format!("{}{tag_text} {} {time}", escaped(&measurement, ", "), field_text.join(","));
        let labels = schemas::Labels::try_new(&tags).unwrap().to_string();
        let row = |(field, value): &(String, f64)| {
            let metric = format!("{measurement}_{field}");
            // A field may happen to be named `sum`.
            let kind = schemas::Kind::guess(&metric) as u8;
            (metric, labels.clone(), kind, time, value.to_bits())
        };
        let expected: Vec<Row> = fields.iter().map(row).collect();
        let mut door = Batcher::new(1, 1 << 20, 1000);
        // Twice in one body: the second line goes through what is remembered.
        let (rows, rejections, _) = decoded(format!("{line}\n{line}").as_bytes(), LineUnit::Fixed(TimeUnit::Microseconds), &mut door);
        prop_assert!(rejections.is_empty(), "{:?}", rejections);
        prop_assert_eq!(&rows[..fields.len()], &expected[..]);
        prop_assert_eq!(&rows[fields.len()..], &expected[..]);
    }

    #[test]
    fn numbers_are_read_as_rust_reads_them(text in "-?[0-9]{0,20}(\\.[0-9]{0,20})?(e-?[0-9]{1,3})?") {
        let expected = text.parse::<f64>().ok().filter(|value| value.is_finite()).map(f64::to_bits);
        prop_assert_eq!(number::read(text.as_bytes()).ok().map(|(value, _)| value.to_bits()), expected);
    }

    #[test]
    fn integers_are_read_as_rust_reads_them(value in any::<i64>(), small in -1000i64..1000) {
        for value in [value, small] {
            prop_assert_eq!(number::read(format!("{value}i,").as_bytes()).unwrap().0, value as f64);
        }
    }

    /// Nothing panics, nothing is taken twice: each line is either samples or one refusal.
    #[test]
    fn noise_is_refused(body in prop::collection::vec(prop::sample::select(b"m,v=1 \n\\\"it#\r.e-5\xff\xc3\xa9".to_vec()), 0..80)) {
        let (rows, rejections, skipped) = decoded(&body, LineUnit::Auto, &mut Batcher::new(2, 100, 1000));
        let lines = body.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        prop_assert!(rejections.first().len() as u64 <= lines);
        prop_assert!(rows.len() + skipped <= body.iter().filter(|byte| **byte == b'=').count());
    }

    #[test]
    fn a_line_cut_anywhere_does_not_touch_the_line_before(cut in 0..60usize) {
        let line = "cpu,host=a\\ b,dc=x usage=1.25,idle=3i,s=\"q \\\" r\",up=true 1700000000";
        let body = format!("first v=1 5\n{}", &line[..cut.min(line.len())]);
        let (rows, ..) = decoded(body.as_bytes(), LineUnit::Auto, &mut Batcher::new(1, 1 << 20, 1000));
        prop_assert_eq!(&rows[0].0, "first_v");
    }
}
