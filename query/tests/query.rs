//! SQL over real Parquet files and hot rows: answers, pruning, the sandbox, the limits, damage, formats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "query/answers.rs"]
mod answers;
#[path = "query/chains.rs"]
mod chains;
#[path = "query/damage.rs"]
mod damage;
#[path = "query/demo_events.rs"]
mod demo_events;
#[path = "query/formats.rs"]
mod formats;
#[path = "query/limits.rs"]
mod limits;
#[path = "query/sandbox.rs"]
mod sandbox;
#[path = "query/world.rs"]
mod world;
