//! A real MinIO for tests of the S3 path: built once with Go, started on a loopback port, stopped when dropped. Uses the standard library only.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The version that is built: it honours `If-None-Match: *`.
pub const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
/// The access key of a started server.
pub const USER: &str = "tidewatch";
/// Its secret key.
pub const PASSWORD: &str = "tidewatch-secret";
/// The bucket that a started server has.
pub const BUCKET: &str = "tidewatch";

/// How long a start may take; seen: under 2 s.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct MinioServer {
    child: Child,
    address: SocketAddr,
    data: PathBuf,
}

impl MinioServer {
    /// Starts a server whose data lives in `data`, which is removed when the server stops. Builds it first if need be (two minutes, once).
    ///
    /// # Errors
    /// An I/O error if Go or its module proxy is missing, or the server does not come up.
    pub fn start(data: &Path) -> io::Result<Self> {
        let program = build()?;
        // A directory in the data directory is a bucket.
        fs::create_dir_all(data.join(BUCKET))?;
        // The port is free now; MinIO takes none of the system's choice.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = fs::File::create(data.with_extension("log"))?;
        let child = Command::new(program)
            .args(["server", "--quiet", "--address", &address.to_string()])
            .arg(data)
            .env("MINIO_ROOT_USER", USER)
            .env("MINIO_ROOT_PASSWORD", PASSWORD)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = MinioServer {
            child,
            address,
            data: data.to_owned(),
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`: the value of `TIDEWATCH_TEST_S3`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "MinIO ended at its start ({status}); see {}",
                    self.data.with_extension("log").display()
                )));
            }
            if is_ready(self.address).unwrap_or(false) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("MinIO was not ready after {} s", START_TIMEOUT.as_secs()),
        ))
    }
}

impl Drop for MinioServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
        let _ = fs::remove_file(self.data.with_extension("log"));
    }
}

/// Whether the server says that it takes requests.
fn is_ready(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(
        stream,
        "GET /minio/health/ready HTTP/1.0\r\nHost: {address}\r\n\r\n"
    )?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer.ends_with(b"200"))
}

/// The program, built into `~/.cache/tidewatch/minio` unless it is there.
fn build() -> io::Result<PathBuf> {
    let home = std::env::var_os("HOME").ok_or_else(|| io::Error::other("HOME is not set"))?;
    let directory = Path::new(&home)
        .join(".cache/tidewatch/minio")
        .join(VERSION);
    let program = directory.join("minio");
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&directory)?;
    if !directory.join("go.mod").is_file() {
        go(&directory, &["mod", "init", "minio-for-tests"])?;
    }
    go(
        &directory,
        &["get", &format!("github.com/minio/minio@{VERSION}")],
    )?;
    // Built under another name and renamed, so that an interrupted build is not taken for a program.
    let unfinished = format!("minio.{}", std::process::id());
    go(
        &directory,
        &["build", "-o", &unfinished, "github.com/minio/minio"],
    )?;
    fs::rename(directory.join(unfinished), &program)?;
    Ok(program)
}

fn go(directory: &Path, arguments: &[&str]) -> io::Result<()> {
    let started = Command::new("go")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .status();
    let status = started.map_err(|error| io::Error::new(error.kind(), format!("`go` can't be started ({error}); install Go 1.24 or newer, or set TIDEWATCH_TEST_S3 to a running server")))?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "`go {}` failed: {status}",
            arguments.join(" ")
        )))
    }
}
