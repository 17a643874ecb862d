//! Tests of scraping: tables of bodies, of rules and of targets here; what stays over several scrapes in `books`, real endpoints in `endpoints`.

mod books;
mod endpoints;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rstest::rstest;
use schemas::Kind;

use super::discovery::Discovery;
use super::relabel::{LabelMap, apply};
use super::target::Target;
use super::{Action, Credentials, Exposition, Format, Group, Job, Rule, RuleText, read_series};

/// A job of one target, `web:80`, without rules.
fn job() -> Job {
    Job {
        name: "test".to_owned(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        scheme: "http".to_owned(),
        path: "/metrics".to_owned(),
        params: BTreeMap::new(),
        groups: vec![Group {
            targets: vec!["web:80".to_owned()],
            labels: BTreeMap::new(),
        }],
        files: Vec::new(),
        honor_labels: false,
        honor_timestamps: true,
        body_bytes_max: 1 << 20,
        samples_max: 1000,
        credentials: Credentials::None,
        ca_file: None,
        relabel: Vec::new(),
        metric_relabel: Vec::new(),
    }
}

/// The target of a job's first address.
fn target(job: &Job) -> Option<Target> {
    let group = &job.groups[0];
    Target::of(job, group, &group.targets[0]).unwrap()
}

/// Samples as `metric{labels} value @microseconds kind`, then what is wrong with the rest.
fn lines(body: &str, format: Format) -> Vec<String> {
    let mut exposition = Exposition::new(body.as_bytes(), format);
    let mut found = Vec::new();
    loop {
        let line = match exposition.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => {
                found.push(format!("! {error}"));
                break;
            }
        };
        match read_series(line.series) {
            Ok((metric, labels)) => {
                let labels: Vec<String> =
                    labels.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
                let time = line.time.map_or(String::new(), |time| format!(" @{time}"));
                let kind = match line.kind {
                    Some(Kind::Counter) => " counter",
                    Some(Kind::Gauge) => " gauge",
                    None => "",
                };
                let labels = labels.join(",");
                found.push(format!("{metric}{{{labels}}} {}{time}{kind}", line.value));
            }
            Err(wrong) => {
                found.push(format!("! {}", exposition.malformed(wrong)));
                break;
            }
        }
    }
    if exposition.exemplars() > 0 {
        found.push(format!("{} exemplars", exposition.exemplars()));
    }
    found
}

#[rstest]
#[case::plain("up 1", &["up{} 1"])]
#[case::labels("a{b=\"c\",d=\"e\"} 1.5\n", &["a{b=\"c\",d=\"e\"} 1.5"])]
#[case::time("a 1 1395066363000", &["a{} 1 @1395066363000000"])]
#[case::negative_time("a 1 -5", &["a{} 1 @-5000"])]
#[case::comma_at_the_end("a{b=\"c\",} 1", &["a{b=\"c\"} 1"])]
#[case::no_labels("a{} 1", &["a{} 1"])]
#[case::blanks(" a { b = \"c\" , d = \"e\" }\t1  2 ", &["a{b=\"c\",d=\"e\"} 1 @2000"])]
#[case::no_blank_before_the_value("a{b=\"c\"}1", &["a{b=\"c\"} 1"])]
#[case::values("a NaN\nb +Inf\nc -Inf\nd 1e-3\ne -0\nf 0x1p2", &["a{} NaN", "b{} inf", "c{} -inf", "d{} 0.001", "e{} -0", "! line 6, column 3: expected a number, found `0x1p2`"])]
#[case::beyond_a_float("a 1e400", &["! line 1, column 3: `1e400` is beyond a 64-bit float"])]
#[case::escapes(r#"a{b="\\ \" \n \x"} 1"#, &[r#"a{b="\\ \" \n \\x"} 1"#])]
#[case::braces_and_commas_in_values("a{b=\"},{\",c=\"=\"} 1", &["a{b=\"},{\",c=\"=\"} 1"])]
#[case::colons("job:a:rate5m 1", &["job:a:rate5m{} 1"])]
#[case::unicode_value("a{b=\"ü\"} 1", &["a{b=\"ü\"} 1"])]
#[case::quoted_name("# TYPE \"a.b\" counter\n{\"a.b\",\"c d\"=\"e\"} 1", &["a.b{c d=\"e\"} 1 counter"])]
#[case::repeated_labels_are_told_later("a{b=\"1\",b=\"2\"} 1", &["a{b=\"1\",b=\"2\"} 1"])]
#[case::crlf("a 1\r\nb 2\r\n", &["a{} 1", "b{} 2"])]
#[case::comments("# a comment\n#\n# HELP a what it is\n# TYPE\na 1\n# EOF\nb 2", &["a{} 1", "b{} 2"])]
#[case::exemplars_are_of_the_other_format("a 1 # {b=\"c\"} 1", &["! line 1, column 5: expected the end of the line, found `# {b=\"c\"} 1`"])]
#[case::no_value("a", &["! line 1, column 2: expected a number, found ``"])]
#[case::no_number("a b", &["! line 1, column 3: expected a number, found `b`"])]
#[case::fraction_of_a_millisecond("a 1 1.5", &["! line 1, column 5: expected a time in milliseconds, found `1.5`"])]
#[case::four_words("a 1 2 3", &["! line 1, column 7: expected the end of the line, found `3`"])]
#[case::no_end_of_labels("a{b=\"c\" 1", &["! line 1, column 2: these labels have no end, `}`"])]
#[case::no_end_of_text("a{b=\"c} 1\nd{} 2", &["! line 1, column 5: this quoted text has no end, `\"`"])]
#[case::backslash_at_the_end("a{b=\"c\\", &["! line 1, column 5: this quoted text has no end, `\"`"])]
#[case::no_quotes("a{b=c} 1", &["! line 1, column 5: expected the value of label `b` in quotes"])]
#[case::no_equals("a{b} 1", &["! line 1, column 4: expected `=` after label `b`"])]
#[case::digit_first("1a 1", &["! line 1, column 1: `1a` is no metric name; it may stand in quotes"])]
#[case::label_with_a_colon("a{b:c=\"d\"} 1", &["! line 1, column 3: `b:c` is no label name; it may stand in quotes"])]
#[case::no_name("{b=\"c\"} 1", &["! line 1, column 1: a sample has no metric name"])]
#[case::two_names("a{\"b\"} 1", &["! line 1, column 6: expected `=` after label `b`"])]
#[case::empty("", &[])]
#[case::only_newlines("\n\n", &[])]
#[case::a_page("<html>", &["! line 1, column 7: expected a number, found ``"])]
fn text(#[case] body: &str, #[case] expected: &[&str]) {
    assert_eq!(lines(body, Format::Text), expected, "{body}");
}

#[rstest]
#[case::plain("a 1\n# EOF\n", &["a{} 1"])]
#[case::no_newline_at_the_end("a 1\n# EOF", &["a{} 1"])]
#[case::time("a 1 1395066363.5\n# EOF\n", &["a{} 1 @1395066363500000"])]
#[case::exemplar("a_bucket{le=\"1\"} 5 # {trace_id=\"x y\"} 0.5 1.5\nb 1 2 # {} 1\n# EOF\n", &["a_bucket{le=\"1\"} 5", "b{} 1 @2000000", "2 exemplars"])]
#[case::cut_off("a 1\n", &["a{} 1", "! line 1, column 1: expected `# EOF` as the last line; the body was cut off"])]
#[case::more_after_the_end("# EOF\na 1\n", &["! line 2, column 1: expected nothing after `# EOF`"])]
#[case::no_finite_time("a 1 NaN\n# EOF", &["! line 1, column 5: expected a time in seconds, found `NaN`"])]
#[case::nothing("", &["! line 1, column 1: expected `# EOF` as the last line; the body was cut off"])]
fn open_metrics(#[case] body: &str, #[case] expected: &[&str]) {
    assert_eq!(lines(body, Format::OpenMetrics), expected, "{body}");
}

#[rstest]
#[case::counter("counter", "a a_total a_created", ["counter", "counter", "gauge"])]
#[case::gauge("gauge", "a a_info ab", ["gauge", "gauge", ""])]
#[case::histogram("histogram", "a_bucket a_sum a_created", ["counter", "counter", "gauge"])]
#[case::histogram_without_suffix("histogram", "a a_count a_total", ["", "counter", ""])]
#[case::summary("summary", "a a_count a_sum", ["gauge", "counter", "counter"])]
#[case::gauge_histogram("gaugehistogram", "a_bucket a_gcount a_gsum", ["gauge", "gauge", "gauge"])]
#[case::unknown("unknown", "a a_total b", ["", "", ""])]
#[case::untyped("untyped", "a a_total b", ["", "", ""])]
#[case::no_kind("funny", "a a_total b", ["", "", ""])]
fn types_give_kinds(#[case] kind: &str, #[case] names: &str, #[case] expected: [&str; 3]) {
    let samples: Vec<String> = names.split(' ').map(|name| format!("{name} 1\n")).collect();
    let body = format!("# TYPE a {kind}\n{}", samples.concat());
    let found: Vec<String> = lines(&body, Format::Text);
    let kinds: Vec<&str> = found
        .iter()
        .map(|line| line.split(' ').nth(2).unwrap_or_default())
        .collect();
    assert_eq!(kinds, expected, "{body}");
}

/// Only the first label too many is given: a line of labels must not grow in memory.
#[test]
fn of_too_many_labels_one_too_many_is_given() {
    let labels: Vec<String> = (0..10_000).map(|i| format!("l{i}=\"\"")).collect();
    let series = format!("a{{{}}}", labels.join(","));
    let (_, found) = read_series(series.as_bytes()).unwrap();
    assert_eq!(found.len(), schemas::LABELS_MAX + 1);
}

#[test]
fn a_stale_marker_can_not_be_sent() {
    let mut exposition = Exposition::new(b"a NaN", Format::Text);
    let line = exposition.next_line().unwrap().unwrap();
    assert_eq!(line.value.to_bits(), f64::NAN.to_bits());
}

fn rule(action: Action, sources: &[&str], regex: &str, target: &str, replacement: &str) -> Rule {
    Rule::try_new(RuleText {
        source_labels: sources.iter().map(|&name| name.to_owned()).collect(),
        regex: regex.to_owned(),
        target_label: target.to_owned(),
        replacement: replacement.to_owned(),
        action,
        ..RuleText::default()
    })
    .unwrap()
}

fn labels(text: &str) -> LabelMap {
    let pairs = text
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The cases of Prometheus' own tests of the same actions, and edges.
#[rstest]
#[case::replace(rule(Action::Replace, &["a"], "f(.*)", "d", "ch${1}-ch${1}"), "a=foo b=bar c=baz", Some("a=foo b=bar c=baz d=choo-choo"))]
#[case::replace_joins(rule(Action::Replace, &["a", "b"], "(.*);(.*)r", "a", "b${2}${1}m"), "a=foo b=bar c=baz", Some("a=bbafoom b=bar c=baz"))]
#[case::replace_is_anchored(rule(Action::Replace, &["a"], "o", "d", "x"), "a=foo", Some("a=foo"))]
#[case::replace_by_nothing_removes(rule(Action::Replace, &["a"], "f(o+)", "b", ""), "a=foo b=bar", Some("a=foo"))]
#[case::replace_of_what_is_missing(rule(Action::Replace, &["x"], "", "b", "y"), "a=foo", Some("a=foo b=y"))]
#[case::replace_names_its_target(rule(Action::Replace, &["a"], "some-([^-]+)-([^,]+)", "${1}", "${2}"), "a=some-name-value", Some("a=some-name-value name=value"))]
#[case::replace_without_target(rule(Action::Replace, &["a"], "some-([^-]*)-([^,]+)", "${1}", "${2}"), "a=some--value", Some("a=some--value"))]
#[case::newline_is_a_character(rule(Action::Replace, &["a"], "f.*", "a", "y"), "a=f", Some("a=y"))]
#[case::drop(rule(Action::Drop, &["a"], ".*o.*", "", ""), "a=foo", None)]
#[case::drop_not(rule(Action::Drop, &["a"], "o", "", ""), "a=foo", Some("a=foo"))]
#[case::keep(rule(Action::Keep, &["a"], "f|foo", "", ""), "a=foo", Some("a=foo"))]
#[case::keep_not(rule(Action::Keep, &["a"], "no-match", "", ""), "a=foo", None)]
#[case::labelmap(rule(Action::LabelMap, &[], "meta_(ns.*)", "", "$1"), "a=foo meta_ns1=x meta_ns2=y", Some("a=foo meta_ns1=x meta_ns2=y ns1=x ns2=y"))]
#[case::labeldrop(rule(Action::LabelDrop, &[], "b.*", "", ""), "a=foo b1=bar b2=baz", Some("a=foo"))]
#[case::labelkeep(rule(Action::LabelKeep, &[], "a|b", "", ""), "a=foo b=bar c=baz", Some("a=foo b=bar"))]
fn rules(#[case] rule: Rule, #[case] before: &str, #[case] after: Option<&str>) {
    let mut found = labels(before);
    let kept = apply(&[rule], &mut found).then_some(found);
    assert_eq!(kept, after.map(labels));
}

#[test]
fn rules_that_are_none_say_why() {
    let text = |action, regex: &str, target: &str, sources: &[&str]| RuleText {
        action,
        regex: regex.to_owned(),
        target_label: target.to_owned(),
        source_labels: sources.iter().map(|&name| name.to_owned()).collect(),
        ..RuleText::default()
    };
    for (rule, expected) in [
        (text(Action::Replace, "(.*)", "", &["a"]), "`target_label`"),
        (
            text(Action::Drop, "x", "", &[]),
            "a rule `drop` needs `source_labels`",
        ),
        (
            text(Action::LabelDrop, "(", "", &[]),
            "`(` is no regular expression: unclosed group",
        ),
    ] {
        let error = Rule::try_new(rule).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_target_is_made_of_an_address_by_the_rules() {
    let mut job = job();
    job.params = labels("module=http_2xx");
    job.groups[0].labels = labels("env=prod __meta_dc=north");
    let plain = target(&job).unwrap();
    assert_eq!(
        (
            plain.uri.to_string().as_str(),
            plain.labels.to_string().as_str()
        ),
        (
            "http://web/metrics?module=http_2xx",
            r#"{env="prod",instance="web:80",job="test"}"#
        )
    );
    // As one probes through an exporter: the address is what to probe, and the exporter is asked.
    job.relabel = vec![
        rule(
            Action::Replace,
            &["__address__"],
            "(.*)",
            "__param_target",
            "$1",
        ),
        rule(
            Action::Replace,
            &["__param_target"],
            "([^:]*).*",
            "instance",
            "$1",
        ),
        rule(Action::Replace, &["__meta_dc"], "(.*)", "dc", "$1"),
        rule(Action::Replace, &[], "(.*)", "__address__", "exporter:9115"),
        rule(Action::Replace, &[], "(.*)", "__metrics_path__", "/probe"),
        rule(Action::Replace, &[], "(.*)", "__scheme__", "https"),
        rule(Action::LabelDrop, &[], "env", "", ""),
    ];
    let probed = target(&job).unwrap();
    assert_eq!(
        (
            probed.uri.to_string().as_str(),
            probed.labels.to_string().as_str()
        ),
        (
            "https://exporter:9115/probe?module=http_2xx&target=web%3A80",
            r#"{dc="north",instance="web",job="test"}"#
        )
    );
    job.relabel = vec![rule(Action::Drop, &["__address__"], "web:.*", "", "")];
    assert_eq!(target(&job), None);
}

#[test]
fn what_is_no_address_is_told() {
    let job = job();
    for address in [
        "",
        "http://web:80",
        "a:80/metrics",
        "user:pass@web",
        "web:port",
        "we b",
    ] {
        let error = Target::of(&job, &Group::default(), address).unwrap_err();
        assert!(
            error.to_string().contains("expected `host:port`"),
            "{address}: {error}"
        );
    }
}

/// Not all targets are scraped at once, and each at the same time after a restart.
#[test]
fn targets_are_spread_over_the_interval() {
    let mut job = job();
    let interval = job.interval.as_micros() as i64;
    let offsets: Vec<i64> = (0..1000)
        .map(|host| {
            job.groups[0].targets[0] = format!("host{host}:9100");
            let target = target(&job).unwrap();
            let offset = target.offset(job.interval);
            assert!((0..interval).contains(&offset) && offset == target.offset(job.interval));
            offset
        })
        .collect();
    for tenth in 0..10 {
        let (from, to) = (tenth * interval / 10, (tenth + 1) * interval / 10);
        let there = offsets
            .iter()
            .filter(|offset| (from..to).contains(*offset))
            .count();
        assert!(
            (60..140).contains(&there),
            "{there} of 1000 in tenth {tenth}"
        );
    }
}

#[test]
fn files_are_read_again_and_keep_what_they_had_where_they_break() {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("targets.json");
    let mut job = job();
    job.groups.clear();
    job.files = vec![file.clone()];
    let mut discovery = Discovery::default();
    let mut look = |text: Option<&str>| {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let mut found: Vec<String> = discovery
            .look(&job)
            .iter()
            .map(|target| format!("{} {}", target.uri, target.labels.get("env").unwrap_or("-")))
            .collect();
        found.sort();
        found
    };
    let none: [&str; 0] = [];
    assert_eq!(look(None), none, "there is no file yet");
    let two = ["http://a:1/metrics prod", "http://b:2/metrics prod"];
    let text = r#"[{"targets": ["a:1", "b:2"], "labels": {"env": "prod"}}]"#;
    assert_eq!(look(Some(text)), two);
    for broken in [
        "",
        "[{",
        "{}",
        r#"[{"targets": 1}]"#,
        r#"[{"target": ["c:3"]}]"#,
    ] {
        assert_eq!(look(Some(broken)), two, "{broken}");
    }
    let one = ["http://b:2/metrics -"];
    assert_eq!(
        look(Some(r#"[{"targets": ["b:2", "b:2", "no address/"]}]"#)),
        one
    );
    assert_eq!(look(Some("[]")), none);
}
