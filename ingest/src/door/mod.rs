//! The door: decoded samples are checked, grouped by partition and written as records. Knows no protocol.
//!
//! ```text
//! decoder ── series / label set / metric (memoised) ──▶ Batcher ── records per partition ──▶ Publisher ──▶ bus
//!                                                         └─ rejections: where, why, how many
//! ```

mod batcher;
mod memo;
mod pairs;
mod publisher;
mod rejection;

pub use batcher::{BATCH_BYTES_MAX, Batcher, PartitionRecord, TimeUnit, TooManySamples};
pub use memo::{LABEL_SET_BYTES_MAX, LabelSetId, MetricId, SeriesRef};
pub use publisher::{Published, Publisher};
pub use rejection::{Place, REJECTIONS_KEPT_MAX, Reason, Rejection, Rejections};

#[cfg(test)]
mod tests;
