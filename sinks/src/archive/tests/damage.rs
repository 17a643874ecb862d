//! Damage is found, a crash's leftovers go, and nothing else; what can't be written says why.

use super::*;

#[tokio::test]
async fn sweep_removes_what_a_crash_left_and_nothing_else() {
    let (keep, archive) = archive();
    let directory = directory();
    let write = async |part: &str, partition, epoch| {
        let name = FileName {
            partition,
            epoch,
            ..name(part, 0)
        };
        archive
            .write_samples(&name, &directory, rows(&[(0, MIDNIGHT, 1.0)]))
            .await
            .unwrap()
            .remove(0)
    };
    let live = write("live", 3, 1).await;
    let left = write("left", 3, 2).await;
    let others = [write("s", 4, 1).await, write("later", 3, 3).await];
    let old = archive
        .put_snapshot(TOPIC, 3, 1, NextOffset(1), b"old".to_vec())
        .await
        .unwrap();
    let now = archive
        .put_snapshot(TOPIC, 3, 2, NextOffset(5), b"now".to_vec())
        .await
        .unwrap();
    let other = archive
        .put_snapshot(TOPIC, 4, 1, NextOffset(5), b"other".to_vec())
        .await
        .unwrap();
    let staged = format!("{}#77", left.path);
    std::fs::write(keep.path().join(&staged), b"half").unwrap();
    std::fs::write(keep.path().join("samples/readme.txt"), b"a person's").unwrap();

    assert_eq!(
        archive
            .sweep(TOPIC, 3, 2, std::slice::from_ref(&live), Some(&now))
            .await
            .unwrap(),
        3
    );
    let there = |path: &str| keep.path().join(path).exists();
    for path in [
        &live.path,
        &others[0].path,
        &others[1].path,
        &now.path,
        &other.path,
        "samples/readme.txt",
    ] {
        assert!(there(path), "{path} must stay");
    }
    for path in [&left.path, &old.path, &staged] {
        assert!(!there(path), "{path} must go");
    }
    assert_eq!(
        archive
            .sweep(TOPIC, 3, 2, &[live], Some(&now))
            .await
            .unwrap(),
        0
    );
    archive.delete_files(&[left.path]).await.unwrap();
}

#[tokio::test]
async fn c6_damage_is_found_before_anything_is_parsed() {
    let (keep, archive) = archive();
    let directory = directory();
    let samples: Vec<(u32, Micros, f64)> = (0..100)
        .map(|i| (i % 4, MIDNIGHT + i64::from(i), f64::from(i)))
        .collect();
    let file = archive
        .write_samples(&name("s", 0), &directory, rows(&samples))
        .await
        .unwrap()
        .remove(0);
    let path = keep.path().join(&file.path);
    let good = std::fs::read(&path).unwrap();
    let wanted = Wanted {
        series: HashMap::from([(directory[0].id, (0, Micros::MAX))]),
    };
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [flipped, good[..good.len() - 1].to_vec(), Vec::new()] {
        std::fs::write(&path, &damaged).unwrap();
        let error = archive
            .read_samples(std::slice::from_ref(&file), &wanted)
            .await
            .unwrap_err();
        assert_eq!(error.fault(), Fault::Corruption);
        assert!(error.to_string().contains(&file.path), "{error}");
        let rewrite = archive
            .rewrite_without(&name("w", 0), &file, &HashSet::new())
            .await;
        assert_eq!(rewrite.unwrap_err().fault(), Fault::Corruption);
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "left in place");
    }
    std::fs::remove_file(&path).unwrap();
    let error = archive.read_samples(&[file], &wanted).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corruption);
}

/// Even bytes whose hash is right may be no Parquet: truncated at every length and flipped at many places, they give errors or rows, no panic.
#[tokio::test]
async fn garbage_with_a_right_hash_never_panics() {
    let (keep, archive) = archive();
    let directory = directory();
    let samples: Vec<(u32, Micros, f64)> = (0..40)
        .map(|i| (i % 4, MIDNIGHT + i64::from(i), f64::from(i)))
        .collect();
    let file = archive
        .write_samples(&name("s", 0), &directory, rows(&samples))
        .await
        .unwrap()
        .remove(0);
    let good = std::fs::read(keep.path().join(&file.path)).unwrap();
    let wanted = Wanted {
        series: directory
            .iter()
            .map(|series| (series.id, (0, Micros::MAX)))
            .collect(),
    };
    let cut = (0..good.len())
        .step_by(37)
        .map(|length| good[..length].to_vec());
    let flipped = (0..good.len()).step_by(11).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        bytes
    });
    let (mut errors, mut total) = (0, 0);
    for bytes in cut.chain(flipped) {
        let garbage = ArchiveFile {
            size: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(&bytes)),
            ..file.clone()
        };
        std::fs::write(keep.path().join(&file.path), &bytes).unwrap();
        total += 1;
        if let Err(error) = archive
            .read_samples(std::slice::from_ref(&garbage), &wanted)
            .await
        {
            assert_eq!(error.fault(), Fault::Corruption, "{error}");
            errors += 1;
        }
        if let Err(error) = archive
            .rewrite_without(&name("w", total), &garbage, &HashSet::new())
            .await
        {
            assert_eq!(error.fault(), Fault::Corruption, "{error}");
        }
    }
    assert!(errors > total / 3, "{errors} of {total}");
}

#[tokio::test]
async fn snapshots_are_checked_when_read() {
    let (keep, archive) = archive();
    let at = archive
        .put_snapshot(TOPIC, 3, 1, NextOffset(9), vec![7; 1000])
        .await
        .unwrap();
    assert_eq!(archive.get_snapshot(&at).await.unwrap(), vec![7; 1000]);
    assert_eq!(
        archive
            .put_snapshot(TOPIC, 3, 1, NextOffset(9), vec![7; 1000])
            .await
            .unwrap(),
        at
    );
    assert_ne!(
        archive
            .put_snapshot(TOPIC, 3, 1, NextOffset(9), vec![8; 1000])
            .await
            .unwrap()
            .path,
        at.path
    );
    let huge = SnapshotRef {
        size: SNAPSHOT_BYTES_MAX + 1,
        ..at.clone()
    };
    assert_eq!(
        archive.get_snapshot(&huge).await.unwrap_err().fault(),
        Fault::Corruption
    );
    std::fs::write(keep.path().join(&at.path), vec![9; 1000]).unwrap();
    assert_eq!(
        archive.get_snapshot(&at).await.unwrap_err().fault(),
        Fault::Corruption
    );
}

#[tokio::test]
async fn what_can_not_be_opened_or_written_says_why() {
    for url in [
        "archive",
        "file://relative",
        "ftp://host/x",
        "s3://bucket?x",
    ] {
        let options = BTreeMap::from([("no_such_option".to_owned(), "1".to_owned())]);
        assert_eq!(
            Archive::open(url, &options).unwrap_err().fault(),
            Fault::BadConfig,
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_read_only_directory_refuses_and_names_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    // Root may write to any directory that is mounted for writing, so it needs another way than the mode.
    let mounted = mount("ro", directory.path());
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o555))
        .unwrap_or(());
    if !mounted && std::fs::write(directory.path().join("probe"), b"").is_ok() {
        eprintln!("SKIPPED: no read-only directory can be made here");
        return;
    }
    let archive = Archive::open(
        &format!("file://{}", directory.path().display()),
        &BTreeMap::new(),
    )
    .unwrap();
    let write = archive
        .write_samples(
            &name("s", 0),
            &super::directory(),
            rows(&[(0, MIDNIGHT, 1.0)]),
        )
        .await;
    if mounted {
        unmount(directory.path());
    }
    let error = write.unwrap_err();
    assert_eq!(
        (error.fault(), error.code().id),
        (Fault::Outage, "TW-ARCHIVE-003")
    );
    assert!(error.to_string().contains("archive.url"), "{error}");
}

fn mount(option: &str, at: &FsPath) -> bool {
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", option, "tmpfs"])
        .arg(at)
        .output();
    mounted.is_ok_and(|output| output.status.success())
}

fn unmount(at: &FsPath) {
    let _ = std::process::Command::new("umount").arg(at).output();
}

/// A full disk is an outage: nothing is left, and the same write succeeds once there is room.
#[tokio::test]
async fn a_full_disk_is_an_outage() {
    let directory = tempfile::tempdir().unwrap();
    if !mount("size=64k", directory.path()) {
        eprintln!("SKIPPED: a small tmpfs can't be mounted here");
        return;
    }
    let archive = Archive::open(
        &format!("file://{}", directory.path().display()),
        &BTreeMap::new(),
    )
    .unwrap();
    let noise = (0..20_000u64)
        .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7])
        .collect::<Vec<u8>>();
    let result = archive
        .put_snapshot(TOPIC, 0, 1, NextOffset(0), noise.repeat(10))
        .await;
    let small = archive
        .put_snapshot(TOPIC, 0, 1, NextOffset(0), noise)
        .await;
    let left = std::fs::read_dir(
        directory
            .path()
            .join("snapshots")
            .join(TOPIC)
            .join("p00000"),
    )
    .map(Iterator::count);
    unmount(directory.path());
    assert_eq!(result.unwrap_err().fault(), Fault::Outage);
    small.unwrap();
    assert_eq!(left.unwrap(), 1);
}
