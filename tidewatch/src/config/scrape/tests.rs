//! Tests of `[[scrape]]`: what a full table means, and what is told of every mistake in one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ingest::collectors::scrape::Credentials;
use rstest::rstest;

use super::super::{Config, ConfigErrors};

fn read(file: &str) -> Result<Config, ConfigErrors> {
    Config::from_layers(Some(("t.toml", file)), [], &[])
}

#[test]
fn a_job_needs_a_name_and_a_target_and_has_the_defaults_of_prometheus() {
    let config = read("[[scrape]]\njob = \"node\"\ntargets = [\"a:9100\"]\n").unwrap();
    let job = &config.scrape[0];
    assert_eq!(
        (
            job.interval,
            job.timeout,
            job.scheme.as_str(),
            job.path.as_str()
        ),
        (
            Duration::from_secs(15),
            Duration::from_secs(10),
            "http",
            "/metrics"
        )
    );
    assert!(job.honor_timestamps && !job.honor_labels);
    assert_eq!((job.body_bytes_max, job.samples_max), (16 << 20, 1_000_000));
    assert_eq!(job.credentials, Credentials::None);
    assert!(Config::defaults().unwrap().scrape.is_empty());
    // Shorter than the default timeout.
    let config = read("[[scrape]]\njob = \"node\"\ntargets = [\"a:9100\"]\ninterval = \"2s\"\n");
    assert_eq!(config.unwrap().scrape[0].timeout, Duration::from_secs(2));
}

#[test]
fn every_key_reaches_its_job_and_is_shown() {
    let text = r#"
[[scrape]]
job = "first"
files = ["targets.json", "more.json"]
bearer_token_file = "t"

[[scrape]]
job = "all"
targets = ["a:1", "b:2"]
labels = { env = "prod" }
interval = "1m"
timeout = "30s"
scheme = "https"
path = "/probe"
params = { module = "http_2xx" }
honor_labels = true
honor_timestamps = false
body_max = "1MiB"
samples_max = 10
username = "me"
password_file = "p"
ca_file = "ca.pem"
relabel = [{ source_labels = ["__address__"], regex = "(.*):.*", target_label = "instance", replacement = "$1" }]

[[scrape.metric_relabel]]
action = "drop"
source_labels = ["__name__"]
regex = "go_.*"
[[scrape.metric_relabel]]
action = "labeldrop"
regex = "id"
"#;
    let config = read(text).unwrap();
    let again = read(&config.to_toml()).unwrap();
    for config in [config, again] {
        let [first, all] = &config.scrape[..] else {
            panic!("{:?}", config.scrape)
        };
        assert_eq!(
            first.files,
            ["targets.json", "more.json"].map(PathBuf::from)
        );
        assert_eq!(
            first.credentials,
            Credentials::Bearer {
                token_file: PathBuf::from("t")
            }
        );
        let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(all.groups[0].targets, ["a:1", "b:2"]);
        assert_eq!(all.groups[0].labels, one("env", "prod"));
        assert_eq!(all.params, one("module", "http_2xx"));
        assert_eq!(
            (all.interval, all.timeout),
            (Duration::from_secs(60), Duration::from_secs(30))
        );
        assert_eq!(
            (all.scheme.as_str(), all.path.as_str()),
            ("https", "/probe")
        );
        assert!(all.honor_labels && !all.honor_timestamps);
        assert_eq!((all.body_bytes_max, all.samples_max), (1 << 20, 10));
        assert_eq!(
            all.credentials,
            Credentials::Basic {
                username: "me".to_owned(),
                password_file: PathBuf::from("p")
            }
        );
        assert_eq!(all.ca_file, Some(PathBuf::from("ca.pem")));
        assert_eq!((all.relabel.len(), all.metric_relabel.len()), (1, 2));
    }
}

#[rstest]
#[case::no_name(
    "targets = [\"a:1\"]",
    "`scrape[1].job`: expected a name: it becomes the label `job`"
)]
#[case::no_target(
    "job = \"a\"",
    "`scrape[1].targets`: expected at least one `host:port` here, or `files`"
)]
#[case::unknown_key(
    "job = \"a\"\ntargets = [\"a:1\"]\nintervall = \"1s\"",
    "unknown key `intervall` in `scrape[1]`; the nearest valid one is `interval`"
)]
#[case::wrong_type(
    "job = \"a\"\ntargets = \"a:1\"\nfiles = [\"f\"]",
    "`scrape[1].targets`: expected a list of texts, such as [\"a\", \"b\"], found the text \"a:1\""
)]
#[case::interval(
    "job = \"a\"\ntargets = [\"a:1\"]\ninterval = \"2h\"",
    "`scrape[1].interval`: expected a duration from \"1s\" to \"1h\", found the text \"2h\""
)]
#[case::timeout(
    "job = \"a\"\ntargets = [\"a:1\"]\ninterval = \"5s\"\ntimeout = \"6s\"",
    "`scrape[1].timeout`: expected a duration of at least \"10ms\" and at most `interval`, found the text \"6s\""
)]
#[case::scheme(
    "job = \"a\"\ntargets = [\"a:1\"]\nscheme = \"ftp\"",
    "`scrape[1].scheme`: expected \"http\" or \"https\", found the text \"ftp\""
)]
#[case::two_credentials(
    "job = \"a\"\ntargets = [\"a:1\"]\nusername = \"u\"\npassword_file = \"p\"\nbearer_token_file = \"t\"",
    "`scrape[1].bearer_token_file`: expected either this or `username` and `password_file`"
)]
#[case::half_a_credential(
    "job = \"a\"\ntargets = [\"a:1\"]\nusername = \"u\"",
    "`scrape[1].username`: expected both `username` and `password_file`"
)]
#[case::same_name(
    "job = \"a\"\ntargets = [\"a:1\"]\n[[scrape]]\njob = \"a\"\ntargets = [\"b:1\"]",
    "`scrape[2].job`: another table has the name \"a\""
)]
#[case::action(
    "job = \"a\"\ntargets = [\"a:1\"]\nrelabel = [{ action = \"hashmod\" }]",
    "`scrape[1].relabel[1].action`: expected one of replace, keep, drop, labelmap, labeldrop, labelkeep, found the text \"hashmod\""
)]
#[case::rule_key(
    "job = \"a\"\ntargets = [\"a:1\"]\nmetric_relabel = [{ action = \"labeldrop\", regexp = \"x\" }]",
    "unknown key `regexp` in `scrape[1].metric_relabel[1]`; the nearest valid one is `regex`"
)]
#[case::regex(
    "job = \"a\"\ntargets = [\"a:1\"]\nmetric_relabel = [{ action = \"labeldrop\", regex = \"(\" }]",
    "`scrape[1].metric_relabel[1]`: `(` is no regular expression: unclosed group"
)]
#[case::no_list_of_rules(
    "job = \"a\"\ntargets = [\"a:1\"]\nrelabel = 5",
    "`scrape[1].relabel`: expected a list of tables, each a rule such as { action = \"drop\", source_labels = [\"__name__\"], regex = \"go_.*\" }, found the number 5"
)]
fn a_mistake_is_told_once_and_where_it_is(#[case] table: &str, #[case] expected: &str) {
    let Err(ConfigErrors(problems)) = read(&format!("[[scrape]]\n{table}\n")) else {
        panic!("`{table}` was taken")
    };
    let texts: Vec<String> = problems.into_iter().map(|problem| problem.text).collect();
    assert_eq!(texts, [format!("t.toml:1:1: {expected}")]);
}

#[test]
fn a_plain_table_is_told_to_be_a_list() {
    let Err(ConfigErrors(problems)) = read("[scrape]\njob = \"a\"\n") else {
        panic!("it was taken")
    };
    assert_eq!(
        problems[0].text,
        "t.toml:1:1: `scrape`: expected tables, each headed by [[scrape]], found a table"
    );
}
