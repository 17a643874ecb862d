//! The tables as the chains alone tell them, over an archive that `sinks` wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use query::{ChainTables, Engine, Limits};
use schemas::{
    Counts, Kind, Labels, LinkKind, NextOffset, SampleRows, Series, SeriesDirectory, Watermark,
};
use sinks::{Archive, Chain, FileName, NewLink};

use crate::world::{START, text};

#[tokio::test]
async fn files_come_from_the_chain_alone() {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(
        &format!("file://{}", directory.path().display()),
        &BTreeMap::new(),
    )
    .unwrap();
    let topic = "tidewatch.samples";
    let tables = Arc::new(ChainTables::new(archive.clone(), topic));
    let engine = Engine::new(archive.store(), tables, Limits::default());
    let count = "SELECT count(*) AS n, sum(value) AS total FROM samples";
    assert_eq!(
        text(engine.query(count).await.unwrap()).await,
        "n  total\n-  -----\n0\n"
    );

    for partition in [0, 3] {
        let mut chain = Chain::claim(&archive, topic, partition, "log", "me")
            .await
            .unwrap();
        let series = SeriesDirectory::from_iter([Arc::new(Series::new(
            "cpu",
            Labels::try_new([("host", "a")]).unwrap(),
            Kind::Gauge,
        ))]);
        let mut rows = SampleRows::default();
        rows.push(0, START, 1.5);
        rows.push(0, START + 1, 2.0);
        let name = file_name(partition, chain.epoch());
        let files = archive.write_samples(&name, &series, rows).await.unwrap();
        // Written, but not committed: not there.
        let before = text(engine.query(count).await.unwrap()).await;
        let link = NewLink {
            kind: LinkKind::Commit,
            end: NextOffset(10),
            added: files,
            removed: vec![],
            counts: Counts {
                read: 2,
                accepted: 2,
                ..Counts::default()
            },
            watermark: Watermark(START),
            log_clock: START,
            snapshot: None,
        };
        chain.append(link).await.unwrap();
        assert_ne!(text(engine.query(count).await.unwrap()).await, before);
    }
    let answer = engine.query(count).await.unwrap();
    assert_eq!(answer.notes.partitions_without_hot_rows, [0, 3]);
    assert_eq!(text(answer).await, "n  total\n-  -----\n4    7.0\n");
    let rows = "SELECT partition, count(*) AS links, sum(accepted) AS accepted FROM checkpoints GROUP BY 1 ORDER BY 1";
    assert_eq!(
        text(engine.query(rows).await.unwrap()).await,
        "partition  links  accepted\n---------  -----  --------\n        0      2         2\n        3      2         2\n"
    );
    let error = engine
        .query("SELECT * FROM dead_letters")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("running instance"), "{error}");

    let mine = ChainTables::new(archive.clone(), topic).only(|partition| partition == 3);
    let engine = Engine::new(archive.store(), Arc::new(mine), Limits::default());
    assert_eq!(
        text(engine.query(count).await.unwrap()).await,
        "n  total\n-  -----\n2    3.5\n"
    );
}

fn file_name(partition: u32, epoch: u64) -> FileName {
    FileName {
        partition,
        start: NextOffset(0),
        end: NextOffset(10),
        epoch,
        part: "s".to_owned(),
    }
}
