//! The chain's promises, on a local directory, and on a real S3 when `TIDEWATCH_TEST_S3` names one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rstest::rstest;
use schemas::Table;

use super::*;

use faulty::{Fate, Faulty};

mod faulty;

pub(super) const TOPIC: &str = "tidewatch.samples";

/// A place for a test's archive; kept until the test ends.
pub(super) struct Place {
    pub(super) archive: Archive,
    _directory: Option<tempfile::TempDir>,
}

/// How many links the chain of a claimed partition has.
async fn links(archive: &Archive) -> usize {
    let chain = load_chain(archive, TOPIC, 3).await.unwrap();
    chain.unwrap().links.len()
}

/// A fresh archive on the local file system, or on S3; `None` (said loudly) where no S3 is given.
pub(super) fn place(on_s3: bool) -> Option<Place> {
    static PLACES: AtomicU64 = AtomicU64::new(0);
    if !on_s3 {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(
            &format!("file://{}/archive", directory.path().display()),
            &BTreeMap::new(),
        )
        .unwrap();
        return Some(Place {
            archive,
            _directory: Some(directory),
        });
    }
    let Ok(endpoint) = std::env::var("TIDEWATCH_TEST_S3") else {
        assert!(
            std::env::var("TIDEWATCH_REQUIRE_S3").is_err(),
            "TIDEWATCH_REQUIRE_S3 is set, but TIDEWATCH_TEST_S3 names no server"
        );
        eprintln!(
            "SKIPPED: TIDEWATCH_TEST_S3=http://host:port is not set; the chain was not tested on S3"
        );
        return None;
    };
    let variable =
        |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let options = BTreeMap::from([
        ("endpoint".to_owned(), endpoint),
        ("allow_http".to_owned(), "true".to_owned()),
        ("region".to_owned(), "us-east-1".to_owned()),
        (
            "access_key_id".to_owned(),
            variable("TIDEWATCH_TEST_S3_USER", "tidewatch"),
        ),
        (
            "secret_access_key".to_owned(),
            variable("TIDEWATCH_TEST_S3_PASSWORD", "tidewatch-secret"),
        ),
    ]);
    let nonce = RandomState::new().build_hasher().finish();
    let prefix = format!("t{nonce:016x}-{}", PLACES.fetch_add(1, Ordering::Relaxed));
    let bucket = variable("TIDEWATCH_TEST_S3_BUCKET", "tidewatch");
    Some(Place {
        archive: Archive::open(&format!("s3://{bucket}/{prefix}"), &options).unwrap(),
        _directory: None,
    })
}

fn file(path: &str) -> ArchiveFile {
    ArchiveFile {
        path: path.to_owned(),
        table: Table::Samples,
        size: 1,
        sha256: "00".repeat(32),
        rows: 1,
        time_min: 0,
        time_max: 0,
        metric_min: "a".into(),
        metric_max: "b".into(),
    }
}

pub(super) fn commit(end: u64, added: &[&str], removed: &[&str]) -> NewLink {
    NewLink {
        kind: LinkKind::Commit,
        end: NextOffset(end),
        added: added.iter().map(|path| file(path)).collect(),
        removed: removed.iter().map(|path| (*path).to_owned()).collect(),
        counts: Counts {
            read: 3,
            accepted: 1,
            duplicate: 2,
            ..Counts::default()
        },
        watermark: Watermark(end as Micros),
        log_clock: end as Micros,
        snapshot: None,
    }
}

pub(super) async fn claim(archive: &Archive) -> Result<Chain, ChainError> {
    Chain::claim(archive, TOPIC, 3, "log-1", "tester").await
}

fn paths(files: &[ArchiveFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

pub(super) async fn put(archive: &Archive, path: &str, bytes: &[u8]) {
    archive
        .store()
        .put_opts(
            &Path::from(path),
            bytes.to_vec().into(),
            PutMode::Overwrite.into(),
        )
        .await
        .unwrap();
}

pub(super) async fn get(archive: &Archive, path: &str) -> Vec<u8> {
    archive
        .store()
        .get(&Path::from(path))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .into()
}

#[rstest]
#[tokio::test]
async fn links_are_contiguous_and_read_back(#[values(false, true)] on_s3: bool) {
    let Some(place) = place(on_s3) else { return };
    let archive = &place.archive;
    assert!(load_chain(archive, TOPIC, 3).await.unwrap().is_none());
    let mut chain = claim(archive).await.unwrap();
    assert_eq!((chain.epoch(), chain.end()), (1, NextOffset(0)));
    chain.append(commit(10, &["a", "b"], &[])).await.unwrap();
    chain.append(commit(10, &[], &[])).await.unwrap();
    chain.append(commit(25, &["c"], &["a"])).await.unwrap();
    let compaction = NewLink {
        kind: LinkKind::Compaction,
        counts: Counts::default(),
        ..commit(25, &["bc"], &["b", "c"])
    };
    chain.append(compaction).await.unwrap();
    assert_eq!(paths(chain.files()), ["bc"]);

    let view = load_chain(archive, TOPIC, 3).await.unwrap().unwrap();
    assert_eq!(paths(&view.files), ["bc"]);
    assert_eq!(
        (view.end(), view.epoch(), view.links.len()),
        (NextOffset(25), 1, 5)
    );
    for pair in view.links.windows(2) {
        assert_eq!(
            (pair[1].sequence, pair[1].start),
            (pair[0].sequence + 1, pair[0].end)
        );
    }
    assert_eq!(list_partitions(archive, TOPIC).await.unwrap(), [3]);
    assert_eq!(
        read_links(archive, TOPIC, 3, 1..3).await.unwrap(),
        view.links[1..3]
    );

    chain.append(commit(30, &["d"], &[])).await.unwrap();
    let fresh = view.refresh(archive, TOPIC).await.unwrap();
    assert_eq!(
        (paths(&fresh.files), fresh.end()),
        (vec!["bc", "d"], NextOffset(30))
    );
    assert_eq!(
        fresh.refresh(archive, TOPIC).await.unwrap().last(),
        Some(chain.last())
    );
}

#[rstest]
#[tokio::test]
async fn a_claim_fences_the_owner_before(#[values(false, true)] on_s3: bool) {
    let Some(place) = place(on_s3) else { return };
    let mut first = claim(&place.archive).await.unwrap();
    first.append(commit(5, &["a"], &[])).await.unwrap();
    let mut second = claim(&place.archive).await.unwrap();
    assert_eq!(
        (second.epoch(), second.end(), paths(second.files())),
        (2, NextOffset(5), vec!["a"])
    );
    let error = first.append(commit(9, &["late"], &[])).await.unwrap_err();
    assert!(
        matches!(
            error,
            ChainError::Fenced {
                epoch: 2,
                ours: 1,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Fenced);
    second.append(commit(9, &["b"], &[])).await.unwrap();
    assert_eq!(
        paths(
            &load_chain(&place.archive, TOPIC, 3)
                .await
                .unwrap()
                .unwrap()
                .files
        ),
        ["a", "b"]
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_claimers_at_once_exactly_the_last_holds(#[values(false, true)] on_s3: bool) {
    let Some(place) = place(on_s3) else { return };
    let claims = (0..6).map(|_| {
        let archive = place.archive.clone();
        tokio::spawn(async move { claim(&archive).await.unwrap() })
    });
    let chains: Vec<Chain> = futures::future::join_all(claims)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let mut epochs: Vec<u64> = chains.iter().map(Chain::epoch).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6]);
    for mut chain in chains {
        let (epoch, appended) = (chain.epoch(), chain.append(commit(1, &["x"], &[])).await);
        assert_eq!(appended.is_ok(), epoch == 6, "epoch {epoch}: {appended:?}");
    }
}

#[rstest]
#[tokio::test]
async fn damage_is_found_and_changes_nothing(#[values(false, true)] on_s3: bool) {
    let Some(place) = place(on_s3) else { return };
    let archive = &place.archive;
    let mut chain = claim(archive).await.unwrap();
    for end in 1..=4 {
        chain
            .append(commit(end, &[&format!("f{end}")], &[]))
            .await
            .unwrap();
    }
    let path = link_path(TOPIC, 3, 2).unwrap();
    let good = get(archive, &path).await;
    let mut link = Checkpoint::decode(&good).unwrap();
    link.counts.duplicate += 1;
    link.counts.read += 1;
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    for damaged in [
        link.encode(),
        flipped,
        good[..good.len() / 2].to_vec(),
        Vec::new(),
    ] {
        put(archive, &path, &damaged).await;
        for result in [
            load_chain(archive, TOPIC, 3).await.err(),
            claim(archive).await.err(),
        ] {
            assert!(
                matches!(result, Some(ChainError::Corruption { .. })),
                "{result:?}"
            );
        }
        assert_eq!(get(archive, &path).await, damaged);
    }
    archive
        .store()
        .delete(&Path::from(path.as_str()))
        .await
        .unwrap();
    let missing = load_chain(archive, TOPIC, 3).await.unwrap_err();
    assert!(missing.to_string().contains("missing"), "{missing}");
    put(archive, &path, &good).await;
    assert_eq!(
        load_chain(archive, TOPIC, 3).await.unwrap().unwrap().end(),
        NextOffset(4)
    );
}

#[tokio::test]
async fn another_log_or_topic_is_refused_with_advice() {
    let place = place(false).unwrap();
    claim(&place.archive).await.unwrap();
    let error = Chain::claim(&place.archive, TOPIC, 3, "log-2", "tester")
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::BadConfig);
    assert!(
        error.to_string().contains("log-1") && error.to_string().contains("archive.url"),
        "{error}"
    );
    let error = Chain::claim(&place.archive, "other.samples", 3, "log-1", "tester")
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::BadConfig);
    assert_eq!(links(&place.archive).await, 1);
}

#[tokio::test]
async fn a_link_that_would_break_the_chain_is_not_written() {
    let place = place(false).unwrap();
    let mut chain = claim(&place.archive).await.unwrap();
    chain.append(commit(5, &["a"], &[])).await.unwrap();
    let unbalanced = NewLink {
        counts: Counts {
            read: 1,
            ..Counts::default()
        },
        ..commit(6, &[], &[])
    };
    let ahead = SnapshotRef {
        path: "s".into(),
        size: 0,
        sha256: String::new(),
        next_offset: NextOffset(7),
    };
    let snapshot_ahead = NewLink {
        snapshot: Some(ahead),
        ..commit(6, &[], &[])
    };
    let moving = NewLink {
        kind: LinkKind::Compaction,
        ..commit(6, &[], &[])
    };
    let claiming = NewLink {
        kind: LinkKind::Claim,
        ..commit(5, &[], &[])
    };
    let wrong = [
        commit(4, &[], &[]),
        commit(6, &["a"], &[]),
        commit(6, &["b", "b"], &[]),
        commit(6, &[], &["z"]),
        commit(6, &[], &["a", "a"]),
    ];
    for link in wrong
        .into_iter()
        .chain([unbalanced, snapshot_ahead, moving, claiming])
    {
        let error = chain.append(link.clone()).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Bug, "{link:?}");
    }
    chain.append(commit(6, &["b"], &["a"])).await.unwrap();
    assert_eq!(links(&place.archive).await, 3);
}

#[tokio::test]
async fn the_saved_state_stays_named_until_a_newer_one_is() {
    let place = place(false).unwrap();
    let mut chain = claim(&place.archive).await.unwrap();
    let state = |offset| SnapshotRef {
        path: format!("s{offset}"),
        size: 1,
        sha256: String::new(),
        next_offset: NextOffset(offset),
    };
    chain
        .append(NewLink {
            snapshot: Some(state(3)),
            ..commit(5, &["a"], &[])
        })
        .await
        .unwrap();
    chain.append(commit(9, &["b"], &[])).await.unwrap();
    assert_eq!(chain.snapshot(), Some(&state(3)));
    let mut chain = claim(&place.archive).await.unwrap();
    assert_eq!(chain.snapshot(), Some(&state(3)));
    chain
        .append(NewLink {
            snapshot: Some(state(9)),
            ..commit(9, &[], &[])
        })
        .await
        .unwrap();
    assert_eq!(
        load_chain(&place.archive, TOPIC, 3)
            .await
            .unwrap()
            .unwrap()
            .snapshot(),
        Some(&state(9))
    );
}

#[tokio::test]
async fn a_base_shortens_loading_and_is_rebuilt_when_damaged() {
    let place = place(false).unwrap();
    let archive = &place.archive;
    let mut chain = claim(archive).await.unwrap();
    for end in 1..=600 {
        let (added, before) = (format!("f{end}"), format!("f{}", end - 1));
        let removed: &[&str] = if end == 1 { &[] } else { &[&before] };
        chain.append(commit(end, &[&added], removed)).await.unwrap();
    }
    let base = |sequence| {
        format!(
            "{}/{}",
            chain_directory(TOPIC, 3).unwrap(),
            state::base_name(sequence)
        )
    };
    let view = load_chain(archive, TOPIC, 3).await.unwrap().unwrap();
    assert_eq!(
        view.links.len(),
        601 - 511,
        "the newest base sums up 512 links"
    );
    assert_eq!(paths(&view.files), ["f600"]);

    // A base of another chain's making must not be believed: its hash is right, its link is not.
    let good = get(archive, &base(511)).await;
    let mut forged = ChainState::decode(&good).unwrap();
    forged.hash = "ab".repeat(32);
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    for damaged in [forged.encode(), flipped, good[..70].to_vec(), Vec::new()] {
        put(archive, &base(511), &damaged).await;
        let again = load_chain(archive, TOPIC, 3).await.unwrap().unwrap();
        assert_eq!(again.links.len(), 601 - 255, "the base before is used");
        assert_eq!(
            (again.files.as_ref(), again.end()),
            (view.files.as_ref(), view.end())
        );
    }
    archive.delete_files(&[base(511), base(255)]).await.unwrap();
    assert_eq!(links(archive).await, 601);
    claim(archive).await.unwrap();
    assert_eq!(links(archive).await, 1, "the claim wrote a new base");
}

fn faulty(place: &Place) -> (Arc<Faulty>, Archive) {
    let store = Arc::new(Faulty {
        inner: place.archive.store(),
        fates: Mutex::default(),
        blind: false.into(),
        careless: false.into(),
    });
    (
        Arc::clone(&store),
        Archive::over(store, place.archive.url()),
    )
}

#[tokio::test]
async fn an_ambiguous_write_is_read_back() {
    let place = place(false).unwrap();
    let (store, archive) = faulty(&place);
    let mut chain = claim(&archive).await.unwrap();
    *store.fates.lock().unwrap() = vec![Fate::WrittenButNotAnswered];
    chain.append(commit(1, &["a"], &[])).await.unwrap();
    *store.fates.lock().unwrap() = vec![Fate::NotWritten, Fate::NotWritten];
    chain.append(commit(2, &["b"], &[])).await.unwrap();
    *store.fates.lock().unwrap() = vec![Fate::WrittenButNotAnswered, Fate::NotWritten];
    chain.append(commit(3, &["c"], &[])).await.unwrap();
    assert_eq!(
        paths(
            &load_chain(&place.archive, TOPIC, 3)
                .await
                .unwrap()
                .unwrap()
                .files
        ),
        ["a", "b", "c"]
    );

    // Another claims while our answer is lost: we are fenced, not successful.
    let mut other = claim(&place.archive).await.unwrap();
    *store.fates.lock().unwrap() = vec![Fate::NotWritten];
    assert_eq!(
        chain
            .append(commit(4, &["d"], &[]))
            .await
            .unwrap_err()
            .fault(),
        Fault::Fenced
    );
    other.append(commit(4, &["e"], &[])).await.unwrap();
}

#[tokio::test]
async fn while_a_links_fate_is_unknown_only_the_same_link_may_follow() {
    let place = place(false).unwrap();
    let (store, archive) = faulty(&place);
    let mut chain = claim(&archive).await.unwrap();
    // Written, but neither the answers nor the read-backs arrive.
    *store.fates.lock().unwrap() = vec![
        Fate::NotWritten,
        Fate::NotWritten,
        Fate::NotWritten,
        Fate::WrittenButNotAnswered,
    ];
    store.blind.store(true, Ordering::SeqCst);
    assert_eq!(
        chain
            .append(commit(1, &["a"], &[]))
            .await
            .unwrap_err()
            .fault(),
        Fault::Outage
    );
    store.blind.store(false, Ordering::SeqCst);
    let error = chain.append(commit(2, &["a2"], &[])).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Outage);
    assert!(
        error.to_string().contains("claim the partition again"),
        "{error}"
    );
    chain.append(commit(1, &["a"], &[])).await.unwrap();
    chain.append(commit(2, &["b"], &[])).await.unwrap();
    assert_eq!(
        paths(
            &load_chain(&place.archive, TOPIC, 3)
                .await
                .unwrap()
                .unwrap()
                .files
        ),
        ["a", "b"]
    );
}

#[tokio::test]
async fn a_store_that_overwrites_is_refused() {
    let place = place(false).unwrap();
    let (store, archive) = faulty(&place);
    store.careless.store(true, Ordering::SeqCst);
    let error = claim(&archive).await.unwrap_err();
    assert_eq!(error.fault(), Fault::BadConfig);
    assert!(error.to_string().contains("If-None-Match"), "{error}");
}
