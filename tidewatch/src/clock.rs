//! This machine's clock: what it says, and whether it was ever set.

use std::time::{SystemTime, UNIX_EPOCH};

use schemas::Micros;
use schemas::time::{SECOND, rfc3339};

use crate::error::CommandError;
use crate::error_codes;

/// 2024-01-01: no clock that was ever set is before it.
pub(crate) const CLOCK_MIN: Micros = 1_704_067_200 * SECOND;

/// Now, microseconds since 1970; 0 before that.
pub(crate) fn now() -> Micros {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| Micros::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}

/// Refuses to work by a clock that was never set: samples would be stored decades ago, and those of others taken for the future.
pub(crate) fn expect_set(now: Micros) -> Result<(), CommandError> {
    if now >= CLOCK_MIN {
        return Ok(());
    }
    Err(CommandError::known(
        &error_codes::CLOCK,
        format!(
            "this machine's clock says {}: it was never set; set it (chrony, systemd-timesyncd), then start again",
            rfc3339(now)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_refused() {
        expect_set(now()).unwrap();
        expect_set(CLOCK_MIN).unwrap();
        let error = expect_set(60 * SECOND).unwrap_err().to_string();
        assert!(error.contains("1970-01-01T00:01:00"), "{error}");
    }
}
