//! Graphite's plaintext: `path[;tag=value…] value [time]`, one per line.

mod decode;

use std::sync::Arc;
use std::time::Duration;

use schemas::Micros;
use tokio_util::sync::CancellationToken;

use super::{Bound, Protocol};
use crate::counters::{IngestCounters, Intake};
use crate::door::{Batcher, Publisher};

pub use decode::{Template, decode};

/// Receives until cancelled; samples are published as they come.
pub async fn run(
    template: Template,
    sockets: Vec<Bound>,
    publisher: Publisher,
    counters: Arc<IngestCounters>,
    cancellation: CancellationToken,
) {
    // Nothing is gathered, so the flush has nothing to tell.
    let interval = Duration::from_secs(60);
    let receiver = Receiver { template };
    super::run(
        receiver,
        sockets,
        interval,
        publisher,
        counters,
        cancellation,
    )
    .await;
}

struct Receiver {
    template: Template,
}

impl Protocol for Receiver {
    const INTAKE: Intake = Intake::Graphite;

    fn take(&mut self, lines: &[u8], now: Micros, door: &mut Batcher) {
        decode::decode(lines, now, &self.template, door);
    }

    fn flush(&mut self, _: Micros, _: &mut Batcher) {}
}

#[cfg(test)]
mod tests;
