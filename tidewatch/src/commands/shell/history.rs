//! The statements of earlier shells: a file that only its owner reads, one statement per line.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Statements that are kept. The file may hold twice as many before it is cut.
const STATEMENTS_MAX: usize = 1_000;
/// Longest statement that is kept, bytes.
const STATEMENT_BYTES_MAX: usize = 16 * 1024;

/// Statements, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    statements: Vec<String>,
    /// `None`: nothing is written.
    file: Option<PathBuf>,
}

impl History {
    /// Reads what earlier shells kept, and keeps what comes in the same file. `Err` with a reason if it can't be used; the shell works without.
    pub(super) fn open(place: Option<PathBuf>) -> (History, Option<String>) {
        let Some(path) = place else {
            let why = "neither XDG_STATE_HOME nor HOME names a directory".to_owned();
            return (History::default(), Some(why));
        };
        match read(&path) {
            Ok(statements) => {
                let file = Some(path);
                (History { statements, file }, None)
            }
            Err(error) => (
                History::default(),
                Some(format!("{}: {error}", path.display())),
            ),
        }
    }

    /// The n-th statement before now, from 0.
    pub(super) fn back(&self, n: usize) -> Option<&str> {
        let at = self.statements.len().checked_sub(n + 1)?;
        self.statements.get(at).map(String::as_str)
    }

    /// The next statement that holds `needle`, `from` statements before now or earlier: how long before now, and the statement.
    pub(super) fn search(&self, needle: &str, from: usize) -> Option<(usize, &str)> {
        let older = (from..).map_while(|n| Some((n, self.back(n)?)));
        older
            .into_iter()
            .find(|(_, statement)| statement.contains(needle))
    }

    /// Keeps a statement. Not one that repeats the last, or begins with a space, by which people hide it.
    pub(super) fn add(&mut self, statement: &str) {
        let statement = statement.trim_end();
        let hidden = statement.is_empty() || statement.starts_with(char::is_whitespace);
        if hidden || statement.len() > STATEMENT_BYTES_MAX || self.back(0) == Some(statement) {
            return;
        }
        self.statements.push(statement.to_owned());
        if let Some(path) = &self.file {
            // One write, so that shells side by side do not mix their lines. A full disk is not worth an interruption.
            let line = format!("{}\n", escape(statement));
            let _ = private(OpenOptions::new().append(true).create(true), path)
                .and_then(|mut file| file.write_all(line.as_bytes()));
        }
    }
}

/// Where statements are kept: below the user's state directory (XDG base directories).
pub(super) fn place() -> Option<PathBuf> {
    let directory = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state =
        directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")))?;
    Some(state.join("tidewatch/sql_history"))
}

fn read(path: &Path) -> io::Result<Vec<String>> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let file = private(
        OpenOptions::new().read(true).append(true).create(true),
        path,
    )?;
    let mut statements = Vec::new();
    let mut lines = 0;
    for line in BufReader::new(file).split(b'\n') {
        lines += 1;
        let statement = unescape(&String::from_utf8_lossy(&line?));
        if !statement.is_empty() {
            statements.push(statement);
        }
    }
    let surplus = statements.len().saturating_sub(STATEMENTS_MAX);
    statements.drain(..surplus);
    if lines > 2 * STATEMENTS_MAX {
        let kept: String = statements
            .iter()
            .map(|statement| format!("{}\n", escape(statement)))
            .collect();
        let part = path.with_extension(format!("{}.part", std::process::id()));
        private(
            OpenOptions::new().write(true).create(true).truncate(true),
            &part,
        )?
        .write_all(kept.as_bytes())?;
        fs::rename(&part, path)?;
    }
    Ok(statements)
}

/// Opens a file that nobody else may read, also where it was there before with other rights.
fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn escape(statement: &str) -> String {
    statement.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescape(line: &str) -> String {
    let mut statement = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('n') => statement.push('\n'),
                Some(other) => statement.push(other),
                None => {}
            },
            (c, false) => statement.push(c),
        }
    }
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_outlive_the_shell_in_a_file_of_its_user() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/tidewatch/sql_history");
        let (mut history, trouble) = History::open(Some(path.clone()));
        assert_eq!((history.back(0), trouble), (None, None));
        for statement in [
            "SELECT 1;",
            "SELECT 1;",
            " hidden;",
            "SELECT '\\n'\nFROM x;",
            "",
        ] {
            history.add(statement);
        }
        for (file, mode) in [(path.as_path(), 0o600), (path.parent().unwrap(), 0o700)] {
            let found = fs::metadata(file).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", file.display());
        }
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();

        let (history, _) = History::open(Some(path.clone()));
        assert_eq!(history.back(0), Some("SELECT '\\n'\nFROM x;"));
        assert_eq!(
            (history.back(1), history.back(2)),
            (Some("SELECT 1;"), None)
        );
        assert_eq!(history.search("1;", 0), Some((1, "SELECT 1;")));
        assert_eq!(history.search("1;", 2), None);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "a file that others could read");
    }

    #[test]
    fn a_long_file_is_cut_to_its_newest_statements() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sql_history");
        let lines: String = (0..2_001).map(|n| format!("SELECT {n};\n")).collect();
        fs::write(&path, lines).unwrap();
        let (history, _) = History::open(Some(path.clone()));
        assert_eq!(history.back(999), Some("SELECT 1001;"));
        assert_eq!(history.back(1_000), None);
        let kept = fs::read_to_string(&path).unwrap();
        assert_eq!(
            (kept.lines().count(), kept.lines().last()),
            (1_000, Some("SELECT 2000;"))
        );
    }

    #[test]
    fn without_a_place_the_shell_works_and_says_so() {
        let (mut history, trouble) = History::open(None);
        assert!(trouble.unwrap().contains("HOME"));
        history.add("SELECT 1;");
        assert_eq!(history.back(0), Some("SELECT 1;"));
    }
}
