//! What is asked: one DataFusion catalogue over archive and hot rows, behind a read-only sandbox.
//!
//! A query's way: [`Engine::query`] admits it ([`Limits`]), `sandbox` reads the text and refuses all that is not a plain read,
//! `snapshot` asks [`Tables`] once per table what there is, `provider` prunes the files by the chain's statistics and scans what is left
//! beside the hot rows, and [`Answer`] streams the rows, which [`encode()`] turns into bytes.
//!
//! Nothing here lists a directory, writes a byte or opens a file that a chain does not name.

mod answer;
mod attempt;
mod bounds;
mod chain_tables;
mod checkpoint_rows;
mod demo_events;
pub mod encode;
mod engine;
mod error;
pub mod error_codes;
mod guard;
mod ledger;
mod limits;
mod memory;
mod names;
mod provider;
mod sandbox;
mod session;
mod shared;
mod snapshot;
mod store;
mod tables;
mod yielding;

pub use answer::{Answer, Batches, Notes};
pub use chain_tables::ChainTables;
pub use checkpoint_rows::checkpoints_schema;
pub use encode::{Format, cells, encode};
pub use engine::Engine;
pub use error::QueryError;
pub use ledger::dead_letters_schema;
pub use limits::Limits;
pub use sandbox::{OPERATORS_MAX, RELATIONS_MAX, SQL_BYTES_MAX};
pub use tables::{ScanBounds, TableView, Tables, ViewError};
