//! One contract, two logs: what every caller may rely on, asked of the embedded log and of a real Kafka; then what only one of them promises.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod durability;
mod embedded;
mod kafka;
mod log;
mod membership;
mod records;
mod topics;
