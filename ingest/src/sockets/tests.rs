//! The sockets themselves: lines cut anywhere, long lines, datagrams, the end of a connection, an outage of the log, the end of the process.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::graphite::Template;
use super::statsd::StatsdOptions;
use super::*;
use crate::memory_bus::MemoryBus;

struct Rig {
    bus: Arc<MemoryBus>,
    counters: Arc<IngestCounters>,
    address: SocketAddr,
    cancellation: CancellationToken,
    running: JoinHandle<()>,
}

impl Rig {
    async fn new(intake: Intake) -> Self {
        let bus = MemoryBus::new();
        let counters = Arc::new(IngestCounters::default());
        let bound = Bound::new("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = bound.address().unwrap();
        let cancellation = CancellationToken::new();
        let (publisher, totals, stop) = (
            bus.publisher(2),
            Arc::clone(&counters),
            cancellation.clone(),
        );
        let running = match intake {
            Intake::Graphite => tokio::spawn(graphite::run(
                Template::default(),
                vec![bound],
                publisher,
                totals,
                stop,
            )),
            _ => {
                let options = StatsdOptions {
                    flush_interval: Duration::from_secs(3600),
                    ..StatsdOptions::default()
                };
                tokio::spawn(statsd::run(options, vec![bound], publisher, totals, stop))
            }
        };
        Rig {
            bus,
            counters,
            address,
            cancellation,
            running,
        }
    }

    /// Waits until a condition holds.
    async fn until(&self, condition: impl Fn(&Rig) -> bool) {
        let holds = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), holds)
            .await
            .expect("it holds in the end");
    }

    async fn end(self) -> Vec<String> {
        self.cancellation.cancel();
        self.running.await.unwrap();
        let mut names: Vec<String> = self.bus.rows().into_iter().map(|row| row.0).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn lines_may_be_cut_anywhere_and_the_last_may_lack_its_end() {
    let rig = Rig::new(Intake::Graphite).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    for part in ["a.b 1 5\nc", ".d 2 ", "5\ne.f 3", " 5"] {
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    drop(stream);
    rig.until(|rig| rig.bus.rows().len() == 3).await;
    assert_eq!(
        rig.counters
            .of(Intake::Graphite)
            .accepted_samples
            .load(Ordering::Relaxed),
        3
    );
    assert_eq!(rig.end().await, ["a.b", "c.d", "e.f"]);
}

#[tokio::test]
async fn a_line_without_end_is_refused_and_the_next_is_taken() {
    let rig = Rig::new(Intake::Graphite).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(b"a 1 5\n").await.unwrap();
    stream.write_all(&[b'x'; 300_000]).await.unwrap();
    stream.write_all(b"\nb 1 5\n").await.unwrap();
    rig.until(|rig| rig.bus.rows().len() == 2).await;
    let rejected = &rig.counters.of(Intake::Graphite).rejected_samples;
    assert_eq!(rejected.load(Ordering::Relaxed), 1);
    assert_eq!(rig.end().await, ["a", "b"]);
}

#[tokio::test]
async fn datagrams_are_lines_too() {
    let rig = Rig::new(Intake::Graphite).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"a 1 5\nb 1 5", rig.address).await.unwrap();
    socket.send_to(b"wrong", rig.address).await.unwrap();
    rig.until(|rig| {
        let totals = rig.counters.of(Intake::Graphite);
        rig.bus.rows().len() == 2 && totals.rejected_samples.load(Ordering::Relaxed) == 1
    })
    .await;
    assert_eq!(rig.end().await, ["a", "b"]);
}

#[tokio::test]
async fn what_was_gathered_is_told_at_the_end() {
    let rig = Rig::new(Intake::Statsd).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket
        .send_to(b"hits:1|c\nusers:a|s", rig.address)
        .await
        .unwrap();
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(b"hits:2|c\n").await.unwrap();
    rig.until(|rig| {
        rig.counters
            .of(Intake::Statsd)
            .requests
            .load(Ordering::Relaxed)
            == 2
    })
    .await;
    let bus = Arc::clone(&rig.bus);
    assert_eq!(rig.end().await, ["hits", "users"]);
    let hits = bus.rows().into_iter().find(|row| row.0 == "hits").unwrap();
    assert_eq!(f64::from_bits(hits.4), 3.0);
}

#[tokio::test]
async fn an_outage_of_the_log_delays_and_loses_nothing() {
    let rig = Rig::new(Intake::Graphite).await;
    rig.bus.failures.store(2, Ordering::SeqCst);
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(b"a 1 5\n").await.unwrap();
    rig.until(|rig| rig.bus.rows().len() == 1).await;
    let failures = &rig.counters.of(Intake::Graphite).failures;
    assert_eq!(failures.load(Ordering::Relaxed), 2);
    rig.end().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let first = Bound::new("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Bound::new(first.address().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

/// A burst that no socket's buffer holds, before anyone reads: what is received and what the kernel dropped is what was sent.
#[tokio::test]
async fn what_the_kernel_drops_is_counted() {
    const SENT: u64 = 4_000;
    let bound = Bound::new("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(bound.address().unwrap()).unwrap();
    for _ in 0..SENT {
        sender.send(&[b'x'; 1_000]).unwrap();
    }
    let counters = Arc::new(IngestCounters::default());
    let (queue, mut blocks) = mpsc::channel(QUEUE_BLOCKS);
    let stop = CancellationToken::new();
    let receiving = tokio::spawn(reading::receive(
        bound.udp,
        queue,
        Intake::Statsd,
        Arc::clone(&counters),
        stop.clone(),
    ));
    let totals = counters.of(Intake::Statsd);
    let counted = || {
        let [received, dropped] = [&totals.requests, &totals.dropped_datagrams];
        let [received, dropped] = [received, dropped].map(|count| count.load(Ordering::Relaxed));
        (received, dropped)
    };
    // The kernel is asked at the begin, and at the end.
    let all = async {
        while counted().0 + counted().1 < SENT {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all)
        .await
        .unwrap();
    stop.cancel();
    receiving.await.unwrap();
    while blocks.recv().await.is_some() {}
    let (received, dropped) = counted();
    assert!(received > 0 && dropped > 0, "{received}, {dropped}");
    assert_eq!(received + dropped, SENT);
}
