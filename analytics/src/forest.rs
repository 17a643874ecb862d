//! The detector `isolation_forest`: how easily random cuts part a row of numbers from the others. For many features at once.
//!
//! Isolation forest (Liu, Ting, Zhou 2008), changed in six places, which cost next to nothing when a row is scored:
//! - **Guided cuts**: half of the cuts fall where they part two groups best (pooled gain, Cortes 2021, "Revisiting randomized choices in
//!   isolation forests"), the others anywhere. Guided alone would make the trees alike; random alone needs luck to find a cluster.
//! - **Steps by density**: a step into a side that holds the share p of the samples and the share v of the range counts 2p/(p + v)
//!   instead of 1: close to 2 into a crowd, 1 where nothing is to be seen, close to 0 into emptiness. (Cortes 2021, "Isolation forests:
//!   looking beyond tree depth", has 2/(1 + v/2p), for which an even spread counts 4/3.) It is bounded, so no single cut decides.
//! - **Features by their tails**: the heavier the tails of a feature, the more cuts it gets.
//! - **Half of the features**: a tree cuts only the features drawn for it, so that trees differ although cuts are guided.
//! - **More samples than leaves**: a leaf at the depth limit tells by how many samples it holds how full its place is.
//! - **Beyond everything seen**: a row outside the reach of the samples has a shorter path the farther out it lies; trees alone would take it
//!   for the outermost sample.
//!
//! [`ForestConfig`] → [`UnfittedForest`] → [`IsolationForest`]; [`StreamingForest`] forgets and refits as rows pass.
//!
//! ```
//! use analytics::forest::UnfittedForest;
//! use ndarray::Array2;
//! let rows = Array2::from_shape_fn((200, 2), |(i, j)| ((i * (j + 3)) % 17) as f64);
//! let forest = UnfittedForest::default().fit(rows.view())?;
//! let odd = forest.explain(&[8.0, 90.0])?;
//! assert!(odd.score > forest.score_row(&[8.0, 8.0])?);
//! assert!(odd.contributions[1] > odd.contributions[0]);
//! # Ok::<(), analytics::forest::ForestError>(())
//! ```

mod config;
mod event;
mod fitted;
mod grow;
mod relations;
mod scale;
mod streaming;
mod unfitted;
mod verdict;

#[cfg(test)]
mod tests;

pub use config::{ForestConfig, ForestError};
pub use event::{FeatureShare, RESOURCE_RULE, ResourceFinding};
pub use fitted::{Explained, IsolationForest};
pub use streaming::{RowExplained, RowScores, StreamingConfig, StreamingForest};
pub use unfitted::UnfittedForest;
pub use verdict::{ClassScores, ResourceScores, ResourceVerdict, ScoreVote};
