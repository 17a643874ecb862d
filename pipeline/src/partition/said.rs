//! What a partition tells of clocks that are wrong, each now and then only.

use std::time::Duration;

use schemas::time::{MINUTE, SECOND};
use schemas::{Counts, Micros};
use tokio::time::Instant;
use tracing::{info, warn};

/// How far the log's clock may go back without a word. A minute: half the usual lateness, and more than clocks differ that are synchronised.
const BACK_MAX: Micros = MINUTE;
/// Between two warnings of samples that were left out.
const LEFT_OUT_INTERVAL: Duration = Duration::from_secs(600);

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Said {
    is_back: bool,
    left_out_at: Option<Instant>,
    /// Too late and invalid samples since then.
    left_out: (u64, u64),
}

/// What is new about the log's clock.
#[derive(Debug, PartialEq)]
enum Turn {
    /// It has gone back by so much, microseconds.
    Back(Micros),
    /// It is where it was.
    There,
}

impl Said {
    /// Tells when the log's clock has gone back, and when it is again where it was. `log_clock`: the latest time before the record, microseconds.
    pub(super) fn clock(&mut self, partition: u32, log_clock: Micros, log_time: Micros) {
        match self.turn(log_clock, log_time) {
            None => {}
            Some(Turn::Back(behind)) => warn!(
                partition,
                behind_s = behind / SECOND,
                "the log's clock was ahead and has gone back; until it is where it was, samples come late: they are stored and revise their windows, but nothing judges them"
            ),
            Some(Turn::There) => info!(
                partition,
                "the log's clock is where it was; samples are judged again"
            ),
        }
    }

    fn turn(&mut self, log_clock: Micros, log_time: Micros) -> Option<Turn> {
        let behind = log_clock.saturating_sub(log_time);
        if !self.is_back && log_clock != Micros::MIN && behind > BACK_MAX {
            self.is_back = true;
            Some(Turn::Back(behind))
        } else if self.is_back && behind <= 0 {
            self.is_back = false;
            Some(Turn::There)
        } else {
            None
        }
    }

    /// Tells of samples that a checkpoint left out.
    pub(super) fn left_out(&mut self, partition: u32, counts: &Counts) {
        if let Some((late, invalid)) = self.left_out_since(counts, Instant::now()) {
            warn!(
                partition,
                late,
                invalid,
                "samples were left out: late ones are older than `processing.late_max`; invalid ones are further in the future than `processing.future_max`, or of too many series. Is a clock wrong?"
            );
        }
    }

    fn left_out_since(&mut self, counts: &Counts, now: Instant) -> Option<(u64, u64)> {
        self.left_out.0 += counts.late;
        self.left_out.1 += counts.invalid;
        let is_due = self
            .left_out_at
            .is_none_or(|at| now.saturating_duration_since(at) >= LEFT_OUT_INTERVAL);
        if self.left_out == (0, 0) || !is_due {
            return None;
        }
        self.left_out_at = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_is_told_once_and_when_it_is_where_it_was() {
        let mut said = Said::default();
        let hour = 60 * MINUTE;
        assert_eq!(said.turn(Micros::MIN, hour), None, "nothing came before");
        assert_eq!(said.turn(hour, hour - BACK_MAX), None);
        assert_eq!(said.turn(hour, 1), Some(Turn::Back(hour - 1)));
        assert_eq!(said.turn(hour, hour - SECOND), None);
        assert_eq!(said.turn(hour, hour), Some(Turn::There));
        assert_eq!(said.turn(hour, 2 * hour), None);
        assert_eq!(said.turn(2 * hour, hour), Some(Turn::Back(hour)));
    }

    #[test]
    fn what_is_left_out_is_told_at_once_and_then_summed_up() {
        let mut said = Said::default();
        let of = |late, invalid| Counts {
            late,
            invalid,
            ..Counts::default()
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(said.left_out_since(&of(0, 0), at(0)), None);
        assert_eq!(said.left_out_since(&of(3, 0), at(1)), Some((3, 0)));
        assert_eq!(said.left_out_since(&of(1, 2), at(2)), None);
        assert_eq!(said.left_out_since(&of(1, 0), at(700)), Some((2, 2)));
        assert_eq!(said.left_out_since(&of(0, 0), at(2_000)), None);
    }
}
