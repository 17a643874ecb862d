//! Publishes a simulated fleet: history as fast as the instance takes it, then live at a speed. Decides nothing of what is in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bus::embedded::Clock;
use ingest::collectors::fleet::Fleet;
use ingest::door::PartitionRecord;
use ingest::{Batcher, IngestCounters, Intake, Publisher};
use schemas::time::{MINUTE, SECOND, Window};
use schemas::{Fault, HasFault, Micros};
use tracing::warn;

use super::progress::Progress;
use super::refused;
use crate::app::Inlet;
use crate::error::CommandError;

/// Time between two samples of a series, live.
pub(super) const LIVE_INTERVAL: Micros = 10 * SECOND;
/// The most simulated time that one record of history holds. 10 min: its append time is that of its first sample, and none of its samples is
/// further in the future than every instance allows; ten samples of each series share the names of the record.
pub(super) const STRETCH: Micros = 10 * MINUTE;
/// About as many samples are published at a time: one fsync for all, and some 4 MB.
const CHUNK_SAMPLES: usize = 100_000;
/// The instance may lag behind by so many chunks; then the publisher waits. Enough that no partition idles while another writes a checkpoint.
const CHUNKS_AHEAD: u64 = 16;
/// How often the instance is asked how far it is.
const LAG_POLL: Duration = Duration::from_millis(10);
/// At high speed, samples are published this often at most.
const LIVE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The clock on the wall may be set, or the machine may sleep, so it is looked at this often.
const LIVE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Lagging so much behind the speed asked for is told, seconds of real time.
const BEHIND_TOLD_S: f64 = 30.0;
/// Wait after the first failed publication; doubled at each further one, up to the longest.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(250);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// For label sets: twice what a fleet of a thousand hosts needs. A larger one is only slower.
const MEMO_BYTES_MAX: usize = 64 << 20;

/// The clock on the wall, microseconds since 1970.
pub(super) fn now() -> Micros {
    jiff::Timestamp::now().as_microsecond()
}

/// The clock of the demo's log: the end of what was published last. Moves only forward.
#[derive(Debug, Clone)]
pub(super) struct LogClock(Arc<AtomicI64>);

impl LogClock {
    pub(super) fn at(time: Micros) -> Self {
        LogClock(Arc::new(AtomicI64::new(time.div_euclid(1000))))
    }

    fn advance(&self, time: Micros) {
        self.0.fetch_max(time.div_euclid(1000), Ordering::AcqRel);
    }

    /// As the log takes it.
    pub(super) fn of_log(&self) -> Clock {
        let ms = Arc::clone(&self.0);
        Arc::new(move || ms.load(Ordering::Acquire))
    }
}

/// Simulated time: what the clock on the wall says since the start, times the speed.
struct SimulatedTime {
    start: Micros,
    start_wall: Micros,
    speed: f64,
}

impl SimulatedTime {
    /// `wall`: the clock on the wall. At speed 1 from the present on, the two are one.
    fn at(&self, wall: Micros) -> Micros {
        self.start + ((wall - self.start_wall) as f64 * self.speed) as Micros
    }

    /// How long it takes, on the wall, until a simulated time.
    fn until(&self, time: Micros, wall: Micros) -> Duration {
        let left = (time - self.at(wall)).max(0) as f64 / self.speed;
        Duration::try_from_secs_f64(left / SECOND as f64).unwrap_or(LIVE_PAUSE_MAX)
    }
}

/// Where to go on, by the log clocks of the partitions that the fleet's samples go to (`None`: nothing came yet): where the last of them is.
/// A record's append time is that of its first sample, so at worst each partition gets its last publication again.
fn go_on_at(clocks: impl Iterator<Item = Option<Micros>>, begin: Micros) -> Micros {
    let times = clocks.map(|clock| clock.unwrap_or(begin));
    times.min().unwrap_or(begin).max(begin)
}

/// The publisher of a fleet.
pub(super) struct Feed {
    fleet: Fleet,
    publisher: Publisher,
    counters: Arc<IngestCounters>,
    door: Batcher,
    /// The time of the first sample: what is under way then is told with it.
    begin: Micros,
    /// The instance that processes what is published, if it is ours.
    instance: Option<(Inlet, LogClock)>,
}

impl Feed {
    /// A feed to a log that others process and that has its own clock.
    pub(super) fn new(
        fleet: Fleet,
        publisher: Publisher,
        counters: Arc<IngestCounters>,
        begin: Micros,
    ) -> Self {
        let door = Batcher::new(publisher.partitions(), MEMO_BYTES_MAX, usize::MAX);
        Feed {
            fleet,
            publisher,
            counters,
            door,
            begin,
            instance: None,
        }
    }

    /// The same to the log of an instance of our own, whose clock it moves and which it waits for.
    pub(super) fn into_instance(self, inlet: Inlet, clock: LogClock) -> Self {
        Feed {
            instance: Some((inlet, clock)),
            ..self
        }
    }

    /// How many samples a stretch of history has, but for what is silent.
    pub(super) fn samples(&self, length: Micros, interval: Micros) -> u64 {
        self.fleet.series() as u64 * (length.unsigned_abs().div_ceil(interval.unsigned_abs()))
    }

    /// Waits until the instance has taken all that its log holds, and tells where to go on: at the first time that any partition of ours may
    /// lack. What some have already is sent again, which changes nothing.
    ///
    /// # Errors
    /// If a partition stopped.
    pub(super) async fn resume(&mut self) -> Result<Micros, CommandError> {
        self.wait_for_instance(0, |_| ()).await?;
        let Some((inlet, clock)) = &self.instance else {
            return Ok(self.begin);
        };
        let ours = self.fleet.partitions(self.publisher.partitions());
        let clocks = inlet
            .status()
            .into_iter()
            .filter(|partition| ours.contains(&partition.partition))
            .map(|partition| partition.log_clock);
        let next = go_on_at(clocks, self.begin);
        clock.advance(next);
        Ok(next)
    }

    /// Publishes from a time up to another, both multiples of the interval, and waits until all is processed.
    ///
    /// # Errors
    /// If the log refuses for good, or a partition stopped. Outages are waited for.
    pub(super) async fn history(
        &mut self,
        from: Micros,
        until: Micros,
        interval: Micros,
        progress: &mut Progress,
    ) -> Result<Micros, CommandError> {
        let from = (from.div_euclid(interval) * interval).max(self.begin);
        let chunk = self.chunk(interval);
        let (mut next, mut samples, mut records) = (from, 0u64, 0u64);
        while next < until {
            let span = Window {
                start: next,
                end: (next + chunk).min(until),
            };
            let (sent, chunk_records) = self.publish(span, interval).await?;
            samples += sent;
            records += chunk_records;
            next = span.end;
            let ahead = if next < until {
                chunk_records * CHUNKS_AHEAD
            } else {
                0
            };
            self.wait_for_instance(ahead, |lag| {
                progress.reached(samples - samples * lag.min(records) / records.max(1));
            })
            .await?;
        }
        Ok(next)
    }

    /// Publishes from a time on as simulated time passes. Ends only with an error.
    ///
    /// # Errors
    /// As [`Feed::history`].
    pub(super) async fn live(&mut self, from: Micros, speed: f64) -> Result<(), CommandError> {
        let mut next = (from + LIVE_INTERVAL - 1).div_euclid(LIVE_INTERVAL) * LIVE_INTERVAL;
        let start_wall = now();
        let time = SimulatedTime {
            start: next.max(start_wall),
            start_wall,
            speed,
        };
        let chunk = self.chunk(LIVE_INTERVAL);
        let mut behind_told = false;
        loop {
            // The sample of this very moment is due.
            let due = (time.at(now()).div_euclid(LIVE_INTERVAL) + 1) * LIVE_INTERVAL;
            if due > next {
                let span = Window {
                    start: next,
                    end: due.min(next + chunk),
                };
                let (_, records) = self.publish(span, LIVE_INTERVAL).await?;
                next = span.end;
                self.wait_for_instance(records * CHUNKS_AHEAD, |_| ())
                    .await?;
                let behind_s = (due - next) as f64 / speed / SECOND as f64;
                if behind_s > BEHIND_TOLD_S && !behind_told {
                    behind_told = true;
                    warn!(
                        speed,
                        behind_s,
                        "this machine is slower than the speed asked for; simulated time lags"
                    );
                }
            }
            let pause = time.until(next, now());
            tokio::time::sleep(pause.clamp(LIVE_PAUSE_MIN, LIVE_PAUSE_MAX)).await;
        }
    }

    fn stretch(interval: Micros) -> Micros {
        (STRETCH / interval).max(1) * interval
    }

    /// How much simulated time is published at once.
    fn chunk(&self, interval: Micros) -> Micros {
        let stretch = Self::stretch(interval);
        let samples = self.samples(stretch, interval).max(1);
        stretch * Micros::try_from((CHUNK_SAMPLES as u64 / samples).max(1)).unwrap_or(1)
    }

    /// Publishes a span, again and again until the log takes it; answers how many samples and records it was.
    async fn publish(
        &mut self,
        span: Window,
        interval: Micros,
    ) -> Result<(u64, u64), CommandError> {
        let records = self.records(span, interval)?;
        let totals = self.counters.of(Intake::Fleet);
        totals.requests.fetch_add(1, Ordering::Relaxed);
        let mut wait = RETRY_WAIT_MIN;
        let published = loop {
            match self.publisher.publish(records.clone()).await {
                Ok(published) => break published,
                Err(error) if error.fault() == Fault::Outage => {
                    totals.failures.fetch_add(1, Ordering::Relaxed);
                    warn!(%error, wait_ms = wait.as_millis() as u64, "simulated samples wait for the log");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_WAIT_MAX);
                }
                Err(error) => return Err(refused(error)),
            }
        };
        totals
            .accepted_samples
            .fetch_add(published.samples as u64, Ordering::Relaxed);
        if let Some((_, clock)) = &self.instance {
            clock.advance(span.end);
        }
        Ok((published.samples as u64, published.records as u64))
    }

    /// The records of a span, one per partition and stretch, each with its own time.
    fn records(
        &mut self,
        span: Window,
        interval: Micros,
    ) -> Result<Vec<PartitionRecord>, CommandError> {
        let too_many = |error: ingest::door::TooManySamples| CommandError::Usage(error.to_string());
        let mut records = Vec::new();
        let mut start = span.start;
        while start < span.end {
            let end = (start + Self::stretch(interval)).min(span.end);
            if start == self.begin {
                self.fleet
                    .collect_under_way(start, &mut self.door)
                    .map_err(too_many)?;
            }
            self.fleet
                .collect(Window { start, end }, interval, &mut self.door)
                .map_err(too_many)?;
            let (mut made, _) = self.door.finish().map_err(refused)?;
            for record in &mut made {
                record.record.append_time_ms = Some(start.div_euclid(1000));
            }
            records.extend(made);
            start = end;
        }
        Ok(records)
    }

    /// Waits until at most so many records are unprocessed; tells each time how many are.
    async fn wait_for_instance(
        &self,
        records_max: u64,
        mut told: impl FnMut(u64),
    ) -> Result<(), CommandError> {
        let Some((inlet, _)) = &self.instance else {
            return Ok(());
        };
        loop {
            let lag = inlet.lag_records().await?;
            told(lag.unwrap_or(u64::MAX));
            if lag.is_some_and(|lag| lag <= records_max) {
                return Ok(());
            }
            tokio::time::sleep(LAG_POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_time_runs_at_its_speed() {
        let time = SimulatedTime {
            start: 1000 * SECOND,
            start_wall: 40 * SECOND,
            speed: 60.0,
        };
        assert_eq!(time.at(41 * SECOND), 1060 * SECOND);
        assert_eq!(
            time.until(1060 * SECOND, 40 * SECOND + SECOND / 2),
            Duration::from_millis(500)
        );
        assert_eq!(time.until(0, 41 * SECOND), Duration::ZERO);
    }

    #[test]
    fn it_goes_on_where_the_partition_that_has_least_ended() {
        let go_on = |clocks: &[Option<Micros>]| go_on_at(clocks.iter().copied(), 5);
        assert_eq!(go_on(&[Some(30), Some(20), Some(40)]), 20);
        assert_eq!(go_on(&[Some(30), None]), 5);
        assert_eq!(go_on(&[Some(3)]), 5);
    }

    #[test]
    fn the_log_clock_never_goes_back() {
        let clock = LogClock::at(5 * SECOND);
        clock.advance(3 * SECOND);
        assert_eq!(clock.of_log()(), 5000);
        clock.advance(7 * SECOND);
        assert_eq!(clock.of_log()(), 7000);
    }
}
