//! A real Apache Kafka for tests: fetched once from its Maven artifacts, then started as a single node on free ports of this machine.
//!
//! Only the standard library, so that the task runner can include this file too. Nothing outlives the process that started it: a shell watches the pipe to
//! us, and when that breaks, however we died, it kills the broker and removes its directory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The version that is fetched.
pub const KAFKA_VERSION: &str = "4.3.1";
/// How long a broker may take to accept connections: 2 s on an idle machine.
const START_MAX: Duration = Duration::from_secs(90);

/// A running broker; dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    dir: PathBuf,
    libraries: PathBuf,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    watchdog: Child,
    java: u32,
}

impl Broker {
    /// Fetches Kafka if needed and starts a broker with an empty log.
    ///
    /// # Errors
    /// What is missing or went wrong, in words.
    pub fn start() -> Result<Broker, String> {
        Broker::start_with("", &[], &[])
    }

    /// The same with further listeners (`,NAME://host:port` …), lines of `server.properties`, and words for the tool that formats its log.
    ///
    /// # Errors
    /// What is missing or went wrong, in words.
    pub fn start_with(
        listeners: &str,
        properties: &[String],
        format: &[String],
    ) -> Result<Broker, String> {
        let libraries = fetch()?;
        let (port, controller) = free_ports()?;
        let dir =
            std::env::temp_dir().join(format!("tidewatch-kafka-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).map_err(|error| format!("creating {}: {error}", dir.display()))?;
        let further = properties.join("\n");
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={}\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
             log.retention.check.interval.ms=1000\nlog.initial.task.delay.ms=500\nlog.segment.delete.delay.ms=1000\n{further}\n",
            dir.join("data").display()
        );
        let config = dir.join("server.properties");
        fs::write(&config, properties)
            .map_err(|error| format!("writing {}: {error}", config.display()))?;
        let mut broker = Broker {
            port,
            dir,
            libraries,
            process: None,
        };
        broker.format(format)?;
        broker.launch()?;
        Ok(broker)
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the broker (`SIGKILL`); its log stays for [`Broker::restart`].
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The shell kills the broker when it reads this, or when the pipe breaks.
            if let Some(mut pipe) = process.watchdog.stdin.take() {
                let _ = pipe.write_all(b"keep\n");
            }
            let _ = process.watchdog.wait();
        }
    }

    /// Starts it again on the same ports with the same log.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn restart(&mut self) -> Result<(), String> {
        self.stop();
        self.launch()
    }

    /// Freezes it (`SIGSTOP`): connections stay, answers stop.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self) -> Result<(), String> {
        self.signal("-STOP")
    }

    /// Lets a frozen one go on (`SIGCONT`).
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self) -> Result<(), String> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<(), String> {
        let java = self.process.as_ref().ok_or("the broker does not run")?.java;
        let status = Command::new("kill")
            .args([signal, &java.to_string()])
            .status()
            .map_err(|error| format!("kill: {error}"))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("kill {signal} {java} failed: {status}"))
        }
    }

    fn format(&self, further: &[String]) -> Result<(), String> {
        let output = Command::new("java")
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(self.libraries.join("*"))
            .args([
                "kafka.tools.StorageTool",
                "format",
                "-t",
                &self.cluster_id(),
                "-c",
                "server.properties",
            ])
            .args(further)
            .current_dir(&self.dir)
            .output()
            .map_err(|error| format!("starting java: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "formatting the broker's log failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }

    /// 16 bytes in base64, another for each broker of a machine.
    fn cluster_id(&self) -> String {
        format!(
            "tidewatchTest{:09}",
            u64::from(self.port) + (u64::from(std::process::id()) % 10_000) * 100_000
        )
    }

    fn launch(&mut self) -> Result<(), String> {
        // Reads until the pipe breaks or a word comes; `keep` leaves the log for a restart.
        const WATCHDOG: &str = r#"
            java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$1/*" kafka.Kafka server.properties >>broker.log 2>&1 </dev/null &
            broker=$!
            echo $broker
            trap '' INT TERM HUP
            read word
            kill -KILL $broker 2>/dev/null
            wait $broker 2>/dev/null
            [ "$word" = keep ] || { cd /; rm -rf "$2"; }
        "#;
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(&self.libraries)
            .arg(&self.dir)
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("starting sh: {error}"))?;
        let output = watchdog.stdout.take().ok_or("no pipe from sh")?;
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .map_err(|error| format!("reading from sh: {error}"))?;
        let java = line
            .trim()
            .parse()
            .map_err(|_| format!("sh told no process id but `{line}`"))?;
        self.process = Some(Process { watchdog, java });
        self.wait_until_up()
    }

    fn wait_until_up(&self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if answers(self.port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.dir.join("broker.log")).unwrap_or_default();
        let tail = log
            .lines()
            .rev()
            .take(20)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n");
        Err(format!(
            "the broker on port {} did not come up within {} s; its log ends: {tail}",
            self.port,
            START_MAX.as_secs()
        ))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.watchdog.stdin.take());
            let _ = process.watchdog.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether a broker answers an ApiVersions request (version 0, no client id): a port that accepts is not yet a broker.
fn answers(port: u16) -> bool {
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let sent = stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .and_then(|()| stream.write_all(&REQUEST));
    let mut head = [0; 8];
    sent.is_ok() && stream.read_exact(&mut head).is_ok() && head[4..] == [0, 0, 0, 7]
}

/// Two ports that nobody listens on; both are held while they are looked for, so they differ.
pub fn free_ports() -> Result<(u16, u16), String> {
    let bind = || {
        TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("finding a free port: {error}"))
    };
    let (first, second) = (bind()?, bind()?);
    let port = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| address.port())
            .map_err(|error| format!("finding a free port: {error}"))
    };
    Ok((port(&first)?, port(&second)?))
}

/// Whether a broker can be started here: Java and Maven are installed.
pub fn can_start() -> bool {
    ["java", "mvn"].iter().all(|program| {
        let found = Command::new(program)
            .arg("-version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    })
}

/// The directory with Kafka's jars; fetched by Maven the first time, under a lock, and put in place by one rename.
fn fetch() -> Result<PathBuf, String> {
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => std::env::temp_dir(),
    };
    let cache = cache.join("tidewatch");
    let place = cache.join(format!("kafka-{KAFKA_VERSION}"));
    if place.is_dir() {
        return Ok(place);
    }
    let failed =
        |what: &str, error: std::io::Error| format!("{what} under {}: {error}", cache.display());
    fs::create_dir_all(&cache).map_err(|error| failed("creating a directory", error))?;
    let lock =
        File::create(cache.join("kafka.lock")).map_err(|error| failed("creating a lock", error))?;
    lock.lock().map_err(|error| failed("locking", error))?;
    if place.is_dir() {
        return Ok(place);
    }
    let build = cache.join(format!("kafka-fetch-{}", std::process::id()));
    let _ = fs::remove_dir_all(&build);
    fs::create_dir_all(&build).map_err(|error| failed("creating a directory", error))?;
    fs::write(build.join("pom.xml"), pom()).map_err(|error| failed("writing pom.xml", error))?;
    let output = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DoutputDirectory=lib",
        ])
        .current_dir(&build)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("starting mvn: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "mvn could not fetch Kafka {KAFKA_VERSION}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    fs::rename(build.join("lib"), &place)
        .map_err(|error| failed("putting Kafka in place", error))?;
    let _ = fs::remove_dir_all(&build);
    Ok(place)
}

fn pom() -> String {
    let artifact = |group: &str, name: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        )
    };
    let dependencies = [
        artifact("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
        artifact("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
        // The broker binds slf4j 1.7 and ignores a 2.x binding.
        artifact("org.slf4j", "slf4j-simple", "1.7.36"),
    ]
    .concat();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>tidewatch</groupId>\
         <artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )
}
