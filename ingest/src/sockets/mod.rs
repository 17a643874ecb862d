//! Receivers of lines over TCP and UDP, where no sender waits for an answer. One folder per protocol: `mod.rs` (settings), `decode.rs`, `tests.rs`.
//!
//! ```text
//! listener (TCP waits while the queue is full, UDP drops and counts, as the kernel does before it) ─▶ queue of whole lines ─▶ protocol ─▶ backlog ─▶ log
//! ```
//!
//! These protocols acknowledge nothing: what is in the queue or the backlog is lost if the process is killed. What is refused is counted, and the
//! first of it logged once per flush.

pub mod graphite;
mod kernel;
mod reading;
pub mod statsd;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::Micros;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Sender;
use crate::backlog::{Backlog, Collection, next_tick, publish_while};
use crate::counters::{IngestCounters, Intake, add};
use crate::door::{Batcher, Publisher};

/// Blocks of lines that wait to be decoded, each of at most 64 KiB.
const QUEUE_BLOCKS: usize = 64;
/// Backlog beyond which no more lines are taken from TCP: its senders keep them, and nothing is dropped.
const BACKLOG_BYTES_PAUSE: usize = 8 * 1024 * 1024;
/// For the label sets of one protocol.
const MEMO_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Samples of one flush: more than a full queue of the shortest lines, or the largest number of series with all that a timer tells.
const FLUSH_SAMPLES_MAX: usize = 2_000_000;

/// A protocol of lines.
pub(crate) trait Protocol: Send + 'static {
    /// Who brings them.
    const INTAKE: Intake;

    /// Takes whole lines that came at `now`: samples go to the door, or into a state that [`Protocol::flush`] tells of.
    fn take(&mut self, lines: &[u8], now: Micros, door: &mut Batcher);

    /// Tells what was gathered up to a tick.
    fn flush(&mut self, tick: Micros, door: &mut Batcher);

    /// Lines that were left out on purpose since this was last asked.
    fn take_skipped(&mut self) -> usize {
        0
    }
}

/// Sockets that are bound, so that a port that is taken is told before anything starts.
#[derive(Debug)]
pub struct Bound {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Bound {
    /// Binds TCP and UDP to one address; port 0 takes one that is free for both.
    ///
    /// # Errors
    /// What the system says, such as that the address is in use.
    pub async fn new(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let udp = UdpSocket::bind(tcp.local_addr()?).await?;
        Ok(Bound { tcp, udp })
    }

    /// The address, with the port that was taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Receives until cancelled, then decodes what is queued and publishes for at most 3 s. `interval` ≥ 1 ms.
pub(crate) async fn run<P: Protocol>(
    protocol: P,
    sockets: Vec<Bound>,
    interval: Duration,
    publisher: Publisher,
    counters: Arc<IngestCounters>,
    cancellation: CancellationToken,
) {
    let (sender, queue) = mpsc::channel(QUEUE_BLOCKS);
    let readers = TaskTracker::new();
    for Bound { tcp, udp } in sockets {
        readers.spawn(reading::accept(
            tcp,
            sender.clone(),
            P::INTAKE,
            Arc::clone(&counters),
            cancellation.clone(),
        ));
        readers.spawn(reading::receive(
            udp,
            sender.clone(),
            P::INTAKE,
            Arc::clone(&counters),
            cancellation.clone(),
        ));
    }
    drop(sender);
    readers.close();
    let backlog = Backlog::default();
    let door = publisher.batcher(MEMO_BYTES_MAX, FLUSH_SAMPLES_MAX);
    let work = |backlog| decode(protocol, queue, interval, door, backlog, &counters);
    publish_while(work, &backlog, &publisher, &counters, P::INTAKE).await;
    readers.wait().await;
}

/// Decodes what is queued, and flushes at every tick, until all readers are gone.
async fn decode<P: Protocol>(
    mut protocol: P,
    mut queue: mpsc::Receiver<Bytes>,
    interval: Duration,
    mut door: Batcher,
    backlog: &Backlog,
    counters: &IngestCounters,
) {
    let interval = i64::try_from(interval.as_micros())
        .unwrap_or(i64::MAX)
        .clamp(1_000, 86_400_000_000);
    // Whoever sends: these protocols have no names for it, and UDP's addresses are easily made up.
    let sender = Sender::new(P::INTAKE.name());
    let clock = || jiff::Timestamp::now().as_microsecond();
    let mut tick = next_tick(clock(), interval);
    loop {
        // Asked anew each time: the wall clock may have been set.
        let left = Duration::from_micros((tick - clock()).max(0).unsigned_abs());
        let block = tokio::select! {
            block = queue.recv() => block,
            () = tokio::time::sleep(left) => {
                door.begin(&sender, clock());
                protocol.flush(tick, &mut door);
                finish::<P>(&mut protocol, &mut door, backlog, counters);
                tick = next_tick(clock().max(tick), interval);
                continue;
            }
        };
        let Some(block) = block else {
            door.begin(&sender, clock());
            protocol.flush(clock(), &mut door);
            finish::<P>(&mut protocol, &mut door, backlog, counters);
            return;
        };
        let now = clock();
        door.begin(&sender, now);
        protocol.take(&block, now, &mut door);
        // What came meanwhile goes into the same records.
        for _ in 0..QUEUE_BLOCKS {
            match queue.try_recv() {
                Ok(block) => protocol.take(&block, now, &mut door),
                Err(_) => break,
            }
        }
        if door.samples() > 0 || !door.rejections().is_empty() {
            finish::<P>(&mut protocol, &mut door, backlog, counters);
            backlog.at_most(BACKLOG_BYTES_PAUSE).await;
        }
    }
}

/// Puts what the door holds into the backlog, and counts.
fn finish<P: Protocol>(
    protocol: &mut P,
    door: &mut Batcher,
    backlog: &Backlog,
    counters: &IngestCounters,
) {
    let totals = counters.of(P::INTAKE);
    add(&totals.skipped_fields, protocol.take_skipped());
    let intake = P::INTAKE.name();
    match door.finish() {
        Ok((records, rejections)) => {
            add(&totals.rejected_samples, rejections.samples() as usize);
            if let Some(first) = rejections.first().first() {
                tracing::warn!(intake, rejected = rejections.samples(), %first, "lines were refused");
            }
            if records.is_empty() {
                return;
            }
            let dropped = backlog.add(Collection { records });
            if dropped > 0 {
                add(&totals.dropped_samples, dropped);
                tracing::warn!(
                    intake,
                    samples = dropped,
                    "the log has been away too long; the oldest samples were dropped"
                );
            }
        }
        Err(error) => tracing::error!(intake, %error, "samples could not be encoded and are lost"),
    }
}

#[cfg(test)]
mod tests;
