//! The mathematics of detection: pure, synchronous, without a clock. Knows nothing of logs, stores or windows.
//!
//! Read in this order: [`DetectorConfig`] (what is asked), [`SeriesDetectors`] (what is remembered of a series: some 300 bytes, 1,500 with its seasons),
//! [`Observation`] (what is thought of a sample), [`anomaly_event`] (how it is told). A counter passes through [`CounterRate`] first.
//!
//! Everything is plain arithmetic, which IEEE 754 defines to the last bit, and the logarithms of `libm`, which are the same code everywhere:
//! the same samples give the same scores on every machine.
//!
//! ```
//! use analytics::{DetectorConfig, SeriesDetectors};
//! let (config, mut detectors) = (DetectorConfig::default(), SeriesDetectors::default());
//! for i in 0..100 {
//!     let value = 0.30 + 0.01 * f64::from(i % 5);
//!     assert!(!detectors.observe(&config, i64::from(i) * 10_000_000, value).announce);
//! }
//! let observation = detectors.observe(&config, 1_000_000_000, 0.97);
//! assert!(observation.score > 1.0 && observation.announce);
//! ```

pub mod calendar;
pub mod capacity;
pub mod clusters;
mod decomposition;
mod detection;
pub mod error_codes;
pub mod forecast;
pub mod forest;
pub mod peers;

pub use decomposition::{
    DECOMPOSED_VALUES_MAX, Decomposition, DecompositionError, SeasonalPart, decompose,
};
pub use detection::{
    CounterRate, DETECTORS, Detector, DetectorConfig, DetectorConfigError, DetectorVote,
    Observation, RULE, SCORE_MAX, Season, SeriesDetectors, Silence, Watch, anomaly_event, explain,
    silence_event,
};
