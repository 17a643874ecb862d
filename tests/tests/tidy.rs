//! The rules of style that a machine can check, as a ratchet: what is long today may only shrink.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines that a Rust file may have.
const LINES_MAX: usize = 700;
/// Files that were longer when the rule came, with the lines they may have. Only ever lower a number or remove a line.
const LONGER: &[(&str, usize)] = &[];

/// Every file below `directory` that ends in one of `endings`, without build output, hidden directories and foreign code.
fn files(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.')
                && !["target", "tidewatch-data", "__pycache__", "node_modules"]
                    .contains(&name.as_str())
            {
                found.extend(files(&path, endings));
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Runs a check over every Rust file; it returns what is wrong with one.
fn check_rust(check: impl Fn(&str, &str) -> Option<String>) {
    let top = tests::repository();
    let wrong: Vec<String> = files(&top, &[".rs"])
        .iter()
        .filter_map(|path| {
            let name = path
                .strip_prefix(&top)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            check(&name, &std::fs::read_to_string(path).unwrap())
                .map(|what| format!("{name}: {what}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn read(path: &str) -> String {
    std::fs::read_to_string(tests::repository().join(path))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The rooms: top-level directories with a manifest.
fn rooms() -> BTreeSet<String> {
    std::fs::read_dir(tests::repository())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_file_opens_with_what_it_holds() {
    check_rust(|_, text| {
        let first = text.lines().next().unwrap_or_default();
        let says = first
            .strip_prefix("//! ")
            .is_some_and(|rest| rest.split(' ').count() >= 3);
        (!says).then(|| format!("opens with `{first}`; the first line says in a sentence what the file holds (`//! …`)"))
    });
}

#[test]
fn no_file_is_too_long() {
    check_rust(|name, text| {
        let limit = LONGER
            .iter()
            .find(|(file, _)| *file == name)
            .map_or(LINES_MAX, |(_, lines)| *lines);
        let lines = text.lines().count();
        (lines > limit).then(|| format!("{lines} lines, at most {limit}; split it by noun"))
    });
}

#[test]
fn no_drawer_and_no_numbered_twin() {
    const DRAWERS: &[&str] = &["utils", "util", "common", "types", "helpers", "misc"];
    check_rust(|name, text| {
        let stem = Path::new(name)
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let by_line = text.lines().find(|line| {
            let module = line
                .trim()
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ")
                .strip_prefix("mod ");
            module.is_some_and(|rest| DRAWERS.contains(&rest.trim_end_matches([';', '{', ' '])))
        });
        let twin = stem
            .rsplit_once("_v")
            .is_some_and(|(_, number)| number.parse::<u32>().is_ok());
        (DRAWERS.contains(&stem.as_str()) || twin || by_line.is_some())
            .then(|| "a drawer or a numbered twin; name what is inside".to_owned())
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in two halves, so that this file does not find itself.
    let words: Vec<String> = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("#[ig", "nore"),
        ("todo", "!("),
        ("unimplem", "ented!("),
        ("db", "g!("),
    ]
    .map(|(a, b)| format!("{a}{b}"))
    .to_vec();
    check_rust(|_, text| {
        let found = text.lines().enumerate().find_map(|(n, line)| {
            words
                .iter()
                .find(|word| line.contains(*word))
                .map(|word| (n + 1, word))
        });
        found.map(|(line, word)| format!("line {line}: `{word}`; finish it or leave it out"))
    });
}

#[test]
fn no_path_of_one_machine() {
    let top = tests::repository();
    let homes: Vec<String> = [
        ("/ho", "me/"),
        ("/ro", "ot/"),
        ("/Us", "ers/"),
        ("/wo", "rk/"),
    ]
    .map(|(a, b)| format!("{a}{b}"))
    .to_vec();
    let endings = [
        ".rs", ".toml", ".md", ".py", ".sh", ".json", ".txt", ".yml", ".yaml", "run",
    ];
    for path in files(&top, &endings)
        .into_iter()
        .chain([top.join(".ci/run"), top.join(".cargo/config.toml")])
    {
        let text = std::fs::read_to_string(&path).unwrap();
        let found = text
            .lines()
            .enumerate()
            .find(|(_, line)| homes.iter().any(|home| starts_a_path(line, home)));
        assert!(
            found.is_none(),
            "{}: line {}: `{}`",
            path.display(),
            found.unwrap().0 + 1,
            found.unwrap().1
        );
    }
}

/// Whether `home` stands in the line as the beginning of a path, and not inside a longer one.
fn starts_a_path(line: &str, home: &str) -> bool {
    line.match_indices(home)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c)))
}

#[test]
fn the_map_names_every_room_and_no_other() {
    // A room is a heading of the map: "### `bus/`: …".
    let named: BTreeSet<String> = read("docs/architecture.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|rest| rest.split_once("/`").map(|(room, _)| room.to_owned()))
        // Pages and files, no rooms.
        .filter(|name| !["docs", "packaging"].contains(&name.as_str()))
        .collect();
    assert_eq!(
        named,
        rooms(),
        "docs/architecture.md (left) and the rooms there are (right)"
    );
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut dead = Vec::new();
    for page in files(&tests::repository(), &[".md"]) {
        let text = std::fs::read_to_string(&page).unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next());
        let inside = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        dead.extend(
            inside
                .filter(|target| !page.parent().unwrap().join(target).exists())
                .map(|target| format!("{}: `{target}`", page.display())),
        );
    }
    assert!(
        dead.is_empty(),
        "links that lead nowhere:\n{}",
        dead.join("\n")
    );
}

#[test]
fn the_glossary_has_each_word_once() {
    let mut words = BTreeSet::new();
    for word in read("docs/glossary.md").lines().filter_map(|line| {
        line.strip_prefix("**")?
            .split_once("**")
            .map(|(word, _)| word.to_owned())
    }) {
        assert!(words.insert(word.clone()), "`{word}` is explained twice");
    }
    let required = [
        "anomaly",
        "archive",
        "aggregate store",
        "batch",
        "chain",
        "checkpoint",
        "claim",
        "dead letter",
        "epoch",
        "label",
        "lateness",
        "log clock",
        "metric",
        "offset",
        "partition",
        "record",
        "resource",
        "rollup",
        "sample",
        "seal",
        "series",
        "snapshot",
        "tick",
        "watermark",
        "window",
    ];
    let missing: Vec<_> = required
        .iter()
        .filter(|word| !words.contains(**word))
        .collect();
    assert!(missing.is_empty(), "docs/glossary.md lacks {missing:?}");
}

#[test]
fn every_room_inherits_the_lints_and_the_versions() {
    for room in rooms() {
        let manifest: toml::Table = read(&format!("{room}/Cargo.toml")).parse().unwrap();
        // A workspace of its own has nobody to inherit from; it must forbid the same.
        if manifest.contains_key("workspace") {
            let unsafe_code = &manifest["lints"]["rust"]["unsafe_code"];
            assert_eq!(unsafe_code.as_str(), Some("forbid"), "{room}/Cargo.toml");
            continue;
        }
        let inherits = |key: &str, value: &toml::Value| {
            assert_eq!(
                value.get("workspace"),
                Some(&toml::Value::Boolean(true)),
                "{room}/Cargo.toml: {key}"
            )
        };
        inherits("lints", &manifest["lints"]);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest
                .get(section)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten()
            {
                inherits(name, value);
            }
        }
    }
}

/// The versions of every package of a lock, by name.
fn locked(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lock: toml::Table = read(path).parse().unwrap();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let [name, version] = ["name", "version"].map(|key| package[key].as_str().unwrap());
        let of_name = versions.entry(name.to_owned()).or_default();
        of_name.insert(version.to_owned());
    }
    versions
}

#[test]
fn what_is_fuzzed_is_built_of_the_same_versions() {
    let (ours, fuzzed) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    let apart: Vec<&String> = ours
        .iter()
        .filter(|(name, versions)| {
            let other = fuzzed.get(*name);
            other.is_some_and(|other| other.is_disjoint(versions))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(
        apart.is_empty(),
        "fuzz/Cargo.lock has other versions of {apart:?}; fuzz/Cargo.toml says how to mend it"
    );
}

#[test]
fn every_exception_to_a_lint_has_its_reason() {
    check_rust(|_, text| {
        let allow = ["allow(clippy", "expect(clippy"];
        let bare = text.lines().enumerate().find(|(number, line)| {
            allow.iter().any(|word| {
                line.contains(&format!("#[{word}")) || line.contains(&format!("#![{word}"))
            }) && !text
                .lines()
                .skip(*number)
                .take(4)
                .any(|next| next.contains("reason ="))
        });
        bare.map(|(number, line)| {
            format!("line {}: `{}` without a reason", number + 1, line.trim())
        })
    });
}
