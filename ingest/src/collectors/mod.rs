//! What this process measures itself.

pub mod host;
