//! A small HTTP/1.1 client on the standard library: one request per connection, so that an answer is never mixed up with another.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a request may take before its outcome counts as unknown. Long: a debug build on a busy machine is slow, and a test that
/// waits for this has failed anyway.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body, without transfer encoding.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The connection was refused: the server has not seen the request.
    #[error("connection refused: {0}")]
    NotSent(std::io::Error),
    /// The connection broke or timed out after something was sent: the server may have done what was asked.
    #[error("no complete answer: {0}")]
    Unknown(String),
}

impl From<std::io::Error> for NoAnswer {
    fn from(error: std::io::Error) -> Self {
        NoAnswer::Unknown(error.to_string())
    }
}

/// Sends `GET path`.
///
/// # Errors
/// `NoAnswer` as [`request`].
pub fn get(address: SocketAddr, path: &str) -> Result<Answer, NoAnswer> {
    request(address, "GET", path, &[], b"")
}

/// Sends `POST path` with a body of a content type.
///
/// # Errors
/// `NoAnswer` as [`request`].
pub fn post(
    address: SocketAddr,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Answer, NoAnswer> {
    request(
        address,
        "POST",
        path,
        &[("content-type", content_type)],
        body,
    )
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// `NotSent` if nobody listens; `Unknown` if the connection broke before the answer was complete.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, NoAnswer> {
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(NoAnswer::NotSent)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // One write, so that a trace of system calls shows one request as one read on the other side.
    let bytes = [head.as_bytes(), body].concat();
    if let Err(error) = stream.write_all(&bytes) {
        // A server that refuses a body answers and closes before it has read everything; its answer still counts.
        if !matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ) {
            return Err(error.into());
        }
    }
    let mut raw = Vec::new();
    let read = stream.read_to_end(&mut raw);
    parse(&raw).ok_or_else(|| {
        NoAnswer::Unknown(match read {
            Ok(_) => format!("connection closed after {} bytes", raw.len()),
            Err(error) => error.to_string(),
        })
    })
}

/// Sends what a client once sent, as it is. The connection stays open as long as what is answered is kept, and is read by nobody.
///
/// # Panics
/// If nobody listens, or the bytes can't be sent.
pub fn replay(address: SocketAddr, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(sent).expect("bytes are taken");
    stream
}

/// The first request of what a connection sent, and its body; `None` if that is no complete HTTP/1.1 request with a length.
pub fn first_request(sent: &[u8]) -> Option<(&[u8], &[u8])> {
    let body_start = sent.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&sent[..body_start])
        .ok()?
        .to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    let end = body_start + length.trim().parse::<usize>().ok()?;
    Some((sent.get(..end)?, sent.get(body_start..end)?))
}

/// An endpoint that answers every request with one body of the exposition format, on a thread of its own until the process ends.
///
/// # Panics
/// If no port is free.
pub fn endpoint(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut stream) = connection else { return };
            let mut request = [0; 4096];
            let _some = stream.read(&mut request);
            let length = body.len();
            let _sent = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}

/// The answer in `raw`; `None` if it is cut short.
fn parse(raw: &[u8]) -> Option<Answer> {
    let head_end = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..head_end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let rest = &raw[head_end + 4..];
    let value = |name: &str| {
        headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let body = if value("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        unchunk(rest)?
    } else if let Some(length) = value("content-length") {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else {
        rest.to_vec()
    };
    Some(Answer {
        status,
        headers,
        body,
    })
}

/// Joins the chunks of a chunked body; `None` if the last chunk is missing (a stream that broke must not look complete).
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line_end])
            .ok()?
            .split(';')
            .next()?
            .trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line_end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_chunked_answers_and_no_broken_one() {
        let plain =
            parse(b"HTTP/1.1 204 No Content\r\nX-A: b\r\ncontent-length: 0\r\n\r\n").unwrap();
        assert_eq!((plain.status, plain.header("x-a")), (204, Some("b")));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().text(), "abcde");
        assert!(parse(&chunked[..chunked.len() - 8]).is_none());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc").is_none());
    }
}
