//! Stable names of errors, each with its page in `docs/errors.md`. Which error has which code says the room that the error belongs to.

use crate::{Fault, HasFault};

/// A kind of error, as people look it up: `TW-LOG-001`.
///
/// A number is never used again for another kind; a page may be worded anew.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The stable name.
    pub id: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What it means, and what becomes of the data meanwhile.
    pub means: &'static str,
    /// What was expected instead.
    pub expected: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// An error that has a page.
///
/// ```
/// use schemas::{ErrorCode, Fault, HasCode, HasFault};
/// schemas::error_codes! {
///     AWAY = "TW-EXAMPLE-001", "The peer is away",
///         means: "Nothing is lost; it is tried again.",
///         expected: "A peer that answers.",
///         fix: "Start it.";
/// }
/// struct PeerAway;
/// impl HasFault for PeerAway {
///     fn fault(&self) -> Fault { Fault::Outage }
/// }
/// impl HasCode for PeerAway {
///     fn code(&self) -> &'static ErrorCode { &AWAY }
/// }
/// assert_eq!(PeerAway.code().id, "TW-EXAMPLE-001");
/// assert_eq!(ERROR_CODES, [&AWAY]);
/// ```
pub trait HasCode: HasFault {
    /// What kind of error this is. Written as a `match` without a catch-all, so that a new variant does not compile without a code.
    fn code(&self) -> &'static ErrorCode;
}

/// Defines the codes of a room, and the list of them all, `ERROR_CODES`.
#[macro_export]
macro_rules! error_codes {
    ($($name:ident = $id:literal, $title:literal, means: $means:literal, expected: $expected:literal, fix: $fix:literal;)+) => {
        $(
            #[doc = $title]
            pub static $name: $crate::ErrorCode = $crate::ErrorCode {
                id: $id,
                title: $title,
                means: $means,
                expected: $expected,
                fix: $fix,
            };
        )+

        /// All codes of this room, by number.
        pub static ERROR_CODES: &[&$crate::ErrorCode] = &[$(&$name,)+];
    };
}

error_codes! {
    BAD_INPUT = "TW-GENERAL-001", "What was sent or asked is wrong",
        means: "The request, the question or the file can't be taken as it is. Nothing was changed; sending it again gives the same answer.",
        expected: "What the message says.",
        fix: "Correct what the message names, then try again.";
    OUTAGE = "TW-GENERAL-002", "Something that is needed is away, full or slow",
        means: "A disk, a port, a broker, a store or an instance did not do what it was asked. Nothing that was acknowledged is lost.",
        expected: "That it answers within the time it is given.",
        fix: "Look at what the message names: is it running, reachable, and not full? `tidewatch doctor` checks all of it.";
    BAD_CONFIG = "TW-GENERAL-003", "A setting or the surroundings are wrong",
        means: "The program does not guess: it refuses to go on until the setting fits what is there.",
        expected: "What the message says.",
        fix: "Change the setting that the message names; `tidewatch check` tells whether all of them are valid, `tidewatch config` where each was set.";
    FENCED = "TW-GENERAL-004", "Another process has taken over",
        means: "A partition has one owner at a time, and this is no longer it. The other one goes on; nothing is lost.",
        expected: "Nothing: this is how a partition moves.",
        fix: "Nothing, unless it goes back and forth: then look for a process that is too slow for its group's session (setting `bus.session_timeout`).";
    CORRUPTION = "TW-GENERAL-005", "Stored bytes are not what was written",
        means: "A checksum or a rule does not hold. The bytes were left in place, and what depends on them has stopped.",
        expected: "The bytes that were written.",
        fix: "Keep a copy of what the message names, restore it from a backup or a replica, and look for the cause: a failing disk, or a program that changed files.";
    BUG = "TW-GENERAL-006", "A mistake of Tidewatch",
        means: "Something that must not happen did. The task that met it has stopped; what was acknowledged is in the log.",
        expected: "That this message is never seen.",
        fix: "Report it with the message, the version and the log around it. A restart is safe.";
}

impl Fault {
    /// The code of an error of which only this is known.
    pub fn code(self) -> &'static ErrorCode {
        match self {
            Fault::BadInput => &BAD_INPUT,
            Fault::Outage => &OUTAGE,
            Fault::BadConfig => &BAD_CONFIG,
            Fault::Fenced => &FENCED,
            Fault::Corruption => &CORRUPTION,
            Fault::Bug => &BUG,
        }
    }
}
