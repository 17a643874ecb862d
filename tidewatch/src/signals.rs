//! The signals that end an instance: by Ctrl-C, by a service manager, or with the terminal that it was started from.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::CommandError;

/// What Linux tells of the signals that a process ignores.
const PROCESS_STATUS: &str = "/proc/self/status";

/// The first signal asks for the end, a second SIGINT or SIGTERM ends at once. SIGHUP counts unless it is ignored, as below `nohup`; one terminal may send it twice.
pub(crate) fn stop_on_signals(stop: &CancellationToken) -> Result<(), CommandError> {
    let failed = |error| CommandError::surroundings(format!("signals can't be received: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let minds = std::fs::read_to_string(PROCESS_STATUS).is_ok_and(|status| minds_hangup(&status));
    let hangup = minds.then(|| signal(SignalKind::hangup())).transpose();
    let mut hangup = hangup.map_err(failed)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            let again = tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = next(&mut hangup) => false,
            };
            if !stop.is_cancelled() {
                info!("stopping; a second signal ends at once");
                stop.cancel();
            } else if again {
                warn!(
                    "second signal, ending at once; the next start reads again what was not checkpointed"
                );
                std::process::exit(1);
            }
        }
    });
    Ok(())
}

/// The next signal; of none, never.
async fn next(signal: &mut Option<Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        pending::<()>().await;
    }
}

/// Whether a process whose status this is does not ignore SIGHUP. Where nothing tells, it is left as it is.
fn minds_hangup(status: &str) -> bool {
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_minded_unless_it_is_ignored_or_nobody_knows() {
        for (status, minds) in [
            (
                "Name:\ttidewatch\nSigIgn:\t0000000000001000\nSigCgt:\t01\n",
                true,
            ),
            ("SigIgn:\t0000000000001001\n", false),
            ("SigCgt:\t0000000000000000\n", false),
            ("SigIgn:\tx\n", false),
            ("", false),
        ] {
            assert_eq!(minds_hangup(status), minds, "{status:?}");
        }
    }
}
