//! A partition's state folded again from the samples of the archive: for when the saved one is lost.
//!
//! The archive holds each sample that the chain covers. So the windows that were open at the chain's end come back as they were, for what comes then to be
//! added; and the series are known again that spoke since a day before. What detectors and forecasts had learned does not come back: they are as if they had
//! been off, so [`PartitionState::unlearned`] tells what the archive can teach them. How often each series alarmed is forgotten.

use schemas::time::DAY;
use schemas::{Kind, Micros, NextOffset, Offset, Resolution, SampleBatch, SeriesId, Watermark};

use crate::calendar::SeriesCalendar;
use crate::{PartitionState, ProcessingConfig};

/// A state while it is folded again. Nothing of it is told: what its windows sealed is in the archive.
#[derive(Debug)]
pub struct Refold {
    state: PartitionState,
    config: ProcessingConfig,
    watermark: Micros,
}

impl Refold {
    /// Begins with nothing. `watermark`: that of the chain's end, below which windows are sealed.
    pub fn new(config: ProcessingConfig, watermark: Watermark) -> Self {
        let folding = ProcessingConfig {
            // The log clock is the watermark meanwhile.
            lateness: 0,
            future_max: Micros::MAX,
            backfill: true,
            detection: None,
            peers: None,
            forecasting: None,
            ..config.clone()
        };
        Refold {
            // All that is stepped over is covered by the chain.
            state: PartitionState::new(folding).with_committed_until(NextOffset(u64::MAX)),
            config,
            watermark: watermark.0,
        }
    }

    /// The time of the first sample that is needed, inclusive: a multiple of 10 s.
    pub fn from(&self) -> Micros {
        // The longest window that is open began within the day before; and who has spoken in the last day is to be known.
        Resolution::TenSeconds
            .window(self.watermark.saturating_sub(DAY))
            .start
    }

    /// Folds samples that are not older than `from`, a multiple of 10 s. From one call to the next it only rises; where it does, all older samples have come.
    pub fn fold(&mut self, from: Micros, samples: &SampleBatch) {
        self.state
            .step(Offset(0), from.min(self.watermark), samples);
    }

    /// The series that were folded so far.
    pub fn series(&self) -> impl Iterator<Item = SeriesId> + '_ {
        self.state.directory().iter().map(|series| series.id)
    }

    /// Takes note that a series counts; one that is not known is none of ours.
    pub fn note_counter(&mut self, series: SeriesId) {
        if let Some(index) = self.state.table.get(series) {
            self.state.table.note_kind(index as usize, Kind::Counter);
        }
    }

    /// The state at the chain's end: its log clock, and the offset to go on with.
    pub fn end(mut self, log_clock: Micros, next: NextOffset) -> PartitionState {
        self.state.step_empty(Offset(0), self.watermark, false);
        PartitionState {
            calendar: SeriesCalendar::new(&self.config),
            config: self.config,
            log_clock,
            next_offset: next,
            committed_until: next,
            ..self.state
        }
    }
}
