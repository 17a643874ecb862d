//! Databases on disk come into being whole, or not at all.
//!
//! fjall writes a database's first journal before the mark that says that there is one. A process that is killed between the two leaves a directory that can
//! neither be opened nor made anew. So a new one is made beside its place, and moved there when it is complete.

use std::fs::File;
use std::io;
use std::path::Path;

/// What the directory is called in which a database is made, beside its own.
const UNFINISHED: &str = "unfinished";

/// Makes what is to stand at `path`, unless something stands there: `make` makes it in another directory and closes it again. What an earlier process left
/// unfinished is removed. Blocks.
///
/// # Errors
/// Those of `make` and of the file system; then nothing stands at `path`.
pub fn make_whole<E: From<io::Error>>(
    path: &Path,
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if path.try_exists()? {
        return Ok(());
    }
    let unfinished = path.with_added_extension(UNFINISHED);
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    make(&unfinished)?;
    std::fs::rename(&unfinished, path)?;
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// Whether opening a database that stands there found a part of it gone: fjall misses a file, or takes the whole for a new one and finds files in its way.
pub fn lacks_a_part(error: &fjall::Error) -> bool {
    let (fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))) = error
    else {
        return false;
    };
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};

    use super::*;

    fn make(path: &Path) -> Result<(), fjall::Error> {
        Database::builder(path).open().map(drop)
    }

    #[test]
    fn what_a_kill_left_half_made_is_made_anew_and_what_is_whole_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data").join("log");
        let unfinished = directory.path().join("data").join("log.unfinished");
        // A first journal without a mark: fjall itself finds no way on from there.
        std::fs::create_dir_all(&unfinished).unwrap();
        std::fs::write(unfinished.join("0.jnl"), b"").unwrap();
        assert!(make(&unfinished).is_err());

        make_whole(&path, make).unwrap();
        assert!(path.is_dir() && !unfinished.exists());
        let database = Database::builder(&path).open().unwrap();
        let keyspace = database
            .keyspace("k", KeyspaceCreateOptions::default)
            .unwrap();
        keyspace.insert("key", "value").unwrap();
        database.persist(PersistMode::SyncAll).unwrap();
        drop((keyspace, database));

        make_whole(&path, |_| -> Result<(), fjall::Error> {
            panic!("made again")
        })
        .unwrap();
        let database = Database::builder(&path).open().unwrap();
        let keyspace = database
            .keyspace("k", KeyspaceCreateOptions::default)
            .unwrap();
        assert_eq!(keyspace.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn a_failure_leaves_nothing_at_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let failed = make_whole(&path, |path| {
            make(path)?;
            Err(fjall::Error::Poisoned)
        });
        assert!(failed.is_err() && !path.exists());
        make_whole(&path, make).unwrap();
        assert!(path.is_dir());
    }
}
