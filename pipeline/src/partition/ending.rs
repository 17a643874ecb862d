//! The clean end of a partition's task: what time allows is taken from the log, and everything taken is made final.

use std::time::Duration;

use schemas::{Fault, HasFault, NextOffset};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::{PartitionTask, TURN_BYTES_MAX};
use crate::PipelineError;

/// How long the end of the log may take to be told, and all of its rest to be read, at a clean end: the process promises to stop within 10 s.
const LAST_READ_TIME_MAX: Duration = Duration::from_secs(2);

impl PartitionTask<'_> {
    /// The clean end: what is already in the log is taken, everything is made final, nothing replaced stays behind.
    pub(super) async fn finish(mut self) -> Result<(), PipelineError> {
        // A log that is away must not keep the process, nor what was taken from being made final: its rest is read at the next start.
        let topic = self.options.topics.samples();
        let retained = self.options.bus.retained(&topic, self.partition);
        let end = match timeout(LAST_READ_TIME_MAX, retained).await {
            Ok(Ok(retained)) => retained.end,
            Ok(Err(error)) if error.fault() != Fault::Outage => return Err(error.into()),
            Ok(Err(_)) | Err(_) => {
                warn!(
                    partition = self.partition,
                    "the log does not answer; what it still holds is read at the next start"
                );
                NextOffset(0)
            }
        };
        self.read_rest(end, Instant::now() + LAST_READ_TIME_MAX)
            .await?;
        if self.live.lock().state.next_offset() > self.chain.end() {
            self.commit(true).await?;
        }
        self.delete_replaced(Duration::ZERO).await?;
        info!(
            partition = self.partition,
            end_offset = self.chain.end().0,
            "partition closed"
        );
        Ok(())
    }

    /// Takes what the log holds below an offset, as far as the time reaches. What is left is read at the next start, as after a crash.
    pub(super) async fn read_rest(
        &mut self,
        end: NextOffset,
        until: Instant,
    ) -> Result<(), PipelineError> {
        // What only rebuilds the state is covered by the chain already: nothing would be made final by it.
        while Instant::now() < until
            && !self.live.lock().state.is_replaying()
            && self.live.lock().state.next_offset() < end
        {
            match timeout_at(until, self.reader.next(TURN_BYTES_MAX)).await {
                Ok(Ok(records)) => self.take(records).await?,
                Ok(Err(error)) if error.fault() != Fault::Outage => return Err(error.into()),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        let left = end.0.saturating_sub(self.live.lock().state.next_offset().0);
        if left > 0 {
            info!(
                partition = self.partition,
                records = left,
                "the rest of the log is left for the next start"
            );
        }
        Ok(())
    }
}
