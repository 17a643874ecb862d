//! What drives the partitions: membership, recovery, the step, checkpoints, backpressure, shutdown. Computes nothing itself, stores nothing itself.
//!
//! ```text
//! Pipeline ── supervisor ──┬── PartitionTask 0 ── reader ▶ decode ▶ step ▶ publish events ▶ flush rollups ▶ checkpoint
//!             (group       ├── PartitionTask 1      │                                                     (files, link)
//!              membership) └── …                    └── Live: what queries see, under one lock
//! ```
//!
//! A task that meets an outage is started again from its last snapshot; one that was fenced ends quietly; one that meets corruption, a gap or a bug stops
//! loudly and stays stopped, with its reason in [`PartitionStatus`].

mod checkpoint;
mod error;
pub mod error_codes;
mod guests;
mod live;
mod options;
mod partition;
mod publish;
mod rebuild;
mod recovery;
mod supervisor;
mod turns;
mod warm_start;

pub use error::PipelineError;
pub use live::{HotRows, PartitionView};
pub use options::{CheckpointPolicy, PipelineOptions, ScoreSink};
pub use publish::publish_anomalies;
pub use supervisor::{PartitionStatus, Phase, Pipeline};
