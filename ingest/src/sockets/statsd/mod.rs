//! StatsD and DogStatsD: `name:value|type[|@rate][|#tag:value,…]`, one per line. Gathered, and told at every tick.
//!
//! | type | series | kind |
//! |---|---|---|
//! | `c` | the name with `temporality="delta"`: the count of the interval | gauge |
//! | `g` | the name, if it was sent in the interval; `+` and `-` change the last value | gauge |
//! | `ms`, `h`, `d` | `_count`, `_sum` with `temporality="delta"`; `_min`, `_max`, and the name with `quantile` | gauge |
//! | `s` | the name: how many different values came in the interval | gauge |
//!
//! Events and service checks are left out and counted.

mod aggregate;
mod decode;
mod sketch;

use std::sync::Arc;
use std::time::Duration;

use schemas::Micros;
use tokio_util::sync::CancellationToken;

use super::{Bound, Protocol};
use crate::counters::{IngestCounters, Intake};
use crate::door::{Batcher, Place, Publisher, Reason};
use aggregate::Aggregate;

/// How a StatsD receiver gathers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsdOptions {
    /// How often it tells what it gathered, ≥ 1 ms. 10 s, as StatsD itself: one value per shortest window.
    pub flush_interval: Duration,
    /// Series gathered at once; lines of further ones are refused. 100,000: some 40 MB, with timers 200 MB.
    pub series_max: usize,
}

impl Default for StatsdOptions {
    fn default() -> Self {
        StatsdOptions {
            flush_interval: Duration::from_secs(10),
            series_max: 100_000,
        }
    }
}

/// Receives until cancelled; then tells what was gathered.
pub async fn run(
    options: StatsdOptions,
    sockets: Vec<Bound>,
    publisher: Publisher,
    counters: Arc<IngestCounters>,
    cancellation: CancellationToken,
) {
    let receiver = Receiver::new(options.series_max);
    super::run(
        receiver,
        sockets,
        options.flush_interval,
        publisher,
        counters,
        cancellation,
    )
    .await;
}

/// Takes whole lines that come within one interval, of at most `series_max` series, and tells at `tick` what was gathered.
pub fn decode(lines: &[u8], tick: Micros, series_max: usize, door: &mut Batcher) {
    let mut receiver = Receiver::new(series_max);
    receiver.take(lines, tick, door);
    receiver.flush(tick, door);
}

struct Receiver {
    aggregate: Aggregate,
    skipped: usize,
}

impl Receiver {
    fn new(series_max: usize) -> Self {
        Receiver {
            aggregate: Aggregate::new(series_max),
            skipped: 0,
        }
    }

    fn take_line(&mut self, line: &[u8], place: Place, door: &mut Batcher) -> Result<(), Reason> {
        match decode::decode(line)? {
            Some(line) => self.aggregate.add(&line, place, door),
            None => {
                self.skipped += 1;
                Ok(())
            }
        }
    }
}

impl Protocol for Receiver {
    const INTAKE: Intake = Intake::Statsd;

    fn take(&mut self, lines: &[u8], _: Micros, door: &mut Batcher) {
        for (index, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let place = Place::Line {
                line: index + 1,
                column: 1,
            };
            if let Err(reason) = self.take_line(line, place, door) {
                door.reject(1, place, reason);
            }
        }
    }

    fn flush(&mut self, tick: Micros, door: &mut Batcher) {
        self.aggregate.flush(tick, door);
    }

    fn take_skipped(&mut self) -> usize {
        std::mem::take(&mut self.skipped)
    }
}

#[cfg(test)]
mod tests;
