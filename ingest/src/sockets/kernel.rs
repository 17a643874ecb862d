//! What the kernel dropped of a socket's datagrams, because its buffer was full. Knows nothing of what they held.

use std::fs;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::counters::add;

/// How often the kernel is asked. 5 s: a rate over a minute is right, and a list of thousands of sockets is read seldom.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The sockets of this network namespace, a line each; see `proc_net(5)`.
const LISTS: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];
/// Columns of a line, from 0: the socket's inode, and how many datagrams were dropped since it was opened.
const INODE: usize = 9;
const DROPS: usize = 12;

/// Adds up what the kernel drops of one socket. Where `/proc` is not Linux's, nothing is known and nothing counted.
#[derive(Debug)]
pub(super) struct KernelDrops {
    descriptor: RawFd,
    /// Counted so far.
    counted: u64,
}

impl KernelDrops {
    /// Of a socket that outlives it.
    pub(super) fn of(socket: &UdpSocket) -> Self {
        KernelDrops {
            descriptor: socket.as_raw_fd(),
            counted: 0,
        }
    }

    /// Adds what was dropped since it was last asked.
    pub(super) async fn count(&mut self, total: &AtomicU64) {
        let descriptor = self.descriptor;
        let asked = tokio::task::spawn_blocking(move || dropped(descriptor)).await;
        // A task that was not run because the program ends says nothing.
        if let Ok(Some(dropped)) = asked {
            let more = dropped.saturating_sub(self.counted);
            self.counted = self.counted.max(dropped);
            add(total, usize::try_from(more).unwrap_or(usize::MAX));
        }
    }
}

fn dropped(descriptor: RawFd) -> Option<u64> {
    let inode = fs::metadata(format!("/proc/self/fd/{descriptor}"))
        .ok()?
        .ino();
    let lists = LISTS.iter();
    let mut texts = lists.filter_map(|list| fs::read_to_string(list).ok());
    texts.find_map(|text| drops_of(&text, inode))
}

/// The drops of the socket with an inode, in a list of sockets.
fn drops_of(list: &str, inode: u64) -> Option<u64> {
    let mut sockets = list
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let socket = sockets.find(|columns| {
        let found = columns.get(INODE).and_then(|column| column.parse().ok());
        found == Some(inode)
    })?;
    socket.get(DROPS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_a_socket_are_found_by_its_inode() {
        let list = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n \
                    1220: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 21330 2 0000000000000000 0         \n \
                    1593: 0100007F:1FBD 00000000:0000 07 00000000:00034500 00:00000000 00000000     0        0 4026 2 0000000000000000 1207      \n";
        assert_eq!(drops_of(list, 4026), Some(1207));
        assert_eq!(drops_of(list, 21330), Some(0));
        assert_eq!(drops_of(list, 1), None);
        assert_eq!(drops_of("1: a b 07\n", 4026), None);
    }
}
