//! Section `bus.security`: what goes together, what a program without TLS says, and that no secret is shown.

use super::*;
use bus::kafka::{HAS_TLS, Mechanism};

/// A file that logs in to Kafka by a password in the clear, which every build can do, with further lines of the section.
fn plain(further: &str) -> String {
    format!(
        "[bus]\nkind = \"kafka\"\n[archive]\nurl = \"file:///a\"\n[bus.security]\nprotocol = \"sasl_plaintext\"\nmechanism = \"PLAIN\"\n{further}"
    )
}

#[test]
fn a_password_is_taken_from_its_setting_or_named_by_a_file() {
    let config = read(
        &plain("username = \"u\"\n"),
        &[("TIDEWATCH__BUS__SECURITY__PASSWORD", "canary")],
    )
    .unwrap();
    let sasl = config.bus.security.sasl.as_ref().unwrap();
    assert_eq!(
        (sasl.mechanism, sasl.username.as_str()),
        (Mechanism::Plain, "u")
    );
    assert!(!sasl.password.is_empty() && config.bus.password_file.is_none());
    assert!(!format!("{config:?}{}", config.to_toml()).contains("canary"));
    assert!(config.to_toml().contains("password = \"********\""));
    assert_eq!(config.bus.security.protocol(), "sasl_plaintext");

    let config = read(
        &plain("username = \"u\"\npassword_file = \"/run/p\"\n"),
        &[],
    )
    .unwrap();
    assert_eq!(config.bus.password_file, Some(PathBuf::from("/run/p")));
    // Where a secret lies is shown.
    assert!(config.to_toml().contains("password_file = \"/run/p\""));
}

#[test]
fn what_belongs_together_is_asked_for() {
    for (file, expected) in [
        (
            plain("password = \"canary\"\n"),
            "the built-in defaults: `bus.security.username`: expected the name of a user, because `bus.security.protocol` has SASL, found the text \"\"",
        ),
        (
            plain("username = \"u\"\n"),
            "the built-in defaults: `bus.security.password`: expected a password, or a file that holds it in `bus.security.password_file`, because `bus.security.protocol` has SASL, found another value (********)",
        ),
        (
            plain("username = \"u\"\npassword = \"canary\"\npassword_file = \"p\"\n"),
            "t.toml:10:17: `bus.security.password_file`: expected \"\", because `bus.security.password` is set, found the text \"p\"",
        ),
        (
            "[bus.security]\nkey_file = \"k\"\n".to_owned(),
            "the built-in defaults: `bus.security.certificate_file`: expected the certificate of `key_file`, found the text \"\"",
        ),
        (
            "[bus.security]\nmechanism = \"GSSAPI\"\n".to_owned(),
            "t.toml:2:13: `bus.security.mechanism`: expected \"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\", found the text \"GSSAPI\"",
        ),
    ] {
        check_problem(&file, &[], expected);
    }
}

#[test]
fn tls_needs_a_program_that_has_it() {
    let tls = "[bus]\nkind = \"kafka\"\n[bus.security]\nprotocol = \"ssl\"\n";
    let scram =
        plain("username = \"u\"\npassword = \"canary\"\n").replace("PLAIN", "SCRAM-SHA-256");
    let further = "[bus]\nkind = \"kafka\"\n[bus.settings]\n\"ssl.cipher.suites\" = \"x\"\n";
    for (file, place, setting) in [
        (tls, "t.toml:4:12: ", "protocol = \"ssl\""),
        (&scram, "t.toml:6:12: ", "SCRAM-SHA-256"),
        (further, "t.toml:4:23: ", "ssl.cipher.suites"),
    ] {
        let found = read(file, &[]);
        if HAS_TLS {
            found.unwrap();
            continue;
        }
        let Err(ConfigErrors(problems)) = found else {
            panic!("`{file}` was taken by a program without TLS");
        };
        assert_eq!(problems.len(), 1, "{problems:#?}");
        let text = &problems[0].text;
        assert!(
            text.starts_with(place) && text.contains(setting) && text.contains("kafka-tls"),
            "{text}"
        );
        assert_eq!(problems[0].code.id, "TW-LOG-010");
    }
    // The log in the data directory has no use for it.
    read("[bus.security]\nprotocol = \"ssl\"\n", &[]).unwrap();
}

#[test]
fn what_has_no_effect_or_sends_a_password_in_the_clear_is_told() {
    let doubts = |file: &str| read(file, &[]).unwrap().doubts();
    let clear = doubts(&plain("username = \"u\"\npassword_file = \"p\"\n"));
    assert_eq!(clear.len(), 1, "{clear:#?}");
    assert!(clear[0].starts_with("t.toml:6:12: the password is sent"));
    let kafka = "[bus]\nkind = \"kafka\"\n[archive]\nurl = \"file:///a\"\n[bus.security]\n";
    let unused = doubts(&format!("{kafka}ca_file = \"c\"\nusername = \"u\"\n"));
    assert_eq!(unused.len(), 2, "{unused:#?}");
    assert!(unused[0].contains(
        "`bus.security.ca_file` has no effect, because bus.security.protocol has no TLS"
    ));
    assert!(unused[1].contains(
        "`bus.security.username` has no effect, because bus.security.protocol has no SASL"
    ));
    let embedded = doubts("[bus.security]\nprotocol = \"ssl\"\n");
    assert!(
        embedded[0].contains("because bus.kind is \"embedded\""),
        "{embedded:?}"
    );
}
