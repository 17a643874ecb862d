//! What comes in: receivers that clients push to, topics of others, collectors that read this host, and the door all go through.
//!
//! Read in this order: [`admission`] (which series are let in), [`door`] (samples become one record per partition, or are rejected with a reason), [`http`] (one folder per
//! protocol, all of one shape), [`sockets`] (lines that nobody waits for an answer to), [`foreign`] (topics of others, and the dead letters of what they hold), [`collectors`] (what this process measures itself), [`history`] (files of
//! samples, for a replay), [`counters`] (what is told about all of it).
//! What is left out: windows, duplicates and late samples are the stream's business, and so is everything behind the log.

pub mod admission;
mod backlog;
pub mod collectors;
pub mod counters;
pub mod door;
pub mod error_codes;
pub mod foreign;
pub mod history;
pub mod http;
mod json_text;
pub mod sockets;

pub use admission::Sender;
pub use counters::{IngestCounters, Intake};
pub use door::{Batcher, Publisher};

#[cfg(test)]
mod memory_bus;
