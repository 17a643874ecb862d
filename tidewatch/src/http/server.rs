//! Accepts connections and serves them, HTTP/1 and HTTP/2 alike, with bounds on their number, on heads and on silence. Knows no route.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::config::ServerConfig;
use crate::telemetry::{self, Metric};

/// Largest head of a request, bytes: line protocol puts names and tokens there, no client needs more.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// How a client begins that speaks HTTP/2 without asking: by these bytes of its preface, which begin no method of HTTP/1.
const HTTP2_PREFACE: [u8; 3] = *b"PRI";
/// Pause between looks at a preface of which only a part has come.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// Requests at once on one connection of HTTP/2. 64: exporters send one to ten; bodies are bounded by `ingest.in_flight_max` besides.
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
        let (router, stop) = (router.clone(), stop.clone());
        let header_timeout = config.header_timeout;
        connections.spawn(async move {
            telemetry::change(Metric::HttpConnections, 1.0);
            serve_connection(stream, router, header_timeout, stop).await;
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
    header_timeout: Duration,
    stop: CancellationToken,
) {
    // Small answers must not wait for company; where the option can't be set they are only slower.
    let _ = stream.set_nodelay(true);
    let begins = tokio::time::timeout(header_timeout, begins_http2(&stream));
    let is_http2 = tokio::select! {
        begins = begins => match begins {
            Ok(Ok(is_http2)) => is_http2,
            Ok(Err(_)) | Err(_) => return,
        },
        () = stop.cancelled() => return,
    };
    let (stream, service) = (TokioIo::new(stream), TowerToHyperService::new(router));
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let connection = builder.serve_connection(stream, service);
        until_closed(connection, http2::Connection::graceful_shutdown, stop).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX);
        let connection = builder.serve_connection(stream, service);
        until_closed(connection, http1::Connection::graceful_shutdown, stop).await;
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
