//! One contract, two logs: what every caller may rely on, asked of the embedded log and of a real Kafka; then what only one of them promises.

mod durability;
mod embedded;
mod kafka;
mod log;
mod membership;
mod records;
mod topics;
