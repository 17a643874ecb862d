//! What a client says again and again is logged now and then. Librdkafka tells of a broker that is away twenty times a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a message is kept back after it was logged. A minute: a person who looks sees that it still holds, and a night of outage fills no disk.
const QUIET: Duration = Duration::from_secs(60);
/// Messages that are remembered; the oldest gives way, and would be logged at once if it came again. 64: a few per broker.
const MESSAGES_MAX: usize = 64;
/// Behind this librdkafka counts and times, which makes every message another one.
const DETAILS: &str = " (after ";

/// Messages that were logged of late.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    logged: Mutex<Vec<Logged>>,
}

#[derive(Debug)]
struct Logged {
    message: String,
    at: Instant,
    kept_back: u64,
}

impl Repeats {
    pub(super) const fn new() -> Self {
        Repeats {
            logged: Mutex::new(Vec::new()),
        }
    }

    /// `None`: not now. Else how often the message was kept back since it was logged last.
    pub(super) fn due(&self, message: &str, now: Instant) -> Option<u64> {
        let message = message.split(DETAILS).next().unwrap_or_default();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = logged.iter().position(|last| last.message == message) {
            if now.saturating_duration_since(logged[place].at) < QUIET {
                logged[place].kept_back += 1;
                return None;
            }
            let last = logged.remove(place);
            logged.push(Logged {
                message: last.message,
                at: now,
                kept_back: 0,
            });
            return Some(last.kept_back);
        }
        if logged.len() == MESSAGES_MAX {
            logged.remove(0);
        }
        logged.push(Logged {
            message: message.to_owned(),
            at: now,
            kept_back: 0,
        });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_logged_at_once_and_then_once_a_minute_with_its_count() {
        let (repeats, start) = (Repeats::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(repeats.due("a: refused (after 0ms)", at(0)), Some(0));
        assert_eq!(repeats.due("b: refused (after 0ms)", at(1)), Some(0));
        for second in 1..60 {
            assert_eq!(repeats.due("a: refused (after 9ms)", at(second)), None);
        }
        assert_eq!(repeats.due("a: refused (after 7ms)", at(60)), Some(59));
        assert_eq!(repeats.due("a: refused", at(61)), None);
        assert_eq!(repeats.due("b: refused", at(3_600)), Some(0));
        assert_eq!(repeats.due("a: refused", at(3_600)), Some(1));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (repeats, now) = (Repeats::new(), Instant::now());
        for broker in 0..10 * MESSAGES_MAX {
            assert_eq!(repeats.due(&format!("broker {broker}"), now), Some(0));
        }
        assert_eq!(repeats.logged.lock().unwrap().len(), MESSAGES_MAX);
        assert_eq!(repeats.due("broker 639", now), None);
        assert_eq!(repeats.due("broker 0", now), Some(0));
    }
}
