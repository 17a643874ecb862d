//! The other side: VictoriaMetrics, built once from its published Go module, and a small HTTP client over one kept connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The version that is built.
const VERSION: &str = "v1.130.0";

/// A running VictoriaMetrics, single node, with its defaults and an empty directory.
pub(crate) struct VictoriaMetrics {
    pub(crate) child: Child,
    pub(crate) address: String,
    _data: tempfile::TempDir,
}

impl VictoriaMetrics {
    pub(crate) fn start() -> Result<Self, String> {
        let program = build()?;
        let data = tempfile::tempdir().map_err(|error| error.to_string())?;
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| error.to_string())?
            .to_string();
        let child = Command::new(program)
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", data.path().display()))
            .args([
                "-loggerLevel=ERROR",
                "-retentionPeriod=100y",
                "-search.latencyOffset=0s",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let peer = VictoriaMetrics {
            child,
            address,
            _data: data,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&peer.address).is_err() {
            if Instant::now() > deadline {
                return Err("it did not start".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }
}

impl Drop for VictoriaMetrics {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The program in the user's cache, built there if it is missing.
fn build() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    let directory = cache
        .join("tidewatch")
        .join(format!("victoria-metrics-{VERSION}"));
    let program = directory.join("victoria-metrics");
    if program.exists() {
        return Ok(program);
    }
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let module = "github.com/VictoriaMetrics/VictoriaMetrics";
    let package = format!("{module}/app/victoria-metrics");
    let go = |arguments: &[&str]| -> Result<(), String> {
        let output = Command::new("go")
            .args(arguments)
            .current_dir(&directory)
            .output()
            .map_err(|error| format!("go: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!(
                "go {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            ))
        }
    };
    if !directory.join("go.mod").exists() {
        go(&["mod", "init", "peer"])?;
    }
    go(&["get", &format!("{package}@{VERSION}")])?;
    go(&["build", "-o", "victoria-metrics", &package])?;
    Ok(program)
}

/// One connection that is kept for all requests.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Client {
            stream: BufReader::new(stream),
            host: address.to_owned(),
        }
    }

    pub(crate) fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> String {
        let encoding = if content_type == "application/x-protobuf" {
            "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
        } else {
            ""
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\n{encoding}Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.ask(&head, body)
    }

    pub(crate) fn get(&mut self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.ask(&head, &[])
    }

    fn ask(&mut self, head: &str, body: &[u8]) -> String {
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
        assert!(status.contains(" 20"), "{head}{status}{answer}");
        answer
    }
}
