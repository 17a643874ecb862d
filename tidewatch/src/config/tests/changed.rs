//! Settings and the file of tokens, changed in any way: they are taken or refused, never the end of the program.

use std::path::PathBuf;

use super::super::template;
use super::*;
use crate::access::Registry;

#[allow(unreachable_pub, reason = "public in the room that it stands in")]
#[path = "../../../../tests/src/mutation.rs"]
mod mutation;
#[allow(
    unreachable_pub,
    dead_code,
    reason = "public in the room that it stands in"
)]
#[path = "../../../../tests/src/random.rs"]
mod random;

use mutation::mutate;
use random::Random;

/// Files of each kind.
const FILES: usize = 1_000;
/// The longest file.
const BYTES_MAX: usize = 32 * 1024;

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn changed_settings_are_taken_or_refused() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/configuration");
    let mut seeds: Vec<PathBuf> = std::fs::read_dir(corpus)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    seeds.sort();
    let seeds = seeds.iter().map(|path| std::fs::read(path).unwrap());
    let all: String = template()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let seeds: Vec<Vec<u8>> = seeds.chain([all.into_bytes()]).collect();
    let mut random = Random::from_environment(3);
    let mut taken = 0;
    for number in 0..FILES {
        let text = mutate(&mut random, &seeds, BYTES_MAX);
        let text = String::from_utf8_lossy(&text);
        if let Ok(config) = read(&text, &[]) {
            taken += 1;
            let shown = config.to_toml();
            let again = read(&shown, &[]);
            assert!(
                again.is_ok(),
                "file {number}: {again:?}\n{text}\nshown as\n{shown}"
            );
        }
    }
    assert!(
        taken > 20,
        "only {taken} of {FILES} were taken: the changes are too wild to tell anything"
    );
}

#[test]
fn a_changed_file_of_tokens_is_taken_or_refused() {
    const TOKENS: &str = r#"{"version": 1, "tokens": [{"id": "0a1b2c3d", "name": "b\u00fcro", "scopes": ["ingest", "query"],
        "sha256": "b5ba960483ee1ed73c64cd545c1f718089c86b82ea6428011ddcd5d952a7d91b", "created": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z"}]}"#;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.json");
    Registry::change(&path, |_| Ok(())).unwrap();
    std::fs::write(&path, TOKENS).unwrap();
    Registry::open(&path).unwrap();
    let seeds = seeds(&[TOKENS]);
    let mut random = Random::from_environment(4);
    for _ in 0..FILES {
        std::fs::write(&path, mutate(&mut random, &seeds, BYTES_MAX)).unwrap();
        let _taken_or_refused = Registry::open(&path);
    }
}
