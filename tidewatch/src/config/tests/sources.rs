//! Sections `sources.kafka.NAME`: what holds for all and for one, in files and the environment, and what is refused.

use super::*;
use bus::kafka::Start;
use ingest::foreign::{Format, unit_from_name};

#[test]
fn each_named_section_is_a_source_and_what_it_leaves_out_holds_for_all() {
    let file = "[bus]\ngroup = \"g\"\n\
        [sources.kafka]\nstart = \"latest\"\n\
        [sources.kafka.telegraf]\ntopics = [\"telegraf\", '^metrics\\..*']\nformat = \"influx\"\nprecision = \"s\"\n\
        [sources.kafka.collector]\ntopics = [\"otlp_metrics\"]\nbrokers = \"other:9092\"\ngroup = \"own\"\nstart = \"earliest\"\n";
    let config = read(
        file,
        &[("TIDEWATCH__SOURCES__KAFKA__VECTOR_1__TOPICS", "a,b")],
    )
    .unwrap();
    let [collector, telegraf, vector] = &config.sources[..] else {
        panic!("{:?}", config.sources)
    };
    assert_eq!(telegraf.topics, ["telegraf", r"^metrics\..*"]);
    assert_eq!(telegraf.reading.format, Format::Influx);
    assert_eq!(Some(telegraf.reading.unit), unit_from_name("s"));
    assert_eq!(
        (telegraf.group.as_str(), telegraf.start),
        ("g.telegraf", Start::Latest)
    );
    assert!(telegraf.cluster.is_none());
    let cluster = collector.cluster.as_ref().unwrap();
    assert_eq!(cluster.brokers, "other:9092");
    assert_eq!(
        (collector.group.as_str(), collector.start),
        ("own", Start::Earliest)
    );
    assert_eq!(
        (vector.name.as_str(), &vector.topics[..]),
        ("vector_1", &["a".to_owned(), "b".to_owned()][..])
    );
    assert!(
        config
            .to_toml()
            .contains("[sources.kafka.telegraf]\nformat = \"influx\" # t.toml:")
    );
    assert!(read("", &[]).unwrap().sources.is_empty());
}

#[test]
fn a_wrong_source_is_told_by_its_name_and_place() {
    for (file, expected) in [
        (
            "[sources.kafka.a]\nformat = \"influx\"\n",
            "the built-in defaults: `sources.kafka.a.topics`: expected at least one topic, found the list []",
        ),
        (
            "[sources.kafka.a]\ntopics = [\"t\"]\nformat = \"xml\"\n",
            "t.toml:3:10: `sources.kafka.a.format`: expected one of \"otlp_proto\", \"otlp_json\", \"influx\", \"json\", \"prometheusremotewrite\", \"native_json\", \"json_lines\", found the text \"xml\"",
        ),
        (
            "[sources.kafka.a]\ntopics = [\"t\"]\nfromat = \"influx\"\n",
            "t.toml:3:1: unknown key `sources.kafka.a.fromat`; the nearest valid one is `sources.kafka.a.format`",
        ),
        (
            "[sources.kafka.a]\ntopics = [\"tidewatch.samples\"]\n",
            "t.toml:2:10: `sources.kafka.a.topics`: expected topics of others, and `tidewatch.samples` is our own, found the list [\"tidewatch.samples\"]",
        ),
        (
            "[sources.kafka.a]\ntopics = \"t\"\n",
            "t.toml:2:10: `sources.kafka.a.topics`: expected a list of texts, such as [\"a\", \"b\"], found the text \"t\"",
        ),
        (
            "[sources.kafka.A]\ntopics = [\"t\"]\n",
            "t.toml:2:10: `sources.kafka.A.topics`: expected a section whose own name is 1 to 50 of the characters a-z 0-9 - _ instead of `A`, found the list [\"t\"]",
        ),
        (
            "[sources.kafka.a]\n",
            "t.toml:1:16: `[sources.kafka.a]` is empty: expected its keys below it",
        ),
        (
            "[sources.kafka.password]\ntopics = [\"t\"]\n",
            "t.toml:1:1: `sources.kafka.password`: expected a value of this key, or a section of another name, one that is no key of `[sources.kafka]`, found a table",
        ),
        (
            "[sources.kafka]\ntopics = { telegraf = \"t\" }\n",
            "t.toml:2:10: `sources.kafka.topics`: expected a value of this key, or a section of another name, one that is no key of `[sources.kafka]`, found a table",
        ),
        (
            "[sources.kafka.a]\ntopics = [\"t\"]\nbrokers = \"b:1\"\nprotocol = \"sasl_plaintext\"\nmechanism = \"PLAIN\"\npassword = \"p\"\n",
            "the built-in defaults: `sources.kafka.a.username`: expected the name of a user, because `sources.kafka.a.protocol` has SASL, found the text \"\"",
        ),
        (
            "[sources.kafka]\nstart = \"now\"\n[sources.kafka.a]\ntopics = [\"t\"]\n[sources.kafka.b]\ntopics = [\"t\"]\n",
            "t.toml:2:9: `sources.kafka.start`: expected \"earliest\" or \"latest\", found the text \"now\"",
        ),
    ] {
        check_problem(file, &[], expected);
    }
}

#[test]
fn no_source_has_the_name_of_a_key_by_the_environment_either() {
    check_problem(
        "",
        &[("TIDEWATCH__SOURCES__KAFKA__PASSWORD__TOPICS", "t")],
        "environment variable TIDEWATCH__SOURCES__KAFKA__PASSWORD__TOPICS: `sources.kafka.password.topics`: expected a section whose own name is no key of `[sources.kafka]` instead of `password`, found another value (********)",
    );
}

#[test]
fn the_secret_of_a_source_is_not_shown() {
    let file = "[sources.kafka.a]\ntopics = [\"t\"]\nbrokers = \"b:1\"\nprotocol = \"sasl_plaintext\"\nmechanism = \"PLAIN\"\nusername = \"u\"\npassword = \"canary\"\n";
    let config = read(file, &[]).unwrap();
    let sasl = &config.sources[0].cluster.as_ref().unwrap().security.sasl;
    assert!(!sasl.as_ref().unwrap().password.is_empty());
    assert!(!format!("{config:?}{}", config.to_toml()).contains("canary"));
}

#[test]
fn what_sources_use_of_the_logs_section_has_an_effect() {
    let doubts = |file: &str| read(file, &[]).unwrap().doubts();
    let bus = "[bus]\nbrokers = \"k:9092\"\n[bus.settings]\n\"client.rack\" = \"a\"\n";
    assert_eq!(doubts(bus).len(), 2, "{:?}", doubts(bus));
    let shares = format!("{bus}[sources.kafka.a]\ntopics = [\"t\"]\n");
    assert_eq!(doubts(&shares), Vec::<String>::new());
    let own = format!("{shares}brokers = \"b:1\"\n");
    assert_eq!(doubts(&own).len(), 1, "{:?}", doubts(&own));
}
