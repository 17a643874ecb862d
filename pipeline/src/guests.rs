//! What partitions tell each other of siblings, on its way through the log of samples: guests go to where they are compared, verdicts come back.
//!
//! Both are told before the checkpoint that covers where they came from, and again by who steps over that again; whoever is told ignores what it knows.
//! Nobody's samples depend on guests, so a log that takes none holds up nothing: what waits at a checkpoint is given up, and those siblings are not
//! compared in those minutes. Verdicts are events: they are told as surely as those that go to their topic.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{BusError, Record};
use bytes::Bytes;
use schemas::time::MINUTE;
use schemas::{Fault, HasFault, Micros, topics};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::live::Live;
use crate::{PipelineError, PipelineOptions};

/// How long the log may take for guests. The partition waits for it, and a minute is told in tens of milliseconds.
const APPEND_TIME_MAX: Duration = Duration::from_secs(2);
/// When it is tried again after the log took none.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What of the pending guests and verdicts is out already.
#[derive(Debug, Default)]
pub(crate) struct GuestPost {
    guests_told: usize,
    verdicts_told: usize,
    /// While the log takes no guests.
    refused_at: Option<Instant>,
}

impl GuestPost {
    /// Appends the verdicts that are pending and not told yet.
    ///
    /// # Errors
    /// Those of the log.
    pub(crate) async fn send_verdicts(
        &mut self,
        options: &PipelineOptions,
        live: &Live,
    ) -> Result<(), PipelineError> {
        let verdicts = {
            let live = live.lock();
            let pending = &live.state.pending().verdicts;
            // Reset together with the pending rows by a step that replays.
            self.verdicts_told = self.verdicts_told.min(pending.len());
            pending[self.verdicts_told..].to_vec()
        };
        let topic = options.topics.samples();
        for (partition, time, verdict) in verdicts {
            // A plain struct of numbers and strings always serialises.
            let value = serde_json::to_vec(&verdict).unwrap_or_default();
            let record = record(topics::FORMAT_VERDICT, value, time);
            options.bus.append(&topic, partition, vec![record]).await?;
            self.verdicts_told += 1;
        }
        Ok(())
    }

    /// Appends the guests that are pending and not told yet, and answers how many rows that were.
    ///
    /// # Errors
    /// Those of the log, but for an outage, in which they wait.
    pub(crate) async fn send_guests(
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
            self.guests_told = self.guests_told.min(pending.len());
            if pending.len() == self.guests_told || is_early {
                return Ok(0);
            }
            for (home, guests) in &pending[self.guests_told..] {
                rows += guests.rows().len() as u64;
                let records = by_home.entry(*home).or_default();
                let end = guests.minute() + MINUTE;
                records.push(record(topics::FORMAT_GUESTS, guests.encode(), end));
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
        let Some(error) = refused else {
            (self.guests_told, self.refused_at) = (count, None);
            return Ok(rows);
        };
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

    /// A checkpoint made everything final that was pending.
    pub(crate) fn settle(&mut self) {
        (self.guests_told, self.verdicts_told) = (0, 0);
    }
}

/// A record of a format. `time`: the end of the minute that it is of, as append time where the log leaves that to us: there partitions may be far apart, and
/// what one tells another must not move its clock past its own samples.
fn record(format: &'static [u8], value: Vec<u8>, time: Micros) -> Record {
    Record {
        value: value.into(),
        headers: vec![(topics::HEADER_FORMAT.into(), Bytes::from_static(format))],
        append_time_ms: Some(time / 1000),
        ..Record::default()
    }
}
