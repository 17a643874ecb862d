//! Tells the service manager how we are, by systemd's notify protocol: one datagram per message. Where none asks (`NOTIFY_SOCKET`), nothing is told.
//!
//! The watchdog is told from here, and only while every partition's task comes round to look for work: what hangs in a disk, a store or an endless
//! step is restarted. What waits for an outage to end is not stuck.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use pipeline::PartitionStatus;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// How often readiness is looked at; the watchdog is told at least this often, too.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The service manager that started us, if one did.
#[derive(Clone)]
pub(crate) struct ServiceManager {
    /// Where it listens.
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// After so long without a word it ends us; `None`: it does not watch.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names. One that can't be reached is warned of: its own timeout ends us then.
    pub(crate) fn from_environment() -> ServiceManager {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let socket = variable("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                warn!(socket = name, %error, "the service manager can't be told how we are");
                None
            }
        });
        let for_us =
            variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let watchdog = variable("WATCHDOG_USEC")
            .and_then(|text| text.parse().ok())
            .filter(|us| *us > 0 && for_us)
            .map(Duration::from_micros);
        ServiceManager { socket, watchdog }
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping: the last checkpoint is being made");
    }

    /// Tells of readiness once it is there, of what keeps it away, and that we are alive, until the end is asked for.
    pub(crate) async fn keep_told(
        self,
        partitions: impl Fn() -> Vec<PartitionStatus>,
        not_ready: impl Fn(&[PartitionStatus]) -> Option<String>,
        stop: CancellationToken,
    ) {
        if self.socket.is_none() {
            return;
        }
        // Four words for each that is waited for: two may be late.
        let interval = self
            .watchdog
            .map_or(LOOK_INTERVAL, |limit| LOOK_INTERVAL.min(limit / 4));
        let (mut ready, mut told) = (false, String::new());
        loop {
            let now = partitions();
            let waiting = not_ready(&now);
            if waiting.is_none() && !ready {
                ready = true;
                self.tell("READY=1");
            }
            let held = self.watchdog.and_then(|limit| held(&now, limit / 2));
            let status = match (&held, waiting) {
                (Some(held), _) => format!("stuck: {held}; the watchdog is no longer told"),
                (None, Some(reason)) => format!("not ready: {reason}"),
                (None, None) => format!("ready: {} partitions run here", now.len()),
            };
            match held {
                Some(held) if !told.starts_with("stuck") => {
                    error!(reason = held, "stuck; the watchdog is no longer told");
                }
                Some(_) => {}
                None if self.watchdog.is_some() => self.tell("WATCHDOG=1"),
                None => {}
            }
            if !same_story(&status, &told) {
                self.tell(&format!("STATUS={}", status.replace('\n', " ")));
                told = status;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    fn tell(&self, message: &str) {
        let Some(socket) = self.socket.as_deref() else {
            return;
        };
        // Never waits: a manager that does not read would hold us otherwise.
        if let Err(error) = socket.0.send_to_addr(message.as_bytes(), &socket.1) {
            warn!(%error, message, "the service manager could not be told");
        }
    }
}

fn connect(name: &str) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// The partition that has been held longest, if that is longer than the limit.
fn held(partitions: &[PartitionStatus], limit: Duration) -> Option<String> {
    let (age, partition) = partitions
        .iter()
        .filter_map(|status| Some((status.turn_age?, status.partition)))
        .max()?;
    (age > limit).then(|| {
        format!(
            "partition {partition} has not come round for {} s",
            age.as_secs()
        )
    })
}

/// Whether two stories differ at most in a number of seconds, which is not worth a message.
fn same_story(one: &str, other: &str) -> bool {
    let words = |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit()).collect() };
    one == other || (one.starts_with("stuck") && words(one) == words(other))
}

#[cfg(test)]
mod tests {
    use pipeline::Phase;
    use schemas::Counts;

    use super::*;

    fn partition(number: u32, turn_age: Option<Duration>) -> PartitionStatus {
        PartitionStatus {
            partition: number,
            phase: Phase::Running,
            next_offset: 0,
            committed_offset: 0,
            log_clock: None,
            series: 0,
            resources: 0,
            pending_samples: 0,
            files: 0,
            counts: Counts::default(),
            checkpoints: 0,
            compactions: 0,
            anomalies: 0,
            forecasts: 0,
            guests: 0,
            checkpoint_age: None,
            turn_age,
        }
    }

    #[test]
    fn only_a_task_at_work_can_be_held() {
        let s = Duration::from_secs;
        let limit = s(10);
        assert_eq!(held(&[], limit), None);
        assert_eq!(held(&[partition(0, None)], limit), None);
        assert_eq!(held(&[partition(0, Some(s(10)))], limit), None);
        let held = held(
            &[
                partition(0, Some(s(11))),
                partition(7, Some(s(70))),
                partition(8, None),
            ],
            limit,
        );
        assert_eq!(
            held.as_deref(),
            Some("partition 7 has not come round for 70 s")
        );
    }

    #[tokio::test]
    async fn a_manager_hears_of_readiness_life_and_trouble_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let abstract_name = format!("@tidewatch-test-{}", std::process::id());
        let abstract_address =
            SocketAddr::from_abstract_name(abstract_name.trim_start_matches('@')).unwrap();
        let listeners = [
            (path.to_str().unwrap(), UnixDatagram::bind(&path).unwrap()),
            (
                abstract_name.as_str(),
                UnixDatagram::bind_addr(&abstract_address).unwrap(),
            ),
        ];
        for (name, listener) in listeners {
            listener
                .set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
            let manager = ServiceManager {
                socket: Some(Arc::new(connect(name).unwrap())),
                watchdog: Some(Duration::from_secs(1_000)),
            };
            let stop = CancellationToken::new();
            stop.cancel();
            let run = async |age: u64, reason: Option<&str>| {
                let partitions = || vec![partition(3, Some(Duration::from_secs(age)))];
                let not_ready = |_: &[PartitionStatus]| reason.map(str::to_owned);
                manager
                    .clone()
                    .keep_told(partitions, not_ready, stop.clone())
                    .await;
            };
            run(0, None).await;
            run(0, Some("a\nreason")).await;
            run(600, None).await;
            manager.stopping();
            let hear = || {
                let mut buffer = [0; 256];
                let length = listener.recv(&mut buffer).unwrap();
                String::from_utf8_lossy(&buffer[..length]).into_owned()
            };
            assert_eq!(hear(), "READY=1");
            assert_eq!(hear(), "WATCHDOG=1");
            assert_eq!(hear(), "STATUS=ready: 1 partitions run here");
            assert_eq!(hear(), "WATCHDOG=1");
            assert_eq!(hear(), "STATUS=not ready: a reason");
            assert_eq!(hear(), "READY=1");
            assert!(hear().starts_with("STATUS=stuck: partition 3 has not"));
            assert!(hear().starts_with("STOPPING=1\n"));
        }
    }
}
