//! What several benches of whole processes need: the program as a child, an HTTP client, and what the kernel tells of a process. `docs/performance.md` holds what was measured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

pub mod client;
pub mod process;
pub mod server;
