//! What goes out: the Parquet archive with its checkpoint chain, and the aggregate store. Never computes a rollup, never reads the log.
//!
//! A checkpoint in four steps, in this order (a crash between any two loses nothing and shows nothing twice):
//!
//! ```text
//! Archive::write_samples / write_rollups / write_anomalies   files, durable and verified, named by nobody yet
//! Archive::put_snapshot                                      the state, likewise
//! Chain::append                                              one link, created if absent: from here on they are the archive
//! Archive::delete_files                                      what the link replaced
//! ```
//!
//! [`Chain::claim`] makes its caller the partition's owner and fences the one before; [`Archive::sweep`] then removes what a crash left
//! behind. `sweep` takes the owner's epoch and never touches a file of a later one, so an owner that was paused and fenced can't harm its successor.
//! Readers take their list of files from [`load_chain`], never from a directory. [`aggregates::AggregateStore`] holds what is asked most;
//! it can be rebuilt, so it is never part of a commit.

pub mod aggregates;
mod archive;
mod chain;
pub mod compaction;
pub mod error_codes;

pub use archive::{
    Archive, ArchiveError, ArchivedRollup, ArchivedSample, Batches, EncodedFiles, FileName,
    SNAPSHOT_BYTES_MAX, UnfitFile, Wanted,
};
pub use chain::{
    Chain, ChainError, ChainView, NewLink, list_partitions, load_chain, read_links, verify_links,
};
