//! Accepts connections and serves them, HTTP/1 and HTTP/2 alike, plain or over TLS, with bounds on their number, on heads and on silence. Knows no route.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ingest::http::ERROR_HEADER;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::access::Peer;
use crate::config::ServerConfig;
use crate::error_codes;
use crate::telemetry::{self, Metric};
use crate::tls::Tls;

/// Largest head of a request, bytes: line protocol puts names and tokens there, no client needs more.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// How a client begins that speaks HTTP/2 without asking: by these bytes of its preface, which begin no method of HTTP/1.
const HTTP2_PREFACE: [u8; 3] = *b"PRI";
/// How every connection of TLS begins: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a client is told that speaks plain HTTP to a port with TLS.
const SPEAK_TLS: &str = "plain HTTP was sent to a port that speaks TLS; send to https:// instead";
/// Pause between looks at a preface of which only a part has come.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// Requests at once on one connection of HTTP/2. 64: exporters send one to ten; bodies are bounded by `limits.in_flight_max` besides.
const STREAMS_MAX: u32 = 64;
/// Silence on a connection of HTTP/2 after which the client is asked whether it is there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after an accept that failed for want of descriptors: trying again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then closes the door, lets requests that are being worked on end, and returns when all connections are closed.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServerConfig,
    tls: Option<Tls>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(config.connections_max));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            // Never closed.
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (router, tls, stop) = (router.clone(), tls.clone(), stop.clone());
        let header_timeout = config.header_timeout;
        connections.spawn(async move {
            telemetry::change(Metric::HttpConnections, 1.0);
            serve_connection(stream, router, tls, header_timeout, stop).await;
            telemetry::change(Metric::HttpConnections, -1.0);
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    tls: Option<Tls>,
    header_timeout: Duration,
    stop: CancellationToken,
) {
    // Small answers must not wait for company; where the option can't be set they are only slower.
    let _ = stream.set_nodelay(true);
    let connection = Connection {
        router,
        address: stream.peer_addr().ok().map(|peer| peer.ip()),
        header_timeout,
        stop: stop.clone(),
    };
    let with_tls = tls.is_some();
    let begin = async {
        match tls {
            None => match begins_http2(&stream).await {
                Ok(is_http2) => Some(Begun::Plain(stream, is_http2)),
                Err(_) => None,
            },
            Some(tls) => shake_hands(stream, &tls)
                .await
                .map(|stream| Begun::Tls(Box::new(stream))),
        }
    };
    let begun = tokio::select! {
        begun = tokio::time::timeout(header_timeout, begin) => begun,
        () = stop.cancelled() => return,
    };
    match begun {
        Ok(Some(Begun::Plain(stream, is_http2))) => connection.serve(stream, is_http2).await,
        Ok(Some(Begun::Tls(stream))) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connection.serve(stream, is_http2).await;
        }
        Ok(None) => {}
        Err(_) if with_tls => fail_tls("timeout"),
        Err(_) => {}
    }
}

/// A connection of which it is known what is spoken.
enum Begun {
    /// With whether that is HTTP/2.
    Plain(TcpStream, bool),
    Tls(Box<TlsStream<TcpStream>>),
}

fn fail_tls(reason: &'static str) {
    telemetry::count(Metric::TlsFailuresTotal, &[("reason", reason)], 1);
}

/// Begins TLS; a client that speaks plain HTTP is told so.
async fn shake_hands(mut stream: TcpStream, tls: &Tls) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1..) if first[0] != TLS_HANDSHAKE => {
            fail_tls("plain_http");
            // Whoever does not wait for an answer does not miss it.
            let _ = stream.write_all(speak_tls().as_bytes()).await;
            close(stream).await;
            None
        }
        Ok(1..) => match tls.acceptor().accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                fail_tls("handshake");
                debug!(%error, "a client and this server could not agree on TLS");
                None
            }
        },
        Ok(0) | Err(_) => None,
    }
}

/// An answer of HTTP/1 that says what is wrong.
fn speak_tls() -> String {
    let code = error_codes::PLAIN_HTTP.id;
    let text = format!("{code}: {SPEAK_TLS}\n");
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n{ERROR_HEADER}: {code}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{text}",
        text.len()
    )
}

/// Ends a connection of which not everything was read, so that what was written reaches the client first.
async fn close(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = [0; 4096];
    let mut left = HEAD_BYTES_MAX;
    while let Ok(read) = stream.read(&mut rest).await {
        left = left.saturating_sub(read);
        if read == 0 || left == 0 {
            break;
        }
    }
}

/// What a connection is served with.
struct Connection {
    router: Router,
    address: Option<IpAddr>,
    header_timeout: Duration,
    stop: CancellationToken,
}

impl Connection {
    async fn serve<S>(self, stream: S, is_http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let address = self.address;
        let (stream, routes) = (TokioIo::new(stream), TowerToHyperService::new(self.router));
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(address) = address {
                request.extensions_mut().insert(Peer(address));
            }
            routes.call(request)
        });
        if is_http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT);
            let connection = builder.serve_connection(stream, service);
            until_closed(connection, http2::Connection::graceful_shutdown, self.stop).await;
        } else {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(self.header_timeout)
                .max_headers(HEADERS_MAX)
                .max_header_size(HEAD_BYTES_MAX);
            let connection = builder.serve_connection(stream, service);
            until_closed(connection, http1::Connection::graceful_shutdown, self.stop).await;
        }
    }
}

/// Whether a client begins as HTTP/2 does; takes nothing from the stream.
async fn begins_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 || first[..seen] != HTTP2_PREFACE[..seen] {
            return Ok(false);
        }
        if seen == first.len() {
            return Ok(true);
        }
        // What is there already wakes nobody again.
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

/// Serves a connection until it is closed; once the end was asked for, `shut` lets it take no new request.
async fn until_closed<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    shut: impl Fn(Pin<&mut C>),
    stop: CancellationToken,
) {
    let mut connection = pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection ended badly");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                shut(connection.as_mut());
            }
        }
    }
}
