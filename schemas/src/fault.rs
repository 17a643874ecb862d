//! Whose fault an error is. The supervisor decides by this alone what to do next.

/// Who is to blame for an error, and therefore what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The input is wrong: dead-letter or reject it, then go on.
    BadInput,
    /// Something we need is away or slow: back off and try again; nothing is lost meanwhile.
    Outage,
    /// The configuration or the surroundings are wrong: refuse to start, or stop, and say which setting.
    BadConfig,
    /// Another owner has taken over: stop this task quietly, keep the process.
    Fenced,
    /// Stored bytes are not what was written: set them aside, never delete them, and stop what depends on them.
    Corruption,
    /// Our own mistake: stop the task loudly.
    Bug,
}

impl Fault {
    /// The stable, lower-case name used in logs, metrics and dead letters.
    pub fn name(self) -> &'static str {
        match self {
            Fault::BadInput => "bad_input",
            Fault::Outage => "outage",
            Fault::BadConfig => "bad_config",
            Fault::Fenced => "fenced",
            Fault::Corruption => "corruption",
            Fault::Bug => "bug",
        }
    }
}

/// An error that knows whose fault it is.
///
/// ```
/// use schemas::{Fault, HasFault};
/// struct BrokerAway;
/// impl HasFault for BrokerAway {
///     fn fault(&self) -> Fault { Fault::Outage }
/// }
/// assert_eq!(BrokerAway.fault().name(), "outage");
/// ```
pub trait HasFault {
    /// Whose fault this error is.
    fn fault(&self) -> Fault;
}
