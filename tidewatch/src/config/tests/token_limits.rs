//! Sections `limits.tokens.NAME`: whose they are, what they inherit, what is wrong with them and what is hardly meant.

use ingest::admission::Limit;

use super::*;

/// A file in which nothing else is worth a doubt.
fn asking(sections: &str) -> String {
    format!("[access]\nrequired = true\n{sections}")
}

/// What one token has of its own.
fn own(config: &Config, id: &str, name: &str) -> Vec<(Limit, usize)> {
    config.token_limits.of(id, name).iter().collect()
}

#[test]
fn a_section_holds_for_the_token_of_its_name_or_id_and_nobody_else() {
    let file = "[limits.sender]\nseries_max = 5\n\
        [limits.tokens.telegraf]\nbody_max = \"1MiB\"\nseries_max = 7\n\
        [limits.tokens.\"db.example, rack 1\"]\nlabels_max = 9\n\
        [limits.tokens.3f9c01ab]\nseries_first_max = 0\n";
    let variables = [
        ("TIDEWATCH__LIMITS__TOKENS__TELEGRAF__SERIES_MAX", "8"),
        ("TIDEWATCH__LIMITS__TOKENS__DB_1__IN_FLIGHT_MAX", "2MiB"),
    ];
    let config = read(file, &variables).unwrap();
    for (id, name, expected) in [
        (
            "00000000",
            "telegraf",
            &[(Limit::Body, 1 << 20), (Limit::SenderSeries, 8)][..],
        ),
        ("00000000", "db.example, rack 1", &[(Limit::Labels, 9)]),
        ("00000000", "db_1", &[(Limit::SenderInFlight, 2 << 20)]),
        // The id comes before the name.
        ("3f9c01ab", "telegraf", &[(Limit::SenderFirstSeries, 0)]),
        ("00000000", "3f9c01ab", &[(Limit::SenderFirstSeries, 0)]),
        ("00000000", "Telegraf", &[]),
        ("00000000", "", &[]),
    ] {
        assert_eq!(own(&config, id, name), expected, "{id} {name}");
    }
    let setting = |id: &str, name: &str| {
        let own = config.token_limits.of(id, name);
        own.setting(Limit::SenderSeries)
    };
    for (id, name, expected) in [
        ("0", "telegraf", "limits.tokens.telegraf.series_max"),
        (
            "0",
            "db.example, rack 1",
            "limits.tokens.\"db.example, rack 1\".series_max",
        ),
        // Where one may be set.
        ("0", "eu 1", "limits.tokens.\"eu 1\".series_max"),
        ("9c01ab3f", "", "limits.tokens.9c01ab3f.series_max"),
        (
            "9c01ab3f",
            &"x".repeat(65),
            "limits.tokens.9c01ab3f.series_max",
        ),
    ] {
        assert_eq!(setting(id, name), expected);
    }
    let told = config.to_toml();
    for part in [
        "[limits.tokens.telegraf]\nbody_max = \"1MiB\" # t.toml:4:12\nseries_max = 8 # environment variable",
        "[limits.tokens.\"db.example, rack 1\"]\nlabels_max = 9 # t.toml:",
        "[limits.tokens.3f9c01ab]\nseries_first_max = 0 # t.toml:",
    ] {
        assert!(told.contains(part), "{told}");
    }
    // What is told is a file itself.
    let again = read(&told, &[]).unwrap();
    assert_eq!(again.token_limits, config.token_limits);
}

#[test]
fn every_limit_of_a_sender_may_be_a_tokens_own_and_is_checked_as_everywhere() {
    for limit in Limit::OF_SENDER {
        let key = limit.key();
        let config = Config::defaults().unwrap();
        let shown = config.to_toml();
        let line = |line: &&str| line.starts_with(&format!("{key} = "));
        let value = shown.lines().find(line).unwrap();
        let file = format!("[limits.tokens.a]\n{value}\n");
        assert_eq!(own(&read(&file, &[]).unwrap(), "a", "").len(), 1, "{file}");
        let at = format!(
            "t.toml:2:{}: `limits.tokens.a.{key}`: expected ",
            key.len() + 4
        );
        for wrong in ["-1", "\"x\"", "[1]", "{ a = 1 }"] {
            let problems = problems(&format!("[limits.tokens.a]\n{key} = {wrong}\n"), &[]);
            let [problem] = &problems[..] else {
                panic!("{key} = {wrong}: {problems:?}")
            };
            assert!(problem.starts_with(&at), "{problem}");
        }
    }
}

#[test]
fn a_wrong_section_is_told_by_its_name_and_place() {
    for (file, expected) in [
        (
            "[limits.tokens.a]\nseries_maxx = 7\n",
            "t.toml:2:1: unknown key `limits.tokens.a.series_maxx`; the nearest valid one is `limits.tokens.a.series_max`",
        ),
        (
            "[limits.tokens.a]\nvalues_max = 7\n",
            "t.toml:2:1: unknown key `limits.tokens.a.values_max`; the nearest valid one is `limits.values_max`",
        ),
        (
            "[limits.tokens]\nseries_max = 7\n",
            "t.toml:2:1: unknown key `limits.tokens.series_max`; each token has a section of its own, `[limits.tokens.NAME]`",
        ),
        (
            "[limits]\ntokens = 7\n",
            "t.toml:2:10: `limits.tokens` is a section: expected a table `[limits.tokens]`, found the number 7",
        ),
        (
            "[limits.tokens.a]\n",
            "t.toml:1:16: `[limits.tokens.a]` is empty: expected its keys below it",
        ),
        (
            "[limits.tokens.db.example]\nseries_max = 7\n",
            "t.toml:1:19: unknown section `limits.tokens.db.example`; a name with dots stands in quotes: `[limits.tokens.\"db.example\"]`",
        ),
        (
            "[limits.tokens.a]\nseries_max = 0\n",
            "t.toml:2:14: `limits.tokens.a.series_max`: expected a whole number from 1 to 4294967296, found the number 0",
        ),
        (
            "[limits.tokens.a]\nbody_max = \"10\"\n",
            "t.toml:2:12: `limits.tokens.a.body_max`: expected a size with a unit, such as \"512KiB\", \"16MiB\", \"1GB\", found the text \"10\"",
        ),
        (
            "[limits.tokens.a]\nlabels_max = 300\n",
            "t.toml:2:14: `limits.tokens.a.labels_max`: expected a whole number from 1 to 256, found the number 300",
        ),
    ] {
        check_problem(file, &[], expected);
    }
    check_problem(
        "",
        &[("TIDEWATCH__LIMITS__TOKENS__A__SERIES_MA", "7")],
        "environment variable TIDEWATCH__LIMITS__TOKENS__A__SERIES_MA: unknown key `TIDEWATCH__LIMITS__TOKENS__A__SERIES_MA`; the nearest valid one is `TIDEWATCH__LIMITS__TOKENS__A__SERIES_MAX`",
    );
    check_problem(
        "",
        &[("TIDEWATCH__LIMITS__TOKENS__A__SERIES_MAX", "many")],
        "environment variable TIDEWATCH__LIMITS__TOKENS__A__SERIES_MAX: `limits.tokens.a.series_max`: expected a whole number, 0 or more, found the text \"many\"",
    );
}

#[test]
fn what_other_limits_make_pointless_is_told_with_both_settings() {
    for (sections, expected) in [
        ("[limits.tokens.a]\nseries_max = 2000000\n", vec![]),
        (
            "[limits.tokens.a]\nseries_max = 2000001\nrequests_max = 1025\n",
            vec![
                "t.toml:5:16: `limits.tokens.a.requests_max` is above `limits.requests_max`, which bounds all senders together and so this token, too",
                "t.toml:4:14: `limits.tokens.a.series_max` is above `limits.series_max`, which bounds all senders together and so this token, too",
            ],
        ),
        (
            "[limits.tokens.a]\nbody_max = \"40MiB\"\n",
            vec![
                "t.toml:4:12: `limits.tokens.a.body_max` is above `limits.decompressed_max`, so a body of that size is never taken from this token",
            ],
        ),
        (
            "[limits.tokens.a]\ndecompressed_max = \"15MiB\"\nin_flight_max = \"14MiB\"\nbody_max = \"1MiB\"\n",
            vec![
                "t.toml:4:20: `limits.tokens.a.decompressed_max` is above `limits.tokens.a.in_flight_max`, so a body of that size is never taken from this token",
            ],
        ),
    ] {
        let doubts = read(&asking(sections), &[]).unwrap().doubts();
        assert_eq!(doubts, expected, "{sections}");
    }
    // Where nobody is asked for a token there is none to have limits.
    let section = "[limits.tokens.a]\nseries_max = 7\n";
    assert_eq!(
        read(section, &[]).unwrap().doubts(),
        [
            "t.toml:2:14: `limits.tokens.a.series_max` has no effect, because nobody is asked for a token here (docs/access.md)"
        ]
    );
    let elsewhere = format!("{section}[receivers.otlp]\nlisten = [\"0.0.0.0:4317\"]\n");
    assert_eq!(
        read(&elsewhere, &[]).unwrap().doubts(),
        Vec::<String>::new()
    );
}
