//! Topics of others as sources of samples, and the dead letters of what they hold that can't be decoded.
//!
//! ```text
//! foreign topic ─▶ Source ─ a portion of records ─▶ Decoder ─ samples ──────▶ Publisher ─▶ tidewatch.samples
//!        ▲           │                                 └── dead letters ─────▶ tidewatch.dead-letters ─▶ Replayer
//!        └─ offsets ─┘  committed when both are durable
//! ```
//!
//! One folder per format that no receiver has; the others are those of [`crate::http`]. A record counts as taken when all of it was: what was refused of it makes it
//! a dead letter, whole, beside the samples that were stored.

mod decoder;
mod format;
mod guess;
mod letter;
mod native_json;
mod reader;
mod replay;
mod source;
mod telegraf_json;

pub use format::{Format, Reading, unit_from_name};
pub use letter::{LetterId, Stored, StoredLetter};
pub use reader::LetterReader;
pub use replay::{Failure, Replay, Replayed, Replayer};
pub use source::{Sink, Source, SourceCounters};

#[cfg(test)]
pub(crate) mod tests;
