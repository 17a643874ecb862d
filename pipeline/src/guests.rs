//! Guests on their way: what a partition tells others of siblings goes to their partitions of the log of samples.
//!
//! Told before the checkpoint that covers where it came from, and told again by who steps over that again; whoever is told ignores what it knows.
//! Nobody's samples depend on it, so a log that takes none of it holds up nothing: what waits at a checkpoint is given up, and those siblings are not
//! compared in those minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{BusError, Record};
use bytes::Bytes;
use schemas::{Fault, HasFault, topics};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::live::Live;
use crate::{PipelineError, PipelineOptions};

/// How long the log may take. The partition waits for it, and a minute is told in tens of milliseconds.
const APPEND_TIME_MAX: Duration = Duration::from_secs(2);
/// When it is tried again after the log took none.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What of the pending guests is out already.
#[derive(Debug, Default)]
pub(crate) struct GuestPost {
    told: usize,
    /// While the log takes none.
    refused_at: Option<Instant>,
}

impl GuestPost {
    /// Appends the guests that are pending and not told yet, and answers how many rows that were.
    ///
    /// # Errors
    /// Those of the log, but for an outage, in which they wait.
    pub(crate) async fn send(
        &mut self,
        options: &PipelineOptions,
        partition: u32,
        live: &Live,
    ) -> Result<u64, PipelineError> {
        let is_early = self.refused_at.is_some_and(|at| at.elapsed() < RETRY_AFTER);
        let (mut by_home, mut rows) = (BTreeMap::<u32, Vec<Record>>::new(), 0);
        let count = {
            let live = live.lock();
            let pending = &live.state.pending().guests;
            // Reset together with the pending rows by a step that replays.
            self.told = self.told.min(pending.len());
            if pending.len() == self.told || is_early {
                return Ok(0);
            }
            let log_time_ms = live.state.log_clock() / 1000;
            for (home, guests) in &pending[self.told..] {
                rows += guests.rows().len() as u64;
                let records = by_home.entry(*home).or_default();
                records.push(record(guests.encode(), log_time_ms));
            }
            pending.len()
        };
        let mut appends: JoinSet<Result<(), BusError>> = JoinSet::new();
        for (home, records) in by_home {
            let (bus, topic) = (options.bus.clone(), options.topics.samples());
            appends.spawn(async move { bus.append(&topic, home, records).await.map(drop) });
        }
        let all = async {
            while let Some(done) = appends.join_next().await {
                // An append does not panic; if one did, its records are not told.
                done.unwrap_or(Ok(()))?;
            }
            Ok(())
        };
        let refused = match timeout(APPEND_TIME_MAX, all).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) if BusError::fault(&error) == Fault::Outage => Some(error.to_string()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => Some(format!("no answer within {} s", APPEND_TIME_MAX.as_secs())),
        };
        match refused {
            Some(error) => {
                if self.refused_at.is_none() {
                    warn!(
                        partition,
                        error,
                        "the log takes no values of siblings; those in several partitions are compared when it does"
                    );
                }
                self.refused_at = Some(Instant::now());
                Ok(0)
            }
            None => {
                (self.told, self.refused_at) = (count, None);
                Ok(rows)
            }
        }
    }

    /// A checkpoint made everything final that was pending.
    pub(crate) fn settle(&mut self) {
        self.told = 0;
    }
}

/// A record of guests. `log_time_ms`: the clock of the log that they come from, for logs whose time is not their own.
fn record(value: Vec<u8>, log_time_ms: i64) -> Record {
    let header = (
        topics::HEADER_FORMAT.into(),
        Bytes::from_static(topics::FORMAT_GUESTS),
    );
    Record {
        value: value.into(),
        headers: vec![header],
        append_time_ms: Some(log_time_ms),
        ..Record::default()
    }
}
