//! A TCP proxy that holds answers back: a server that is slow for as long as a test wants. Uses the standard library only.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes passed on at a time. Answers of a store to a write are far smaller, so each is held back once.
const PIECE_BYTES: usize = 64 * 1024;
/// How often a held answer looks whether it may go.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Shared {
    delay_ms: AtomicU64,
    held: AtomicU64,
    ended: AtomicBool,
}

/// A running proxy on a loopback port. Dropped, it takes no more connections; those that are open end with their client or server.
#[derive(Debug)]
pub struct SlowProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl SlowProxy {
    /// Passes connections on to a server, at first without delay.
    ///
    /// # Errors
    /// An I/O error if no port is free.
    pub fn start(server: SocketAddr) -> io::Result<SlowProxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if ours.ended.load(Ordering::Acquire) {
                    break;
                }
                if let Ok(client) = client {
                    // A connection that can't be passed on is closed, as a server that is away does.
                    let _closed = pass_on(client, server, &ours);
                }
            }
        });
        Ok(SlowProxy { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds each piece of an answer back for so long, those that wait already too.
    pub fn set_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(delay_ms, Ordering::Release);
    }

    /// How many pieces of answers were held back so far.
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::Acquire)
    }
}

impl Drop for SlowProxy {
    fn drop(&mut self) {
        self.shared.delay_ms.store(0, Ordering::Release);
        self.shared.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(self.address);
    }
}

fn pass_on(client: TcpStream, server: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (asks, asked) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || copy(asks, asked, |_| {}));
    let shared = Arc::clone(shared);
    std::thread::spawn(move || copy(server, client, |came| hold(&shared, came)));
    Ok(())
}

/// Copies until either side ends; `wait` is called with the time at which a piece came, before it goes on.
fn copy(mut from: TcpStream, mut to: TcpStream, wait: impl Fn(Instant)) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => {
                wait(Instant::now());
                if to.write_all(&piece[..bytes]).is_err() {
                    break;
                }
            }
        }
    }
    let _gone = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}

fn hold(shared: &Shared, came: Instant) {
    let delay = || Duration::from_millis(shared.delay_ms.load(Ordering::Acquire));
    if !delay().is_zero() {
        shared.held.fetch_add(1, Ordering::AcqRel);
    }
    while came.elapsed() < delay() {
        std::thread::sleep(LOOK_INTERVAL);
    }
}
