//! What is remembered of each series besides its windows.

use analytics::{CounterRate, SeriesDetectors};
use schemas::Micros;

use crate::window::INTERVAL_UNKNOWN;

/// Per-series state besides the windows. Grows with the series table.
#[derive(Debug, Clone, Default)]
pub(crate) struct PerSeries {
    /// Time of the newest sample taken on time.
    pub(crate) last_time: Vec<Micros>,
    /// Usual distance of two samples, microseconds; 0 = not known yet.
    pub(crate) interval: Vec<u32>,
    pub(crate) detectors: Vec<SeriesDetectors>,
    pub(crate) rates: Vec<CounterRate>,
}

impl PerSeries {
    /// Makes room for so many series; returns whether there was less.
    pub(crate) fn grow(&mut self, len: usize) -> bool {
        let grows = self.last_time.len() < len;
        if grows {
            self.last_time.resize(len, Micros::MIN);
            self.interval.resize(len, 0);
            self.detectors.resize(len, SeriesDetectors::default());
            self.rates.resize(len, CounterRate::default());
        }
        grows
    }

    /// The sampling interval of a series, as windows remember it.
    pub(crate) fn interval(&self, series: usize) -> u32 {
        match self.interval[series] {
            0 => INTERVAL_UNKNOWN,
            known => known,
        }
    }

    /// Learns the sampling interval: a moving mean of the distances, in which a gap counts little.
    pub(crate) fn learn_interval(&mut self, series: usize, time: Micros) {
        let last = self.last_time[series];
        if last == Micros::MIN {
            return;
        }
        // Saturates at 71 minutes; coarser series count as complete with one sample per window.
        let distance = u32::try_from(time - last).unwrap_or(u32::MAX);
        let interval = &mut self.interval[series];
        *interval = match *interval {
            0 => distance,
            known if distance > known.saturating_mul(4) => known.saturating_add(known / 8),
            known => (i64::from(known) + (i64::from(distance) - i64::from(known)) / 8) as u32,
        };
    }
}
