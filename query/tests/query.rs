//! SQL over real Parquet files and hot rows: answers, pruning, the sandbox, the limits, damage, formats.

#[path = "query/answers.rs"]
mod answers;
#[path = "query/chains.rs"]
mod chains;
#[path = "query/damage.rs"]
mod damage;
#[path = "query/formats.rs"]
mod formats;
#[path = "query/limits.rs"]
mod limits;
#[path = "query/sandbox.rs"]
mod sandbox;
#[path = "query/world.rs"]
mod world;
