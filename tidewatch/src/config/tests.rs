//! Typos, types, layers, and that every problem is told at once.

use std::time::Duration;

use schemas::Resolution;
use schemas::time::MINUTE;

use super::*;

mod changed;
mod every_key;
mod security;
mod sources;
mod token_limits;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::from_layers(Some(("t.toml", file)), env(variables), &[])
}

/// The problems of a file and variables, one per line.
fn problems(file: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match read(file, variables) {
        Ok(_) => Vec::new(),
        Err(ConfigErrors(problems)) => problems.into_iter().map(|problem| problem.text).collect(),
    }
}

#[track_caller]
fn check_problem(file: &str, variables: &[(&str, &str)], expected: &str) {
    assert_eq!(
        problems(file, variables),
        [expected],
        "for `{file}` {variables:?}"
    );
}

#[test]
fn defaults_are_valid_complete_and_all_used() {
    let mut layers = Layers::new(DEFAULTS);
    super::read::take_all(&mut layers);
    assert_eq!(
        layers.untaken(),
        Vec::<&String>::new(),
        "settings without effect"
    );
    let (_, _, problems) = layers.finish();
    assert_eq!(problems, []);
}

#[test]
fn every_default_has_a_comment() {
    let mut commented = false;
    for line in DEFAULTS.lines() {
        if line.starts_with('#') {
            commented = true;
        } else if line.is_empty() || line.starts_with('[') {
            commented = false;
        } else {
            assert!(commented, "no comment above `{line}`");
        }
    }
}

/// The rooms' own defaults are what tests of those rooms run with: they must not drift from what users get.
#[test]
fn defaults_agree_with_the_rooms() {
    let config = read("", &[]).unwrap();
    assert_eq!(config.processing, ProcessingConfig::default());
    assert_eq!(config.checkpoint, CheckpointPolicy::default());
    assert_eq!(config.archive.compaction, CompactionPolicy::default());
    assert_eq!(config.query, query::Limits::default());
    assert_eq!(config.limits, ingest::http::Limits::default());
    assert_eq!(
        config.receivers.statsd,
        ingest::sockets::statsd::StatsdOptions::default()
    );
    assert_eq!(
        config.receivers.graphite_template,
        ingest::sockets::graphite::Template::default()
    );
    assert_eq!(config.retention, Retention::default());
}

#[test]
fn later_layers_win() {
    let file = "[bus]\npartitions = 8\ngroup = \"file\"\n[processing]\nlateness = \"3m\"\n";
    let variables = env(&[
        ("TIDEWATCH__BUS__GROUP", "env"),
        ("TIDEWATCH__SERVER__LISTEN", "127.0.0.1:1"),
        ("TIDEWATCH__COLLECTORS__HOST__ENABLED", "false"),
    ]);
    let flag = FlagValue {
        flag: "--listen",
        path: "server.listen",
        value: "127.0.0.1:2".into(),
    };
    let config = Config::from_layers(Some(("t.toml", file)), variables, &[flag]).unwrap();
    assert_eq!(config.bus.partitions, Some(8));
    assert_eq!(config.bus.group, "env");
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.processing.lateness, 3 * MINUTE);
    assert_eq!(config.host_interval, None);
    assert_eq!(
        config.bus.topic_prefix, "tidewatch",
        "what nobody set keeps its default"
    );
}

#[test]
fn a_typo_names_the_nearest_key() {
    check_problem(
        "[bus]\npartition = 8\n",
        &[],
        "t.toml:2:1: unknown key `bus.partition`; the nearest valid one is `bus.partitions`",
    );
    check_problem(
        "\n\n[procesing]\nlateness = \"1m\"\n",
        &[],
        "t.toml:3:2: unknown section `procesing`; the nearest valid one is `processing`",
    );
    check_problem(
        "[checkpoint]\ninterval = \"1m\"\n",
        &[],
        "t.toml:1:2: unknown section `checkpoint`; `tidewatch config --template` names all that are valid",
    );
    check_problem(
        "[ingest]\nbody_max = \"1MiB\"\n",
        &[],
        "t.toml:1:2: unknown section `ingest`; it is called `limits` now",
    );
    check_problem(
        "",
        &[("TIDEWATCH__INGEST__BODY_MAX", "1MiB")],
        "environment variable TIDEWATCH__INGEST__BODY_MAX: unknown key `TIDEWATCH__INGEST__BODY_MAX`; it is called `TIDEWATCH__LIMITS__BODY_MAX` now",
    );
    check_problem(
        "[server]\npartitions = 3\n",
        &[],
        "t.toml:2:1: unknown key `server.partitions`; the nearest valid one is `bus.partitions`",
    );
    check_problem(
        "",
        &[("TIDEWATCH__QUERY__TIMOUT", "1s")],
        "environment variable TIDEWATCH__QUERY__TIMOUT: unknown key `TIDEWATCH__QUERY__TIMOUT`; the nearest valid one is `TIDEWATCH__QUERY__TIMEOUT`",
    );
    check_problem(
        "bus = 3\n",
        &[],
        "t.toml:1:7: `bus` is a section: expected a table `[bus]`, found the number 3",
    );
}

#[test]
fn a_wrong_type_says_line_expected_and_found() {
    check_problem(
        "[bus]\npartitions = \"four\"\n",
        &[],
        "t.toml:2:14: `bus.partitions`: expected a whole number from 0 to 4294967295, found the text \"four\"",
    );
    check_problem(
        "[collectors.host]\n# c\nenabled = 1\n",
        &[],
        "t.toml:3:11: `collectors.host.enabled`: expected true or false, found the number 1",
    );
    check_problem(
        "[query]\ntimeout = 30\n",
        &[],
        "t.toml:2:11: `query.timeout`: expected a duration with a unit, such as \"250ms\", \"10s\", \"2m\", \"6h\", \"14d\", found the number 30",
    );
    check_problem(
        "",
        &[("TIDEWATCH__BUS__PARTITIONS", "many")],
        "environment variable TIDEWATCH__BUS__PARTITIONS: `bus.partitions`: expected a whole number from 0 to 4294967295, found the text \"many\"",
    );
    check_problem(
        "[bus]\npartitions = 4097\n",
        &[],
        "t.toml:2:14: `bus.partitions`: expected a whole number from 0 to 4096, found the number 4097",
    );
    check_problem(
        "[detection]\nalarms_per_month = 0.0\n",
        &[],
        "t.toml:2:20: `detection.alarms_per_month`: expected 0.01 to 10000000, found the number 0",
    );
    check_problem(
        "[detection]\nrest = \"400d\"\n",
        &[],
        "t.toml:2:8: `detection.rest`: expected 0 to 31622400 seconds, found the text \"400d\"",
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let file = "[bus]\nkind = \"nats\"\npartition = 3\n[archive]\nrollups = [\"2s\"]\n[log]\nformat = 1\n[query]\nmemory = \"lots\"\n";
    let found = problems(file, &[("TIDEWATCH__SERVER__LISTEN", "nowhere")]);
    for part in [
        "bus.kind",
        "bus.partition",
        "archive.rollups",
        "log.format",
        "query.memory",
        "server.listen",
    ] {
        assert_eq!(
            found
                .iter()
                .filter(|problem| problem.contains(part))
                .count(),
            1,
            "{part} in {found:#?}"
        );
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    let text = read(file, &[]).unwrap_err().to_string();
    assert!(
        text.starts_with("5 problems with the configuration:\n  t.toml:"),
        "{text}"
    );
}

#[test]
fn broken_toml_says_the_line() {
    let found = problems("[bus]\nkind = \n", &[]);
    assert!(found[0].starts_with("t.toml:2:"), "{found:?}");
}

#[test]
fn free_tables_take_any_key_and_their_secrets_are_masked() {
    let file = "[bus.settings]\n\"group.instance.id\" = \"u\"\n\"socket.keepalive.enable\" = true\n[archive.options]\nendpoint = \"http://h:1\"\nsecret_access_key = \"hush\"\n";
    let config = read(
        file,
        &[
            ("TIDEWATCH__BUS__SETTINGS__SSL_KEYSTORE_PASSWORD", "hush"),
            ("TIDEWATCH__ARCHIVE__OPTIONS__ACCESS_KEY_ID", "hush"),
        ],
    )
    .unwrap();
    assert_eq!(config.bus.settings["ssl.keystore.password"], "hush");
    assert_eq!(config.bus.settings["socket.keepalive.enable"], "true");
    assert_eq!(config.archive.options["access_key_id"], "hush");
    let shown = config.to_toml();
    assert!(!shown.contains("hush"), "{shown}");
    assert!(
        shown.contains("\"group.instance.id\" = \"u\" # t.toml:2:23"),
        "{shown}"
    );
    assert!(shown.contains("endpoint = \"http://h:1\""), "{shown}");
    let found = problems("[bus.settings]\ngroup.instance = \"u\"\n", &[]);
    assert!(
        found[0].contains("quote a key that holds dots"),
        "{found:?}"
    );
}

#[test]
fn what_is_shown_can_be_read_again() {
    let config = read(
        "[bus]\npartitions = 8\n[archive]\nrollups = [\"1m\"]\n",
        &[],
    )
    .unwrap();
    let again = read(&config.to_toml(), &[]).unwrap();
    assert_eq!(again.bus, config.bus);
    assert_eq!(again.archive.rollups, [Resolution::Minute]);
    assert_eq!(again.checkpoint.interval, Duration::from_secs(30));
}

#[test]
fn lists_and_texts_come_from_the_environment() {
    let config = read(
        "",
        &[
            ("TIDEWATCH__ARCHIVE__ROLLUPS", "1m, 1h"),
            ("TIDEWATCH__BUS__GROUP", "42"),
            ("TIDEWATCH_CRASH_AT", "not ours"),
        ],
    )
    .unwrap();
    assert_eq!(
        config.archive.rollups,
        [Resolution::Minute, Resolution::Hour]
    );
    assert_eq!(
        config.bus.group, "42",
        "a text stays one, also if it looks like a number"
    );
}

#[test]
fn at_an_address_that_others_reach_everybody_is_asked_for_a_token() {
    let cases = [
        ("", true),
        ("[server]\nlisten = \"[::1]:7744\"\n", true),
        ("[access]\nrequired = true\n", false),
        ("[server]\nlisten = \"0.0.0.0:7744\"\n", false),
        (
            "[server]\nlisten = \"0.0.0.0:7744\"\ninsecure_listen = true\n",
            true,
        ),
    ];
    for (file, anonymous) in cases {
        let config = read(file, &[]).unwrap();
        assert_eq!(
            config.is_anonymous_at(config.server.listen),
            anonymous,
            "{file}"
        );
        let open_to_all = anonymous && !config.server.listen.ip().is_loopback();
        let doubts = config.doubts();
        let warned = doubts.iter().any(|doubt| doubt.contains("nobody is asked"));
        assert_eq!(warned, open_to_all, "{file}: {doubts:?}");
    }
    assert_eq!(
        read("[server]\nlisten = \"localhost:7\"\n", &[])
            .unwrap()
            .server
            .listen
            .to_string(),
        "127.0.0.1:7"
    );
}

#[test]
fn each_problem_ends_with_its_code_and_a_secret_is_not_shown() {
    let file = "[archive.options]\nsecret_access_key = [\"hush\"]\n[bus]\npartition = 1\n";
    let text = read(file, &[]).unwrap_err().to_string();
    assert!(!text.contains("hush"), "{text}");
    assert!(
        text.contains("expected text, a number, or true or false, found another value (********)"),
        "{text}"
    );
    assert!(text.contains("`bus.partitions` [TW-CONFIG-003]"), "{text}");
}

#[test]
fn columns_count_characters_and_lines_survive_carriage_returns() {
    let found = problems("[server]\r\n\r\n[query]\r\n\ttimeout = \"äöü\"\r\n", &[]);
    assert!(
        found[0].starts_with("t.toml:4:12: `query.timeout`"),
        "{found:?}"
    );
    let found = problems("[bus]\ngroup = \"äöü\", x\n", &[]);
    assert!(found[0].starts_with("t.toml:2:14: "), "{found:?}");
}

#[test]
fn what_is_hardly_meant_is_told_and_the_defaults_are_meant() {
    assert_eq!(read("", &[]).unwrap().doubts(), Vec::<String>::new());
    let check = |file: &str, variables: &[(&str, &str)], expected: &[&str]| {
        let doubts = read(file, variables).unwrap().doubts();
        assert_eq!(doubts.len(), expected.len(), "{doubts:#?}");
        for (doubt, part) in doubts.iter().zip(expected) {
            assert!(doubt.contains(part), "`{part}` in `{doubt}`");
        }
    };
    check(
        "[bus]\nbrokers = \"b:9092\"\n",
        &[],
        &["t.toml:2:11: `bus.brokers` has no effect, because bus.kind is \"embedded\""],
    );
    check(
        "[bus]\nkind = \"kafka\"\n",
        &[],
        &["t.toml:2:8: the archive is in the data directory"],
    );
    check(
        "[bus]\npartitions = 8\n",
        &[("TIDEWATCH__BUS__PARTITIONS", "9")],
        &[
            "t.toml:2:14: `bus.partitions` has no effect: environment variable TIDEWATCH__BUS__PARTITIONS sets it too",
        ],
    );
    check(
        "[detection]\nenabled = false\nwatch = \"high\"\n[archive.options]\nregion = \"x\"\n",
        &[],
        &[
            "`archive.options.region` has no effect",
            "`detection.watch` has no effect",
        ],
    );
    check(
        "[query]\nmemory = \"1GiB\"\n[processing]\nlateness = \"1s\"\n[limits]\nbody_max = \"64MiB\"\n",
        &[],
        &[
            "`limits.body_max` is above",
            "`query.memory` is above",
            "windows close before",
        ],
    );
    check(
        "",
        &[
            ("TIDEWATCH_BUS__PARTITIONS", "8"),
            ("TIDEWATCH_SERVER_LISTEN", "x"),
            ("TIDEWATCH_CRASH_AT", "x"),
            ("TIDEWATCH_TEST_BINARY", "x"),
        ],
        &[
            "environment variable TIDEWATCH_BUS__PARTITIONS is not a setting and has no effect; TIDEWATCH__BUS__PARTITIONS is",
            "TIDEWATCH__SERVER__LISTEN is",
        ],
    );
}

#[test]
fn the_template_changes_nothing_holds_every_key_and_is_the_packaged_file() {
    let template = super::template();
    assert_eq!(read(&template, &[]).unwrap().doubts(), Vec::<String>::new());
    let uncommented: String = template
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = read(&uncommented, &[]).unwrap();
    for path in super::layers::known_paths(DEFAULTS) {
        assert!(config.is_set(&path), "the template lacks {path}");
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/tidewatch.toml");
    assert!(
        std::fs::read_to_string(place).unwrap_or_default() == template,
        "packaging/tidewatch.toml is not what the defaults say; write it anew: tidewatch config --template > packaging/tidewatch.toml"
    );
}

#[test]
fn origins_are_counted() {
    let config = read("[bus]\npartitions = 8\n", &[("TIDEWATCH__BUS__GROUP", "g")]).unwrap();
    let all = super::layers::known_paths(DEFAULTS).len();
    assert_eq!(
        config.origins(),
        format!(
            "{all} settings: 1 from t.toml, 1 from the environment, {} defaults",
            all - 2
        )
    );
}
