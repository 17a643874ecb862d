//! The embedded log: whether it opens and has the right partitions; while an instance runs, it is that one's.

use bus::BusError;
use schemas::{Fault, HasCode, Micros, NextOffset};
use sinks::ChainView;

use super::log::{Checked, fits};
use super::report::Check;
use super::samples;
use crate::config::Config;
use crate::http::overview::Overview;
use crate::stores;

const NAME: &str = "log";

pub(super) async fn check(
    config: &Config,
    running: Option<&Overview>,
    chains: &[ChainView],
) -> Checked {
    if let Some(overview) = running {
        let newest = overview.partitions.iter().filter_map(|partition| {
            let clock: jiff::Timestamp = partition.log_clock.as_ref()?.parse().ok()?;
            Some(clock.as_microsecond())
        });
        let text = format!("in use by the instance, process {}", overview.process.id);
        return Checked {
            checks: vec![Check::ok(NAME, text), lag(overview)],
            newest: newest.max(),
        };
    }
    let dir = stores::existing_data_dir(config).filter(|dir| dir.join("bus").is_dir());
    let Some(dir) = dir else {
        let absent = "there is none yet; `tidewatch run` makes it";
        return Checked::only(empty("there is none", absent, chains));
    };
    let log = match stores::open_log(config, &dir, None).await {
        Ok(log) => log,
        Err(error) => return Checked::only(Check::failure(NAME, error.to_string(), error.code())),
    };
    let topic = samples(config);
    let partitions = match log.bus.partitions(&topic).await {
        Ok(found) => found,
        Err(BusError::NoTopic { .. }) => {
            let absent = "it opens; its topics are not there yet, `tidewatch run` makes them";
            return Checked::only(empty("it is empty", absent, chains));
        }
        Err(error) => return Checked::only(Check::failed(NAME, &error)),
    };
    if let Some(expected) = config.bus.partitions
        && expected != partitions
    {
        let error = BusError::PartitionCount {
            topic,
            expected,
            found: partitions,
        };
        let fix = format!("set bus.partitions = {partitions}");
        return Checked::only(Check::failed(NAME, &error).with_fix(fix));
    }
    let mut newest: Option<Micros> = None;
    for partition in 0..partitions {
        match newest_time(&*log.bus, &topic, partition).await {
            Ok(time) => newest = newest.max(time),
            Err(error) => return Checked::only(Check::failed(NAME, &error)),
        }
    }
    Checked {
        checks: vec![
            Check::ok(
                NAME,
                format!("it opens; {partitions} partitions of `{topic}`"),
            ),
            fits(&*log.bus, &topic, chains).await,
        ],
        newest,
    }
}

/// A log without records: as expected, unless an archive was filled from one.
fn empty(found: &str, expected: &str, chains: &[ChainView]) -> Check {
    match chains.iter().find_map(ChainView::last) {
        Some(link) => {
            let text = format!(
                "{found}, but the archive was filled from log `{}`",
                link.log_id
            );
            Check::failure(NAME, text, &sinks::error_codes::CHAIN_SETTINGS)
        }
        None => Check::ok(NAME, expected),
    }
}

/// The append time of a partition's last record; also finds out whether that can be read.
async fn newest_time(
    bus: &dyn bus::Bus,
    topic: &str,
    partition: u32,
) -> Result<Option<Micros>, BusError> {
    let retained = bus.retained(topic, partition).await?;
    let Some(last) = retained
        .end
        .0
        .checked_sub(1)
        .filter(|last| *last >= retained.start.0)
    else {
        return Ok(None);
    };
    let mut reader = bus.reader(topic, partition, NextOffset(last)).await?;
    let records = reader.next(1).await?;
    Ok(records.last().map(|record| record.append_time_ms * 1000))
}

/// Whether the instance keeps up, by its own word.
fn lag(overview: &Overview) -> Check {
    const NAME: &str = "lag";
    let told: Option<Vec<u64>> = overview
        .partitions
        .iter()
        .map(|partition| partition.lag_records)
        .collect();
    match told {
        Some(lags) => Check::ok(
            NAME,
            format!("{} records wait to be processed", lags.iter().sum::<u64>()),
        ),
        None => Check::failure(
            NAME,
            "the instance can't tell where its log ends",
            Fault::Outage.code(),
        ),
    }
}
