//! What this process measures itself or fetches, and what it makes up where there is nothing to measure.

pub mod fleet;
pub mod host;
pub mod scrape;
