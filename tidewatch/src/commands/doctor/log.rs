//! What is asked of either log: whether it fits the archive, and where it ends.

use bus::Bus;
use schemas::{Micros, NextOffset};
use sinks::ChainView;

use super::report::Check;

/// What was found, and the newest append time.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) checks: Vec<Check>,
    pub(super) newest: Option<Micros>,
}

impl Checked {
    pub(super) fn only(check: Check) -> Checked {
        Checked {
            checks: vec![check],
            newest: None,
        }
    }
}

/// Whether the log is the one that the archive was filled from, and still holds everything past each chain's end.
pub(super) async fn fits(bus: &dyn Bus, topic: &str, chains: &[ChainView]) -> Check {
    const NAME: &str = "log and archive";
    if chains.is_empty() {
        return Check::ok(NAME, "nothing is committed yet");
    }
    let log_id = match bus.log_id(topic).await {
        Ok(log_id) => log_id,
        Err(error) => return Check::failed(NAME, &error),
    };
    let mut waiting = 0;
    for chain in chains {
        if let Some(link) = chain.last().filter(|link| link.log_id != log_id) {
            let text = format!(
                "partition {}: the archive was filled from log `{}`, this log is `{log_id}`",
                chain.partition, link.log_id
            );
            return Check::failure(NAME, text, &sinks::error_codes::CHAIN_SETTINGS);
        }
        let retained = match bus.retained(topic, chain.partition).await {
            Ok(retained) => retained,
            Err(error) => return Check::failed(NAME, &error),
        };
        let NextOffset(end) = chain.end();
        if end < retained.start.0 || end > retained.end.0 {
            let text = format!(
                "partition {}: the archive ends at offset {end}, the log holds [{}, {})",
                chain.partition, retained.start.0, retained.end.0
            );
            return Check::failure(NAME, text, &bus::error_codes::OFFSET_OUT_OF_RANGE);
        }
        waiting += retained.end.0 - end;
    }
    Check::ok(
        NAME,
        format!("the log goes on where the archive ends; {waiting} records wait to be committed"),
    )
}
