//! A small HTTP/1.1 client over one kept connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// One connection that is kept for all requests.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    /// Headers that every request has.
    headers: String,
}

impl Client {
    /// Connects to `host:port`.
    ///
    /// # Panics
    /// If nobody listens.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Client {
            stream: BufReader::new(stream),
            host: address.to_owned(),
            headers: String::new(),
        }
    }

    /// The same client, which shows a token from now on.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.headers = format!("Authorization: Bearer {token}\r\n");
        self
    }

    /// Posts a body; the answer's body. A protobuf body is taken for a remote write, compressed by snappy.
    ///
    /// # Panics
    /// If the answer is no success.
    pub fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> String {
        let (status, answer) = self.try_post(path, content_type, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// As [`Client::post`], with the status beside the answer's body, whichever it is.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn try_post(&mut self, path: &str, content_type: &str, body: &[u8]) -> (u16, String) {
        let encoding = if content_type == "application/x-protobuf" {
            "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
        } else {
            ""
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Type: {content_type}\r\n{encoding}Content-Length: {}\r\n\r\n",
            self.host,
            self.headers,
            body.len()
        );
        self.ask(&head, body)
    }

    /// Gets a page.
    ///
    /// # Panics
    /// If the answer is no success.
    pub fn get(&mut self, path: &str) -> String {
        let (status, answer) = self.try_get(path);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// As [`Client::get`], with the status beside the page, whichever it is.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn try_get(&mut self, path: &str) -> (u16, String) {
        let (host, headers) = (&self.host, &self.headers);
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        self.ask(&head, &[])
    }

    fn ask(&mut self, head: &str, body: &[u8]) -> (u16, String) {
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).expect("the server reads");
        stream.write_all(body).expect("the server reads");
        let mut status = String::new();
        self.stream
            .read_line(&mut status)
            .expect("the server answers");
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut line = String::new();
            self.stream
                .read_line(&mut line)
                .expect("the server answers");
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().expect("a length");
            }
            chunked |= line == "transfer-encoding: chunked";
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                let mut size = String::new();
                self.stream.read_line(&mut size).expect("a chunk");
                let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk).expect("a chunk");
                if size == 0 {
                    break;
                }
                answer.extend_from_slice(&chunk[..size]);
            }
        } else {
            answer.resize(length, 0);
            self.stream.read_exact(&mut answer).expect("a body");
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = status.split(' ').nth(1).unwrap_or_default();
        (status.parse().expect("a status"), answer)
    }
}
