//! A TCP proxy that keeps what clients sent, byte for byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What each connection has sent so far, the first one first.
type Connections = Arc<Mutex<Vec<Vec<u8>>>>;

/// A running proxy on a loopback port. It ends with the process: only tests of a few requests have one.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    connections: Connections,
}

impl Recorder {
    /// Passes connections on to a server.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(server: SocketAddr) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Connections::default();
        let ours = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that can't be passed on is closed, as a server that is away does.
                let _closed = pass_on(client, server, &ours);
            }
        });
        Recorder {
            address,
            connections,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the connections sent so far that sent anything.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        let connections = lock(&self.connections);
        let sent = connections.iter().filter(|bytes| !bytes.is_empty());
        sent.cloned().collect()
    }
}

fn lock(connections: &Connections) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass_on(client: TcpStream, server: SocketAddr, connections: &Connections) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let number = {
        let mut connections = lock(connections);
        connections.push(Vec::new());
        connections.len() - 1
    };
    let (asks, asked) = (client.try_clone()?, server.try_clone()?);
    let connections = Arc::clone(connections);
    std::thread::spawn(move || {
        copy(asks, asked, |bytes| {
            lock(&connections)[number].extend_from_slice(bytes);
        });
    });
    std::thread::spawn(move || copy(server, client, |_| {}));
    Ok(())
}

/// Copies until either side ends; `keep` is given each piece before it goes on.
fn copy(mut from: TcpStream, mut to: TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut piece) {
        keep(&piece[..length]);
        if length == 0 || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _gone = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}
