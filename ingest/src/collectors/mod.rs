//! What this process measures itself, and what it makes up where there is nothing to measure.

pub mod fleet;
pub mod host;
