//! Damaged and missing files: the error names the file and says what to do, and nothing panics outward.

use query::{Limits, QueryError};
use schemas::{Fault, HasFault, Table};

use crate::world::{START, World, many, samples};

const SQL: &str = "SELECT sum(value) AS total, count(DISTINCT host) AS hosts, count(DISTINCT series_id) AS series, \
                   sum(cardinality(labels)) AS labels, count(DISTINCT time) AS times FROM samples";

fn world() -> (World, std::path::PathBuf) {
    let world = World::empty(Limits::default());
    world.commit(
        "samples/good.parquet",
        Table::Samples,
        &samples("cpu", &[("a", START, 1.0)]),
    );
    let file = world.commit("samples/bad.parquet", Table::Samples, &many("mem", 20_000));
    let path = world.directory.path().join(file.path);
    (world, path)
}

async fn assert_named(world: &World, what: &str) {
    let error = world.error(SQL).await;
    let text = error.to_string();
    assert!(
        matches!(error, QueryError::Damaged { .. }),
        "{what}: {error:?}"
    );
    assert_eq!(error.fault(), Fault::Corruption);
    assert!(
        text.contains("samples/bad.parquet")
            && !text.contains("good.parquet")
            && text.contains("never delete"),
        "{what}: {text}"
    );
    // The rest of the archive still answers.
    assert_eq!(
        world
            .text("SELECT sum(value) AS total FROM samples WHERE metric = 'cpu'")
            .await,
        "total\n-----\n  1.0\n"
    );
}

#[tokio::test]
async fn damage_anywhere_in_a_file_is_named() {
    let (mut world, path) = world();
    let bytes = std::fs::read(&path).unwrap();
    for eighth in 0..8 {
        let mut bad = bytes.clone();
        let at = bytes.len() * eighth / 8 + 100;
        // One bit: what decodes as well as before, to another value.
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert_named(&world, &format!("byte {at}")).await;
        world.restart(Limits::default());
    }
}

#[tokio::test]
async fn unverified_files_never_panic_and_are_named_when_they_do_not_decode() {
    let (mut world, path) = world();
    world.restart(Limits {
        verify_files: false,
        ..Limits::default()
    });
    let bytes = std::fs::read(&path).unwrap();
    let mut named = 0;
    for part in 0..32 {
        let mut bad = bytes.clone();
        let at = bytes.len() * part / 32;
        bad[at..(at + 64).min(bytes.len())].fill(0xa5);
        std::fs::write(&path, &bad).unwrap();
        match world.ask(SQL).await {
            Ok(answer) => _ = answer.collect().await.unwrap(),
            Err(QueryError::Damaged { files, .. }) => {
                named += usize::from(files[0].contains("samples/bad.parquet"))
            }
            Err(other) => panic!("bytes from {at}: {other:?}"),
        }
    }
    assert!(named >= 8, "only {named} of 32 damages were noticed");
}

#[tokio::test]
async fn truncated_empty_and_foreign_files_are_named() {
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("foreign", b"this is not parquet, it is a letter".to_vec()),
        ("zeros", vec![0; 100_000]),
    ] {
        let (world, path) = world();
        std::fs::write(&path, bytes).unwrap();
        assert_named(&world, what).await;
    }
    let (world, path) = world();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_named(&world, "truncated").await;
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (world, path) = world();
    std::fs::remove_file(path).unwrap();
    let error = world.error(SQL).await;
    assert!(
        matches!(&error, QueryError::Missing { file } if file == "samples/bad.parquet"),
        "{error:?}"
    );
    assert_eq!(
        world.held.asked.lock().unwrap().len(),
        2,
        "the view is taken anew once, not more"
    );
}

#[tokio::test]
async fn a_chain_can_not_name_a_file_outside_the_archive() {
    let world = World::empty(Limits::default());
    let secret = tempfile::NamedTempFile::new().unwrap();
    let mut file = world.write(
        "samples/x.parquet",
        Table::Samples,
        &samples("cpu", &[("a", START, 1.0)]),
    );
    file.path = format!("../{}", secret.path().display());
    world.held.files.lock().unwrap().push(file);
    let error = world.error("SELECT value FROM samples").await;
    assert!(matches!(error, QueryError::Damaged { .. }), "{error:?}");
}
