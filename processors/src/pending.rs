//! What waits for a checkpoint.

use schemas::{Anomaly, Counts, Forecast, ForecastScore, Guests, Micros, RollupRow, SampleRows};

/// A sample that came after its 10 s window was sealed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LateSample {
    /// Index in the partition's directory.
    pub series: u32,
    /// Its time, microseconds.
    pub time: Micros,
    /// Its value.
    pub value: f64,
    /// The watermark when it came.
    pub(crate) watermark: Micros,
    /// The series' sampling interval when it came, microseconds; 0 = unknown.
    pub(crate) interval: u32,
}

/// What no checkpoint covers yet.
#[derive(Debug, Clone, Default)]
pub struct Pending {
    /// Samples of windows that are sealed by now. (Those of open windows: [`PartitionState::hot_samples`].)
    pub(crate) sealed: SampleRows,
    /// Samples whose older value is in the archive: they replace it at the checkpoint, and are not shown before.
    pub(crate) replacing: SampleRows,
    /// Sealed windows, in the order they were sealed.
    pub rollups: Vec<RollupRow>,
    /// Windows changed by late samples after they were sealed: they replace the stored row at the checkpoint.
    pub(crate) revised: Vec<RollupRow>,
    /// Late samples in log order, to be resolved at the checkpoint.
    pub late: Vec<LateSample>,
    /// Anomalies, in log order.
    pub anomalies: Vec<Anomaly>,
    /// Forecasts, in log order.
    pub forecasts: Vec<Forecast>,
    /// Forecasts whose horizon has passed, beside what came, in log order.
    pub forecast_scores: Vec<ForecastScore>,
    /// What other partitions are told of siblings, by partition, in log order.
    pub guests: Vec<(u32, Guests)>,
    /// Events about series of other partitions, which tell them: partition, time, event; in log order.
    pub verdicts: Vec<(u32, Micros, Anomaly)>,
    /// What became of the samples read.
    pub counts: Counts,
}
