//! Reads lines from TCP connections and datagrams, in blocks of whole lines. Knows no protocol.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memrchr};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::kernel::{self, KernelDrops};
use crate::counters::{IngestCounters, Intake, add};

/// The longest line, and the largest block, bytes. 64 KiB: a line with labels at their limits is longer than any sender writes, a datagram can't be.
pub(super) const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Connections of one protocol at once; a further one waits to be accepted. 1024: relays have a handful, hosts one each.
const CONNECTIONS_MAX: usize = 1024;
/// How long a connection may be silent. Agents that flush once an hour are not cut off; those that are gone without a word do not stay for ever.
const SILENCE_MAX: Duration = Duration::from_secs(2 * 3600);
/// Pause after an accept or a receive that failed: trying again at once would only spin.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until cancelled, and waits until all are closed.
pub(super) async fn accept(
    listener: TcpListener,
    queue: mpsc::Sender<Bytes>,
    intake: Intake,
    counters: Arc<IngestCounters>,
    cancellation: CancellationToken,
) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = tokio::select! {
            () = cancellation.cancelled() => break,
            accepted = async {
                // Never closed.
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        match stream {
            (place, Ok((stream, _))) => {
                let (queue, counters) = (queue.clone(), Arc::clone(&counters));
                let cancellation = cancellation.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = cancellation.cancelled() => {}
                        () = read(stream, queue, intake, &counters) => {}
                    }
                    drop(place);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(intake = intake.name(), %error, "a connection could not be accepted");
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// Reads one connection to its end. A line that is too long is left out, counted, and the next one begins after it.
async fn read(
    mut stream: TcpStream,
    queue: mpsc::Sender<Bytes>,
    intake: Intake,
    counters: &IngestCounters,
) {
    let totals = counters.of(intake);
    let (mut buffer, mut is_in_long_line) = (BytesMut::new(), false);
    loop {
        buffer.reserve(BLOCK_BYTES_MAX);
        let read = tokio::time::timeout(SILENCE_MAX, stream.read_buf(&mut buffer)).await;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) | Err(_) => 0,
        };
        add(&totals.body_bytes, bytes);
        if is_in_long_line {
            let Some(end) = memchr(b'\n', &buffer) else {
                buffer.clear();
                if bytes == 0 {
                    return;
                }
                continue;
            };
            let _rest_of_it = buffer.split_to(end + 1);
            is_in_long_line = false;
        }
        // The last line of a connection may lack its end.
        let end = if bytes == 0 {
            buffer.len()
        } else {
            memrchr(b'\n', &buffer).map_or(0, |at| at + 1)
        };
        if end > 0 {
            add(&totals.requests, 1);
            if queue.send(buffer.split_to(end).freeze()).await.is_err() {
                return;
            }
        }
        if bytes == 0 {
            return;
        }
        if buffer.len() > BLOCK_BYTES_MAX {
            add(&totals.rejected_samples, 1);
            tracing::warn!(
                intake = intake.name(),
                "a line of more than {BLOCK_BYTES_MAX} bytes was refused"
            );
            buffer.clear();
            is_in_long_line = true;
        }
    }
}

/// Receives datagrams until cancelled, those that came together in one block. While the queue is full they are dropped, and their lines counted; so are
/// the datagrams that the kernel dropped before.
pub(super) async fn receive(
    socket: UdpSocket,
    queue: mpsc::Sender<Bytes>,
    intake: Intake,
    counters: Arc<IngestCounters>,
    cancellation: CancellationToken,
) {
    let totals = counters.of(intake);
    let mut block = BytesMut::new();
    let mut dropped = KernelDrops::of(&socket);
    let mut looks = tokio::time::interval(kernel::LOOK_INTERVAL);
    loop {
        let ready = tokio::select! {
            () = cancellation.cancelled() => {
                dropped.count(&totals.dropped_datagrams).await;
                return;
            }
            _ = looks.tick() => {
                dropped.count(&totals.dropped_datagrams).await;
                continue;
            }
            ready = socket.readable() => ready,
        };
        let mut failure = ready.err();
        block.reserve(2 * BLOCK_BYTES_MAX);
        // A datagram has less than 64 KiB, so each finds room.
        while failure.is_none() && block.len() < BLOCK_BYTES_MAX {
            match socket.try_recv_buf_from(&mut block) {
                Ok((bytes, _)) => {
                    add(&totals.requests, 1);
                    add(&totals.body_bytes, bytes);
                    block.extend_from_slice(b"\n");
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => failure = Some(error),
            }
        }
        if !block.is_empty()
            && let Err(refused) = queue.try_send(block.split().freeze())
        {
            let lines = refused.into_inner();
            let lines = lines.split(|byte| *byte == b'\n');
            let dropped = lines.filter(|line| !line.trim_ascii().is_empty()).count();
            add(&totals.dropped_samples, dropped);
        }
        if let Some(error) = failure {
            tracing::warn!(intake = intake.name(), %error, "a datagram could not be received");
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }
}
