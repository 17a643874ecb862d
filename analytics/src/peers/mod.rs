//! One resource unlike its siblings: which series are compared, how each is usually placed among them, who stands apart now.
//!
//! Siblings are the series of one metric whose labels differ only in what names the instance ([`group_key`]): the CPU of `web-1` …
//! `web-12`, the lag of each replica. Per window of a minute the [`Group`] gets a value of each and finds
//! 1. its *level*: the median of what each member's value says of it, by the place it usually has;
//! 2. each member's expectation: the level plus its usual distance, or times its usual ratio, whichever has erred less;
//! 3. who is further from the expectation than the spread of its siblings, its own usual error and the smallest band allow.
//!
//! Comparing raw values (median and MAD, or DBSCAN, as tools that look at one window do) was tried beside it on simulated groups: a fleet
//! of two machine sizes cried wolf 18 and 12 times in a day and a half, and a fault in it was found in one of six runs. With learned
//! places the same fleet is quiet. `docs/decisions/0016-siblings-are-compared-by-the-places-they-usually-have.md` has the table.
//!
//! ```
//! use analytics::peers::{Group, PeersConfig};
//! let (config, mut group) = (PeersConfig::default(), Group::default());
//! let minute = |i: i64| i * 60_000_000;
//! for i in 0..60 {
//!     let values: Vec<(u32, f64)> = (0..12).map(|m| (m, 40.0 + f64::from(m % 4) + (i % 3) as f64)).collect();
//!     assert!(group.observe_window(&config, minute(i), &values).is_empty());
//! }
//! let mut told = Vec::new();
//! for i in 60..70 {
//!     let value = |m| if m == 3 { 91.0 } else { 40.0 + f64::from(m % 4) };
//!     let values: Vec<(u32, f64)> = (0..12).map(|m| (m, value(m))).collect();
//!     told.extend(group.observe_window(&config, minute(i), &values));
//! }
//! assert_eq!(told.len(), 1);
//! assert_eq!(told[0].explain("web-3"), "web-3 is at 91.0, its 11 siblings are at 40.0–43.0");
//! ```

mod config;
mod event;
mod group;
mod key;
mod member;

pub use config::{PeersConfig, PeersConfigError};
pub use event::PeerEvent;
pub use group::{Group, MEMBERS_MAX, Placed};
pub use key::{GroupKey, INSTANCE_LABELS, group_key, meeting_hash};

#[cfg(test)]
mod tests;
