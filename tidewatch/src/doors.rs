//! The addresses that receivers listen on besides the server's own, the clients that scrape, and what is told where one can't be had.

use std::net::SocketAddr;

use ingest::collectors::scrape::{Clients, Job};
use ingest::sockets::Bound;
use tokio::net::TcpListener;

use crate::config::ReceiversConfig;
use crate::error::CommandError;
use crate::error_codes;

/// The sockets of receivers that have their own, open before anything starts: a port that is taken is told at once.
pub(crate) struct Doors {
    pub(crate) otlp: Vec<TcpListener>,
    pub(crate) sockets: Sockets,
}

/// The sockets of receivers that speak no HTTP.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) statsd: Vec<Bound>,
    pub(crate) graphite: Vec<Bound>,
}

impl Doors {
    pub(crate) async fn open(config: &ReceiversConfig) -> Result<Self, CommandError> {
        let mut doors = Doors {
            otlp: Vec::new(),
            sockets: Sockets::default(),
        };
        for address in &config.otlp_listen {
            let listener = listen(*address, "the setting receivers.otlp.listen").await?;
            doors.otlp.push(listener);
        }
        for (bound, addresses, by) in [
            (
                &mut doors.sockets.statsd,
                &config.statsd_listen,
                "the setting receivers.statsd.listen",
            ),
            (
                &mut doors.sockets.graphite,
                &config.graphite_listen,
                "the setting receivers.graphite.listen",
            ),
        ] {
            for address in addresses {
                let sockets = Bound::new(*address).await;
                bound.push(sockets.map_err(|error| no_address(*address, &error, by))?);
            }
        }
        Ok(doors)
    }
}

/// Each job with a client that trusts whom it says, so that a file of authorities that is missing is told at once.
pub(crate) fn scrape_clients(jobs: &[Job]) -> Result<Vec<(Job, Clients)>, CommandError> {
    let client = |job: &Job| {
        let clients = Clients::new(job.ca_file.as_deref());
        let action = format!("scrape \"{}\"", job.name);
        let clients = clients.map_err(|error| CommandError::of(&action, error))?;
        Ok((job.clone(), clients))
    };
    jobs.iter().map(client).collect()
}

/// Listens; `by` is how another address is chosen.
pub(crate) async fn listen(address: SocketAddr, by: &str) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| no_address(address, &error, by))
}

fn no_address(address: SocketAddr, error: &std::io::Error, by: &str) -> CommandError {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "another program listens there, perhaps another tidewatch; choose another by {by} (port 0 takes a free one)"
        ),
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need rights; choose another by {by}")
        }
        _ => format!("choose an address of this machine by {by}"),
    };
    CommandError::known(
        &error_codes::ADDRESS,
        format!("can't listen on {address}: {error}; {advice}"),
    )
}
