//! The SQL shell as a person uses it, in a terminal of 80×24: typing, completing, cancelling, a lost instance, and what stays afterwards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tests::process::{Launch, Tidewatch, binary};
use tests::tmux::{Tmux, is_available};

/// A query that takes longer than anyone waits.
const ENDLESS: &str = "SELECT count(*) FROM samples a, samples b, samples c, samples d, samples e WHERE a.value + b.value + c.value > d.value * e.value;";
const PROMPT: &str = "tidewatch>";
const SAMPLES: u64 = 2_000;

/// One query at a time, for a long time: one that goes on after Ctrl-C would keep every other one out.
fn launch(directory: &Path) -> Launch {
    Launch::new(directory)
        .env("TIDEWATCH__QUERY__CONCURRENT_MAX", "1")
        .env("TIDEWATCH__QUERY__WAIT", "20s")
        .env("TIDEWATCH__QUERY__TIMEOUT", "10m")
}

/// Writes samples, and waits until queries see them.
fn write_samples(process: &mut Tidewatch) {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first_ms = since_1970.as_millis() - u128::from(SAMPLES);
    let lines: String = (0..SAMPLES)
        .map(|n| {
            format!(
                "shell,host=web-{} n={n} {}\n",
                n % 7,
                first_ms + u128::from(n)
            )
        })
        .collect();
    let answer = process.write_lines(&lines).unwrap();
    assert!(answer.is_success(), "{}", answer.text());
    let mut seen = Vec::new();
    while seen != [serde_json::json!({ "found": SAMPLES })] {
        assert!(process.exited().is_none(), "{}", process.log());
        process.wait_until(Duration::from_millis(100), |_| false);
        seen = process.sql("SELECT count(*) AS found FROM samples");
    }
}

/// A shell on the data directory of a launch, once it asks for a statement.
fn open_shell(name: &str, directory: &Path, launch: &Launch, colours: bool) -> Tmux {
    let state = directory.join("state").display().to_string();
    let data_dir = launch.data_dir().display().to_string();
    let no_color = if colours { "" } else { "1" };
    let environment = [
        ("XDG_STATE_HOME", state.as_str()),
        ("NO_COLOR", no_color),
        ("TIDEWATCH__QUERY__CONCURRENT_MAX", "1"),
        ("TIDEWATCH__QUERY__WAIT", "20s"),
        ("TIDEWATCH__QUERY__TIMEOUT", "10m"),
    ];
    let words = [binary().to_str().unwrap(), "sql", "--data-dir", &data_dir];
    let tmux = Tmux::start(name, directory, &environment, &words);
    tmux.wait_for("a prompt", |screen| screen.ends_with(PROMPT));
    tmux
}

/// Waits for an answer: its last line, and a new prompt.
fn wait_for_answer(tmux: &Tmux, part: &str) -> String {
    tmux.wait_for(&format!("`{part}` and a prompt"), |screen| {
        screen.contains(part) && screen.ends_with(PROMPT)
    })
}

/// Empties the screen, so that nothing old is taken for new.
fn clear(tmux: &Tmux) {
    tmux.key("C-l");
    tmux.wait_for("an empty screen", |screen| screen == PROMPT);
}

fn cancels_and_goes_on(tmux: &Tmux) {
    clear(tmux);
    tmux.line(ENDLESS);
    tmux.wait_for("the statement", |screen| screen.ends_with("e.value;"));
    tmux.wait_for_column(0);
    tmux.key("C-c");
    wait_for_answer(tmux, "cancelled after");
    clear(tmux);
    tmux.line("SELECT 40 + 2 AS answer;");
    let screen = wait_for_answer(tmux, "(1 row,");
    assert!(screen.contains("answer\n------\n    42\n"), "{screen}");
}

#[test]
fn statements_are_typed_completed_cancelled_and_remembered() {
    if !is_available("sql_shell") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let launch = launch(directory.path());
    let mut process = launch.start_ready();
    write_samples(&mut process);
    let tmux = open_shell("shell", directory.path(), &launch, false);

    tmux.line("\\d");
    let tables = wait_for_answer(&tmux, "rows,");
    assert!(
        tables.contains("\nsamples") && tables.contains("\nrollups_1d"),
        "{tables}"
    );
    clear(&tmux);
    tmux.text("\\d sam");
    tmux.key("Tab");
    tmux.wait_for("a completed name", |screen| screen.ends_with("\\d samples"));
    tmux.key("Enter");
    let columns = wait_for_answer(&tmux, "(7 rows,");
    assert!(columns.contains("\nvalue      Float64\n"), "{columns}");

    // Several lines, with a table and then a column completed.
    clear(&tmux);
    tmux.line("SELECT count(*) AS found, max(value) AS top");
    tmux.text("FROM sam");
    tmux.key("Tab");
    tmux.text("WHERE met");
    tmux.key("Tab");
    tmux.line("LIKE 'shell%'");
    tmux.line(";");
    let screen = wait_for_answer(&tmux, "(1 row,");
    assert!(
        screen.contains("        -> FROM samples WHERE metric LIKE 'shell%'\n"),
        "{screen}"
    );
    assert!(
        screen.contains("found     top\n-----  ------\n 2000  1999.0\n"),
        "{screen}"
    );

    clear(&tmux);
    tmux.line("SELECT 1 FROM samples\nWHERE ORDER BY 1;");
    let screen = wait_for_answer(&tmux, "error:");
    assert!(
        screen.contains("\n  WHERE ORDER BY 1\n              ^"),
        "{screen}"
    );

    // No line is wider than the terminal, also where the rows are.
    clear(&tmux);
    tmux.line("SELECT * FROM samples LIMIT 2;");
    let screen = wait_for_answer(&tmux, "(2 rows,");
    let header = screen
        .lines()
        .find(|line| line.starts_with("time "))
        .unwrap();
    assert!(
        header.ends_with("value") && header.chars().count() <= 80,
        "{screen}"
    );
    assert!(screen.contains("…"), "{screen}");

    cancels_and_goes_on(&tmux);

    // Two statements and a line end within quotes, pasted at once; nothing runs before Enter.
    clear(&tmux);
    tmux.paste("SELECT 'a\nb' AS pasted;\nSELECT 'second' AS pasted;");
    tmux.wait_for("what was pasted", |screen| {
        screen.ends_with("'second' AS pasted;")
    });
    tmux.key("Enter");
    let screen = wait_for_answer(&tmux, "second\n(1 row,");
    assert!(screen.contains("a\\nb\n(1 row,"), "{screen}");

    clear(&tmux);
    tmux.line("SELECT * FROM generate_series(1, 5000);");
    wait_for_answer(&tmux, "(first 1000 rows,");
    let file = directory.path().join("answer.csv");
    clear(&tmux);
    tmux.line("\\f csv");
    tmux.line(&format!("\\o {}", file.display()));
    tmux.line("SELECT * FROM generate_series(1, 5000);");
    wait_for_answer(&tmux, "(5000 rows to");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap().lines().count(),
        5_001
    );

    // Ctrl-D leaves, and the next shell remembers.
    clear(&tmux);
    tmux.key("C-d");
    tmux.wait_for("the end", str::is_empty);
    let tmux = open_shell("shell-again", directory.path(), &launch, true);
    tmux.key("Up");
    tmux.wait_for("the last statement", |screen| {
        screen.ends_with("generate_series(1, 5000);")
    });
    tmux.key("C-c");
    tmux.key("C-r");
    tmux.text("40 + 2");
    tmux.wait_for("what was searched", |screen| {
        screen.ends_with("SELECT 40 + 2 AS answer;")
    });
    tmux.key("Enter");
    wait_for_answer(&tmux, "(1 row,");
    let history = directory.path().join("state/tidewatch/sql_history");
    let mode = std::fs::metadata(&history).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read {}", history.display());
    process.stop_cleanly();
}

#[test]
fn a_lost_instance_is_told_and_the_next_statement_finds_who_answers() {
    if !is_available("sql_shell") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let launch = launch(directory.path());
    let mut process = launch.start_ready();
    write_samples(&mut process);
    let tmux = open_shell("shell-lost", directory.path(), &launch, false);
    let count = "SELECT count(*) AS found FROM samples;";
    tmux.line(count);
    wait_for_answer(&tmux, "\n 2000\n");

    process.stop_cleanly();
    clear(&tmux);
    tmux.line(count);
    wait_for_answer(&tmux, "is lost; the next statement tries again");
    clear(&tmux);
    tmux.line(count);
    let screen = wait_for_answer(&tmux, "\n 2000\n");
    assert!(
        screen.contains("no instance answers; reading the archive at"),
        "{screen}"
    );
    // What answers now is in the shell itself, and stops as well.
    cancels_and_goes_on(&tmux);

    tmux.resize(40, 10);
    clear(&tmux);
    tmux.line("SELECT host, metric, time, series_id FROM samples LIMIT 1;");
    let screen = wait_for_answer(&tmux, "(1 row,");
    assert!(
        screen.lines().all(|line| line.chars().count() <= 40),
        "{screen}"
    );
    tmux.line("\\q");
    tmux.wait_for("the end", str::is_empty);
}
