//! One checkpoint by hand: claim a partition, write files, commit them, read them back. `cargo run -p sinks --example commit -- DIRECTORY`

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use schemas::time::{Micros, SECOND};
use schemas::{
    Counts, Kind, Labels, LinkKind, NextOffset, Resolution, Rollup, RollupRow, SampleRows, Series,
    SeriesDirectory, Watermark,
};
use sinks::{Archive, Chain, FileName, NewLink, Wanted, load_chain};

/// 2026-11-21 00:00 UTC, less five seconds: the samples fall on two dates.
const START: Micros = 1_795_219_195 * SECOND;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args()
        .nth(1)
        .ok_or("name an absolute directory for the archive")?;
    let archive = Archive::open(&format!("file://{directory}"), &BTreeMap::new())?;
    let mut chain =
        Chain::claim(&archive, "tidewatch.samples", 0, "example-log", "example").await?;

    let mut series = SeriesDirectory::default();
    for host in ["web-1", "web-2"] {
        let labels = Labels::try_new([("host.name", host), ("service.name", "shop")])?;
        series.push(Arc::new(Series::new(
            "system.cpu.utilization",
            labels.clone(),
            Kind::Gauge,
        )));
        series.push(Arc::new(Series::new(
            "http.requests",
            labels,
            Kind::Counter,
        )));
    }
    series.push(Arc::new(Series::new("bare", Labels::empty(), Kind::Gauge)));
    let (mut samples, mut rollups) = (SampleRows::default(), Vec::new());
    for (index, time) in
        (0..series.len() as u32).flat_map(|index| (0..10).map(move |i| (index, START + i * SECOND)))
    {
        samples.push(index, time, (time / SECOND % 7) as f64 / 10.0);
        let (rollup, start) = (
            Rollup::of(time, 1.0),
            Resolution::TenSeconds.window(time).start,
        );
        if time == start {
            rollups.push(RollupRow {
                series: index,
                resolution: Resolution::TenSeconds,
                start,
                rollup,
                rate: None,
                completeness: 1.0,
                revision: 0,
            });
        }
    }
    let read = samples.len() as u64;
    let end = NextOffset(chain.end().0 + 1);
    let name = FileName {
        partition: 0,
        start: chain.end(),
        end,
        epoch: chain.epoch(),
        part: "s".into(),
    };
    let mut added = archive.write_samples(&name, &series, samples).await?;
    added.extend(archive.write_rollups(&name, &series, rollups).await?);
    let snapshot = archive
        .put_snapshot(
            "tidewatch.samples",
            0,
            chain.epoch(),
            end,
            b"the state".to_vec(),
        )
        .await?;
    let link = NewLink {
        kind: LinkKind::Commit,
        end,
        added,
        removed: Vec::new(),
        counts: Counts {
            read,
            accepted: read,
            ..Counts::default()
        },
        watermark: Watermark(START),
        log_clock: START,
        snapshot: Some(snapshot),
    };
    chain.append(link).await?;

    let view = load_chain(&archive, "tidewatch.samples", 0)
        .await?
        .ok_or("the chain is gone")?;
    let samples: Vec<_> = view
        .files
        .iter()
        .filter(|file| file.table.name() == "samples")
        .cloned()
        .collect();
    let wanted = Wanted {
        series: series
            .iter()
            .map(|series| (series.id, (Micros::MIN, Micros::MAX)))
            .collect(),
    };
    let found = archive.read_samples(&samples, &wanted).await?;
    for file in view.files.iter() {
        println!("{} rows in {}", file.rows, file.path);
    }
    println!(
        "{} samples up to offset {}, epoch {}",
        found.len(),
        view.end().0,
        view.epoch()
    );
    Ok(())
}
